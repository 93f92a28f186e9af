"""The commands, from the file to the report: their answers, files and errors, without Ray."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from miniature import DEMO, SETTINGS, flags, of_science
from safetensors.numpy import load_file

from rum_ray import config
from rum_ray.jobs import Context
from rum_ray.rum import Plan
from rum_ray.store import Store
from rum_ray.study.study import Study
from rum_ray.unlearning import FineTune

METRICS = {
    "tow", "tow_mia", "mia", "mia_gap", "auc", "auc_gap", "forget_accuracy", "retain_accuracy",
    "test_accuracy", "disagreement_forget", "disagreement_retain", "disagreement_test", "cost",
    "seconds", "forget_accuracy_low", "forget_accuracy_medium", "forget_accuracy_high",
}  # fmt: skip
METHODS = [
    ("retrained", None, None),
    ("retrained_again", None, None),
    ("original", None, None),
    ("retrained_reordered", None, None),
    ("vanilla", "finetune", ["all"]),
    ("shuffle", "finetune", ["shuffle1", "shuffle2", "shuffle3"]),
    ("rum_f", "finetune", ["low", "medium", "high"]),
    ("best_single", "any", ["all"]),
    ("shuffled", "any", ["shuffle1", "shuffle2", "shuffle3"]),
    # V4 starts from the trials of V1 and finds none that is better: its pick is that of V1.
    ("rum", None, ["low", "medium", "high"]),
    ("rum", None, ["low", "medium", "high"]),
]
HERE = ("--address", "none", "--set", "cluster.workers=1")


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


def test_the_report_has_a_row_per_method_with_every_metric(mini):
    rows = mini.report()["rows"]
    found = [(r["method"], r["unlearner"], [s["subset"] for s in r["plan"]]) for r in rows]
    for (method, unlearner, subsets), expected in zip(found, METHODS, strict=True):
        # A search may find another order.
        ordered = sorted if method == "rum" else list
        assert (method, ordered(subsets)) == (expected[0], ordered(expected[2] or []))
        assert unlearner == expected[1] or (expected[1] == "any" and unlearner)
    assert [row["source"] for row in rows[-2:]] == ["search", "file"]
    assert (rows[-1]["trials"], rows[-2]["trials"]) == (None, 8)
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
    perfect = [rows[0]["metrics"][name]["mean"] for name in ("tow", "mia_gap", "cost")]
    assert perfect == [1, 0, 1]


def test_the_searches_had_equal_budgets(mini):
    searches = mini.report()["searches"]
    assert [(s["name"], s["space"]) for s in searches] == [
        ("best_single", "V0"),
        ("refined", "V1"),
        ("rum", "V4"),
    ]
    # V0 has the trials of all three; V4 starts from those of V1.
    assert [(s["trials"], s["inherited"]) for s in searches] == [(12, 0), (4, 0), (8, 4)]
    for search in searches:
        assert (search["max_cost"], search["budget"]) == (9, None)
        assert (search["objective"], search["split"]) == ("tow - mia_gap", "validation")
        assert (search["attack"], search["reference"]) == ("auc", "oracle")
        assert search["best"].keys() >= {"plan", "objective"}
        assert search["complete"] + search["diverged"] == search["trials"]
        assert len(search["finalists"]) >= 2
        assert search["finalists"][0]["plan"] == search["best"]["plan"]
    trials = pd.read_parquet(mini.out / "trials.parquet")
    assert trials["search"].value_counts().to_dict() == {"V0": 12, "V1": 4, "V4": 8}
    assert trials["seconds"].notna().all()
    judged = trials[trials["status"] == "complete"]
    steps = [
        [s for s in json.loads(plan) if s["unlearner"] != {"name": "nothing"}]
        for plan in judged["plan"]
    ]
    seeds = judged["by_seed"].map(len)
    assert min(seeds) == 1 < max(seeds) <= 3
    ran = [count * len(some) for count, some in zip(seeds, steps, strict=True)]
    assert list(judged["steps_run"] + judged["cache_hits"]) == ran
    assert mini.count("prefix") == 0


def test_the_report_has_the_ladder_and_the_fronts(mini):
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
        assert len(search["expected_best"]) == search["trials"]
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
    assert re.search(r"│ RUM \(search\)[^│]* +│", out)
    err = (mini.folder / "stderr").read_text()
    assert re.findall(r"^(\S.*?) +[\d.]+ s  \d+ done$", err, re.MULTILINE) == [
        "train",
        "embed",
        "retrain",
        "ranges",
        "search",
        "validate",
        "rows",
    ]


def test_a_search_in_two_processes_makes_the_same_bits(call, copy, mini):
    for kind in ("search", "trial"):
        shutil.rmtree(copy.store / kind)
    two = flags("cluster.workers=2")
    code, _, err = call("tune", DEMO, *flags(*SETTINGS), "--address", "none", *two)
    assert code == 0, err
    assert copy.artifacts("search", "trial") == mini.artifacts("search", "trial")


def test_a_pool_grows_until_it_is_precise_enough_and_can_be_extended(call, tmp_path):
    recipe = flags("score.recipe={model: mlp, epochs: 1, batch_size: 256}", "score.fused=true")
    recipe += [*flags(*SETTINGS[3:]), *HERE, "--json"]

    def pool() -> dict[str, bytes]:
        paths = (tmp_path / "store" / "pool").glob("*.safetensors")
        return {path.name: path.read_bytes() for path in paths}

    loose = flags("score.models={max: 2000, standard_error: 0.09}")
    code, out, err = call("score", DEMO, *recipe, *loose)
    assert code == 0, err
    answer, before = json.loads(out), pool()
    models, trained = answer["models"], len(before)
    # 2 originals and 5 of the search; models that were in training at the end are there, too.
    assert 7 + models == int(re.search(r"^train .* (\d+) done$", err, re.M)[1])
    assert models % 64 == 0
    assert models <= trained < 1000
    scores = pd.read_parquet(tmp_path / "out" / "digits" / "scores.parquet")
    assert scores["standard_error"].mean() <= 0.09

    more = flags(f"score.models={{max: {trained + 30}, standard_error: 0.001}}")
    code, out, err = call("score", DEMO, *recipe, *more, "--out", "out/more")
    assert code == 0, err
    assert json.loads(out)["models"] == trained + 30 == len(pool())
    assert before.items() < pool().items()
    assert f"{7 + trained + 30} done, {7 + trained} reused" in err

    code, out, err = call("score", DEMO, *recipe, *loose, "--out", "out/again")
    assert code == 0, err
    assert json.loads(out)["models"] == models
    again = pd.read_parquet(tmp_path / "out" / "again" / "scores.parquet")
    pd.testing.assert_frame_equal(again, scores, check_exact=True)


def test_a_job_that_diverges_ends_the_stage_when_the_others_are_done(call, copy, mini):
    # Three steps of the file, one of which cannot succeed, on two originals.
    diverging = flags("compare=[{name: neggrad, lr: 1.0e+6, epochs: 3}]")
    code, out, err = call("run", DEMO, *flags(*SETTINGS), *diverging, *HERE)
    assert (code, out) == (5, "")
    assert re.search(r"rum-ray: .*neggrad .*lr", err)
    assert not (copy.out / "report.json").exists()
    # The other rows are there.
    assert copy.artifacts().items() == mini.artifacts().items()


def test_a_bug_of_a_plug_in_is_one_line(call, copy, plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(plugins))
    changes = flags("compare=[{name: 'broken:Broken', epochs: 1}]")
    code, out, err = call("run", DEMO, *flags(*SETTINGS), *changes, *HERE)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("rum-ray: ")
    assert "KeyError: 'of two\\nlines'" in last


def test_no_trial_looks_at_t(copy, plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(plugins))
    bundle = importlib.import_module("trapped").digits()
    experiment = config.load(DEMO, SETTINGS)
    original = Study(experiment, Context(experiment.load_data(), Store(copy.store)))
    picks = [search.pick(original.context) for search in original.rungs]
    trapped = Context(
        # The training labels, noise included, are those of the experiment.
        type(bundle)(**{**vars(original.context.bundle), "test": bundle.test}),
        Store(copy.store),
    )
    for epochs, (search, pick) in enumerate(zip(original.rungs, picks, strict=True), start=2):
        subsets = pick.partition
        plan = Plan.assign(subsets, dict.fromkeys(subsets.names, FineTune(epochs=epochs)))
        for seed in (0, search.config.seeds):
            job = search.unit(plan, seed)
            assert not trapped.has(job)
            assert trapped.get_or_compute(job).value["status"] == "complete"


def test_nothing_before_the_rows_looks_at_t(call, copy, mini, plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(plugins))
    trapped = [*flags(*SETTINGS), *flags("data={name: 'trapped:digits'}"), *HERE]
    code, out, err = call("tune", DEMO, *trapped, "--json")
    assert code == 0, err
    assert copy.artifacts() == mini.artifacts()
    answer = json.loads(out)
    assert [search["trials"] for search in answer["searches"]] == [12, 4, 8]
    plan = yaml.safe_load(Path(answer["plan"]).read_text())["plan"]
    assert sorted(plan) == ["high", "low", "medium"]
    code, out, err = call("run", DEMO, *trapped)
    assert (code, out) == (1, "")
    assert "RuntimeError: somebody looked at T." in err


def test_other_spaces_beside_finished_ones(call, copy):
    """V1 is reused; V2 and V3 are searched, and V4 anew, since it starts from their trials."""
    changes = ("search.spaces=[V1, V2, V3, V4]", "search.start=[plan]")
    changes += ("plan.low={name: finetune, epochs: 1, batch_size: 256}", "plan.medium=nothing")
    changes += ("plan.high={name: finetune, lr: 0.03, epochs: 1, batch_size: 256}",)
    code, out, err = call("tune", DEMO, *flags(*SETTINGS, *changes), *HERE, "--json")
    assert code == 0, err
    assert re.search(r"^search .* \d+ done", err, re.MULTILINE)
    answer = json.loads(out)
    assert [(s["name"], s["space"], s["starts"]) for s in answer["searches"]] == [
        ("refined", "V1", 0), ("ordered", "V2", 0), ("untuned", "V3", 0), ("rum", "V4", 1),
    ]  # fmt: skip
    assert all(search["complete"] for search in answer["searches"])

    experiment = config.load(DEMO, (*SETTINGS, *changes))
    study = Study(experiment, Context(experiment.load_data(), Store(copy.store)))
    orders, asked = set(), set()
    for search in study.rungs:
        trials = search.ledger(study.context).trials
        own = [trial for trial in trials if not trial.inherited]
        assert [trial.start for trial in own] == [search.name == "V4", False, False, False]
        assert len(trials) == len({trial.plan for trial in trials})
        asked |= {answer for trial in trials for answer in trial.answers}
        if search.name != "V1":
            orders |= {trial.plan.partition.names for trial in trials}
    assert len(orders) > 1
    assert {"medium.place", "high.place", "unlearner", "low.unlearner"} < asked
    (found,) = (search for search in study.rungs if search.name == "V4")
    (start,) = (trial.plan for trial in found.ledger(study.context).trials if trial.start)
    assert Plan.assign(study.partition, experiment.plan) == start
    written = config.load_plan(Path(answer["plan"]))
    best = answer["searches"][-1]["best"]["plan"]
    assert list(written.order) == [step["subset"] for step in best]


FILES = {
    "train": lambda answer, out: [*answer["originals"], *answer["retrained"]],
    "score": lambda answer, out: [answer["scores"]],
    "refine": lambda answer, out: [answer["scores"]],
    "unlearn": lambda answer, out: answer["unlearned"],
    "evaluate": lambda answer, out: [],
    "tune": lambda answer, out: [answer["plan"], answer["trials"]],
    "report": lambda answer, out: [out / "report.html", out / "report.json"],
    "run": lambda answer, out: [out / "report.html", out / "report.json"],
}
# Runs each command in turn; prints its exit code and the heavy modules that are imported by then.
IN_TURN = """if True:
    import json, sys
    from rum_ray.cli import app

    heavy = {"matplotlib", "optuna", "ray", "sklearn"}
    for line in json.loads(sys.argv[1]):
        sys.argv = ["rum-ray", *line]
        try:
            app.main()
        except SystemExit as left:
            print(left.code or 0, *sorted(heavy & sys.modules.keys()), flush=True)
"""


def test_each_command_on_a_finished_study(mini):
    """One JSON object and its files; nothing is computed, and no heavy package is imported."""
    before = {path: path.stat().st_mtime_ns for path in mini.store.rglob("*")}
    lines = [
        [command, str(DEMO), *flags(*SETTINGS), "--json", "--out", f"out/{command}"]
        for command in FILES
    ]
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN, json.dumps(lines)],
        cwd=mini.folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rum-ray:" not in done.stderr
    printed = done.stdout.splitlines()
    # Ray, with nothing to compute, would be two seconds for nothing.
    assert printed[1::2] == ["0"] * 6 + ["0 matplotlib"] * 2
    answers = dict(zip(FILES, map(json.loads, printed[::2]), strict=True))
    files = {
        command: [mini.folder / path for path in FILES[command](answer, Path(f"out/{command}"))]
        for command, answer in answers.items()
    }
    assert all(path.stat().st_size for paths in files.values() for path in paths)
    first, second = files["unlearn"]
    assert load_file(first).keys() == load_file(second).keys()
    plan = yaml.safe_load(files["tune"][0].read_text())
    tuned = {**yaml.safe_load(DEMO.read_text()), **plan}
    assert config.parse(tuned).plan.keys() == {"low", "medium", "high"}
    rows = [row["method"] for row in answers["evaluate"]["rows"]]
    assert rows == ["retrained", "retrained_again", "original", "retrained_reordered", "rum"]
    report = json.loads(files["run"][1].read_text())
    assert answers["run"] == report
    assert of_science(report) == of_science(mini.report())
    assert {path: path.stat().st_mtime_ns for path in mini.store.rglob("*")} == before
