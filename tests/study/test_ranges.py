"""Range tests: the domains of learning rates end where unlearners work."""

from typing import Any

import pytest

from rum_ray import config
from rum_ray.data import load
from rum_ray.jobs import Context, Evaluate, RetrainedReference, TrainModel
from rum_ray.partition import whole
from rum_ray.refinement import refine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Store
from rum_ray.study import ranges
from rum_ray.study.ranges import FACTOR, RATES, range_tests
from rum_ray.training.domains import LogUniform
from rum_ray.unlearning import FineTune

PARTITION = refine(range(12), Scores([0.1] * 1200))


def experiment(lr=0.1, unlearners=("nothing", "finetune", "neggrad")):
    tree: dict[str, Any] = {
        "name": "small",
        "data": "digits",
        "recipe": {"model": "mlp", "epochs": 2, "lr": lr},
        "score": {"name": "confidence"},
        "forget": {"size": 12},
        "search": {"budget": 6, "unlearners": [*unlearners]},
    }
    return config.parse(tree)


def jobs_of(of):
    original = TrainModel(of.recipe, Seed(0))
    models = tuple(
        Evaluate(TrainModel(of.recipe, Seed(k), PARTITION.rows), PARTITION, Seed(k), "valid")
        for k in range(3)
    )
    return range_tests(of, original, RetrainedReference(models))


@pytest.fixture
def context(tmp_path):
    return Context(load("digits"), Store(tmp_path))


def tell(context, found, works):
    """Store results of range tests: a rate works if `works` says so."""
    for name, jobs in found.items():
        for rate, job in jobs:
            status = "complete" if works(name, rate) else "diverged"
            context.store.save(job.key(context), Artifact(value={"status": status}), {})


@pytest.mark.parametrize("lr", [0.001, 0.1, 2.0])
def test_three_rates_from_the_upper_end_are_tested_on_the_whole_set(lr):
    found = jobs_of(experiment(lr))
    assert [*found] == ["finetune", "neggrad"]
    for name, top in (("finetune", 2.0), ("neggrad", 0.1)):
        rates = [rate for rate, _ in found[name]]
        expected = [top * lr / FACTOR**k for k in range(RATES)]
        assert rates == pytest.approx(expected)
        for rate, job in found[name]:
            (step,) = job.plan.steps
            assert step.unlearner.lr == rate
            assert step.subset == whole(PARTITION).subsets[0]


def test_a_rate_of_the_file_is_not_tested():
    given = {"name": "finetune", "lr": {"low": 0.01, "high": 5.0}}
    assert [*jobs_of(experiment(unlearners=("nothing", given, "salun")))] == ["salun"]


def test_a_domain_ends_at_the_highest_rate_that_works(context):
    of = experiment()
    found = jobs_of(of)
    tell(context, found, lambda name, rate: name == "finetune" and rate < 0.1)
    nothing, finetune, neggrad = ranges.tested_candidates(of, found, context, ())
    assert nothing.domains == {}
    assert finetune.domains["lr"] == LogUniform(1e-3, pytest.approx(0.2 / 3))
    # None works: the domain ends below all that were tested.
    assert neggrad.domains["lr"] == LogUniform(1e-5, pytest.approx(1e-2 / 3**RATES))


@pytest.mark.parametrize(("rate", "high"), [(0.15, 0.15), (0.03, 0.2 / 3), (7.0, 0.2 / 3)])
def test_a_domain_reaches_to_the_rates_of_start_plans(context, rate, high):
    # 7.0 is above the declared range: such a plan lies in no space.
    of = experiment()
    found = jobs_of(of)
    tell(context, found, lambda name, rate: rate < 0.1)
    plan = Plan.assign(whole(PARTITION), {"all": FineTune(lr=rate)})
    _, finetune, neggrad = ranges.tested_candidates(of, found, context, [plan])
    assert finetune.domains["lr"].high == pytest.approx(high)
    assert neggrad.domains["lr"].high == pytest.approx(1e-2)
