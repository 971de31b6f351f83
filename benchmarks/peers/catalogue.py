"""Every peer with the settings that did best on two cores; README.md says what else was tried."""

from .peer import SERVERS, Environment, Peer
from .servers.limits import QUEUE_MAX, WAIT_MAX_MS
from .triton_start import QUEUE_POLICY, triton_command

INTERLOCK = ("--editable", ".[server,cpu]")
REJECT = {"PEER_REJECT": "1"}
MOSEC_CAPACITY = 10  # counts those at work too; README.md has the figures behind it
MOSEC_TIMEOUT_MS = 100  # of the whole request, not only of its wait
_QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0"}
_QUIET_BENTOML = {"BENTOML_DO_NOT_TRACK": "True"}


def _environment(name: str, *packages: str) -> Environment:
    return Environment(name, ((*INTERLOCK, *packages),))


_FASTAPI = _environment("fastapi", "fastapi==0.165.0", "uvicorn[standard]==0.54.0")
_MOSEC = _environment("mosec", "mosec==0.9.8")
_LITSERVE = _environment("litserve", "litserve==0.2.19")
_BENTOML = _environment("bentoml", "bentoml==1.4.39")
_KSERVE = _environment("kserve", "kserve==0.21.0")
_RAY = _environment("ray", "ray[serve]==2.60.0")
_TRITON = Environment(
    "triton",
    (
        ("--no-deps", "nvidia-pytriton==0.7.0"),  # Triton 2.51
        # With numpy 2 its python backend sends empty outputs and says OK, so Interlock is not installed but on the path.
        (
            "numpy<2",
            "onnxruntime==1.31.1",
            "tokenizers>=0.21",
            "pydantic>=2.10",
            "pyyaml>=6.0",
            "prometheus-client>=0.21",
            "grpcio>=1.81.1",
            "protobuf>=6.33.5,<8",
            "grpcio-health-checking>=1.81.1",
            "grpcio-reflection>=1.81.1",
        ),
    ),
)


def _fastapi(environment: Environment, port: int, workers: int) -> list[str]:
    uvicorn = [str(environment.python), "-m", "uvicorn", "peers.servers.fastapi_app:app", "--host", "127.0.0.1"]
    speed = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [*uvicorn, "--port", str(port), "--workers", str(workers), *speed]


def _mosec(environment: Environment, port: int, *limits: str) -> list[str]:
    script = [str(environment.python), str(SERVERS / "mosec_app.py")]
    return [*script, "--address", "127.0.0.1", "--port", str(port), "--log-level", "warning", *limits]


def _litserve(environment: Environment, port: int) -> list[str]:
    return [str(environment.python), str(SERVERS / "litserve_app.py"), str(port), "1"]


def _ray(environment: Environment, port: int) -> list[str]:
    return [str(environment.python), str(SERVERS / "ray_app.py"), str(port)]


def _bentoml(environment: Environment, port: int) -> list[str]:
    serve = [str(environment.python), "-m", "bentoml", "serve", "peers.servers.bento_app:Scorer"]
    return [*serve, "--host", "127.0.0.1", "--port", str(port)]


def _kserve(environment: Environment, port: int) -> list[str]:
    script = [str(environment.python), str(SERVERS / "kserve_app.py"), "--grpc_port", str(port), "--http_port", "0"]
    return [*script, "--enable_latency_logging", "false", "--configure_logging", "false"]


_ONE_BY_ONE = "2 workers, b1"
_LIMITS = f"queue of {QUEUE_MAX}, {WAIT_MAX_MS} ms"

_LIST = (
    Peer(
        "fastapi", "http", "uvloop, httptools, 1 process, 2 threads, b1",
        _FASTAPI, lambda e, p: _fastapi(e, p, 1), {"PEER_THREADS": "2"},
    ),
    Peer(
        "fastapi_reject", "http", f"as fastapi, and limits of its own code: {_LIMITS}",
        _FASTAPI, lambda e, p: _fastapi(e, p, 1), {"PEER_THREADS": "2", **REJECT},
    ),
    Peer("mosec", "http", _ONE_BY_ONE, _MOSEC, _mosec),
    Peer(
        "mosec_reject", "http", f"as mosec, capacity {MOSEC_CAPACITY}, timeout {MOSEC_TIMEOUT_MS} ms",
        _MOSEC, lambda e, p: _mosec(e, p, "--capacity", str(MOSEC_CAPACITY), "--timeout", str(MOSEC_TIMEOUT_MS)),
    ),
    Peer("litserve", "http", f"{_ONE_BY_ONE}, fast queue, 1 front", _LITSERVE, _litserve),
    Peer("litserve_reject", "http", f"as litserve, timeout {WAIT_MAX_MS} ms", _LITSERVE, _litserve, REJECT),
    Peer("ray", "http", "2 replicas, b1, 100 ongoing requests each", _RAY, _ray, _QUIET_RAY),
    Peer("ray_reject", "http", f"as ray, {QUEUE_MAX} requests at once", _RAY, _ray, {**_QUIET_RAY, **REJECT}),
    Peer("triton", "triton", "2.51, python backend, 2 instances, b1", _TRITON, triton_command),
    Peer(
        "triton_reject", "triton", f"as triton, queue policy REJECT: {_LIMITS}",
        _TRITON, lambda e, p: triton_command(e, p, QUEUE_POLICY % (WAIT_MAX_MS * 1000, QUEUE_MAX)),
    ),
    Peer("bentoml", "http", f"{_ONE_BY_ONE}", _BENTOML, _bentoml, _QUIET_BENTOML),
    Peer("bentoml_reject", "http", f"as bentoml, max_concurrency {QUEUE_MAX}", _BENTOML, _bentoml, {**_QUIET_BENTOML, **REJECT}),
    Peer("kserve", "triton", "gRPC, 1 process, 2 threads, b1", _KSERVE, _kserve),
)  # fmt: skip
PEERS = {peer.name: peer for peer in _LIST}
