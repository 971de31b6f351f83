"""What docs/ensemble.md says of certificates, gate, drift and stories is what was measured of the bundle that ships."""

import json
import shutil
from pathlib import Path

import pytest
from interlock_lab.gate.figures import Share, SuiteFigures
from interlock_lab.trust_page import CERTIFY, FIGURES, PLOTS, rendered
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import ConfigError

SUITES = {"balanced": {"code": SuiteFigures(texts=20, unread=0, withheld=1, gated=Share(17, 19))}}
BUNDLE = load_bundle(DEFAULT_BUNDLE)


def test_the_page_is_current():
    """All but what the gate holds back of the suites, for which texts have to be scored."""
    shown = (PLOTS.parent / "ensemble.md").read_text(encoding="utf-8")
    page = rendered(BUNDLE, SUITES)

    before, _, rest = page.partition("## The gate for the unknown")
    assert before in shown
    assert rest[rest.index("## Drift") :].rstrip() in shown


def test_a_certificate_of_another_policy_is_not_shown(tmp_path: Path):
    """Nor one of other models."""
    shutil.copytree(FIGURES, tmp_path / "trust")
    figures = json.loads((FIGURES / CERTIFY).read_text())
    (tmp_path / "trust" / CERTIFY).write_text(json.dumps({**figures, "policy": "sha256:" + "0" * 64}))

    with pytest.raises(ConfigError, match="is about other models or another policy; run `make trust` anew"):
        rendered(BUNDLE, SUITES, tmp_path / "trust")


def test_every_picture_is_there():
    """Those that the page shows."""
    shown = {part.partition(")")[0] for part in rendered(BUNDLE, SUITES).split("](certificate/")[1:]}

    assert shown
    assert shown == {path.name for path in PLOTS.glob("*.png")}
