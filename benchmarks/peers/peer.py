"""What a peer is: an environment of its own, a way to start its server, and proof that it answers before it is used."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .guard import children
from .probe import Driver, ProbeError, opened_probe
from .reference import Reference, reference

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "peers"
SERVERS = Path(__file__).parent / "servers"
START_TIMEOUT_S, STOP_TIMEOUT_S = 90.0, 30.0
WARM_UP, WARM_UP_CALLERS = 40, 4  # so that every worker has had some, whichever way they are spread
LOG_TAIL_BYTES = 3000


class PeerError(Exception):
    """A peer cannot be installed, does not come up, or answers wrongly."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment in build/peers; `requirements` are the arguments of each run of pip, in order."""

    name: str
    requirements: tuple[tuple[str, ...], ...]

    @property
    def folder(self) -> Path:
        """Where it is."""
        return BUILD / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self) -> None:
        """Makes it, unless it is complete and made of the same requirements. Raises PeerError."""
        marker = self.folder / "installed"  # written last, so that half an environment never counts
        stated = "\n".join(" ".join(arguments) for arguments in self.requirements)
        if marker.is_file() and marker.read_text() == stated:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        log = self.folder / "install.log"
        _run([sys.executable, "-m", "venv", str(self.folder)], log)
        for arguments in self.requirements:
            pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            _run([*pip, *arguments], log)
        marker.write_text(stated)


@dataclass(frozen=True)
class Peer:
    """A server that does Interlock's scoring, started as its own documentation advises."""

    name: str
    driver: Driver
    configuration: str
    """Its settings, for the table."""
    environment: Environment
    command: Callable[[Environment, int], list[str]]
    """What starts it on a port; may write files into the environment's folder first."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables on top of this process's."""

    def install(self) -> None:
        """Makes its environment unless it is there; may take minutes. Raises PeerError."""
        self.environment.install()

    @contextmanager
    def running(self, port: int) -> Iterator[list[int]]:
        """Starts it on 127.0.0.1:`port`, yields its root processes once it scores correctly and is warm, and ends it.

        Raises PeerError, with the end of its log, when it does not get there in time.
        """
        log = self.environment.folder / f"{self.name}.log"
        variables = {**os.environ, "PYTHONPATH": str(SERVERS.parents[1]), "OMP_NUM_THREADS": "1", **self.settings}
        guard = [sys.executable, "-I", str(SERVERS.parent / "guard.py"), *self.command(self.environment, port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                guard, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=variables, start_new_session=True
            )
        try:
            self._await_ready(process, port, log)
            yield children(process.pid)
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)

    def _await_ready(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        fault = "never tried"
        while time.monotonic() < deadline_s and process.poll() is None:
            try:
                return self._warm_up(port, reference())
            except ProbeError as error:
                fault = str(error)
            time.sleep(0.2)
        state = "ended" if process.poll() is not None else f"was not ready within {START_TIMEOUT_S:.0f} s ({fault})"
        raise PeerError(f"{self.name} {state}\n{_tail(log)}")

    def _warm_up(self, port: int, right: Reference) -> None:
        """Asks until every worker has had its share; raises ProbeError at the first answer that is not right."""
        with ExitStack() as stack, ThreadPoolExecutor(WARM_UP_CALLERS) as pool:
            probes = [stack.enter_context(opened_probe(self.driver, port)) for _ in range(WARM_UP_CALLERS)]

            def ask(caller: int) -> None:
                for _ in range(WARM_UP // WARM_UP_CALLERS):
                    right.check(probes[caller](right.prompt, right.completion))

            list(pool.map(ask, range(WARM_UP_CALLERS)))


def _run(command: list[str], log: Path) -> None:
    with log.open("ab") as output:
        if subprocess.run(command, stdout=output, stderr=output, cwd=ROOT).returncode:
            raise PeerError(f"{' '.join(command[-3:])} failed\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
