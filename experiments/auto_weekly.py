"""The plan `auto` for small requests: learned on chains of requests of 1 % of D.

A constant learning rate that is high enough to forget leaves its noise in the weights, whatever the
size of the request: fine-tuning at that rate, which forgets nothing, costs as much accuracy. So the
candidates are the plan for large requests at two rates and two numbers of epochs, without and with
a repair at a tenth of the rate; doing nothing; and fine-tuning at the rate of the repair.

A weekly request starts from the model of the one before. So a candidate is judged by what stays
after five of them: each forgets another 1 % of D, drawn at random. The last model is judged on V
and on all rows that were forgotten, against the mean of three models retrained without them. J is
that of auto.py, ToW - AUC gap. A candidate is allowed if it is better than doing nothing on the
average of each data set, and loses at most one point of accuracy on V against retraining there.
Of these, `auto` has the least regret, averaged within each data set and then over them.

It is judged on other splits, by ten requests, on T, beside the plan for large requests and doing
nothing; per data set it is chosen on the others.

    .venv/bin/python experiments/auto_weekly.py OUT

RUM_RAY_DATA is a folder with CIFAR-10. OUT has one file per study; the same command again goes on
from there.
"""

import dataclasses
import itertools
import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from auto import CANCER, CIFAR, DIGITS, NOTHING, Relative, cancer, write_plan
from numpy.typing import NDArray
from torch import nn

from rum_ray.data import DataBundle, LabeledData, load
from rum_ray.data.bundle import complement
from rum_ray.errors import DivergedError
from rum_ray.evaluation.statistics import Mean
from rum_ray.evaluation.tow import Evaluation, evaluate, tow
from rum_ray.files import write_bytes
from rum_ray.jobs.evaluate import relative_cost
from rum_ray.partition import Partition, Subset
from rum_ray.results.environment import machine
from rum_ray.rum import Plan, unlearn
from rum_ray.search.auto import LARGE, RelativeStep, relative_plans
from rum_ray.search.objective import INFEASIBLE, Reference
from rum_ray.seeding import Seed
from rum_ray.study.worker_pool import WORKER_SETTINGS
from rum_ray.training import LocalRuntime, Recipe

RESULT = Path(__file__).parent / "results" / "auto_weekly.json"
SHARE, LEARNING_WEEKS, REPORTED_WEEKS, PROCESSES = 0.01, 5, 10, 1
REFERENCES, REPORTED = 3, range(3)
MOST_LOST = 0.01
"""Largest loss of accuracy on V against retraining, on the average of a data set."""


@dataclass(frozen=True)
class Chain:
    """Small requests of one data set, one after another.

    Attributes:
        data: name of the data set.
        noise: share of flipped labels.
        recipe: training of the original.
        seed: of the split and of all draws.
        weeks: number of requests.
        split: the data on which the last model is judged, "valid" or "test".
    """

    data: str
    noise: float
    recipe: Recipe
    seed: int
    weeks: int = LEARNING_WEEKS
    split: str = "valid"

    def __str__(self) -> str:
        return f"{self.data}, {self.noise:.0%} flips, split {self.seed}, {self.weeks} requests"

    @cached_property
    def bundle(self) -> DataBundle:
        """The data; for learning, a part of D is added to V, with its true labels."""
        if self.data == "digits":
            whole = load("digits", label_noise=self.noise, seed=self.seed)
        elif self.data == "cancer":
            whole = cancer(self.seed)
        else:
            root, size = os.environ["RUM_RAY_DATA"], 3_000 if self.split == "test" else 4_500
            whole = load("cifar10", root=root, size=size, test_size=2_000, seed=self.seed)
        return whole if self.split == "test" else with_large_v(whole, self.seed)

    @cached_property
    def requests(self) -> list[NDArray[np.int64]]:
        """The rows of D of each request."""
        total = len(self.bundle.train)
        each = max(1, round(total * SHARE))
        rows = np.random.default_rng(self.seed).permutation(total)[: each * self.weeks]
        return [np.sort(rows[week * each : (week + 1) * each]) for week in range(self.weeks)]

    @cached_property
    def partition(self) -> Partition:
        """All rows that are forgotten, as one subset."""
        return Partition((Subset("all", np.sort(np.concatenate(self.requests))),))

    def trained(self, number: int, without: bool) -> nn.Module:
        """Return the original, or the model retrained without all requests, of one seed."""
        train = self.bundle.train
        data = train.without(self.partition.rows) if without else train
        return self.recipe.fit(data, LocalRuntime(Seed(self.seed) / "weekly" / number))

    def evaluated(self, model: nn.Module) -> Evaluation:
        """Return the evaluation of a model on V or T, and on all rows that are forgotten."""
        return evaluate(model, self.bundle, self.partition, self.split)  # type: ignore[arg-type]

    def forgotten(self, original: nn.Module, steps: Relative) -> tuple[nn.Module, float]:
        """Return the model after all requests, and the mean cost of one."""
        train, gone, model, cost = self.bundle.train, np.empty(0, dtype=np.int64), original, 0.0
        for week, rows in enumerate(self.requests):
            kept = complement(gone, len(train))
            data, forget = train.take(kept), np.searchsorted(kept, rows)
            partition = Partition((Subset("all", forget),))
            plan = Plan.assign(partition, {s.subset: s.at(self.recipe) for s in steps})
            runtime = LocalRuntime(Seed(self.seed) / "weekly" / "plan" / week)
            model = unlearn(model, plan, data, runtime, self.recipe)
            cost += relative_cost(plan, self.recipe, len(data)) / self.weeks
            gone = np.sort(np.concatenate([gone, rows]))
        return model, cost


def with_large_v(whole: DataBundle, seed: int) -> DataBundle:
    """Return the data with two fifths of D in V."""
    train, truth = whole.train, whole.true_labels
    order = np.random.default_rng([seed, 5]).permutation(len(train))
    moved, kept = np.sort(order[: 2 * len(train) // 5]), np.sort(order[2 * len(train) // 5 :])
    more = (train if truth is None else train.relabeled(truth)).take(moved)
    both = LabeledData(
        torch.cat([whole.valid.x, more.x]),
        torch.cat([whole.valid.y, more.y]),
        num_classes=train.num_classes,
    )
    return dataclasses.replace(
        whole,
        train=train.take(kept),
        valid=dataclasses.replace(both, mean=train.mean, std=train.std),
        true_labels=None if truth is None else truth[kept],
    )


def judged(chain: Chain, plans: Sequence[Relative]) -> dict[str, list[float]]:
    """Return J of each plan, and the accuracy that it loses against retraining."""
    original = chain.trained(0, without=False)
    reference = Reference.of(
        [chain.evaluated(chain.trained(k, without=True)) for k in range(REFERENCES)]
    )
    found: dict[str, list[float]] = {"j": [], "lost": []}
    for steps in plans:
        try:
            made = chain.evaluated(chain.forgotten(original, steps)[0])
            gap = abs(made.auc - reference.auc)
            found["j"].append(tow(made.accuracies, reference.accuracies) - gap)
            found["lost"].append(reference.accuracies.test - made.accuracies.test)
        except DivergedError:
            found["j"].append(INFEASIBLE)
            found["lost"].append(1.0)
    return found


def measured(chain: Chain, plans: Mapping[str, Relative]) -> dict[str, dict[str, list[float]]]:
    """Return the metrics of each plan on T, one value per original."""
    found: dict[str, dict[str, list[float]]] = {}
    for number in REPORTED:
        original = chain.trained(number, without=False)
        retrained = chain.evaluated(chain.trained(number, without=True))
        for name, steps in plans.items():
            model, cost = chain.forgotten(original, steps)
            made = chain.evaluated(model)
            metrics = made.against(retrained)
            values = {
                "auc": metrics["tow"] - metrics["auc_gap"],
                "svm": metrics["tow"] - metrics["mia_gap"],
                "tow_examples": metrics["tow_examples"],
                "lost": retrained.accuracies.test - made.accuracies.test,
                "attack": made.auc - retrained.auc,
                "cost": cost,
            }
            of_plan = found.setdefault(name, {metric: [] for metric in values})
            for metric, value in values.items():
                of_plan[metric].append(value)
    return found


def candidates() -> list[Relative]:
    """Return the plans to judge; the first one does nothing."""
    (large,) = relative_plans()[LARGE]
    assert large.lr is not None
    assert large.epochs is not None
    rates, epochs = (large.lr, large.lr / 2), (large.epochs, large.epochs / 2)
    found: list[Relative] = [NOTHING, (RelativeStep("all", "finetune", large.lr / 10, 0.1),)]
    for lr, share, repair in itertools.product(rates, epochs, (None, 0.05, 0.1)):
        found.append((dataclasses.replace(large, lr=lr, epochs=share, repair=repair),))
    return found


LEARNED = (
    Chain("digits", 0.1, DIGITS, 20),
    Chain("digits", 0.0, DIGITS, 21),
    Chain("cifar10", 0.0, CIFAR, 20),
    Chain("cifar10", 0.0, CIFAR, 21),
    Chain("cancer", 0.1, CANCER, 20),
    Chain("cancer", 0.1, CANCER, 21),
)
HELD_OUT = tuple(
    Chain(data, noise, recipe, seed, REPORTED_WEEKS, "test")
    for data, noise, recipe in (
        ("digits", 0.1, DIGITS),
        ("cifar10", 0.0, CIFAR),
        ("cancer", 0.1, CANCER),
    )
    for seed in (32, 33)
)
"""Splits that take no part in the choice of a plan."""


def chosen(found: Mapping[str, Mapping[str, list[float]]], without: str = "") -> int:
    """Return the number of the plan for data that are left out; number 0 is doing nothing.

    Args:
        found: J and the lost accuracy of each plan, by study.
        without: the data set to leave out.
    """
    regrets, allowed = [], []
    for data in sorted({chain.data for chain in LEARNED} - {without}):
        j, lost = (
            np.array([found[str(chain)][name] for chain in LEARNED if chain.data == data])
            for name in ("j", "lost")
        )
        regrets.append((j.max(axis=1, keepdims=True) - j).mean(axis=0))
        allowed.append(((j - j[:, :1]).mean(axis=0) > 0) & (lost.mean(axis=0) <= MOST_LOST))
    regret = np.where(np.all(allowed, axis=0), np.mean(regrets, axis=0), np.inf)
    return int(regret.argmin())


def kept(out: Path, name: str, made: Any) -> Any:
    """Return the value of a file of `out`; where there is none, compute and write it first."""
    file = out / f"{name}.json"
    if not file.exists():
        write_bytes(file, json.dumps(made()).encode())
    return json.loads(file.read_text("utf-8"))


def learn(out: str, plans: Sequence[Relative], chain: Chain) -> tuple[str, Any]:
    """Return the name of a study, and the judgement of all plans in it."""
    torch.set_num_threads(1)
    return str(chain), kept(Path(out), str(chain), partial(judged, chain, plans))


def report(out: str, task: tuple[Chain, dict[str, Relative]]) -> dict[str, Any]:
    """Return the metrics of some plans on T of a study."""
    torch.set_num_threads(1)
    chain, plans = task
    found = kept(Path(out), str(chain), partial(measured, chain, plans))
    return {"study": str(chain), "data": chain.data, "values": found}


def summary(reported: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over the studies, each the mean over its originals."""
    plans, metrics = reported[0]["values"], reported[0]["values"]["auto"]
    return {
        plan: {
            metric: dataclasses.asdict(
                Mean.of([float(np.mean(each["values"][plan][metric])) for each in reported])
            )
            for metric in metrics
        }
        for plan in plans
    }


def main() -> None:
    """Judge all plans in all studies, choose, measure what was left out, keep everything."""
    out, began, plans = sys.argv[1], perf_counter(), candidates()
    Path(out).mkdir(parents=True, exist_ok=True)
    os.environ.update(WORKER_SETTINGS)
    large = relative_plans()[LARGE]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        found = {}
        for name, values in pool.imap(partial(learn, out, plans), LEARNED):
            found[name] = values
            print(f"{name}: {(perf_counter() - began) / 60:.0f} min", flush=True)
        tasks = [
            (chain, {"auto": plans[chosen(found, chain.data)], "for large": large, "none": NOTHING})
            for chain in HELD_OUT
        ]
        reported = pool.map(partial(report, out), tasks, chunksize=1)
    steps = plans[chosen(found)]
    result = {
        "experiment": "auto_weekly",
        "date": date.today().isoformat(),
        "plan": [dataclasses.asdict(step) for step in steps],
        "means": summary(reported),
        "held_out": [
            {**each, "auto": [dataclasses.asdict(step) for step in plans["auto"]]}
            for each, (_, plans) in zip(reported, tasks, strict=True)
        ],
        "learned": found,
        "plans": [[dataclasses.asdict(step) for step in each] for each in plans],
        "minutes": (perf_counter() - began) / 60,
        "environment": machine(),
    }
    write_bytes(RESULT, (json.dumps(result, indent=1) + "\n").encode())
    write_plan(SHARE, LEARNED, steps)
    print(json.dumps({"plan": result["plan"], "means": result["means"]}, indent=1))


if __name__ == "__main__":
    main()
