"""Padding: few shapes, no window lost, nothing left over from the run before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.backends.backend import Window
from interlock_server.backends.padding import SPREAD_MAX, Shape, Shapes, fill, in_order, power_of_two

LENGTHS = st.lists(st.integers(2, 512), min_size=1, max_size=200)


def window(size: int, context_size: int = 0) -> Window:
    """Ids that say where they stand."""
    return Window(np.arange(1, size + 1), "raw", (0, size), context_size)


def buffers(shape: Shape) -> dict[str, np.ndarray]:
    """What an earlier run left behind."""
    return {name: np.full(shape, 7) for name in ("input_ids", "attention_mask", "token_type_ids")}


def test_lengths_go_up_in_steps():
    """Of 32, then of a quarter of the power of two below; the last one is the longest window there can be."""
    assert [32, 64, 96, 100] == Shapes(100, 1024).lengths
    assert [256, 320, 384, 448, 512] == Shapes(512, 1024).lengths[7:]


def test_there_are_few_shapes():
    """Each is recorded, and takes memory."""
    assert 56 == len(Shapes(256, 16_384).all())
    assert len(Shapes(8192, 16_384).all()) < 150


def test_the_largest_shape_comes_first():
    """Memory that it needed then does for the others."""
    assert Shape(64, 256) == Shapes(256, 16_384).all()[0]


@given(lengths=LENGTHS, budget=st.integers(16, 20_000))
def test_every_window_is_in_one_batch(lengths: list[int], budget: int):
    """Whatever their lengths, and however small the budget."""
    batches = Shapes(512, budget).batches([window(length) for length in lengths])

    assert list(range(len(lengths))) == sorted(place for _, places in batches for place in places)


@given(lengths=LENGTHS, budget=st.integers(16, 20_000))
def test_batches_have_shapes_that_were_foreseen(lengths: list[int], budget: int):
    """Nothing is captured, compiled or allocated while a caller waits; and every window fits."""
    shapes = Shapes(512, budget)
    for shape, places in shapes.batches([window(length) for length in lengths]):
        assert shape in shapes.all()
        assert len(places) <= shape.size
        assert max(lengths[place] for place in places) <= shape.length


@given(lengths=LENGTHS, budget=st.integers(16, 20_000))
def test_batches_keep_to_the_budget_and_to_near_equal_lengths(lengths: list[int], budget: int):
    """After padding; one window alone is always allowed."""
    for shape, places in Shapes(512, budget).batches([window(length) for length in lengths]):
        assert shape.size == 1 or shape.size * shape.length <= budget
        assert max(lengths[p] for p in places) <= SPREAD_MAX * min(lengths[p] for p in places)


def test_a_window_that_is_too_long_is_an_error():
    """It was cut by other rules than these."""
    with pytest.raises(ValueError, match="no shape holds"):
        list(Shapes(32, 1024).batches([window(33)]))


def test_windows_are_padded_and_masked():
    """With id 0, which nobody attends to."""
    inputs = buffers(Shape(2, 4))
    fill(inputs, [window(3), window(4)])

    assert [[1, 2, 3, 0], [1, 2, 3, 4]] == inputs["input_ids"].tolist()
    assert [[1, 1, 1, 0], [1, 1, 1, 1]] == inputs["attention_mask"].tolist()


def test_the_completion_has_a_type_of_its_own():
    """A single text is of type 0 throughout, and so is padding."""
    inputs = buffers(Shape(2, 4))
    fill(inputs, [window(3, context_size=2), window(4)])

    assert [[0, 0, 1, 0], [0, 0, 0, 0]] == inputs["token_type_ids"].tolist()


def test_rows_without_a_window_show_one_token():
    """Attention over nothing is not a number."""
    inputs = buffers(Shape(2, 4))
    fill(inputs, [window(4)])

    assert [[1, 1, 1, 1], [1, 0, 0, 0]] == inputs["attention_mask"].tolist()
    assert [0, 0, 0, 0] == inputs["input_ids"][1].tolist()


def test_rows_come_back_in_their_order():
    """Batches run the longest first."""
    assert [[0.5], [1.5]] == in_order({1: np.array([1.5]), 0: np.array([0.5])}).tolist()


@pytest.mark.parametrize(("number", "power"), [(0, 1), (1, 1), (3, 2), (64, 64), (100, 64)])
def test_powers_of_two(number: int, power: int):
    """Rounded down, and never to nothing."""
    assert power == power_of_two(number)
