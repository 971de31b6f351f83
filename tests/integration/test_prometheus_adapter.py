"""The query behind the autoscaler's metric, asked of Prometheus' own evaluator."""

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMTOOL = ROOT / ".tools" / "prometheus" / "promtool"
ADAPTER = ROOT / "deploy" / "kubernetes" / "prometheus-adapter.yaml"
METRIC = "interlock_member_seconds_bucket"
BUSY = {"0.01": "0+5x20", "0.02": "0+10x20", "+Inf": "0+10x20"}  # half of them waited for 10 to 20 ms
IDLE = {"0.01": "7+0x20", "0.02": "7+0x20", "+Inf": "7+0x20"}


def series(pod: str, phase: str, values: dict[str, str]) -> list[dict[str, str]]:
    """The buckets of one member."""
    labels = f'namespace="interlock",pod="{pod}",member="encoder",phase="{phase}"'
    return [{"series": f'{METRIC}{{{labels},le="{bound}"}}', "values": value} for bound, value in values.items()]


def test_it_tells_how_long_texts_wait_in_each_pod(tmp_path: Path) -> None:
    """In milliseconds here: the 90th percentile in a pod that is asked, 0 in one that is not, whatever its models do."""
    (rule,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
    query = rule["metricsQuery"].replace("<<.Series>>", METRIC).replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", 'namespace="interlock",pod=~"busy|idle"')
    samples = [{"labels": '{pod="busy"}', "value": 18}, {"labels": '{pod="idle"}', "value": 0}]
    test = {
        "interval": "30s",
        "input_series": [
            *series("busy", "queue", BUSY),
            *series("idle", "queue", IDLE),
            *series("idle", "infer", BUSY),
        ],
        "promql_expr_test": [{"expr": f"round(1000 * ({query}))", "eval_time": "8m", "exp_samples": samples}],
    }
    path = tmp_path / "adapter.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "30s", "tests": [test]}))

    assert PROMTOOL.exists(), "promtool is missing: run sh tests/integration/prometheus/install.sh"
    done = subprocess.run([PROMTOOL, "test", "rules", path], capture_output=True, text=True, timeout=60)

    assert 0 == done.returncode, done.stderr
