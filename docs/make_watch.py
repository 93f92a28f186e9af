"""Render the tables of howto/watch.md, the Grafana dashboard and the rules of Prometheus.

All come from `METRICS` in rum_ray/cluster/metric_table.py and from `RECORDS` and `ALERTS` here.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rum_ray.cluster.metric_table import COMMAND, METRICS, Metric, promql

PAGE = Path(__file__).parent / "howto" / "watch.md"
NOTE = "Written by docs/make.py from rum_ray/cluster/metric_table.py; do not edit it."
COLUMNS, WIDTH, HEIGHT = 3, 8, 7

STAGE = "max by (experiment, run, stage)"
UNFINISHED = f"{STAGE} (rum_ray_jobs_done) < {STAGE} (rum_ray_jobs)"
RECORDS = {
    "experiment_run_stage:rum_ray_jobs_done:share": (
        f"{STAGE} (rum_ray_jobs_done) / ({STAGE} (rum_ray_jobs) > 0)"
    ),
    "experiment_run:rum_ray_models_trained:rate5m": (
        "sum by (experiment, run) (rate(rum_ray_models_trained[5m]))"
    ),
    "experiment_run:rum_ray_worker_seconds:busy_share5m": next(
        metric.query for metric in METRICS if metric.name == "rum_ray_worker_seconds"
    ),
}
"""Recording rules, by name."""


@dataclass(frozen=True)
class Alert:
    """An alert rule.

    Attributes:
        name: of the alert.
        query: PromQL with the names of `METRICS`; the alert is active where it has a result.
        lasting: how long the query must have a result.
        severity: "critical" if the command makes no progress, else "warning" or "info".
        meaning: the event.
        remedy: the next step of a person.
    """

    name: str
    query: str
    lasting: str
    severity: str
    meaning: str
    remedy: str


ALERTS = (
    Alert(
        "RumRayNoProgress",
        f"({STAGE} (rum_ray_jobs_done) == {STAGE} (rum_ray_jobs_done offset 15m))"
        f" and ({UNFINISHED})",
        "0m",
        "critical",
        "No job finished in 15 minutes.",
        "Look at the logs of the workers. Raise the time in the rule where one job takes longer.",
    ),
    Alert(
        "RumRayNoWorkers",
        f"({STAGE} (rum_ray_workers) == 0) and ({UNFINISHED})",
        "5m",
        "critical",
        "No worker was alive for 5 minutes while jobs were left.",
        "Look for pending nodes and resources on the page Cluster.",
    ),
    Alert(
        "RumRayCommandLost",
        f"({STAGE} (rum_ray_jobs_done offset 2m) < {STAGE} (rum_ray_jobs offset 2m))"
        " unless on (experiment, run) rum_ray_jobs",
        "0m",
        "critical",
        "The command ended before its stage did.",
        "Run the same command again; it computes what is missing.",
    ),
    Alert(
        "RumRayFailures",
        f"{STAGE} (rum_ray_jobs_failed) > 0",
        "0m",
        "warning",
        "A job was given up or has a permanent error. The stage goes on and fails in the end.",
        "See the panel of failed attempts by error.",
    ),
    Alert(
        "RumRayWorkerLost",
        f"{STAGE} (max_over_time(rum_ray_worker_restarts[10m])"
        " - min_over_time(rum_ray_worker_restarts[10m])) > 0",
        "0m",
        "info",
        "A worker or a shard was lost in the last 10 minutes.",
        "None: the jobs are requeued. Frequent losses cost time; use smaller shards.",
    ),
    Alert(
        "RumRayWorkerRejected",
        f"{STAGE} (rum_ray_workers_rejected) > 0",
        "0m",
        "warning",
        "A worker left because it cannot do the jobs: its device, its hardware or its store.",
        "The terminal and `progress.jsonl` have the reason.",
    ),
    Alert(
        "RumRayIdle",
        f"(experiment_run:rum_ray_worker_seconds:busy_share5m < 0.5)"
        f" and on (experiment, run) ({UNFINISHED})",
        "15m",
        "warning",
        "Workers were idle for more than half of their time in 15 minutes.",
        "Use fewer workers: the stage has too few jobs for them.",
    ),
    Alert(
        "RumRayDeviceMemory",
        "max by (experiment, run, device) (rum_ray_device_memory_share) > 0.95",
        "5m",
        "warning",
        "More than 95 % of a device's memory was in use for 5 minutes.",
        "Use fewer workers per GPU.",
    ),
)


def render() -> dict[str, str]:
    """Return the files by their names, relative to docs/."""
    return {
        "howto/watch.md": _page(),
        "../deploy/grafana/rum_ray.json": json.dumps(_dashboard(), indent=1) + "\n",
        "../deploy/prometheus/rules.yaml": f"# {NOTE}\n" + _yaml(_rules()),
    }


def _page() -> str:
    """Return the page with new tables between its marks; all other text is kept."""
    page = PAGE.read_text("utf-8")
    for name, lines in {"metrics": _metric_rows(), "alerts": _alert_rows()}.items():
        first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        table = "".join(f"{line}\n" for line in lines)
        page, found = re.subn(
            f"{first}.*?{last}", lambda _, new=first + table + last: new, page, flags=re.DOTALL
        )
        if found != 1:
            raise ValueError(f"howto/watch.md needs the marks {first!r} and {last!r} once")
    return page


def _metric_rows() -> list[str]:
    """Return the table of metrics."""
    rows = [
        "| Prometheus | more labels | `progress.jsonl` | meaning |",
        "| :-- | :-- | :-- | :-- |",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels if label not in COMMAND)
        journal = f"`{metric.journal}`" if metric.journal else ""
        unit = f" ({metric.unit})" if metric.unit else ""
        meaning = f"{metric.meaning.rstrip('.')}{unit}"
        rows.append(f"| `{metric.exported}` | {labels} | {journal} | {meaning} |")
    return rows


def _alert_rows() -> list[str]:
    """Return the table of alerts."""
    rows = ["| alert | severity | meaning | next step |", "| :-- | :-- | :-- | :-- |"]
    return rows + [
        f"| `{alert.name}` | {alert.severity} | {alert.meaning} | {alert.remedy} |"
        for alert in ALERTS
    ]


def _rules() -> dict[str, Any]:
    """Return the recording and alerting rules of Prometheus."""
    records = [{"record": name, "expr": promql(query)} for name, query in RECORDS.items()]
    alerts = [
        {
            "alert": alert.name,
            "expr": promql(alert.query),
            "for": alert.lasting,
            "labels": {"severity": alert.severity},
            "annotations": {
                "summary": f"{{{{ $labels.experiment }}}} {{{{ $labels.run }}}}: {alert.meaning}",
                "description": alert.remedy,
            },
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "rum_ray", "rules": [*records, *alerts]}]}


def _yaml(tree: dict[str, Any]) -> str:
    """Return a tree as YAML, one line per expression."""
    text: str = yaml.safe_dump(tree, sort_keys=False, width=1000)
    return text


def _dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard: one panel per metric, for chosen experiments and runs."""
    variables = [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        },
        _variable("experiment", "label_values(ray_rum_ray_jobs, experiment)"),
        _variable("run", 'label_values(ray_rum_ray_jobs{experiment=~"$experiment"}, run)'),
    ]
    return {
        "uid": "rum-ray",
        "title": "rum_ray",
        "description": NOTE,
        "tags": ["ray", "rum_ray"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(number, metric) for number, metric in enumerate(METRICS)],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    """Return a variable of the dashboard with the values of a label."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(number: int, metric: Metric) -> dict[str, Any]:
    """Return the panel of a metric."""
    selector = 'experiment=~"$experiment",run=~"$run"'
    kept = re.search(r"by \((.*?)\)", metric.query)
    legend = " ".join(f"{{{{{label}}}}}" for label in kept[1].split(", ")) if kept else ""
    limits = {"min": 0, "max": 1} if metric.panel_unit == "percentunit" else {}
    return {
        "id": number + 1,
        "title": metric.title,
        "description": metric.meaning,
        "type": "timeseries",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {
            "x": number % COLUMNS * WIDTH,
            "y": number // COLUMNS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": metric.panel_unit, **limits}, "overrides": []},
        "targets": [{"refId": "A", "expr": promql(metric.query, selector), "legendFormat": legend}],
    }


if __name__ == "__main__":
    print(render()["../deploy/prometheus/rules.yaml"])
