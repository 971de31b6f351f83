"""Overload limits of the `_reject` peers, passed in the environment; a peer without them queues whatever comes."""

import os

REJECT = os.environ.get("PEER_REJECT") == "1"
QUEUE_MAX = 16
"""Requests that may wait; a full queue of the default ensemble is about 100 ms of work on two cores."""
WAIT_MAX_MS = 60
"""How long one may wait before it is refused instead of scored; the rest of 100 ms is for scoring it."""
