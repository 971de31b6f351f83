"""Bytes that no client of ours would send, to a real server all of whose members say `harmful`: nothing is released.

Every call ends, as a verdict or as one of few errors; none of them is a crash, and the server goes on.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from access.edge import PATIENT_S, Edge
from fakes import BENIGN
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from interlock.v1 import safety_filter_pb2 as pb

from .hostile import GROWTH_MAX_MB, damaged, fuzzed, memory_peak_mb, wire

SERVICE = "/interlock.v1.SafetyFilterService/"
EXCHANGE = pb.Exchange(prompt=b"Tell me a story.", completion=BENIGN.encode())
TURNS = pb.Exchange(turns=[pb.Turn(speaker=pb.SPEAKER_USER, text=b"Hello.")] * 3, completion=BENIGN.encode())
BATCH = pb.ScreenBatchRequest(exchanges=[EXCHANGE, TURNS], priority=pb.PRIORITY_BULK)
UNARY: dict[str, tuple[Any, list[Any]]] = {
    "Screen": (
        pb.ScreenResponse,
        [pb.ScreenRequest(exchange=each, profile="balanced", extra_margin=1.5, detail=3) for each in (EXCHANGE, TURNS)],
    ),
    "ScreenBatch": (pb.ScreenBatchResponse, [BATCH]),
    "Select": (pb.SelectResponse, [pb.SelectRequest(prompt=b"Hi", candidates=[b"One.", b"Two."], rounds=3)]),
    "Report": (pb.ReportResponse, [pb.ReportRequest(verdict_id="0" * 36, label=1, categories=["illicit"])]),
    "GetEnsemble": (pb.GetEnsembleResponse, [pb.GetEnsembleRequest()]),
}
STREAMS: dict[str, tuple[Any, list[Any]]] = {
    "ScreenMany": (
        pb.ScreenManyResponse,
        [
            pb.ScreenManyRequest(sequence=1, timeout=Duration(seconds=5), batch=BATCH),
            pb.ScreenManyRequest(sequence=1, cancel=True),
        ],
    ),
    "ScreenStream": (
        pb.ScreenStreamResponse,
        [
            pb.ScreenStreamRequest(start=pb.ScreenStreamStart(prompt=b"Hi")),
            pb.ScreenStreamRequest(chunk=BENIGN.encode()),
            pb.ScreenStreamRequest(end=pb.ScreenStreamEnd()),
        ],
    ),
}
UNDERSTOOD = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}


class Hostage:
    """A server in a thread of its own, and raw calls to it."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._edge = self._run(self._start(folder))
        target = f"127.0.0.1:{self._edge.server.port}"
        self.channel = grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])

    async def _start(self, folder: Path) -> Edge:
        return await Edge(folder, score=0.99, growing_idle_s=1.0).__aenter__()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENT_S)

    def close(self) -> None:
        self.channel.close()
        self._run(self._edge.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENT_S)
        self._loop.close()

    def unary(self, method: str, message: bytes) -> tuple[grpc.StatusCode, list[bytes]]:
        """How the call ended, and what came of it."""
        try:
            return grpc.StatusCode.OK, [self.channel.unary_unary(SERVICE + method)(message, timeout=PATIENT_S)]
        except grpc.RpcError as error:
            return error.code(), []  # type: ignore[attr-defined]

    def stream(self, method: str, messages: Sequence[bytes]) -> tuple[grpc.StatusCode, list[bytes]]:
        """The same."""
        answers: list[bytes] = []
        try:
            for answer in self.channel.stream_stream(SERVICE + method)(iter(messages), timeout=PATIENT_S):
                answers.append(answer)
        except grpc.RpcError as error:
            return error.code(), answers  # type: ignore[attr-defined]
        return grpc.StatusCode.OK, answers


@pytest.fixture(scope="module")
def hostage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostage]:
    """It has to survive them all, in the memory that it had."""
    hostage = Hostage(tmp_path_factory.mktemp("hostage"))
    before_mb = memory_peak_mb()
    yield hostage
    code, _ = hostage.unary("Screen", pb.ScreenRequest(exchange=EXCHANGE).SerializeToString())
    hostage.close()
    assert grpc.StatusCode.OK == code
    assert memory_peak_mb() < before_mb + GROWTH_MAX_MB


def released(message: Any) -> bool:
    """Whether there is a release anywhere in an answer, or a byte that may be shown."""
    if isinstance(message, pb.Verdict):
        return bool(message.decision == pb.DECISION_RELEASE)
    if isinstance(message, pb.ScreenStreamResponse) and message.released_bytes:
        return True
    if isinstance(message, pb.SelectResponse) and message.HasField("selected"):
        return True
    inner = [value for field, value in message.ListFields() if field.message_type]
    return any(released(each) for value in inner for each in (value if hasattr(value, "append") else [value]))


def messages(originals: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Good ones with something wrong, fields at random, and noise."""
    good = [original.SerializeToString() for original in originals]
    return st.one_of(damaged(good), wire, st.binary(max_size=200))


@pytest.mark.parametrize("method", UNARY)
@fuzzed
@given(data=st.data())
def test_no_message_gets_a_release_or_a_crash(hostage: Hostage, method: str, data: st.DataObject):
    """Of one request and one answer."""
    response, originals = UNARY[method]
    code, answers = hostage.unary(method, data.draw(messages(originals)))

    assert code in UNDERSTOOD
    assert not any(released(response.FromString(answer)) for answer in answers)


@pytest.mark.parametrize("method", STREAMS)
@fuzzed
@given(data=st.data())
def test_no_stream_gets_a_release_or_a_crash(hostage: Hostage, method: str, data: st.DataObject):
    """Of messages in any order, good and bad."""
    response, originals = STREAMS[method]
    good = st.sampled_from([original.SerializeToString() for original in originals])
    code, answers = hostage.stream(method, data.draw(st.lists(st.one_of(good, messages(originals)), max_size=8)))

    assert code in UNDERSTOOD
    assert not any(released(response.FromString(answer)) for answer in answers)


def test_a_release_would_be_seen():
    """The twin: wherever it stands in an answer."""
    verdict = pb.Verdict(decision=pb.DECISION_RELEASE)
    batch = pb.ScreenBatchResponse(verdicts=[pb.Verdict(), verdict])
    answers = (
        pb.ScreenResponse(verdict=verdict),
        batch,
        pb.ScreenManyResponse(batch=batch),
        pb.SelectResponse(selected=0),
        pb.ScreenStreamResponse(released_bytes=1),
    )

    assert all(map(released, answers))
    assert not released(pb.ScreenResponse(verdict=pb.Verdict(decision=pb.DECISION_WITHHOLD)))
