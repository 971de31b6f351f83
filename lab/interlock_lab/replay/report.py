"""The figures on a terminal. What would be released anew stands first."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from interlock_lab.replay.figures import CONFIDENCE, Figures

FLIPS_SHOWN = 10
_BAR_WIDTH = 30


def print_report(report: Figures, console: Console) -> None:
    """All of it; of the lists only the beginning."""
    console.print(f"[bold]{headline(report)}[/]")
    for title, section in sections(report):
        console.print(_outcomes(title, section))
        for direction in ("to_release", "to_withhold"):
            console.print(f"{TITLES[direction]}: {share_text(section[direction])}")
            if section[direction]["count"]:
                console.print(_causes(section[f"{direction}_by_cause"]))
        console.print(f"same decision, but other reasons or another action: {section['reasoned_anew']:,}")
    for direction in ("to_release", "to_withhold"):
        if report[direction]["count"]:
            console.print(_flips(TITLES[direction], report[direction]))
    for line in notes(report):
        console.print(line)
    console.print(_margins(report["margins"]))
    for title, found in failures(report):
        console.print(f"[bold red]{title}[/]")
        for line in found:
            console.print(f"  {line}", highlight=False)


TITLES = {
    "to_release": "withheld before, released now",
    "to_withhold": "released before, withheld now",
}

AGAIN = {
    "redecide": "came again exactly, of the verdicts that this very policy had decided",
    "rescore": "scored again within the tolerance, of the texts that this very bundle had scored",
}


def headline(report: Figures) -> str:
    """What was compared."""
    plan = report["plan"]
    how = {
        "redecide": f"decided again by policy {plan['policy']} {plan['policy_digest'][:19]}",
        "rescore": f"scored again by bundle {plan['bundle'][:19]}, decided by policy {plan['policy']}",
        "target": f"asked of {plan['target']}",
        "shadow": f"as the shadow policy {plan['shadow']} decided at the time",
    }[plan["mode"]]
    profile = f", profile {plan['profile']}" if plan["profile"] else ""
    return f"{report['verdicts']['judged']:,} verdicts on whole texts, {how}{profile}"


def sections(report: Figures) -> list[tuple[str, Figures]]:
    """Verdicts on whole texts, and those on parts of streams: one stream has many of them."""
    found = [("verdicts on whole texts", report["verdicts"])]
    if report["stream_parts"]["judged"]:
        found.append(("verdicts on parts of streams", report["stream_parts"]))
    return found


def share_text(share: Figures) -> str:
    """A count and, where it is a share of something, which one."""
    if not share["of"]:
        return f"{share['count']:,} of 0"
    low, high = share["low"], share["high"]
    return f"{share['count']:,} of {share['of']:,}, {share['share']:.2%} ({low:.2%} to {high:.2%})"


def notes(report: Figures) -> list[str]:
    """What is told in a line."""
    feedback = report["feedback"]
    lines = []
    if feedback["reports"]:
        said = "; ".join(
            f"{TITLES[direction]}: {feedback[direction]['harmful']:,} reported harmful, {feedback[direction]['fine']:,} fine"
            for direction in ("to_release", "to_withhold")
        )
        lines.append(f"of {feedback['reports_joined']:,} reports and {feedback['flips_joined']:,} flips: {said}")
    for member, gap in report["scores"].items():
        lines.append(
            f"scores of {member}: mean difference {gap['mean']:.2g}, largest {gap['max']:.2g}, over {gap['count']:,}"
        )
    if report["without_detail"]:
        count = report["without_detail"]
        lines.append(f"compared by decision and reasons only: {count:,}; the server grants no margins and categories")
    checked = report["irreproducible"]
    if checked["of"]:
        again = f"{checked['of'] - checked['count']:,} of {checked['of']:,}"
        lines.append(f"{AGAIN[report['plan']['mode']]}: {again}")
    return lines


def failures(report: Figures) -> list[tuple[str, list[str]]]:
    """What was not compared, or did not come again, with its places."""
    found = [
        (
            f"{report['irreproducible']['count']:,} verdicts should have come again, and did not",
            [
                f"{place(one)} {one['verdict_id']}: {', '.join(one['fields'])}"
                for one in report["irreproducible"]["first"]
            ],
        ),
        (
            f"{report['damage']['count']:,} records are damaged",
            [f"{place(one)}: {one['what']}" for one in report["damage"]["first"]],
        ),
    ]
    for cause, listed in report["unjudged"].items():
        lines = [f"{place(one)} {one['verdict_id']} {one['detail']}".rstrip() for one in listed["first"]]
        found.append((f"{listed['count']:,} verdicts were not compared: {cause}", lines))
    return [(title, lines) for title, lines in found if lines]


def place(one: Figures) -> str:
    """Where a record is."""
    return f"{one['log']}: segment {one['segment']}" + (f", line {one['line']}" if one["line"] else "")


def _outcomes(title: str, section: Figures) -> Table:
    table = _table(
        f"{section['judged']:,} {title}", "profile", "judged", "withheld before", "withheld now", *TITLES.values()
    )
    for name, row in [*section["profiles"].items(), ("all", section)]:
        shares = [row[key] for key in ("withheld_before", "withheld_after")]
        withheld = [f"{share['count']:,} ({share['share']:.1%})" if share["of"] else "0" for share in shares]
        counts = [f"{row[key]['count']:,}" for key in TITLES]
        table.add_row(name or "(default)", f"{row['judged']:,}", *withheld, *counts)
    return table


def _causes(causes: Iterable[Figures]) -> Table:
    """By the reasons of the side that withholds; those of which nothing flipped are in the files only."""
    table = _table("", "category", "reason", "count", "of", "share", f"{CONFIDENCE:.0%} interval")
    for row in causes:
        if row["count"]:
            shares = f"{row['share']:.2%}", f"{row['low']:.2%} to {row['high']:.2%}"
            table.add_row(row["category"] or "-", row["reason"], f"{row['count']:,}", f"{row['of']:,}", *shares)
    return table


def _flips(title: str, listed: Figures) -> Table:
    shown = listed["first"][:FLIPS_SHOWN]
    table = _table(
        f"{title}: the first {len(shown)} of {listed['count']:,}", "place", "verdict", "caller", "reasons", "margin", ""
    )
    for flip in shown:
        sides = flip["before"], flip["after"]
        reasons = ", ".join(sides[0]["reasons"] or sides[1]["reasons"])
        margins = ["?" if side["margin"] is None else f"{side['margin']:+.2f}" for side in sides]
        where = f"{flip['segment']}:{flip['line']}"
        table.add_row(where, flip["verdict_id"], flip["caller"], reasons, " to ".join(margins), flip["feedback"])
    return table


def _margins(margins: Figures) -> Table:
    table = _table("margins in nats", "from", "before", "now", "")
    rows = margin_rows(margins)
    most = max((max(before, after) for _, before, after in rows), default=0) or 1
    for label, before, after in rows:
        bar = "█" * round(_BAR_WIDTH * after / most)
        table.add_row(label, f"{before:,}", f"{after:,}", bar)
    return table


def margin_rows(margins: Figures) -> list[tuple[str, int, int]]:
    """Label, count before, count now of every bucket between the outermost that are not empty."""
    edges, sides = margins["edges"], (margins["before"], margins["after"])
    counts = [[side["below"], *side["counts"], side["above"]] for side in sides]
    labels = [f"below {edges[0]:g}", *(f"{edge:g}" for edge in edges[:-1]), f"{edges[-1]:g} and above"]
    rows = list(zip(labels, *counts, strict=True))
    filled = [number for number, (_, before, after) in enumerate(rows) if before or after]
    unknown = ("unknown", sides[0]["unknown"], sides[1]["unknown"])
    return [*(rows[filled[0] : filled[-1] + 1] if filled else []), *([unknown] if any(unknown[1:]) else [])]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
