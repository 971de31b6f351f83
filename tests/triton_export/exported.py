"""Small bundles, exported, and a fake server that runs the exported model as Triton would."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from gated import write_onnx_bundle
from google.protobuf import text_format
from interlock_server.app import load, running_filter
from interlock_server.bundle.load import Bundle
from interlock_server.config import BundleSettings, Config
from interlock_server.filter import SafetyFilter
from interlock_server.inference.settings import InferenceSettings
from interlock_server.metrics import Metrics
from interlock_server.triton_export.export import export
from interlock_server.triton_export.options import ExportOptions
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as pb
from tritonserver.fake_server import FakeTriton

PATIENT_S = 60.0
Outputs = dict[str, np.ndarray]


class Exported(NamedTuple):
    """The bundle as it was, Triton's models, and the bundle that asks them."""

    local: Bundle
    models: Path
    remote: Bundle


def exported(folder: Path, local: Bundle | None = None, **options: Any) -> Exported:
    """A bundle, by default a small one with a gate, and what becomes of it."""
    local = local or write_onnx_bundle(folder / "local")
    models = folder / "models"
    asked = ExportOptions.model_validate({"backend": "python", **options})
    return Exported(local, models, export(local, models, folder / "remote", asked))


def read_config(models: Path, name: str) -> model_config_pb2.ModelConfig:
    """A config.pbtxt, as Triton reads it."""
    text = (models / name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def serve_model(fake: FakeTriton, models: Path, name: str, change: Callable[[Outputs], Outputs] = lambda o: o) -> None:
    """Makes the fake answer as the exported model does, except for what `change` does to its outputs."""
    config = read_config(models, name)
    fake.metadata, fake.config = _announced(config), pb.ModelConfigResponse(config=config)
    session = onnxruntime.InferenceSession(str(models / name / "1" / "model.onnx"))
    outputs = [item.name for item in config.output]

    def answer(request: Any) -> Any:
        arrays = zip(request.inputs, request.raw_input_contents, strict=True)
        feed = {item.name: np.frombuffer(raw, "<i8").reshape(list(item.shape)) for item, raw in arrays}
        found = change(dict(zip(outputs, session.run(outputs, feed), strict=True)))
        response = pb.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
        for output, rows in found.items():
            response.outputs.add(name=output, datatype="FP32", shape=rows.shape)
            response.raw_output_contents.append(rows.astype("<f4").tobytes())
        return response

    fake.answer = answer


def running(bundle: Bundle, *endpoints: str) -> AbstractAsyncContextManager[SafetyFilter]:
    """A filter over it."""
    config = Config.model_validate(
        {
            "bundle": BundleSettings(path=str(bundle.path), digest=bundle.digest),
            "inference": InferenceSettings(lanes=1),
            "triton": {"endpoints": list(endpoints), "rest_ms": 10_000},
        }
    )
    return running_filter(config, load(config), Metrics(), budget_s=PATIENT_S)


def _announced(config: model_config_pb2.ModelConfig) -> Any:
    """As Triton does: a dimension more for batches, and types without their prefix."""
    metadata = pb.ModelMetadataResponse(name=config.name, versions=["1"], platform=config.backend)
    for items, tensors in ((metadata.inputs, config.input), (metadata.outputs, config.output)):
        for tensor in tensors:
            datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
            items.add(name=tensor.name, datatype=datatype, shape=[-1, *tensor.dims])
    return metadata
