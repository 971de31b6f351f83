"""The training loop that every torch model here shares: AdamW, warm-up and linear decay, checkpoints, resumption.

It does not know what a batch is. Randomness is seeded per step, so an interrupted run ends with the same weights.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

log = logging.getLogger(__name__)

LossOfStep = Callable[[int], Tensor]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    steps: int
    learning_rate: float
    warmup: float = 0.06
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    checkpoint_every_s: float = 180.0
    log_every_s: float = 20.0


def train(
    model: nn.Module,
    loss_of_step: LossOfStep,
    settings: LoopSettings,
    checkpoint: Path,
    *,
    stop_after: int | None = None,
) -> None:
    """Runs, or goes on from the checkpoint, to `settings.steps`; `stop_after` interrupts earlier, as a crash would."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    step = _resume(model, optimizer, checkpoint)
    last = settings.steps if stop_after is None else min(stop_after, settings.steps)
    model.train()
    with _Reporter(settings, step) as report:
        while step < last:
            _one_step(model, trained, optimizer, loss_of_step, settings, step, report)
            step += 1
            if report.checkpoint_due() or step == last:
                _save(model, optimizer, step, checkpoint)
    model.eval()


def _one_step(
    model: nn.Module,
    trained: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    loss_of_step: LossOfStep,
    settings: LoopSettings,
    step: int,
    report: _Reporter,
) -> None:
    torch.manual_seed(settings.seed * 1_000_003 + step)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * _rate_factor(step, settings)
    with torch.autocast("cpu", torch.bfloat16) if settings.bf16 else nullcontext():
        loss = loss_of_step(step)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(trained, settings.clip_norm)
    optimizer.step()
    report.advance(step + 1, float(loss.detach()))


def _rate_factor(step: int, settings: LoopSettings) -> float:
    warm = max(1, int(settings.steps * settings.warmup))
    return min((step + 1) / warm, (settings.steps - step) / max(1, settings.steps - warm))


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    log.info("resumed %s at step %d", checkpoint.name, state["step"])
    return int(state["step"])


def _save(model: nn.Module, optimizer: torch.optim.Optimizer, step: int, checkpoint: Path) -> None:
    """Written beside and renamed, so that an interruption never leaves half a checkpoint."""
    beside = checkpoint.with_suffix(".writing")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, beside)
    os.replace(beside, checkpoint)


class _Reporter:
    """A bar on a terminal, a plain line every few seconds elsewhere."""

    def __init__(self, settings: LoopSettings, step: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns)
        self._settings = settings
        self._task = self._progress.add_task("training", total=settings.steps, completed=step)
        self._logged_at = self._saved_at = self._started_at = time.monotonic()
        self._first_step = step
        self._loss = 0.0

    def __enter__(self) -> _Reporter:
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, step: int, loss: float) -> None:
        self._loss = loss if step <= self._first_step + 1 else 0.98 * self._loss + 0.02 * loss
        now = time.monotonic()
        self._progress.update(self._task, completed=step, description=f"training, loss {self._loss:.3f}")
        if not self._progress.console.is_terminal and now - self._logged_at > self._settings.log_every_s:
            left_s = (now - self._started_at) / (step - self._first_step) * (self._settings.steps - step)
            log.info("step %d of %d, loss %.4f, %.0f s left", step, self._settings.steps, self._loss, left_s)
            self._logged_at = now

    def checkpoint_due(self) -> bool:
        due = time.monotonic() - self._saved_at > self._settings.checkpoint_every_s
        if due:
            self._saved_at = time.monotonic()
        return due
