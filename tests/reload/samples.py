"""A server's insides without its edge: a reloader over scripted members, in a folder that tests may change."""

from pathlib import Path
from typing import Any

import yaml
from fakes import BENIGN, policy_content, reseal, script, write_bundle
from interlock_server.config import Config
from interlock_server.metrics import Metrics
from interlock_server.reload.generation import Surroundings
from interlock_server.reload.reloader import Reloader
from interlock_server.screening import Request, Screening
from interlock_server.strict import validate
from interlock_server.transport.serving import Serving

MEMBERS = ["alpha", "beta", "gamma"]
DOUBTFUL = "They murmured something."
"""What the lenient policy releases and the strict one does not."""


def policy(release_below: float, members: list[str] = MEMBERS, **changes: Any) -> dict[str, Any]:
    """With one dial for everything."""
    content = policy_content(members, latency_budget_ms=20_000, **changes)
    for rule in content["profiles"]["balanced"]["categories"].values():
        rule["release_below"] = release_below
    return content


LENIENT, STRICT = policy(2.0), policy(0.5, name="strict")


class Files:
    """What a server is configured with: a bundle, a policy beside it, and whatever else a test asks for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_times = 0
        self.bundle: dict[str, Any] = {"policy": self.write(LENIENT)}
        self.sections: dict[str, Any] = {"inference": {"lanes": 2, "cache_entries_max": 10}}
        self.seal("bundle", 0.15)

    def seal(self, name: str, murmured: float) -> None:
        """Configures a bundle whose members say that of the doubtful text."""
        write_bundle(self.path / name)
        for member in MEMBERS:
            script(self.path / name, member, phrases={"murmured": murmured})
        self.bundle |= {"path": str(self.path / name), "digest": reseal(self.path / name)}

    def write(self, content: dict[str, Any], name: str = "policy") -> str:
        """Writes a policy; returns where."""
        path = self.path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    def canary(self, content: dict[str, Any] = STRICT, **settings: Any) -> None:
        """Puts a policy on trial, for everybody unless said otherwise."""
        given = {"share": 1.0, "verdicts_min": 0, **settings}
        self.bundle["canary"] = {"policy": self.write(content, "trial"), **given}

    def read(self) -> Config:
        """As the server would."""
        self.read_times += 1
        return validate(Config, {"bundle": self.bundle, **self.sections}, "config")


class Insides:
    """A reloader that is started, and everything that it put in force."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.metrics = Metrics()
        self.served: list[Serving] = []
        self.reloader = Reloader(files.read(), files.read, Surroundings(self.metrics), self.served.append)

    async def screen(self, text: str = BENIGN, prompt: str = "") -> Screening:
        """By what is in force."""
        return await self.served[-1].filter.screen(Request(prompt.encode(), text.encode()))

    async def released(self, text: str = DOUBTFUL) -> bool:
        """Whether it is, by what is in force."""
        return (await self.screen(text)).verdict.released

    def metric(self, name: str, **labels: str) -> float:
        """A sample."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0
