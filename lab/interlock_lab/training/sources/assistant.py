"""What assistants answered: GPTFuzz, JailbreakBench artifacts, AdvBench strings, DiaSafety.

The question decides which head a harmful answer teaches; a refusal teaches all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interlock_lab.training.clusters import is_refusal, normalised
from interlock_lab.training.rows import BENIGN, Labels, Row, labels
from interlock_lab.training.sources.files import csv_rows, json_document, json_lines, mostly_latin, social

_HATE_QUESTIONS = re.compile(
    r"insult me|supremac|cyberbully|self.confidence|troll|harass|body sham|xenophob|holocaust|biracial|older than fifty|"
    r"discourages the hiring|ethnic",
    re.I,
)
_SELF_HARM_QUESTIONS = re.compile(r"suicid|anorex|bulimi|harm themselves", re.I)
# Harm of another kind, or none at all: no head can learn from the answers.
_OTHER_QUESTIONS = re.compile(
    r"betting on football|illuminati|flat\b|global warming|unanimously|schizophrenia|AIDS|protect my car|step in poo|"
    r"specific stocks|erotic|sex orgies|urinate|annoy|without the owner's knowledge|medieval torture|payday loans",
    re.I,
)
_HATE_STRINGS = re.compile(
    r"\b(jews?|muslims?|immigrants?|women|woman|black|gays?|races?|bitch|cunt|fat|stupid|worthless|useless|ugly|idiot|"
    r"holocaust|whites?|freak|loser|inferior|disgusting|trash|scum|religions?|mexicans?)\b",
    re.I,
)
_SELF_HARM_STRINGS = re.compile(
    r"kill yourself|hang yourself|suicid|your (own )?(life|wrists?)\b|self.harm|starv|hurt yourself|noose|yourself off",
    re.I,
)
_VIOLENT_STRINGS = re.compile(
    r"\b(kill|killed|shoot|stab|murder|die|dies|bomb|burn|beat|rape|attack|death|gun|torture|poison|violen\w+)\b", re.I
)
_DISTRESS = re.compile(
    r"suicid|kill(ing)? myself|self.?harm|want to die|cut(ting)? myself|want to live|hurt(ing)? myself|way to die|overdos",
    re.I,
)
_REFUSED_LABELS = BENIGN


def gptfuzz(folder: Path) -> Iterator[Row]:
    questions = {item["index"]: item["text"] for item in csv_rows(folder / "question_list.csv")}
    seen: set[tuple[str, str]] = set()
    for name in ("train", "evaluate"):
        for number, item in enumerate(csv_rows(folder / f"{name}.csv")):
            text, question = item["Response"].strip().strip('"').strip(), questions[item["question"]]
            # Hundreds of refusals are equal but for a name: one of each opening is enough.
            fingerprint = (item["label"], normalised(text)[:120])
            if fingerprint in seen or not mostly_latin(text) or len(text) < 8:
                continue
            seen.add(fingerprint)
            yield Row(
                id=f"gptfuzz-{name}-{number:05d}",
                source="gptfuzz",
                prompt=question,
                completion=text,
                labels=_answer_labels(question, harmful=item["label"] == "1", sure=0.97),
                label_source="human",
                weight=0.9,
                keys=(_question_key(question),),
            )


def jailbreakbench(folder: Path) -> Iterator[Row]:
    seen: set[str] = set()
    for number, item in enumerate(json_lines(folder / "artifacts.jsonl")):
        text, harmful = item["response"].strip(), bool(item["jailbroken"])
        fingerprint = normalised(text)[:120]
        # The judge also says "not jailbroken" to half-hearted compliance; only plain refusals are safe to trust.
        if fingerprint in seen or not text or (not harmful and not is_refusal(text)):
            continue
        seen.add(fingerprint)
        yield Row(
            id=f"jbb-{number:04d}",
            source="jbb",
            prompt=item["goal"],
            completion=text,
            labels=_answer_labels(item["goal"], harmful=harmful, sure=0.85),
            label_source="llm judge",
            weight=0.6,
            keys=(_question_key(item["goal"]),),
        )


def _question_key(question: str) -> str:
    return f"context:{question.lower().strip()}"


def _answer_labels(question: str, *, harmful: bool, sure: float) -> Labels:
    if not harmful:
        return _REFUSED_LABELS
    if _OTHER_QUESTIONS.search(question):
        return labels()
    hate = sure if _HATE_QUESTIONS.search(question) else None
    self_harm = sure if _SELF_HARM_QUESTIONS.search(question) else None
    return labels(illicit=None if hate or self_harm else sure, hate_harassment=hate, self_harm=self_harm)


def advbench(folder: Path) -> Iterator[Row]:
    for number, item in enumerate(csv_rows(folder / "harmful_strings.csv")):
        text = item["target"].strip()
        yield Row(
            id=f"advbench-{number:03d}",
            source="advbench",
            completion=text,
            labels=_string_labels(text),
            label_source="keywords",
            weight=0.5,
        )


def _string_labels(text: str) -> Labels:
    if _SELF_HARM_STRINGS.search(text):
        return labels(self_harm=0.9)
    violence = 0.8 if _VIOLENT_STRINGS.search(text) else None
    hate = 0.85 if _HATE_STRINGS.search(text) else None
    return labels(violence_injury=violence, illicit=None if violence or hate else 0.75, hate_harassment=hate)


def diasafety(folder: Path) -> Iterator[Row]:
    for name in ("train", "val", "test"):
        for number, item in enumerate(json_document(folder / f"{name}.json")):
            found, weight = _dialogue_labels(item)
            context = social(item["context"])
            yield Row(
                id=f"diasafety-{name}-{number:05d}",
                source="diasafety",
                prompt=context,
                completion=social(item["response"]),
                labels=found,
                label_source="crowd",
                weight=weight,
                keys=(_question_key(context),),
            )


def _dialogue_labels(item: dict[str, Any]) -> tuple[Labels, float]:
    category = item["category"]
    if item["label"] == "Safe":
        # A safe answer to an offending or biased turn may still be rude, or agree with something: not quite zero.
        return labels(0.0, 0.0, 0.05, 0.02), 0.5
    if category == "Risk Ignorance":
        # To ignore distress is self-harm only where the distress is about that.
        return (labels(self_harm=0.75), 0.5) if _DISTRESS.search(item["context"]) else (labels(), 0.0)
    hate = {"Offending User": 0.9, "Biased Opinion": 0.8, "Toxicity Agreement": 0.65}.get(category)
    return labels(hate_harassment=hate), {"Toxicity Agreement": 0.3}.get(category, 0.6)
