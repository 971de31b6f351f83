"""`interlock bundle add-member`: a published classifier becomes a member of a bundle, as a shadow, if it earns it.

A shadow is asked and recorded and decides nothing, so nothing can be released that was not before. `fit-panel` makes it
required, with maps and thresholds that mean something.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from interlock_server.app import load_members
from interlock_server.errors import BundleError, ConfigError
from interlock_server.inference.scoring import Member, score_exchange
from interlock_server.text.exchange import Exchange
from rich.progress import track

from interlock_lab.bundle_edit import Draft, edited
from interlock_lab.examples import Example, load_examples, require
from interlock_lab.members.check import Ranking, ranking, refuse_meaningless
from interlock_lab.members.graph import attach, columns_of, open_graph
from interlock_lab.members.labels import Head, head_of, read_declared
from interlock_lab.members.source import Source, find_source
from interlock_lab.panel import IDENTITY

MEMBER_CHECK = Path(__file__).resolve().parents[1] / "data" / "member_check.jsonl"
EXAMPLES_MIN = 20
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def add_member(
    source: Annotated[Path, typer.Argument(help="A Hugging Face folder, or an .onnx file.")],
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The bundle's folder.")],
    name: Annotated[str, typer.Option(help="What the member is called.")],
    labels: Annotated[Path | None, typer.Option(help="A YAML or JSON file: label -> categories, or safe.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="LABEL=CATEGORY[,CATEGORY] or LABEL=safe.")] = None,
    activation: Annotated[str | None, typer.Option(help="sigmoid or softmax, where config.json does not say.")] = None,
    examples: Annotated[Path, typer.Option(help="Labelled exchanges (JSON lines) to check it on.")] = MEMBER_CHECK,
    out: Annotated[Path | None, typer.Option(help="A new folder; without it the bundle is replaced.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="A tokenizer.json that is not beside the model.")] = None,
    tokens_max: Annotated[int | None, typer.Option(min=16, help="The longest input, if shorter.")] = None,
    prompt_tokens: Annotated[int, typer.Option(min=0, help="Of the prompt; 0 for models of single texts.")] = 0,
    kind: Annotated[str, typer.Option(help="Members of one kind do not make an ensemble.")] = "transformer",
) -> None:
    """Import a classifier into a bundle, checked on labelled examples, as a shadow member."""
    found = find_source(source, tokenizer)
    declared = read_declared(label or (), labels)
    rows = load_examples(examples)
    with edited(bundle, out) as draft:
        _check_name(name, draft)
        names = found.labels or _numbers(found)
        head = head_of(declared, names, activation or found.activation, draft.manifest["categories"])
        require(_counts(head, rows), EXAMPLES_MIN, examples.name)
        reads = {
            "tokens_max": _tokens_max(found, tokens_max),
            "prompt_tokens_max": prompt_tokens,
            "uncased": found.uncased,
        }
        member = _manifest(name, kind, head, reads)
        _write(found, head, draft.path, member)
        draft.manifest["members"].append(member)
        draft.policy["shadow"] = [*draft.policy.get("shadow", []), name]
        rankings, digest = _checked(draft, member, rows)
    for category, item in rankings.items():
        typer.echo(f"{category}: {item}")
    typer.echo(f"{name} is a shadow: asked and recorded, it decides nothing. `interlock fit-panel` makes it required.")
    typer.echo(f"{out or bundle}: {digest}")


def _check_name(name: str, draft: Draft) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name: must be of the form {NAME.pattern}")
    taken = {member["name"] for member in draft.manifest["members"]} | {file.name for file in draft.path.iterdir()}
    if {name, f"{name}.onnx", f"{name}.tokenizer.json"} & taken:
        raise ConfigError(f"--name: the bundle has a member or a file {name}")


def _numbers(found: Source) -> tuple[str, ...]:
    """The labels of a model without a config.json."""
    if not found.is_onnx:
        raise ConfigError("config.json: is missing")
    return tuple(map(str, range(columns_of(found.model, open_graph(found.model)))))


def _tokens_max(found: Source, asked: int | None) -> int:
    known = [size for size in (found.tokens_max, asked) if size is not None]
    if not known:
        raise ConfigError("--tokens-max: nothing beside the model says how long an input may be")
    return min(known)


def _counts(head: Head, rows: Sequence[Example]) -> dict[str, tuple[int, int]]:
    return {c: (len(_harmful(rows, c)), len(_benign(rows, c))) for c in head.columns}


def _harmful(rows: Sequence[Example], category: str) -> list[int]:
    return [place for place, row in enumerate(rows) if row.harmful_in(category)]


def _benign(rows: Sequence[Example], category: str) -> list[int]:
    """Without harm of any kind: a classifier of one kind may well notice another."""
    return [place for place, row in enumerate(rows) if row.benign and row.benign_in(category)]


def _manifest(name: str, kind: str, head: Head, reads: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "backend": "onnx",
        "categories": list(head.columns),
        "reads": reads,
        "files": {"model": f"{name}.onnx", "tokenizer": f"{name}.tokenizer.json"},
        "score_maps": dict.fromkeys(head.columns, IDENTITY),
    }


def _write(found: Source, head: Head, folder: Path, member: dict[str, Any]) -> None:
    """The member's files: its model, exported if need be, with the declared head, and its tokenizer."""
    target = folder / member["files"]["model"]
    path = found.model
    if not found.is_onnx:
        path = target
        _export(found.model.parent, target, member["reads"]["tokens_max"])
    model = open_graph(path)
    if (size := columns_of(path, model)) != head.size:
        raise ConfigError(f"config.json: id2label: has {head.size} labels, but the model scores {size}")
    attach(model, head)
    onnx.save(model, str(target))
    shutil.copyfile(found.tokenizer, folder / member["files"]["tokenizer"])


def _export(folder: Path, target: Path, tokens_max: int) -> None:
    try:
        from interlock_lab.members.checkpoint import export_checkpoint
    except ImportError as error:
        raise ConfigError(
            f"{folder}: safetensors need interlock[lab,torch] to become ONNX; {error.name} is not installed"
        ) from error
    export_checkpoint(folder, target, tokens_max)


def _checked(draft: Draft, manifest: dict[str, Any], rows: Sequence[Example]) -> tuple[dict[str, Ranking], str]:
    """How well the member ranks the examples, and the digest of the bundle with its golden scores; or BundleError."""
    name, size = manifest["name"], manifest["reads"]["tokens_max"]
    nobody = dict.fromkeys(manifest["categories"], 0.0)
    draft.golden = [row.model_copy(update={"scores": {**row.scores, name: nobody}}) for row in draft.golden]
    member = next(item for item in load_members(draft.seal()) if item.name == name)
    _scores(member, "", "tea " * (2 * size), f"a text of more than {size} tokens")
    scores = [
        _scores(member, row.prompt, row.completion, f"example {number}")
        for number, row in enumerate(track(rows, "checking", transient=True), 1)
    ]
    rankings = {}
    for category in member.categories:
        column = np.array([row[category] for row in scores])
        rankings[category] = ranking(column[_harmful(rows, category)], column[_benign(rows, category)])
    refuse_meaningless(name, rankings)
    draft.golden = [
        row.model_copy(
            update={"scores": {**row.scores, name: _scores(member, row.prompt, row.completion, "a golden exchange")}}
        )
        for row in draft.golden
    ]
    return rankings, draft.seal().digest


def _scores(member: Member, prompt: str, completion: str, what: str) -> dict[str, float]:
    evidence = score_exchange(member, Exchange(prompt, completion)).evidence
    if evidence.missing is not None or not evidence.coverage_complete:
        raise BundleError(f"member {member.name}: gives no complete evidence on {what}: {evidence.missing or 'gaps'}")
    return dict(evidence.scores)
