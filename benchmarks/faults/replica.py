"""A server under fault: `interlock serve` in a process of its own that can be killed, starved, stopped and started again."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from end_to_end.server import free_port
from fakes import certify, member, reseal, script, write_bundle
from prometheus_client.parser import text_string_to_metric_families

WORDS = {"alpha": "stabbed", "beta": "poisoned", "gamma": "strangled"}
"""What each member knows, and no other one."""
ENTRY = Path(__file__).with_name("entry.py")
START_S = 60.0
SCRAPE_S = 0.4
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Setup:
    """What is unusual about a server."""

    inference: Mapping[str, Any] = field(default_factory=dict)
    transport: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    triton: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    switched: bool = False
    """It is started by entry.py, whose faults `switch` turns on."""
    certified: bool = False


class Replica:
    """One server on ports that it keeps for all its lives. `folder` is its own."""

    def __init__(self, folder: Path, setup: Setup, bundle: Callable[[Path, Setup], str] | None = None) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        self._setup = setup
        self._digest = (bundle or write_members)(self.bundle, setup)
        self.target, self._http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self._config = folder / "interlock.yaml"
        self._config.write_text(yaml.safe_dump(self._settings()))
        self._switch = folder / "switch.json"
        self._lives = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log_folder(self) -> Path:
        """Of the audit log, where there is one."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """Of the process as it is now."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> "Replica":
        """A new life; returns at once."""
        self._lives += 1
        start = [str(ENTRY), str(self._switch)] if self._setup.switched else ["-m", "interlock_server", "serve"]
        command = ["setpriv", "--pdeathsig=KILL", sys.executable, *start, "--config", str(self._config)]
        with self._stderr.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
        return self

    def wait_ready(self) -> "Replica":
        """Until this life serves; raises RuntimeError with what it said when it ends before."""
        ends_s = time.monotonic() + START_S
        while not self.said("ready"):
            if not self.alive() or time.monotonic() > ends_s:
                raise RuntimeError(f"the server did not start:\n{self.log.strip()[-300:]}")
            time.sleep(0.02)
        return self

    def revive(self) -> None:
        """Whatever has happened to it, it serves again."""
        if self.alive():
            os.kill(self.pid, signal.SIGCONT)
        else:
            self.start().wait_ready()

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def ended(self, within_s: float) -> int:
        """Its exit code; raises subprocess.TimeoutExpired."""
        assert self.process is not None
        return self.process.wait(within_s)

    def signal(self, number: int) -> None:
        """Sends it, if there is somebody to send it to."""
        if self.alive():
            os.kill(self.pid, number)

    def close(self) -> None:
        """Ends it at once."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            self.ended(START_S)

    def limit(self, what: int, most: int | None) -> None:
        """A limit of the operating system on the running process; None lifts it."""
        if self.alive():
            hard = resource.prlimit(self.pid, what)[1]
            resource.prlimit(self.pid, what, (hard if most is None else most, hard))

    def script(self, name: str, **changes: Any) -> None:
        """A member misbehaves from now on, or does not."""
        script(self.bundle, name, phrases={WORDS[name]: 0.99}, **changes)

    def heal(self) -> None:
        """Every member behaves."""
        for name in WORDS:
            if (self.bundle / f"{name}.json").exists():
                self.script(name)

    def switch(self, **faults: Any) -> None:
        """Turns on these faults of entry.py and turns off all others."""
        draft = self._switch.with_suffix(".draft")
        draft.write_text(json.dumps(faults))
        draft.replace(self._switch)

    def scrape(self) -> Samples | None:
        """Everything on /metrics; None when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self._http}/metrics", timeout=SCRAPE_S) as response:
                page = response.read().decode()
        except OSError:
            return None
        families = text_string_to_metric_families(page)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    @property
    def log(self) -> str:
        """What this life has said on stderr."""
        return self._stderr.read_text(errors="replace")

    def said(self, event: str) -> bool:
        """Whether there is such a line."""
        return f'"event": "{event}"' in self.log

    @property
    def _stderr(self) -> Path:
        return self.folder / f"stderr_{self._lives}.txt"

    def _settings(self) -> dict[str, Any]:
        of = self._setup
        audit = {"folder": str(self.log_folder), **of.audit} if of.audit else {}
        return {
            "bundle": {"path": str(self.bundle), "digest": self._digest},
            "inference": {"lanes": 3, "reply_reserve_ms": 200, "hang_grace_ms": 50, "breaker_open_ms": 200,
                          "lanes_lost_max": 1_000, **of.inference},
            "transport": {"address": self.target, "http_address": self._http, **of.transport},
            "audit": audit,
            "triton": dict(of.triton),
        }  # fmt: skip


def write_members(bundle: Path, setup: Setup) -> str:
    """A bundle of members that each know a word; returns its digest."""
    write_bundle(bundle, [member(name) for name in WORDS], **setup.policy)
    for name, word in WORDS.items():
        script(bundle, name, phrases={word: 0.99})
    digest = reseal(bundle)
    issued = str(datetime.now(UTC).date() - timedelta(days=10))
    return certify(bundle, issued=issued) if setup.certified else digest
