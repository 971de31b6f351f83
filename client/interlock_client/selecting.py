"""One call of Select, from candidates to the one to release, without I/O, as in screening.py.

The server names a candidate; what counts is its verdict, on the digest of that very candidate.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from interlock.v1 import safety_filter_pb2 as pb

from .requests import Question, Text
from .responses import bytes_of
from .retry import TokenBucket, retry_wait_s, worth_retrying
from .screening import SELECT, Attempt, Plan, Wait, attempt, begin, prepare, withheld_all
from .settings import ClientSettings
from .verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The candidate to release. `if selection:` is True only when there is one.

    `looks` and `miss_rate_upper_bound` say how likely it is that one of that many is released by mistake, `statement` the
    same in words; 0, None and "" where the server said nothing.
    """

    index: int | None = None
    text: Text | None = field(default=None, repr=False)
    verdicts: list[Verdict] = field(default_factory=list)
    looks: int = 0
    miss_rate_upper_bound: float | None = None
    statement: str = ""

    def __bool__(self) -> bool:
        return self.index is not None


def plan(
    question: Question,
    settings: ClientSettings,
    bucket: TokenBucket,
    clock: Callable[[], float] = time.monotonic,
) -> Plan[Selection]:
    """Judges the candidates of a question. After an outage all of them are asked about again: a selection is of all."""
    call = begin(SELECT, question, settings, clock)
    unsent, asked = prepare(question.exchanges, settings)
    first = _selection(question, unsent, (yield from attempt(call, asked)))
    bucket.record(first.verdicts)

    failed = [] if first else [verdict for verdict in first.verdicts if worth_retrying(verdict)]
    wait_s = retry_wait_s(failed, call.left_s(), settings.retry)
    if wait_s is None or not bucket.allows_retry:
        return first
    yield Wait(wait_s)
    second = _selection(question, unsent, (yield from attempt(call, asked)))
    bucket.record(second.verdicts)
    return first if _is_local(second.verdicts) and not _is_local(first.verdicts) else second


def none_of(error: Exception, question: Question, settings: ClientSettings) -> Selection:
    """The answer when the plan itself, or the client around it, failed."""
    return Selection(verdicts=withheld_all(error, question, settings))


def _selection(question: Question, unsent: dict[int, Verdict], answered: Attempt) -> Selection:
    by_position = unsent | answered.verdicts
    verdicts = [by_position[i] for i in range(len(question.exchanges))]
    if answered.reply is None:
        return Selection(verdicts=verdicts)
    response = pb.SelectResponse.FromString(bytes_of(answered.reply))
    positions = list(answered.verdicts)  # the server counts those that it was sent
    named = response.HasField("selected") and response.selected < len(positions)
    index = positions[response.selected] if named and by_position[positions[response.selected]] else None
    exchange = None if index is None else question.exchanges[index]
    bound = response.miss_rate_upper_bound
    return Selection(
        index=index,
        text=None if exchange is None else exchange.completion,
        verdicts=verdicts,
        looks=response.looks,
        miss_rate_upper_bound=bound if response.HasField("miss_rate_upper_bound") and 0.0 <= bound <= 1.0 else None,
        statement=response.statement,
    )


def _is_local(verdicts: Collection[Verdict]) -> bool:
    return all(verdict.local for verdict in verdicts)
