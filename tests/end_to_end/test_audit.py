"""The audit log of a real server: what is in it, what is not, and what happens when it cannot be written."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes import BENIGN, HARMFUL, policy_content
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.audit.reader import Damage, entries, units
from interlock_server.audit.record import FeedbackRecord, Record, VerdictRecord, decided
from interlock_server.bundle.load import load_bundle
from interlock_server.decision.decide import decide

from .conftest import StartServer
from .server import MEMBERS, PATIENT_S, Server, reasons

MARKER = "xyzzy-marker"


def records(folder: Path) -> list[Record]:
    """Everything that is in a log, which must not be damaged."""
    read = [entry for unit in units(folder) for entry in entries(unit)]
    assert not [entry for entry in read if isinstance(entry, Damage)]
    return [entry[1] for entry in read if not isinstance(entry, Damage)]


def verdicts(folder: Path) -> list[VerdictRecord]:
    """The verdicts among it."""
    return [record for record in records(folder) if isinstance(record, VerdictRecord)]


def test_every_verdict_is_there_before_it_is_answered(start_server: StartServer, tmp_path: Path):
    """Where that is required; with who asked, and what for."""
    server = start_server(audit={"folder": str(tmp_path / "log"), "mode": "required"})
    answered = [server.screen(text) for text in (BENIGN, HARMFUL, "")]
    found = verdicts(tmp_path / "log")

    assert [verdict.verdict_id for verdict in answered] == [record.verdict_id for record in found]
    assert ["RELEASE", "WITHHOLD", "WITHHOLD"] == [record.decided.decision for record in found]
    assert {("Screen", "ipv4:127.0.0.1")} == {(record.rpc, record.caller) for record in found}


def test_a_record_decides_again_to_the_same_verdict(start_server: StartServer, tmp_path: Path):
    """From the record and the policy alone."""
    server = start_server(audit={"folder": str(tmp_path / "log"), "mode": "required"})
    server.script("beta", mode="crash")
    for text in (BENIGN, HARMFUL, "", "\0"):
        server.screen(text, extra_margin=0.25)
    server.heal()
    policy = load_bundle(server.bundle).policy
    found = verdicts(tmp_path / "log")

    assert {"RELEASE", "WITHHOLD"} == {record.decided.decision for record in found}
    assert [decided(decide(record.evidence, policy)) for record in found] == [record.decided for record in found]


@pytest.mark.parametrize("audit", [{}, {"text": "none"}, {"text": "full", "text_shares": {"RELEASE": 0}}])
def test_no_text_is_in_the_log_unless_it_is_to_be_kept(
    start_server: StartServer, tmp_path: Path, audit: dict[str, Any]
):
    """Neither of the prompt nor of the completion, in any file."""
    server = start_server(audit={"folder": str(tmp_path / "log"), "mode": "required", **audit})
    assert server.released(f"{BENIGN} {MARKER}")
    server.stop()

    assert not [file for file in (tmp_path / "log").iterdir() if MARKER.encode() in file.read_bytes()]


def test_streams_are_recorded_part_by_part(start_server: StartServer, tmp_path: Path):
    """Nothing of them is released whose record is not on disk either."""
    server = start_server(audit={"folder": str(tmp_path / "log"), "mode": "required"})
    parts = [{"start": pb.ScreenStreamStart()}, {"chunk": f"{BENIGN} He".encode()}, {"end": pb.ScreenStreamEnd()}]
    list(server.stub.ScreenStream(iter(pb.ScreenStreamRequest(**part) for part in parts), timeout=PATIENT_S))
    streams = [record.stream for record in verdicts(tmp_path / "log")]

    assert 1 == len({stream.stream_id for stream in streams if stream})
    assert (0, len(BENIGN) + 3, True) == (streams[-1].start, streams[-1].end, streams[-1].whole)  # type: ignore[union-attr]


def test_feedback_gets_into_the_same_log(start_server: StartServer, tmp_path: Path):
    """With the id of the verdict that it is about."""
    server = start_server(audit={"folder": str(tmp_path / "log"), "mode": "required"})
    verdict = server.screen()
    server.stub.Report(
        pb.ReportRequest(
            verdict_id=verdict.verdict_id, label=pb.FEEDBACK_LABEL_HARMFUL, categories=["violence_injury"]
        ),
        timeout=PATIENT_S,
    )
    (feedback,) = (record for record in records(tmp_path / "log") if isinstance(record, FeedbackRecord))

    assert (verdict.verdict_id, "HARMFUL", ("violence_injury",)) == (
        feedback.verdict_id, feedback.label, feedback.categories,
    )  # fmt: skip


ID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"label": 1, "verdict_id": MARKER}, "verdict_id"),
        ({"verdict_id": ID}, "label"),
        ({"label": 9, "verdict_id": ID}, "label"),
        ({"label": 2, "verdict_id": ID, "categories": [MARKER]}, "categories"),
    ],
)
def test_feedback_that_cannot_be_understood_is_an_error(
    start_server: StartServer, tmp_path: Path, asked: dict[str, Any], field: str
):
    """That names the field, and nothing that the caller wrote."""
    server = start_server(audit={"folder": str(tmp_path / "log")})
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Report(pb.ReportRequest(**asked), timeout=PATIENT_S)

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()  # type: ignore[attr-defined]
    assert caught.value.details().startswith(field)  # type: ignore[attr-defined]
    assert MARKER not in caught.value.details()  # type: ignore[attr-defined]


def test_feedback_is_refused_where_no_log_is_kept(server: Server):
    """Nobody is to think that it was heard."""
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Report(pb.ReportRequest(verdict_id=ID, label=pb.FEEDBACK_LABEL_FINE), timeout=PATIENT_S)

    assert grpc.StatusCode.FAILED_PRECONDITION == caught.value.code()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("mode", "released"), [("required", False), ("best_effort", True)])
def test_a_disk_that_takes_nothing_withholds_only_where_records_are_required(
    start_server: StartServer, tmp_path: Path, mode: str, released: bool
):
    """And is said to be broken in both."""
    server = start_server(audit={"folder": str(tmp_path / "log"), "mode": mode}, file_size_max=24_576)
    said: list[pb.Verdict] = []

    def failed() -> bool:  # a later segment, a new file, takes records again: so the first failure is what is looked at
        said.append(server.screen(BENIGN))
        return server.metric("interlock_audit_records_total", result="failed") > 0

    server.eventually(failed)

    assert pb.DECISION_RELEASE == said[0].decision
    assert released is (said[-1].decision == pb.DECISION_RELEASE)
    assert ([] if released else ["AUDIT_FAILED"]) == reasons(said[-1])
    assert "the audit log cannot be written" in server.log


def test_shadow_policies_are_compared_and_never_enforced(start_server: StartServer, tmp_path: Path):
    """What they would have said is counted and recorded."""
    strict = policy_content(list(MEMBERS))
    rule = {"weight": 1.0, "offset": -2.0, "clear_below": -2.0}  # a score of 0.15 is not clear
    for category in strict["profiles"]["balanced"]["categories"].values():
        category["members"] = dict.fromkeys(MEMBERS, rule)
    server = start_server(
        audit={"folder": str(tmp_path / "log"), "mode": "required"}, shadow_policies={"strict": strict}
    )
    for name in MEMBERS:
        server.script(name, default=0.15)
    verdict = server.screen()
    (record,) = verdicts(tmp_path / "log")

    assert pb.DECISION_RELEASE == verdict.decision
    assert "WITHHOLD" == record.shadows["strict"].decision
    flips = {"policy": "strict", "from": "RELEASE", "to": "WITHHOLD"}
    assert 1 == server.metric("interlock_shadow_flips_total", **flips)
