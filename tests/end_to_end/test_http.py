"""The HTTP side: metrics that stock dashboards can read, and a health page."""

import pytest
from fakes import BENIGN, HARMFUL
from prometheus_client.parser import text_string_to_metric_families

from .server import Server

# DESIGN.md 11, as far as it is built.
FAMILIES = {
    "interlock_verdicts",
    "interlock_withheld",
    "interlock_dissent",
    "interlock_missing",
    "interlock_screen_seconds",
    "interlock_member_seconds",
    "interlock_queue_depth",
    "interlock_margin",
    "interlock_disagreement",
    "interlock_member_score",
    "interlock_enforcement_observed",
    "interlock_admission_refused",
    "interlock_breaker_state",
    "interlock_certificate_valid",
    "interlock_info",
    "grpc_server_started",
    "grpc_server_handled",
    "grpc_server_handling_seconds",
}


def test_the_metrics_page_has_every_family(server: Server):
    """And a parser can read it."""
    status, page = server.get("/metrics")

    assert 200 == status
    assert {family.name for family in text_string_to_metric_families(page)} >= FAMILIES


def test_a_verdict_is_counted_once(server: Server):
    """By decision and first reason."""
    labels = {"decision": "WITHHOLD", "reason": "HARMFUL"}
    before = server.metric("interlock_verdicts_total", **labels)
    server.screen(HARMFUL)

    assert 1 == server.metric("interlock_verdicts_total", **labels) - before


def test_rpcs_are_counted_by_code(server: Server):
    """In the words of the dashboards."""
    labels = {"grpc_service": "interlock.v1.SafetyFilterService", "grpc_method": "Screen", "grpc_type": "unary"}
    before = {
        code: server.metric("grpc_server_handled_total", **labels, grpc_code=code) for code in ("OK", "InvalidArgument")
    }
    server.screen()
    with pytest.raises(Exception, match="profile"):
        server.screen(profile="lenient")

    after = {code: server.metric("grpc_server_handled_total", **labels, grpc_code=code) for code in before}
    assert {"OK": 1, "InvalidArgument": 1} == {code: after[code] - before[code] for code in before}


def test_what_runs_is_a_metric(server: Server):
    """The digests of bundle and policy, as verdicts have them."""
    digests = server.screen(BENIGN).digests

    assert 1 == server.metric("interlock_info", bundle=digests.bundle, policy=digests.policy, provider="script")


def test_nothing_is_in_flight_in_the_end(server: Server):
    """What was begun is ended, and counted as such."""
    server.screen()

    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/healthz", 200), ("/", 404), ("/metricsx", 404), ("/../etc/passwd", 404), ("/healthz?a=b", 200)],
)
def test_other_pages_are_not_there(server: Server, path: str, status: int):
    """Metrics and health, nothing else."""
    assert status == server.get(path)[0]
