"""The edge by itself: a real gRPC server on the test's event loop, and behind it a filter whose members always answer."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import yaml
from fakes import BENIGN, CATEGORIES, write_bundle
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc
from interlock_server.access.access import Access
from interlock_server.access.settings import AccessSettings
from interlock_server.access.tokens import token_digest
from interlock_server.bundle.load import load_bundle
from interlock_server.decision.evidence import MemberEvidence
from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter
from interlock_server.inference.panel import Answer, Question
from interlock_server.inference.scoring import MemberReport
from interlock_server.metrics import Metrics
from interlock_server.transport.server import GrpcServer
from interlock_server.transport.service import SafetyFilterService
from interlock_server.transport.serving import Serving
from interlock_server.transport.settings import TlsSettings, TransportSettings
from interlock_server.transport.tls import Tls

TOKEN = "ilk_the-token-of-the-generator"
PATIENT_S = 20.0


class FixedPanel:
    """Every member gives every text that can be read the same score."""

    members = ()

    def __init__(self, names: tuple[str, ...], score: float) -> None:
        self._names = names
        self._score = score

    async def ask(self, question: Question) -> Answer:
        """At once."""
        opened = question.opening()
        if isinstance(opened, Reason):
            return Answer(refused=opened)
        return Answer(tuple(map(self._report, self._names)), opened)

    def _report(self, name: str) -> MemberReport:
        evidence = MemberEvidence(name, dict.fromkeys(CATEGORIES, self._score), coverage_complete=True)
        return MemberReport(evidence, dict.fromkeys(CATEGORIES, (0, 1)))


class Edge:
    """`async with Edge(...) as edge`: a server with these settings, callers and certificates."""

    def __init__(
        self,
        folder: Path,
        callers: list[dict[str, Any]] | None = None,
        tls: TlsSettings | None = None,
        score: float = 0.01,
        **transport: Any,
    ) -> None:
        write_bundle(folder / "bundle", latency_budget_ms=20_000)
        self.file = write_callers(folder, callers) if callers is not None else None
        self.metrics = Metrics()
        self.access = Access(AccessSettings(file=str(self.file) if self.file else None), self.metrics)
        self.tls = Tls(tls, self.metrics) if tls else None
        settings = TransportSettings(address="127.0.0.1:0", http_address="127.0.0.1:0", drain_seconds=0, **transport)
        self.service = SafetyFilterService(settings, self.metrics)
        self.server = GrpcServer(settings, self.service, self.metrics, self.access, self.tls)
        policy = load_bundle(folder / "bundle").policy
        panel: Any = FixedPanel(tuple(policy.members), score)
        self.filter = SafetyFilter(panel, policy, 0.0, self.metrics)

    async def __aenter__(self) -> "Edge":
        self.service.begin(Serving(self.filter, pb.GetEnsembleResponse(categories=CATEGORIES)))
        await self.server.start()
        await self.server.say_serving()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}", _LOCAL)
        self.stub = pb_grpc.SafetyFilterServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.drain(self.service.idle)

    def secure_channel(self, *credentials: bytes | None) -> grpc.aio.Channel:
        """A channel over TLS, with `grpc.ssl_channel_credentials(*credentials)`."""
        options = [*_LOCAL, ("grpc.default_authority", "localhost")]
        given = grpc.ssl_channel_credentials(*credentials)
        return grpc.aio.secure_channel(f"127.0.0.1:{self.server.port}", given, options)

    async def screen(self, completion: str = BENIGN, token: str | None = TOKEN, **asked: Any) -> pb.Verdict:
        """A verdict, for whoever has this token."""
        metadata = asked.pop("metadata", ())
        said = [*metadata, *([("authorization", f"Bearer {token}")] if token is not None else [])]
        request = pb.ScreenRequest(exchange=pb.Exchange(completion=completion.encode()), **asked)
        response: pb.ScreenResponse = await self.stub.Screen(request, timeout=PATIENT_S, metadata=said)
        return response.verdict

    async def open_stream(self, metadata: Any = ()) -> Any:
        """A completion that is being written, once the server knows of it."""
        call = self.stub.ScreenStream(timeout=PATIENT_S, metadata=metadata)
        await call.write(pb.ScreenStreamRequest(start=pb.ScreenStreamStart()))
        while not self.counted("interlock_streams_active"):  # noqa: ASYNC110 - nothing but the metrics says so
            await asyncio.sleep(0.005)
        return call

    def counted(self, name: str, **labels: str) -> float:
        """A sample of the metrics."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


_LOCAL = [("grpc.use_local_subchannel_pool", 1)]


def caller(name: str = "generator", token: str = TOKEN, **changes: Any) -> dict[str, Any]:
    """One caller of the file."""
    return {"name": name, "token_sha256": [token_digest(token)], "scopes": ["screen"], **changes}


def write_callers(folder: Path, callers: list[dict[str, Any]], **changes: Any) -> Path:
    """The file of callers."""
    path = folder / "callers.yaml"
    content: Mapping[str, Any] = {"format": 1, "callers": callers, **changes}
    draft = path.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(content))
    draft.replace(path)
    return path
