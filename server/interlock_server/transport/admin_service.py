"""The RPCs of operators. What is refused is an outcome, not an error: the server is as well as it was before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from interlock.admin.v1 import admin_pb2 as pb
from interlock.admin.v1 import admin_pb2_grpc as pb_grpc

from interlock_server.operating import CanaryStatus, Operated, Outcome
from interlock_server.transport.translate import CERTIFICATE_STATES, to_digests

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]

_TEXT_SIZE_MAX = 4_096


class AdminService(pb_grpc.AdminServiceServicer):
    """Operates one server; who may call it is for others to decide."""

    def __init__(self, operated: Operated) -> None:
        self._operated = operated

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """What is in force."""
        status = self._operated.status()
        return pb.GetStatusResponse(
            digests=to_digests(status.digests),
            certificate_state=CERTIFICATE_STATES[status.certificate],
            canary=_canary(status.canary) if status.canary is not None else None,
            last_reload=_outcome(status.last),
            generations=status.generations,
            reloading=status.reloading,
        )

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """All files again."""
        return pb.ReloadResponse(outcome=_outcome(await self._operated.reload("admin")))

    async def PromoteCanary(self, request: pb.PromoteCanaryRequest, context: Context) -> pb.PromoteCanaryResponse:
        """The policy on trial becomes the running one."""
        return pb.PromoteCanaryResponse(outcome=_outcome(await self._operated.promote(request.force)))

    async def AbortCanary(self, request: pb.AbortCanaryRequest, context: Context) -> pb.AbortCanaryResponse:
        """The trial ends."""
        return pb.AbortCanaryResponse(outcome=_outcome(await self._operated.abort()))


def _outcome(outcome: Outcome) -> pb.Outcome:
    at = Timestamp()
    at.FromMilliseconds(round(outcome.at_unix_s * 1000))
    return pb.Outcome(
        successful=outcome.successful,
        error=outcome.error[:_TEXT_SIZE_MAX],
        notes=outcome.notes,
        restart_needed=outcome.restart_needed,
        cause=outcome.cause,
        time=at,
    )


def _canary(canary: CanaryStatus) -> pb.CanaryStatus:
    tally = canary.tally
    return pb.CanaryStatus(
        name=canary.name,
        policy=canary.digest,
        share=canary.share,
        certificate_state=CERTIFICATE_STATES[canary.certificate],
        agreed=tally.agreed,
        enforced=tally.enforced,
        stricter=tally.stricter,
        looser=tally.looser,
        verdicts_min=canary.verdicts_min,
    )
