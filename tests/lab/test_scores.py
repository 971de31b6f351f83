from interlock_lab.scores import asked, member_scores
from interlock_lab.training.rows import BENIGN, CATEGORIES, Row
from interlock_server.decision.evidence import Evidence, MemberEvidence, not_asked
from interlock_server.decision.verdict import Reason

ROWS = [Row(id=name, source="s", completion="x", labels=BENIGN, label_source="t") for name in ("a", "b")]
SCORED = Evidence((MemberEvidence("m", dict.fromkeys(CATEGORIES, 0.25), coverage_complete=True),))


def test_rows_that_nobody_was_asked_about_are_left_out() -> None:
    """A text that is refused as unreadable has no scores to fit anything on."""
    rows, evidence = asked(ROWS, [not_asked(("m",), Reason.INPUT_UNREADABLE), SCORED])

    assert (["b"], [SCORED]) == ([row.id for row in rows], evidence)
    assert [[0.25] * 4] == member_scores(evidence)["m"].tolist()
