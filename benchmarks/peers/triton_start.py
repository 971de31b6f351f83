"""How Triton is started from nvidia-pytriton's wheel, which holds the real server but only its python backend."""

import os
import shutil
import subprocess
from pathlib import Path

from .peer import ROOT, SERVERS, Environment
from .probe import MODEL

PYTHON = "3.11"  # the wheel has one stub per version
SOURCES = ("client", "proto", "server")

CONFIGURATION = """\
name: "ensemble"
backend: "python"
max_batch_size: 0
input [ { name: "prompt", data_type: TYPE_STRING, dims: [1] }, { name: "completion", data_type: TYPE_STRING, dims: [1] } ]
output [ { name: "scores", data_type: TYPE_FP32, dims: [12] } ]
instance_group [ { count: 2, kind: KIND_CPU } ]
"""

QUEUE_POLICY = """\
dynamic_batching {
  default_queue_policy {
    timeout_action: REJECT
    default_timeout_microseconds: %d
    max_queue_size: %d
  }
}
"""


def triton_command(environment: Environment, port: int, policy: str = "") -> list[str]:
    """Lays out backend and model repository, and returns the command line."""
    folder = environment.folder / ("run_policy" if policy else "run")
    shutil.rmtree(folder, ignore_errors=True)
    packages = environment.folder / "lib" / f"python{PYTHON}" / "site-packages"
    _lay_out(packages / "pytriton" / "tritonserver", folder, policy)
    roots = [SERVERS.parents[1], *(ROOT / part for part in SOURCES)]
    (packages / "sources.pth").write_text("".join(f"{root}\n" for root in roots))
    # nvidia_pytriton.libs: without it the stub dies, and the server waits for it for ever. The interpreter's own libraries
    # go first: another libpython of the same version does not fit its standard library. The stub ignores PYTHONPATH and
    # PYTHONHOME and takes the packages of whatever `python3` is first on the PATH.
    variables = [
        f"LD_LIBRARY_PATH={_libraries(environment)}:{packages / 'nvidia_pytriton.libs'}",
        f"PATH={environment.folder / 'bin'}:{os.environ['PATH']}",
    ]
    return ["env", *variables, str(packages / "pytriton/tritonserver/bin/tritonserver"), *_arguments(folder, port)]


def _arguments(folder: Path, port: int) -> list[str]:
    return [
        f"--model-repository={folder / 'models'}",
        f"--backend-directory={folder / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name=peer{port}_{os.getpid()}_",
        "--model-control-mode=explicit",
        f"--load-model={MODEL}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--log-verbose=0",
        "--exit-timeout-secs=5",
    ]


def _lay_out(server: Path, folder: Path, policy: str) -> None:
    backend, model = folder / "backends" / "python", folder / "models" / MODEL
    shutil.copytree(server / "backends" / "python", backend)
    shutil.copy2(server / "python_backend_stubs" / PYTHON / "triton_python_backend_stub", backend)
    (model / "1").mkdir(parents=True)
    shutil.copy2(SERVERS / "triton_model.py", model / "1" / "model.py")
    (model / "config.pbtxt").write_text(CONFIGURATION + policy)


def _libraries(environment: Environment) -> str:
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    return subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
