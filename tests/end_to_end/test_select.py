"""Select at a real server: the best of those that may be released, or none."""

from typing import Any

import grpc
import pytest
from fakes import BENIGN, HARMFUL
from interlock.v1 import safety_filter_pb2 as pb

from .server import PATIENT_S, Server, reasons

PHRASES = {"phrases": {"stabbed": 0.99, "tea": 0.05, "window": 0.02}}


def select(server: Server, *candidates: str, **asked: Any) -> pb.SelectResponse:
    """One answer."""
    texts = [candidate.encode() for candidate in candidates]
    response: pb.SelectResponse = server.stub.Select(pb.SelectRequest(candidates=texts, **asked), timeout=PATIENT_S)
    return response


def test_the_largest_margin_wins(server: Server):
    """Of those that may be released; the others have their verdicts too."""
    for name in ("alpha", "beta", "gamma"):
        server.script(name, **PHRASES)
    response = select(server, HARMFUL, BENIGN, "She sat by the window.")

    assert 2 == response.selected
    assert [["HARMFUL"], [], []] == [reasons(verdict) for verdict in response.verdicts]


@pytest.mark.parametrize("candidates", [[HARMFUL, HARMFUL], [HARMFUL], [""], []])
def test_none_is_no_consolation(server: Server, candidates: list[str]):
    """Never the least bad of bad ones."""
    response = select(server, *candidates)

    assert (False, len(candidates)) == (response.HasField("selected"), len(response.verdicts))


def test_a_candidate_that_cannot_be_judged_takes_no_other_down(server: Server):
    """Each is judged by itself."""
    response: pb.SelectResponse = server.stub.Select(
        pb.SelectRequest(candidates=[b"\xff", BENIGN.encode()]), timeout=PATIENT_S
    )

    assert (1, ["INPUT_UNREADABLE"]) == (response.selected, reasons(response.verdicts[0]))


def test_looks_are_counted_and_nothing_is_claimed_without_a_certificate(server: Server):
    """Candidates times rounds."""
    response = select(server, BENIGN, BENIGN, BENIGN, rounds=4)

    assert (12, False) == (response.looks, response.HasField("miss_rate_upper_bound"))
    assert response.statement.startswith("No bound")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"profile": "unheard-of"}, "profile"),
        ({"extra_margin": float("nan")}, "extra_margin"),
        ({"prompt": b"a", "turns": [pb.Turn(text=b"b")]}, "prompt"),
        ({"candidates": [b"x"] * 257}, "candidates"),
    ],
)
def test_what_cannot_be_understood_is_an_error(server: Server, asked: dict[str, Any], field: str):
    """That names the field."""
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Select(pb.SelectRequest(**{"candidates": [b"x"], **asked}), timeout=PATIENT_S)

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()  # type: ignore[attr-defined]
    assert caught.value.details().startswith(field)  # type: ignore[attr-defined]
