"""The limit: the models alone, in a process of their own, score every text once, at its exact length, cut beforehand.

Only the text as it stands, in consecutive pieces without overlap: no views, no queue, no decision, no wire. Each thread
has one text at a time. The service times feed the ideal queue.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from figures import latencies, ratio, rounded
from interlock_server.app import load_members
from interlock_server.backends.backend import Backend, Run, Window
from interlock_server.bundle.load import load_bundle
from interlock_server.inference.scoring import Member
from interlock_server.text.exchange import Exchange
from servers import Bundle
from texts import CYCLE, Text, corpus

WARM_UP = 20


@dataclass(frozen=True)
class Task:
    """What to score. `texts` go through all threads, the first `alone_count` of them through one thread as well."""

    texts: str = "mixed"
    text_count: int = CYCLE
    threads: int = 2
    alone_count: int = 150
    bundle_path: str = Bundle.path
    bundle_digest: str = Bundle.digest


Work = list[tuple[str, Backend, list[Window]]]


def measure(task: Task) -> dict[str, Any]:
    """Has a process of its own do the task; returns its result."""
    command = [sys.executable, str(Path(__file__))]
    done = subprocess.run(command, input=json.dumps(asdict(task)), stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def performed(task: Task) -> dict[str, Any]:
    """Rate and service times with all threads busy; medians of one thread, for the ensemble and for each member."""
    members = load_members(load_bundle(Path(task.bundle_path), task.bundle_digest))
    works = [cut(members, text) for text in corpus(task.texts, task.text_count)]
    for work in works[:WARM_UP]:
        score(work)
    began_s = time.perf_counter()
    services_s = scored_by_threads(works, task.threads)
    took_s = time.perf_counter() - began_s
    alone = [score(work) for work in works[: task.alone_count]]
    return {
        "per_s": rounded(len(works) / took_s),
        "services_s": [round(service_s, 7) for service_s in services_s],
        "busy_over_alone": ratio(sum(services_s[: len(alone)]), sum(sum(times.values()) for times in alone)),
        "one_thread": {
            "ensemble": latencies([sum(times.values()) * 1000 for times in alone]),
            **{name: latencies([times[name] * 1000 for times in alone]) for name in alone[0]},
        },
    }


def cut(members: list[Member], text: Text) -> Work:
    """The windows of each member for one text, ready to be scored in one call for each window, or in one for all."""
    local = [(member.name, cast(Backend, member.backend)) for member in members]
    return [(name, backend, pieces(backend, text)) for name, backend in local]


def pieces(backend: Backend, text: Text) -> list[Window]:
    """Consecutive windows of the raw text: each is the first window of what the windows before it leave."""
    found: list[Window] = []
    rest = text.completion.encode()
    while rest:
        windows = [w for w in backend.read(Exchange(text.prompt, rest.decode())).windows if w.view == "raw"]
        apart = [w for w, after in pairwise(windows) if w.span[1] <= after.span[0]]
        if len(apart) == len(windows) - 1:
            return found + windows
        found.append(windows[0])
        rest = rest[windows[0].span[1] :]
    return found


def score(work: Work) -> dict[str, float]:
    """Seconds of each member for one text; its backend takes windows of equal length together, as it sees fit."""
    took_s = {}
    for name, backend, windows in work:
        begun_s = time.perf_counter()
        backend.score(windows, Run())
        took_s[name] = time.perf_counter() - begun_s
    return took_s


def scored_by_threads(works: list[Work], threads: int) -> list[float]:
    """Seconds of each text, in the order of the texts; each thread takes the next text when it is done with one."""
    services_s = [0.0] * len(works)
    places = iter(range(len(works)))
    lock = threading.Lock()

    def lane() -> None:
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            begun_s = time.perf_counter()
            score(works[place])
            services_s[place] = time.perf_counter() - begun_s

    lanes = [threading.Thread(target=lane) for _ in range(threads)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    return services_s


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    print(json.dumps(performed(Task(**json.load(sys.stdin)))))
