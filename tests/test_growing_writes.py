"""A stream that is out of order ends with its error, whatever is being written at that moment."""

import asyncio
from typing import Any

import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.streaming import Progress
from interlock_server.transport.growing import serve_growing
from interlock_server.transport.translate import Call, InvalidRequest

PATIENT_S = 30.0


class FakeCompletion:
    """Has something to show, once."""

    ended = False

    def __init__(self) -> None:
        self._shown = asyncio.Event()

    async def progress(self) -> Progress:
        """The first bytes, and then nothing for ever."""
        if self._shown.is_set():
            await asyncio.Event().wait()
        self._shown.set()
        return Progress(1, b"")


class FakeContext:
    """A call whose caller reads slowly, and says something wrong while a message is on its way to him."""

    def __init__(self, reads: bool) -> None:
        self._reads = reads
        self._writing = asyncio.Event()
        self.written = self.cut = False

    async def read(self) -> pb.ScreenStreamRequest:
        """A second beginning."""
        await self._writing.wait()
        return pb.ScreenStreamRequest(start=pb.ScreenStreamStart())

    async def write(self, message: Any) -> None:
        """Takes a while."""
        self._writing.set()
        try:
            await (asyncio.sleep(0.05) if self._reads else asyncio.Event().wait())
        except asyncio.CancelledError:
            self.cut = True
            raise
        self.written = True


@pytest.mark.parametrize(("reads", "written", "cut"), [(True, True, False), (False, False, True)])
async def test_a_write_ends_before_the_call(reads: bool, written: bool, cut: bool):
    """gRPC cannot end a call in which a write was cut off; but nobody waits for a caller who does not read."""
    context: Any = FakeContext(reads)
    completion: Any = FakeCompletion()
    with pytest.raises(InvalidRequest, match="start: comes once"):
        async with asyncio.timeout(PATIENT_S):
            await serve_growing(context, completion, Call("ScreenStream", float("inf"), ""), lambda _: pb.Verdict())

    assert (written, cut) == (context.written, context.cut)
