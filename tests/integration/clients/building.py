"""Generates stubs from the contract and compiles the examples with them, as their readers would."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
PLACE = ROOT / ".tools" / "clients"
CONTRACT = "interlock/v1/safety_filter.proto"
BUILD_S = 300


def go(folder: Path) -> list[str]:
    """The command of the example in Go."""
    package = "example.com/screen/interlockv1"
    options = [f"--{name}_opt=M{CONTRACT}={package}" for name in ("go", "go-grpc")]
    (folder / "src").mkdir()
    tools = PLACE / "go" / "usr"
    _protoc([f"--go_out={folder / 'src'}", f"--go-grpc_out={folder / 'src'}", *options], tools / "bin")
    program = folder / "screen"
    variables = {
        "GO111MODULE": "off",  # Debian's packages are no modules
        "GOROOT": str(tools / "lib" / "go-1.19"),
        "GOPATH": f"{folder}:{tools / 'share' / 'gocode'}",
        "GOCACHE": str(PLACE / "go-cache"),
    }
    compiler = tools / "lib" / "go-1.19" / "bin" / "go"
    _run([compiler, "build", "-o", program, EXAMPLES / "go" / "screen.go"], variables)
    return [str(program)]


def typescript(folder: Path) -> list[str]:
    """The command of the example in TypeScript, type-checked as strictly as can be."""
    modules = PLACE / "node" / "node_modules"
    (folder / "node_modules").symlink_to(modules)
    (folder / "generated").mkdir()
    shutil.copy(EXAMPLES / "typescript" / "screen.ts", folder)
    options = (
        f"--ts_proto_out={folder / 'generated'}",
        "--ts_proto_opt=outputServices=grpc-js,esModuleInterop=true,env=node",
    )
    _protoc(options, modules / ".bin")
    flags = ["--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--types", "node"]
    places = ["--typeRoots", modules / "@types", "--outDir", folder / "out"]
    _run([modules / ".bin" / "tsc", *flags, *places, folder / "screen.ts"], {})
    return ["node", str(folder / "out" / "screen.js")]


def _protoc(outputs: tuple[str, ...] | list[str], plugins: Path) -> None:
    includes = [f"-I{ROOT / 'proto'}", f"-I{files('grpc_tools') / '_proto'}"]
    path = f"{plugins}{os.pathsep}{os.environ['PATH']}"
    _run([sys.executable, "-m", "grpc_tools.protoc", *includes, *outputs, CONTRACT], {"PATH": path})


def _run(command: list[object], variables: Mapping[str, str]) -> None:
    assert (PLACE / "complete").exists(), "the compilers are missing: run sh tests/integration/clients/install.sh"
    words = [str(word) for word in command]
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, timeout=BUILD_S)
    assert 0 == done.returncode, f"{done.stdout}\n{done.stderr}"
