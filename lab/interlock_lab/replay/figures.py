"""From a tally to the figures of the report, as plain data: terminal, JSON and page all show these. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from interlock_server.audit.record import Decided
from interlock_server.decision.verdict import REASON_ORDER
from scipy.special import betaincinv

from interlock_lab.replay.tally import (
    BUCKETS,
    GAP_UNIT,
    MARGIN_LOW,
    MARGIN_STEP,
    RELEASE,
    WITHHOLD,
    Difference,
    Firsts,
    Flip,
    Tally,
    Unjudged,
)

CONFIDENCE = 0.95
Figures = dict[str, Any]
_Cells = list[tuple[str, str, str, int]]
_ORDER = {RELEASE: -2, WITHHOLD: -1, **{reason.value: place for reason, place in REASON_ORDER.items()}}
_T = TypeVar("_T")


def figures(tally: Tally, logs: Sequence[str]) -> Figures:
    """Everything that was found. What would be released anew comes first: a rollout is stopped for that."""
    labels = dict(label for _, label in tally.reported.items)
    return {
        "verdicts": _section(tally, part=False),
        "stream_parts": _section(tally, part=True),
        "to_release": _listed(tally.released, logs, lambda flip: _flip(flip, labels)),
        "to_withhold": _listed(tally.withdrawn, logs, lambda flip: _flip(flip, labels)),
        "feedback": _feedback(tally, labels),
        "without_detail": tally.without_detail,
        "margins": _margins(tally),
        "scores": {
            member: {"count": gap.count, "mean": gap.total * GAP_UNIT / gap.count, "max": gap.largest * GAP_UNIT}
            for member, gap in sorted(tally.gaps.items())
        },
        "irreproducible": {"of": tally.checked, **_listed(tally.irreproducible, logs, _difference)},
        "unjudged": {cause: _listed(some, logs, _unjudged) for cause, some in sorted(tally.unjudged.items())},
        "damage": _listed(tally.damage, logs, lambda what: {"what": what}),
    }


def share(count: int, of: int) -> Figures:
    """A share of so many, with its exact (Clopper-Pearson) interval; None where there is nothing to have a share of."""
    if not of:
        return {"count": count, "of": of, "share": None, "low": None, "high": None}
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return {"count": count, "of": of, "share": count / of, "low": low, "high": high}


def _section(tally: Tally, part: bool) -> Figures:
    """The verdicts on whole texts, or those on parts of streams."""
    cells = [(profile, str(b), str(a), n) for (of_part, profile, b, a), n in tally.outcomes.items() if of_part is part]
    matrix: dict[tuple[str, str], int] = {}
    for _, before, after, number in cells:
        matrix[before, after] = matrix.get((before, after), 0) + number
    released_before = sum(n for (before, _), n in matrix.items() if before == RELEASE)
    return {
        **_summary(cells),
        "reasoned_anew": tally.reasoned_anew.get(part, 0),
        "to_release_by_cause": _by_cause(tally, part, RELEASE, tally.withheld),
        "to_withhold_by_cause": _by_cause(tally, part, WITHHOLD, released_before),
        "profiles": {name: _summary([c for c in cells if c[0] == name]) for name in sorted({c[0] for c in cells})},
        "matrix": [
            {"from": before, "to": after, "count": matrix[before, after]}
            for before, after in sorted(matrix, key=lambda cell: (_ORDER[cell[0]], _ORDER[cell[1]]))
        ],
    }


def _summary(cells: _Cells) -> Figures:
    def total(before: bool | None, after: bool | None) -> int:
        """Of the verdicts that were (or were not) released before, and after."""
        return sum(n for _, b, a, n in cells if before in (None, b == RELEASE) and after in (None, a == RELEASE))

    return {
        "judged": total(None, None),
        "withheld_before": share(total(False, None), total(None, None)),
        "withheld_after": share(total(None, False), total(None, None)),
        "to_release": share(total(False, True), total(False, None)),
        "to_withhold": share(total(True, False), total(True, None)),
    }


def _by_cause(tally: Tally, part: bool, now: str, of: int | Mapping[tuple[bool, str, str], int]) -> list[Figures]:
    """Flips per category and reason of the side that withholds; a verdict stands in every row whose reason it had.

    New releases are a share of the verdicts that the reason withheld before, new withholds one of all that were released.
    """
    flips = {
        (category, str(reason)): n for (p, to, category, reason), n in tally.flips.items() if (p, to) == (part, now)
    }
    bases = {} if isinstance(of, int) else {(c, str(reason)): n for (p, c, reason), n in of.items() if p is part}
    causes = sorted({*flips, *bases}, key=lambda cause: (-flips.get(cause, 0), cause[0], _ORDER[cause[1]]))
    return [
        {
            "category": category,
            "reason": reason,
            **share(flips.get((category, reason), 0), of if isinstance(of, int) else bases[category, reason]),
        }
        for category, reason in causes
    ]


def _feedback(tally: Tally, labels: Mapping[str, str]) -> Figures:
    """What people said of the flipped verdicts. `joined` is less than `flips` only in a log with more than JOINED_MAX."""
    found = {
        to: [labels[v] for _, (v, now) in tally.flipped.items if now == to and v in labels]
        for to in (RELEASE, WITHHOLD)
    }
    counts = {
        name: {"harmful": found[to].count("HARMFUL"), "fine": found[to].count("FINE")}
        for name, to in (("to_release", RELEASE), ("to_withhold", WITHHOLD))
    }
    return {
        "reports": tally.reported.count,
        "flips": tally.flipped.count,
        "reports_joined": len(tally.reported.items),
        "flips_joined": len(tally.flipped.items),
        **counts,
    }


def _margins(tally: Tally) -> Figures:
    """Histograms over verdicts on whole texts. The first and the last edge are those of the outermost full buckets."""
    return {
        "edges": [MARGIN_LOW + MARGIN_STEP * place for place in range(BUCKETS + 1)],
        **{
            name: {"unknown": counts[0], "below": counts[1], "counts": counts[2:-1], "above": counts[-1]}
            for name, counts in (("before", tally.margins_before), ("after", tally.margins_after))
        },
    }


def _listed(places: Firsts[_T], logs: Sequence[str], told: Callable[[_T], Figures]) -> Figures:
    """How many, and the first of them with their places."""
    items = [{"log": logs[at.log], "segment": at.segment, "line": at.line, **told(item)} for at, item in places.items]
    return {"count": places.count, "first": items}


def _flip(flip: Flip, labels: Mapping[str, str]) -> Figures:
    return {
        "verdict_id": flip.verdict_id,
        "caller": flip.caller,
        "profile": flip.profile,
        "stream_part": flip.part,
        "feedback": labels.get(flip.verdict_id, ""),
        "before": _side(flip.before),
        "after": _side(flip.after),
    }


def _side(verdict: Decided) -> Figures:
    return {
        "reasons": [str(reason) for reason in verdict.reasons],
        "categories": {category: [str(r) for r in reasons] for category, reasons in sorted(verdict.categories.items())},
        "margin": verdict.margin,
    }


def _difference(item: Difference) -> Figures:
    return {"verdict_id": item.verdict_id, "fields": list(item.fields)}


def _unjudged(item: Unjudged) -> Figures:
    return {"verdict_id": item.verdict_id, "detail": item.detail}
