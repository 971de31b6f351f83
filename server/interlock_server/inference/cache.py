"""Evidence that is kept for exchanges which come again. Scores are kept, never verdicts: every request is decided afresh.

Off by default. Kept apart by caller unless asked otherwise, since a fast answer tells who sends it that somebody asked
the same before.
"""

import hashlib
from collections import OrderedDict
from dataclasses import replace

from interlock_server.inference.panel import Answer


class EvidenceCache:
    """At most `entries_max` answers, the least recently used going first. For one event loop, and one bundle."""

    def __init__(self, entries_max: int, across_callers: bool, bundle_digest: str) -> None:
        self._entries_max = entries_max
        self._across_callers = across_callers
        self._bundle_digest = bundle_digest
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def key(self, prompt: bytes, completion: bytes, caller: str) -> bytes:
        """A digest of all that the scores depend on, and of whom they are for. Lengths keep the parts apart."""
        parts = (self._bundle_digest.encode(), b"" if self._across_callers else caller.encode(), prompt, completion)
        hasher = hashlib.sha256()
        for part in parts:
            hasher.update(len(part).to_bytes(8, "big") + part)
        return hasher.digest()

    def get(self, key: bytes) -> Answer | None:
        """What every member said of it, if that is kept."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: bytes, answer: Answer) -> None:
        """Keeps an answer, if every member has said all there is to say; what is missing today may be there tomorrow."""
        evidence = [report.evidence for report in answer.reports]
        if not evidence or not all(each.missing is None and each.coverage_complete for each in evidence):
            return
        reports = (replace(report, queue_s=0.0, read_s=0.0, infer_s=0.0) for report in answer.reports)
        self._answers[key] = Answer(tuple(reports), ood_pvalue=answer.ood_pvalue)  # neither the text nor its views
        if len(self._answers) > self._entries_max:
            self._answers.popitem(last=False)
