"""Logs: JSON lines that say which request they are about, and nothing of what it said."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
from interlock_server.log import about, configure, log_detail, log_event, log_failure

MARKER = "xyzzy-marker"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Tests configure the logs of the whole process."""
    root, grpc = logging.getLogger(), logging.getLogger("grpc")
    before = root.handlers[:], root.level, grpc.level
    yield
    root.handlers[:], root.level, grpc.level = before


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """What was logged."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_lines_say_what_they_are_about(capsys: pytest.CaptureFixture[str]):
    """Also those of libraries, and of tasks that began later; and each task about its own."""
    configure("info")

    async def serve(verdict_id: str) -> None:
        about(trace_id="t", verdict_id="")
        logging.getLogger("library").warning("before")
        about(verdict_id=verdict_id, trace_id="t")
        await asyncio.create_task(asyncio.to_thread(log_event, "mine"))
        logging.getLogger("library").warning("theirs")

    await asyncio.gather(serve("one"), serve("two"))
    log_event("nobody's")

    *logged, last = [(line["event"], line.get("verdict_id"), line.get("trace_id")) for line in lines(capsys)]
    assert {(event, id, "t") for event in ("mine", "theirs") for id in ("one", "two")} | {("before", None, "t")} == {
        *logged
    }
    assert ("nobody's", None, None) == last


def test_fields_that_are_named_go_before(capsys: pytest.CaptureFixture[str]):
    """A line of a thread that serves many says itself which it means."""
    configure("info")
    log_failure("record", ValueError(MARKER), verdict_id="one")

    (line,) = lines(capsys)
    assert ("record", "one", "ValueError") == (line["event"], line["verdict_id"], line["error_type"])


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{MARKER}')>", "Task exception was"),
        (f"Exception in callback done('{MARKER}')", "Exception in callback done"),
        ("stream_item", "stream_item"),
        (f"{'('}{MARKER}", ""),
    ],
)
def test_what_a_library_says_of_an_exception_is_cut(message: str, event: str, capsys: pytest.CaptureFixture[str]):
    """To the words in front; after them come values, which may be texts."""
    configure("info")
    try:
        raise ValueError(MARKER)
    except ValueError as error:
        logging.getLogger("asyncio").error(message, exc_info=error)

    (line,) = lines(capsys)
    assert (True, "ValueError") == (line["event"].startswith(event), line["error_type"])
    assert MARKER not in json.dumps(line)


def test_grpc_is_never_talkative(capsys: pytest.CaptureFixture[str]):
    """At the most talkative level it would say something on every call."""
    configure("debug")
    for say in (logging.getLogger("grpc._cython.cygrpc").debug, logging.getLogger("grpc").warning):
        say("something")
    log_detail("ours", reason="HARMFUL")

    assert [("grpc", "something"), ("interlock", "ours")] == [(line["logger"], line["event"]) for line in lines(capsys)]


def test_details_are_for_the_debug_level(capsys: pytest.CaptureFixture[str]):
    """There is one for every verdict."""
    configure("info")
    log_detail("verdict")

    assert [] == lines(capsys)
