"""Where units are decided: in this process, on the cores of this machine, or on a Ray cluster. The function and the merge are
the same, so that the figures are.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from interlock_server.errors import ConfigError, InterlockError

from interlock_lab.replay.redecide import Job, Plan, redecide_unit
from interlock_lab.replay.tally import Tally

Numbered = Sequence[tuple[int, Job]]
Tallies = Generator[tuple[int, Tally], None, None]
IN_FLIGHT_PER_WORKER = 2
RAY_NEEDED = "--engine ray: needs interlock[ray]; ray is not installed"


class EngineError(InterlockError):
    """A worker died; what was finished before is in the file of --resume."""


def local(jobs: Numbered, plan: Plan, workers: int) -> Tallies:
    """On so many processes; one is this one."""
    if workers == 1 or len(jobs) == 1:
        yield from ((number, redecide_unit(job, plan)) for number, job in jobs)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_interrupts_to_the_parent)
    try:
        yield from _bounded(
            jobs,
            workers,
            submit=lambda job: pool.submit(redecide_unit, job, plan),
            finished=lambda pending: wait(pending, return_when=FIRST_COMPLETED).done,
            result=lambda future: future.result(),
        )
    except BrokenProcessPool:
        raise EngineError("a worker process died, perhaps for want of memory; try fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def on_ray(jobs: Numbered, plan: Plan, workers: int, address: str | None) -> Tallies:
    """As tasks: of a cluster that is there, or of one that is started on this machine for the while."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(RAY_NEEDED) from None
    place: dict[str, Any] = (
        {"num_cpus": workers, "include_dashboard": False} if address is None else {"address": address}
    )
    ray.init(**place, log_to_driver=False, logging_level=logging.ERROR)
    try:
        task, shared = ray.remote(redecide_unit), ray.put(plan)
        yield from _bounded(
            jobs,
            workers if address is None else int(ray.cluster_resources().get("CPU", 1)),
            submit=lambda job: task.remote(job, shared),
            finished=lambda pending: ray.wait(list(pending), num_returns=1)[0],
            result=ray.get,
        )
    except ray.exceptions.RayError as error:
        raise EngineError(f"a task failed on Ray: {type(error).__name__}") from None
    finally:
        ray.shutdown()


def _bounded(
    jobs: Numbered,
    workers: int,
    submit: Callable[[Job], Any],
    finished: Callable[[Iterable[Any]], Iterable[Any]],
    result: Callable[[Any], Tally],
) -> Tallies:
    """Keeps every worker busy and no more waiting than that; tallies come as they are finished."""
    pending: dict[Any, int] = {}
    for number, job in jobs:
        pending[submit(job)] = number
        if len(pending) >= IN_FLIGHT_PER_WORKER * workers:
            yield from _taken(pending, finished, result)
    while pending:
        yield from _taken(pending, finished, result)


def _taken(
    pending: dict[Any, int], finished: Callable[[Iterable[Any]], Iterable[Any]], result: Callable[[Any], Tally]
) -> Tallies:
    for handle in finished(pending.keys()):
        yield pending.pop(handle), result(handle)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
