"""The tree is the architecture: arrows point one way, and heavy libraries are loaded only where they are needed.

One table says what each part may import; another, which files may load a heavy library as soon as they are imported.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"client": "interlock_client", "server": "interlock_server", "lab": "interlock_lab"}
EVERYTHING = "*"
SERVER, CLIENT, PROTO, LAB = "interlock_server", "interlock_client", "interlock.v1", "interlock_lab"
ADMIN_PROTO = "interlock.admin.v1"

# A part is a module or a folder of the server. It may import itself, what is named here, and what is not ours.
PARTS: Mapping[str, set[str]] = {
    "__init__": set(),
    "decision": set(),
    "text": set(),
    "errors": set(),
    "metrics": set(),
    "log": set(),
    "trace_context": set(),
    "bundles": set(),
    "strict": {"errors"},
    "access": {"strict", "metrics", "log", "errors"},
    "assurance": {"decision", "errors"},
    "audit": {"decision", "strict", "errors", "log"},
    "bundle": {"decision", "assurance", "strict", "errors"},
    "backends": {"text", "assurance", "bundle.manifest", "trace_context", "strict", "errors"},
    "inference": {
        *("backends", "decision", "text", "assurance", "bundle", "trace_context", "metrics", "strict", "errors"),
    },
    "screening": {"inference.scoring", "decision", "audit.record"},
    "tracing": {
        *("screening", "inference.scoring", "decision", "trace_context", "metrics", "log", "strict", "errors"),
    },
    "drift_files": {"assurance", "strict", "errors"},
    "monitor": {"drift_files", "assurance", "screening", "decision", "metrics", "log", "errors"},
    "attesting": {"drift_files", "assurance", "audit", "decision", "errors"},
    "refuting": {"drift_files", "assurance", "audit", "decision", "errors"},
    "certification": {"assurance", "decision", "metrics", "log"},
    "recording": {"screening", "inference.scoring", "decision", "audit", "metrics"},
    "rollout": {"screening", "certification", "decision", "audit.record", "metrics"},
    "reload_settings": {"strict"},
    "operating": {"rollout", "decision", "audit.record"},
    "filter": {
        *(
            "screening",
            "recording",
            "rollout",
            "monitor",
            "certification",
            "inference",
            "text",
            "assurance",
            "decision",
        ),
        *("audit.record", "tracing", "metrics", "log"),
    },
    "streaming": {"filter", "screening", "inference.scoring", "text", "decision", "audit.record", "metrics"},
    "transport": {
        *("filter", "streaming", "screening", "certification", "inference.scoring", "text", "decision", "assurance"),
        *("audit.record", "bundle", "access", "tracing", "trace_context", "metrics", "log", "strict", "errors"),
        *("operating", PROTO, ADMIN_PROTO),
    },
    "config": {
        *("access.settings", "audit.settings", "backends.triton_settings", "inference.settings", "transport.settings"),
        *("drift_files", "reload_settings", "tracing.settings", "bundles", "strict", "errors"),
    },
    "triton_export": {"backends", "bundle", "strict", "errors"},
    "loading": {
        *("config", "bundle", "backends", "inference", "monitor", "certification", "assurance", "errors"),
    },
    "reload": {
        *("loading", "config", "operating", "rollout", "filter", "recording", "monitor", "refuting", "certification"),
        *("bundle", "inference", "drift_files", "audit", "assurance", "decision", "tracing", "transport"),
        *("metrics", "log", "strict", "errors", PROTO),
    },
    "app": {EVERYTHING},
    "cli": {EVERYTHING},
    "__main__": {"cli"},
}
COMMANDS = "*_command"  # siblings of cli.py
MAY_IMPORT_THE_CLIENT = ("cli", COMMANDS)
ONLY_THE_STANDARD_LIBRARY = ("decision", "text")

RUNTIMES = {"numpy", "onnxruntime", "torch", "transformers", "tokenizers", "tritonclient"}
HEAVY = RUNTIMES | {"uvloop", "sklearn", "scipy", "onnx", "safetensors", "opentelemetry"}
MAY_LOAD_AT_ONCE = {
    "server/interlock_server/backends/*.py": RUNTIMES,
    "server/interlock_server/inference/scoring.py": {"numpy"},
    "server/interlock_server/triton_export/*.py": RUNTIMES,
    "server/interlock_server/tracing/otlp.py": {"opentelemetry"},
    "lab/*.py": HEAVY,
}


class Import(NamedTuple):
    """One imported module, absolute; `at_once` unless it waits inside of a function."""

    module: str
    line: int
    at_once: bool


def imports(path: Path, package: list[str]) -> Iterator[Import]:
    """Every import of a file, at whatever depth; `from a import b` counts as a.b, which may be a module."""

    def visit(node: ast.AST, at_once: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                module = ".".join([*base, *filter(None, [child.module])])
                yield from (Import(f"{module}.{alias.name}", child.lineno, at_once) for alias in child.names)
            else:
                yield from visit(
                    child, at_once and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                )

    return visit(ast.parse(path.read_text(encoding="utf-8")), True)


def within(module: str, of: str) -> bool:
    """Whether a module is the other one, or inside of it."""
    return module == of or module.startswith(f"{of}.")


def allowed(root: str, part: str, module: str) -> bool:
    """Whether a file of this part may import this module."""
    top = module.split(".")[0]
    if root == "server" and part in ONLY_THE_STANDARD_LIBRARY:
        return top in sys.stdlib_module_names or within(module, f"{SERVER}.{part}")
    if top not in ("interlock", SERVER, CLIENT, LAB):
        return True
    if root == "client":
        return within(module, CLIENT) or within(module, PROTO)
    if root == "lab":
        return top in (LAB, SERVER, CLIENT, "interlock")
    if within(module, CLIENT):
        return any(fnmatch(part, name) for name in MAY_IMPORT_THE_CLIENT)
    if within(module, LAB):
        return False
    may = {EVERYTHING} if fnmatch(part, COMMANDS) else PARTS[part]
    names = [name if name in (PROTO, ADMIN_PROTO) else f"{SERVER}.{name}" for name in may | {part}]
    # The package itself holds the version and nothing else.
    return EVERYTHING in may or module == f"{SERVER}.__version__" or any(within(module, name) for name in names)


def strays(tree: Path) -> list[str]:
    """Every import that the tables do not allow, as `file:line: why`."""
    found = []
    for root, package in SOURCES.items():
        for path in sorted((tree / root / package).rglob("*.py")):
            name = path.relative_to(tree).as_posix()
            inner = path.relative_to(tree / root / package)
            part = inner.parts[0].removesuffix(".py")
            if root == "server" and part not in PARTS and not fnmatch(part, COMMANDS):
                found.append(f"{name}:1: {part} is not in the table of parts")
                continue
            for item in imports(path, [package, *inner.parts[:-1]]):
                top = item.module.split(".")[0]
                loads = {heavy for files, some in MAY_LOAD_AT_ONCE.items() if fnmatch(name, files) for heavy in some}
                if not allowed(root, part, item.module):
                    found.append(f"{name}:{item.line}: may not import {item.module}")
                elif item.at_once and top in HEAVY - loads:
                    found.append(f"{name}:{item.line}: must not load {top} as soon as it is imported")
    return found


def planted(tree: Path, name: str, source: str) -> list[str]:
    """What is found in a tree with one file."""
    path = tree / name
    path.parent.mkdir(parents=True)
    path.write_text(source)
    return strays(tree)


def test_no_import_is_stray():
    """The whole tree obeys the tables."""
    assert [] == strays(ROOT)


def test_every_source_is_looked_at():
    """A root that moved would obey any table."""
    assert [] == [root for root, package in SOURCES.items() if not (ROOT / root / package / "__init__.py").is_file()]


def test_the_arrows_have_no_cycle():
    """Whoever reads the parts in order meets no name before its part."""
    arrows = {part: {name.split(".")[0] for name in may} & set(PARTS) for part, may in PARTS.items()}
    order: list[str] = []
    while rest := [part for part in arrows if part not in order]:
        free = [part for part in rest if arrows[part] <= set(order)]
        assert free, f"a cycle among {rest}"
        order += free

    assert set(PARTS) == set(order)


def test_proto_is_no_package():
    """An __init__.py there would shadow Google's proto-plus."""
    assert not (ROOT / "proto" / "__init__.py").exists()
    assert not (ROOT / "proto" / "interlock" / "__init__.py").exists()


@pytest.mark.parametrize(
    ("name", "source", "module"),
    [
        ("decision/decide.py", "import numpy", "numpy"),
        ("decision/decide.py", "import interlock_server.errors", "interlock_server.errors"),
        ("decision/deep/down.py", "from ...text import views", "interlock_server.text.views"),
        ("decision/decide.py", "from .. import log", "interlock_server.log"),
        ("text/views.py", "from interlock_server.decision import verdict", "interlock_server.decision.verdict"),
        ("text/views.py", "import regex", "regex"),
        ("errors.py", "from interlock_server.log import log_event", "interlock_server.log.log_event"),
        ("metrics.py", "import interlock_server.config", "interlock_server.config"),
        ("bundle/load.py", "from interlock_server import backends", "interlock_server.backends"),
        ("backends/onnx.py", "import interlock_server.bundle.load", "interlock_server.bundle.load"),
        ("backends/onnx.py", "from interlock_server.inference import panel", "interlock_server.inference.panel"),
        ("inference/panel.py", "import interlock_server.filter", "interlock_server.filter"),
        ("inference/panel.py", "import interlock.v1", "interlock.v1"),
        ("filter.py", "import interlock_server.transport", "interlock_server.transport"),
        ("filter.py", "import interlock_server.backends.onnx", "interlock_server.backends.onnx"),
        ("transport/service.py", "import interlock_server.inference.panel", "interlock_server.inference.panel"),
        ("transport/service.py", "import interlock_client", "interlock_client"),
        ("config.py", "import interlock_server.transport.service", "interlock_server.transport.service"),
        ("app.py", "import interlock_lab", "interlock_lab"),
        ("app.py", "import interlock_client", "interlock_client"),
        ("cli.py", "import interlock_lab.calibrate", "interlock_lab.calibrate"),
    ],
)  # fmt: skip
def test_a_stray_import_in_the_server_is_found(tmp_path: Path, name: str, source: str, module: str):
    """By file and line, whatever the form of the import."""
    name = f"server/interlock_server/{name}"

    assert [f"{name}:2: may not import {module}"] == planted(tmp_path, name, f"import math\n{source}\n")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("client/interlock_client/client.py", "interlock_server.errors"),
        ("client/interlock_client/client.py", "interlock_lab"),
    ],
)
def test_a_stray_import_elsewhere_is_found(tmp_path: Path, name: str, module: str):
    """Callers know the contract and nothing else."""
    assert [f"{name}:1: may not import {module}"] == planted(tmp_path, name, f"import {module}\n")


@pytest.mark.parametrize(
    "source",
    [
        "def late():\n    import interlock_server.log\n",
        "if TYPE_CHECKING:\n    import interlock_server.log\n",
        "try:\n    import interlock_server.log\nexcept ImportError:\n    pass\n",
    ],
)
def test_a_stray_import_cannot_hide(tmp_path: Path, source: str):
    """Neither in a function, nor behind a condition."""
    name = "server/interlock_server/strict.py"

    assert [f"{name}:2: may not import interlock_server.log"] == planted(tmp_path, name, source)


@pytest.mark.parametrize(
    ("name", "source", "line"),
    [
        ("server/interlock_server/cli.py", "import uvloop", 1),
        ("server/interlock_server/app.py", "import onnxruntime as ort", 1),
        ("server/interlock_server/filter.py", "from numpy.typing import NDArray", 1),
        ("server/interlock_server/inference/panel.py", "import numpy", 1),
        ("server/interlock_server/inference/scoring.py", "import torch", 1),
        ("server/interlock_server/metrics.py", "if True:\n    import sklearn", 2),
        ("server/interlock_server/metrics.py", "class Late:\n    import scipy.stats", 2),
    ],
)
def test_a_heavy_import_is_found(tmp_path: Path, name: str, source: str, line: int):
    """Starting a command or a client must not load a runtime of models."""
    heavy = source.split("import ")[1].split(".")[0].split()[0] if "from" not in source else "numpy"

    assert [f"{name}:{line}: must not load {heavy} as soon as it is imported"] == planted(tmp_path, name, source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("server/interlock_server/cli.py", "def serve():\n    import uvloop\n"),
        ("server/interlock_server/cli.py", "import interlock_client"),
        ("server/interlock_server/screen_command.py", "import interlock_client\nfrom interlock_server import app"),
        ("server/interlock_server/app.py", "from interlock_server import __version__, transport"),
        ("server/interlock_server/backends/onnx.py", "import onnxruntime\nfrom .backend import Backend"),
        ("server/interlock_server/backends/onnx.py", "from interlock_server.bundle.manifest import Manifest"),
        ("server/interlock_server/decision/decide.py", "import math\nfrom . import policy"),
        ("server/interlock_server/transport/service.py", "from interlock.v1 import safety_filter_pb2"),
        ("client/interlock_client/client.py", "from interlock.v1 import safety_filter_pb2\nfrom . import errors"),
        ("lab/interlock_lab/train.py", "import torch\nfrom interlock_server.app import load_members"),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path: Path, name: str, source: str):
    """The twins of the stray ones."""
    assert [] == planted(tmp_path, name, source)


def test_a_part_that_is_not_in_the_table_is_found(tmp_path: Path):
    """A new part must say what it may import."""
    name = "server/interlock_server/helpers/strings.py"

    assert [f"{name}:1: helpers is not in the table of parts"] == planted(tmp_path, name, "")
