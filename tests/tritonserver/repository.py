"""Writes the folder of models that a Triton server serves."""

import shutil
from collections.abc import Sequence
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

CONFIG = """
backend: "python"
max_batch_size: {batch_max}
input [{inputs}]
output [{{ name: "{output}" data_type: {output_type} dims: [{rows}{columns}] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
{batching}
parameters {{ key: "path" value: {{ string_value: "{path}" }} }}
parameters {{ key: "scale" value: {{ string_value: "{scale}" }} }}
"""
# With any queue policy Triton 2.51 forgets for 0.5 s at a time that something waits; with a default timeout, more rarely.
QUEUE = """default_queue_policy {{
  max_queue_size: {queue_max} default_timeout_microseconds: 20000000 allow_timeout_override: true timeout_action: REJECT
}}"""


def write_model(
    repository: Path,
    name: str = "tiny",
    *,
    inputs: Sequence[str] = INPUTS,
    input_type: str = "TYPE_INT64",
    length: int = -1,
    output: str = "logits",
    output_type: str = "TYPE_FP32",
    columns: int = 4,
    batch_max: int = 64,
    queue_max: int | None = None,
    scale: float = 1.0,
    version: int = 1,
) -> Path:
    """A model that answers as tests/data/tiny.onnx does, times `scale`; the rest is what its configuration claims."""
    rows = "" if batch_max else "-1, "  # with batches, the server adds a dimension to every shape
    items = [f'{{ name: "{item}" data_type: {input_type} dims: [{rows}{length}] }}' for item in inputs]
    folder = repository / name
    (folder / str(version)).mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).parent / "model.py", folder / str(version))
    queue = "" if queue_max is None else QUEUE.format(queue_max=queue_max)
    batching = f"dynamic_batching {{ {queue} }}" if batch_max else ""
    (folder / "config.pbtxt").write_text(
        CONFIG.format(
            batch_max=batch_max,
            inputs=", ".join(items),
            output=output,
            output_type=output_type,
            rows=rows,
            columns=columns,
            batching=batching,
            path=DATA / "tiny.onnx",
            scale=scale,
        )
    )
    return folder
