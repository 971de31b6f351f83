"""BentoML: worker processes behind one port, each with a thread for its model. `bentoml serve` starts it."""

import bentoml

from peers.ensemble import Ensemble
from peers.servers.limits import QUEUE_MAX, REJECT

WORKERS = 2
TRAFFIC = {"timeout": 30, "max_concurrency": QUEUE_MAX // WORKERS + 1} if REJECT else {"timeout": 30}


@bentoml.service(workers=WORKERS, traffic=TRAFFIC, threads=1, logging={"access": {"enabled": False}})
class Scorer:
    """One worker's ensemble."""

    def __init__(self) -> None:
        self._ensemble = Ensemble()

    @bentoml.api(route="/score")
    def score(self, prompt: str, completion: str) -> dict[str, list[float]]:
        """Scores one request."""
        return {"scores": self._ensemble.score(prompt, completion)}
