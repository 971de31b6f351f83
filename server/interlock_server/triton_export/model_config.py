"""config.pbtxt, as Triton's own message: what a model takes, how many run, and what waits for how long."""

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from interlock_server.backends.triton import SIZE_MAX
from interlock_server.errors import ConfigError
from interlock_server.triton_export.options import ExportOptions
from interlock_server.triton_export.tensors import Tensors

MODEL_FILE = "model.onnx"
VERSION = 1


def model_config(
    name: str, tensors: Tensors, options: ExportOptions, wait_ms: int, model_digest: str
) -> model_config_pb2.ModelConfig:
    """Of one model. `wait_ms` is after how long nobody wants an answer any more, whatever the caller says.

    Raises ConfigError when `options` ask for batches of a model whose scores depend on them.
    """
    config = model_config_pb2.ModelConfig(
        name=name, backend=options.backend, max_batch_size=_batch(name, tensors, options)
    )
    config.version_policy.specific.versions.append(VERSION)
    for item in tensors.inputs:
        config.input.add(name=item, data_type=model_config_pb2.TYPE_INT64, dims=[-1])
    for item, columns in tensors.outputs.items():
        config.output.add(name=item, data_type=model_config_pb2.TYPE_FP32, dims=[columns])
    group = model_config_pb2.ModelInstanceGroup
    config.instance_group.add(count=options.instances, kind=group.KIND_GPU if options.gpu else group.KIND_CPU)
    config.dynamic_batching.max_queue_delay_microseconds = options.queue_delay_us
    if options.queue_size_max:
        _limit_queue(config.dynamic_batching.default_queue_policy, options.queue_size_max, wait_ms)
    for key, value in _parameters(options, model_digest).items():
        config.parameters[key].string_value = value
    if options.backend == "onnxruntime":
        config.default_model_filename = MODEL_FILE
    return config


def as_text(config: model_config_pb2.ModelConfig) -> str:
    """As in config.pbtxt."""
    return str(text_format.MessageToString(config))


def _batch(name: str, tensors: Tensors, options: ExportOptions) -> int:
    if tensors.company:
        return options.max_batch or SIZE_MAX
    if options.max_batch not in (None, 1):
        raise ConfigError(f"--max-batch: the scores of {name} depend on what shares a run with a text; it must be 1")
    return 1


def _limit_queue(policy: model_config_pb2.ModelQueuePolicy, size_max: int, wait_ms: int) -> None:
    """The timeout that Interlock sends with a request counts where it is shorter than the default."""
    policy.timeout_action = model_config_pb2.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = wait_ms * 1_000
    policy.allow_timeout_override = True
    policy.max_queue_size = size_max


def _parameters(options: ExportOptions, model_digest: str) -> dict[str, str]:
    """One thread an instance: instances are the parallelism. Triton's own backend verifies no digest; model.py does."""
    if options.backend == "python":
        return {"model_digest": model_digest}
    return {"intra_op_thread_count": "1", "inter_op_thread_count": "1"}
