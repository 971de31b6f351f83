"""`interlock train`: from the data folder to trained, exported and measured models, one step after the other.

A step is skipped when its outputs are there and were made from the same inputs, so an interrupted run goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock_lab.training import data, metrics
from interlock_lab.training.rows import Row, in_split
from interlock_lab.training.store import digest_of, load_rows, save_json, save_rows

log = logging.getLogger(__name__)

COMPARED_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class Work:
    """A work folder and what the steps so far were made from."""

    folder: Path
    seed: int
    epochs: int

    def step(self, name: str, outputs: Sequence[str], inputs: str, make: Callable[[], None]) -> None:
        stamps_path = self.folder / "steps.json"
        stamps = json.loads(stamps_path.read_text()) if stamps_path.exists() else {}
        if stamps.get(name) == inputs and all((self.folder / output).exists() for output in outputs):
            log.info("%s: already there", name)
            return
        log.info("%s: starting", name)
        make()
        save_json({**stamps, name: inputs}, stamps_path)
        log.info("%s: done", name)


def train(
    data_dir: Annotated[
        Path, typer.Option("--data", exists=True, file_okay=False, help="Folder with the public sets.")
    ],
    work_dir: Annotated[Path, typer.Option("--work", help="Folder for checkpoints and results; run again to go on.")],
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of the encoder over the rows.")] = 6,
    rows_max: Annotated[int | None, typer.Option(help="Use only so many rows, for a trial.")] = None,
) -> None:
    """Train the default ensemble: data, encoder, sentences, ngrams, export, metrics."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in ("onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they announce every folded constant
    found = run(data_dir, work_dir, seed=seed, epochs=epochs, rows_max=rows_max)
    typer.echo(json.dumps(found, indent=1))


def run(
    data_dir: Path,
    work_dir: Path,
    *,
    seed: int = 0,
    epochs: int = 6,
    rows_max: int | None = None,
    project_data: Path = data.PROJECT_DATA,
) -> dict[str, Any]:
    """All steps in order; returns how each model does on the split `shape`."""
    work_dir.mkdir(parents=True, exist_ok=True)
    work = Work(folder=work_dir, seed=seed, epochs=epochs)
    code = Path(__file__).parent
    readers = [code / "data.py", code / "clusters.py", *(code / "sources").glob("*.py")]
    files = [path for path in (*data_dir.rglob("*"), *project_data.rglob("*.jsonl"), *readers) if path.is_file()]
    inputs = digest_of(*sorted(files), rows_max)
    work.step("rows", ["rows.jsonl"], inputs, lambda: _make_rows(data_dir, project_data, rows_max, work_dir))
    rows = load_rows(work_dir / "rows.jsonl")
    digest = digest_of(work_dir / "rows.jsonl", seed)
    _encoder(work, rows, digest_of(digest, epochs))
    _sentences(work, rows, digest_of(digest, epochs))
    _ngrams(work, rows, digest)
    return {name: json.loads((work_dir / f"{name}.json").read_text()) for name in ("encoder", "sentences", "ngrams")}


def _make_rows(data_dir: Path, project_data: Path, rows_max: int | None, work_dir: Path) -> None:
    rows = data.load(data_dir, project_data, rows_max)
    found = data.summary(rows)
    save_json(found, work_dir / "data.json")
    log.info("rows %s, largest clusters %s", found["rows"], found["largest_clusters"])
    save_rows(rows, work_dir / "rows.jsonl")


def _encoder(work: Work, rows: Sequence[Row], inputs: str) -> None:
    """Fine-tune, export, quantise, compare and measure."""
    from safetensors.torch import save_file

    from interlock_lab.training import encoder, tokens

    settings = encoder.EncoderSettings(epochs=work.epochs, seed=work.seed)
    folder, inputs = work.folder, digest_of(inputs, settings)

    def make() -> None:
        checkpoint = folder / f"encoder-{inputs}.checkpoint"
        model = encoder.fine_tune(in_split(rows, "fit"), tokens.minilm(), settings, checkpoint)
        save_file(model.state_dict(), folder / "encoder.safetensors")

    work.step("encoder", ["encoder.safetensors"], inputs, make)
    outputs = ["encoder_fp32.onnx", "encoder.onnx", "tokenizer.json", "encoder.json"]
    work.step("encoder export", outputs, inputs, lambda: export_encoder(folder, rows))


def export_encoder(folder: Path, rows: Sequence[Row]) -> None:
    """encoder.safetensors -> encoder_fp32.onnx, encoder.onnx, tokenizer.json, and encoder.json that measures them."""
    from interlock_lab.training import batches, encoder, export, tokens
    from interlock_lab.training.smooth import smooth

    model = trained_encoder(folder)
    export.save_tokenizer(tokens.minilm().tokenizer, folder / "tokenizer.json")
    tokenizer = tokens.load_tokenizer(folder / "tokenizer.json")
    fit_rows, shape_rows = in_split(rows, "fit"), in_split(rows, "shape")

    def some_windows(of_rows: Sequence[Row]) -> list[batches.Window]:
        spread = of_rows[:: len(of_rows) // COMPARED_ROWS + 1]
        return [encoder.covering_windows(row)[0] for row in batches.encode_rows(spread, tokenizer)]

    export.encoder_fp32(model, folder / "encoder_fp32.onnx", model.shape.positions)
    samples = [export.feed_of(window) for window in some_windows(fit_rows)]
    smooth(folder / "encoder_fp32.onnx", folder / "encoder_smooth.onnx", samples)
    export.quantized(folder / "encoder_smooth.onnx", folder / "encoder.onnx")
    export.fix_ranges(folder / "encoder.onnx", samples)
    compared = some_windows(shape_rows)
    expected = encoder.score_windows(model, compared, bf16=False)
    gaps = {name: export.compare(folder / name, compared, expected) for name in ("encoder_fp32.onnx", "encoder.onnx")}
    found = metrics.report(shape_rows, encoder.score_rows(model, shape_rows, tokenizer, bf16=True))
    differences = {name: asdict(gap) for name, gap in gaps.items()}
    save_json({**found, "largest_difference": differences}, folder / "encoder.json")


def trained_encoder(folder: Path) -> Any:
    from safetensors.torch import load_file

    from interlock_lab.training import bert

    model = bert.BertClassifier(bert.BertShape())
    model.load_state_dict(load_file(folder / "encoder.safetensors"))
    return model.eval()


def _sentences(work: Work, rows: Sequence[Row], inputs: str) -> None:
    from interlock_lab.training import encoder, sentences

    settings = replace(sentences.SentenceSettings(), seed=work.seed)
    checkpoint = work.folder / f"sentences-{inputs}.checkpoint"

    def make() -> None:
        teacher = trained_encoder(work.folder)
        train_sentences(work.folder, rows, settings, checkpoint, lambda texts: encoder.score_sentences(teacher, texts))

    work.step("sentences", ["sentences.onnx", "sentences.json"], digest_of(inputs, settings), make)


def train_sentences(folder: Path, rows: Sequence[Row], settings: Any, checkpoint: Path, teacher: Any | None) -> None:
    """Trains on the split `fit` (with a teacher's word on every sentence, if there is one), exports, measures."""
    from safetensors.torch import load_file, save_file

    from interlock_lab.training import export, sentences, tokens

    tokenizer = tokens.load_tokenizer(tokens.minilm().tokenizer)
    texts = [*in_split(rows, "fit"), *(in_split(rows, "unlabelled") if teacher else [])]
    bags = sentences.bags_of(texts, tokenizer, settings)
    bags = sentences.taught_by(bags, teacher) if teacher else bags
    words = load_file(tokens.minilm().weights)["embeddings.word_embeddings.weight"]
    model = sentences.fit(bags, words, settings, checkpoint)
    save_file(model.state_dict(), folder / "sentences.safetensors")
    export.sentences_fp32(model, folder / "sentences_fp32.onnx", sentences.TOKENS_MAX)
    export.quantized(folder / "sentences_fp32.onnx", folder / "sentences.onnx", ["Gather"])
    shape_rows = in_split(rows, "shape")
    save_json(metrics.report(shape_rows, sentences.score_rows(model, shape_rows, tokenizer)), folder / "sentences.json")


def _ngrams(work: Work, rows: Sequence[Row], inputs: str) -> None:
    from interlock_lab.training import ngrams

    settings = ngrams.NgramSettings()

    def make() -> None:
        model = ngrams.fit(in_split(rows, "fit"), settings)
        model.save(work.folder / "ngrams.npz")
        shape_rows = in_split(rows, "shape")
        found = metrics.report(shape_rows, model.score_rows(shape_rows))
        save_json({**found, **ngrams.summary(model)}, work.folder / "ngrams.json")

    work.step("ngrams", ["ngrams.npz", "ngrams.json"], digest_of(inputs, settings), make)
