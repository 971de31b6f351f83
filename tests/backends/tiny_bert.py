"""A BERT of two thin layers with a head of four labels, as safetensors; and a GPU that is none, to record its runs on."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from fakes import CATEGORIES
from interlock_server.backends.cuda_graphs import Graph, Recorded
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

TOKENIZER = Path(__file__).parent.parent / "data" / "tokenizer.json"
POSITIONS, VOCABULARY = 40, 160


def save_checkpoint(folder: Path, drop: str = "", **config: Any) -> dict[str, Path]:
    """The member's files, under names of their own; without the weights that begin with `drop`."""
    changed = {"problem_type": "multi_label_classification", **config}
    weights = {name: tensor for name, tensor in _model().state_dict().items() if not (drop and name.startswith(drop))}
    save_file(weights, folder / "tiny.weights")
    BertConfig.from_dict({**_model().config.to_dict(), **changed}).to_json_file(folder / "tiny.settings")
    return {"model": folder / "tiny.weights", "config": folder / "tiny.settings", "tokenizer": TOKENIZER}


@cache
def _model() -> BertForSequenceClassification:
    """Weights large enough for every token to count; the same ones in every process."""
    config = BertConfig(
        vocab_size=VOCABULARY, max_position_embeddings=POSITIONS, hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, initializer_range=0.1, num_labels=len(CATEGORIES),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(10)
    return model


class FakeGpu:
    """What is there is seen only after it was fetched, and nothing runs but what was recorded, on the recorded buffers."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, ...]] = []

    def here(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(*shape, dtype=dtype)

    def there(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(*shape, dtype=dtype)

    def record(self, work: Callable[[], None]) -> Graph:
        work()
        return FakeGraph(work)

    def run(self, recorded: Recorded) -> None:
        self.runs.append(tuple(recorded.ids_here.shape[1:]))
        recorded.ids_there.copy_(recorded.ids_here)
        recorded.graph.replay()
        recorded.logits_here.copy_(recorded.logits_there)


class FakeGraph:
    """Does again what it recorded."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.replay = work
