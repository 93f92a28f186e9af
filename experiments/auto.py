"""The plan `auto`: learned on several data sets, and judged by leaving one of them out.

A plan is relative: learning rates are multiples of the recipe's, epochs a share of its epochs.
Subsets are thirds by 1 - p of the label under the original, which costs one forward pass. Every
study judges the same plans on V and two seeds, against models retrained without the forget set.

Regret of a plan in a study is J of the study's best plan less J of this one. `auto` has the least
regret, averaged within each data set and then over them, among the plans that are better than doing
nothing on the average of each data set. It is judged on other splits: for each data set, the plan
is chosen on the others, and measured on T and fresh seeds of splits that took no part in the
choice, beside the study's own pick, doing nothing, and single unlearners with default values.

    .venv/bin/python experiments/auto.py [STORE]    # RUM_RAY_DATA is a folder with CIFAR-10
"""

import dataclasses
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
from numpy.typing import NDArray

import rum_ray
from rum_ray.data import DataBundle, LabeledData, load
from rum_ray.data.bundle import LabelNoise
from rum_ray.data.splits import stratified_split
from rum_ray.evaluation.statistics import Mean
from rum_ray.jobs import Context, Evaluate, EvaluatePlan, RetrainedReference, TrainModel
from rum_ray.jobs.evaluate import relative_cost
from rum_ray.jobs.ledger import Result
from rum_ray.partition import Partition, Subset
from rum_ray.refinement import forget_set, refine
from rum_ray.results.environment import machine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.search.auto import LARGE, SUBSETS, RelativeStep
from rum_ray.search.candidates import Candidate
from rum_ray.search.objective import INFEASIBLE
from rum_ray.search.spaces import Space, SpaceName
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.worker_pool import WORKER_SETTINGS
from rum_ray.training import Recipe
from rum_ray.training.domains import Cell
from rum_ray.training.prediction import predict
from rum_ray.unlearning import UNLEARNERS

RESULT = Path(__file__).parent / "results" / "auto.json"
TABLE = Path(rum_ray.__file__).parent / "search" / "auto.json"
NAMES = ("nothing", "finetune", "l1_sparse", "neggrad+", "salun")
EACH, EPOCHS, CAP = 24, 40, 0.25
"""Plans per space; the recipe's epochs at which 1 to 10 epochs are drawn; most cost of a plan."""
SPACES: Mapping[str, SpaceName] = {"V0": "V0", "V4": "V4", "V5": "V5", "V0 again": "V0"}
SEARCHED, REPORTED, PROCESSES = range(3), range(5), 2
JUDGED = 2
"""Seeds on which each plan is judged; a reference is the mean over three."""
Relative = tuple[RelativeStep, ...]


def cancer(seed: int) -> DataBundle:
    """Return the Wisconsin breast cancer data: 569 cells, 30 features; a tenth of labels flips."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    everything, root = LabeledData(x=x.astype(np.float32), y=y), Seed(seed) / "cancer"
    rows = stratified_split(everything.y, (380, 80, 109), root)
    train, valid, test = map(everything.take, rows)
    noise = LabelNoise(0.1, root)
    noisy = train.relabeled(noise(train.y, 2, "train"))
    return DataBundle(
        "cancer", noisy, valid, test, ("malignant", "benign"), noise, true_labels=train.y
    )


@dataclass(frozen=True)
class Study:
    """One forget set of one data set.

    Attributes:
        data: name of the data set.
        noise: share of flipped labels.
        pick: "random", or "spread" over the difficulty.
        recipe: training of the originals.
        seed: of the split and of all draws.
    """

    data: str
    noise: float
    pick: str
    recipe: Recipe
    seed: int
    store: str = "store"

    def __str__(self) -> str:
        return f"{self.data}, {self.noise:.0%} flips, {self.pick}, split {self.seed}"

    @cached_property
    def context(self) -> Context:
        """The data and the store."""
        if self.data == "digits":
            bundle = load("digits", label_noise=self.noise, seed=self.seed)
        elif self.data == "cancer":
            bundle = cancer(self.seed)
        else:
            root = os.environ["RUM_RAY_DATA"]
            bundle = load("cifar10", root=root, size=2_000, test_size=500, seed=self.seed)
        return Context(bundle, Store(self.store))

    def originals(self, root: str, numbers: Sequence[int]) -> list[TrainModel]:
        """Return the originals of a root of seeds."""
        return [TrainModel(self.recipe, Seed(self.seed) / root / k) for k in numbers]

    @cached_property
    def partition(self) -> Partition:
        """A tenth of D, in thirds by 1 - p of the label under the first original."""
        model = self.originals("search", SEARCHED)[0].load(self.context)
        train = self.context.bundle.train
        scores = Scores(1 - predict(model, train)[np.arange(len(train)), train.y.numpy()])
        rows = forget_set(scores, len(train) // 10, self.pick, "rank", seed=self.seed)  # type: ignore[arg-type]
        return refine(rows, scores, SUBSETS)

    def plan(self, steps: Relative) -> Plan:
        """Return the plan for this study."""
        names = [step.subset for step in steps]
        partition = self.partition
        if sorted(names) == sorted(partition.names):
            partition = partition.ordered(names)
        return Plan.assign(partition, {step.subset: step.at(self.recipe) for step in steps})

    def value(self, job: Any) -> Any:
        """Return the value of a job, computed or from the store."""
        return self.context.get_or_compute(job).value

    def judged(self, plans: Sequence[Relative]) -> NDArray[np.float64]:
        """Return [P, seeds], J of each plan on V."""
        originals = self.originals("search", SEARCHED)
        models = [TrainModel(self.recipe, o.seed, self.partition.rows) for o in originals]
        evaluated = tuple(Evaluate(m, self.partition, m.seed, "valid") for m in models)
        for job in evaluated:
            self.context.get_or_compute(job)
        reference, found = RetrainedReference(evaluated), []
        for steps in plans:
            plan = self.plan(steps)
            results = [
                Result.read(self.value(EvaluatePlan(plan, original, reference)))
                for original in originals[:JUDGED]
            ]
            found.append(
                [r.judged.objective("tow_gap", "auc") if r.judged else INFEASIBLE for r in results]
            )
        return np.array(found)

    def measured(self, steps: Relative) -> dict[str, list[float]]:
        """Return metrics on T, one value per reported seed."""
        plan, found = self.plan(steps), []
        for original in self.originals("run", REPORTED):
            retrained = TrainModel(self.recipe, original.seed, self.partition.rows)
            made = Evaluate(original, self.partition, original.seed / "plan", "test", plan)
            reference = Evaluate(retrained, self.partition, original.seed, "test")
            for job in (made, reference):
                self.context.get_or_compute(job)
            metrics = made.load(self.context).against(reference.load(self.context))
            found.append(
                {
                    "auc": metrics["tow"] - metrics["auc_gap"],
                    "svm": metrics["tow"] - metrics["mia_gap"],
                    "tow_examples": metrics["tow_examples"],
                    "cost": metrics["cost"],
                }
            )
        return {name: [each[name] for each in found] for name in found[0]}


DIGITS = Recipe("mlp", epochs=60, lr=0.1, batch_size=64)
CIFAR = Recipe("patch_cnn", epochs=15, lr=0.05, batch_size=64, precision="bfloat16")
CANCER = Recipe("mlp", epochs=40, lr=0.1, batch_size=32)
LEARNED = (
    *(Study("digits", 0.1, pick, DIGITS, 0) for pick in ("random", "spread")),
    Study("digits", 0.0, "spread", DIGITS, 1),
    *(Study("cifar10", 0.0, pick, CIFAR, 0) for pick in ("random", "spread")),
    Study("cifar10", 0.0, "spread", dataclasses.replace(CIFAR, lr=0.1, epochs=25), 1),
    *(Study("cancer", 0.1, pick, CANCER, seed) for seed in (0, 1) for pick in ("random", "spread")),
)
REPORTED_STUDIES = tuple(
    Study(name, noise, pick, recipe, seed)
    for name, noise, recipe in (
        ("digits", 0.1, DIGITS),
        ("cifar10", 0.0, CIFAR),
        ("cancer", 0.1, CANCER),
    )
    for pick, seed in (("random", 10), ("spread", 11))
)
"""Splits that take no part in the choice of a plan."""
NOTHING: Relative = (RelativeStep("all", "nothing"),)
UNTUNED = ("finetune", "l1_sparse", "neggrad+", "salun")


def relative(plan: Plan) -> Relative:
    """Return a plan that was drawn at a learning rate of 1 and `EPOCHS` epochs."""
    found = []
    for step in plan.steps:
        kind = type(step.unlearner)
        name = next(name for name, known in UNLEARNERS.items() if known is kind)
        values = {key: getattr(step.unlearner, key) for key in step.unlearner.space}
        lr, epochs = values.pop("lr", None), values.pop("epochs", None)
        share = None if epochs is None else epochs / EPOCHS
        found.append(RelativeStep(step.subset.name, name, lr, share, values=values))
    return tuple(found)


def default(name: str) -> Relative:
    """Return one unlearner with its default values, at the recipe of its defaults."""
    unlearner = UNLEARNERS[name]()
    values = {key: getattr(unlearner, key) for key in unlearner.space}
    lr, epochs = values.pop("lr"), values.pop("epochs")
    return (RelativeStep("all", name, lr / 0.1, epochs / EPOCHS, values=values),)


def drawn_plans() -> list[Relative]:
    """Return the plans to judge: `EACH` per space, none dearer than `CAP`, and doing nothing."""
    candidates = tuple(Candidate(name).at_rate(1.0) for name in NAMES)
    rows = np.arange(120)
    parts = zip(SUBSETS, np.split(rows, len(SUBSETS)), strict=True)
    partition = Partition(tuple(Subset(name, part) for name, part in parts))
    recipe, root, found = Recipe("mlp", epochs=EPOCHS), Seed(0) / "auto", [NOTHING]
    for name, kind in SPACES.items():
        space = Space(kind, candidates, partition)
        for number in range(EACH):
            cell = Cell(root / name, number, EACH)
            for draw in range(1000):
                _, plan = space.draw(root / name / number / draw, cell)
                steps = relative(plan)
                if relative_cost(plan, recipe, 1200) <= CAP and steps not in found:
                    found.append(steps)
                    break
    return found


def judge(plans: Sequence[Relative], store: str, study: Study) -> tuple[str, NDArray[np.float64]]:
    """Return the name of a study, and J of all plans in it."""
    torch.set_num_threads(1)
    return str(study), dataclasses.replace(study, store=store).judged(plans)


def chosen(j: Mapping[str, NDArray[np.float64]], without: str = "") -> int:
    """Return the number of the plan for data that are left out; number 0 is doing nothing.

    Args:
        j: [P] mean J of each plan, by study.
        without: the data set to leave out.
    """
    regrets, gains = [], []
    for data in sorted({study.data for study in LEARNED} - {without}):
        found = np.array([j[str(study)] for study in LEARNED if study.data == data])
        regrets.append((found.max(axis=1, keepdims=True) - found).mean(axis=0))
        gains.append((found - found[:, :1]).mean(axis=0))
    regret = np.mean(regrets, axis=0)
    regret[(np.array(gains) <= 0).any(axis=0)] = np.inf
    return int(regret.argmin())


def measure(store: str, task: tuple[Study, Relative, Relative]) -> dict[str, Any]:
    """Return the metrics on T of `auto`, the study's own pick, and what needs no search."""
    torch.set_num_threads(1)
    study, auto, own = task
    study = dataclasses.replace(study, store=store)
    plans = {"auto": auto, "own pick": own, "nothing": NOTHING}
    plans |= {f"{name}, untuned": default(name) for name in UNTUNED}
    found = {name: study.measured(steps) for name, steps in plans.items()}
    return {"study": str(study), "data": study.data, "values": found}


def summary(left_out: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return regret and comparisons over the studies, each by its mean over the seeds."""
    result: dict[str, Any] = {}
    for metric in ("auc", "svm", "tow_examples"):
        means = [
            {name: float(np.mean(values[metric])) for name, values in each["values"].items()}
            for each in left_out
        ]
        regret = [each["own pick"] - each["auto"] for each in means]
        singles = [max(each[f"{name}, untuned"] for name in UNTUNED) for each in means]
        gains = [each["auto"] - each["nothing"] for each in means]
        result[metric] = {
            "regret": dataclasses.asdict(Mean.of(regret)),
            "below nothing": sum(gain < 0 for gain in gains),
            "least gain on nothing": min(gains),
            "at least the best untuned single": sum(
                each["auto"] >= single for each, single in zip(means, singles, strict=True)
            ),
            "means": means,
        }
    costs = [cost for each in left_out for cost in each["values"]["auto"]["cost"]]
    return {"studies": len(left_out), "largest cost": max(costs), **result}


def write_plan(share: float, learned: Sequence[object], steps: Relative) -> None:
    """Put a plan into the table of the package, in place of the one for the same share."""
    plans = {each["share"]: each for each in json.loads(TABLE.read_text("utf-8"))["plans"]}
    plans[share] = {
        "share": share,
        "learned_on": [str(study) for study in learned],
        "steps": [dataclasses.asdict(step) for step in steps],
    }
    in_order = [plans[each] for each in sorted(plans)]
    TABLE.write_text(json.dumps({"plans": in_order}, indent=1) + "\n", "utf-8")


def main() -> None:
    """Judge all plans in all studies, choose, measure what was left out, keep everything."""
    store = sys.argv[1] if len(sys.argv) > 1 else "store"
    os.environ.update(WORKER_SETTINGS)
    studies = (*LEARNED, *REPORTED_STUDIES)
    began, plans, j = perf_counter(), drawn_plans(), dict[str, NDArray[np.float64]]()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for name, values in pool.imap(partial(judge, plans, store), studies):
            j[name] = values.mean(axis=1)
            best, minutes = int(j[name].argmax()), (perf_counter() - began) / 60
            print(f"{name}: nothing {j[name][0]:.3f}, best {j[name][best]:.3f}; {minutes:.0f} min")
        tasks = []
        for study in REPORTED_STUDIES:
            own = int(j[str(study)].argmax())
            tasks.append((study, plans[chosen(j, study.data)], plans[own]))
        left_out = pool.map(partial(measure, store), tasks, chunksize=1)
    steps = [dataclasses.asdict(step) for step in plans[chosen(j)]]
    result = {
        "experiment": "auto",
        "date": date.today().isoformat(),
        "plan": steps,
        **summary(left_out),
        "left_out": [
            {**each, "auto": [dataclasses.asdict(step) for step in auto]}
            for each, (_, auto, _) in zip(left_out, tasks, strict=True)
        ],
        "j": {name: values.tolist() for name, values in j.items()},
        "plans": [[dataclasses.asdict(step) for step in steps] for steps in plans],
        "minutes": (perf_counter() - began) / 60,
        "environment": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    write_plan(LARGE, LEARNED, plans[chosen(j)])
    print(
        json.dumps({key: result[key] for key in ("plan", "auc", "svm", "tow_examples")}, indent=1)
    )


if __name__ == "__main__":
    main()
