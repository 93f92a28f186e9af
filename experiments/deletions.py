"""Requests to forget on real pictures: the light plan of `rum-ray delete`, measured as a study is.

The five splits, pools and forget sets are those of cifar10_claims.yaml, and so are originals and
retrained models; its results must be in the store.

- "requests": `auto` on subsets by 1 - p of the label under the given model, which needs no pool,
  beside the plan that the study searched, unlearners with default values, and doing nothing.
- "difficulty": Spearman correlation of 1 - p with memorization, over D.
- "pool": LiRA of the rows of a request after `auto`, with models of the pool that never saw a row,
  against the same with models that were retrained without the request.
- "weekly": ten requests of 1 % of D by the command, one after another; the last model and the
  original against a model that was retrained without all ten.

    .venv/bin/python experiments/deletions.py STORE OUT    # RUM_RAY_DATA is a folder with CIFAR-10

OUT has one file per part and repeat, and the folders of the requests. The same command again goes
on from there; the result is written after each of them.
"""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from auto import TABLE, UNTUNED, default
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from rum_ray import config
from rum_ray.deletion.plan import make_plan, subsets
from rum_ray.deletion.pool import missed_by
from rum_ray.evaluation import PoolEvidence
from rum_ray.evaluation.mia import margin
from rum_ray.evaluation.pool import lira_scores
from rum_ray.evaluation.statistics import Mean, compare
from rum_ray.evaluation.tow import evaluate
from rum_ray.experiment import to_plain
from rum_ray.files import write_bytes
from rum_ray.jobs import Context, Evaluate, PoolLogits, TrainModel, pool_logits
from rum_ray.jobs.pretrained import read_weights
from rum_ray.partition import Partition, Subset
from rum_ray.results.environment import machine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.spaces import picked_plan
from rum_ray.study.study import Study
from rum_ray.study.worker_pool import WORKER_SETTINGS
from rum_ray.training.prediction import predict
from rum_ray.unlearning import Nothing

HERE = Path(__file__).parent
CLAIMS, RESULT = HERE / "cifar10_claims.yaml", HERE / "results" / "deletions.json"
REPEATS, WEEKS, RETRAINED, PROCESSES = range(5), 10, 16, 2
PARTS, FILE = ("requests", "weekly"), "requests.yaml"


def open_study(store: str, repeat: int, *changes: str) -> Study:
    """Return a repeat of the study of the claims."""
    root = f"data.root={os.environ['RUM_RAY_DATA']}"
    experiment = config.load(CLAIMS, [root, *changes]).repeated(repeat)
    return Study(experiment, Context(experiment.load_data(), Store(store)))


def measured(context: Context, original: TrainModel, plan: Plan) -> dict[str, float]:
    """Return the metrics of a plan on T, against the model retrained without its rows."""
    retrained = TrainModel(original.recipe, original.seed, plan.partition.rows)
    made = Evaluate(original, plan.partition, original.seed / "plan", "test", plan)
    reference = Evaluate(retrained, plan.partition, original.seed, "test")
    for job in (made, reference):
        context.get_or_compute(job)
    metrics = made.load(context).against(reference.load(context))
    return {**told(metrics), "cost": metrics["cost"]}


def told(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics by which plans are compared."""
    return {
        "auc": metrics["tow"] - metrics["auc_gap"],
        "svm": metrics["tow"] - metrics["mia_gap"],
        "tow_examples": metrics["tow_examples"],
    }


def requests(store: str, repeat: int) -> dict[str, Any]:
    """Return metrics by plan, each one value per original, and correlations."""
    study, light = open_study(store, repeat), open_study(store, repeat, "plan=auto").experiment
    context, train = study.context, study.context.bundle.train
    total, recipe = len(train), study.recipe
    searched = picked_plan(study.rungs[-1], context, study.partition)
    whole: dict[str, Plan] = {"nothing": Plan.assign(study.partition, {"all": Nothing()})}
    for name in UNTUNED:
        (step,) = default(name)
        whole[f"{name}, untuned"] = Plan.assign(study.partition, {"all": step.at(recipe)})
    values: dict[str, list[dict[str, float]]] = {}
    correlations, agreements = [], []
    for original in study.originals:
        predicted = predict(original.load(context), train)
        difficulty = Scores(missed_by(margin(predicted, train.y.numpy())), name="1 - p")
        correlations.append(float(spearmanr(difficulty.values, study.scores.values).statistic))
        parts = subsets(light, context.bundle, study.forget, difficulty)
        auto, _ = make_plan(light, parts, total)
        for name, plan in {"auto": auto, "searched": searched, **whole}.items():
            values.setdefault(name, []).append(measured(context, original, plan))
        agreements.append(agreement(study, original, auto))
    return {
        "repeat": repeat,
        "values": {
            name: {metric: [each[metric] for each in found] for metric in found[0]}
            for name, found in values.items()
        },
        "difficulty": correlations,
        "pool": agreements,
    }


def agreement(study: Study, original: TrainModel, plan: Plan) -> dict[str, float]:
    """Return how well LiRA of the pool agrees with LiRA of retrained models after a plan."""
    context, rows = study.context, plan.partition.rows
    jobs = [PoolLogits(model) for model in study.scoring.pool]
    again = [TrainModel(original.recipe, Seed(k) / "never saw", rows) for k in range(RETRAINED)]
    for job in (*jobs, *again):
        context.get_or_compute(job)
    made = Evaluate(original, plan.partition, original.seed / "plan", "test", plan)
    logits = made.load(context).logits("forget")
    pool, included, _ = pool_logits(context, jobs, rows)
    forget = context.bundle.train.take(rows)
    retrained = np.stack(
        [margin(predict(job.load(context), forget), forget.y.numpy()) for job in again]
    )
    ours = lira_scores(PoolEvidence(logits, pool, included))
    theirs = lira_scores(PoolEvidence(logits, retrained, np.zeros(retrained.shape, dtype=bool)))
    # A normal variable is above this once in a hundred times.
    told = [scores > 2.326 for scores in (ours, theirs)]
    return {
        "spearman": float(spearmanr(ours, theirs).statistic),
        "same verdict": float((told[0] == told[1]).mean()),
        "told by the pool": float(told[0].mean()),
        "told by retrained models": float(told[1].mean()),
    }


def weekly(store: str, out: str, repeat: int) -> dict[str, Any]:
    """Forget ten times 1 % of D by the command; return the accuracy after each request."""
    claims = open_study(store, repeat)
    context, train = claims.context, claims.context.bundle.train
    rows = np.random.default_rng(repeat).permutation(len(train))
    rows = rows[: len(train) // 100 * WEEKS].reshape(WEEKS, -1)
    folder, found = Path(out) / f"weekly{repeat}", []
    write_file(folder, claims, "auto")
    for week, of_week in enumerate(rows, 1):
        published = forget(store, folder, week, train.ids[of_week])
        evidence = json.loads((published / "evidence.json").read_text("utf-8"))
        drift = evidence["drift"]
        found.append({"accuracy": drift["now"], "attack": drift["attack"]["value"]})
    partition = Partition((Subset("all", np.sort(rows.ravel())),))
    original = claims.originals[0]
    retrained = TrainModel(original.recipe, original.seed, partition.rows)
    context.get_or_compute(retrained)
    models = {
        "auto": read_weights(str(published / "model.safetensors"), original.recipe, train),
        "nothing": original.load(context),
    }
    reference = evaluate(retrained.load(context), context.bundle, partition)
    evaluated = {name: evaluate(model, context.bundle, partition) for name, model in models.items()}
    return {
        "repeat": repeat,
        "original": drift["original"],
        "weeks": found,
        "cost": evidence["bill"]["spent"] / WEEKS,
        "retrained": reference.accuracies.test,
        "retrained auc": reference.auc,
        "values": {
            name: {
                **told(each.against(reference)),
                "forgotten_auc": each.auc,
                "lost": reference.accuracies.test - each.accuracies.test,
            }
            for name, each in evaluated.items()
        },
    }


def write_file(folder: Path, study: Study, plan: Any) -> None:
    """Write the file of requests to forget on the data of a study, by a plan."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = ("name", "data", "recipe", "seeds")
    tree = {key: value for key, value in to_plain(study.experiment).items() if key in kept}
    text = json.dumps({**tree, "score": {"name": "auto"}, "plan": plan})
    (folder / FILE).write_text(text, "utf-8")


def forget(store: str, folder: Path, number: int, ids: ArrayLike) -> Path:
    """Return the published folder of a request; give its command unless it is there."""
    published = folder / "out" / "deletions" / f"{number:04d}"
    if published.exists():
        return published
    np.savetxt(folder / "list.txt", ids, "%d")
    places = ["--out", f"{folder}/out", "--store", store, "--address", "none"]
    command = ["delete", f"{folder}/{FILE}", "--forget", f"{folder}/list.txt", *places]
    run = subprocess.run(
        [sys.executable, "-m", "rum_ray", *command], capture_output=True, text=True
    )
    if run.returncode:
        # A pool waits for ever for a process that exits.
        raise RuntimeError(run.stderr)
    return published


def one(store: str, out: str, task: tuple[str, int]) -> tuple[str, dict[str, Any]]:
    """Return the result of one part on one repeat, from its file in `out` if there is one."""
    torch.set_num_threads(1)
    part, repeat = task
    file = Path(out) / f"{part}{repeat}.json"
    if not file.exists():
        found = requests(store, repeat) if part == "requests" else weekly(store, out, repeat)
        write_bytes(file, json.dumps(found).encode())
    return part, json.loads(file.read_text("utf-8"))


def summary(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return means over the repeats; the seeds of a repeat are averaged first."""
    asked, weeks = found["requests"], found["weekly"]
    metrics = ("auc", "svm", "tow_examples", "cost")
    plans = [*asked[0]["values"]]

    def means(plan: str, metric: str) -> list[float]:
        return [float(np.mean(each["values"][plan][metric])) for each in asked]

    best = max(
        (f"{name}, untuned" for name in UNTUNED), key=lambda name: np.mean(means(name, "auc"))
    )
    rivals = ("searched", best, "nothing")
    lost = [each["values"]["auto"]["lost"] for each in weeks]

    return {
        "plans": {
            plan: {metric: dataclasses.asdict(Mean.of(means(plan, metric))) for metric in metrics}
            for plan in plans
        },
        "best untuned": best,
        "auto against": {
            rival: {
                metric: dataclasses.asdict(compare(means("auto", metric), means(rival, metric)))
                for metric in metrics[:-1]
            }
            for rival in rivals
        },
        "difficulty": dataclasses.asdict(Mean.of([np.mean(each["difficulty"]) for each in asked])),
        "pool": {
            name: dataclasses.asdict(
                Mean.of([np.mean([p[name] for p in each["pool"]]) for each in asked])
            )
            for name in asked[0]["pool"][0]
        },
        "lost after ten requests": dataclasses.asdict(Mean.of(lost)),
        "after ten requests": {
            plan: {
                metric: dataclasses.asdict(Mean.of([w["values"][plan][metric] for w in weeks]))
                for metric in weeks[0]["values"][plan]
            }
            for plan in weeks[0]["values"]
        },
    }


def write(found: Mapping[str, list[dict[str, Any]]], minutes: float) -> None:
    """Write the result of the repeats so far, as soon as there are two of each part."""
    done = {part: sorted(each, key=lambda one: one["repeat"]) for part, each in found.items()}
    if min(map(len, done.values())) < 2:
        return
    result = {
        "experiment": "deletions",
        "date": date.today().isoformat(),
        "repeats": {part: len(each) for part, each in done.items()},
        **summary(done),
        "values": done,
        "minutes": minutes,
        "environment": machine(),
    }
    write_bytes(RESULT, (json.dumps(result, indent=1) + "\n").encode())


def check_plan(out: Path) -> None:
    """End the program if `out` has results of another plan `auto`."""
    made, now = out / "auto.json", TABLE.read_bytes()
    out.mkdir(parents=True, exist_ok=True)
    if made.exists() and made.read_bytes() != now:
        raise SystemExit(f"{out} has results of another plan `auto`. Name another OUT.")
    write_bytes(made, now)


def main() -> None:
    """Measure both parts on each repeat, and keep everything."""
    store, out = (os.fspath(Path(path).resolve()) for path in sys.argv[1:3])
    check_plan(Path(out))
    began, found = perf_counter(), {part: list[dict[str, Any]]() for part in PARTS}
    tasks = [(part, repeat) for repeat in REPEATS for part in PARTS]
    os.environ.update(WORKER_SETTINGS)
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for part, result in pool.imap_unordered(partial(one, store, out), tasks):
            found[part].append(result)
            done, minutes = sum(map(len, found.values())), (perf_counter() - began) / 60
            print(
                f"{done} of {len(tasks)}: {part} {result['repeat']}; {minutes:.0f} min", flush=True
            )
            write(found, minutes)
    result = json.loads(RESULT.read_text("utf-8"))
    left_out = ("values", "environment")
    print(json.dumps({key: each for key, each in result.items() if key not in left_out}, indent=1))


if __name__ == "__main__":
    main()
