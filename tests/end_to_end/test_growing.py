"""ScreenStream at a real server: what is shown, and every way in which a growing completion can end."""

import hashlib
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import grpc
import pytest
from fakes import HARMFUL
from interlock.v1 import safety_filter_pb2 as pb

from .conftest import StartServer
from .server import PATIENT_S, Server, reasons

TEA = "She poured two cups of tea. "
SLOW = {"mode": "slow", "seconds": 1000}


class Writing:
    """A caller who writes a completion and listens."""

    def __init__(self, server: Server, **start: Any) -> None:
        self._outbox: Queue[pb.ScreenStreamRequest | None] = Queue()
        self.call: Any = server.stub.ScreenStream(iter(self._outbox.get, None), timeout=PATIENT_S)
        self.send(start=pb.ScreenStreamStart(**start))

    def send(self, **part: Any) -> None:
        """One message."""
        self._outbox.put(pb.ScreenStreamRequest(**part))

    def write(self, text: str) -> None:
        """More of the completion."""
        self.send(chunk=text.encode())

    def end(self) -> None:
        """It is whole."""
        self.send(end=pb.ScreenStreamEnd())

    def finish(self) -> None:
        """Closes our half."""
        self._outbox.put(None)

    def answers(self) -> list[pb.ScreenStreamResponse]:
        """Everything until the stream ends; raises what it ends with."""
        return list(self.call)

    def verdict(self) -> pb.Verdict:
        """The last word."""
        return self.answers()[-1].verdict


@pytest.fixture
def write() -> Iterator[Callable[..., Writing]]:
    """Begins completions, and cancels them with the test."""
    begun: list[Writing] = []

    def begin(server: Server, *texts: str, **start: Any) -> Writing:
        begun.append(Writing(server, **start))
        for text in texts:
            begun[-1].write(text)
        return begun[-1]

    yield begin
    for writing in begun:
        writing.call.cancel()
        writing.finish()


Write = Callable[..., Writing]


def test_sentences_are_released_while_the_text_grows(start_server: StartServer, write: Write):
    """With the digest of exactly those bytes; the end releases all."""
    server = start_server(streaming={"hold_back_bytes": 0})
    writing = write(server, TEA, "He")
    first = next(writing.call)
    writing.write(" sat down.")
    writing.end()
    last = writing.answers()[-1]

    assert (len(TEA), hashlib.sha256(TEA.encode()).digest()) == (first.released_bytes, first.released_sha256)
    assert (len(TEA) + 12, pb.DECISION_RELEASE) == (last.released_bytes, last.verdict.decision)
    assert hashlib.sha256(f"{TEA}He sat down.".encode()).digest() == last.verdict.completion_sha256


def test_the_policy_says_how_much_is_held_back(start_server: StartServer, write: Write):
    """Two sentences were judged, one may be shown."""
    server = start_server(streaming={"hold_back_bytes": len(TEA)})
    writing = write(server, TEA, TEA, "He")

    assert len(TEA) == next(writing.call).released_bytes


def test_a_harmful_sentence_never_comes_out(start_server: StartServer, write: Write):
    """What was shown before it is to be retracted."""
    server = start_server(streaming={"hold_back_bytes": 0})
    writing = write(server, TEA, "H")
    next(writing.call)
    writing.write(HARMFUL[1:] + " And")
    verdict = writing.verdict()

    assert (pb.DECISION_WITHHOLD, pb.ACTION_RETRACT) == (verdict.decision, verdict.action)
    assert len(TEA) == verdict.released_bytes


def test_a_withheld_stream_ends_though_the_caller_goes_on(server: Server, write: Write):
    """He may stop his generator."""
    verdict = write(server, f"{HARMFUL} Nobody saw it.", " And", " so", " on.").verdict()

    assert ["HARMFUL"] == reasons(verdict)


def test_half_closed_is_not_ended(server: Server, write: Write):
    """The generator may have died in the middle of a sentence."""
    writing = write(server, TEA)
    writing.finish()

    assert ["INPUT_INCOMPLETE"] == reasons(writing.verdict())


def test_a_stalled_stream_is_withheld(start_server: StartServer, write: Write):
    """Nobody knows whether more will come."""
    server = start_server(transport={"growing_idle_s": 0.05})

    assert ["INPUT_INCOMPLETE"] == reasons(write(server, "She").verdict())


def test_a_stream_may_not_take_for_ever(start_server: StartServer, write: Write):
    """Longer than a connection lives."""
    server = start_server(transport={"growing_seconds_max": 1.0})

    assert ["INPUT_INCOMPLETE"] == reasons(write(server, "She").verdict())


def test_no_more_streams_than_there_is_room_for(start_server: StartServer, write: Write):
    """The next one is withheld at once, not made to wait."""
    server = start_server(transport={"growing_max": 1})
    first = write(server, TEA, "H")
    server.eventually(lambda: server.metric("interlock_streams_active") == 1)
    second = write(server, TEA).verdict()
    first.end()

    assert (["OVERLOADED"], pb.DECISION_RELEASE) == (reasons(second), first.verdict().decision)


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([{"chunk": b"She"}], "start"),
        ([{"start": pb.ScreenStreamStart()}, {"start": pb.ScreenStreamStart()}], "start"),
        ([{"start": pb.ScreenStreamStart()}, {}], "part"),
        ([{"start": pb.ScreenStreamStart()}, {"end": pb.ScreenStreamEnd()}, {"chunk": b"x"}], "end"),
        ([{"start": pb.ScreenStreamStart(profile="unheard-of")}], "profile"),
        ([{"start": pb.ScreenStreamStart(extra_margin=-1)}], "extra_margin"),
        ([{"start": pb.ScreenStreamStart(prompt=b"a", turns=[pb.Turn(text=b"b")])}], "start"),
        ([], "start"),
    ],
)
def test_a_message_out_of_order_is_the_callers_mistake(server: Server, messages: list[dict[str, Any]], field: str):
    """Said with the field, and without any text."""
    requests = [pb.ScreenStreamRequest(**message) for message in messages]
    with pytest.raises(grpc.RpcError) as caught:
        list(server.stub.ScreenStream(iter(requests), timeout=PATIENT_S))

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()  # type: ignore[attr-defined]
    assert caught.value.details().startswith(field)  # type: ignore[attr-defined]


def test_a_caller_who_leaves_frees_his_place(server: Server, write: Write):
    """And the models."""
    for name in ("alpha", "beta", "gamma"):
        server.script(name, **SLOW)
    writing = write(server, TEA, TEA)
    server.eventually(lambda: server.metric("interlock_streams_active") == 1)
    writing.call.cancel()

    server.eventually(lambda: server.metric("interlock_streams_active") == 0)


def test_streams_do_not_mix(start_server: StartServer, write: Write):
    """Twenty at once, each with a text of its own: every digest is that of the stream's own text."""
    server = start_server(streaming={"hold_back_bytes": 0})
    texts = [f"She poured {place} cups of tea. He sat down." for place in range(20)]
    writings = [write(server) for _ in texts]
    for start in range(0, 40, 4):
        for writing, text in zip(writings, texts, strict=True):
            writing.write(text[start : start + 4 if start < 36 else None])
    for writing in writings:
        writing.end()
    answers = [writing.answers() for writing in writings]

    for text, said in zip(texts, answers, strict=True):
        for answer in said:
            shown = text.encode()[: answer.released_bytes]
            assert hashlib.sha256(shown).digest() == answer.released_sha256
        assert len(text) == said[-1].released_bytes


def test_a_draining_server_lets_a_stream_come_to_its_end(start_server: StartServer, write: Write):
    """A rolling update cuts nobody short."""
    server = start_server()
    writing = write(server, TEA)
    server.eventually(lambda: server.metric("interlock_streams_active") == 1)
    server.process.terminate()
    server.eventually(lambda: bool(server.events("draining")))
    writing.end()

    assert pb.DECISION_RELEASE == writing.verdict().decision
