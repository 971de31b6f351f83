"""LitServe: worker processes behind a FastAPI front, joined by queues. Arguments: PORT FRONTS."""

import sys

import litserve

from peers.ensemble import Ensemble
from peers.servers.limits import REJECT, WAIT_MAX_MS

WORKERS = 2


class Scorer(litserve.LitAPI):
    """One worker's ensemble."""

    def setup(self, device: str) -> None:
        """Loads the ensemble in the worker."""
        self._ensemble = Ensemble()

    def predict(self, request: dict[str, str]) -> dict[str, list[float]]:
        """Scores one request."""
        return {"scores": self._ensemble.score(request["prompt"], request["completion"])}


if __name__ == "__main__":
    port, fronts = map(int, sys.argv[1:])
    server = litserve.LitServer(
        Scorer(api_path="/score"),
        accelerator="cpu",
        workers_per_device=WORKERS,
        fast_queue=True,
        timeout=WAIT_MAX_MS / 1000 if REJECT else 30,
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=fronts,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
