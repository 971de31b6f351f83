"""Whether to begin, and whether to go on. Pure: a prediction and the time left go in, a yes or no comes out.

Answering "no" at once is worth more than a verdict after the deadline. An idle engine never refuses: after one slow run
its predictions may be far too high, and only the next run mends them.
"""

_BYTES_PER_LANE = 1_024  # a text of less is one window of the slowest member, which only one lane can score


def may_begin(*, ahead_s: float, own_s: float, size_bytes: int, lanes: int, left_s: float, share: float) -> bool:
    """Whether a text that takes `own_s` would be done within `share` of the time left, behind `ahead_s` of other work.

    The work ahead is spread over all lanes; the text's own only as far as it has windows to spread.
    """
    own_lanes = min(lanes, 1 + max(size_bytes, 0) // _BYTES_PER_LANE)
    return ahead_s / lanes + own_s / own_lanes <= share * left_s


def may_go_on(*, next_s: float, left_s: float, others_wait: bool) -> bool:
    """The second look, before each step: whether it can end in time, so that it does not keep others from theirs."""
    return left_s > 0 and (not others_wait or next_s <= left_s)
