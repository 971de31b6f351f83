"""What the writer of the log is tested with: a disk that keeps only what was synced, and things that remember what they saw."""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import ENOSPC
from pathlib import Path
from typing import Any

from interlock_server.audit.files import RealFiles
from interlock_server.audit.framing import FULL, ORIGIN, TEXT_HEAD_SIZE, chained, packed, text_head, unframed
from interlock_server.audit.record import Record, SegmentEnd, SegmentStart, VerdictRecord, decode
from interlock_server.audit.recovery import recover
from interlock_server.audit.settings import AuditSettings
from interlock_server.audit.texts import TextKeeper
from interlock_server.audit.writer import Entry, Surroundings, Writer

from .samples import verdict, verdict_id

COMPLETION = b"c" * 30_000
"""Three of them fill the smallest segment."""


def entry(number: int, label: str = "RELEASE", completion: bytes = COMPLETION) -> Entry:
    """One to be recorded."""
    return Entry(lambda text: verdict(number, text=text), verdict_id(number), b"prompt", completion, label)


def numbers(records: list[Record]) -> list[int]:
    """Of the verdicts among them."""
    return [int(record.verdict_id[-12:]) for record in records if isinstance(record, VerdictRecord)]


def stored(folder: Path) -> list[Record]:
    """All records of a log that has not been sealed; every line must be whole and fit the one before."""
    records: list[Record] = []
    previous = ORIGIN
    for path in sorted(folder.glob("*.log")):
        for line in path.read_bytes().splitlines(keepends=True):
            found = unframed(line)
            assert found is not None, f"a torn line in {path.name}"
            assert found[0] == chained(previous, found[1]), f"a line of {path.name} does not fit"
            previous = found[0]
            records.append(decode(found[1]))
            _check_text(path, records[-1])
    return records


def _check_text(path: Path, record: Record) -> None:
    """That it is where the record says."""
    if isinstance(record, VerdictRecord) and record.text.offset is not None:
        start, size = record.text.offset, record.text.prompt_bytes + record.text.completion_bytes
        kept = path.with_suffix(".texts").read_bytes()[start : start + TEXT_HEAD_SIZE + len(packed(b"", b"")) + size]
        assert (record.verdict_id, FULL, len(kept) - TEXT_HEAD_SIZE) == text_head(kept[:TEXT_HEAD_SIZE])


def shape(folder: Path) -> list[str]:
    """The records of a log: S and E for the first and last lines of segments, and the numbers of verdicts."""
    letters = {SegmentStart: "S", SegmentEnd: "E"}
    return [letters.get(type(record)) or str(*numbers([record])) for record in stored(folder)]


@dataclass
class _Node:
    """A file, whatever it is called."""

    name: str
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class Disk(RealFiles):
    """Real files, but nothing waits for the disk: that is played. `on_operation` is told of each operation before it happens,
    and may raise, or wait. A write that fails has written half."""

    def __init__(self, on_operation: Callable[[str, str], object] = lambda operation, name: None) -> None:
        self.operations: list[tuple[str, str]] = []
        self.on_operation = on_operation
        self._nodes: dict[str, _Node] = {}
        self._durable_names: dict[str, _Node] = {}
        self._opened: dict[int, _Node] = {}

    def after_power_loss(self, to: Path) -> Path:
        """A folder with what is left of the files: what was synced, under the names that were."""
        to.mkdir()
        for name, node in self._durable_names.items():
            (to / name).write_bytes(node.durable)
        return to

    def open(self, path: Path, fresh: bool = False) -> int:
        self._note("open", path.name)
        file = super().open(path, fresh)
        node = self._nodes.setdefault(path.name, _Node(path.name))
        if fresh:
            node.content.clear()
        self._opened[file] = node
        return file

    def write(self, file: int, content: bytes) -> None:
        half = content[: len(content) // 2]
        node = self._opened[file]
        try:
            self._note("write", node.name)
        except OSError:
            content = half
            raise
        finally:
            super().write(file, content)
            node.content += content

    def sync(self, file: int) -> None:
        node = self._opened[file]
        self._note("sync", node.name)
        node.durable = bytes(node.content)

    def truncate(self, file: int, size: int) -> None:
        node = self._opened[file]
        self._note("truncate", node.name)
        super().truncate(file, size)
        del node.content[size:]

    def close(self, file: int) -> None:
        super().close(file)
        self._note("close", self._opened.pop(file).name)

    def rename(self, path: Path, to: Path) -> None:
        self._note("rename", to.name)
        super().rename(path, to)
        node = self._nodes[to.name] = self._nodes.pop(path.name)
        node.name = to.name

    def remove(self, path: Path) -> None:
        self._note("remove", path.name)
        super().remove(path)
        self._nodes.pop(path.name, None)

    def sync_folder(self, folder: Path) -> None:
        self._note("sync_folder", "")
        self._durable_names = dict(self._nodes)

    def _note(self, operation: str, name: str) -> None:
        self.operations.append((operation, name))
        self.on_operation(operation, name)


def full(operation: str, name: str) -> None:
    """As `on_operation`: there is no room for anything."""
    if operation == "write":
        raise OSError(ENOSPC, "No space left on device")


def nothing(operation: str, name: str) -> None:
    """As `on_operation`: all goes well."""


@dataclass
class Counts:
    """AuditInstruments that remember."""

    records: int = 0
    failures: int = 0
    drops: int = 0
    health: list[bool] = field(default_factory=list)

    def written(self, records: int, took_s: float) -> None:
        self.records += records

    def failed(self, records: int) -> None:
        self.failures += records

    def dropped(self) -> None:
        self.drops += 1

    def healthy(self, holds: bool) -> None:
        self.health.append(holds)

    def queued(self, records: int) -> None:
        pass


@dataclass
class Seals:
    """A sealer that only counts."""

    begun: int = 0
    busy: bool = False

    def begin(self, folder: Path) -> None:
        self.begun += 1

    def tend(self) -> bool:
        return self.busy

    def close(self) -> None:
        pass


class Bench:
    """A writer without its thread, a disk, and a clock that is set by hand. It opens the log again as often as you like."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.settings = AuditSettings(
            **{"mode": "required", "text": "full", "segment_bytes_max": 64 * 1024, **settings}
        )
        self.disk = Disk()
        self.counts = Counts()
        self.seals = Seals()
        self.now_s = 1_000.0

    def open(self) -> Writer:
        """Raises OSError."""
        around = Surroundings(
            self.folder, self.settings, "test", "", TextKeeper(kept="full"), self.disk, self.counts, self.seals, self._clock
        )  # fmt: skip
        return Writer(around, recover(self.folder, self.disk))

    def _clock(self) -> float:
        return self.now_s
