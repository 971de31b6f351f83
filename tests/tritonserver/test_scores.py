"""What a real server answers is what the same model says here; a model that is another one is refused."""

import asyncio
import time

import numpy as np
import pytest
from fakes import CATEGORIES
from interlock_server.backends.backend import Run, ScoreError
from interlock_server.backends.triton import SIZE_MAX, TritonBackend
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

from .members import FILES, any_scores, connected, local, member, scores_as_here, settings
from .server import TritonServer, free_port

TEXTS = ["tea", "He stabbed her twice, and then he left.", "She poured two cups of tea.", "мама мыла раму"]
EXCHANGES = [Exchange(prompt, text) for text in TEXTS for prompt in ("", "Who was it?")]


def soon() -> float:
    """A deadline that is not missed."""
    return time.monotonic() + 20


@pytest.mark.parametrize("model", ["tiny", "flat"])
async def test_scores_are_those_of_the_model_itself(server: TritonServer, model: str):
    """Windows of different lengths, padded into one call."""
    here = local()
    async with connected(server.endpoint, of=member(model)) as backend:
        windows = [window for exchange in EXCHANGES for window in backend.read(exchange).windows]
        found = await backend.score(windows[:16], soon())

    assert len({len(window.ids) for window in windows[:16]}) > 2
    assert np.allclose(here.score(windows[:16], Run()), found, atol=1e-6, rtol=0)


async def test_a_model_without_types_is_not_sent_any(server: TritonServer):
    """As of a model that was trained on single texts."""
    async with connected(server.endpoint, of=member("untyped", prompt_tokens_max=0), check=any_scores) as backend:
        windows = backend.read(EXCHANGES[2]).windows
        found = await backend.score(windows, soon())

    assert np.allclose(local(prompt_tokens_max=0).score(windows, Run()), found, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("model", "size_max"), [("tiny", 16), ("flat", SIZE_MAX)])
async def test_the_size_of_a_batch_is_what_the_server_takes(server: TritonServer, model: str, size_max: int):
    """Or our own limit, where the server has none."""
    async with connected(server.endpoint, of=member(model)) as backend:
        assert size_max == backend.batching.size_max


async def test_sixty_four_calls_at_once(server: TritonServer):
    """Every one of them gets its own scores."""
    here = local()
    async with connected(server.endpoint) as backend:
        each = [backend.read(Exchange("", f"He stabbed {'her ' * (n % 7)} {n}.")).windows for n in range(64)]
        found = await asyncio.gather(*(backend.score(windows, soon()) for windows in each))

    assert all(np.allclose(here.score(w, Run()), f, atol=1e-6, rtol=0) for w, f in zip(each, found, strict=True))


@pytest.mark.parametrize(
    ("of", "complaint"),
    [
        (member("nobody"), "model nobody: the model is not there, or not ready"),
        (member(version="7"), "model tiny version 7: the model is not there, or not ready"),
        (member("short"), r"model short: \w+ is of type INT32, not INT64"),
        (member(categories=CATEGORIES[:2]), r"model tiny: logits has the shape \[-1, 4\], not \[-1, 2\]"),
    ],
)
async def test_another_model_is_refused(server: TritonServer, of: object, complaint: str):
    """With the server, the model and what is wrong with it."""
    with pytest.raises(BackendError, match=rf"^member tester: {server.endpoint}, {complaint}$"):
        async with connected(server.endpoint, of=of):  # type: ignore[arg-type]
            pass


async def test_a_server_that_is_not_there_is_refused():
    """At once, and not after some minutes of trying."""
    endpoint = f"127.0.0.1:{free_port()}"
    with pytest.raises(BackendError, match=rf"^member tester: {endpoint}, model tiny: it answers UNAVAILABLE$"):
        async with connected(endpoint):
            pass


async def test_one_good_server_is_enough(server: TritonServer):
    """The other one is told of."""
    nobody = f"127.0.0.1:{free_port()}"
    async with connected(nobody, server.endpoint) as backend:
        await backend.score(backend.read(EXCHANGES[0]).windows, soon())

        assert {nobody: "it answers UNAVAILABLE"} == backend.complaints


async def test_no_time_left_is_no_call(server: TritonServer):
    """It is too late before it begins."""
    async with connected(server.endpoint) as backend:
        with pytest.raises(ScoreError, match=r"^TIMED_OUT$"):
            await backend.score(backend.read(EXCHANGES[0]).windows, time.monotonic())


async def test_a_call_under_way_fails_when_the_backend_is_closed(server: TritonServer):
    """It is not cancelled: nobody asked for that."""
    server.slow_down(0.3)
    try:
        async with connected(server.endpoint) as backend:
            call = asyncio.create_task(backend.score(backend.read(EXCHANGES[0]).windows, soon()))
            await asyncio.sleep(0.1)
    finally:
        server.slow_down(0)
    with pytest.raises(ScoreError, match=r"^FAILED$"):
        await call


async def test_it_connects_again_after_it_was_closed(server: TritonServer):
    """Closing it twice does no harm either."""
    async with connected(server.endpoint) as backend:
        await backend.close()
        await backend.close()
        await backend.connect(scores_as_here)

        assert (1, 4) == (await backend.score(backend.read(EXCHANGES[0]).windows, soon())).shape


def test_no_server_at_all_is_refused():
    """With the name of the setting."""
    with pytest.raises(BackendError, match=r"^member tester: triton\.endpoints is empty$"):
        TritonBackend(member(), FILES, settings())
