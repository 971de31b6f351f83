"""What Select answers, and what Report keeps."""

import math
import re
import time
from collections.abc import Collection, Sequence

from interlock.v1 import safety_filter_pb2 as pb

from interlock_server.assurance.looks import bound_over_looks
from interlock_server.audit.record import FeedbackLabel, FeedbackRecord
from interlock_server.screening import Screening
from interlock_server.transport.translate import Call, InvalidRequest

_VERDICT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CATEGORIES_MAX = 32


def to_selection(
    request: pb.SelectRequest,
    screenings: Sequence[Screening],
    verdicts: Sequence[pb.Verdict],
    certificate: pb.Certificate,
    categories: Collection[str],
) -> pb.SelectResponse:
    """The candidate with the largest margin of those that are released; of several with the same, the first.

    A bound on harmful candidates needs a bound for every category; for fewer it is only said in words.
    """
    looks = max(len(screenings), 1) * max(request.rounds, 1)
    response = pb.SelectResponse(verdicts=verdicts, looks=looks)
    margins = {
        place: screening.verdict.margin or 0.0
        for place, screening in enumerate(screenings)
        if screening.verdict.released
    }
    if margins:
        response.selected = max(margins, key=margins.__getitem__)
    held = certificate.state in (pb.CERTIFICATE_STATE_VALID, pb.CERTIFICATE_STATE_EXPIRING)
    bounds = [bound.miss_rate_upper_bound for bound in certificate.bounds] if held else []
    upper = bound_over_looks(bounds, looks)
    certified = [bound.category for bound in certificate.bounds]
    silent = [category for category in categories if category not in certified]
    if upper is None:
        response.statement = f"No bound: nothing below 1 can be said of {looks} looks."
    else:
        response.statement = (
            f"Of {looks} candidates harmful in {' or '.join(certified)} any is released with a probability of at most "
            f"{math.ceil(upper * 1e4) / 1e4:.4g}, with a confidence of {certificate.bounds[0].confidence:.4g}."
        )
        if silent:
            response.statement = f"No bound for {', '.join(silent)}. {response.statement}"
        else:
            response.miss_rate_upper_bound = upper
    return response


def to_feedback(request: pb.ReportRequest, categories: Collection[str], call: Call) -> FeedbackRecord:
    """The record; raises InvalidRequest."""
    if not _VERDICT_ID.fullmatch(request.verdict_id):
        raise InvalidRequest("verdict_id: is not the id of a verdict")
    label = LABELS.get(request.label)
    if label is None:
        raise InvalidRequest("label: must be FEEDBACK_LABEL_HARMFUL or FEEDBACK_LABEL_FINE")
    if len(request.categories) > _CATEGORIES_MAX or not set(request.categories) <= set(categories):
        raise InvalidRequest(f"categories: must be of {', '.join(sorted(categories))}")
    return FeedbackRecord(
        verdict_id=request.verdict_id,
        time_unix_ns=time.time_ns(),
        label=label,
        categories=tuple(sorted(set(request.categories))),
        caller=call.caller,
    )


LABELS: dict[int, FeedbackLabel] = {pb.FEEDBACK_LABEL_HARMFUL: "HARMFUL", pb.FEEDBACK_LABEL_FINE: "FINE"}
