"""Starts what is measured, each in a process of its own: Interlock over any of its members, and the echo server."""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from interlock_server.bundle.load import MANIFEST
from interlock_server.bundle.seal import seal
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
from prometheus_client.parser import text_string_to_metric_families

FAST_MEMBERS = ("sentences", "ngrams")
"""An ensemble that takes about half a millisecond."""


@dataclass(frozen=True)
class Bundle:
    """Where an ensemble is."""

    path: str = str(DEFAULT_BUNDLE)
    digest: str = DEFAULT_BUNDLE_DIGEST


@dataclass(frozen=True)
class Running:
    """A server that is ready."""

    address: str
    pids: list[int]
    http_address: str = ""


@contextmanager
def bundle_of(members: Sequence[str]) -> Iterator[Bundle]:
    """A bundle with only these members of the default one, and its policy without the others, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        path.mkdir()
        content = json.loads((DEFAULT_BUNDLE / MANIFEST).read_text())
        content["members"] = [entry for entry in content["members"] if entry["name"] in members]
        for entry in content["members"]:
            for name in entry["files"].values():
                shutil.copyfile(DEFAULT_BUNDLE / name, path / name)
        shutil.copyfile(DEFAULT_BUNDLE / content["golden"], path / content["golden"])
        policy = _reduced(yaml.safe_load((DEFAULT_BUNDLE / content["policy"]).read_text()), members)
        (path / content["policy"]).write_text(yaml.safe_dump(policy))
        digest = seal(path, {key: value for key, value in content.items() if key not in ("format", "files")})
        yield Bundle(str(path), digest)


@contextmanager
def running_interlock(bundle: Bundle | None = None, policy: str | None = None, **sections: Any) -> Iterator[Running]:
    """`interlock serve` on free ports, with this Python and the defaults but for a policy and `sections` of the configuration."""
    bundle_section = {**vars(bundle or Bundle()), "policy": policy}
    transport = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0", **sections.pop("transport", {})}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "interlock.yaml"
        config.write_text(yaml.safe_dump({"bundle": bundle_section, "transport": transport, **sections}))
        command = [sys.executable, "-m", "interlock_server", "serve", "--config", str(config)]
        with _running(command, "interlock serve") as (process, ready):
            addresses = (f"127.0.0.1:{ready['port']}", f"127.0.0.1:{ready['http_port']}")
            yield Running(addresses[0], [process.pid], addresses[1])


@contextmanager
def running_echo() -> Iterator[Running]:
    """The echo server."""
    with _running([sys.executable, str(Path(__file__).with_name("echo.py"))], "echo.py") as (process, ready):
        yield Running(f"127.0.0.1:{ready['port']}", [process.pid])


def samples(server: Running, name: str) -> dict[str, float]:
    """The values of one metric by member."""
    with urllib.request.urlopen(f"http://{server.http_address}/metrics", timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
        found = [sample for family in families for sample in family.samples if sample.name == name]
    return {sample.labels.get("member", ""): sample.value for sample in found}


@contextmanager
def _running(command: list[str], name: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """A process that says on stderr when it is ready; the log goes to a file, so that a full pipe cannot stop it."""
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log, text=True) as process:
        try:
            yield process, _event(log, process, name)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _event(log: Any, process: "subprocess.Popen[str]", name: str) -> dict[str, Any]:
    """The event `ready`; raises RuntimeError with the log when the process ends before."""
    while True:
        log.seek(0)
        lines = log.read().splitlines(keepends=True)
        for line in lines:
            if line.startswith("{") and line.endswith("\n") and json.loads(line)["event"] == "ready":
                event: dict[str, Any] = json.loads(line)
                return event
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"{name} did not start:\n" + "".join(lines))


def _reduced(policy: dict[str, Any], members: Sequence[str]) -> dict[str, Any]:
    """The policy over fewer members; what it then decides is not measured."""
    for profile in policy["profiles"].values():
        for rule in profile["categories"].values():
            rule["members"] = {name: value for name, value in rule["members"].items() if name in members}
            if len(members) == 1:
                rule["single_member"] = "acknowledged"
    return policy
