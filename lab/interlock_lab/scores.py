"""Scores of many rows, through a bundle and the service's own SafetyFilter: what is fitted is what will be deployed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from interlock_server.app import load, running_filter
from interlock_server.bundle.load import load_bundle
from interlock_server.config import BundleSettings, Config
from interlock_server.decision.evidence import Evidence
from interlock_server.errors import InterlockError
from interlock_server.filter import SafetyFilter
from interlock_server.metrics import Metrics
from interlock_server.screening import Request
from rich.progress import Progress

from interlock_lab.training.rows import CATEGORIES, Row

log = logging.getLogger(__name__)

PATIENT_S = 120.0

Floats = npt.NDArray[np.float64]


class Texts(Protocol):
    """What is screened of a row, whatever else is known of it."""

    @property
    def prompt(self) -> str: ...

    @property
    def completion(self) -> str: ...


def evidence_of(bundle: Path, rows: Sequence[Texts], title: str) -> list[Evidence]:
    """The evidence on each row, in order, with a progress bar; uses as many cores as there are lanes."""
    config = Config(bundle=BundleSettings(path=str(bundle), digest=load_bundle(bundle).digest))
    return asyncio.run(_screen(config, rows, title))


def asked(rows: Sequence[Row], evidence: Sequence[Evidence]) -> tuple[list[Row], list[Evidence]]:
    """The rows that the members were asked about, such as were not refused as unreadable, with their evidence."""
    kept = [(row, item) for row, item in zip(rows, evidence, strict=True) if not item.alarms]
    if len(kept) < len(rows):
        log.warning("%d of %d rows are refused before any member is asked", len(rows) - len(kept), len(rows))
    return [row for row, _ in kept], [item for _, item in kept]


def member_scores(evidence: Sequence[Evidence]) -> dict[str, Floats]:
    """Member -> P(harm), shape [rows, categories]; raises InterlockError when a member is missing on some row."""
    table: dict[str, list[list[float]]] = {}
    for number, item in enumerate(evidence):
        for member in item.members:
            if member.missing is not None:
                raise InterlockError(f"row {number}: member {member.member} is missing: {member.missing}")
            table.setdefault(member.member, []).append([member.scores[category] for category in CATEGORIES])
    return {name: np.array(values) for name, values in table.items()}


async def _screen(config: Config, rows: Sequence[Texts], title: str) -> list[Evidence]:
    places = asyncio.Semaphore(2 * config.inference.lanes)
    bundle = load(config)
    with Progress() as progress:
        task = progress.add_task(title, total=len(rows))
        async with running_filter(config, bundle, Metrics(), budget_s=PATIENT_S) as safety_filter:

            async def one(row: Texts) -> Evidence:
                async with places:
                    evidence = await _evidence(safety_filter, row)
                progress.advance(task)
                return evidence

            return list(await asyncio.gather(*map(one, rows)))


async def _evidence(safety_filter: SafetyFilter, row: Texts) -> Evidence:
    screening = await safety_filter.screen(Request(row.prompt.encode(), row.completion.encode()))
    return screening.evidence
