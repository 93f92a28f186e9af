"""Five requests to forget, one after another, on real pictures: continual unlearning.

Data, recipe and size of the forget set are those of cifar10_claims.yaml, with one split per repeat.
The forget set is spread over the confidence that the training of the original records. Each request
has a fifth of the low, the medium and the high third, drawn at random. A plan forgets the requests
by `rum-ray delete`, one after another, with a ledger of its own. After each request, its model is
judged on T against a model that was retrained without all rows forgotten so far.

- "auto": the plan that needs no search.
- "searched": the pick of the search of cifar10_claims.yaml on the same split, which was chosen for
  one request with all rows; its report is in results/.
- "finetune" and "neggrad+": single unlearners with default values.
- "nothing": the original. "retrained again": retrained from another seed, which is the noise floor.

Each plan also forgets all rows at once, in one request. The difference is the price of continual
requests.

Steps, sizes and metrics follow Zhao, Luca and Triantafillou, "Benchmarking unlearning for vision
transformers", 2026, https://arxiv.org/abs/2602.20114. Their code chooses the rows of a step by the
model of the step before. Here all requests are drawn first, so that all plans forget the same rows.

    .venv/bin/python experiments/continual.py STORE OUT [REPEATS]

RUM_RAY_DATA is a folder with CIFAR-10. STORE may be that of cifar10_claims.yaml. OUT has one file
per repeat, and the folders of the requests. The same command again goes on from there; the result
is written after each repeat.
"""

import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from auto import default
from deletions import check_plan, forget, open_study, write_file
from torch import nn

from rum_ray.data.bundle import Indices
from rum_ray.evaluation.statistics import Mean, compare
from rum_ray.evaluation.tow import Evaluation, evaluate
from rum_ray.experiment import to_plain
from rum_ray.files import write_bytes
from rum_ray.jobs import TrainModel
from rum_ray.jobs.pretrained import read_weights
from rum_ray.partition import Partition, Subset
from rum_ray.refinement import forget_set, refine
from rum_ray.results.environment import machine
from rum_ray.scores import Scores
from rum_ray.study.study import Study
from rum_ray.study.worker_pool import WORKER_SETTINGS
from rum_ray.training import Recipe

RESULTS = Path(__file__).parent / "results"
RESULT, SEARCHED = RESULTS / "continual.json", RESULTS / "cifar10_claims.json"
REPEATS, STEPS, PROCESSES = 5, 5, 2
SINGLE = ("finetune", "neggrad+")
METRICS = ("tow", "mia_gap", "auc_gap", "tow_examples", "test_accuracy")
VALUES = ("tow - mia_gap", "tow - auc_gap", *METRICS, "returned")
Models = Iterator[tuple[nn.Module, float]]


def plans_of(recipe: Recipe, repeat: int) -> dict[str, Any]:
    """Return the plans of a repeat by name, as in an experiment file."""
    plans: dict[str, Any] = {"auto": "auto"}
    searched = json.loads(SEARCHED.read_text("utf-8"))["repeats"]
    if repeat < len(searched):
        steps = searched[repeat]["plan"]
        plans["searched"] = {step["subset"]: step["unlearner"] for step in steps}
    for name in SINGLE:
        (step,) = default(name)
        plans[name] = {"all": to_plain(step.at(recipe))}
    return plans


def requests_of(study: Study, steps: int = STEPS) -> list[Indices]:
    """Return the rows of each request: as many of each third of the forget set, by confidence."""
    original = study.originals[0]
    recorded = study.context.get_or_compute(original).arrays["events/confidence"]
    scores = Scores(recorded, name="confidence")
    parts = []
    for third in refine(forget_set(scores, study.experiment.forget.size, middle="median"), scores):
        order = (original.seed / "requests" / third.name).permutation(len(third))
        parts.append(np.array_split(third.rows[order], steps))
    return [np.sort(np.concatenate(shares)) for shares in zip(*parts, strict=True)]


def evaluated(study: Study, requests: Sequence[Indices], model: nn.Module) -> Evaluation:
    """Return the evaluation of a model on T and on the rows of some requests."""
    subsets = (Subset(f"request{number}", rows) for number, rows in enumerate(requests, 1))
    return evaluate(model, study.context.bundle, Partition(tuple(subsets)))


def judged(made: Evaluation, reference: Evaluation, cost: float) -> dict[str, float]:
    """Return the metrics of a model against a retrained one.

    "returned" is the accuracy on the rows of the first request, less that of the retrained model:
    later requests may bring back the rows that were forgotten first.
    """
    metrics = made.against(reference)
    return {
        **{name: metrics[name] for name in METRICS},
        **{f"tow - {gap}": metrics["tow"] - metrics[gap] for gap in ("mia_gap", "auc_gap")},
        "returned": made.subsets["request1"] - reference.subsets["request1"],
        "lost": reference.accuracies.test - made.accuracies.test,
        "cost": cost,
    }


def forgotten(
    study: Study, plan: Any, requests: Sequence[Indices], store: str, folder: Path
) -> Models:
    """Yield the model after each request by the command, and the cost of its plan."""
    train = study.context.bundle.train
    write_file(folder, study, plan)
    for number, rows in enumerate(requests, 1):
        published = forget(store, folder, number, train.ids[rows])
        evidence = json.loads((published / "evidence.json").read_text("utf-8"))
        model = read_weights(str(published / "model.safetensors"), study.recipe, train)
        yield model, evidence["bill"]["plan"]


def measured(
    study: Study, plans: Mapping[str, Any], requests: Sequence[Indices], store: str, folder: Path
) -> dict[str, Any]:
    """Return the metrics of each plan after each request, and of all rows in one request."""
    context, original = study.context, study.originals[0]
    gone = [np.sort(np.concatenate(requests[:step])) for step in range(1, len(requests) + 1)]
    other = original.seed / "again"
    references, again = (
        [TrainModel(study.recipe, seed, rows).load(context) for rows in gone]
        for seed in (original.seed, other)
    )
    against = [evaluated(study, requests[:step], model) for step, model in enumerate(references, 1)]

    def judgements(models: Models, steps: Sequence[int]) -> list[dict[str, float]]:
        return [
            judged(evaluated(study, requests[:step], model), against[step - 1], cost)
            for step, (model, cost) in zip(steps, models, strict=True)
        ]

    steps = range(1, len(requests) + 1)
    unchanged = original.load(context)
    found = {
        "nothing": judgements(((unchanged, 0.0) for _ in steps), steps),
        "retrained again": judgements(((model, 1.0) for model in again), steps),
    }
    once = {}
    for name, plan in plans.items():
        found[name] = judgements(forgotten(study, plan, requests, store, folder / name), steps)
        (whole,) = judgements(
            forgotten(study, plan, gone[-1:], store, folder / f"{name}, at once"), steps[-1:]
        )
        once[name] = whole
    return {"steps": found, "at once": once}


def one(store: str, out: str, repeat: int) -> dict[str, Any]:
    """Return the result of a repeat, from its file in `out` if there is one."""
    torch.set_num_threads(1)
    file = Path(out) / f"continual{repeat}.json"
    if not file.exists():
        began, study = perf_counter(), open_study(store, repeat)
        folder = Path(out) / f"continual{repeat}"
        requests = requests_of(study)
        found = measured(study, plans_of(study.recipe, repeat), requests, store, folder)
        made = {"repeat": repeat, **found, "minutes": (perf_counter() - began) / 60}
        write_bytes(file, json.dumps(made).encode())
    result: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return result


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return means over the repeats; comparisons, if there are several."""
    plans = [n for n in found[0]["steps"] if all(n in each["steps"] for each in found)]
    whole = [name for name in plans if name in found[0]["at once"]]
    count = len(found[0]["steps"]["nothing"])

    def values(plan: str, metric: str, step: int = count) -> list[float]:
        return [each["steps"][plan][step - 1][metric] for each in found]

    def at_once(plan: str, metric: str) -> list[float]:
        return [each["at once"][plan][metric] for each in found]

    def mean(each: Sequence[float]) -> dict[str, Any]:
        return dataclasses.asdict(Mean.of(each))

    metrics = (*VALUES, "lost", "cost")
    result: dict[str, Any] = {
        "steps": {
            plan: {m: [mean(values(plan, m, step + 1)) for step in range(count)] for m in metrics}
            for plan in plans
        },
        "at once": {plan: {m: mean(at_once(plan, m)) for m in metrics} for plan in whole},
    }
    if len(found) > 1:
        result["one by one less at once"] = {
            plan: {
                m: dataclasses.asdict(compare(values(plan, m), at_once(plan, m))) for m in VALUES
            }
            for plan in whole
        }
        result["auto, less another, in the end"] = {
            rival: {
                m: dataclasses.asdict(compare(values("auto", m), values(rival, m))) for m in VALUES
            }
            for rival in plans
            if rival != "auto" and "auto" in plans
        }
    return result


def table(result: Mapping[str, Any]) -> str:
    """Return the means of a summary as text: a line per step and plan."""
    names = (*METRICS, "returned", "cost")
    lines = ["".join(["step  plan".ljust(24), *(name.rjust(17) for name in names)])]
    count = len(result["steps"]["nothing"]["tow"])
    for step in range(count):
        for plan, metrics in result["steps"].items():
            lines.append(_line(str(step + 1), plan, [metrics[name][step] for name in names]))
    for plan, metrics in result["at once"].items():
        lines.append(_line("all", plan, [metrics[name] for name in names]))
    return "\n".join(lines)


def _line(step: str, plan: str, means: Sequence[Mapping[str, Any]]) -> str:
    """Return a line of the table: means, and half of their 95 % intervals."""
    halves = ["" if mean["ci95"] is None else f" ± {mean['ci95']:.3f}" for mean in means]
    cells = [f"{m['mean']:.3f}{half}".rjust(17) for m, half in zip(means, halves, strict=True)]
    return "".join([f"{step.ljust(5)} {plan}".ljust(24), *cells])


def write(found: Sequence[dict[str, Any]], minutes: float) -> dict[str, Any]:
    """Write the result of the repeats so far; return their summary."""
    done = sorted(found, key=lambda each: int(each["repeat"]))
    result = summary(done)
    content = {
        "experiment": "continual",
        "date": date.today().isoformat(),
        "repeats": len(done),
        **result,
        "values": done,
        "minutes": minutes,
        "environment": machine(),
    }
    write_bytes(RESULT, (json.dumps(content, indent=1) + "\n").encode())
    return result


def main() -> None:
    """Measure each repeat, and print the table of all."""
    store, out = (os.fspath(Path(path).resolve()) for path in sys.argv[1:3])
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else REPEATS
    check_plan(Path(out))
    began, found = perf_counter(), list[dict[str, Any]]()
    os.environ.update(WORKER_SETTINGS)
    with multiprocessing.get_context("spawn").Pool(min(PROCESSES, repeats)) as pool:
        for result in pool.imap_unordered(partial(one, store, out), range(repeats)):
            found.append(result)
            minutes = (perf_counter() - began) / 60
            print(f"repeat {result['repeat']}: {result['minutes']:.0f} min", flush=True)
            means = write(found, minutes)
    print(table(means))


if __name__ == "__main__":
    main()
