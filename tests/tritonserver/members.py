"""Members that run on a Triton server, and backends for them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import numpy as np
from fakes import CATEGORIES, IDENTITY
from interlock_server.backends.backend import Check, RemoteScore, Run, Window
from interlock_server.backends.onnx import OnnxBackend
from interlock_server.backends.triton import TritonBackend
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BundleError
from interlock_server.text.exchange import Exchange

from .repository import DATA

FILES = {"tokenizer": DATA / "tokenizer.json"}
REST_MS = 100


def member(
    model: str = "tiny", version: str = "", categories: Sequence[str] = CATEGORIES, **reads: Any
) -> MemberManifest:
    """What a bundle says of the member."""
    return MemberManifest.model_validate(
        {
            "name": "tester",
            "kind": "encoder",
            "backend": "triton",
            "categories": list(categories),
            "reads": {"tokens_max": 32, "prompt_tokens_max": 8, **reads},
            "runs": {"remote_model": model, "remote_version": version},
            "files": {"tokenizer": "tokenizer.json"},
            "score_maps": dict.fromkeys(categories, IDENTITY),
        }
    )


def settings(*endpoints: str, **changes: Any) -> TritonSettings:
    """Servers that are looked at again soon."""
    return TritonSettings.model_validate({"endpoints": list(endpoints), "rest_ms": REST_MS, **changes})


async def any_scores(score: RemoteScore) -> None:
    """A check that every model passes that gives scores at all."""
    await score(windows(local(), "tea"))


async def scores_as_here(score: RemoteScore) -> None:
    """A check that only the model of this process passes, as golden exchanges are."""
    text = windows(local())
    if not np.allclose(local().score(text, Run()), await score(text), atol=1e-3, rtol=0):
        raise BundleError("scores are off")


@asynccontextmanager
async def connected(
    *endpoints: str, of: MemberManifest | None = None, check: Check = scores_as_here, **changes: Any
) -> AsyncIterator[TritonBackend]:
    """A backend that is connected, and closed afterwards."""
    backend = TritonBackend(of or member(), FILES, settings(*endpoints, **changes))
    try:
        await backend.connect(check)
        yield backend
    finally:
        await backend.close()


@cache
def local(**reads: int) -> OnnxBackend:
    """The same model in this process."""
    return OnnxBackend(member(**reads), {"model": DATA / "tiny.onnx", **FILES})


def windows(backend: Any, text: str = "He stabbed her.", prompt: str = "") -> Sequence[Window]:
    """Of one text."""
    found: Sequence[Window] = backend.read(Exchange(prompt, text)).windows
    return found
