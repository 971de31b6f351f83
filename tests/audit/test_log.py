"""The audit log as the server sees it: what it is told is true, it never waits for longer than it said, and memory is bounded."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from interlock_server.audit.log import AuditLog, Entry
from interlock_server.audit.record import FeedbackRecord
from interlock_server.audit.settings import AuditSettings
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.recording import Recorder

from .disk import Counts, Disk, Seals, entry, full, nothing, numbers, shape, stored
from .samples import DIGESTS, POLICY, feedback, verdict, verdict_id

PATIENT_S = 30.0


class Gate:
    """As a disk's `on_operation`: syncing one file takes until `release`, and `begun` is set once it waits."""

    def __init__(self, name: str) -> None:
        self.begun = threading.Event()
        self._name = name
        self._released = threading.Event()

    def __call__(self, operation: str, name: str) -> None:
        if (operation, name) == ("sync", self._name):
            self.begun.set()
            assert self._released.wait(PATIENT_S)

    async def reached(self) -> None:
        """Returns once the thread of the log waits."""
        assert await asyncio.to_thread(self.begun.wait, PATIENT_S)

    def release(self) -> None:
        """Lets it go, now and later."""
        self._released.set()


class Opened:
    """A log with what it was opened with."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.disk = Disk()
        self.counts = Counts()
        given = AuditSettings(**{"folder": str(folder), "mode": "required", "text": "full", **settings})
        self.log = AuditLog.open(given, "test", self.counts, self.disk, Seals())

    async def written(self) -> list[int]:
        """The numbers of the verdicts that are in it, once it is closed."""
        await self.log.close()
        return numbers(stored(self.folder))


async def soon(waiting: Awaitable[bool]) -> bool:
    """What it gives; it must not take forever."""
    return await asyncio.wait_for(waiting, PATIENT_S)


async def turns(count: int = 50) -> None:
    """Lets everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", ["required", "best_effort"])
async def test_what_is_written_is_in_the_log(tmp_path: Path, mode: str):
    """In the order in which it was given, between the lines of a segment that is closed in order."""
    opened = Opened(tmp_path, mode=mode)
    answers = await asyncio.gather(*(opened.log.write(entry(number, completion=b"c")) for number in range(100)))
    await opened.log.close()

    assert [True] * 100 == answers
    assert ["S", *map(str, range(100)), "E"] == shape(tmp_path)
    assert (100, 0, 0) == (opened.counts.records, opened.counts.failures, opened.counts.drops)


async def test_feedback_is_written(tmp_path: Path):
    """It has no text."""
    opened = Opened(tmp_path)

    assert await soon(opened.log.write(Entry(lambda text: feedback(1), verdict_id(1))))
    await opened.log.close()
    assert feedback(1) in stored(tmp_path)
    assert not (tmp_path / "000001.texts").exists()


@pytest.mark.parametrize("mode", ["required", "best_effort"])
async def test_feedback_is_told_what_became_of_it(tmp_path: Path, mode: str):
    """In every mode: who reports something is not told that it is kept when it is not."""
    opened = Opened(tmp_path, mode=mode)
    recorder = Recorder(opened.log, POLICY, {}, DIGESTS, Metrics())

    assert await soon(recorder.report(feedback(1), float("inf")))
    opened.disk.on_operation = full
    assert not await soon(recorder.report(feedback(2), float("inf")))
    await opened.log.close()
    assert [feedback(1)] == [record for record in stored(tmp_path) if isinstance(record, FeedbackRecord)]


async def test_what_is_awaited_in_best_effort_is_written_and_not_synced(tmp_path: Path):
    """The disk is not asked when it will have it."""
    opened, gate = Opened(tmp_path, mode="best_effort"), Gate("000001.log")
    opened.disk.on_operation = lambda operation, name: gate("sync", name)
    writing = asyncio.ensure_future(opened.log.write(entry(1), awaited=True))
    await gate.reached()
    await turns()

    assert not writing.done()
    opened.disk.operations.clear()
    gate.release()
    assert await soon(writing)
    assert ("sync", "000001.log") not in opened.disk.operations
    await opened.log.close()


@pytest.mark.parametrize("file", ["000001.log", "000001.texts"])
async def test_a_record_is_acknowledged_after_both_files_are_on_disk(tmp_path: Path, file: str):
    """While the disk is at either of them, nobody is told."""
    opened, gate = Opened(tmp_path), Gate(file)
    opened.disk.on_operation = gate
    writing = asyncio.ensure_future(opened.log.write(entry(1)))
    await gate.reached()
    await turns()

    assert not writing.done()
    gate.release()
    assert await soon(writing)
    assert [1] == await opened.written()


async def test_best_effort_is_not_kept_waiting(tmp_path: Path):
    """Not even by a disk that hangs."""
    opened, gate = Opened(tmp_path, mode="best_effort"), Gate("000001.log")
    opened.disk.on_operation = lambda operation, name: gate("sync", name)

    assert await soon(opened.log.write(entry(1)))
    await gate.reached()
    assert await soon(opened.log.write(entry(2)))
    gate.release()
    assert [1, 2] == await opened.written()


async def test_those_that_wait_are_written_as_one_group(tmp_path: Path):
    """However many came while the disk was busy."""
    opened, gate = Opened(tmp_path), Gate("000001.log")
    opened.disk.on_operation = gate
    first = asyncio.ensure_future(opened.log.write(entry(0, completion=b"")))
    await gate.reached()
    others = [asyncio.ensure_future(opened.log.write(entry(number, completion=b""))) for number in range(1, 200)]
    await turns()
    opened.disk.operations.clear()
    gate.release()
    await soon(asyncio.gather(first, *others))

    assert 1 == opened.disk.operations.count(("sync", "000001.log"))
    assert list(range(200)) == await opened.written()


@pytest.mark.parametrize("left_s", [0.02, 0.0, -1.0, float("nan")])
async def test_a_hanging_disk_is_waited_for_until_then(tmp_path: Path, left_s: float):
    """The answer is no, though the record may still be written; also if no time is left to begin with."""
    opened, gate = Opened(tmp_path), Gate("000001.log")
    opened.disk.on_operation = gate

    assert not await soon(opened.log.write(entry(1), time.monotonic() + left_s))
    gate.release()
    assert [1] == await opened.written()


async def test_a_record_in_time_is_acknowledged(tmp_path: Path):
    """A limit that is not reached changes nothing."""
    opened = Opened(tmp_path)

    assert await soon(opened.log.write(entry(1), time.monotonic() + PATIENT_S))
    await opened.log.close()


async def test_a_caller_may_go(tmp_path: Path):
    """What it had recorded is written all the same, and the others are answered."""
    opened, gate = Opened(tmp_path), Gate("000001.log")
    opened.disk.on_operation = gate
    gone = asyncio.ensure_future(opened.log.write(entry(1)))
    other = asyncio.ensure_future(opened.log.write(entry(2)))
    await gate.reached()
    gone.cancel()
    gate.release()

    assert await soon(other)
    assert gone.cancelled()
    assert [1, 2] == await opened.written()


@pytest.mark.parametrize("mode", ["required", "best_effort"])
async def test_a_full_queue_refuses(tmp_path: Path, mode: str):
    """At once, and it is counted."""
    opened, gate = Opened(tmp_path, mode=mode, queue_size_max=2), Gate("000001.log")
    opened.disk.on_operation = lambda operation, name: gate("sync", name)
    writing = [asyncio.ensure_future(opened.log.write(entry(1)))]
    await gate.reached()
    writing += [asyncio.ensure_future(opened.log.write(entry(number))) for number in (2, 3)]
    await turns()

    assert not await soon(opened.log.write(entry(4)))
    assert 1 == opened.counts.drops
    gate.release()
    assert [True] * 3 == await asyncio.gather(*writing)
    assert [1, 2, 3] == await opened.written()


async def test_texts_fill_the_queue_too(tmp_path: Path):
    """A few large ones are as much as many small ones."""
    opened, gate = Opened(tmp_path, mode="best_effort"), Gate("000001.log")
    opened.disk.on_operation = lambda operation, name: gate("sync", name)
    await opened.log.write(entry(0))
    await gate.reached()
    large = bytes(20 * 1024 * 1024)
    answers = [await opened.log.write(entry(number, "", large)) for number in range(4)]
    gate.release()

    assert [True, True, True, False] == answers
    assert [0, 0, 1, 2] == await opened.written()


async def test_texts_that_were_written_make_room(tmp_path: Path):
    """However many there are one after the other."""
    opened = Opened(tmp_path, text="none")
    large = bytes(20 * 1024 * 1024)

    assert [True] * 8 == [await soon(opened.log.write(entry(number, "", large))) for number in range(8)]
    await opened.log.close()


async def test_a_log_that_has_nothing_to_do_sleeps(tmp_path: Path):
    """Its thread would take time from all others."""
    opened = Opened(tmp_path)
    await opened.log.write(entry(1))

    assert opened.log._wake.is_set() is False
    await opened.log.close()


async def test_a_closed_log_refuses(tmp_path: Path):
    """And may be closed twice."""
    opened = Opened(tmp_path)
    await opened.log.close()
    await opened.log.close()

    assert not await soon(opened.log.write(entry(1)))
    assert 1 == opened.counts.drops


async def test_closing_writes_what_waits(tmp_path: Path):
    """Though nobody waits for it."""
    opened = Opened(tmp_path, mode="best_effort")
    for number in range(1000):
        await opened.log.write(entry(number, completion=b""))

    assert list(range(1000)) == await opened.written()


async def test_a_full_disk_withholds_where_records_are_required(tmp_path: Path):
    """Whoever had waited is told, and once there is room again records are acknowledged again."""
    opened = Opened(tmp_path)
    opened.disk.on_operation = full
    refused = await soon(opened.log.write(entry(1)))
    opened.disk.on_operation = nothing
    number = 2
    while not await soon(opened.log.write(entry(number))):
        number += 1

    assert not refused
    assert [True, False, True] == opened.counts.health
    assert [number] == await opened.written()


async def test_a_full_disk_goes_on_with_best_effort(tmp_path: Path):
    """Nobody is refused; that records are lost is counted, and said once."""
    opened = Opened(tmp_path, mode="best_effort")
    opened.disk.on_operation = full
    answers = [await opened.log.write(entry(number)) for number in range(10)]
    written = await opened.written()

    assert ([True] * 10, []) == (answers, written)
    assert (10, 0, [True, False]) == (opened.counts.failures, opened.counts.records, opened.counts.health)


async def test_a_failure_says_nothing_of_the_text(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Neither when the disk fails, nor when a record cannot be made."""
    caplog.set_level(logging.DEBUG)
    opened = Opened(tmp_path)

    def fails(text: object) -> Any:
        raise ValueError("she whispered")

    assert not await soon(opened.log.write(Entry(fails, verdict_id(1), b"she whispered", b"she whispered", "RELEASE")))
    opened.disk.on_operation = full
    assert not await soon(opened.log.write(entry(2, completion=b"she whispered")))
    await opened.log.close()

    said = " ".join(str(vars(record)) for record in caplog.records)
    assert ("whispered" not in said, "ENOSPC" in said) == (True, True)


def test_only_required_takes_of_the_time_of_requests(tmp_path: Path):
    """As much as the settings say."""
    opened = [
        Opened(tmp_path / mode, mode=mode, commit_reserve_ms=30).log for mode in ("required", "best_effort")
    ]  # fmt: skip
    for log in opened:
        asyncio.run(log.close())

    assert [(True, 0.03), (False, 0.0)] == [(log.required, log.reserve_s) for log in opened]


async def test_a_folder_has_one_writer(tmp_path: Path):
    """Also in the same process; once it is closed there may be another."""
    opened = Opened(tmp_path)
    with pytest.raises(ConfigError, match=r"^audit\.folder: .* is in use by another process$"):
        Opened(tmp_path)
    await opened.log.close()

    await Opened(tmp_path).log.close()


def test_another_process_is_refused(tmp_path: Path):
    """As it would be by a server that still drains."""
    opened = Opened(tmp_path)
    script = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)

    assert "BlockingIOError" in done.stderr
    asyncio.run(opened.log.close())


def test_a_folder_that_cannot_be_used_is_the_operators_fault(tmp_path: Path):
    """The message names the setting."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"^audit\.folder: .*: File exists$"):
        Opened(tmp_path / "file")
    with pytest.raises(ConfigError, match=r"^audit\.folder: must be given$"):
        AuditLog.open(AuditSettings(), "test", Counts())


def test_a_log_that_cannot_be_begun_frees_its_folder(tmp_path: Path):
    """So that the next attempt is not told that it is in use."""
    disk = Disk(full)
    settings = AuditSettings(folder=str(tmp_path), text="none")
    for _ in range(2):
        with pytest.raises(ConfigError, match="No space left on device"):
            AuditLog.open(settings, "test", Counts(), disk, Seals())


@pytest.mark.parametrize(("text", "hashed", "kept"), [("none", 0, "none"), ("hash", 64, "none"), ("full", 64, "full")])
async def test_what_is_kept_of_texts_is_as_set(tmp_path: Path, text: str, hashed: int, kept: str):
    """And only then the segment names a key."""
    opened = Opened(tmp_path, text=text)
    await opened.log.write(entry(1))
    await opened.log.close()
    start, record = stored(tmp_path)[:2]

    assert (hashed, kept) == (len(record.text.prompt_hash), record.text.kept)
    assert bool(hashed) == bool(start.key_id) == (tmp_path / "hash.key").exists()
    assert (kept == "full") == (tmp_path / "000001.texts").exists()


def test_a_log_writes_for_the_loop_of_its_caller(tmp_path: Path):
    """The one that runs; there may have been others."""
    opened = Opened(tmp_path)
    for number in (1, 2):
        assert asyncio.run(opened.log.write(entry(number)))

    assert [1, 2] == asyncio.run(opened.written())


def test_records_hold_what_was_made(tmp_path: Path):
    """To the last field but the text's."""

    async def written() -> None:
        opened = Opened(tmp_path, text="none")
        assert await opened.log.write(Entry(lambda text: verdict(3), verdict_id(3)))
        await opened.log.close()

    asyncio.run(written())
    assert verdict(3) == stored(tmp_path)[1]
