"""A real Triton server that runs one member, and the bundle of that ensemble: `gamma` is there, and never sees any harm."""

import shutil
import signal
from pathlib import Path
from typing import Any

import tritonclient.grpc
from fakes import BENIGN, CATEGORIES, member, policy_content, reseal, script, write_bundle
from interlock_server.bundle.manifest import GoldenExchange
from tritonserver.repository import DATA, write_model
from tritonserver.server import TritonServer

from faults.replica import WORDS, Setup

REMOTE, MODEL = "gamma", "tiny"
QUEUE_MAX = 16
"""More than the server asks at once, so that it is never full but for others."""
HALF = 1e-4
"""The model's logits times this are next to none: its score is one half, whatever the text."""


class Triton:
    """One server on one port, that can be ended and started again."""

    def __init__(self, folder: Path, queue_max: int | None = None) -> None:
        folder.mkdir()
        write_model(folder / "models", MODEL, scale=HALF, queue_max=queue_max, batch_max=16)
        self._repository = folder / "models"
        self.server = TritonServer(self._repository, explicit=True).wait_ready()
        self.endpoint = self.server.endpoint

    def start(self) -> None:
        """After its end, on the same port."""
        self.server.kill()
        self.server = TritonServer(self._repository, self.server.port, explicit=True).wait_ready()

    def drain(self) -> None:
        """SIGTERM."""
        self.server.process.send_signal(signal.SIGTERM)

    def unload(self) -> None:
        """The model goes, the server stays."""
        with tritonclient.grpc.InferenceServerClient(self.endpoint) as client:
            client.unload_model(MODEL)

    def load(self) -> None:
        """The model is there again."""
        with tritonclient.grpc.InferenceServerClient(self.endpoint) as client:
            client.load_model(MODEL)

    def empty(self, answers: bool) -> None:
        """Whether answers have no rows and are called OK."""
        switch = self._repository / MODEL / "empty"
        switch.touch() if answers else switch.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends it."""
        self.server.kill()


def write_with_triton(bundle: Path, setup: Setup) -> str:
    """Two members that know a word, and one on Triton; returns the digest."""
    bundle.mkdir()
    shutil.copy(DATA / "tokenizer.json", bundle)
    changes: dict[str, Any] = {"backend": "triton", "files": {"tokenizer": "tokenizer.json"}, "runs": {"remote_model": MODEL},
               "reads": {"tokens_max": 32, "prompt_tokens_max": 8}}  # fmt: skip
    members = [member(name, **(changes if name == REMOTE else {})) for name in WORDS]
    policy = policy_content(list(WORDS))
    for rule in policy["profiles"]["balanced"]["categories"].values():
        rule["members"] = {**rule["members"], REMOTE: {"weight": 0.0, "offset": 0.0, "clear_below": 0.9}}
    write_bundle(bundle, members, profiles=policy["profiles"], **setup.policy)
    for name in WORDS:
        script(bundle, name, phrases=dict.fromkeys((WORDS[name], WORDS[REMOTE]), 0.99))
    scores = {name: dict.fromkeys(CATEGORIES, 0.5 if name == REMOTE else 0.01) for name in WORDS}
    row = GoldenExchange(prompt="", completion=BENIGN, scores=scores)
    (bundle / "golden.jsonl").write_text(8 * (row.model_dump_json() + "\n"))
    return reseal(bundle)
