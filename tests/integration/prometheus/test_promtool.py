"""What Prometheus' own tool says of the rules, the configuration and what a server exposes."""

import subprocess

from end_to_end.server import Server

from .watching import ROOT, tool

FOLDER = ROOT / "deploy" / "monitoring"


def promtool(*arguments: str, text: str | None = None) -> str:
    """Its complaints; none when all is well."""
    done = subprocess.run([tool("promtool"), *arguments], input=text, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_only_then():
    """In rules_test.yaml."""
    assert "" == promtool("test", "rules", str(FOLDER / "rules_test.yaml"))


def test_the_configuration_is_one():
    """With the rules that it names."""
    assert "" == promtool("check", "config", str(FOLDER / "prometheus.yaml"))


def test_metrics_are_named_as_they_should_be(tmp_path):
    """And explained."""
    server = Server(tmp_path).wait_ready()
    server.screen()
    page = server.get("/metrics")[1]
    server.stop()

    assert "" == promtool("check", "metrics", text=page)
