"""The PyTorch backend: what it refuses, how near its precisions are, and which runs it would replay on a GPU."""

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interlock_server.backends.agreement import TOLERANCE
from interlock_server.backends.backend import Run, ScoreError, Window
from interlock_server.backends.pytorch import DTYPES, PytorchBackend
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

from .cases import manifest
from .tiny_bert import POSITIONS, FakeGpu, save_checkpoint

MARKER = "xyzzy-marker"
TEXTS = ["tea", "She poured two cups of tea.", "He stabbed her twice! " * 20, "a. " * 90, "ѕtаb"]
CUDA = torch.cuda.is_available()
HERE = [("cpu", "float32"), ("cpu", "bfloat16"), *(("cuda", name) for name in DTYPES if CUDA)]
REFUSED = [
    ("tensorrt", "float32", "tensorrt runs ONNX files"),
    ("cpu", "float16", "float16 is for cuda"),
    *(("cuda", name, "asked for cuda, got none: `nvidia-smi` must list a GPU") for name in DTYPES if not CUDA),
]


def load(folder: Path, drop: str = "", **config: Any) -> PytorchBackend:
    """The tiny BERT, or what is made of it."""
    return PytorchBackend(manifest("pytorch"), save_checkpoint(folder, drop, **config))


def windows(sizes: list[int]) -> list[Window]:
    """Of ids that are words."""
    return [Window(np.arange(5, 5 + size), "raw", (0, size)) for size in sizes]


@pytest.mark.parametrize(("provider", "precision"), HERE)
def test_every_precision_agrees_with_float32_on_the_cpu(provider: str, precision: str, tmp_path: Path):
    """To within what it rounds, on each provider that this machine has."""
    files = save_checkpoint(tmp_path)
    exact = PytorchBackend(manifest("pytorch"), files)
    backend = PytorchBackend(manifest("pytorch", runs={"provider": provider, "precision": precision}), files)
    read = [window for text in TEXTS for window in exact.read(Exchange("Who?", text)).windows]
    off = np.abs(exact.score(read, Run()) - backend.score(read, Run())).max()

    assert off <= TOLERANCE[precision]
    assert (off > 0) == ((provider, precision) != ("cpu", "float32"))


@pytest.mark.parametrize(("provider", "precision", "message"), REFUSED)
def test_what_cannot_be_had_is_refused(provider: str, precision: str, message: str, tmp_path: Path):
    """Never a silent step down to something else."""
    member = manifest("pytorch", runs={"provider": provider, "precision": precision})
    with pytest.raises(BackendError, match=f"^member tester: {message}"):
        PytorchBackend(member, save_checkpoint(tmp_path))


@pytest.mark.parametrize("drop", ["classifier.weight", "bert.encoder.layer.1.output.dense.bias"])
def test_a_missing_weight_is_refused(drop: str, tmp_path: Path):
    """The library would fill it with noise: a head at random must never be served."""
    with pytest.raises(BackendError, match=rf"^member tester: tiny\.weights has missing weights: {drop}$"):
        load(tmp_path, drop)


def test_a_weight_too_many_is_refused(tmp_path: Path):
    """It is the checkpoint of another model."""
    with pytest.raises(
        BackendError, match=r"^member tester: tiny\.weights has unexpected weights: bert\.encoder\.layer"
    ):
        load(tmp_path, num_hidden_layers=1)


def test_weights_of_another_shape_are_refused(tmp_path: Path):
    """As are those of a wider model."""
    with pytest.raises(BackendError, match=r"^member tester: tiny\.weights does not load: RuntimeError$"):
        load(tmp_path, intermediate_size=48)


@pytest.mark.parametrize("content", [b"", MARKER.encode(), pickle.dumps({"weights": [MARKER]})])
def test_a_file_that_is_not_safetensors_is_refused(content: bytes, tmp_path: Path):
    """A pickle could run code; the message quotes nothing."""
    files = save_checkpoint(tmp_path)
    files["model"].write_bytes(content)
    with pytest.raises(BackendError, match=r"^member tester: tiny\.weights does not load: \w+$") as caught:
        PytorchBackend(manifest("pytorch"), files)

    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", f'{{"model_type": "{MARKER}"}}', '{"model_type": "vit"}'])
def test_a_broken_config_is_refused(content: str, tmp_path: Path):
    """Also one of a type without text classifiers."""
    files = save_checkpoint(tmp_path)
    files["config"].write_text(content)
    with pytest.raises(BackendError, match=r"^member tester: tiny\.settings") as caught:
        PytorchBackend(manifest("pytorch"), files)

    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("kind", ["single_label_classification", "regression", None])
def test_a_head_of_another_kind_is_refused(kind: str | None, tmp_path: Path):
    """Logits of labels that exclude each other are not log-odds."""
    with pytest.raises(BackendError, match=r"tiny\.settings: problem_type must be multi_label_classification"):
        load(tmp_path, problem_type=kind)


def test_another_number_of_labels_is_refused(tmp_path: Path):
    """Each column is a category of the member."""
    with pytest.raises(BackendError, match=r"^member tester: tiny\.settings has 2 labels for 4 categories$"):
        load(tmp_path, num_labels=2)


def test_a_quantised_checkpoint_is_refused(tmp_path: Path):
    """It would call other libraries."""
    with pytest.raises(BackendError, match="quantised checkpoints are not run"):
        load(tmp_path, quantization_config={"quant_method": "bitsandbytes"})


def test_code_beside_the_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A config may name it; nobody looks."""
    (tmp_path / "modeling_evil.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    names = {"AutoModelForSequenceClassification": "modeling_evil.Evil", "AutoConfig": "modeling_evil.EvilConfig"}

    assert "pytorch cpu" == load(tmp_path, auto_map=names).provider


def test_windows_that_are_too_long_for_the_model_are_refused(tmp_path: Path):
    """On a GPU they would break every run after them."""
    member = manifest("pytorch", tokens_max=POSITIONS + 1)
    with pytest.raises(BackendError, match=f"^member tester: the model does not take {POSITIONS + 1} tokens"):
        PytorchBackend(member, save_checkpoint(tmp_path))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path):
    """Its ids are beyond the embedding."""
    from tokenizers import Tokenizer

    files = save_checkpoint(tmp_path)
    tokenizer = Tokenizer.from_file(str(files["tokenizer"]))
    tokenizer.add_tokens([f"word{number}" for number in range(200)])
    tokenizer.save(str(tmp_path / "large.json"))
    with pytest.raises(BackendError, match=r"of this tokenizer$"):
        PytorchBackend(manifest("pytorch"), {**files, "tokenizer": tmp_path / "large.json"})


def test_a_lane_computes_with_one_thread(tmp_path: Path):
    """Also one that begins later: lanes are the parallelism."""
    load(tmp_path)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()

    assert [1] == found


def test_graphs_are_replayed_in_the_shapes_that_were_recorded(tmp_path: Path):
    """Three windows fill a batch of four; five of another length a batch of eight; and the longest go first."""
    gpu = FakeGpu()
    member = manifest("pytorch", runs={"batch_tokens_max": 512}, tokens_max=40)
    backend = PytorchBackend(member, save_checkpoint(tmp_path), lambda: [gpu])
    backend.score(windows([10, 40, 11, 39, 10, 38, 10, 10]), Run())

    assert [(4, 40), (8, 32)] == gpu.runs


def test_more_windows_than_a_shape_holds_are_split(tmp_path: Path):
    """Over as many runs as they need."""
    gpu = FakeGpu()
    backend = PytorchBackend(
        manifest("pytorch", runs={"batch_tokens_max": 64}), save_checkpoint(tmp_path), lambda: [gpu]
    )
    rows = backend.score(windows([10] * 5), Run())

    assert [(2, 32), (2, 32), (1, 32)] == gpu.runs
    assert 5 == len(rows)


def test_graphs_score_as_the_model_does_without_them(tmp_path: Path):
    """Padding and company change nothing beyond rounding."""
    files = save_checkpoint(tmp_path)
    plain = PytorchBackend(manifest("pytorch"), files)
    graphs = PytorchBackend(manifest("pytorch"), files, lambda: [FakeGpu()])
    several = windows([3, 32, 17, 3, 30, 29, 8])

    assert np.allclose(plain.score(several, Run()), graphs.score(several, Run()), atol=1e-6)


def test_a_device_serves_one_lane_at_a_time(tmp_path: Path):
    """While one lane is on it, another takes the other."""
    gpus = [Occupied(), Occupied()]
    backend = PytorchBackend(manifest("pytorch"), save_checkpoint(tmp_path), lambda: gpus)
    lanes = [threading.Thread(target=backend.score, args=(windows([5]), Run())) for _ in gpus]
    for lane in lanes:
        lane.start()
    begun = [gpu.begun.wait(30) for gpu in gpus]
    for gpu, lane in zip(gpus, lanes, strict=True):
        gpu.released.set()
        lane.join(30)

    assert [True, True] == begun


class Occupied(FakeGpu):
    """A GPU that is busy until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = threading.Event(), threading.Event()

    def run(self, recorded: Any) -> None:
        self.begun.set()
        self.released.wait(30)
        super().run(recorded)


def test_a_stopped_run_goes_no_further(tmp_path: Path):
    """A run under way cannot be stopped on a GPU; the next one is not begun."""
    run = Run()
    run.stop()
    with pytest.raises(ScoreError, match="TIMED_OUT"):
        load(tmp_path).score(windows([5]), run)
