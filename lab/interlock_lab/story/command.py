"""`interlock story check`: puts every claim of a bundle's training stories to its check, and planted impostors too.

Exit code 1 when a required member is refuted. With `--out` the result is sealed into a copy of the bundle, which then does
not load if it is refuted.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from interlock_server.bundle.load import Bundle, file_digest, load_bundle
from interlock_server.bundle.seal import write_manifest
from interlock_server.bundle.stories import ClaimState, StoryResults, read_stories
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import ConfigError

from interlock_lab.story.check import checked, refuse_unknown
from interlock_lab.story.judge import CONFIDENCE
from interlock_lab.story.material import load_material

STORIES, RESULTS = "training_story.toml", "stories.json"
REFUTED = 1


def story_check(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")] = DEFAULT_BUNDLE,
    stories: Annotated[Path | None, typer.Option(help="Stories instead of those of the bundle.")] = None,
    results: Annotated[Path | None, typer.Option(help="Write what was found here, as JSON.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new folder: the bundle with stories and results sealed in.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="The most cases of any check.")] = 1_000,
) -> None:
    """Check the claims of a bundle's training stories; exit code 1 when a required member is refuted."""
    logging.getLogger("interlock_lab.training").setLevel(logging.WARNING)
    if out is not None and out.exists():
        raise ConfigError(f"--out: {out} exists")
    loaded = load_bundle(bundle)
    path = stories or _of_bundle(loaded)
    found = _results(loaded, path, sample)
    text = found.model_dump_json(indent=1) + "\n"
    if results is not None:
        results.write_text(text, encoding="utf-8")
    if out is not None:
        _seal(loaded, path, text, out)
    raise typer.Exit(_report(found, loaded.policy.required_members))


def _of_bundle(bundle: Bundle) -> Path:
    if bundle.manifest.stories is None:
        raise ConfigError(f"{bundle.path}: has no training stories; name a file with --stories")
    return bundle.path / bundle.manifest.stories


def _results(bundle: Bundle, path: Path, sample: int) -> StoryResults:
    stories = read_stories(path)
    refuse_unknown(bundle, stories)
    return StoryResults(
        format=1,
        models=bundle.models_digest,
        stories=file_digest(path),
        date=datetime.now(UTC).date().isoformat(),
        confidence=CONFIDENCE,
        claims=checked(bundle, stories, load_material(sample=sample)),
    )


def _report(results: StoryResults, required: Collection[str]) -> int:
    """Prints every claim, the bad news last, and returns the exit code."""
    for result in sorted(results.claims, key=lambda item: item.state is ClaimState.REFUTED):
        typer.echo(f"{result.state.lower():9}  {result.member}.{result.claim}: {result.detail}")
    counts = Counter(result.state for result in results.claims)
    typer.echo(", ".join(f"{counts[state]} {state.lower()}" for state in ClaimState if counts[state]))
    blocked = sorted({item.member for item in results.claims if item.state is ClaimState.REFUTED} & set(required))
    if blocked:
        typer.echo(f"refuted and required: {', '.join(blocked)}; a bundle with this result does not load")
    return REFUTED if blocked else 0


def _seal(bundle: Bundle, stories: Path, results: str, out: Path) -> None:
    """Writes a copy of the bundle that states its stories and results, refuted or not."""
    shutil.copytree(bundle.path, out)
    (out / STORIES).write_bytes(stories.read_bytes())
    (out / RESULTS).write_text(results, encoding="utf-8")
    content = bundle.manifest.model_dump(mode="json", exclude={"format", "files"})
    write_manifest(out, {**content, "stories": STORIES, "story_results": RESULTS})
