"""Keys of results are stable, so the artifacts of an existing store stay cache hits.

`keys.json` has the digest of every kind of key in a small study. A digest depends on the values
that determine a result, never on the name of a class or module.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rum_ray
from rum_ray import config
from rum_ray.data import DataBundle, LabeledData, LabelNoise
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import (
    CentroidDistances,
    Context,
    EmbeddingMoments,
    Evaluate,
    EvaluatePlan,
    PlanPrefix,
    PoolLogits,
    PoolReference,
    RetrainedReference,
    ScoreByProxy,
    SearchJob,
    SubsetMoments,
    TrainModel,
    TrainPoolModel,
    UnlearnedModel,
    UnlearnShadow,
)
from rum_ray.jobs import search as search_jobs
from rum_ray.jobs.embeddings import Centroid
from rum_ray.partition import Partition, Subset
from rum_ray.rum import Plan
from rum_ray.scores import PROXIES
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import FREE, Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import UNLEARNERS
from rum_ray.unlearning.finetune import FineTune

PINNED: dict[str, str] = json.loads(Path(__file__).with_name("keys.json").read_text("utf-8"))
PINNED_UNLEARNERS = [name for name in UNLEARNERS if f"evaluate {name}" in PINNED]
RECIPE = Recipe(model="mlp", epochs=4, lr=0.05, batch_size=8)
PARTITION = Partition(
    (
        Subset("low", np.array([1, 4])),
        Subset("medium", np.array([7, 9])),
        Subset("high", np.array([2, 11])),
    )
)
ORIGINAL = TrainModel(RECIPE, Seed(0) / "run")
RETRAINED = TrainModel(RECIPE, Seed(0) / "run", PARTITION.rows)
POOL = tuple(TrainPoolModel(RECIPE, Seed(0) / "pool" / m, 0.7, True, True) for m in range(2))
NARROWED = {
    "name": "n",
    "data": {"name": "digits"},
    "recipe": {"model": "mlp", "epochs": 2, "lr": 0.1},
    "forget": {"size": 30},
    "search": {
        "trials": 8,
        "unlearners": [
            "nothing",
            {"name": "salun", "lr": {"low": 0.01, "high": 0.1}, "epochs": [1, 3]},
        ],
        "steps": {"low": "nothing"},
        "grid": 3,
        "pick": "cost<=0.2",
        "start": ["plan"],
    },
    "plan": {"low": "nothing", "medium": "ct", "high": {"name": "msg"}},
}
EVERYTHING: dict[str, Any] = {
    "name": "all",
    "data": {"name": "digits", "label_noise": 0.2, "seed": 1},
    "recipe": {"model": "mlp", "epochs": 2, "lr": 0.1, "schedule": "cosine"},
    "embedding": "features.1",
    "score": {
        "name": "memorization",
        "models": {"max": 128, "standard_error": 0.1},
        "fraction": 0.6,
        "seed": 2,
        "confidences": True,
        "compare": ["heldout"],
    },
    "forget": {
        "size": 30,
        "pick": "high",
        "by": "entanglement",
        "groups": 9,
        "class": 3,
        "seed": 4,
    },
    "refine": {"name": "grid"},
    "retain": "final",
    "compare": ["finetune", {"name": "ssd"}],
    "search": {
        "trials": 8,
        "spaces": ["V0", "V4"],
        "also": ["surrogate"],
        "front": True,
        "sampler": "random",
    },
    "evaluate": {
        "attack": "auc",
        "members": "first",
        "also": ["svm_entropy", "threshold"],
        "relearn": {"epochs": 1},
        "residual": True,
    },
    "seeds": [3, 4],
}


def data(first: int, size: int) -> LabeledData:
    x = (np.arange(size * 4, dtype=np.float32).reshape(size, 1, 2, 2) + first) / 100
    y = np.arange(size) % 3
    return LabeledData(torch.from_numpy(x), y, ids=first + np.arange(size), num_classes=3)


@pytest.fixture(scope="module")
def context() -> Context:
    """A context whose fingerprints of data, PyTorch and CPU are constants."""
    train = data(0, 30)
    bundle = DataBundle(
        name="pinned",
        train=train,
        valid=data(30, 12),
        test=data(42, 12),
        class_names=("a", "b", "c"),
        label_noise=LabelNoise(0.1, Seed(5)),
        true_labels=train.y,
    )
    context = Context(bundle, Store("unused"))
    fingerprint = {"train": "pinned", "torch": "pinned", "device": "pinned"}
    vars(context)["train_fingerprint"] = fingerprint
    vars(context)["_eval_fingerprints"] = {name: f"pinned {name}" for name in ("valid", "test")}
    return context


def plan(name: str) -> Plan:
    """A plan with this unlearner for every subset."""
    kind: Any = UNLEARNERS[name]
    unlearner = kind(recipe=RECIPE) if name == "retrain" else kind()
    retain = "final" if name == "ct" else "remaining"
    return Plan.assign(PARTITION, dict.fromkeys(PARTITION.names, unlearner), retain)


def models() -> dict[str, Any]:
    jobs: dict[str, Any] = {
        "original": ORIGINAL,
        "retrained": RETRAINED,
        "pretrained": TrainModel(RECIPE, Seed(0) / "run", weights="ab" * 32),
        "pool": POOL[0],
        "pool fused": dataclasses.replace(POOL[0], fused=True, keep=False, confidences=False),
        "pool logits": PoolLogits(POOL[0]),
        "shadow": UnlearnShadow(POOL[0], plan("ssd")),
    }
    for name, proxy in PROXIES.items():
        jobs[f"proxy {name}"] = ScoreByProxy(proxy(), RECIPE, Seed(3) / "proxy")
    return jobs


def evaluations() -> dict[str, Any]:
    root = Seed(0)
    jobs: dict[str, Any] = {
        f"evaluate {name}": Evaluate(ORIGINAL, PARTITION, root / "plan", "test", plan(name), True)
        for name in PINNED_UNLEARNERS
    }
    relearn = FineTune(epochs=2, lr=0.01)
    jobs["evaluate original"] = Evaluate(ORIGINAL, PARTITION, root)
    jobs["evaluate retrained on valid"] = Evaluate(
        RETRAINED, PARTITION, root, "valid", members="first"
    )
    jobs["evaluate relearned"] = Evaluate(ORIGINAL, PARTITION, root, relearn=relearn)
    for steps in (1, 2):
        jobs[f"prefix {steps}"] = PlanPrefix(ORIGINAL, plan("scrub"), steps)
    for layer in (None, "features"):
        unlearned = UnlearnedModel(Evaluate(ORIGINAL, PARTITION, root, "test", plan("msg"), True))
        jobs[f"moments {layer}"] = EmbeddingMoments(ORIGINAL, PARTITION, layer)
        jobs[f"subset moments {layer}"] = SubsetMoments(RETRAINED, PARTITION, layer)
        jobs[f"subset moments unlearned {layer}"] = SubsetMoments(unlearned, PARTITION, layer)
        jobs[f"centroid {layer}"] = Centroid(ORIGINAL, layer)
        jobs[f"distances {layer}"] = CentroidDistances(ORIGINAL, layer)
    return jobs


def searches() -> dict[str, Any]:
    def on_valid(model: TrainModel) -> tuple[Evaluate, ...]:
        return tuple(Evaluate(model, PARTITION, Seed(0) / k, "valid") for k in range(3))

    oracle = RetrainedReference(on_valid(RETRAINED))
    pool = PoolReference(PARTITION, on_valid(ORIGINAL), POOL)
    jobs: dict[str, Any] = {"pool reference": pool}
    for name, reference in {"oracle": oracle, "pool": pool}.items():
        jobs[f"trial {name}"] = EvaluatePlan(plan("salun"), ORIGINAL, reference, 2)
    names = [name for name in PINNED_UNLEARNERS if name != "retrain"]
    originals = tuple(TrainModel(RECIPE, Seed(1) / k) for k in range(5))
    wide = SearchConfig(unlearners=tuple(map(Candidate, names)), trials=8)
    for name in FREE:
        space = Space(name, wide.unlearners, PARTITION, "remaining")
        jobs[f"search {name}"] = SearchJob(space, wide, originals, oracle)
    parents = ((jobs["search V0"], 2), (jobs["search V2"], 1))
    space = Space("V5", wide.unlearners, PARTITION, "remaining")
    jobs["search nested"] = SearchJob(space, wide, originals, oracle, parents=parents)
    narrow = config.parse(NARROWED).search
    assert narrow is not None
    space = Space(
        "V4",
        narrow.unlearners,
        PARTITION,
        "final",
        ordered=True,
        steps=narrow.steps,
        grid=narrow.grid,
    )
    jobs["search narrowed"] = SearchJob(space, narrow, (ORIGINAL,) * 5, pool, (plan("nothing"),))
    return jobs


@pytest.mark.parametrize("group", [models, evaluations, searches])
def test_keys_of_jobs_are_stable(group, context, monkeypatch):
    # The key of a search includes the version of Optuna.
    monkeypatch.setattr(search_jobs, "version", lambda name: "pinned")
    found = {name: job.key(context).digest for name, job in group().items()}
    assert found == {name: PINNED[name] for name in found}


def test_every_pinned_key_is_tested():
    experiments = {name for name in PINNED if name.startswith("experiment ")}
    asked = {*models(), *evaluations(), *searches()}
    assert asked >= {*PINNED} - experiments


def test_digests_of_experiments_are_stable():
    refiners = ("by_score", "by_entanglement", "by_class", "shuffle")
    found = {
        "experiment everything": config.parse(EVERYTHING),
        "experiment demo": config.load(Path(rum_ray.__file__).with_name("demo.yaml")),
        "experiment without a search": config.parse({**EVERYTHING, "search": None}),
    }
    for name in refiners:
        changed = {**EVERYTHING, "refine": {"name": name}}
        found[f"experiment refine {name}"] = config.parse(changed)
    assert {name: experiment.digest for name, experiment in found.items()} == {
        name: value for name, value in PINNED.items() if name.startswith("experiment ")
    }
