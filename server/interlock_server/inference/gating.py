"""What the gate for the unknown makes of an exchange: its text, looked at once, and what the gated member said of it."""

from interlock_server.assurance.gate import Gate
from interlock_server.inference.scoring import MemberReport
from interlock_server.text.exchange import Exchange
from interlock_server.text.gibberish import Strangeness, strangeness


def look(gate: Gate, exchange: Exchange) -> Strangeness:
    """At the text, once: a lane does it, since it takes a while for a long one."""
    return exchange.once("strangeness", lambda: strangeness(exchange.canonical, gate.surprise, gate.ordinary))


def ood_pvalue(gate: Gate, exchange: Exchange, reports: tuple[MemberReport, ...]) -> float | None:
    """How ordinary it is; None unless the gated member has read all of it."""
    report = next((each for each in reports if each.evidence.member == gate.member), None)
    if report is None or report.distance is None:
        return None
    seen, size = look(gate, exchange), len(exchange.canonical.text)
    return gate.pvalue(
        {
            "distance": (report.distance, report.distance_windows),
            "letters": (seen.letters, size),
            "words": (seen.words, size),
        }
    )
