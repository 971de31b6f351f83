"""One real server for the tests that leave it as it is."""

from collections.abc import Iterator

import pytest

from .repository import write_model
from .server import TritonServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """With the model tiny, one without batches, one of single texts, and one that is not as expected."""
    folder = tmp_path_factory.mktemp("triton")
    write_model(folder / "models", "tiny", batch_max=16)
    write_model(folder / "models", "flat", batch_max=0)
    write_model(folder / "models", "untyped", inputs=["input_ids", "attention_mask"])
    write_model(folder / "models", "short", input_type="TYPE_INT32")
    running = TritonServer(folder / "models")
    try:
        yield running.wait_ready()
    finally:
        running.kill()
