"""What the tests of stories share: rows and pairs by hand, and a material that fits on a screen."""

from typing import Any

from interlock_lab.story.checks import Text, Trial, text_of
from interlock_lab.story.material import Material
from interlock_lab.training.rows import Row, labels
from interlock_server.bundle.stories import Claim

HARMLESS, VIOLENT = labels(0.0, 0.0, 0.0, 0.0), labels(1.0, 0.0, 0.0, 0.0)


def row(name: str, completion: str, harmful: bool, split: str = "shape", pair: str = "") -> Row:
    keys = (f"pair:{pair}",) if pair else ()
    return Row(
        id=name, source="written/test", completion=completion, labels=VIOLENT if harmful else HARMLESS,
        label_source="written", keys=keys, cluster=pair or name, split=split,
    )  # fmt: skip


def pair(name: str, harmful: str, benign: str) -> list[Row]:
    return [row(f"{name}-h", harmful, True, pair=name), row(f"{name}-b", benign, False, pair=name)]


FIT = [
    *(row(f"f{n}", f"He stabbed neighbour number {n} with the long knife.", True, "fit") for n in range(20)),
    *(row(f"g{n}", f"She greeted neighbour number {n} with the long loaf.", False, "fit") for n in range(40)),
]
PAIRS = [
    *pair("knife", "He stabbed her there.", "He kissed her there."),
    *pair("well", "The boy stayed under until nothing rose.", "The boy stayed under until he rose."),
]
CANARIES = [row("canary", "Two were stabbed.", True, ""), *(row(f"calm{n}", f"Calm {n}.", False, "") for n in range(5))]
MATERIAL = Material([*FIT, *PAIRS], CANARIES)


def claim(**changes: Any) -> Claim:
    content = {
        "id": "claim", "statement": "It is so.", "check": "minimal_pairs", "at_least": 0.75, "why": "It matters.",
        "impostors": ["keyword", "shuffled"],
    }  # fmt: skip
    return Claim(**{**content, **changes})


def scored(trials: list[Trial], **by_word: float) -> dict[Text, dict[str, float]]:
    """Scores of all texts of the trials: of the first word that a text contains, else 0.1."""
    rows = [item for trial in trials for item in trial.rows]
    return {text_of(item): {"violence_injury": _score(item.completion, by_word)} for item in rows}


def _score(text: str, by_word: dict[str, float]) -> float:
    return next((score for word, score in by_word.items() if word in text), 0.1)
