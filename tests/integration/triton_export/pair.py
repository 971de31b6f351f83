"""The same bundle served twice: with its models in the process, and with them on a Triton server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from end_to_end.server import Server
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.bundle.load import Bundle
from triton_export.exported import Exported
from tritonserver.server import TritonServer


class Seen(NamedTuple):
    """A verdict, and the scores behind it."""

    released: bool
    reasons: tuple[int, ...]
    scores: dict[tuple[str, str], float]


class Pair(NamedTuple):
    """Both servers, ready."""

    near: Server
    far: Server


@contextmanager
def both(folder: Path, found: Exported) -> Iterator[Pair]:
    """Starts Triton, and whoever asks it or does not."""
    with ExitStack() as stack:
        triton = TritonServer(found.models)
        stack.callback(triton.kill)
        endpoint = triton.wait_ready().endpoint
        servers = []
        for name, bundle, endpoints in (("near", found.local, []), ("far", found.remote, [endpoint])):
            (folder / name).mkdir()
            servers.append(
                Server(folder / name, bundle=_patient(folder / name, bundle), triton={"endpoints": endpoints})
            )
            stack.callback(servers[-1].stop)
        yield Pair(*(server.wait_ready() for server in servers))


def seen(server: Server, completion: str, prompt: str = "") -> Seen:
    """What it says of an exchange, all of it."""
    verdict = server.screen(completion, prompt=prompt, detail=pb.DETAIL_FULL)
    scores = {(m.member, score.category): score.score for m in verdict.members for score in m.scores}
    return Seen(verdict.decision == pb.DECISION_RELEASE, tuple(verdict.reasons), scores)


def _patient(folder: Path, bundle: Bundle) -> dict[str, str]:
    """The bundle under its own policy, but with time for a busy machine."""
    content = yaml.safe_load((bundle.path / bundle.manifest.policy).read_text())
    policy = folder / "patient.yaml"
    policy.write_text(yaml.safe_dump({**content, "latency_budget_ms": 30_000}))
    return {"path": str(bundle.path), "digest": bundle.digest, "policy": str(policy)}
