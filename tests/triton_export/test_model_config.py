"""config.pbtxt, read as Triton reads it, beside the ONNX file that it speaks of."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import ConfigError
from interlock_server.triton_export.model_config import model_config
from interlock_server.triton_export.options import ExportOptions
from interlock_server.triton_export.tensors import Tensors
from tritonclient.grpc import model_config_pb2 as triton

from .exported import Exported, exported, read_config

TENSORS = Tensors(["attention_mask", "input_ids"], {"logits": 4}, company=True)
ONNX_TYPES = {triton.TYPE_INT64: "tensor(int64)", triton.TYPE_FP32: "tensor(float)"}


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The bundle that ships."""
    return exported(tmp_path_factory.mktemp("default"), load_bundle(DEFAULT_BUNDLE), backend="onnxruntime")


def configured(tensors: Tensors = TENSORS, **options: Any) -> triton.ModelConfig:
    asked = ExportOptions.model_validate({"backend": "python", **options})
    return model_config("encoder", tensors, asked, 2_000, "sha256:0")


@pytest.mark.parametrize("name", ["encoder", "sentences"])
def test_tensors_are_those_of_the_file(default: Exported, name: str):
    """By name, type and shape, of which Triton adds the first dimension."""
    config = read_config(default.models, name)
    session = onnxruntime.InferenceSession(str(default.models / name / "1" / config.default_model_filename))
    fits = lambda dim, found: dim == (found if isinstance(found, int) else -1)  # noqa: E731
    in_file = {item.name: item for item in [*session.get_inputs(), *session.get_outputs()]}

    assert {item.name for item in session.get_inputs()} == {tensor.name for tensor in config.input}
    assert "logits" in {tensor.name for tensor in config.output}
    for tensor in [*config.input, *config.output]:
        item = in_file[tensor.name]
        assert (ONNX_TYPES[tensor.data_type], 2) == (item.type, len(item.shape))
        assert not isinstance(item.shape[0], int)
        assert [True] == [fits(dim, found) for dim, found in zip(tensor.dims, item.shape[1:], strict=True)]


def test_the_hidden_states_of_a_gated_member_are_an_output(tmp_path: Path):
    """As wide as its gate."""
    config = read_config(exported(tmp_path).models, "alpha")

    assert {"logits": [4], "hidden": [4]} == {tensor.name: list(tensor.dims) for tensor in config.output}


def test_triton_runs_what_was_exported_and_nothing_else(default: Exported):
    """One version, by Triton's own backend, with a thread for each instance."""
    config = read_config(default.models, "encoder")

    assert ("encoder", "onnxruntime", "model.onnx") == (config.name, config.backend, config.default_model_filename)
    assert [1] == list(config.version_policy.specific.versions)
    assert {"1"} == {value.string_value for value in config.parameters.values()}
    assert {"intra_op_thread_count", "inter_op_thread_count"} == set(config.parameters)


def test_the_queue_has_limits():
    """What waits longer than any verdict may take is refused; so is what comes when the queue is full."""
    batching = configured(queue_delay_us=100, queue_size_max=7).dynamic_batching
    policy = batching.default_queue_policy

    assert (100, 7) == (batching.max_queue_delay_microseconds, policy.max_queue_size)
    assert triton.ModelQueuePolicy.REJECT == policy.timeout_action
    assert (2_000_000, True) == (policy.default_timeout_microseconds, policy.allow_timeout_override)


def test_the_limits_can_be_left_out():
    """For servers that stall with them."""
    config = configured(queue_size_max=0)

    assert config.HasField("dynamic_batching")
    assert not config.dynamic_batching.HasField("default_queue_policy")


@pytest.mark.parametrize(("gpu", "kind"), [(False, "KIND_CPU"), (True, "KIND_GPU")])
def test_instances_are_where_they_were_asked_for(gpu: bool, kind: str):
    """As many as were asked for."""
    (group,) = configured(gpu=gpu, instances=3).instance_group

    assert (kind, 3) == (triton.ModelInstanceGroup.Kind.Name(group.kind), group.count)


@pytest.mark.parametrize(
    ("company", "asked", "batch_max"), [(True, None, 64), (True, 8, 8), (False, None, 1), (False, 1, 1)]
)
def test_only_scores_that_ignore_company_are_batched(company: bool, asked: int | None, batch_max: int):
    """Others would depend on what callers send at the same time."""
    assert batch_max == configured(TENSORS._replace(company=company), max_batch=asked).max_batch_size


def test_a_batch_that_would_change_scores_is_refused():
    """With the option and the member."""
    with pytest.raises(ConfigError, match=r"^--max-batch: the scores of encoder depend on"):
        configured(TENSORS._replace(company=False), max_batch=8)
