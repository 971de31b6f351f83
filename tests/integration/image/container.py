"""Runs the image as a container runtime does, with crun: as the user of the image, without rights, on a root that is read-only.

Only the network is the host's, since there is no engine here that would publish ports.
"""

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .buildah import PROGRAMS, environment

PATIENCE_S = 60.0  # never waited for in full; a busy machine is slow
# crun refuses the mixture of both versions of cgroups that some machines have, though it is to use neither.
_OWN_CGROUPS = 'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"'
_NAME = "interlock"


class Container:
    """Starts on construction with the image's entrypoint and `arguments`; `stop` it after."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        image: Mapping[str, Any],
        arguments: list[str],
        variables: Mapping[str, str],
        config: Path,
    ) -> None:
        self._state = folder / "state"
        self._stderr = folder / "stderr.txt"
        spec = _spec(root, image, [*image["Entrypoint"], *arguments], variables, config)
        (folder / "config.json").write_text(json.dumps(spec))
        command = self._crun("run", "--bundle", str(folder), _NAME)
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OWN_CGROUPS, "sh", *command],
                stderr=stderr,
                env=environment(),
            )

    def wait_ready(self) -> "Container":
        """Until the server says which ports it has."""
        ends_s = time.monotonic() + PATIENCE_S
        while not self.events("ready"):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < ends_s, self.log
            time.sleep(0.05)
        (ready,) = self.events("ready")
        self.target, self.http = f"127.0.0.1:{ready['port']}", f"http://127.0.0.1:{ready['http_port']}"
        return self

    @property
    def log(self) -> str:
        return self._stderr.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        lines = [line for line in self.log.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a program in it, as the user of the image."""
        return self._run("exec", _NAME, *command)

    def status(self) -> dict[str, str]:
        """What the kernel says of the first process in it."""
        pid = json.loads(self._run("state", _NAME).stdout)["pid"]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def stop(self) -> int:
        """SIGTERM, as every engine sends it; the exit code."""
        if self.process.poll() is None:
            self._run("kill", _NAME, "TERM")
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self._crun(*arguments)
        return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)

    def _crun(self, *arguments: str) -> list[str]:
        return [str(PROGRAMS / "bin" / "crun"), "--root", str(self._state), "--cgroup-manager=disabled", *arguments]


def _spec(
    root: Path, image: Mapping[str, Any], arguments: list[str], variables: Mapping[str, str], config: Path
) -> dict[str, Any]:
    """For the OCI runtime: the image's user and variables, the least of everything else."""
    uid, gid = map(int, image["User"].split(":"))
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "process": {
            "args": arguments,
            "cwd": image["WorkingDir"] or "/",
            "env": [*image["Env"], *(f"{name}={value}" for name, value in variables.items())],
            "user": {"uid": uid, "gid": gid},
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/etc/interlock", "source": str(config), "options": ["bind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }
