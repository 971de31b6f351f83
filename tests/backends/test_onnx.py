"""The ONNX backend: what it refuses, and how a run that does not end is ended."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from fakes import CATEGORIES
from interlock_server.backends.backend import Run
from interlock_server.backends.onnx import OnnxBackend
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange
from tokenizers import Tokenizer
from tokenizers.processors import RobertaProcessing

from .cases import DATA, manifest, onnx

MARKER = "xyzzy-marker"


def files(tmp_path: Path) -> dict[str, Path]:
    """Copies, to be damaged."""
    for name in ("tiny.onnx", "tokenizer.json"):
        shutil.copy(DATA / name, tmp_path / name)
    return {"model": tmp_path / "tiny.onnx", "tokenizer": tmp_path / "tokenizer.json"}


@pytest.mark.parametrize("content", [b"", MARKER.encode(), (DATA / "tiny.onnx").read_bytes()[:500]])
def test_a_broken_model_is_refused(tmp_path: Path, content: bytes):
    """The message names the member and the file, and quotes nothing."""
    broken = files(tmp_path)
    broken["model"].write_bytes(content)
    with pytest.raises(BackendError, match=r"^member tester: tiny\.onnx does not load") as caught:
        OnnxBackend(manifest("onnx"), broken)

    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("content", [b"", MARKER.encode(), b"{}", (DATA / "tokenizer.json").read_bytes()[:500]])
def test_a_broken_tokenizer_is_refused(tmp_path: Path, content: bytes):
    """As a broken model is."""
    broken = files(tmp_path)
    broken["tokenizer"].write_bytes(content)
    with pytest.raises(BackendError, match=r"^member tester: tokenizer\.json is not a tokenizer$"):
        OnnxBackend(manifest("onnx"), broken)


def test_a_tokenizer_without_the_framing_tokens_is_refused(tmp_path: Path):
    """Without [CLS] and [SEP] there is no input to build."""
    other = files(tmp_path)
    other["tokenizer"].write_text(other["tokenizer"].read_text().replace("[SEP]", "[END]"))
    with pytest.raises(BackendError, match=r"^member tester: tokenizer\.json has no \[CLS\] or \[SEP\]$"):
        OnnxBackend(manifest("onnx"), other)


def test_other_inputs_are_refused():
    """A model of images is not a model of texts."""
    wrong = {"model": DATA / "wrong_inputs.onnx", "tokenizer": DATA / "tokenizer.json"}
    with pytest.raises(BackendError, match=r"^member tester: the model's inputs are \['pixels'\]$"):
        OnnxBackend(manifest("onnx"), wrong)


def test_a_provider_that_is_not_there_is_refused(tmp_path: Path):
    """Never a silent step down to the CPU."""
    with pytest.raises(BackendError, match=r"^member tester: this onnxruntime has no NoSuchProvider$"):
        OnnxBackend(manifest("onnx"), files(tmp_path), provider="NoSuchProvider")


def test_stopping_ends_a_run_that_would_not_end(tmp_path: Path):
    """A hung model gives its thread back."""
    backend = onnx(tmp_path, model="endless.onnx").backend
    windows = backend.read(Exchange("", "tea")).windows
    run = Run()
    threading.Timer(0.1, run.stop).start()
    begun_s = time.monotonic()
    with pytest.raises(Exception, match="terminate"):
        backend.score(windows, run)

    assert time.monotonic() - begun_s < 30


def test_a_failing_run_writes_no_text_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """ONNX Runtime would print what went wrong, ids included."""
    backend = onnx(tmp_path, model="endless.onnx").backend
    run = Run()
    run.stop()
    with pytest.raises(Exception, match="terminate"):
        backend.score(backend.read(Exchange("", "tea")).windows, run)

    assert "" == capfd.readouterr().err


def test_a_single_text_has_one_type(tmp_path: Path):
    """As in the training of models that were never shown a pair."""
    member = manifest("onnx", prompt_tokens_max=0)
    backend = OnnxBackend(member, files(tmp_path))
    feed = backend._feed([backend.read(Exchange("tea", "cup")).windows[0]])

    assert [0, 0, 0] == feed["token_type_ids"][0].tolist()


def test_the_frame_is_that_of_the_tokenizer(tmp_path: Path):
    """RoBERTa puts two tokens between the texts of a pair."""
    tokenizer = Tokenizer.from_file(str(DATA / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "tea", "cup")}
    tokenizer.post_processor = RobertaProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    paired = files(tmp_path)
    tokenizer.save(str(paired["tokenizer"]))
    window = OnnxBackend(manifest("onnx"), paired).read(Exchange("tea", "cup")).windows[0]

    assert [ids[token] for token in ("[CLS]", "tea", "[SEP]", "[SEP]", "cup", "[SEP]")] == window.ids.tolist()


def test_the_prompt_and_the_completion_have_types_of_their_own(tmp_path: Path):
    """The same tokens as prompt and as completion are not the same input."""
    backend = onnx(tmp_path).backend
    window = backend.read(Exchange("tea", "cup")).windows[0]
    feed = backend._feed([window])

    assert [0, 0, 0, 1, 1] == feed["token_type_ids"][0].tolist()
    assert len(CATEGORIES) == backend.score([window], Run()).shape[1]
