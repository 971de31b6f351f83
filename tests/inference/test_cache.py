"""The evidence cache: bounded, apart by caller, and only for complete evidence."""

import pytest
from fakes import CATEGORIES
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.decision.evidence import MemberEvidence, MissingCause
from interlock_server.inference.cache import EvidenceCache
from interlock_server.inference.panel import Answer
from interlock_server.inference.scoring import MemberReport

GOOD = MemberEvidence("alpha", dict.fromkeys(CATEGORIES, 0.5), coverage_complete=True)


def cache(entries_max: int = 10, across_callers: bool = False, digest: str = "sha256:1") -> EvidenceCache:
    return EvidenceCache(entries_max, across_callers, digest)


def answer(*evidence: MemberEvidence) -> Answer:
    return Answer(tuple(MemberReport(each, queue_s=1.0, infer_s=2.0) for each in evidence))


def test_what_was_put_is_found():
    """With its scores, and without times that were another request's."""
    kept = cache()
    kept.put(b"key", answer(GOOD))
    found = kept.get(b"key")

    assert found is not None
    assert [(GOOD, 0.0, 0.0)] == [(each.evidence, each.queue_s, each.infer_s) for each in found.reports]


@pytest.mark.parametrize(
    "evidence",
    [
        (),
        (MemberEvidence("alpha", missing=MissingCause.TIMED_OUT),),
        (GOOD, MemberEvidence("beta", GOOD.scores, MissingCause.FAILED)),
        (MemberEvidence("alpha", GOOD.scores, coverage_complete=False),),
    ],
)
def test_less_than_all_is_not_kept(evidence: tuple[MemberEvidence, ...]):
    """An outage must not outlast itself."""
    kept = cache()
    kept.put(b"key", answer(*evidence))

    assert kept.get(b"key") is None


def test_the_least_recently_used_goes_first():
    """And there are never more than the limit."""
    kept = cache(entries_max=2)
    for key in (b"a", b"b"):
        kept.put(key, answer(GOOD))
    kept.get(b"a")
    kept.put(b"c", answer(GOOD))

    assert [True, False, True] == [kept.get(key) is not None for key in (b"a", b"b", b"c")]
    assert 2 == len(kept)


def test_callers_are_apart_unless_asked_otherwise():
    """A fast answer would tell one what another asked."""
    apart, together = cache(), cache(across_callers=True)

    assert apart.key(b"p", b"c", "one") != apart.key(b"p", b"c", "two")
    assert together.key(b"p", b"c", "one") == together.key(b"p", b"c", "two")


def test_another_bundle_is_another_key():
    """Its scores are others."""
    assert cache(digest="sha256:1").key(b"p", b"c", "") != cache(digest="sha256:2").key(b"p", b"c", "")


@given(st.tuples(st.binary(), st.binary(), st.text()), st.tuples(st.binary(), st.binary(), st.text()))
def test_different_exchanges_have_different_keys(one: tuple[bytes, bytes, str], two: tuple[bytes, bytes, str]):
    """However their parts are cut."""
    kept = cache()

    assert (one == two) == (kept.key(*one) == kept.key(*two))
