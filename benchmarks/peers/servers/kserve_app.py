"""KServe's model server: gRPC in front, the ensemble in a pool of threads. Arguments: --grpc_port and others of KServe."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

from peers.ensemble import Ensemble

THREADS = 2
NAME = "ensemble"


class Scorer(Model):
    """The ensemble under its name."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self._ensemble = Ensemble()
        self._pool = ThreadPoolExecutor(THREADS)
        self.ready = True

    async def predict(self, payload: InferRequest, headers: object = None, response_headers: object = None) -> object:
        """Scores one request."""
        texts = {tensor.name: _text(tensor.as_numpy()[0]) for tensor in payload.inputs}
        loop = asyncio.get_running_loop()
        scores = await loop.run_in_executor(self._pool, self._ensemble.score, texts["prompt"], texts["completion"])
        output = InferOutput("scores", [len(scores)], "FP32")
        output.set_data_from_numpy(np.array(scores, dtype=np.float32), binary_data=True)
        return InferResponse(payload.id or "", NAME, [output])


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    logging.disable(logging.INFO)
    ModelServer().start([Scorer()])
