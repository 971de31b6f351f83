"""What comes out of `screen`, for every way in which a server can answer or fail to."""

import asyncio
import time

import grpc
import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import LocalReason

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import Behaviour


async def test_release_is_true(serve: Serve, connect: Connect) -> None:
    """A release on the text that was sent is a true verdict."""
    verdict = await connect(serve(fake_service.release).target).screen(prompt="hi", completion="hello")

    assert (bool(verdict), verdict.released, verdict.decision, verdict.reasons) == (True, True, "RELEASE", ())


async def test_withhold_explains(serve: Serve, connect: Connect) -> None:
    """A withheld verdict of the server is false and carries the server's reasons and action."""
    verdict = await connect(serve(fake_service.withhold).target).screen(completion="hello")

    assert (bool(verdict), verdict.local) == (False, False)
    assert (verdict.reasons, verdict.action) == (("HARMFUL", "DISAGREEMENT"), "ESCALATE")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fake_service.empty, LocalReason.MALFORMED_RESPONSE),
        (fake_service.garbage, LocalReason.MALFORMED_RESPONSE),
        (fake_service.judge(fake_service.undecided), LocalReason.MALFORMED_RESPONSE),
        (fake_service.judge(fake_service.of_another_text), LocalReason.DIGEST_MISMATCH),
        (fake_service.fail(grpc.StatusCode.INVALID_ARGUMENT), LocalReason.REFUSED),
        (fake_service.fail(grpc.StatusCode.UNAUTHENTICATED), LocalReason.REFUSED),
        (fake_service.fail(grpc.StatusCode.PERMISSION_DENIED), LocalReason.REFUSED),
        (fake_service.fail(grpc.StatusCode.UNIMPLEMENTED), LocalReason.REFUSED),
        (fake_service.fail(grpc.StatusCode.RESOURCE_EXHAUSTED), LocalReason.TOO_LARGE),
        (fake_service.fail(grpc.StatusCode.DEADLINE_EXCEEDED), LocalReason.DEADLINE),
        (fake_service.fail(grpc.StatusCode.UNAVAILABLE), LocalReason.UNREACHABLE),
        (fake_service.fail(grpc.StatusCode.CANCELLED), LocalReason.CANCELLED),
        (fake_service.fail(grpc.StatusCode.INTERNAL), LocalReason.SERVER_ERROR),
        (fake_service.fail(grpc.StatusCode.UNKNOWN), LocalReason.SERVER_ERROR),
    ],
)
async def test_failures_withhold(serve: Serve, connect: Connect, behaviour: Behaviour, reason: LocalReason) -> None:
    """Every failure is a withheld verdict with a local reason, and no part of it quotes the text."""
    verdict = await connect(serve(behaviour).target, retry=None).screen(prompt="Xanadu", completion="Xanadu")

    assert (False, True, (reason,)) == (bool(verdict), verdict.local, verdict.reasons)
    assert "Xanadu" not in repr(verdict) + verdict.to_json()


async def test_nobody_there(connect: Connect) -> None:
    """Where nobody listens the verdict is withheld, with the action that the client was told to suggest."""
    verdict = await connect("127.0.0.1:1", on_unavailable="ESCALATE").screen(completion="hello")

    assert (bool(verdict), verdict.cause) == (False, "UNAVAILABLE")
    assert (verdict.reasons, verdict.action) == ((LocalReason.UNREACHABLE,), "ESCALATE")


async def test_encrypted_connection_needs_encrypted_server(serve: Serve, connect: Connect) -> None:
    """Credentials are used: a client that has them does not talk to a plaintext server."""
    service = serve(fake_service.release)
    verdict = await connect(service.target, credentials=grpc.ssl_channel_credentials()).screen(completion="hello")

    assert (verdict.reasons, service.calls) == ((LocalReason.UNREACHABLE,), [])


async def test_hang_ends_at_timeout(serve: Serve, connect: Connect) -> None:
    """A server that hangs costs the timeout and no more."""
    started = time.monotonic()
    verdict = await connect(serve(fake_service.hang).target).screen(completion="hello", timeout_s=0.3)

    assert verdict.reasons == (LocalReason.DEADLINE,)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("timeout_s", [0, -1.0])
async def test_spent_timeout_asks_nobody(serve: Serve, connect: Connect, timeout_s: float) -> None:
    """A budget that is used up already is a missed deadline."""
    service = serve(fake_service.release)
    verdict = await connect(service.target).screen(completion="hello", timeout_s=timeout_s)

    assert (verdict.reasons, service.calls) == ((LocalReason.DEADLINE,), [])


@pytest.mark.parametrize(
    "arguments",
    [
        {"completion": "lone \ud800 surrogate"},
        {"completion": "fine", "prompt": "lone \udfff surrogate"},
        {"completion": None},
        {"completion": 3},
        {"completion": ["hello"]},
        {"completion": "fine", "turns": [("alien", "hi")]},
        {"completion": "fine", "turns": ["hi"]},
        {"completion": "fine", "profile": 3},
        {"completion": "fine", "extra_margin": "much"},
        {"completion": "fine", "priority": "urgent"},
        {"completion": "fine", "priority": ["bulk"]},
        {"completion": "fine", "timeout_s": float("nan")},
        {"completion": "fine", "timeout_s": "2"},
    ],
)
async def test_mistaken_arguments_withhold(serve: Serve, connect: Connect, arguments: dict[str, object]) -> None:
    """Arguments that are no exchange are withheld before anybody is asked."""
    service = serve(fake_service.release)
    verdict = await connect(service.target).screen(**arguments)

    assert (bool(verdict), verdict.reasons, service.calls) == (False, (LocalReason.INVALID_CALL,), [])


async def test_unforeseen_errors_withhold(serve: Serve, connect: Connect) -> None:
    """What raises in the middle of a call, here the caller's own metadata function, is a withheld verdict too."""

    def metadata() -> list[tuple[str, str]]:
        raise RuntimeError("no token, sorry about Xanadu")

    verdict = await connect(serve(fake_service.release).target, metadata=metadata).screen(completion="Xanadu")

    assert (verdict.reasons, verdict.cause) == ((LocalReason.CLIENT_ERROR,), "RuntimeError")
    assert "Xanadu" not in repr(verdict)


async def test_too_large_a_text(serve: Serve, connect: Connect) -> None:
    """A text over the message limit is withheld without being sent."""
    service = serve(fake_service.release)
    verdict = await connect(service.target).screen(completion=b"a" * (17 * 1024 * 1024))

    assert (verdict.reasons, service.calls) == ((LocalReason.TOO_LARGE,), [])


async def test_closed_client(serve: Serve, connect: Connect) -> None:
    """A closed client withholds; closing twice is fine."""
    client = connect(serve(fake_service.release).target)
    assert await client.screen(completion="hello")
    await client.close()
    await client.close()

    assert (await client.screen(completion="hello")).reasons == (LocalReason.CLIENT_CLOSED,)


async def test_close_during_call(serve: Serve, connect: Connect) -> None:
    """Closing under a call withholds the text that it was about."""
    service = serve(fake_service.hang)
    client = connect(service.target)
    pending = asyncio.ensure_future(client.screen(completion="hello"))
    await asyncio.to_thread(service.called.wait, 10)
    await client.close()

    assert (await pending).reasons == (LocalReason.CLIENT_CLOSED,)


async def test_request_carries_everything(serve: Serve, connect: Connect) -> None:
    """The settings and the arguments of the call arrive at the server."""
    service = serve(fake_service.release)
    asked = {"profile": "strict", "extra_margin": 1.5, "detail": "full", "priority": "bulk"}
    client = connect(service.target, metadata=[("x-team", "a")], **asked)
    turns = [("user", "hi"), ("assistant", b"yes?")]
    assert await client.screen(turns=turns, completion="naïve", request_id="r-1", timeout_s=5)

    call = service.calls[0]
    turns = [pb.Turn(speaker=pb.SPEAKER_USER, text=b"hi"), pb.Turn(speaker=pb.SPEAKER_ASSISTANT, text=b"yes?")]
    options = {
        "profile": "strict",
        "extra_margin": 1.5,
        "detail": pb.DETAIL_FULL,
        "enforcement": pb.ENFORCEMENT_ENFORCE,
        "priority": pb.PRIORITY_BULK,
    }
    assert [pb.Exchange(turns=turns, completion="naïve".encode())] == list(call.exchanges)
    assert options == {name: getattr(call.request, name) for name in options}
    assert ("r-1", "a") == (call.metadata["x-request-id"], call.metadata["x-team"])
    assert 0 < call.time_left_s < 6  # gRPC rounds it up a little on the way


async def test_call_overrides_settings(serve: Serve, connect: Connect) -> None:
    """Profile, extra margin and priority of a call replace those of the client."""
    service = serve(fake_service.release)
    client = connect(service.target, profile="a", extra_margin=1.0, priority="bulk")
    await client.screen(completion="x", profile="b", extra_margin=2, priority="interactive")
    request = service.calls[0].request

    assert (request.profile, request.extra_margin, request.priority) == ("b", 2.0, pb.PRIORITY_INTERACTIVE)


async def test_metadata_function_is_asked_per_call(serve: Serve, connect: Connect) -> None:
    """A function as metadata gives each call its own pairs: a fresh token, a trace."""
    service = serve(fake_service.release)
    traces = iter(["one", "two"])
    client = connect(service.target, metadata=lambda: [("traceparent", next(traces))])
    await client.screen(completion="x")
    await client.screen(completion="x")

    assert [call.metadata["traceparent"] for call in service.calls] == ["one", "two"]
