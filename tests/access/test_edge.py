"""Who may call what, over a real server: nobody without a token, everybody within scope and quota."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes import BENIGN, HARMFUL
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from interlock.v1 import safety_filter_pb2 as pb

from .edge import PATIENT_S, TOKEN, Edge, caller, write_callers

TIGHT = {"requests_per_second": 0.01, "requests_burst": 1}


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A server with one caller who may screen."""
    async with Edge(tmp_path, [caller()]) as edge:
        yield edge


async def status(call: Awaitable[Any]) -> grpc.StatusCode:
    """How a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def authorized(token: str = TOKEN) -> Any:
    return (("authorization", f"Bearer {token}"),)


async def test_the_right_token_is_let_in(edge: Edge):
    """And what is benign is released."""
    assert pb.DECISION_RELEASE == (await edge.screen()).decision


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        authorized("ilk_another"),
        authorized(""),
        authorized(TOKEN + "x"),
        authorized(TOKEN[:-1]),
        authorized("x" * 5_000),
        (("authorization", TOKEN),),
        (("authorization", f"Basic {TOKEN}"),),
        (*authorized(), *authorized("ilk_another")),
        (*authorized("ilk_another"), *authorized()),
        (("authorization-bin", TOKEN.encode()),),
    ],
)
async def test_nothing_else_is(edge: Edge, metadata: Any):
    """Not a part of it, nor it in another place, nor two."""
    assert grpc.StatusCode.UNAUTHENTICATED == await status(edge.screen(token=None, metadata=metadata))


async def test_every_rpc_asks_for_a_token(edge: Edge):
    """Those that stream too, and those that will be added: whatever has no scope of its own is for administrators."""
    unary = [
        getattr(edge.stub, name)(getattr(pb, f"{name}Request")(), timeout=PATIENT_S)
        for name in ("Screen", "ScreenBatch", "Select", "Report", "GetEnsemble")
    ]
    streams = [edge.stub.ScreenMany(timeout=PATIENT_S).read(), edge.stub.ScreenStream(timeout=PATIENT_S).read()]

    codes = [await status(call) for call in (*unary, *streams)]
    assert [grpc.StatusCode.UNAUTHENTICATED] * len(
        pb.DESCRIPTOR.services_by_name["SafetyFilterService"].methods
    ) == codes


async def test_what_a_stranger_sends_is_not_even_read(edge: Edge):
    """Whether it is a message shows only to those who are known."""
    call = edge.channel.unary_unary("/interlock.v1.SafetyFilterService/Screen")
    codes = [await status(call(b"\xff", timeout=PATIENT_S, metadata=said)) for said in ((), authorized())]

    assert [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT] == codes


async def test_probes_carry_no_token(edge: Edge):
    """Health stays open."""
    health = health_pb2_grpc.HealthStub(edge.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENT_S)

    assert health_pb2.HealthCheckResponse.SERVING == answer.status


async def test_a_scope_that_is_missing_is_a_denial(edge: Edge):
    """Whoever screens does not label."""
    report = edge.stub.Report(pb.ReportRequest(), timeout=PATIENT_S, metadata=authorized())

    assert grpc.StatusCode.PERMISSION_DENIED == await status(report)


async def test_a_revoked_token_is_refused_once_the_file_is_read(edge: Edge, tmp_path: Path):
    """And the new one is not."""
    write_callers(tmp_path, [caller(token="ilk_new")])
    assert edge.access.watched is not None
    edge.access.watched.look()

    assert grpc.StatusCode.UNAUTHENTICATED == await status(edge.screen())
    assert pb.DECISION_RELEASE == (await edge.screen(token="ilk_new")).decision


async def test_a_bad_file_leaves_the_callers_as_they_were(edge: Edge, tmp_path: Path):
    """Nobody is locked out, nobody is let in, and a metric says so."""
    write_callers(tmp_path, [caller(token="ilk_new", scopes=["everything"])])
    assert edge.access.watched is not None
    edge.access.watched.look()

    assert pb.DECISION_RELEASE == (await edge.screen()).decision
    assert grpc.StatusCode.UNAUTHENTICATED == await status(edge.screen(token="ilk_new"))
    assert 0 == edge.counted("interlock_watched_file_healthy", file="access")


async def test_requests_beyond_the_quota_are_withheld_with_a_time_to_come_back(tmp_path: Path):
    """A verdict, not an error; and others are not affected."""
    callers = [caller(quota=TIGHT), caller("other", "ilk_other")]
    async with Edge(tmp_path, callers) as edge:
        await edge.screen()
        refused = await edge.screen()
        other = await edge.screen(token="ilk_other")

        assert ([pb.REASON_OVERLOADED], True) == ([*refused.reasons], refused.retryable)
        assert (pb.DECISION_WITHHOLD, pb.DECISION_RELEASE) == (refused.decision, other.decision)
        assert refused.retry_after.seconds > 30
        assert 1 == edge.counted("interlock_admission_refused_total", why="caller_requests")


async def test_a_batch_counts_as_many_as_it_holds(tmp_path: Path):
    """Otherwise it would be a way around."""
    async with Edge(tmp_path, [caller(quota={**TIGHT, "requests_burst": 2})]) as edge:
        batch = pb.ScreenBatchRequest(exchanges=3 * [pb.Exchange(completion=BENIGN.encode())])
        answer = await edge.stub.ScreenBatch(batch, timeout=PATIENT_S, metadata=authorized())

    assert 2 == sum(verdict.decision == pb.DECISION_RELEASE for verdict in answer.verdicts)


async def test_a_stream_too_many_is_withheld(tmp_path: Path):
    """Of growing completions and of batches alike."""
    async with Edge(tmp_path, [caller(quota={"streams_max": 1})]) as edge:
        first = await edge.open_stream(authorized())
        second = edge.stub.ScreenStream(metadata=authorized(), timeout=PATIENT_S)
        await second.write(pb.ScreenStreamRequest(start=pb.ScreenStreamStart()))
        answer = await second.read()
        many = edge.stub.ScreenMany(metadata=authorized(), timeout=PATIENT_S)
        batch = pb.ScreenBatchRequest(exchanges=[pb.Exchange(completion=BENIGN.encode())])
        await many.write(pb.ScreenManyRequest(sequence=1, timeout=Duration(seconds=10), batch=batch))
        item = await many.read()
        for call in (first, second, many):
            call.cancel()

        assert [pb.REASON_OVERLOADED] == [*answer.verdict.reasons] == [*item.batch.verdicts[0].reasons]
        assert 1 == answer.verdict.retry_after.seconds == item.batch.verdicts[0].retry_after.seconds
        assert 2 == edge.counted("interlock_admission_refused_total", why="caller_streams")


async def test_bytes_of_a_stream_are_counted(tmp_path: Path):
    """When they come."""
    async with Edge(tmp_path, [caller(quota={"bytes_per_second": 0.1, "bytes_burst": 100})]) as edge:
        call = edge.stub.ScreenStream(metadata=authorized(), timeout=PATIENT_S)
        await call.write(pb.ScreenStreamRequest(start=pb.ScreenStreamStart()))
        await call.write(pb.ScreenStreamRequest(chunk=b"She sat down. " * 20))
        await call.write(pb.ScreenStreamRequest(end=pb.ScreenStreamEnd()))
        decisions = [message.verdict.decision async for message in call]
        after = await edge.screen()

    assert (pb.DECISION_RELEASE, pb.DECISION_WITHHOLD) == (decisions[-1], after.decision)


@pytest.mark.parametrize(("granted", "scores"), [("decision", False), ("reasons", False), ("full", True)])
async def test_a_caller_is_told_what_it_may_know(tmp_path: Path, granted: str, scores: bool):
    """Scores are an oracle for attackers."""
    async with Edge(tmp_path, [caller(detail_max=granted)]) as edge:
        verdict = await edge.screen(detail=pb.DETAIL_FULL)

    assert scores == verdict.HasField("margin")
    assert (granted != "decision") == verdict.HasField("digests")


async def test_the_operator_may_tell_less_than_the_file_grants(tmp_path: Path):
    """`transport.detail_max` is over all callers."""
    async with Edge(tmp_path, [caller(detail_max="full")], detail_max="reasons") as edge:
        assert not (await edge.screen(detail=pb.DETAIL_FULL)).HasField("margin")


async def test_a_default_profile_is_the_callers(tmp_path: Path):
    """One that the policy does not have withholds."""
    async with Edge(tmp_path, [caller(default_profile="strict"), caller("other", "ilk_other")]) as edge:
        verdict, other = await edge.screen(), await edge.screen(token="ilk_other")

    assert ([pb.REASON_POLICY_INVALID], "balanced") == ([*verdict.reasons], other.profile)


async def test_another_profile_than_its_own_is_refused(tmp_path: Path):
    """Where the file says which there are."""
    async with Edge(tmp_path, [caller(profiles=["strict"], default_profile="strict")]) as edge:
        assert grpc.StatusCode.INVALID_ARGUMENT == await status(edge.screen(profile="balanced"))


async def test_a_withheld_text_brings_the_callers_own_words(tmp_path: Path):
    """In its language; a released one brings none."""
    texts = {"default": "I cannot say that.", "de": "Das kann ich nicht sagen."}
    async with Edge(tmp_path, [caller(fallback_texts=texts)]) as edge:
        german = await edge.screen("", metadata=(("accept-language", "de-AT,en"),))
        assert ["I cannot say that.", "Das kann ich nicht sagen.", ""] == [
            (await edge.screen("")).fallback_text,
            german.fallback_text,
            (await edge.screen()).fallback_text,
        ]


async def test_the_name_in_records_is_the_servers(tmp_path: Path):
    """Whatever the caller says of himself."""
    async with Edge(tmp_path, [caller()]) as edge:
        seen = []
        inner = edge.filter.screen

        async def screen(request: Any, rpc: str = "Screen") -> Any:
            seen.append(request.caller)
            return await inner(request, rpc)

        edge.filter.screen = screen  # type: ignore[method-assign]
        await edge.screen(metadata=(("caller", "somebody"), ("x-caller", "somebody"), ("user-agent", "somebody")))

    assert ["generator"] == seen


async def test_without_callers_everybody_may_screen(tmp_path: Path):
    """As on the first day."""
    async with Edge(tmp_path) as edge:
        assert pb.DECISION_RELEASE == (await edge.screen(token=None)).decision


async def test_reflection_is_for_those_who_are_known(edge: Edge):
    """And not offered where it is turned off."""
    stub = reflection_pb2_grpc.ServerReflectionStub(edge.channel)
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]

    assert grpc.StatusCode.UNAUTHENTICATED == await status(stub.ServerReflectionInfo(iter(asked)).read())
    assert (await stub.ServerReflectionInfo(iter(asked), metadata=authorized()).read()).list_services_response.service


async def test_reflection_can_be_turned_off(tmp_path: Path):
    """As it is by default beyond loopback."""
    async with Edge(tmp_path, reflection=False) as edge:
        stub = reflection_pb2_grpc.ServerReflectionStub(edge.channel)
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        assert grpc.StatusCode.UNIMPLEMENTED == await status(stub.ServerReflectionInfo(iter(asked)).read())


async def test_more_metadata_than_allowed_is_refused(tmp_path: Path):
    """Before anything reads it."""
    async with Edge(tmp_path, metadata_bytes_max=4096) as edge:
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status(
            edge.screen(token=None, metadata=(("x", 5_000 * "y"),))
        )


async def test_more_calls_than_allowed_are_refused(tmp_path: Path):
    """Streams that say nothing among them."""
    async with Edge(tmp_path, rpcs_max=1) as edge:
        silent = await edge.open_stream()
        code = await status(edge.screen(token=None))
        silent.cancel()

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == code


async def test_more_connections_than_allowed_are_refused(tmp_path: Path):
    """The first ones stay."""
    async with Edge(tmp_path, connections_max=1) as edge:
        await edge.screen(token=None)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.server.port}", options) as second:
            call = second.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENT_S)
            assert grpc.StatusCode.UNAVAILABLE == await status(call)
        assert pb.DECISION_RELEASE == (await edge.screen(token=None)).decision


async def test_more_turns_than_anyone_needs_are_too_long(edge: Edge):
    """Each costs the event loop a moment."""
    turns = 1_001 * [pb.Turn(speaker=pb.SPEAKER_USER, text=b"a")]
    request = pb.ScreenRequest(exchange=pb.Exchange(turns=turns, completion=HARMFUL.encode()))
    answer = await edge.stub.Screen(request, timeout=PATIENT_S, metadata=authorized())

    assert [pb.REASON_INPUT_TOO_LONG] == [*answer.verdict.reasons]
