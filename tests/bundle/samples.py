"""What the tests of bundles share: a manifest of scripted members, and folders that hold a small bundle."""

from typing import Any

from fakes import CATEGORIES, IDENTITY, manifest_content, member
from interlock_server.bundle.manifest import Manifest

HATEFUL = member(
    "hateful",
    categories=["hate_harassment"],
    score_maps={"hate_harassment": {"logits": [-2.0, 2.0], "llrs": [-1.0, 3.0]}},
)
MEMBERS = [member("alpha"), member("beta"), member("gamma"), member("twin", kind="alpha"), HATEFUL]
FILES = ["policy.yaml", "golden.jsonl", *(f"{entry['name']}.json" for entry in MEMBERS)]


def manifest(**changes: Any) -> dict[str, Any]:
    """A manifest over alpha, beta, gamma, a twin of alpha's kind, and one that covers a single category."""
    digests = dict.fromkeys(FILES, "sha256:" + "0" * 64)
    return {"format": 1, **manifest_content(MEMBERS), "files": digests, **changes}


MANIFEST = Manifest.model_validate(manifest())
STEEPER = {**dict.fromkeys(CATEGORIES, IDENTITY), "illicit": {"logits": [-1.0, 1.0], "llrs": [-1.0, 2.0]}}
