"""Which candidate is selected, and that none is for which the server did not say so in every way."""

import grpc
import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import LocalReason, Selection

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import Call, judge, selected, unless_bad


async def test_the_candidate_that_the_server_names(serve: Serve, connect: Connect):
    """With a verdict for each, and what the server says of so many looks."""
    selection = await connect(serve(judge(unless_bad)).target).select(["bad", "fine", b"fine too"], rounds=2)

    assert (True, 1, "fine") == (bool(selection), selection.index, selection.text)
    assert [False, True, True] == [bool(verdict) for verdict in selection.verdicts]
    assert (6, 0.06, "as many looks") == (selection.looks, selection.miss_rate_upper_bound, selection.statement)


async def test_none_of_them(serve: Serve, connect: Connect):
    """The least bad of bad ones is bad."""
    selection = await connect(serve(fake_service.withhold).target).select(["a", "b"])

    assert (False, None, None) == (bool(selection), selection.index, selection.text)
    assert [("HARMFUL", "DISAGREEMENT")] * 2 == [verdict.reasons for verdict in selection.verdicts]


def naming(index: int, verdicts: fake_service.Behaviour) -> fake_service.Behaviour:
    """Names that candidate, whatever the verdicts are."""

    def behave(call: Call) -> bytes:
        response = pb.SelectResponse.FromString(verdicts(call))
        response.selected = index
        return response.SerializeToString()

    return behave


@pytest.mark.parametrize(
    "behaviour",
    [
        naming(0, judge(unless_bad)),
        naming(2, judge(unless_bad)),
        naming(1, judge(fake_service.of_another_text)),
        naming(1, judge(fake_service.undecided)),
        lambda call: selected(call, 0, []),
        lambda call: selected(call, 1, [fake_service.released(one) for one in call.exchanges][1:]),
        lambda call: selected(call, None, [fake_service.released(one) for one in call.exchanges]),
        lambda call: selected(call, 1, [fake_service.released(one) for one in reversed(call.exchanges)]),
        fake_service.empty,
        fake_service.garbage,
        fake_service.fail(grpc.StatusCode.UNAVAILABLE),
        fake_service.fail(grpc.StatusCode.UNIMPLEMENTED),
    ],
)
async def test_a_selection_that_is_not_right_is_none(serve: Serve, connect: Connect, behaviour: fake_service.Behaviour):
    """Of a candidate that is withheld, that is not there, of another text; or without an answer."""
    selection = await connect(serve(behaviour).target, retry=None).select(["bad", "fine"])

    assert (False, None, None, 2) == (bool(selection), selection.index, selection.text, len(selection.verdicts))


async def test_the_request_carries_everything(serve: Serve, connect: Connect):
    """The prompt once, the candidates, the rounds and the settings."""
    service = serve(fake_service.release)
    client = connect(service.target, detail="full")
    options = {"profile": "strict", "extra_margin": 1.0, "rounds": 3}
    await client.select(["a", b"b"], prompt="Hi", request_id="r-1", **options)
    call = service.calls[0]

    expected = pb.SelectRequest(prompt=b"Hi", candidates=[b"a", b"b"], detail=pb.DETAIL_FULL, **options)
    expected.enforcement = pb.ENFORCEMENT_ENFORCE
    assert expected == call.request
    assert ("Select", "r-1") == (call.method, call.metadata["x-request-id"])


async def test_a_candidate_that_cannot_be_sent(serve: Serve, connect: Connect):
    """Is withheld by itself; the others keep their positions."""
    service = serve(judge(unless_bad))
    selection = await connect(service.target).select([None, "bad", "lone \ud800 surrogate", "fine"])

    assert (3, "fine") == (selection.index, selection.text)
    assert [[b"bad", b"fine"]] == service.completions
    assert ["INVALID_CALL", "HARMFUL", "INVALID_CALL"] == [verdict.reasons[0] for verdict in selection.verdicts[:3]]


@pytest.mark.parametrize(
    ("candidates", "arguments", "count"),
    [
        ([], {}, 0),
        ("fine", {}, 1),
        (7, {}, 1),
        (["fine"], {"prompt": 7}, 1),
        (["fine"], {"rounds": -1}, 1),
        (["fine"], {"timeout_s": "1"}, 1),
    ],
)
async def test_mistaken_arguments_select_nothing(serve: Serve, connect: Connect, candidates, arguments, count: int):
    """Before anybody is asked."""
    service = serve(fake_service.release)
    selection = await connect(service.target).select(candidates, **arguments)

    assert (False, [], count) == (bool(selection), service.calls, len(selection.verdicts))
    assert {("INVALID_CALL",)} >= {verdict.reasons for verdict in selection.verdicts}


async def test_an_outage_is_asked_about_again(serve: Serve, connect: Connect):
    """All candidates, since one is selected among all."""
    service = serve(fake_service.fail(grpc.StatusCode.UNAVAILABLE), fake_service.release)
    selection = await connect(service.target).select(["a", "b"])

    assert (0, [[b"a", b"b"]] * 2) == (selection.index, service.completions)


async def test_a_retryable_verdict_is_asked_about_again(serve: Serve, connect: Connect):
    """Unless one is selected already."""
    service = serve(judge(fake_service.overloaded_if_long), fake_service.overload, fake_service.release)
    client = connect(service.target)
    first = await client.select(["too long", "short"])
    second = await client.select(["too long"])

    assert (1, 0, 3) == (first.index, second.index, len(service.calls))


async def test_what_the_server_said_stays_when_it_dies(serve: Serve, connect: Connect):
    """A retry that fails hides no reason."""
    service = serve(fake_service.overload, fake_service.fail(grpc.StatusCode.UNAVAILABLE))
    selection = await connect(service.target).select(["a"])

    assert (("OVERLOADED",), 2) == (selection.verdicts[0].reasons, len(service.calls))


async def test_one_deadline(serve: Serve, connect: Connect):
    """For the whole call."""
    selection = await connect(serve(fake_service.hang).target).select(["a"], timeout_s=0.3)

    assert (LocalReason.DEADLINE,) == selection.verdicts[0].reasons


def test_a_selection_shows_no_text():
    """It can be printed by mistake; and the default one selects nothing."""
    assert "Xanadu" not in repr(Selection(index=0, text="Xanadu"))
    assert not Selection()
