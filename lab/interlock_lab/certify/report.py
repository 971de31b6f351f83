"""The figures in words and tables; the page and the section of docs/ensemble.md are two dresses of these. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock_lab.certify.figures import Figures
from interlock_lab.certify.issue import ASSUMPTIONS, NOT_COVERED, STATEMENT

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A title, sentences, and perhaps a table and the plots that go with it."""

    title: str
    sentences: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Rows = ()
    plots: str = ""
    """The beginning of the plots' names."""


def sections(figures: Figures) -> list[Section]:
    """What fell short comes first."""
    return [
        *_shortfalls(figures),
        _bounds(figures),
        _prices(figures),
        *_trade_off(figures),
        *_hidden_harm(figures),
        *_reliability(figures),
        *(Section(**part) for part in figures["forecast"]),
        Section("What this rests on", [STATEMENT, *ASSUMPTIONS, f"It does not cover {', '.join(NOT_COVERED)}."]),
    ]


def headline(figures: Figures) -> str:
    """The certificate in a sentence."""
    opening, confidence = figures["opening"], 1 - figures["opening"]["spent"]
    worst = ", ".join(f"{category} {bound:.1%}" for category, bound in sorted(figures["headline"].items()))
    what = f"at most this share of harmful text is released: {worst}" if worst else "nothing is certified"
    return (
        f"Profile {figures['default_profile']}: {what}. All bounds of all profiles, categories and sources hold together with "
        f"confidence {confidence:.2%} (opening {opening['entry']} of the set, which spends {opening['spent']:.4f} of "
        f"{opening['delta']:g})."
    )


def markdown(figures: Figures, plots: Sequence[str] = ()) -> str:
    """For docs/ensemble.md: the same sentences and tables; `plots` are the addresses of the pictures that there are."""
    lines = [headline(figures), ""]
    for section in sections(figures):
        lines += [f"### {section.title}", ""]
        for sentence in section.sentences:
            lines += [sentence, ""]
        if section.rows:
            lines += [*_table(section.header, section.rows), ""]
        if section.plots:
            lines += [f"![{name}]({name})" for name in plots if Path(name).name.startswith(section.plots)] + [""]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Rows) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _shortfalls(figures: Figures) -> Iterator[Section]:
    """Every bound that was asked for and cannot be stated."""
    short = [line for line in figures["lines"] if line["why"]]
    if short:
        sentences = [
            f"{line['profile']}, {line['category']}, source {line['source']}"
            + (f" (target {line['alpha']:g})" if line["alpha"] is not None else "")
            + f": {line['why']}. Of {line['clusters']} harmful clusters {line['misses']} are released, which is no bound."
            for line in short
        ]
        sentences.append(
            "A profile without any bound keeps the dials of the panel's fit, or those of a laxer target where they are lower."
        )
        yield Section("Not certified", sentences)


def _bounds(figures: Figures) -> Section:
    header = [
        "profile", "category", "source", "harmful clusters", "target", "misses allowed", "misses", "released at most",
        "with unclear as harmful", "caught by the gate alone", "own factor", "dial", "dial before",
    ]  # fmt: skip
    rows = [
        [
            line["profile"],
            line["category"],
            line["source"],
            f"{line['clusters']}",
            _maybe(line["alpha"], "{:.0%}"),
            _maybe(line["misses_allowed"], "{}"),
            f"{line['misses']}",
            _maybe(line["bound"], "{:.1%}", "not certified"),
            _unclear(line),
            f"{line['caught_by_gate_only']}",
            _maybe(line["factor"], "{:.2f}"),
            f"{line['dial']:.2f}",
            f"{line['dial_before']:.2f}",
        ]
        for line in figures["lines"]
    ]
    confidences = {1 - line["delta"] for line in figures["lines"] if line["bound"] is not None}
    each = f"Each bound is stated with confidence {min(confidences):.3%}. " if confidences else ""
    sentence = (
        f"{each}A miss is a harmful unit that the resulting policy releases, whichever category it is harmful in. All dials of a "
        "profile are turned together, by the factor that its strictest bound asks for; the table has each bound's own."
    )
    return Section("Bounds on the miss rate", [sentence], header, rows)


def _prices(figures: Figures) -> Section:
    profiles = list(dict.fromkeys(price["profile"] for price in figures["prices"]))
    sources = list(dict.fromkeys(price["source"] for price in figures["prices"]))
    by_key = {(price["profile"], price["source"]): price for price in figures["prices"]}
    rows = [
        [source, f"{by_key[profiles[0], source]['n']}", *(_share(by_key[profile, source]) for profile in profiles)]
        for source in sources
    ]
    sentence = (
        "The share of benign text that each profile withholds, with its exact 95 % interval, one row of each cluster; in "
        "brackets how many rows are withheld for being unlike anything known alone."
    )
    return Section("The price in benign text", [sentence], ["benign source", "n", *profiles], rows)


def _share(price: Figures) -> str:
    if price["share"] is None:
        return "no rows"
    return f"{price['share']:.1%} ({price['low']:.1%} to {price['high']:.1%}) [{price['gate_only']}]"


def _trade_off(figures: Figures) -> Iterator[Section]:
    if figures["trade_off"]:
        sentence = (
            "What another rank would have meant for the default profile: the bound against the benign text withheld. Each point "
            "holds by itself; picking a dial from the curve voids the confidence."
        )
        yield Section("Bound against price", [sentence], plots="trade_off")


def _hidden_harm(figures: Figures) -> Iterator[Section]:
    if figures["hidden_harm"]:
        rows = [
            [
                item["profile"],
                f"{item['n']}",
                f"{item['count']}",
                "none" if item["share"] is None else f"{item['share']:.1%} ({item['low']:.1%} to {item['high']:.1%})",
                f"{item['unclear']}",
            ]
            for item in figures["hidden_harm"]
        ]
        sentence = (
            "Rows that were drawn as benign by their source's label and read blind: of those that a profile releases, how many "
            "the readers find harmful."
        )
        yield Section("Harm that labels hide", [sentence], ["profile", "released", "harmful", "share", "unclear"], rows)


def _reliability(figures: Figures) -> Iterator[Section]:
    rows = [
        [
            item["member"],
            item["category"],
            f"{item['n']}",
            "too few units"
            if item["slope"] is None
            else f"{item['slope']:.2f} ({item['low']:.2f} to {item['high']:.2f})",
            "yes" if item["calibrated"] else "no",
        ]
        for item in figures["reliability"]
    ]
    verdict = (
        "all are, so that margins compare" if figures["margins_comparable"] else "not all are: margins do not compare"
    )
    sentence = (
        "The log-odds of harm per nat of a member's evidence, near its threshold, with harmful and benign units weighing the "
        f"same; within a tenth of 1 is calibrated: {verdict}."
    )
    header = ["member", "category", "units near the threshold", "slope and 95 % interval", "within a tenth of 1"]
    yield Section("Is a nat a nat", [sentence], header, rows, plots="reliability")


def _unclear(line: Figures) -> str:
    bound = _maybe(line["bound_with_unclear"], "{:.1%}")
    return f"{bound} ({line['unclear']} unclear)" if bound else ""


def _maybe(value: Any, form: str, otherwise: str = "") -> str:
    return otherwise if value is None else form.format(value)


def spoken(figures: Figures) -> Iterable[str]:
    """For the terminal: a line per claim."""
    for line in figures["lines"]:
        what = (
            line["why"]
            or f"at most {line['bound']:.1%} released ({line['misses']} of {line['clusters']} clusters missed)"
        )
        yield f"{line['profile']}, {line['category']}, {line['source']}: {what}"
