"""A guarded stream over a real connection: what comes out and when, and that nobody waits for what cannot come."""

import asyncio

import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter, LocalReason, SafetyFilter, SettingsError

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import by_sentences
from .sources import BAD, FINE, Source, all_of, asynchronous, within


async def test_a_fine_text_comes_out(serve: Serve, connect_one: Connect):
    """All of it, in order, with the verdict on the whole."""
    service = serve()
    guard = connect_one(service.target).guard(FINE, prompt="Fish?")
    out, withheld = await all_of(guard)

    assert ("".join(FINE), None, True) == ("".join(out), withheld, bool(guard.verdict))
    assert b"Fish?" == service.guards[0].start.prompt


async def test_bytes_come_out_as_bytes(serve: Serve, connect_one: Connect):
    """The type of the source is the type of what comes out."""
    out, _ = await all_of(connect_one(serve().target).guard([b"One ", b"fish."]))

    assert b"One fish." == b"".join(out)


async def test_nothing_waits_for_the_end(serve: Serve, connect_one: Connect):
    """A sentence comes out when it is released, while the source is still busy."""
    source = Source(FINE, stop_before=1)
    guard = connect_one(serve().target).guard(source)
    first = await anext(guard)
    source.go_on.set()
    rest, _ = await all_of(guard)

    assert ("One fish. ", "Two fish. Red fish.") == (first, "".join(rest))


async def test_nothing_comes_out_before_it_is_released(serve: Serve, connect_one: Connect):
    """A server that says nothing before the end holds everything back."""
    service, source = serve(), Source(FINE, stop_before=3)
    service.guard = fake_service.at_the_end(fake_service.released)
    guard = connect_one(service.target).guard(source)
    first = asyncio.ensure_future(anext(guard))
    await within(source.stopped)
    assert not first.done()
    source.go_on.set()

    assert "".join(FINE) == await first
    assert ([], None) == await all_of(guard)


async def test_a_harmful_text_raises(serve: Serve, connect_one: Connect):
    """With the server's reasons and what is to be taken back, however the word was cut."""
    source = Source(BAD, stop_before=1)
    guard = connect_one(serve().target).guard(source)
    out = [await anext(guard)]
    source.go_on.set()
    rest, withheld = await all_of(guard)
    out += rest
    verdict = withheld.verdict

    assert "One fish. Two fish. ".startswith("".join(out))
    assert (("HARMFUL", "DISAGREEMENT"), "RETRACT", False) == (verdict.reasons, verdict.action, verdict.local)
    assert len("".join(out)) == verdict.released_bytes
    assert withheld.verdict is guard.verdict


async def test_a_harmful_text_ends_with_the_fallback(serve: Serve, connect_one: Connect):
    """For consumers that cannot handle an exception; the verdict says that it is one."""
    guard = connect_one(serve().target).guard(
        ["Bad: bad."], on_withheld="fallback", fallback=lambda verdict: f"Sorry: {verdict.reasons[0]}"
    )

    assert (["Sorry: HARMFUL"], None) == await all_of(guard)
    assert (False, ("HARMFUL", "DISAGREEMENT")) == (bool(guard.verdict), guard.verdict.reasons)


async def test_the_fallback_of_bytes(serve: Serve, connect_one: Connect):
    """Is bytes."""
    guard = connect_one(serve().target).guard([b"bad"], on_withheld="fallback", fallback="Sorry.")

    assert ([b"Sorry."], None) == await all_of(guard)


async def test_no_text_is_no_release(serve: Serve, connect_one: Connect):
    """A source that yields nothing is a matter for the server, as for any other text."""
    service = serve()
    service.guard = by_sentences(
        lambda exchange: pb.Verdict(decision=pb.DECISION_WITHHOLD, reasons=[pb.REASON_INPUT_EMPTY])
    )
    out, withheld = await all_of(connect_one(service.target).guard([]))

    assert ([], ("INPUT_EMPTY",), 0) == (out, withheld.verdict.reasons, withheld.verdict.released_bytes)


async def test_concurrent_streams_do_not_mix(serve: Serve, connect_one: Connect):
    """Each gets its own text and its own verdict."""
    client = connect_one(serve().target)
    texts = [
        [f"{place}: {word}. " for word in ("one", "two", "bad" if place % 3 == 0 else "four")] for place in range(12)
    ]
    ends = await asyncio.gather(*(all_of(client.guard(text)) for text in texts))

    for place, (text, (out, withheld)) in enumerate(zip(texts, ends, strict=True)):
        assert "".join(text).startswith("".join(out))
        assert (place % 3 == 0) == (withheld is not None)
        assert withheld is not None or "".join(text) == "".join(out)


async def test_the_source_waits_for_the_consumer(serve: Serve, connect_one: Connect):
    """What is released and not taken stops the pull."""
    source = Source(["A fish. "] + ["b" * 10_000 + ". "] * 1_000)
    guard = connect_one(serve().target).guard(source, buffer_bytes_max=100_000_000)
    await anext(guard)
    pulled = -1
    while pulled != source.pulled:  # it comes to rest
        pulled = source.pulled
        await asyncio.sleep(0.2)

    assert source.pulled < 500
    await guard.close()


async def test_more_than_the_buffer_holds_is_withheld(serve: Serve, connect_one: Connect):
    """Where the server releases nothing."""
    service = serve()
    service.guard = fake_service.at_the_end(fake_service.released)
    guard = connect_one(service.target).guard(("a" * 1_000 for _ in range(100)), buffer_bytes_max=50_000)
    out, withheld = await all_of(guard)

    assert ([], (LocalReason.TOO_LARGE,)) == (out, withheld.verdict.reasons)


async def test_small_pieces_go_together(serve: Serve, connect_one: Connect):
    """While a message is written, what comes is collected."""
    service = serve()
    client = connect_one(service.target)
    pieces = ["a fish. "] * 2_000
    source = pieces if isinstance(client.client, SafetyFilter) else asynchronous(pieces)
    out, withheld = await all_of(client.guard(source))

    assert ("a fish. " * 2_000, None) == ("".join(out), withheld)
    assert len(service.guards[0].messages) < 1_000


async def test_the_start_says_everything(serve: Serve, connect_one: Connect):
    """Settings and arguments arrive as with any other call."""
    service = serve()
    client = connect_one(service.target, detail="full", profile="lax", metadata=[("x-team", "a")])
    await all_of(
        client.guard(FINE, turns=[("user", "Hi")], profile="strict", extra_margin=1, request_id="r-1", timeout_s=9)
    )
    call = service.guards[0]
    turns = [pb.Turn(speaker=pb.SPEAKER_USER, text=b"Hi")]
    options = {
        "profile": "strict",
        "extra_margin": 1.0,
        "detail": pb.DETAIL_FULL,
        "enforcement": pb.ENFORCEMENT_ENFORCE,
    }

    assert pb.ScreenStreamStart(turns=turns, **options) == call.start
    assert ("r-1", "a") == (call.metadata["x-request-id"], call.metadata["x-team"])
    assert call.context.time_remaining() < 10


@pytest.mark.parametrize(
    "arguments", [{"prompt": "lone \ud800 surrogate"}, {"profile": 3}, {"timeout_s": "2"}, {"turns": [("alien", "hi")]}]
)
async def test_mistaken_arguments_withhold(serve: Serve, connect_one: Connect, arguments: dict[str, object]):
    """Before anybody is asked."""
    service = serve()
    out, withheld = await all_of(connect_one(service.target).guard(FINE, **arguments))

    assert ([], (LocalReason.INVALID_CALL,), []) == (out, withheld.verdict.reasons, service.guards)


@pytest.mark.parametrize(
    "arguments",
    [{"on_withheld": "ignore"}, {"on_withheld": "fallback"}, {"idle_timeout_s": 0}, {"buffer_bytes_max": float("nan")}],
)
def test_a_guard_that_cannot_work_is_refused(arguments: dict[str, object]):
    """When it is made."""
    with SafetyFilter(targets="127.0.0.1:1") as client, pytest.raises(SettingsError):
        client.guard(FINE, **arguments)


async def test_a_source_that_is_none(serve: Serve, connect_one: Connect):
    """Is the caller's mistake and said so."""
    with pytest.raises(TypeError, match="not iterable"):
        await anext(connect_one(serve().target).guard(7))


async def test_a_closed_client_withholds(serve: Serve, connect_one: Connect):
    """A stream that is begun later, and one that is under way."""
    service, source = serve(), Source(FINE, stop_before=1)
    client = connect_one(service.target)
    guard = client.guard(source)
    await anext(guard)
    await client.close()
    ends = [await all_of(guard), await all_of(client.guard(FINE))]

    assert [(LocalReason.CLIENT_CLOSED,)] * 2 == [withheld.verdict.reasons for _, withheld in ends]
    source.go_on.set()


async def test_an_async_source_that_is_cancelled(serve: Serve):
    """Its cancellation is an error of its own, which passes through."""

    async def source():
        yield "One fish. "
        raise asyncio.CancelledError

    async with AsyncSafetyFilter(targets=serve().target) as client:
        guard = client.guard(source())
        with pytest.raises(asyncio.CancelledError):
            await all_of(guard)

    assert not guard.verdict


async def test_a_blocking_source_does_not_hold_up_the_loop(serve: Serve):
    """A plain iterable is pulled in a thread."""
    source = Source(FINE, stop_before=1)
    async with AsyncSafetyFilter(targets=serve().target) as client:
        guard = client.guard(source)
        assert "One fish. " == await anext(guard)
        assert await client.screen(completion="meanwhile") is not None
        source.go_on.set()

        assert "Two fish. Red fish." == "".join([text async for text in guard])
