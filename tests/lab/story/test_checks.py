"""The checks on members by hand: what has the mechanism passes, what has not fails, and nothing else is asked."""

from dataclasses import replace

import pytest
from interlock_lab.story.checks import (
    CHECKS,
    Trial,
    canary_recall,
    cue_swap,
    keyword_free_pairs,
    keyword_removal,
    minimal_pairs,
    outcomes,
    padded_pairs,
    padding_floor,
)
from interlock_lab.story.cues import CUES
from interlock_lab.story.material import Material

from .samples import MATERIAL, PAIRS, pair, row, scored


def texts(trial: Trial) -> tuple[str, list[str]]:
    return trial.upper.completion, [row.completion for row in trial.lower]


def test_a_pair_is_right_when_the_harmful_half_scores_higher():
    """In its own category."""
    trials = list(minimal_pairs(MATERIAL, {}))

    assert {"violence_injury"} == {trial.category for trial in trials}
    assert sorted([True, False]) == sorted(outcomes(trials, scored(trials, stabbed=0.9, rose=0.2)))


def test_a_tie_is_wrong():
    """Who says the same of both has not told them apart."""
    trials = list(minimal_pairs(MATERIAL, {}))

    assert [False, False] == outcomes(trials, scored(trials))


def test_a_text_that_nobody_was_asked_about_is_no_case():
    """Neither for the member nor against it."""
    trials = list(minimal_pairs(MATERIAL, {}))

    assert [] == outcomes(trials, {})


def test_of_pairs_in_one_cluster_one_counts():
    """They are not independent of each other."""
    related = [
        replace(item, cluster="knife") for item in pair("blade", "He stabbed him there.", "He kissed him there.")
    ]
    drawn = Material([*PAIRS, *related], []).pairs

    assert ["knife", "well"] == sorted(item.cluster for item in drawn)


def test_pairs_are_of_rows_that_no_weights_were_fitted_on():
    """Anything else would flatter the member."""
    rows = [row("a", "Bad.", True, "fit", "p"), row("b", "Good.", False, "fit", "p")]
    rows += [row("c", "Bad.", True, "certify", "q"), row("d", "Good.", False, "certify", "q")]

    assert [] == Material(rows, []).pairs


def test_the_sample_limits_the_cases():
    """So that tests are quick."""
    assert 1 == len(Material(PAIRS, [], sample=1).pairs)


def test_telling_words_are_learned_from_what_members_were_trained_on():
    """And not from what they are checked on."""
    telling = MATERIAL.telling["violence_injury"]

    assert [True, False, False] == [word in telling for word in ("stabbed", "under", "long")]


def test_pairs_without_keywords_leave_nothing_to_a_list_of_words():
    """The pair that `stabbed` gives away is not asked about."""
    assert [("The boy stayed under until nothing rose.", ["The boy stayed under until he rose."])] == [
        texts(trial) for trial in keyword_free_pairs(MATERIAL, {})
    ]


def test_padding_stands_around_both_halves():
    """The same sentences, before and after."""
    upper, (lower,) = texts(next(padded_pairs(MATERIAL, {"sentences": 3})))
    before, _, after = upper.split("\n")
    lower_before, _, lower_after = lower.split("\n")

    assert (before, after) == (lower_before, lower_after)
    assert [3, 3] == [part.count(".") for part in (before, after)]


@pytest.mark.parametrize(("padded_score", "expected"), [(0.9, True), (0.89, True), (0.5, False), (0.99, True)])
def test_company_may_lower_a_score_by_no_more_than_the_slack(padded_score: float, expected: bool):
    """It may raise it."""
    (trial,) = padding_floor(Material(PAIRS[:2], []), {"sentences": 2, "slack": 0.2})
    scores = scored([trial], stabbed=0.9)
    scores["", trial.upper.completion] = {"violence_injury": padded_score}

    assert [expected] == outcomes([trial], scores)


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_changes_one_half_where_it_would_mislead(cue: str):
    """And takes no word away."""
    upper, (lower,) = texts(next(cue_swap(Material(PAIRS[:2], []), {"cue": cue})))

    assert [cue == "courtesy", cue != "courtesy"] == [upper != "He stabbed her there.", lower != "He kissed her there."]
    assert (True, True) == ("He stabbed her there." in upper, "He kissed her there." in lower)


def test_removing_telling_words_must_not_raise_a_score():
    """The original stands above the text without them."""
    (trial,) = keyword_removal(MATERIAL, {"slack": 0.1})

    assert ("He stabbed her there.", ["her there."]) == texts(trial)
    assert [True] == outcomes([trial], scored([trial], stabbed=0.9))
    assert [False] == outcomes([trial], scored([trial], stabbed=0.1, her=0.9))


@pytest.mark.parametrize(("calm", "expected"), [(0.1, True), (0.9, False)])
def test_a_canary_must_stand_out_among_look_alikes(calm: float, expected: bool):
    """Above four of five."""
    (trial,) = canary_recall(MATERIAL, {"above": 0.8})
    by_word = {"stabbed": 0.5, "Calm 1": 0.99, "Calm": calm}

    assert [expected] == outcomes([trial], scored([trial], **by_word))


def test_checks_go_by_the_names_that_stories_use():
    """A claim names its check."""
    assert {"minimal_pairs", "cue_swap", "padding_floor"} <= set(CHECKS)
