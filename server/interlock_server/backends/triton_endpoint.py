"""One Triton server as one member sees it: a connection, and the model that was found there, until there is doubt.

A model may be asked only over the connection on which it was looked at: behind a new one there may be another model.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as pb_grpc

from interlock_server.backends.backend import Check, ScoreError, Window, logistic
from interlock_server.backends.gate import Distances
from interlock_server.backends.triton_channel import Secrets, open_channel, read_secrets
from interlock_server.backends.triton_protocol import (
    Failure,
    Model,
    describe,
    infer_request,
    meaning,
    read_outputs,
)
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError, InterlockError
from interlock_server.trace_context import outgoing

WRONG_MODEL_S = 30.0
"""A server that has another model is not soon looked at again: that is many calls, and somebody has to do something first."""


class TritonEndpoint:
    """Belongs to the event loop on which it is made. `model` is None unless it may be asked."""

    def __init__(
        self,
        address: str,
        member: MemberManifest,
        distances: Distances | None,
        settings: TritonSettings,
        secrets: Secrets | None,
    ) -> None:
        self.address = address
        self.model: Model | None = None
        self.complaint = "it was not looked at yet"
        self.rests_until_s = 0.0
        self.look_again_s = 0.0
        self._name, self._version = member.runs.remote_model, member.runs.remote_version
        self._distances = distances
        self._outputs = {"logits": len(member.categories)} | ({"hidden": distances.width} if distances else {})
        self._connect_s, self._check_s = settings.connect_timeout_ms / 1000, settings.check_timeout_ms / 1000
        self._rest_s = settings.rest_ms / 1000
        self._settings, self._secrets = settings, secrets
        self._open()
        self._closed = False

    def usable(self) -> bool:
        """Whether the model that was looked at may be asked, as far as anybody can know."""
        if self.model is not None and self._channel.get_state() != grpc.ChannelConnectivity.READY:
            self.lose("the connection broke")
        return self.model is not None

    def lose(self, complaint: str) -> None:
        """The model is not asked any more until it has been looked at."""
        self.model, self.complaint = None, complaint

    async def look(self, check: Check) -> None:
        """Sets `model` if the server has the one that is expected; raises BackendError that says how it has not."""
        await self._renew()
        try:
            async with asyncio.timeout(self._connect_s):
                model = await self._described()
            async with asyncio.timeout(self._check_s):
                await check(lambda windows: self.ask(model, windows, self._check_s))
        except TimeoutError:
            raise self._error("it does not answer in time") from None
        except grpc.RpcError as error:
            raise self._error(f"it answers {error.code().name}") from None
        except ValueError as error:
            raise self._error(str(error)) from None
        except ScoreError as error:
            raise self._error(f"the model is there, but its scores are {error.cause}") from None
        except InterlockError as error:
            self.look_again_s = time.monotonic() + WRONG_MODEL_S
            raise self._error(str(error)) from None
        self.model = model

    async def ask(self, model: Model, windows: Sequence[Window], left_s: float) -> NDArray[np.float64]:
        """Scores; raises ScoreError. Being cancelled cancels the call, which the server then may drop."""
        request = infer_request(self._name, model, windows, left_s)
        try:
            answer = await self._stub.ModelInfer(request, timeout=left_s, metadata=outgoing())
        except grpc.RpcError as error:
            raise self._failed(meaning(error)) from None  # its message may quote ids
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task and not task.cancelling():  # gRPC says so when it is the channel that closes
                raise ScoreError("FAILED") from None
            raise
        self.rests_until_s = 0.0
        outputs = read_outputs(answer, model, len(windows))
        if outputs is None or not np.isfinite(outputs["logits"]).all():
            raise self._failed(Failure("INVALID", lost=True))
        scores = logistic(outputs["logits"].astype(np.float64))
        if self._distances is None:
            return scores
        return np.hstack([scores, self._distances(outputs["hidden"])[:, np.newaxis]])

    async def close(self) -> None:
        """Hangs up; calls under way fail."""
        self._closed = True
        await self._channel.close()

    def _open(self) -> None:
        self._channel = open_channel(self.address, self._secrets, self._settings)
        self._stub: Any = pb_grpc.GRPCInferenceServiceStub(self._channel)

    async def _renew(self) -> None:
        """Another connection if the certificates are others now."""
        try:
            secrets = await asyncio.to_thread(read_secrets, self._settings.tls)
        except BackendError as error:
            raise self._error(str(error)) from None
        if secrets != self._secrets:
            self._secrets, before = secrets, self._channel
            self._open()
            await before.close()

    async def _described(self) -> Model:
        """What the server says of itself and of the model; raises ValueError or RpcError."""
        if not (await self._stub.ServerLive(pb.ServerLiveRequest())).live:
            raise ValueError("it is not live")
        if not (await self._stub.ServerReady(pb.ServerReadyRequest())).ready:
            raise ValueError("it is not ready")
        which = {"name": self._name, "version": self._version}
        if not (await self._stub.ModelReady(pb.ModelReadyRequest(**which))).ready:
            raise ValueError("the model is not there, or not ready")
        metadata = await self._stub.ModelMetadata(pb.ModelMetadataRequest(**which))
        config = (await self._stub.ModelConfig(pb.ModelConfigRequest(**which))).config
        model = describe(metadata, config, self._outputs)
        return model._replace(version=self._version or model.version)

    def _failed(self, failure: Failure) -> ScoreError:
        if failure.lost:
            self.lose(f"a call was {failure.cause}")
        if failure.silent:
            self.rests_until_s = time.monotonic() + self._rest_s
        return ScoreError(failure.cause, failure.lost)

    def _error(self, complaint: str) -> BackendError:
        self.lose(complaint)
        version = f" version {self._version}" if self._version else ""
        return BackendError(f"{self.address}, model {self._name}{version}: {complaint}")
