"""A TCP proxy that spoils what passes through it: resets, silence, delay, cuts, changed bytes, a trickle, a deaf reader."""

import asyncio
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from faults.traffic import Loop

Mode = Literal["pass", "reset", "silent", "delay", "truncate", "corrupt", "throttle", "deaf"]
CHUNK, POLL_S = 16 * 1024, 0.02
DELAY_S = 0.1
LINGER_NOT = struct.pack("ii", 1, 0)  # to close is to reset
CUT_SHARE, CORRUPT_SHARE, CORRUPT_BYTES = 0.05, 0.02, 8
TRICKLE_BYTES_PER_S = 1_000
RESET_EVERY_S = 0.2


class Connection:
    """Both ends of one connection."""

    def __init__(self, caller: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (caller, server)
        self.forgotten = False
        """Nothing will ever pass through it again, and nobody is told: the other machine is gone."""

    def end(self, rudely: bool) -> None:
        """Closes both ends, or resets them."""
        for end in self.ends:
            if rudely:
                with suppress(OSError):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            end.close()


class ChaosProxy:
    """Stands before one server, which sees callers come from `source`. `mode` may be changed at any time, from any thread."""

    def __init__(self, loop: Loop, server: str, source: str | None = None) -> None:
        self.mode: Mode = "pass"
        self.spoiled = 0
        """How often it has interfered."""
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._source = (source, 0) if source else None
        self._connections: set[Connection] = set()
        self._chance = random.Random(7)
        self._closed = False
        self._loop = loop
        self.target = loop.run(self._listen())

    def forget(self) -> None:
        """All connections of now lead nowhere from now on."""
        for connection in list(self._connections):
            connection.forgotten = True
            self.spoiled += 1

    def close(self) -> None:
        """Ends everything."""
        self._loop.run(self._close())

    async def _listen(self) -> str:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._resetting = asyncio.create_task(self._reset())
        return f"127.0.0.1:{self._listening.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        self._closed = True
        self._resetting.cancel()
        self._listening.close()
        for connection in list(self._connections):
            connection.end(rudely=True)

    async def _reset(self) -> None:
        while True:
            await asyncio.sleep(RESET_EVERY_S)
            for connection in list(self._connections) if self.mode == "reset" else ():
                connection.end(rudely=True)
                self.spoiled += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._server, local_addr=self._source)
        except OSError:
            writer.close()
            return
        connection = Connection(writer, to_server)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(connection, reader, to_server, answers=False))
                ways.create_task(self._pump(connection, from_server, writer, answers=True))
        finally:
            self._connections.discard(connection)
            connection.end(rudely=False)

    async def _pump(
        self, connection: Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool
    ) -> None:
        with suppress(OSError):
            while True:
                await self._while(lambda: self.mode == "deaf" and answers)  # what the server sends stays with it
                content = await source.read(CHUNK)
                if not content:
                    break
                await self._treat(connection, content, sink)
        connection.end(rudely=False)

    async def _treat(self, connection: Connection, content: bytes, sink: asyncio.StreamWriter) -> None:
        treatments: dict[Mode, Callable[[Connection, bytes], Awaitable[bytes]]] = {
            "silent": self._silent, "delay": self._delayed, "truncate": self._cut, "corrupt": self._corrupted,
            "throttle": self._trickling,
        }  # fmt: skip
        treatment = self._silent if connection.forgotten else treatments.get(self.mode)
        passed = await treatment(connection, content) if treatment else content
        sink.write(passed)
        await sink.drain()

    async def _silent(self, connection: Connection, content: bytes) -> bytes:
        self.spoiled += 1
        await self._while(lambda: connection.forgotten or self.mode == "silent")
        return content

    async def _delayed(self, connection: Connection, content: bytes) -> bytes:
        self.spoiled += 1
        await asyncio.sleep(DELAY_S)
        return content

    async def _cut(self, connection: Connection, content: bytes) -> bytes:
        if self._chance.random() > CUT_SHARE:
            return content
        self.spoiled += 1
        asyncio.get_running_loop().call_soon(connection.end, False)
        return content[: len(content) // 2]

    async def _corrupted(self, connection: Connection, content: bytes) -> bytes:
        """A burst, as of a bad line: a single byte that turns one verdict into the other is for TLS to find."""
        if self._chance.random() > CORRUPT_SHARE:
            return content
        self.spoiled += 1
        place = self._chance.randrange(len(content))
        noise = self._chance.randbytes(len(content[place : place + CORRUPT_BYTES]))
        return content[:place] + noise + content[place + CORRUPT_BYTES :]

    async def _trickling(self, connection: Connection, content: bytes) -> bytes:
        self.spoiled += 1
        ends_s = time.monotonic() + len(content) / TRICKLE_BYTES_PER_S
        await self._while(lambda: self.mode == "throttle" and time.monotonic() < ends_s)
        return content

    async def _while(self, holds: Callable[[], bool]) -> None:
        """Waits; other threads change what it looks at, and tell nobody."""
        while holds() and not self._closed:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
