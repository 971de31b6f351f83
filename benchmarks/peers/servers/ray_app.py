"""Ray Serve: two replicas behind its HTTP proxy, in a Ray of its own that ends with this process. Argument: PORT."""

import asyncio
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import ray
from ray import serve
from starlette.requests import Request

from peers.ensemble import Ensemble
from peers.servers.limits import QUEUE_MAX, REJECT

OBJECT_STORE_BYTES = 80 << 20  # nearly the least that Ray allows; requests do not go through it
REPLICAS = 2
ONGOING_MAX = 100
"""At a replica, waiting or not. With few, the proxy asks the replicas again and again, and throughput falls to a fifth."""


@serve.deployment(
    num_replicas=REPLICAS,
    max_ongoing_requests=QUEUE_MAX // REPLICAS - 2 if REJECT else ONGOING_MAX,
    max_queued_requests=4 if REJECT else -1,  # at the proxy; with fewer it refuses two that come at the same time
    ray_actor_options={"num_cpus": 1},
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)
class Scorer:
    """One replica's ensemble."""

    def __init__(self) -> None:
        self._ensemble = Ensemble()
        self._lane = ThreadPoolExecutor(1)

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Scores one request; in a thread, so that the replica goes on talking to its proxy."""
        body = await request.json()
        loop = asyncio.get_running_loop()
        return {
            "scores": await loop.run_in_executor(self._lane, self._ensemble.score, body["prompt"], body["completion"])
        }


def main(port: int) -> None:
    """Serves until SIGTERM."""
    stopped = threading.Event()
    ray.init(
        num_cpus=REPLICAS,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=tempfile.gettempdir(),  # else it keeps the logs of every run
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Scorer.bind(), route_prefix="/score")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
