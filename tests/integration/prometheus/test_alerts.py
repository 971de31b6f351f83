"""Alerts of a real Prometheus over real services: each fires because the thing happens, and where nothing happens none does."""

import pytest

from .outages import CERTIFICATE, DISK, GONE, LOAD, MEMBER, STRANGE, WELL
from .watching import Prometheus


@pytest.mark.parametrize(
    ("job", "alert"),
    [
        (GONE, "InterlockDown"),
        (MEMBER, "InterlockRequiredMemberDown"),
        (MEMBER, "InterlockErrorBudgetBurnsFast"),
        (MEMBER, "InterlockConservativeShare"),
        (CERTIFICATE, "InterlockCertificateLapsed"),
        (CERTIFICATE, "InterlockReloadFailed"),
        (CERTIFICATE, "InterlockDissentSpike"),
        (DISK, "InterlockAuditFailing"),
        (LOAD, "InterlockRefuses"),
        (LOAD, "InterlockQueueGrows"),
        (STRANGE, "InterlockDriftLatched"),
    ],
)
def test_an_alert_fires_when_the_thing_happens(watched: Prometheus, job: str, alert: str):
    """At the service that it happens to."""
    watched.eventually(lambda: alert in watched.firing(job), f"{job} {alert}")


def test_no_alert_fires_at_a_service_that_is_well(watched: Prometheus):
    """At any time, although a tenth of what it is asked is harmful and its members differ now and then."""
    watched.eventually(lambda: "InterlockQueueGrows" in watched.firing(LOAD))  # which takes as long as any of them

    assert set() == watched.firing(WELL, ever=True)


def test_an_outage_is_told_from_dissent(watched: Prometheus):
    """Neither is taken for the other."""
    watched.eventually(lambda: watched.firing(MEMBER) and watched.firing(CERTIFICATE))

    assert "InterlockDissentSpike" not in watched.firing(MEMBER, ever=True)
    assert not {"InterlockRequiredMemberDown", "InterlockConservativeShare"} & watched.firing(CERTIFICATE, ever=True)
