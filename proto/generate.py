"""Regenerates the checked-in stubs from the contract: `python proto/generate.py [OUT]`. OUT is proto/ itself by default."""

import sys
import sysconfig
from importlib.resources import files
from os import environ, pathsep
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
CONTRACTS = ("interlock/v1/safety_filter.proto", "interlock/admin/v1/admin.proto")


def generate(out: Path) -> None:
    """Writes the Python stubs and their types below `out`; raises RuntimeError when protoc refuses the contract."""
    environ["PATH"] = sysconfig.get_path("scripts") + pathsep + environ["PATH"]  # protoc finds its plugins there
    outputs = ["python_out", "grpc_python_out", "mypy_out=quiet", "mypy_grpc_out=quiet"]
    flags = [f"--{name}{':' if '=' in name else '='}{out}" for name in outputs]
    well_known = str(files("grpc_tools") / "_proto")
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *flags, *CONTRACTS]) != 0:
        raise RuntimeError(f"protoc refused {CONTRACTS}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
