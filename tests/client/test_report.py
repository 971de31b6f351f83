"""`report` tells the server what became of a verdict, and raises when that was not kept."""

import grpc
import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import CallError

from . import fake_service
from .conftest import Connect, Serve


async def test_report(serve: Serve, connect: Connect):
    """The verdict, the label and the categories arrive."""
    service = serve(fake_service.report_kept)
    client = connect(service.target, metadata=[("x-team", "a")])
    await client.report("v-1", "harmful", categories=["illicit"])
    await client.report("v-2", "fine")

    assert [
        pb.ReportRequest(verdict_id="v-1", label=pb.FEEDBACK_LABEL_HARMFUL, categories=["illicit"]),
        pb.ReportRequest(verdict_id="v-2", label=pb.FEEDBACK_LABEL_FINE),
    ] == [call.request for call in service.calls]
    assert ("Report", "a") == (service.calls[0].method, service.calls[0].metadata["x-team"])


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (fake_service.fail(grpc.StatusCode.FAILED_PRECONDITION), "REFUSED: FAILED_PRECONDITION"),
        (fake_service.fail(grpc.StatusCode.UNAVAILABLE), "UNREACHABLE: UNAVAILABLE"),
        (fake_service.garbage, "MALFORMED_RESPONSE: DecodeError"),
    ],
)
async def test_what_was_not_kept_raises(serve: Serve, connect: Connect, behaviour, message: str):
    """Once, without a retry: it is not said twice what may have been kept."""
    service = serve(behaviour)
    with pytest.raises(CallError) as caught:
        await connect(service.target).report("v-1", "harmful")

    assert (message, 1) == (str(caught.value), len(service.calls))


@pytest.mark.parametrize("arguments", [("v-1", "awful"), ("v-1", None), (["v-1"], "fine"), (7, "fine")])
async def test_mistaken_arguments_raise(serve: Serve, connect: Connect, arguments: tuple[object, object]):
    """Before anybody is asked."""
    service = serve(fake_service.report_kept)
    with pytest.raises(CallError, match="INVALID_CALL"):
        await connect(service.target).report(*arguments)

    assert [] == service.calls


async def test_report_has_a_deadline(serve: Serve, connect: Connect):
    """A server that hangs is no receipt."""
    with pytest.raises(CallError, match="DEADLINE"):
        await connect(serve(fake_service.hang).target).report("v-1", "fine", timeout_s=0.3)
