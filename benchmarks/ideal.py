"""The ideal queue: requests in order of arrival, as many servers as lanes, the measured service times, no overhead. PURE."""

import heapq
import random
from collections.abc import Sequence


def poisson_arrivals(rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """The schedule of an open loop, in seconds from its start; the load generator uses the same."""
    source = random.Random(seed)
    arrivals = []
    at_s = source.expovariate(rate_per_s)
    while at_s < seconds:
        arrivals.append(at_s)
        at_s += source.expovariate(rate_per_s)
    return arrivals


def responses_s(arrivals_s: Sequence[float], services_s: Sequence[float], servers: int) -> list[float]:
    """The time from arrival to the end of service; request i takes `services_s[i]`, cyclically."""
    free_s = [0.0] * servers
    responses = []
    for place, arrival_s in enumerate(arrivals_s):
        begun_s = max(arrival_s, heapq.heappop(free_s))
        ended_s = begun_s + services_s[place % len(services_s)]
        heapq.heappush(free_s, ended_s)
        responses.append(ended_s - arrival_s)
    return responses
