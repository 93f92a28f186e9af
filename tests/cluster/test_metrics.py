"""Metrics: a real Prometheus scrapes a real Ray and answers every query of the dashboard."""

import gc
import json
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import yaml

from rum_ray.cluster import metrics
from rum_ray.cluster.metric_table import COMMAND, METRICS, promql
from rum_ray.cluster.metrics import DeviceUse, Metrics, WorkerMetrics, device_use
from rum_ray.study.progress import ProgressState

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "rum_ray.json").read_text("utf-8"))
ALERTS = {alert.name: alert for alert in runpy.run_path(str(ROOT / "docs/make_watch.py"))["ALERTS"]}
COMMAND_TAGS = 'experiment="demo", run="ab12", stage="train"'
STATE = ProgressState(
    done=20,
    total=34,
    seconds=10.0,
    failed=1,
    again=3,
    restarts=1,
    standard_error=0.1,
    best=0.8,
    workers=2,
    shards=2,
)


def program(name: str) -> str:
    """Return the path of a program of Prometheus, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on this machine (Debian: apt install prometheus)")
    return path


class Prometheus:
    """A Prometheus on this machine with one target and the rules, asked over HTTP."""

    def __init__(self, folder: Path, target: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={folder}", f"--web.listen-address={self.address}"]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def get(self, path: str, **arguments: str) -> dict:
        """Return the data of an answer of the API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, query: str) -> list[tuple[dict, float]]:
        """Return the labels and value of each series of a query."""
        found = self.get("query", query=query)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def wait(self, done, seconds=150.0) -> None:
        """Wait until a condition holds; the answer that it lacks is its own return value."""
        end = time.monotonic() + seconds
        while True:
            try:
                if not (missing := done()):
                    return
            except OSError as error:
                missing = error
            assert time.monotonic() < end, missing
            time.sleep(0.5)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def prometheus(place, tmp_path, monkeypatch):
    """A Prometheus that scrapes a new Ray, whose processes export their metrics once a second."""
    import ray

    program("prometheus")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(place / "token"))
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        log_to_driver=False,
        _temp_dir=str(place / "metrics"),
    )
    (node,) = ray.nodes()
    server = Prometheus(tmp_path, f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}")
    yield server
    server.close()
    ray.shutdown()
    # Ray leaves its processes to be waited for.
    for process in [thing for thing in gc.get_objects() if type(thing) is subprocess.Popen]:
        process.wait(60)


def start_workers(stop: Path) -> list:
    """Start two workers of different shards, which count until a file exists."""
    import ray

    def work(shard: str) -> Counter:
        from rum_ray.cluster.metrics import DeviceUse, WorkerMetrics

        mine, counts = WorkerMetrics("demo", "ab12", shard), Counter()
        while not stop.exists():
            time.sleep(0.2)
            mine.busy("train")
            time.sleep(0.1)
            mine.done("TrainPoolModel", 0.1, 1000, models=1)
            mine.done("EvaluatePlan", 0.01, 10, trials=1)
            mine.failed("TrainModel", "KeyError")
            mine.beat(f"node {shard} GPU 0", DeviceUse(0.5, 0.25))
            mine.idle()
            counts.update(models=1, trials=1, jobs=2, bytes=1010, failures=1)
        time.sleep(2.5)  # Ray exports once a second here.
        return counts

    remote = ray.remote(num_cpus=1)(work)
    return [remote.remote(shard) for shard in ("s0", "s1")]


@pytest.mark.cluster
def test_a_real_prometheus_answers_every_query_of_the_dashboard(prometheus, tmp_path):
    import ray

    stop = tmp_path / "stop"
    tasks = start_workers(stop)
    panels = {panel["title"]: panel["targets"][0]["expr"] for panel in DASHBOARD["panels"]}
    queries = {
        title: query.replace("$experiment", ".*").replace("$run", "ab.*")
        for title, query in panels.items()
    }

    def unanswered():
        return [title for title, query in queries.items() if not prometheus.query(query)]

    def silent():
        firing = {labels["alertname"] for labels, _ in prometheus.query('ALERTS{run="ab12"}')}
        return {"RumRayFailures", "RumRayWorkerLost"} - firing

    with Metrics("demo", "ab12", "train") as command:
        command.set(ProgressState(0, 34))
        prometheus.wait(lambda: not prometheus.query("ray_rum_ray_worker_restarts"))
        command.set(STATE)
        prometheus.wait(unanswered)
        prometheus.wait(silent)
        for metric in METRICS:
            for labels, _ in prometheus.query(metric.exported):
                assert labels.keys() >= set(metric.labels) - {"stage"}, metric.name
                assert (labels["experiment"], labels["run"]) == ("demo", "ab12")
        (rules,) = prometheus.get("rules")["groups"]
        assert {
            rule["name"]: rule["health"] for rule in rules["rules"] if rule["health"] != "ok"
        } == {}
        for rule in rules["rules"]:
            assert rule["type"] == "alerting" or prometheus.query(rule["name"]), rule["name"]
        stop.touch()
        counted = sum(ray.get(tasks), Counter())
        totals = {
            "models": "sum(ray_rum_ray_models_trained_total)",
            "trials": "sum(ray_rum_ray_trials_total)",
            "jobs": "sum(ray_rum_ray_jobs_finished_total)",
            "bytes": "sum(ray_rum_ray_stored_bytes_total)",
            "failures": 'sum(ray_rum_ray_failures_total{kind="TrainModel",error="KeyError"})',
        }

        def uncounted():
            found = {name: prometheus.query(query) for name, query in totals.items()}
            return found if any(found[n] != [({}, counted[n])] for n in totals) else {}

        prometheus.wait(uncounted)
        ((_, share),) = prometheus.query(queries["Effective time share"])
        assert 0 < share < 0.5  # A worker sleeps for 0.2 s, and works for 0.1 s.
    # The counters stay as they are; the gauges end with the command.
    prometheus.wait(lambda: prometheus.query("ray_rum_ray_jobs"))
    assert prometheus.query("ray_rum_ray_models_trained_total")


def test_the_panels_are_those_of_the_table():
    names = {metric.name for metric in METRICS}
    for metric in METRICS:
        used = {*re.findall(r"rum_ray_\w+", metric.query)}
        assert metric.name in used <= names
        assert metric.labels[:3] == COMMAND
    assert [panel["title"] for panel in DASHBOARD["panels"]] == [each.title for each in METRICS]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]}
    assert len(places) == len(METRICS)
    for panel in DASHBOARD["panels"]:
        (target,) = panel["targets"]
        selected = target["expr"].count('experiment=~"$experiment",run=~"$run"')
        assert selected == len(re.findall(r"\bray_rum_ray_\w+", target["expr"]))


@pytest.mark.parametrize(
    ("query", "selector", "expected"),
    [
        ("rum_ray_jobs", "", "ray_rum_ray_jobs"),
        ("rum_ray_trials", 'run="a"', 'ray_rum_ray_trials_total{run="a"}'),
        ("rate(rum_ray_trials[5m])", "a=b", "rate(ray_rum_ray_trials_total{a=b}[5m])"),
        ('rum_ray_failures{kind="K"}', "a=b", 'ray_rum_ray_failures_total{kind="K",a=b}'),
        ("all:rum_ray_jobs:share > 0", "a=b", "all:rum_ray_jobs:share > 0"),
    ],
)
def test_a_query_gets_the_names_that_ray_exports(query, selector, expected):
    assert promql(query, selector) == expected


def test_the_rules_and_the_configuration_are_valid():
    for arguments in (
        ["check", "rules", RULES],
        ["check", "config", RULES.with_name("prometheus.yml")],
    ):
        done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


# Each alert: series by name, a minute apart; and a minute without and one with the alert.
DONE = {"ray_rum_ray_jobs": "34x40", "ray_rum_ray_jobs_done": "34x40"}
NEVER = {"ray_rum_ray_jobs": "34x40", "ray_rum_ray_jobs_done": "20x40"}
FIRING = {
    "RumRayNoProgress": (
        {"ray_rum_ray_jobs": "34x40", "ray_rum_ray_jobs_done": "1+1x9 10x30"},
        14,
        26,
    ),
    "RumRayNoWorkers": ({**NEVER, "ray_rum_ray_workers": "2x9 0x30"}, 12, 18),
    "RumRayCommandLost": (
        {"ray_rum_ray_jobs": "34x9 stale", "ray_rum_ray_jobs_done": "20x9 stale"},
        9,
        11,
    ),
    "RumRayFailures": ({"ray_rum_ray_jobs_failed": "0x9 1x30"}, 9, 11),
    "RumRayWorkerRejected": ({"ray_rum_ray_workers_rejected": "0x9 1x30"}, 9, 11),
    "RumRayWorkerLost": ({"ray_rum_ray_worker_restarts": "0x9 1x30"}, 9, 12),
    "RumRayIdle": (
        {
            **NEVER,
            'ray_rum_ray_worker_seconds_total{state="busy"}': "0+50x10 500+5x30",
            'ray_rum_ray_worker_seconds_total{state="idle"}': "0+10x10 100+55x30",
        },
        15,
        35,
    ),
    "RumRayDeviceMemory": (
        {'ray_rum_ray_device_memory_share{device="d"}': "0.5x9 0.97x30"},
        12,
        18,
    ),
}
QUIET = {
    "RumRayNoProgress": DONE,
    "RumRayNoWorkers": {**DONE, "ray_rum_ray_workers": "0x40"},
    "RumRayCommandLost": {
        "ray_rum_ray_jobs": "34x9 stale",
        "ray_rum_ray_jobs_done": "34x9 stale",
    },
    "RumRayWorkerLost": {"ray_rum_ray_worker_restarts": "1x40"},
}


def evaluate(folder: Path, series: dict[str, str], expected: dict[int, dict[str, bool]]) -> str:
    """Return the complaints of promtool about alerts of invented series."""
    with_tags = {
        (name[:-1] + f", {COMMAND_TAGS}}}" if "{" in name else f"{name}{{{COMMAND_TAGS}}}"): values
        for name, values in series.items()
    }
    promql_tests = [
        {
            "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": int(fires)}],
        }
        for minute, alerts in expected.items()
        for name, fires in alerts.items()
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": each} for name, each in with_tags.items()],
        "promql_expr_test": promql_tests,
    }
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole))
    command = [program("promtool"), "test", "rules", str(folder / "test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_fires_when_it_must_and_not_before(name, tmp_path):
    series, before, after = FIRING[name]
    assert evaluate(tmp_path, series, {before: {name: False}, after: {name: True}}) == ""


@pytest.mark.parametrize("name", QUIET)
def test_a_finished_stage_alerts_nobody(name, tmp_path):
    minutes = {minute: {name: False} for minute in (5, 12, 20, 39)}
    assert evaluate(tmp_path, QUIET[name], minutes) == ""


class Recorder:
    """Stands in for a metric of Ray: remembers the sum of its values by label."""

    all: ClassVar[Counter] = Counter()

    def __init__(self, name, description, tag_keys):
        self.name, self.tag_keys = name, tag_keys

    def inc(self, value, tags):
        assert value > 0, "Ray refuses it"
        assert tags.keys() == {*self.tag_keys}, "Ray refuses it"
        self.all[self.name, tags.get("state", ""), tags["stage"]] += value

    set = inc


def test_the_time_of_a_worker_is_busy_or_idle(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    for name in ("Counter", "Gauge"):
        monkeypatch.setattr(metrics, name, Recorder)
    monkeypatch.setattr(Recorder, "all", Counter())
    mine = WorkerMetrics("demo", "ab12", "s0")
    for seconds, call in [
        (1.0, lambda: mine.busy("train")),
        (10.0, mine.beat),
        (10.0, lambda: mine.beat("node GPU 0", DeviceUse(0.5))),
        (3.0, mine.idle),
        (0.0, mine.idle),
        (4.0, mine.beat),
        (2.0, lambda: mine.busy("rows")),
        (5.0, mine.idle),
    ]:
        now[0] += seconds
        call()
    mine.done("TrainModel", 0.0, 0)
    seconds = {key: v for key, v in Recorder.all.items() if key[0] == "rum_ray_worker_seconds"}
    assert seconds == {
        ("rum_ray_worker_seconds", "idle", ""): 1.0,
        ("rum_ray_worker_seconds", "busy", "train"): 23.0,
        ("rum_ray_worker_seconds", "idle", "train"): 6.0,
        ("rum_ray_worker_seconds", "busy", "rows"): 5.0,
    }
    assert sum(seconds.values()) == now[0] - 100.0
    assert {name for name, *_ in Recorder.all} == {
        "rum_ray_worker_seconds",
        "rum_ray_device_memory_share",
        "rum_ray_jobs_finished",
    }


def test_nothing_fails_without_ray():
    code = """
from rum_ray.cluster.metrics import DeviceUse, Metrics, WorkerMetrics
from rum_ray.study.progress import ProgressState
with Metrics("demo", "ab12", "train") as command:
    command.set(ProgressState(1, 2))
worker = WorkerMetrics("demo", "ab12", "s0")
worker.busy("train")
worker.done("TrainModel", 1.0, 10, models=1)
worker.failed("TrainModel", "KeyError")
worker.beat("GPU", DeviceUse(0.5, 0.5))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_known_of_the_use_of_a_device_that_was_not_used():
    assert device_use() == DeviceUse(None, None)
    assert DeviceUse().values() == []


def test_the_use_of_a_gpu_is_known_as_far_as_it_answers(monkeypatch):
    def broken():
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1, 4))
    monkeypatch.setattr(torch.cuda, "utilization", lambda: 30)
    assert device_use() == DeviceUse(0.75, 0.3)
    monkeypatch.setattr(torch.cuda, "utilization", broken)
    assert device_use() == DeviceUse(0.75, None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert device_use() == DeviceUse(None, None)
