"""The proof that a member is the one that was calibrated: it must reproduce the scores of the golden exchanges."""

import time
from collections.abc import Awaitable, Callable, Sequence

from interlock_server.assurance.gate import Gate
from interlock_server.backends.backend import Window
from interlock_server.bundle.manifest import GATE_TOLERANCE, GoldenExchange, MemberManifest
from interlock_server.errors import BundleError
from interlock_server.inference.gating import ood_pvalue
from interlock_server.inference.scoring import Member, MemberReport, Rows, Work, checked, score_exchange
from interlock_server.text.exchange import Exchange


def check_golden(
    member: Member, manifest: MemberManifest, golden: Sequence[GoldenExchange], gate: Gate | None = None
) -> list[tuple[int, float]]:
    """Scores every golden exchange; returns (bytes, seconds) of each run, which also warms the model up.

    Raises BundleError when a score is missing or further off than the member's tolerance, or when the gate that belongs
    to the member says something else than it said.
    """
    costs = []
    for number, row in enumerate(golden, 1):
        exchange = Exchange(row.prompt, row.completion)
        report = score_exchange(member, exchange)
        _compare(report, manifest, number, row)
        _compare_pvalue(gate, exchange, report, number, row)
        costs.append((exchange.completion_bytes, report.read_s + report.infer_s))
    return costs


async def check_golden_remotely(
    member: Member,
    manifest: MemberManifest,
    golden: Sequence[GoldenExchange],
    score: Callable[[Sequence[Window]], Awaitable[Rows]],
    gate: Gate | None = None,
) -> None:
    """The same of a model on another machine, which `score` asks; raises BundleError, and what `score` raises."""
    for number, row in enumerate(golden, 1):
        exchange = Exchange(row.prompt, row.completion)
        work = Work(member)
        work.read(exchange)
        while work.pending:
            window = work.pending.popleft()
            for scored in checked(await score([window]), 1, len(member.categories), member.gated).rows:
                work.record(window, scored)
        report = work.report(exchange, time.monotonic())
        _compare(report, manifest, number, row)
        _compare_pvalue(gate, exchange, report, number, row)


def _compare(report: MemberReport, manifest: MemberManifest, number: int, row: GoldenExchange) -> None:
    name = manifest.name
    if report.evidence.missing is not None or not report.evidence.coverage_complete:
        raise BundleError(f"member {name}: gives no complete evidence on golden exchange {number}")
    for category, expected in row.scores[name].items():
        off = abs(report.evidence.scores[category] - expected)
        if not off <= manifest.golden_tolerance:
            raise BundleError(
                f"member {name}: {category} of golden exchange {number} is off by {off:.3f}, "
                f"more than its tolerance {manifest.golden_tolerance}"
            )


def _compare_pvalue(
    gate: Gate | None, exchange: Exchange, report: MemberReport, number: int, row: GoldenExchange
) -> None:
    if gate is None or gate.member != report.evidence.member:
        return
    pvalue = ood_pvalue(gate, exchange, (report,))
    if pvalue is None or row.ood_pvalue is None or not abs(pvalue - row.ood_pvalue) <= GATE_TOLERANCE:
        raise BundleError(f"the gate: does not say of golden exchange {number} what it said when the bundle was sealed")
