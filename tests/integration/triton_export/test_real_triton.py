"""The `python` form is loaded and served by a real Triton, and nobody can tell the verdicts from those without it.

The golden exchanges are reproduced before any of it: the server would not be ready otherwise.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import BENIGN, HARMFUL
from gated import STRANGE
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from triton_export.exported import Exported, exported
from tritonserver.server import TritonServer

from .pair import Pair, both, seen


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The bundle that ships, exported."""
    return exported(tmp_path_factory.mktemp("default"), load_bundle(DEFAULT_BUNDLE))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, found: Exported) -> Iterator[Pair]:
    """It, served here and there."""
    with both(tmp_path_factory.mktemp("servers"), found) as servers:
        yield servers


def test_verdicts_are_those_of_the_bundle_that_ships(pair: Pair, found: Exported):
    """Decision, reasons and scores, of its golden exchanges and of texts long and strange; some of all are released."""
    exchanges = [(row.completion, row.prompt) for row in found.local.golden]
    exchanges += [(text, "") for text in (BENIGN, f"{BENIGN} " * 60, f"{BENIGN} " * 20 + HARMFUL, STRANGE)]
    near = [seen(pair.near, *each) for each in exchanges]
    far = [seen(pair.far, *each) for each in exchanges]

    assert {True, False} == {each.released for each in near}
    assert [each[:2] for each in near] == [each[:2] for each in far]
    for here, there in zip(near, far, strict=True):
        assert pytest.approx(here.scores, abs=1e-5) == there.scores


def test_the_members_run_there(pair: Pair):
    """And those that are no ONNX files do not."""
    members = pair.far.stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=30).members

    assert {"encoder": "triton", "sentences": "triton", "ngrams": "linear"} == {m.name: m.backend for m in members}


def test_the_gate_looks_at_states_from_there(tmp_path: Path):
    """What is strange is held back, and nothing else, as without Triton."""
    with both(tmp_path, exported(tmp_path)) as servers:
        near, far = ([seen(server, text)[:2] for text in (BENIGN, STRANGE)] for server in servers)

    assert near == far
    assert [(True, ()), (False, (pb.REASON_OUT_OF_DISTRIBUTION,))] == far


def test_another_file_is_not_served(tmp_path: Path):
    """Whatever it would score."""
    found = exported(tmp_path)
    with (found.models / "alpha" / "1" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(AssertionError, match=r"model\.onnx is not the file that was exported"):
        TritonServer(found.models).wait_ready()


def test_triton_reads_the_configuration_for_its_own_backend(tmp_path: Path):
    """It complains of nothing but that this server lacks the backend onnxruntime."""
    found = exported(tmp_path, backend="onnxruntime")
    with pytest.raises(AssertionError, match=r"'alpha' .*: unable to find backend library for backend 'onnxruntime'"):
        TritonServer(found.models).wait_ready()
