"""A real Triton server in a process of its own. `install.sh` says where it comes from and why it needs what it is given."""

import os
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

import tritonclient.grpc

from .repository import write_model

TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "triton"
START_S = 30.0  # a server whose python backend cannot start hangs instead of failing
STOP_S = 15.0


class TritonServer:
    """Serves every model in a folder, on a free port unless one is given; `wait_ready` before use, `kill` after."""

    def __init__(
        self, repository: Path, port: int | None = None, packages: Path = TOOLS, *, explicit: bool = False
    ) -> None:
        assert (TOOLS / "complete").exists(), "there is no Triton server: run tests/tritonserver/install.sh"
        self.repository = repository
        # Models can then be unloaded and loaded while it runs.
        self._control = ["--model-control-mode=explicit", "--load-model=*"] if explicit else []
        self.port = port or free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._shared_memory = f"interlock_{os.getpid()}_{self.port}"
        self._log = repository.parent / f"triton_{self.port}.txt"
        with self._log.open("wb") as file:
            self.process = subprocess.Popen(
                self._command(), env=_environment(packages), stdout=file, stderr=file, start_new_session=True
            )

    def wait_ready(self) -> "TritonServer":
        """Returns when it serves its models; stops it and fails when it does not."""
        ends_s = time.monotonic() + START_S
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > ends_s:
                self.kill()
                raise AssertionError(f"the server did not start; its log:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.05)
        return self

    def slow_down(self, delay_s: float, model: str = "tiny") -> None:
        """Each request takes this long from now on."""
        draft = self.repository.parent / f"delay_{self.port}"
        draft.write_text(str(delay_s))
        draft.replace(self.repository / model / "delay")

    def pause(self) -> None:
        """Stops the process where it is; connections stay."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it run again."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def drain(self) -> None:
        """Asks it to end; what is under way is still answered."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, whatever state it is in, and removes what it leaves in shared memory. May be called twice."""
        if self.process.returncode is None:  # its id may be another's once it has been waited for
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_S)
        for left in Path("/dev/shm").glob(f"{self._shared_memory}*"):
            left.unlink(missing_ok=True)

    def kill_models(self) -> None:
        """Ends the processes of the models, of which the server notices when it wants something of them."""
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)

    def statistics(self, model: str = "tiny") -> dict[str, int]:
        """How many requests of the model succeeded and failed so far."""
        with tritonclient.grpc.InferenceServerClient(self.endpoint) as client:
            found = client.get_inference_statistics(model).model_stats[0].inference_stats
        return {"success": found.success.count, "fail": found.fail.count}

    def _ready(self) -> bool:
        try:
            with tritonclient.grpc.InferenceServerClient(self.endpoint) as client:
                return bool(client.is_server_ready(client_timeout=1))
        except tritonclient.grpc.InferenceServerException:
            return False

    def _command(self) -> list[str]:
        # setpriv: tests that are killed leave no server behind.
        return [
            "setpriv", "--pdeathsig=KILL",
            str(next((TOOLS / "lib").glob("python3*/site-packages/pytriton/tritonserver/bin/tritonserver"))),
            f"--model-repository={self.repository}", f"--backend-directory={TOOLS / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            "--grpc-address=127.0.0.1", f"--grpc-port={self.port}",
            "--allow-http=false", "--allow-metrics=false", "--exit-timeout-secs=10",
            *self._control,
        ]  # fmt: skip


def serve(folder: Path, **model: object) -> TritonServer:
    """A ready server with one model, called tiny."""
    write_model(folder / "models", **model)  # type: ignore[arg-type]
    return TritonServer(folder / "models").wait_ready()


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(packages: Path) -> dict[str, str]:
    """The libraries of the wheel, and before those of the machine this Python's own.

    The server's Python ignores PYTHONPATH: it is that of the first python3 on the PATH, with its packages.
    """
    bundled = next((TOOLS / "lib").glob("python3*/site-packages/nvidia_pytriton.libs"))
    return {
        "PATH": f"{packages / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "LD_LIBRARY_PATH": f"{sysconfig.get_config_var('LIBDIR')}:{bundled}",
    }
