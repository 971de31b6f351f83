"""Being ready and going away: health, reflection, drain, and what a server says when it cannot start."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from fakes import BENIGN, write_bundle
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from interlock.v1 import safety_filter_pb2 as pb

from .conftest import StartServer
from .server import PATIENT_S, Server, free_port, launch

SERVICE = "interlock.v1.SafetyFilterService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def check(server: Server, service: str = "") -> int:
    return int(server.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENT_S).status)


@pytest.mark.parametrize("service", ["", SERVICE])
def test_a_warm_server_is_serving(server: Server, service: str):
    """As a whole, and its service by name."""
    assert SERVING == check(server, service)


def test_an_unknown_service_is_not_found(server: Server):
    """As the protocol of health checks has it."""
    with pytest.raises(grpc.RpcError) as caught:
        check(server, "nobody")

    assert grpc.StatusCode.NOT_FOUND == caught.value.code()  # type: ignore[attr-defined]


def test_reflection_lists_the_service(server: Server):
    """So that grpcurl needs no files."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    answers = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=PATIENT_S
    )
    listed = {service.name for service in next(answers).list_services_response.service}

    assert {SERVICE, "grpc.health.v1.Health"} <= listed


def test_a_server_serves_from_warm_to_drain(start_server: StartServer):
    """Watched from its first moment: NOT_SERVING until every member is warm, SERVING, and NOT_SERVING again."""
    port, http_port = free_port(), free_port()
    server = start_server(
        ready=False,
        address=f"127.0.0.1:{port}",
        transport={"http_address": f"127.0.0.1:{http_port}", "drain_seconds": 1.0},
        scripts={"alpha": {"mode": "hang"}},  # until the golden exchanges are let through
    )
    server.connect(f"127.0.0.1:{port}")
    watch = server.health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENT_S)

    assert NOT_SERVING == next(watch).status
    with pytest.raises(grpc.RpcError, match="the members are not warm yet"):
        server.screen()
    server.http = f"http://127.0.0.1:{http_port}"
    assert (503, "not serving\n") == server.get("/healthz")

    server.script("alpha")
    assert SERVING == next(watch).status
    server.terminate()
    assert NOT_SERVING == next(watch).status
    assert 0 == server.stop()


def test_a_lost_member_is_not_a_lost_server(server: Server):
    """A shared outage must not turn verdicts into connection errors everywhere at once."""
    server.script("alpha", mode="crash")
    server.screen()

    assert SERVING == check(server)


def refuses(server: Server) -> bool:
    """Whether a new call finds no server."""
    try:
        server.screen("")  # answered at once by a server that still takes calls
    except grpc.RpcError:
        return True
    return False


def test_draining_does_not_wait_for_health_watchers(start_server: StartServer):
    """A watch never ends by itself; a drain of a minute would otherwise take that minute."""
    server = start_server(transport={"drain_seconds": 600.0})
    watch = server.health.Watch(health_pb2.HealthCheckRequest())
    assert SERVING == next(watch).status

    server.terminate()
    assert 0 == server.stop()


def test_draining_finishes_what_is_under_way(start_server: StartServer):
    """The answer is a verdict, nothing new is begun, and the exit is clean."""
    server = start_server()
    server.script("alpha", mode="slow", seconds=3.0)
    call = server.screen_later()
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 1)
    server.terminate()

    server.eventually(lambda: refuses(server))
    assert pb.DECISION_RELEASE == call.result(PATIENT_S).verdict.decision
    assert 0 == server.stop()


def start_and_fail(config: Path, tmp_path: Path) -> tuple[int, str]:
    """Exit code and stderr of a server that does not start."""
    stderr = tmp_path / "failing.txt"
    process = launch(config, stderr)
    try:
        return process.wait(PATIENT_S), stderr.read_text()
    finally:
        process.kill()


def test_a_port_in_use_is_said(server: Server, tmp_path: Path):
    """With the setting and the address, and an exit code that restarts nothing by mistake."""
    text = server.config.read_text().replace("address: 127.0.0.1:0", f"address: {server.target}", 1)
    config = tmp_path / "interlock.yaml"
    config.write_text(text)
    code, stderr = start_and_fail(config, tmp_path)

    assert 1 == code
    assert f"interlock: transport.address: cannot listen on {server.target}; is the port in use?" in stderr
    assert "Traceback" not in stderr


def test_an_http_port_in_use_is_said(server: Server, tmp_path: Path):
    """As for gRPC."""
    address = server.http.removeprefix("http://")
    config = tmp_path / "interlock.yaml"
    config.write_text(server.config.read_text().replace("http_address: 127.0.0.1:0", f"http_address: {address}"))
    code, stderr = start_and_fail(config, tmp_path)

    assert 1 == code
    assert f"interlock: transport.http_address: cannot listen on {address}" in stderr
    assert "Traceback" not in stderr


def test_an_altered_member_is_not_served(tmp_path: Path):
    """Its scores are not those of the golden exchanges; the message quotes nothing of them."""
    server = Server(tmp_path, scripts={"alpha": {"default": 0.5}})
    code = server.process.wait(PATIENT_S)

    assert 1 == code
    assert "interlock: member alpha: violence_injury of golden exchange 1 is off by 0.490" in server.log
    assert BENIGN not in server.log


def test_another_bundle_than_the_pinned_one_is_not_served(tmp_path: Path):
    """What a bundle says of itself authenticates nothing."""
    server = Server(tmp_path)
    server.process.kill()
    server.process.wait(PATIENT_S)
    write_bundle(server.bundle, latency_budget_ms=1)
    code, stderr = start_and_fail(server.config, tmp_path)

    assert 1 == code
    assert "is pinned" in stderr


def test_many_callers_are_served_at_once(server: Server):
    """With two lanes."""
    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(lambda _: server.released(), range(64)))
