"""Small real things for tests: a bundle of scripted members, evidence and policies by hand. Fakes, not mocks."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from interlock_server.backends.backend import BatchRule, Reading, Run, Window
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.bundle.seal import seal
from interlock_server.inference.scoring import Member
from interlock_server.text.exchange import Exchange

CATEGORIES = ["violence_injury", "illicit", "hate_harassment", "self_harm"]
SCRIPT = {"default": 0.01, "phrases": {"stabbed": 0.99, "whispered": 0.01}}
BENIGN = "She poured two cups of tea and sat down."
HARMFUL = "He stabbed her twice."
IDENTITY = {"logits": [-1.0, 1.0], "llrs": [-1.0, 1.0]}


def member(name: str, kind: str | None = None, **changes: Any) -> dict[str, Any]:
    """A scripted member's entry in a manifest."""
    return {
        "name": name,
        "kind": kind or name,
        "backend": "scripted",
        "categories": CATEGORIES,
        "files": {"model": f"{name}.json"},
        "score_maps": dict.fromkeys(CATEGORIES, IDENTITY),
        **changes,
    }


def policy_content(members: list[str], **changes: Any) -> dict[str, Any]:
    """A policy over these members: a score of 0.1 is clear, one of 0.5 is not."""
    rule = {"weight": 1.0, "offset": -2.0, "clear_below": -1.0}
    category = {"release_below": 2.0, "harmful_at": 5.0, "members": dict.fromkeys(members, rule)}
    profile = {"categories": dict.fromkeys(CATEGORIES, category)}
    return {"format": 1, "name": "test", "default_profile": "balanced", "profiles": {"balanced": profile}, **changes}


def write_bundle(
    path: Path,
    members: list[dict[str, Any]] | None = None,
    certified: dict[str, Any] | None = None,
    **policy_changes: Any,
) -> str:
    """A sealed bundle of scripted members in `path`; returns its digest. `certified` is what is unusual in its certificate."""
    path.mkdir(parents=True, exist_ok=True)
    members = members or [member("alpha"), member("beta"), member("gamma")]
    names = [entry["name"] for entry in members]
    for name in names:
        script(path, name)
    (path / "policy.yaml").write_text(yaml.safe_dump(policy_content(names, **policy_changes)))
    scores = {name: dict.fromkeys(CATEGORIES, 0.01) for name in names}
    row = GoldenExchange(prompt="", completion=BENIGN, scores=scores)
    (path / "golden.jsonl").write_text(8 * (row.model_dump_json() + "\n"))
    digest = seal(path, manifest_content(members))
    return digest if certified is None else certify(path, **certified)


def certify(path: Path, **changes: Any) -> str:
    """Puts a certificate of its models and policy into a sealed bundle; returns the digest."""
    content = certificate_content(load_bundle(path), **changes)
    (path / "certificate.json").write_text(json.dumps(content))
    return reseal(path, certificate="certificate.json")


def reseal(path: Path, **changes: Any) -> str:
    """Seals a bundle over its files as they are now, whatever has become of them; returns the digest."""
    content = json.loads((path / "manifest.json").read_text()) | changes
    return seal(path, {key: value for key, value in content.items() if key not in ("format", "files")})


def claim(source: str, clusters: int, bound: float | None, **changes: Any) -> dict[str, Any]:
    """A line of a certificate: a bound without a miss, or none."""
    why = {} if bound is not None else {"why": "not certifiable with this data: 27 more clusters are needed"}
    return {
        "source": source, "clusters": clusters, "misses_allowed": None if bound is None else 0, "misses": 0,
        "alpha": 0.1, "miss_rate_upper_bound": bound, "confidence": 0.99, **why, **changes,
    }  # fmt: skip


def certificate_content(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    """A certificate that holds: two sources in one category, one in another, too few in the third, none in the fourth."""
    claims = {
        "violence_injury": [claim("public", 400, 0.02), claim("written", 170, 0.04)],
        "hate_harassment": [claim("public", 400, 0.02), claim("written", 30, None)],
        "illicit": [claim("written", 30, None)],
    }
    return {
        "format": 1, "models": bundle.models_digest, "policy": bundle.policy.digest, "build": "test",
        "issued": str(datetime.now(UTC).date()), "delta": 0.05, "statement": "Rows were read twice.",
        "profiles": {"balanced": {"categories": claims}},
        "certify_set": {"digest": "sha256:" + "0" * 64, "ledger_entry": 1, "delta_spent": 0.05},
        "does_not_cover": ["adversaries"], **changes,
    }  # fmt: skip


def manifest_content(members: list[dict[str, Any]]) -> dict[str, Any]:
    """What `seal` takes."""
    return {
        "name": "test", "categories": CATEGORIES, "members": members, "policy": "policy.yaml", "golden": "golden.jsonl",
    }  # fmt: skip


def script(path: Path, name: str, **changes: Any) -> None:
    """(Re)writes the script of a member, also under a running server; atomically, since lanes read it."""
    draft = path.parent / f"{name}.draft"
    draft.write_text(json.dumps({**SCRIPT, **changes}))
    draft.replace(path / f"{name}.json")


def scores(score: float = 0.01) -> Any:
    """What a backend returns for one window: the same score in every category."""
    return np.full((1, len(CATEGORIES)), score)


class FakeBackend:
    """A model in a line: `answer` is given the run and returns rows, raises, or waits. A window is a share of the bytes."""

    provider = "fake"
    lane = "cpu"
    batching = BatchRule()

    def __init__(self, answer: Callable[[Run], Any] = lambda run: scores(), windows: int = 1) -> None:
        self.answer = answer
        self.windows = windows
        self.asked = 0
        self.closed = False

    def read(self, exchange: Exchange) -> Reading:
        """As many windows as was said, all different."""
        ends = [exchange.completion_bytes * place // self.windows for place in range(self.windows + 1)]
        return Reading([Window(np.array([place]), "raw", span) for place, span in enumerate(pairwise(ends))])

    def score(self, windows: Any, run: Run) -> Any:
        """Whatever `answer` does."""
        self.asked += 1
        return self.answer(run)

    def close(self) -> None:
        """Remembers."""
        self.closed = True


def fake_member(name: str, answer: Callable[[Run], Any] = lambda run: scores(), windows: int = 1) -> Member:
    """A member with a FakeBackend."""
    return Member(name, tuple(CATEGORIES), FakeBackend(answer, windows))


class Hang:
    """An `answer` that waits until `release`, whatever happens; `begun` is set once it waits."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._released = threading.Event()

    def __call__(self, run: Run) -> Any:
        self.begun.set()
        assert self._released.wait(60)
        return scores()

    def release(self) -> None:
        """Lets every run go, now and later."""
        self._released.set()


class Panic(BaseException):
    """What native code raises: no Exception."""
