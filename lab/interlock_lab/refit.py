"""`interlock fit-panel`: score maps, panel weights, thresholds and dials of any bundle, from labelled exchanges.

Every member becomes required in the categories that it covers, shadows too. The models stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from interlock_server.decision.evidence import Evidence
from interlock_server.errors import ConfigError

from interlock_lab.bundle_edit import Draft, edited
from interlock_lab.examples import Example, load_examples, ordinary, require
from interlock_lab.fit_panel import CategoryFit, share_of_each
from interlock_lab.panel import IDENTITY, TOLERANCE, category_rules, fit, score_map
from interlock_lab.scores import Floats, evidence_of

EXAMPLES_MIN = 30
DEFAULT_SHARES = "permissive=0.10,balanced=0.20,cautious=0.35,strict=0.50"


def fit_panel(
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The bundle's folder.")],
    data: Annotated[Path, typer.Option(help="Labelled exchanges (JSON lines) that no member was trained on.")],
    out: Annotated[Path | None, typer.Option(help="A new folder; without it the bundle is replaced.")] = None,
    benign_share: Annotated[
        str, typer.Option(help="Per profile the share of ordinary benign text that may be withheld.")
    ] = DEFAULT_SHARES,
) -> None:
    """Fit a bundle's score maps, panel and dials over all of its members, and seal it."""
    rows = load_examples(data)
    with edited(bundle, out) as draft:
        categories = draft.manifest["categories"]
        shares = _shares(benign_share, draft.policy["profiles"])
        _require(rows, categories, data.name)
        table = _scores(draft, rows)
        fits = {category: _fit(rows, table[category], category) for category in categories}
        for member in draft.manifest["members"]:
            member["score_maps"] = {c: score_map(fits[c].members[member["name"]]) for c in member["categories"]}
        draft.policy = _policy(draft.policy, fits, rows, shares)
        digest = draft.seal().digest
    for category, fitted in fits.items():
        weights = ", ".join(f"{name} {member.weight:.2f}" for name, member in fitted.members.items())
        typer.echo(f"{category}: {_count(rows, category)}; weights: {weights}")
    typer.echo(f"{out or bundle}: {digest}")


def _shares(text: str, profiles: Mapping[str, Any]) -> dict[str, float]:
    """Profile -> share; raises ConfigError unless every profile of the policy has a share between 0 and 1."""
    shares = {}
    for part in text.split(","):
        profile, _, share = part.strip().partition("=")
        try:
            shares[profile] = float(share)
        except ValueError:
            raise ConfigError(f"--benign-share: {part.strip()!r} is not PROFILE=SHARE") from None
        if not 0 < shares[profile] < 1:
            raise ConfigError(f"--benign-share: {profile}: must be between 0 and 1")
    if absent := sorted(set(profiles) - set(shares)):
        raise ConfigError(f"--benign-share: the policy's profile {', '.join(absent)} has no share")
    return shares


def _require(rows: Sequence[Example], categories: Sequence[str], source: str) -> None:
    counts = {c: (sum(r.harmful_in(c) for r in rows), sum(r.benign_in(c) for r in rows)) for c in categories}
    require(counts, EXAMPLES_MIN, source)
    if (count := int(ordinary(rows).sum())) < EXAMPLES_MIN:
        raise ConfigError(f"{source}: has {count} benign examples without a harmful pair; {EXAMPLES_MIN} are needed")


def _scores(draft: Draft, rows: Sequence[Example]) -> dict[str, dict[str, Floats]]:
    """Category -> member -> P(harm) per row, from every member of the bundle."""
    covers = {member["name"]: member["categories"] for member in draft.manifest["members"]}
    policy, draft.policy = draft.policy, _policy_that_waits(covers, draft.manifest["categories"])
    for member in draft.manifest["members"]:
        member["score_maps"] = dict.fromkeys(member["categories"], IDENTITY)
    draft.seal()
    draft.policy = policy
    evidence = evidence_of(draft.path, rows, "scoring examples")
    found = [_complete(number, item) for number, item in enumerate(evidence, 1)]
    return {
        category: {
            name: np.array([row[name][category] for row in found]) for name in covers if category in covers[name]
        }
        for category in draft.manifest["categories"]
    }


def _policy_that_waits(covers: Mapping[str, Sequence[str]], categories: Sequence[str]) -> dict[str, Any]:
    """Requires every member, because nobody waits for a shadow. Its thresholds mean nothing."""
    rule = {"weight": 1.0, "offset": 0.0, "clear_below": 0.0}
    rules = {
        category: {
            "release_below": 1.0,
            "harmful_at": 1.0,
            "members": {name: rule for name in covers if category in covers[name]},
            "single_member": "acknowledged",
        }
        for category in categories
    }
    return {"format": 1, "name": "draft", "default_profile": "draft", "profiles": {"draft": {"categories": rules}}}


def _complete(number: int, evidence: Evidence) -> dict[str, Mapping[str, float]]:
    for item in evidence.members:
        if item.missing is not None or not item.coverage_complete:
            why = evidence.alarms[0] if evidence.alarms else item.missing or "incomplete"
            raise ConfigError(f"--data: line {number} gets no scores from member {item.member}: {why}")
    return {item.member: item.scores for item in evidence.members}


def _fit(rows: Sequence[Example], scores: Mapping[str, Floats], category: str) -> CategoryFit:
    label = np.array([np.nan if (value := row.labels.get(category)) is None else value for row in rows], dtype=float)
    return fit(scores, label, np.ones(len(rows)))


def _policy(
    policy: Mapping[str, Any], fits: Mapping[str, CategoryFit], rows: Sequence[Example], shares: Mapping[str, float]
) -> dict[str, Any]:
    """The old policy with new rules. What was said of the old fit, that its margins compare, is not said of this one."""
    plain = ordinary(rows)
    profiles = {}
    for name, profile in policy["profiles"].items():
        share = share_of_each([fitted.panel_scores[plain] for fitted in fits.values()], shares[name])
        rules = {}
        for category, fitted in fits.items():
            benign = np.array([row.benign_in(category) for row in rows])
            tolerance = profile.get("tolerance", TOLERANCE)
            rules[category] = category_rules(fitted, plain, benign, share, tolerance)
            rules[category] |= _acknowledged(profile["categories"][category])
        profiles[name] = {**profile, "categories": rules}
    kept = {key: value for key, value in policy.items() if key not in ("shadow", "margin_comparable")}
    return {**kept, "profiles": profiles}


def _acknowledged(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {"single_member": rule["single_member"]} if rule.get("single_member") else {}


def _count(rows: Sequence[Example], category: str) -> str:
    harmful, benign = sum(r.harmful_in(category) for r in rows), sum(r.benign_in(category) for r in rows)
    return f"{harmful} harmful, {benign} benign"
