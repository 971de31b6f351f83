"""Which layer of the encoder the gate looks at. The last one knows harm and little else; an early one knows what prose is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interlock_server.errors import ConfigError


def look_at_layer(model: Path, layer: int) -> None:
    """Makes the output `hidden` the mean over the tokens after that many layers, in place; scores stay as they are.

    The exported graph pools the last layer: one input of one node is another one now, and the file as large as before.
    Raises ConfigError when the model is no such graph.
    """
    import onnx

    loaded = onnx.load(str(model))
    by_output = {output: node for node in loaded.graph.node for output in node.output}
    states = [node.output[0] for node in loaded.graph.node if node.op_type == "LayerNormalization"]
    pooled = _pooled(by_output)
    # One normalisation for the embeddings, two for each layer.
    if pooled is None or not 1 <= layer <= (len(states) - 1) // 2 or pooled.input[0] not in states:
        raise ConfigError(f"{model.name}: is no encoder whose layer {layer} could be looked at")
    pooled.input[0] = states[2 * layer]
    onnx.checker.check_model(loaded)
    onnx.save(loaded, str(model))


def _pooled(by_output: dict[str, Any]) -> Any | None:
    """The node that masks the states before they are summed and divided into `hidden`."""
    node, name = None, "hidden"
    for operator in ("Div", "ReduceSum", "Mul"):
        node = by_output.get(name)
        if node is None or node.op_type != operator:
            return None
        name = node.input[0]
    return node
