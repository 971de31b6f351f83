"""Narrative and everyday prose: FrameNet, AO3 passages, SafeText, HANNA stories, Dolly answers.

Mostly the violence head. A frame is a word sense and a vote is an opinion, so most labels here are soft.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from interlock_lab.training.rows import BENIGN, Labels, Row, hash_unit, labels
from interlock_lab.training.sources.files import csv_rows, detokenised, json_document, json_lines


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HARM_FRAMES = {
    *("Cause_harm", "Killing", "Death", "Abusing", "Cause_bodily_experience", "Experience_bodily_harm", "Attack"),
    *("Corporal_punishment", "Execution", "Rape", "Terrorism"),
}
# Injuries happen in these without being what the frame says: neither label would be honest.
UNKNOWN_FRAMES = _names(
    """Impact Cause_impact Hostile_encounter Catastrophe Use_firearm Shoot_projectiles Hit_target Fighting_activity
    Invading Besieging Conquering Destroying Cause_to_fragment Dead_or_alive Weapon Ammunition Bearing_arms Kidnapping
    Revenge Rewards_and_punishments Medical_conditions Health_response Damaging Setting_fire Arson Robbery
    Perception_body Cutting Endangering Being_at_risk Risky_situation Surviving Offenses Committing_crime Defend
    Silencing Losing_someone Resurrection Cure Recovery Toxic_substance Historic_event Subversion Misdeed Verdict Trial
    Arrest Prison Imprisonment Sentencing Notification_of_charges Criminal_investigation Try_defendant Arraignment
    Court_examination Entering_of_plea Body_mark Experiencer_obj Quarreling Hunting_success_or_failure
    Breaking_apart Separating Grinding Legality Extradition Pardon Detaining Inhibit_movement"""
)
# The verbs of harm where nobody is hurt: games, sport, machines, food. All of them are kept.
LOOK_ALIKE_FRAMES = {
    *("Beat_opponent", "Finish_competition", "Competition", "Exercising", "Cause_motion", "Manipulation", "Ingestion"),
    *("Cooking_creation", "Apply_heat", "Body_movement", "Observable_body_parts", "Sensation", "Biological_urge"),
}
_INJURY_WORDS = re.compile(
    r"\b(kill|murder|wound|injur|blood|bleed|bled\b|dead\b|died\b|dies\b|death|corpse|stab|slaughter|massacre|tortur|"
    r"rape|casualt|fatal|suicid|shot\b|strangl|behead|bruis)",
    re.I,
)
_LIKELY = {"violence": (0.05, None, 0.85, 0.97), "death": (0.1, None, 0.8, 0.95), "war": (0.1, None, None, 0.8)}
_UNCERTAIN_VIOLENCE = (0.1, None, None, None)
_HATE_WARNINGS = {"misogyny", "homophobia", "racism", "ableism"}


def framenet(folder: Path) -> Iterator[Row]:
    for number, item in enumerate(json_lines(folder / "lu_sentences.jsonl.gz")):
        frame, text = item["frame"], detokenised(item["text"])
        found = _frame_labels(frame, text)
        if found is None or not 20 <= len(text) <= 400:
            continue
        source = "framenet_look_alike" if frame in LOOK_ALIKE_FRAMES else "framenet"
        yield Row(
            id=f"framenet-{number:06d}",
            source=source,
            completion=text,
            labels=found,
            label_source="frame",
            weight=0.7,
            keys=(f"lu:{item['lu']}",),
        )


def _frame_labels(frame: str, text: str) -> Labels | None:
    if frame in HARM_FRAMES:
        return labels(violence_injury=0.9)
    if frame in UNKNOWN_FRAMES or _INJURY_WORDS.search(text):
        return None
    return labels(0.03, 0.0, 0.0, 0.0)


def passages(folder: Path) -> Iterator[Row]:
    for number, item in enumerate(json_lines(folder / "dataset.jsonl")):
        yield Row(
            id=f"passage-{number:05d}",
            source="passage_tw",
            completion=item["text"],
            labels=_vote_labels(item["warning"], sum(item["labels"])),
            label_source="three votes",
            weight=0.8,
            keys=(f"work:{item['work_id']}",),
        )


def _vote_labels(warning: str, votes: int) -> Labels:
    """The annotators judged one warning each: a passage tagged racist may well be violent too."""
    if warning in _HATE_WARNINGS:
        return labels(illicit=0.0, hate_harassment=(0.05, None, None, 0.8)[votes])
    return labels(violence_injury=_LIKELY.get(warning, _UNCERTAIN_VIOLENCE)[votes], illicit=0.0)


def safetext(folder: Path) -> Iterator[Row]:
    for number, (scenario, advice) in enumerate(json_document(folder / "SafeText.json").items()):
        for kind, found, weight in (("safe", BENIGN, 0.6), ("unsafe", labels(violence_injury=0.5), 0.3)):
            for index, text in enumerate(advice[kind]):
                yield Row(
                    id=f"safetext-{number:03d}-{kind}-{index}",
                    source="safetext",
                    prompt=scenario,
                    completion=text,
                    labels=found,
                    clarity="clear" if kind == "safe" else "unclear",
                    label_source="crowd",
                    weight=weight,
                    keys=(f"context:{scenario.lower().strip()}",),
                )


def hanna(folder: Path) -> Iterator[Row]:
    """Stories for block-rate checks only: mostly benign, never labelled, so violence stays unknown."""
    humans = set()
    for number, item in enumerate(csv_rows(folder / "hanna_llm_stories.csv")):
        stories = {"model": item["Story"]}
        if item["Prompt"] not in humans:
            humans.add(item["Prompt"])
            stories["human"] = item["Human"]
        for author, story in stories.items():
            yield Row(
                id=f"hanna-{number:04d}-{author}",
                source="hanna",
                prompt=item["Prompt"],
                completion=story,
                labels=labels(None, 0.0, 0.0, 0.0),
                label_source="assumed",
                weight=0.3,
                keys=(f"context:{item['Prompt'].lower().strip()}",),
                split="benign_check",
            )


def dolly(folder: Path) -> Iterator[Row]:
    for number, item in enumerate(csv_rows(folder / "databricks_dolly_1k.csv")):
        key = f"context:{item['instruction'].lower().strip()}"
        yield Row(
            id=f"dolly-{number:04d}",
            source="dolly",
            prompt=item["instruction"],
            completion=item["response"],
            labels=BENIGN,
            severity=0,
            label_source="assumed",
            weight=0.8,
            keys=(key,),
            split="benign_check" if hash_unit(f"check:{key}") < 0.5 else "",
        )
