"""mosec: a front in Rust and worker processes that take one request at a time. Arguments are mosec's own."""

from mosec import Server, Worker

from peers.ensemble import Ensemble

WORKERS = 2


class Scorer(Worker):
    """One process with its own ensemble; JSON in and out is mosec's default."""

    def __init__(self) -> None:
        super().__init__()
        self._ensemble = Ensemble()

    def forward(self, data: dict[str, str]) -> dict[str, list[float]]:
        """Scores one request."""
        return {"scores": self._ensemble.score(data["prompt"], data["completion"])}


if __name__ == "__main__":
    server = Server()
    server.append_worker(Scorer, num=WORKERS, route="/score")
    server.run()
