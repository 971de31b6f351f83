"""Training again with something wrong: nothing wrong changes nothing, and the two ways to fail are told apart."""

from dataclasses import replace

import pytest
from interlock_lab.story.material import Material
from interlock_lab.story.retraining import RETRAININGS, Retraining
from interlock_lab.training.rows import Row

from .samples import HARMLESS, VIOLENT, row

WORDS = ["red", "blue", "green", "tall", "short", "old", "young", "quiet", "loud", "early", "late", "warm", "cold"]


def people(split: str, count: int) -> list[Row]:
    rows = []
    for n in range(count):
        who = f"{WORDS[n % 13]} {WORDS[n % 11]} {WORDS[n % 7]}"
        rows += [row(f"{split}h{n}", f"The {who} man stabbed somebody.", True, split)]
        rows += [row(f"{split}b{n}", f"The {who} man greeted somebody.", False, split)]
    return rows


@pytest.fixture(scope="module")
def fit() -> list[Row]:
    return people("fit", 40)


@pytest.fixture(scope="module")
def retraining(fit: list[Row]) -> Retraining:
    return Retraining(Material([*fit, *people("shape", 30)], []))


def test_training_again_on_the_same_rows_changes_nothing(retraining: Retraining, fit: list[Row]):
    """There is no chance in it."""
    again = retraining.aftermath(fit)

    assert [True] * 30 == again.still_caught
    assert again.kind.startswith("neither silent nor safe beyond chance: 0 harmful let go")


def test_harmful_texts_that_are_let_go_are_a_silent_failure(retraining: Retraining, fit: list[Row]):
    """As if nobody had ever labelled anything harmful."""
    blind = retraining.aftermath([replace(item, labels=HARMLESS) for item in fit])

    assert [False] * 30 == blind.still_caught
    assert blind.kind.startswith("silent: 30 harmful let go")


def test_benign_texts_that_are_held_are_a_safe_failure(retraining: Retraining, fit: list[Row]):
    """As if everything had been labelled harmful."""
    timid = retraining.aftermath([replace(item, labels=VIOLENT) for item in fit])

    assert [True] * 30 == timid.still_caught
    assert timid.kind.startswith("safe: 0 harmful let go")


def test_shuffled_labels_teach_less(retraining: Retraining):
    """The impostor of all claims about training."""
    assert sum(retraining.shuffled.still_caught) < 30


@pytest.mark.parametrize("fault", RETRAININGS)
def test_a_fault_is_the_same_every_time(fault: str, fit: list[Row]):
    """Or its result could not be looked at again."""
    assert RETRAININGS[fault](fit, 0.5) == RETRAININGS[fault](fit, 0.5)
    assert RETRAININGS[fault](fit, 0.5) != fit


def test_noise_turns_its_share_of_labels(fit: list[Row]):
    """In every category, and no other thing."""
    noisy = RETRAININGS["label_noise"](fit, 0.25)
    turned = [before.labels != after.labels for before, after in zip(fit, noisy, strict=True)]

    assert 0.1 < sum(turned) / len(turned) < 0.4
    assert [item.completion for item in fit] == [item.completion for item in noisy]
