"""The demo in miniature, from the command line to the report, on a real Ray."""

import dataclasses
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from rum_ray import config
from rum_ray.experiment import plan_as_dicts
from rum_ray.jobs import Context
from rum_ray.rum import Plan
from rum_ray.store import Store
from rum_ray.study.study import Study
from rum_ray.unlearning import FineTune

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

INTERRUPTED = "rum-ray: interrupted; the same command goes on from here.\n"
METRICS = {
    "tow", "tow_mia", "mia", "mia_gap", "auc", "auc_gap", "forget_accuracy", "retain_accuracy",
    "test_accuracy", "disagreement_forget", "disagreement_retain", "disagreement_test", "cost",
    "seconds", "forget_accuracy_low", "forget_accuracy_medium", "forget_accuracy_high",
}  # fmt: skip
METHODS = [
    ("retrained", None, None),
    ("retrained_again", None, None),
    ("original", None, None),
    ("vanilla", "finetune", ["all"]),
    ("shuffle", "finetune", ["shuffle1", "shuffle2", "shuffle3"]),
    ("rum_f", "finetune", ["low", "medium", "high"]),
    ("best_single", "any", ["all"]),
    ("refined", "any", ["low", "medium", "high"]),
    ("shuffled", "any", ["shuffle1", "shuffle2", "shuffle3"]),
    ("rum", None, ["low", "medium", "high"]),
    ("rum", None, ["low", "medium", "high"]),
]


def test_the_report_has_the_promised_shape(mini):
    report = mini.report()
    assert (report["format"], report["status"]) == (1, "complete")
    assert report["experiment"].keys() >= {"name", "digest"}
    assert report["environment"].keys() >= {"rum_ray", "python", "torch", "ray", "hardware"}
    scores = report["scores"]
    assert (scores["name"], scores["models"], scores["fraction"]) == ("memorization", 16, 0.5)
    assert -1 <= scores["split_half"] <= 1
    assert 0 <= scores["auc_flipped"] <= 1
    assert scores["proxies"].keys() >= {"confidence", "entropy"}
    assert [(s["name"], s["size"]) for s in report["subsets"]] == [
        ("low", 10),
        ("medium", 10),
        ("high", 10),
    ]
    for subset in report["subsets"]:
        assert subset["entanglement_score"].keys() == {"mean", "ci95", "values"}
        assert len(subset["entanglement_score"]["values"]) == 2
    assert [s["score"] for s in report["subsets"]] == sorted(s["score"] for s in report["subsets"])


def test_the_rows_are_these_with_every_metric(mini):
    rows = mini.report()["rows"]
    found = [(r["method"], r["unlearner"], [s["subset"] for s in r["plan"]]) for r in rows]
    for (method, unlearner, subsets), expected in zip(found, METHODS, strict=True):
        # A search may find another order.
        ordered = sorted if method == "rum" else list
        assert (method, ordered(subsets)) == (expected[0], ordered(expected[2] or []))
        assert unlearner == expected[1] or (expected[1] == "any" and unlearner)
    assert [row["source"] for row in rows[-2:]] == ["search", "file"]
    assert (rows[-1]["trials"], rows[-2]["trials"]) == (None, 4)
    for row in rows:
        assert row["seeds"] == [0, 1]
        assert row["metrics"].keys() >= METRICS
        for name, metric in row["metrics"].items():
            assert metric.keys() >= {"mean", "ci95", "values"}
            assert len(metric["values"]) == 2
            if name not in ("cost", "seconds", "excess", "objective"):
                assert all(0 <= value <= 1 for value in metric["values"]), name
        for step in row["plan"]:
            assert step.keys() == {"subset", "unlearner"}
            assert step["unlearner"]["name"]
    perfect = rows[0]["metrics"]
    assert (perfect["tow"]["mean"], perfect["mia_gap"]["mean"], perfect["cost"]["mean"]) == (
        1,
        0,
        1,
    )


def test_the_searches_had_equal_budgets(mini):
    searches = mini.report()["searches"]
    assert [(s["name"], s["space"]) for s in searches] == [
        ("best_single", "V0"),
        ("refined", "V1"),
        ("rum", "V4"),
    ]
    for search in searches:
        assert (search["trials"], search["max_cost"]) == (4, 4)
        assert (search["objective"], search["split"]) == ("tow - mia_gap", "validation")
        assert (search["attack"], search["reference"]) == ("auc", "oracle")
        assert search["best"].keys() >= {"plan", "objective"}
        assert search["complete"] + search["infeasible"] + search["diverged"] == 4
    trials = pd.read_parquet(mini.out / "trials.parquet")
    assert trials["search"].value_counts().to_dict() == {"V0": 4, "V1": 4, "V4": 4}
    assert trials["seconds"].notna().all()
    judged = trials[trials["status"] == "complete"]
    steps = [
        [s for s in json.loads(plan) if s["unlearner"] != {"name": "nothing"}]
        for plan in judged["plan"]
    ]
    assert list(judged["steps_run"] + judged["cache_hits"]) == [3 * len(some) for some in steps]
    assert mini.count("prefix") == 0


def test_the_ladder_and_the_fronts_are_told(mini):
    report = mini.report()
    rungs = [(rung["space"], rung["method"]) for rung in report["ladder"]["rungs"]]
    expected = [("V0", "best_single"), ("V1", "refined"), ("V4", "rum"), ("shuffle", "shuffled")]
    assert rungs == expected
    # Two seeds are too few for a claim.
    assert report["ladder"]["claims"] == report["references"] == []
    trials = mini.table("trials")
    for search in report["searches"]:
        costs = [point["cost"] for point in search["front"]]
        assert costs == sorted(costs)
        of_search = trials[trials["search"] == search["space"]]
        assert search["front"][-1]["objective"] == of_search["objective"].max()
        assert len(search["expected_best"]) == 4
        assert search["expected_best"][0] == pytest.approx(of_search["objective"].mean())
    assert {"by_seed", "forget_accuracy_low", "forget_accuracy_high"} < {*trials.columns}


def test_the_files_of_the_report(mini):
    for name in ("report.html", "report.md", "scores.parquet", "trials.parquet"):
        assert (mini.out / name).stat().st_size > 1000
    scores = mini.table("scores")
    assert len(scores) == 1200
    assert scores["id"].is_unique
    assert {"memorization", "standard_error", "confidence"} < set(scores.columns)
    assert scores["subset"].value_counts().to_dict() == {"low": 10, "medium": 10, "high": 10}
    out = (mini.folder / "stdout").read_text()
    assert "report: out/digits/report.html" in out
    assert re.search(r"│ RUM \(search\) +│", out)
    told = (mini.folder / "stderr").read_text()
    assert re.findall(r"^(\S.*?) +[\d.]+ s  \d+ done$", told, re.MULTILINE) == [
        "train",
        "embed",
        "retrain",
        *("search V0", "search V1", "search V4"),
        "validate",
        "rows",
    ]


def test_a_finished_run_makes_nothing_again_and_starts_no_ray(mini, place, science):
    before = {p: p.stat().st_mtime_ns for p in mini.store.rglob("*")}
    report, sessions = mini.report(), set(place.glob("rum-ray-*/session_*"))
    code, out, err = mini("demo", "--json")
    assert code == 0, err
    assert {p: p.stat().st_mtime_ns for p in mini.store.rglob("*")} == before
    assert set(place.glob("rum-ray-*/session_*")) == sessions
    assert science(mini.report()) == science(report)
    assert json.loads(out) == mini.report()
    assert out.count("\n") == 1


def train_workers(place: Path) -> list[int]:
    """Process ids of the Train workers whose temporary folder this is, the busiest first."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            variables = (process / "environ").read_bytes()
            used = int((process / "stat").read_text().rpartition(")")[2].split()[11])
        except OSError:
            continue
        if command.startswith(b"ray::RayTrainWorker") and str(place).encode() in variables:
            found.append((-used, int(process.name)))
    return [number for _, number in sorted(found)]


def test_a_killed_worker_changes_no_bit(mini, run, place):
    hurt = run("hurt")
    process = hurt.start("score")
    hurt.until(process, lambda: hurt.count("pool", "model") >= 2)
    made = hurt.count("pool", "model")
    os.kill(train_workers(place)[0], signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert made < len(hurt.artifacts()) == 23
    assert hurt.artifacts().items() < mini.artifacts().items()
    shutil.rmtree(hurt.folder)


def test_one_worker_and_a_driver_that_dies_change_no_bit(mini, run):
    """Killed in the training, interrupted in a search."""
    alone = run("alone")
    flags = ("--set", "cluster.workers=1")

    process = alone.start("demo", *flags)
    alone.until(process, lambda: alone.count("pool", "model") >= 3)
    process.kill()
    process.communicate()
    made = alone.count("pool", "model")
    assert 3 <= made < 23

    process = alone.start("demo", *flags)
    alone.until(process, lambda: alone.count("trial") >= 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (75, ""), err
    assert err.count("rum-ray:") == 1
    assert err.endswith(INTERRUPTED)
    assert "Traceback" not in err
    assert int(re.search(r"^train .* 23 done, (\d+) of them before$", err, re.M)[1]) >= made
    assert alone.count("search") < 3

    code, _, err = alone("demo", *flags)
    assert code == 0, err
    assert not list(alone.store.glob("quarantine/*"))
    alone.assert_same_science(mini)


def test_a_pool_grows_until_it_is_precise_enough_and_can_be_extended(run):
    precise = run("precise")
    score = ("score.recipe={model: mlp, epochs: 1, batch_size: 64}", "score.fused=true")
    recipe = ("--set", score[0], "--set", score[1], "--json")
    loose = "score.models={max: 2000, standard_error: 0.09}"
    code, out, err = precise("score", "--set", loose, *recipe)
    assert code == 0, err
    answer = json.loads(out)
    models, trained = answer["models"], precise.count("pool")
    # 2 originals and 5 of the search; models that were in training at the end are there, too.
    assert 7 + models == int(re.search(r"^train .* (\d+) done$", err, re.M)[1])
    assert models % 64 == 0
    assert models <= trained < 1000
    scores = pd.read_parquet(precise.out / "scores.parquet")
    assert scores["standard_error"].mean() <= 0.09

    before = precise.artifacts("pool")
    strict = f"score.models={{max: {trained + 30}, standard_error: 0.001}}"
    code, out, err = precise(
        "score", "--set", strict, *recipe, "--set", "cluster.workers=1", "--out", "out/more"
    )
    assert code == 0, err
    assert json.loads(out)["models"] == trained + 30 == precise.count("pool")
    assert before.items() < precise.artifacts("pool").items()
    assert f"{7 + trained + 30} done, {7 + trained} of them before" in err

    shutil.rmtree(precise.out)
    code, out, err = precise("score", "--set", loose, *recipe, "--out", "out/again")
    assert code == 0, err
    assert json.loads(out)["models"] == models
    again = pd.read_parquet(precise.folder / "out" / "again" / "scores.parquet")
    pd.testing.assert_frame_equal(again, scores, check_exact=True)


def test_no_trial_looks_at_t(study, place, monkeypatch):
    monkeypatch.syspath_prepend(str(place / "plugins"))
    bundle = importlib.import_module("trapped").digits()
    context = dataclasses.replace(study.context, bundle=bundle)
    for epochs, search in enumerate(study.rungs, start=1):
        subsets = search.pick(study.context).partition
        plan = Plan.assign(subsets, dict.fromkeys(subsets.names, FineTune(epochs=epochs)))
        for fresh in (False, True):
            job = search.trial(plan, fresh)
            assert not context.has(job)
            assert context.get_or_compute(job).value["status"] == "complete"


def test_nothing_before_the_report_looks_at_t(mini, run):
    trapped = run("trapped")
    plugins = str(trapped.folder.parent / "plugins")
    trapped = dataclasses.replace(
        trapped, environment={**trapped.environment, "PYTHONPATH": plugins}
    )
    shutil.copytree(mini.store, trapped.store, ignore=shutil.ignore_patterns("ray"))
    flags = ("--set", "data={name: 'trapped:digits'}")
    code, out, err = trapped("tune", *flags, "--json")
    assert code == 0, err
    assert trapped.artifacts() == mini.artifacts()
    answer = json.loads(out)
    assert [search["trials"] for search in answer["searches"]] == [4, 4, 4]
    plan = yaml.safe_load((trapped.folder / answer["plan"]).read_text())["plan"]
    assert sorted(plan) == ["high", "low", "medium"]
    code, out, err = trapped("run", *flags)
    assert (code, out) == (1, "")
    assert "rum-ray: a bug: RuntimeError: somebody looked at T." in err


def test_other_spaces_beside_what_is_there(mini, run, demo, settings):
    """V1 is read; V2 and V3 are searched, and V4 anew, since it is told where to start.

    Its three other trials are those that it had been at random before.
    """
    more = run("more")
    shutil.copytree(mini.store, more.store, ignore=shutil.ignore_patterns("ray"))
    changes = ("search.spaces=[V1, V2, V3, V4]", "search.start=[plan]")
    changes += ("plan.medium.epochs=2", "plan.high.epochs=1")
    flags = [part for change in changes for part in ("--set", change)]
    code, out, err = more("tune", *flags, "--json")
    assert code == 0, err
    told = re.findall(r"^search (V\d) .* 4 done(?:, (\d) of them before)?$", err, re.MULTILINE)
    assert told == [("V1", "4"), ("V2", ""), ("V3", ""), ("V4", "3")]
    answer = json.loads(out)
    assert [(s["name"], s["space"], s["starts"]) for s in answer["searches"]] == [
        ("refined", "V1", 0), ("ordered", "V2", 0), ("untuned", "V3", 0), ("rum", "V4", 1),
    ]  # fmt: skip
    assert all(search["complete"] for search in answer["searches"])

    experiment = config.load(demo, (*settings, *changes))
    study = Study(experiment, Context(experiment.load_data(), Store(more.store)))
    orders, asked = set(), set()
    for search in study.rungs:
        trials = search.load(study.context)
        first = [trial["start"] for trial in trials]
        assert first == [search.name == "V4", False, False, False]
        assert all(plan_as_dicts(search.plan(t["answers"])) == t["plan"] for t in trials)
        asked |= {answer for trial in trials for answer in trial["answers"]}
        if search.name != "V1":
            orders |= {tuple(step["subset"] for step in trial["plan"]) for trial in trials}
    assert len(orders) > 1
    assert {"medium.place", "high.place", "unlearner", "low.unlearner"} < asked
    (found,) = (search for search in study.rungs if search.name == "V4")
    assert (
        plan_as_dicts(Plan.assign(study.partition, experiment.plan))
        == (found.load(study.context)[0]["plan"])
    )
    written = config.load_plan(more.folder / answer["plan"])
    best = answer["searches"][-1]["best"]["plan"]
    assert list(written.order) == [step["subset"] for step in best]
    shutil.rmtree(more.folder)


VERBS = {
    "run": lambda answer, out: [out / "report.html", out / "report.json"],
    "train": lambda answer, out: [*answer["originals"], *answer["retrained"]],
    "score": lambda answer, out: [answer["scores"]],
    "refine": lambda answer, out: [answer["scores"]],
    "unlearn": lambda answer, out: answer["unlearned"],
    "evaluate": lambda answer, out: [],
    "tune": lambda answer, out: [answer["plan"], answer["trials"]],
    "report": lambda answer, out: [out / "report.html", out / "report.json"],
}


# What the command had imported when it ended, as the last line of standard error.
TELLING = """if True:
    import atexit, sys
    heavy = {"matplotlib", "optuna", "ray", "sklearn"}
    atexit.register(lambda: print(*sorted(heavy & sys.modules.keys()), file=sys.stderr))
    from rum_ray.cli import app
    app.main()
"""


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_on_what_is_there(mini, settings, demo, verb):
    flags = [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-c", TELLING, verb, demo, *flags, "--json", "--out", f"out/{verb}"],
        cwd=mini.folder,
        env=mini.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    *told, imported = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    # Ray, with nothing to make, would be two seconds for nothing.
    assert imported == ("matplotlib" if verb in ("run", "report") else "")
    assert done.stdout.count("\n") == 1
    assert not any(line.startswith("rum-ray:") for line in told)
    answer = json.loads(done.stdout)
    files = [mini.folder / path for path in VERBS[verb](answer, Path(f"out/{verb}"))]
    assert all(path.stat().st_size for path in files)
    if verb == "unlearn":
        assert len(files) == 2
        assert load_file(files[0]).keys() == load_file(files[1]).keys()
    elif verb == "tune":
        tuned = {**yaml.safe_load(demo.read_text()), **yaml.safe_load(files[0].read_text())}
        assert config.parse(tuned).plan.keys() == {"low", "medium", "high"}
    elif verb == "evaluate":
        rows = [row["method"] for row in answer["rows"]]
        assert rows == ["retrained", "retrained_again", "original", "rum"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def address(place, environment):
    """A cluster beside this process, as `ray start` makes one."""
    port = free_port()
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
    command += [f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=3"]
    command += [f"--ray-client-server-port={free_port()}", "--include-dashboard=false"]
    command += [f"--object-store-memory={100 * 2**20}", f"--temp-dir={place / 'head'}"]
    command += ["--disable-usage-stats"]
    with (place / "head.log").open("w") as log:
        head = subprocess.Popen(
            command,
            env={**environment, "RAY_AUTH_MODE": "token"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while "Ray runtime started" not in (place / "head.log").read_text():
        assert head.poll() is None, (place / "head.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    head.terminate()
    try:
        head.wait(60)
    finally:
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def test_a_running_cluster_and_shipped_modules(mini, run, place, address):
    there = run("there")
    # The driver has the plug-in on its path; the cluster's workers get it shipped.
    plugins = place / "plugins"
    there = dataclasses.replace(
        there, environment={**there.environment, "PYTHONPATH": str(plugins)}
    )
    flags = ("--address", address, "--set", "data={name: 'trapped:digits'}")
    code, _, err = there("score", *flags, "--set", f"cluster.modules=[{plugins / 'trapped'}]")
    assert code == 0, err
    assert len(there.artifacts()) == 23
    assert there.artifacts().items() < mini.artifacts().items()
