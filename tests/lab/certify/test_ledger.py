"""Every opening of a set is written down first, and costs confidence."""

from pathlib import Path
from typing import Any

import pytest
from interlock_lab.certify.ledger import Commitment, next_delta, open_set, read_ledger
from interlock_server.errors import ConfigError


def commitment(**changes: Any) -> Commitment:
    digests = dict.fromkeys(("set", "models", "policy", "code"), "sha256:" + "a" * 64)
    values: dict[str, Any] = {**digests, "units": 9, "targets": {"balanced": {"harm": 0.1}}, "delta": 0.06, **changes}
    return Commitment(**values)


def other(number: int, field: str = "models") -> Commitment:
    return commitment(**{field: "sha256:" + f"{number:064d}"})


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Three openings."""
    for number in range(3):
        open_set(tmp_path / "ledger.jsonl", other(number))
    return tmp_path / "ledger.jsonl"


def test_each_opening_spends_less(book: Path):
    """delta / (i (i + 1))."""
    assert [0.03, 0.01, 0.005] == [pytest.approx(entry.delta) for entry in read_ledger(book)]


def test_all_openings_together_spend_no_more_than_delta():
    """However many there are."""
    assert sum(0.06 / (i * (i + 1)) for i in range(1, 10_000)) < 0.06


@pytest.mark.parametrize("field", ["set", "models", "policy", "code"])
def test_anything_new_is_another_opening(book: Path, field: str):
    """Also other labels: it is the same set."""
    assert 4 == open_set(book, other(9, field)).entry


def test_the_same_again_is_the_same_opening(book: Path):
    """It can show nothing new, so it spends nothing."""
    assert 2 == open_set(book, other(1)).entry
    assert 3 == len(read_ledger(book))


def test_asking_what_is_left_opens_nothing(book: Path):
    """The next would be the fourth."""
    assert next_delta(book, other(9)) == pytest.approx(0.06 / 20)
    assert 3 == len(read_ledger(book))


@pytest.mark.parametrize("change", [("0.06", "0.07"), ('"units": 9', '"units": 8')])
def test_a_changed_line_is_noticed(book: Path, change: tuple[str, str]):
    """By the line after it."""
    first, *rest = book.read_text().splitlines(keepends=True)
    book.write_text(first.replace(*change) + "".join(rest))

    with pytest.raises(ConfigError, match=r"line 2 does not follow"):
        read_ledger(book)


def test_a_line_that_was_taken_out_is_noticed(book: Path):
    """Openings are numbered too."""
    lines = book.read_text().splitlines(keepends=True)
    book.write_text("".join(lines[1:]))

    with pytest.raises(ConfigError, match=r"line 1 does not follow"):
        open_set(book, other(9))
