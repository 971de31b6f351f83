"""FastAPI as one would write it: the event loop takes requests, the ensemble runs in a pool of threads.

uvicorn starts it; PEER_THREADS is the size of each process's pool.
"""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from peers.ensemble import Ensemble
from peers.servers.limits import QUEUE_MAX, REJECT, WAIT_MAX_MS

THREADS = int(os.environ["PEER_THREADS"])

app = FastAPI(openapi_url=None)
ensemble = Ensemble()
pool = ThreadPoolExecutor(THREADS)
pending: set[object] = set()


class Body(BaseModel):
    """A request to score."""

    prompt: str
    completion: str


@app.post("/score")
async def score(body: Body) -> JSONResponse:
    """The scores, or 503 where limits are on and there is too much to do."""
    if REJECT and len(pending) >= QUEUE_MAX + THREADS:
        return JSONResponse({"error": "queue full"}, 503)
    ticket = object()
    pending.add(ticket)
    try:
        scores = await asyncio.get_running_loop().run_in_executor(pool, score_in_time, body, time.monotonic())
    finally:
        pending.discard(ticket)
    return JSONResponse({"scores": scores}) if scores else JSONResponse({"error": "waited too long"}, 503)


def score_in_time(body: Body, since_s: float) -> list[float]:
    """Runs in the pool; empty when the request has waited too long by now."""
    if REJECT and time.monotonic() - since_s > WAIT_MAX_MS / 1000:
        return []
    return ensemble.score(body.prompt, body.completion)
