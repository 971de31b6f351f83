"""What a Grafana dashboard is made of, as little of it as ours needs. `dashboard.py` says what is on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

SELECTED = 'job=~"$job",instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 7


@dataclass(frozen=True)
class Panel:
    """Curves, or a heatmap of one histogram, or the numbers of now; `curves` is legend -> expression."""

    title: str
    curves: Mapping[str, str]
    text: str
    """What it tells, and what a healthy one looks like."""
    unit: str = "short"
    kind: str = "timeseries"  # or "heatmap" or "stat"
    stacked: bool = False
    least: float | None = 0
    most: float | None = None


@dataclass(frozen=True)
class Row:
    """Panels about one question."""

    title: str
    panels: Sequence[Panel]


def per_second(counter: str, by: str, where: str = "") -> str:
    """How fast a counter grows, by some labels."""
    return f"sum by ({by}) (rate({counter}{_selector(where)}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """What so large a share of the observations does not exceed."""
    return f"histogram_quantile({share}, {per_second(f'{histogram}_bucket', _list(by, 'le'), where)})"


def mean(histogram: str, by: str) -> str:
    """The mean of what was observed."""
    return f"{per_second(f'{histogram}_sum', by)} / {per_second(f'{histogram}_count', by)}"


def quantiles(histogram: str, shares: Sequence[float]) -> dict[str, str]:
    """Several, by their names."""
    return {f"p{round(100 * share)}": quantile(share, histogram) for share in shares}


def counts(histogram: str) -> dict[str, str]:
    """What a heatmap draws."""
    return {"{{le}}": f"sum by (le) (increase({histogram}_bucket{_selector('')}[$__rate_interval]))"}


def gauge(name: str, by: str, how: str = "max") -> str:
    """The largest of now, or the smallest or the sum."""
    return f"{how} by ({by}) ({name}{_selector('')})"


def rendered(uid: str, title: str, description: str, rows: Sequence[Row]) -> Json:
    """The dashboard as Grafana takes it."""
    panels: list[Json] = []
    top = 0
    for row in rows:
        panels.append(
            {"type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _place(top, 0, 24, 1)}
        )
        top += 1
        for place, panel in enumerate(row.panels):
            line, column = divmod(place, _COLUMNS)
            panels.append(_panel(panel) | {"gridPos": _place(top + line * _HEIGHT, column * _WIDTH, _WIDTH, _HEIGHT)})
        top += -(-len(row.panels) // _COLUMNS) * _HEIGHT
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["interlock"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": [panel | {"id": number} for number, panel in enumerate(panels, 1)],
    }


def _panel(panel: Panel) -> Json:
    drawn = {"lineWidth": 1, "fillOpacity": 40 if panel.stacked else 5}
    custom = {**drawn, "stacking": {"mode": "normal" if panel.stacked else "none"}, "showPoints": "never"}
    limits = {name: limit for name, limit in (("min", panel.least), ("max", panel.most)) if limit is not None}
    heatmap = panel.kind == "heatmap"
    defaults = {"unit": panel.unit, **limits, **({"custom": custom} if panel.kind == "timeseries" else {})}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {} if heatmap else defaults, "overrides": []},
        "options": _OPTIONS[panel.kind] | ({"yAxis": {"unit": panel.unit}} if heatmap else {}),
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                **({"format": "heatmap"} if heatmap else {}),
            }
            for number, (legend, expression) in enumerate(panel.curves.items())
        ],
    }


_OPTIONS: Mapping[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "heatmap": {"calculate": False, "color": {"mode": "scheme", "scheme": "Blues"}, "tooltip": {"mode": "single"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name", "colorMode": "none"},
}


def _variables() -> list[Json]:
    def values(name: str, query: str) -> Json:
        return {
            "name": name,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }

    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    return [
        source,
        values("job", "label_values(interlock_info, job)"),
        values("instance", 'label_values(interlock_info{job=~"$job"}, instance)'),
    ]


def _place(top: int, left: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def _selector(where: str) -> str:
    return f"{{{_list(SELECTED, where)}}}"


def _list(*parts: str) -> str:
    return ",".join(part for part in parts if part)
