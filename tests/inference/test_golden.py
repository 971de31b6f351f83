"""The golden check: a member that does not reproduce its scores does not go into service."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes import BENIGN, CATEGORIES, IDENTITY, FakeBackend, fake_member, scores
from interlock_server.backends.backend import Reading, Run
from interlock_server.bundle.manifest import GoldenExchange, MemberManifest
from interlock_server.errors import BundleError
from interlock_server.inference.golden import check_golden

PROMPT = "xyzzy-marker"
MANIFEST = MemberManifest.model_validate(
    {
        "name": "alpha",
        "kind": "fake",
        "backend": "scripted",
        "categories": CATEGORIES,
        "files": {"model": "alpha.json"},
        "score_maps": dict.fromkeys(CATEGORIES, IDENTITY),
        "golden_tolerance": 0.02,
    }
)
GOLDEN = [
    GoldenExchange(prompt=PROMPT, completion=BENIGN, scores={"alpha": dict.fromkeys(CATEGORIES, 0.25)})
    for _ in range(8)
]


def check(answer: Callable[[Run], Any]) -> list[tuple[int, float]]:
    return check_golden(fake_member("alpha", answer), MANIFEST, GOLDEN)


def raises(run: Run) -> Any:
    raise RuntimeError(BENIGN)


@pytest.mark.parametrize("score", [0.25, 0.265, 0.235])
def test_scores_within_the_tolerance_pass(score: float):
    """And tell what each run cost, which also warmed the model up."""
    costs = check(lambda run: scores(score))

    assert [len(BENIGN)] * 8 == [size_bytes for size_bytes, _ in costs]
    assert all(took_s > 0 for _, took_s in costs)


@pytest.mark.parametrize("score", [0.0, 0.22, 0.28, 0.75, 1.0])
def test_an_altered_score_is_refused(score: float):
    """Another model, or one whose safe and unsafe are swapped; the message names the place and quotes nothing."""
    with pytest.raises(BundleError, match=r"^member alpha: \w+ of golden exchange 1 is off by 0\.\d+") as caught:
        check(lambda run: scores(score))

    assert BENIGN not in str(caught.value)
    assert PROMPT not in str(caught.value)


@pytest.mark.parametrize("answer", [raises, lambda run: scores(float("nan")), lambda run: scores()[:0]])
def test_a_member_that_fails_is_refused(answer: Callable[[Run], Any]):
    """No evidence is not evidence of being the same."""
    with pytest.raises(BundleError, match=r"^member alpha: gives no complete evidence on golden exchange 1$"):
        check(answer)


def test_a_member_that_reads_nothing_is_refused():
    """Whatever it would score."""
    member = fake_member("alpha", lambda run: scores(0.25))
    member.backend.read = lambda exchange: Reading([])  # type: ignore[method-assign]
    with pytest.raises(BundleError, match="gives no complete evidence"):
        check_golden(member, MANIFEST, GOLDEN)


def test_every_category_is_checked():
    """Not only the first."""

    def last_is_off(run: Run) -> Any:
        row = scores(0.25)
        row[0, -1] = 0.9
        return row

    with pytest.raises(BundleError, match="member alpha: self_harm of golden exchange 1 is off"):
        check(last_is_off)


def test_every_exchange_is_checked():
    """Not only the first."""
    backend = FakeBackend()
    backend.answer = lambda run: scores(0.25 if backend.asked < 8 else 0.9)
    member = fake_member("alpha", lambda run: backend.score([], run))
    with pytest.raises(BundleError, match="of golden exchange 8 is off"):
        check_golden(member, MANIFEST, GOLDEN)
