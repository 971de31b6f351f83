"""The new bundle, the command that writes it, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from fakes import write_bundle
from gated import write_onnx_bundle
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.bundle.seal import seal
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.cli import app
from interlock_server.errors import BundleError, ConfigError, InterlockError
from interlock_server.triton_export.tensors import tensors_of
from onnx import TensorProto, helper
from typer.testing import CliRunner

from .exported import exported

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def alpha(bundle: Bundle) -> MemberManifest:
    """The member that moves."""
    return next(member for member in bundle.manifest.members if member.name == "alpha")


def command(*arguments: str | Path) -> tuple[int, str, Exception | None]:
    """Exit code, output, and what was raised."""
    result = CliRunner().invoke(app, ["bundle", "export-triton", *map(str, arguments)])
    error = result.exception if isinstance(result.exception, InterlockError) else None
    return result.exit_code, result.output, error


def save(
    path: Path,
    across: bool = False,
    mask: Sequence[int | str] = ("n", "length"),
    columns: int = 4,
    ids_type: int = INT64,
) -> Path:
    """Replaces the model in a folder by one that sums, or one that looks at other rows too."""
    divisor = "largest" if across else "thousand"
    nodes = [
        helper.make_node("Constant", [], ["thousand"], value_float=1000.0),
        helper.make_node("Cast", ["input_ids"], ["floats"], to=FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=FLOAT),
        helper.make_node("Mul", ["floats", "mask"], ["masked"]),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Constant", [], ["wide"], value_ints=[1, columns]),
        helper.make_node("ReduceSum", ["masked", "one"], ["sums"]),
        helper.make_node("ReduceMax", ["masked"], ["largest"], keepdims=0),
        helper.make_node("Div", ["sums", divisor], ["scaled"]),
        helper.make_node("Tile", ["scaled", "wide"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [
            helper.make_tensor_value_info("input_ids", ids_type, ["n", "length"]),
            helper.make_tensor_value_info("attention_mask", INT64, mask),
        ],
        [helper.make_tensor_value_info("logits", FLOAT, ["n", columns])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_only_where_a_member_runs_is_changed(tmp_path: Path):
    """Golden exchanges, maps, policy and the other members are what they were."""
    found = exported(tmp_path)
    before, after = found.local.manifest.model_dump(mode="json"), found.remote.manifest.model_dump(mode="json")
    moved = next(member for member in after["members"] if member["name"] == "alpha")

    assert ("triton", "alpha", "1") == (
        moved["backend"],
        moved["runs"]["remote_model"],
        moved["runs"]["remote_version"],
    )
    assert {"tokenizer", "gate"} == set(moved["files"])
    assert {"hidden.onnx"} == set(before.pop("files")) - set(after.pop("files"))
    for member in (before["members"][0], after["members"][0]):
        for key in ("backend", "files", "runs"):
            del member[key]
    assert before == after
    assert found.local.golden == found.remote.golden
    assert found.local.policy.digest == found.remote.policy.digest


def test_models_are_byte_for_byte_those_of_the_bundle(tmp_path: Path):
    """With what runs them, and a configuration."""
    found = exported(tmp_path)
    files = sorted(path.relative_to(found.models).as_posix() for path in found.models.rglob("*") if path.is_file())

    assert ["alpha/1/model.onnx", "alpha/1/model.py", "alpha/config.pbtxt"] == files
    copied = (found.models / "alpha" / "1" / "model.onnx").read_bytes()
    assert (found.local.path / "hidden.onnx").read_bytes() == copied


def test_the_digest_depends_on_the_bundle_alone(tmp_path: Path):
    """So that it can be pinned where the bundle is exported on the spot."""
    one = exported(tmp_path / "one")
    two = exported(tmp_path / "two", one.local, backend="onnxruntime", instances=5)

    assert one.remote.digest == two.remote.digest


def test_the_command_says_what_to_configure(tmp_path: Path):
    """Beside the models lies the bundle."""
    local = write_onnx_bundle(tmp_path / "local")
    models = tmp_path / "models"
    code, output, _ = command(models, "--backend", "onnxruntime", "--bundle", local.path)
    remote = load_bundle(tmp_path / "models-bundle")

    assert 0 == code
    assert [
        f"tritonserver --model-repository={models}",
        f"bundle.path: {remote.path}",
        f"bundle.digest: {remote.digest}",
    ] == output.splitlines()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--instances", "0"], "export-triton: instances: input should be greater than or equal to 1"),
        (["--max-batch", "65"], "export-triton: max_batch: input should be less than or equal to 64"),
        (["--queue-delay-us", "-1"], "export-triton: queue_delay_us: input should be greater than or equal to 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: list[str], complaint: str):
    """By their names."""
    _, _, error = command(tmp_path / "models", "--backend", "python", "--bundle", DEFAULT_BUNDLE, *options)

    assert complaint == str(error)
    assert [] == list(tmp_path.iterdir())


def test_what_is_there_is_never_replaced(tmp_path: Path):
    """A server may be reading it."""
    found = exported(tmp_path)
    with pytest.raises(ConfigError, match=rf"^{found.models}: exists$"):
        exported(tmp_path, found.local)


def test_a_bundle_without_onnx_members_is_refused(tmp_path: Path):
    """There is nothing to move."""
    write_bundle(tmp_path / "bundle")
    with pytest.raises(ConfigError, match=r"has no member with the backend onnx$"):
        exported(tmp_path, load_bundle(tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mask": (1, "length")}, r"attention_mask has the shape \[1, 'length'\], not \[windows, tokens\]"),
        ({"mask": ("n", 16)}, r"attention_mask has the shape \['n', 16\], not \[windows, tokens\]"),
        ({"columns": 3}, r"logits has the shape \['n', 3\], not \[windows, 4\]"),
        ({"ids_type": TensorProto.INT32}, r"input_ids is a tensor\(int32\), not a tensor\(int64\)"),
    ],
)
def test_a_model_that_triton_could_not_be_asked_for_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str):
    """Before anything is written."""
    bundle = write_onnx_bundle(tmp_path / "bundle", gated=False)
    files = {**bundle.files(alpha(bundle)), "model": save(tmp_path / "other.onnx", **changes)}
    with pytest.raises(BundleError, match=f"^member alpha: {complaint}$"):
        tensors_of(alpha(bundle), files)


def test_a_gated_member_needs_hidden_states(tmp_path: Path):
    """Or its gate would withhold everything."""
    bundle = write_onnx_bundle(tmp_path / "bundle")
    files = {**bundle.files(alpha(bundle)), "model": save(tmp_path / "other.onnx")}
    with pytest.raises(BundleError, match=r"^member alpha: the model has no output hidden$"):
        tensors_of(alpha(bundle), files)


@pytest.mark.parametrize("across", [True, False])
def test_a_model_that_looks_at_company_is_found(tmp_path: Path, across: bool):
    """By running it, whatever is written in it."""
    bundle = write_onnx_bundle(tmp_path / "bundle", gated=False)
    files = {**bundle.files(alpha(bundle)), "model": save(tmp_path / "other.onnx", across)}

    assert across != tensors_of(alpha(bundle), files).company


def test_nothing_is_left_of_an_export_that_failed(tmp_path: Path):
    """Neither models nor a bundle."""
    local = write_onnx_bundle(tmp_path / "local", gated=False)
    save(local.path / "hidden.onnx", mask=(1, "length"))
    seal(local.path, local.manifest.model_dump(mode="json", exclude={"format", "files"}))
    with pytest.raises(BundleError, match="attention_mask"):
        exported(tmp_path, load_bundle(local.path))

    assert ["local"] == [path.name for path in tmp_path.iterdir()]
