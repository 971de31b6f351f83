"""The part of docs/ensemble.md about the gate for the unknown."""

from __future__ import annotations

from collections.abc import Iterator

from interlock_lab.gate.figures import HALVINGS, GateFigures, Share

LAYERS = """### Which layer

Share of each suite that the distance alone gives p <= 0.0033, a third of 0.01. Measured once, on 2026-11-21, on these suites,
so that the chosen line is flattered a little by the choice; all of 5,000 reference and 4,818 calibration rows. The last layer
knows harm and not what prose is: it holds back nothing at all.

| layer, distance | code | tables | languages_latin | translit | letters | encoded | near suites |
|---|---|---|---|---|---|---|---|
| 6 (last), Mahalanobis | 0 | 0 | 0 | 0 | 0 | 0 | 0 |
| 6 (last), angle to 10 of 300 prototypes | 0 | 0 | 0 | 0 | 0 | 0 | 0 |
| 5, Mahalanobis | 0 | 0 | 0 | 0 | .06 | .13 | 0 |
| 4, Mahalanobis | 0 | .55 | 0 | .06 | .39 | .49 | 0 |
| 3, Mahalanobis | .35 | .85 | .27 | .17 | .70 | .64 | 0 |
| 3, angle | .15 | .50 | 0 | 0 | .79 | .64 | 0 |
| 2, Mahalanobis | .45 | .70 | .17 | 0 | .48 | .38 | 0 |
| **2, angle** | .75 | .85 | .10 | .11 | .97 | .72 | 0 |
| 2, angle, completion's tokens only | .05 | .30 | 0 | 0 | .58 | .54 | 0 |
"""
NEAR = ("poetry", "legal", "recipes", "dialogue")


def section(figures: GateFigures) -> str:
    """Markdown, from what was measured."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: GateFigures) -> Iterator[str]:
    yield "## The gate for the unknown\n"
    yield from _weakest(figures)
    yield (
        "Three checks, each a conformal p-value among texts of the same size that the encoder never saw: the distance of an "
        "early hidden layer of the encoder from texts that it was taught with (mean over the tokens, angle to the ten nearest "
        "of a few hundred prototypes, the farthest window of the text as it is read), letters (surprise of three in a row) and "
        "words (share that is not common English), of the strangest 400 characters. p is three times the smallest. A text "
        "mostly in other letters than Latin ones is refused before. It is no check for harm, and no defence against somebody "
        "who tries to look ordinary.\n"
    )
    yield f"Alphas: {', '.join(f'{name} {alpha}' for name, alpha in figures.alphas.items())}. Calibration texts by size: "
    groups = (
        f"{check} {', '.join(f'{start}+: {count}' for start, count in found.items())}"
        for check, found in figures.calibration.items()
    )
    yield f"{'; '.join(groups)}. Of the calibration texts {figures.refused} were refused unread and are in no group.\n"
    yield "### Held back of texts that it knows\n"
    yield "Calibrated on one half of the clusters, counted on the other; the promise is about the mean over calibrations:\n"
    yield from (f"- `{profile}`: {found} over {HALVINGS} halvings" for profile, found in figures.known_spread.items())
    yield "\nOne of the halvings, by what the texts are:\n"
    yield from _table([(profile, dict(shares)) for profile, shares in figures.known.items()])
    yield "### Held back of texts that it does not know, among those that the classifiers would release\n"
    yield "`refused` are held back before any member is asked, `withheld` by the classifiers, and neither is in the share.\n"
    for title, near in (("Near", True), ("Far", False)):
        yield f"{title}:\n"
        yield from _suite_table(figures, near)
    yield LAYERS


def _weakest(figures: GateFigures) -> Iterator[str]:
    """What falls short comes first."""
    profile, suites = next(iter(figures.suites.items()))
    weak = [name for name, item in suites.items() if item.gated.of and item.gated.hits < item.gated.of / 2]
    if weak:
        yield f"**It lets through more than half of {', '.join(weak)}** (profile `{profile}`, see below).\n"


def _table(rows: list[tuple[str, dict[str, Share]]]) -> Iterator[str]:
    groups = list(rows[0][1])
    yield f"| profile | {' | '.join(groups)} |"
    yield f"|---|{'---|' * len(groups)}"
    for profile, shares in rows:
        yield f"| `{profile}` | {' | '.join(str(shares[group]) for group in groups)} |"
    yield ""


def _suite_table(figures: GateFigures, near: bool) -> Iterator[str]:
    profiles = list(figures.suites)
    yield f"| suite | texts | refused | withheld ({profiles[0]}) | {' | '.join(f'`{name}`' for name in profiles)} |"
    yield f"|---|---|---|---|{'---|' * len(profiles)}"
    for suite, first in figures.suites[profiles[0]].items():
        if (suite in NEAR) == near:
            shares = " | ".join(str(figures.suites[profile][suite].gated) for profile in profiles)
            yield f"| {suite} | {first.texts} | {first.unread} | {first.withheld} | {shares} |"
    yield ""
