"""The ledger of a set: every opening is written down before the first score exists, and each costs confidence.

The i-th opening spends delta / (i (i + 1)), which sums to delta however often the set is opened. All openings in one ledger
count, also those of the same set with other labels. Lines hold the digest of the line before: none can be changed unseen.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interlock_server.bundle.manifest import Digest
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, validate

FIRST = "sha256:" + "0" * 64
NAME = "ledger.jsonl"


class Commitment(Settings):
    """All that the outcome depends on, but the scores."""

    set: Digest
    units: int
    models: Digest
    policy: Digest
    """As it was before any dial was set."""
    code: Digest
    targets: dict[str, dict[str, float | None]]
    fixed: list[str] = []
    """Profiles that are bounded as they are."""
    delta: float


class Entry(Settings):
    """One opening."""

    entry: int
    previous: Digest
    opened: str
    commitment: Commitment

    @property
    def delta(self) -> float:
        """What this opening may spend."""
        return self.commitment.delta / (self.entry * (self.entry + 1))


def next_delta(path: Path, commitment: Commitment) -> float:
    """What opening the set would leave to spend, without opening it."""
    return _entry_for(read_ledger(path), commitment, "").delta


def open_set(path: Path, commitment: Commitment) -> Entry:
    """Writes the next entry and returns it; the same commitment again is the same opening, since it can show nothing new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        entries = read_ledger(path)
        entry = _entry_for(entries, commitment, _last_digest(path))
        if entry not in entries:
            file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())
    return entry


def read_ledger(path: Path) -> list[Entry]:
    """All entries; raises ConfigError when a line is not the successor of the one before it."""
    entries: list[Entry] = []
    previous = FIRST
    for number, line in enumerate(_lines(path), 1):
        where = f"{path.name}: line {number}"
        try:
            content: Any = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{where} is not JSON") from error
        entry = validate(Entry, content, where)
        if (entry.entry, entry.previous) != (number, previous):
            raise ConfigError(f"{where} does not follow the line before it: the ledger was altered")
        entries.append(entry)
        previous = content_digest(line)
    return entries


def code_digest(files: Sequence[Path]) -> str:
    """Of the code that turns evidence into dials."""
    parts = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sorted(files)]
    return content_digest("\n".join(parts).encode())


def _entry_for(entries: Sequence[Entry], commitment: Commitment, last_digest: str) -> Entry:
    for entry in entries:
        if entry.commitment == commitment:
            return entry
    opened = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Entry(entry=len(entries) + 1, previous=last_digest or FIRST, opened=opened, commitment=commitment)


def _last_digest(path: Path) -> str:
    lines = _lines(path)
    return content_digest(lines[-1]) if lines else FIRST


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def _line(entry: Entry) -> bytes:
    return json.dumps(entry.model_dump(mode="json"), sort_keys=True).encode() + b"\n"


def content_digest(content: bytes) -> str:
    """As digests are written everywhere."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
