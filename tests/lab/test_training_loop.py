from pathlib import Path

import numpy as np
import torch
from interlock_lab.training.batches import BatchSettings, Encoded, epoch_windows, token_batches
from interlock_lab.training.bert import BertClassifier, BertShape
from interlock_lab.training.encoder import inputs, masked_loss, perturbed_loss, targets
from interlock_lab.training.loop import LoopSettings, train

TINY = BertShape(vocabulary=200, width=16, layers=2, heads=2, inner_width=32, positions=256, dropout=0.1)


def some_rows(count: int = 40) -> list[Encoded]:
    random = np.random.default_rng(3)
    return [
        Encoded(
            prompt=random.integers(110, 200, 4).astype(np.int32),
            completion=random.integers(110, 200, int(random.integers(2, 30))).astype(np.int32),
            targets=np.array([number % 2, np.nan, 0.0, 0.5], np.float32),
            weight=1.0,
            written=number % 3 == 0,
            trusted=number % 3 == 0,
            harmful=number % 2 == 1,
            padding=number % 2 == 0,
        )
        for number in range(count)
    ]


def trained(checkpoint: Path, *stops: int) -> BertClassifier:
    """A tiny encoder trained for 12 steps, interrupted at `stops` and started anew each time."""
    windows = epoch_windows(some_rows(), BatchSettings(), 0, 0)
    plan = token_batches([len(window.ids) for window in windows], BatchSettings(batch_tokens=100), 0, 0)
    settings = LoopSettings(steps=12, learning_rate=1e-2)
    for stop in (*stops, None):
        torch.manual_seed(0)
        model = BertClassifier(TINY)

        def loss_of_step(step: int, model: BertClassifier = model) -> "torch.Tensor":
            batch = [windows[index] for index in plan[step]]
            return masked_loss(model(*inputs(batch))[0], *targets(batch))

        train(model, loss_of_step, settings, checkpoint, stop_after=stop)
    return model


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Two interruptions change nothing: order, dropout, optimiser and learning rate all come back."""
    whole, resumed = trained(tmp_path / "whole"), trained(tmp_path / "resumed", 5, 9)
    for expected, actual in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, actual)


def test_an_epoch_is_a_function_of_the_seed() -> None:
    """The windows of an epoch can be built again, and differ from those of the next one."""
    first, again, later = (epoch_windows(some_rows(), BatchSettings(), 0, epoch) for epoch in (0, 0, 1))
    as_lists = [[window.ids.tolist() for window in windows] for windows in (first, again, later)]
    assert as_lists[0] == as_lists[1] != as_lists[2]


def test_every_window_is_in_exactly_one_batch_within_its_budget() -> None:
    """No row is lost to batching, and no batch is larger than memory was planned for."""
    lengths = [int(n) for n in np.random.default_rng(1).integers(3, 90, 500)]
    batches = token_batches(lengths, BatchSettings(batch_tokens=512), 0, 0)
    assert list(range(500)) == sorted(int(index) for batch in batches for index in batch)
    assert max(len(batch) * max(lengths[index] for index in batch) for batch in batches) <= 512


def test_unknown_labels_teach_nothing() -> None:
    """A head whose label is unknown gets no gradient from the row."""
    logits = torch.zeros(1, 4, requires_grad=True)
    masked_loss(logits, torch.tensor([[1.0, float("nan"), 0.0, float("nan")]]), torch.ones(1)).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [-0.5, 0.0, 0.5, 0.0]


def test_each_head_looks_at_the_completion_alone() -> None:
    """Before training every head weighs the tokens of the completion alike, and those of the prompt not at all."""
    torch.manual_seed(1)
    model = BertClassifier(TINY).eval()
    ids, mask, types = inputs(epoch_windows(some_rows(1), BatchSettings(prompt_dropped=0.0, diluted=0.0), 0, 0))
    hidden = model.lower(ids, mask, types, TINY.layers)
    pooled = hidden[0, types[0] == 1].mean(dim=0)
    assert torch.allclose(model(ids, mask, types)[0][0], model.head(pooled), atol=1e-5)


def test_pushed_hidden_states_cost_more() -> None:
    """A step of ascent on the harmful rows adds to the loss, and without harmful rows nothing is added."""
    torch.manual_seed(2)
    model = BertClassifier(TINY).eval()
    windows = epoch_windows(some_rows(), BatchSettings(diluted=0.0), 0, 0)
    harmless = [window for window in windows if not (window.targets > 0.5).any()]
    for chosen, added in ((windows, True), (harmless, False)):
        clean = masked_loss(model(*inputs(chosen))[0], *targets(chosen))
        assert (perturbed_loss(model, chosen, 1, 0.3).item() > clean.item() + 1e-4) == added


def test_late_epochs_are_mostly_of_the_best_labels() -> None:
    """All trusted rows and a share of the others."""
    rows = some_rows(300)
    shown = epoch_windows(rows, BatchSettings(others_late=0.2), 0, 2)
    trusted = sum(row.trusted for row in rows)
    assert trusted < len(shown) < trusted + 0.35 * (len(rows) - trusted)


def test_a_completion_longer_than_the_budget_is_covered() -> None:
    """Scoring reads every token of a long completion, in overlapping windows."""
    from interlock_lab.training.encoder import covering_windows

    long = Encoded(
        prompt=np.zeros(0, np.int32),
        completion=np.arange(1000, 1700, dtype=np.int32),
        targets=np.zeros(4, np.float32),
        weight=1.0,
        written=False,
        trusted=False,
        harmful=False,
        padding=False,
    )
    seen = {int(token) for window in covering_windows(long) for token in window.ids}
    assert set(range(1000, 1700)) <= seen
