"""Posts and comments for the hate and harassment head: ToxiGen and implicit hate, Davidson, EDOS, Surge, toxic spans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from interlock_lab.training.rows import Labels, Row, labels
from interlock_lab.training.sources.files import csv_rows, json_document, social

# EDOS: animosity and "prejudiced discussions" are left out; crowd workers agree on them least.
_SEXISM = {"1. threats, plans to harm and incitement": 0.95, "2. derogation": 0.9, "none": 0.05}


def safenlp(folder: Path) -> Iterator[Row]:
    for name, judge in (("toxiGen", _toxigen), ("implicitHate", _implicit)):
        for number, item in enumerate(json_document(folder / f"{name}.json")):
            found, weight = judge(item["label"], float(item["toxicity_score"]))
            identifier = f"{name.lower()}-{number:05d}"
            yield _post(identifier, name.lower(), item["text"].replace("_x000D_", " ").strip(), found, weight)


def _toxigen(label: str, score: float) -> tuple[Labels, float]:
    if label == "hate" and score >= 4:
        return labels(hate_harassment=0.95), 0.8
    if label == "neutral" and score <= 2:
        return labels(0.02, 0.0, 0.03, 0.0), 0.8
    return labels(), 0.0


def _implicit(label: str, _: float) -> tuple[Labels, float]:
    return labels(hate_harassment=0.8 if label == "hate" else 0.12), 0.5


def davidson(folder: Path) -> Iterator[Row]:
    """Two in three call it hate: hate. Nobody does and it is merely "offensive": profanity, which is not hate."""
    for number, item in enumerate(csv_rows(folder / "labeled_data.csv")):
        share = int(item["hate_speech"]) / int(item["count"])
        found = {
            "0": labels(hate_harassment=0.95 if share == 1 else 0.8),
            "1": labels(hate_harassment=0.15) if share == 0 else labels(),
            "2": labels(illicit=0.0, hate_harassment=0.03, self_harm=0.0) if share == 0 else labels(),
        }[item["class"]]
        source = "davidson_profanity" if item["class"] == "1" else "davidson"
        yield _post(f"davidson-{number:05d}", source, social(item["tweet"]).lstrip('!" :'), found, 0.6)


def edos(folder: Path) -> Iterator[Row]:
    for number, item in enumerate(csv_rows(folder / "edos_labelled_aggregated.csv")):
        likely = _SEXISM.get(item["label_category"])
        # "Not sexist" posts still hold threats and abuse of others, so the other heads stay unknown.
        yield _post(f"edos-{number:05d}", "edos", social(item["text"]), labels(hate_harassment=likely), 0.7)


def surge(folder: Path) -> Iterator[Row]:
    for number, item in enumerate(csv_rows(folder / "toxicity_en.csv")):
        likely = 0.8 if item["is_toxic"] == "Toxic" else 0.05
        yield _post(f"surge-{number:04d}", "surge", social(item["text"]), labels(hate_harassment=likely), 0.7)


def toxic_spans(folder: Path) -> Iterator[Row]:
    """Insults marked in news comments; comments without a span are of unknown kind and are not used."""
    for number, item in enumerate(csv_rows(folder / "tsd_train.csv")):
        found = labels(hate_harassment=0.75) if item["spans"] != "[]" else labels()
        yield _post(f"toxicspans-{number:04d}", "toxic_spans", social(item["text"]), found, 0.4)


def _post(identifier: str, source: str, text: str, found: Labels, weight: float) -> Row:
    return Row(id=identifier, source=source, completion=text, labels=found, label_source="crowd", weight=weight)
