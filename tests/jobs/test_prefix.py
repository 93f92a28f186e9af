"""Prefixes: the same bits with and without the cache, each computed once, and none left over."""

import copy
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from rum_ray.errors import DivergedError
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import (
    Context,
    Evaluate,
    EvaluatePlan,
    PlanPrefix,
    RetrainedReference,
    SearchJob,
    TrainModel,
    prefix,
)
from rum_ray.jobs import trial as trials
from rum_ray.jobs.ledger import Ledger, Result, Trial
from rum_ray.partition import Partition, Subset
from rum_ray.rum import Plan, Step, unlearn
from rum_ray.search.candidates import Candidate
from rum_ray.search.race import Unit
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.testing import same_bits
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.domains import Choice, LogUniform, Uniform
from rum_ray.unlearning import FineTune, NegGradPlus, Nothing, SalUn, Scrub

RECIPE = Recipe("small_cnn", epochs=3, lr=0.05, batch_size=32)
ORIGINALS = (TrainModel(RECIPE, Seed(0) / "a"), TrainModel(RECIPE, Seed(0) / "b"))
LOW, MEDIUM, HIGH = Subset("low", [0, 5, 9]), Subset("medium", [1, 2]), Subset("high", [7, 20])
PARTITION = Partition((LOW, MEDIUM, HIGH))
TUNE, MASK, SCRUB = FineTune(lr=0.1, epochs=1), SalUn(lr=0.05, epochs=2), Scrub(epochs=1)


def plan(*unlearners, retain="remaining", subsets=PARTITION) -> Plan:
    return Plan(tuple(map(Step, subsets, unlearners)), retain)


@pytest.fixture(scope="module")
def trained(bundle, tmp_path_factory) -> Store:
    """A store with the originals and the reference."""
    store = Store(tmp_path_factory.mktemp("trained"))
    context = Context(bundle, store)
    for original in ORIGINALS:
        context.get_or_compute(original)
    context.get_or_compute(reference())
    return store


@pytest.fixture
def context(bundle, trained, tmp_path) -> Context:
    """The trained models in a store that belongs to one test."""
    for file in Path(trained.root).rglob("*.*"):
        copy = tmp_path / file.relative_to(trained.root)
        copy.parent.mkdir(exist_ok=True)
        copy.hardlink_to(file)
    return Context(bundle, Store(tmp_path))


def reference() -> Evaluate:
    retrained = TrainModel(RECIPE, Seed(0) / "a", PARTITION.rows)
    return Evaluate(retrained, PARTITION, retrained.seed, "valid")


def trial(made: Plan, shared: int = 0) -> EvaluatePlan:
    return EvaluatePlan(made, ORIGINALS[0], RetrainedReference((reference(),)), shared)


@dataclass(frozen=True)
class Overflow:
    """Return a model with finite weights whose logits are infinite."""

    name: ClassVar[str] = "tests.jobs.test_prefix:Overflow"

    def __call__(self, model, task, runtime):
        made = copy.deepcopy(model)
        for parameter in made.head.parameters():
            parameter.data.fill_(3e38)
        return made.eval()

    def cost(self, forget: int, retain: int) -> float:
        return 0.0


def test_a_plan_whose_logits_overflow_diverges(context):
    job = trial(plan(Overflow(), Nothing(), Nothing()))
    assert Result.read(context.get_or_compute(job).value) == Result(None)


def key(made: Plan, steps: int, context: Context) -> str:
    return PlanPrefix(ORIGINALS[0], made, steps).key(context).digest


def kept(context: Context) -> int:
    return len(list(Path(context.store.root).glob("prefix/*.safetensors")))


def steps_of(context: Context, job: EvaluatePlan) -> tuple[int, int]:
    """Return the steps that a trial ran, and its cache hits."""
    made = context.store.provenance(job.key(context))
    return made["steps_run"], made["cache_hits"]


@pytest.mark.parametrize(
    ("unlearners", "retain"),
    [
        ((TUNE, MASK, SCRUB), "remaining"),
        ((SCRUB, Nothing(), MASK), "final"),
        ((Nothing(), MASK, TUNE), "remaining"),
    ],
)
def test_a_prefix_is_the_plan_followed_by_nothing(context, unlearners, retain):
    made, original = plan(*unlearners, retain=retain), ORIGINALS[0]
    for steps in (2, 3, 1, 0):
        cut = plan(*unlearners[:steps], *[Nothing()] * (3 - steps), retain=retain)
        runtime = LocalRuntime(original.seed / "plan")
        train = context.bundle.train
        expected = unlearn(original.load(context), cut, train, runtime, RECIPE)
        for _ in range(2):
            found = PlanPrefix(original, made, steps).take(context, Counter())
            assert same_bits(found, expected)
            assert not found.training


@pytest.mark.parametrize(
    ("unlearners", "retain"),
    [((TUNE, MASK, SCRUB), "remaining"), ((MASK, SCRUB, Nothing()), "final")],
)
def test_the_bits_of_a_trial_are_the_same_with_and_without_the_cache(
    context, unlearners, retain, monkeypatch
):
    models, evaluate = [], trials.evaluate

    def see(model, *arguments, **options):
        models.append(model)
        return evaluate(model, *arguments, **options)

    monkeypatch.setattr(trials, "evaluate", see)
    made, o = plan(*unlearners, retain=retain), ORIGINALS[0]
    runtime = LocalRuntime(o.seed / "plan")
    expected = unlearn(o.load(context), made, context.bundle.train, runtime, RECIPE)
    contents = set()
    # Without the cache, with an empty one, with one step in it, with all steps, with too many.
    for shared in (0, 1, 2, 3, 99):
        job = trial(made, shared)
        context.get_or_compute(job)
        path = Path(context.store.path(job.key(context)))
        contents.add(path.read_bytes())
        path.unlink()
    assert len(contents) == 1
    assert len(models) == 5
    for model in models:
        assert same_bits(model, expected)


def test_a_key_depends_on_the_steps_and_rows_up_to_the_prefix(context):
    made = plan(TUNE, MASK, SCRUB)
    same = [
        (plan(TUNE, NegGradPlus(), Nothing()), 1),
        (plan(TUNE, Nothing(), SCRUB), 2),
        (plan(TUNE), 1),
        (plan(TUNE, MASK, subsets=(replace(LOW, name="x"), HIGH)), 1),
    ]
    assert {key(*other, context) for other in same} == {key(made, 1, context)}
    assert key(plan(TUNE, MASK, Nothing()), 3, context) == key(made, 2, context)
    others = [
        (made, 2),
        (plan(replace(TUNE, lr=0.2), MASK), 1),
        (plan(Nothing(), TUNE), 2),
        (plan(TUNE, subsets=(MEDIUM,)), 1),
        (plan(Nothing(), TUNE, subsets=(MEDIUM, LOW)), 2),
        # The same rows in another place.
        (plan(TUNE, Nothing(), retain="final", subsets=(LOW, MEDIUM)), 1),
        (plan(Nothing(), TUNE, subsets=(HIGH, LOW)), 2),
    ]
    everything = {key(*other, context) for other in [(made, 1), *others]}
    elsewhere = PlanPrefix(ORIGINALS[1], made, 1).key(context).digest
    assert len(everything | {elsewhere}) == len(others) + 2


def test_rows_of_later_steps_count_if_they_are_not_retained(context):
    for retain, count in (("remaining", 1), ("final", 3)):
        later = [(MEDIUM, HIGH), (HIGH, MEDIUM), (MEDIUM, Subset("high", [30])), (MEDIUM,)]
        keys = {
            key(plan(TUNE, MASK, SCRUB, retain=retain, subsets=(LOW, *rest)), 1, context)
            for rest in later
        }
        assert len(keys) == count
    other = plan(TUNE, SCRUB, MASK, retain="final")
    assert key(other, 1, context) == key(plan(TUNE, MASK, SCRUB, retain="final"), 1, context)


def test_steps_of_one_plan_are_cache_hits_of_the_next(context):
    first, alike, ends = plan(TUNE, MASK, SCRUB), plan(TUNE, MASK, TUNE), plan(TUNE, SCRUB, TUNE)
    stops, apart = plan(TUNE, MASK, Nothing()), plan(Nothing(), MASK, SCRUB)
    expected = [(first, 3, 0), (alike, 1, 2), (ends, 2, 1), (stops, 0, 2), (apart, 2, 0)]
    for made, ran, read in expected:
        job = trial(made, shared=2)
        context.get_or_compute(job)
        assert steps_of(context, job) == (ran, read)
    # The models after (TUNE,), (TUNE, MASK), (TUNE, SCRUB) and (Nothing, MASK).
    assert kept(context) == 4


def test_only_shared_steps_are_kept_and_never_the_last_one(context):
    for shared, count in ((0, 0), (1, 1), (2, 2), (3, 2)):
        job = trial(plan(TUNE, MASK, SCRUB), shared)
        context.get_or_compute(job)
        Path(context.store.path(job.key(context))).unlink()
        assert kept(context) == count
    context.get_or_compute(trial(plan(Nothing(), Nothing(), TUNE), 3))
    assert kept(context) == 2


def test_the_number_of_shared_steps_is_not_part_of_the_key(context):
    made = plan(TUNE, MASK, SCRUB)
    assert trial(made, 0).key(context).digest == trial(made, 2).key(context).digest


def test_a_step_that_diverges_is_not_run_again(context, monkeypatch):
    wild = replace(TUNE, lr=1e38)
    first, other = trial(plan(TUNE, wild, MASK), 2), trial(plan(TUNE, wild, SCRUB), 2)
    assert context.get_or_compute(first).value["status"] == "diverged"
    assert steps_of(context, first) == (2, 0)
    with monkeypatch.context() as patch:
        patch.setattr(prefix, "take_step", None)
        assert context.get_or_compute(other).value["status"] == "diverged"
    assert steps_of(context, other) == (0, 2)
    for steps in (2, 3):
        with pytest.raises(DivergedError, match="finetune"):
            PlanPrefix(ORIGINALS[0], first.plan, steps).take(context, Counter())
    # A last step that diverges is no prefix.
    last = trial(plan(TUNE, Nothing(), wild), 2)
    assert context.get_or_compute(last).value["status"] == "diverged"
    assert steps_of(context, last) == (1, 1)


def test_concurrent_callers_compute_each_prefix_once(context, monkeypatch):
    made, ran, started = plan(TUNE, MASK, SCRUB), Counter(), threading.Barrier(6)
    take_step = prefix.take_step

    def counted(of, index, *arguments):
        ran[index] += 1
        return take_step(of, index, *arguments)

    def take(steps: int):
        started.wait()
        return PlanPrefix(ORIGINALS[0], made, steps).take(context, tally)

    monkeypatch.setattr(prefix, "take_step", counted)
    context.cached_model(ORIGINALS[0])
    tally = Counter()
    # Some hold a long prefix and wait for a short one, others the reverse.
    with ThreadPoolExecutor(6) as pool:
        models = list(pool.map(take, [3, 1, 2, 3, 2, 1]))
    assert ran == {0: 1, 1: 1, 2: 1}
    assert tally == {"steps_run": 3, "cache_hits": 9}
    for one, same in ((0, 3), (1, 5), (2, 4)):
        assert same_bits(models[one], models[same])


def test_another_search_can_empty_the_cache_at_any_time(context):
    job, over = PlanPrefix(ORIGINALS[0], plan(TUNE, TUNE, MASK), 2), threading.Event()
    expected = job.take(context, Counter())

    def end_searches() -> None:
        while not over.wait(0.005):
            context.store.discard(prefix.PREFIX)

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end_searches)
        tally = Counter()
        while tally["steps_run"] < 2 or tally["steps_run"] + tally["cache_hits"] < 8:
            assert same_bits(job.take(context, tally), expected)
        over.set()
        ending.result()
    context.store.discard(prefix.PREFIX)
    assert not list(Path(context.store.root).glob("prefix/[!.]*"))


def test_prefixes_work_in_a_store_without_locks(bundle):
    remote = Context(bundle, Store("mock://bucket/a"))
    for kind in ("model", prefix.PREFIX):
        remote.store._place.files.create_dir(f"a/{kind}")
    made = plan(TUNE, MASK)
    models = [PlanPrefix(ORIGINALS[0], made, 1).take(remote, Counter()) for _ in range(2)]
    assert same_bits(*models)
    key = PlanPrefix(ORIGINALS[0], made, 1).key(remote)
    assert remote.store.has(key)
    remote.store.discard(prefix.PREFIX)
    assert not remote.store.has(key)


def test_a_cached_model_is_loaded_once_and_callers_get_copies(context, monkeypatch):
    first, fresh = context.cached_model(ORIGINALS[0]), ORIGINALS[0].load(context)
    for parameter in first.parameters():
        parameter.data.zero_()
    monkeypatch.setattr(TrainModel, "load", None)
    assert same_bits(context.cached_model(TrainModel(RECIPE, Seed(0) / "a")), fresh)


COARSE = Candidate("l1_sparse", {"lr": Choice((0.05, 0.1)), "alpha": 1e-4})
FREE = Candidate("finetune")
IDLE = Candidate("nothing")


@dataclass(frozen=True)
class Rounded:
    """Plans whose first step rounds its learning rate."""

    name: str = "rounded"
    unlearners: ClassVar = {"finetune": FineTune}

    def plan(self, choose) -> Plan:
        first = round(choose("first", Uniform(0.1, 0.4)), 1)
        steps = FineTune(lr=first), TUNE, FineTune(lr=choose("last", LogUniform(0.01, 0.1)))
        return plan(*steps)


def search(space) -> SearchJob:
    config = SearchConfig(trials=4, max_cost=99.0, finalists=2)
    return SearchJob(space, config, (*ORIGINALS, *ORIGINALS), RetrainedReference((reference(),)))


@pytest.mark.parametrize(
    ("chosen", "shared"),
    [
        (("l1_sparse", "l1_sparse", "l1_sparse"), 3),
        (("l1_sparse", "nothing", "finetune"), 2),
        (("nothing", "finetune", "l1_sparse"), 1),
        (("finetune", "l1_sparse", "nothing"), 0),
    ],
)
@pytest.mark.parametrize("lr", [1e-3, 0.02, 0.2])
def test_steps_are_shared_up_to_the_first_continuous_value(chosen, shared, lr):
    space = Space("V4", (IDLE, COARSE, FREE), PARTITION, ordered=True)
    answers = grid(*chosen)
    for name in PARTITION.names:
        answers |= {f"{name}.finetune.lr": lr, f"{name}.finetune.epochs": 1}
    assert search(space).shared(answers) == shared
    assert search(space).proposed(answers, 0).shared == shared


def test_values_rounded_to_a_grid_are_shared():
    answers = {"first": 0.234, "last": 0.05}
    assert search(Rounded()).shared(answers) == 2
    job = search(Rounded()).proposed(answers, 1)
    assert [step.unlearner.lr for step in job.plan.steps] == [0.2, 0.1, 0.05]
    assert job.original == ORIGINALS[1]


def grid(*chosen: str) -> dict:
    """Return answers with an unlearner per subset, and the first point of each grid."""
    answers = {}
    for name, unlearner in zip(PARTITION.names, chosen, strict=True):
        answers[f"{name}.unlearner"] = unlearner
        answers |= {f"{name}.l1_sparse.lr": 0.05, f"{name}.l1_sparse.epochs": 1}
    return answers


def test_a_finished_search_leaves_no_prefix(context):
    made = search(Space("V4", (COARSE, IDLE), PARTITION, ordered=True))
    proposed = [
        grid("l1_sparse", "l1_sparse", "nothing"),
        grid("l1_sparse", "l1_sparse", "l1_sparse"),
        grid("l1_sparse", "l1_sparse", "nothing"),
        grid("l1_sparse", "nothing", "l1_sparse"),
    ]
    jobs = [made.proposed(answers, 0) for answers in proposed]
    for job in jobs:
        context.get_or_compute(job)
    assert [steps_of(context, job) for job in jobs] == [(2, 0), (1, 2), (2, 0), (1, 1)]
    assert kept(context) == 2
    ledger = Ledger()
    for number, job in enumerate(jobs):
        ledger.trials.append(Trial(proposed[number], job.plan, 0.1))
        ledger.add(Unit(number, 0), 0.2, Result.read(context.load(job).value))
    made.save(context, ledger)
    assert made.ledger(context).plain() == ledger.plain()
    assert not list(Path(context.store.root).glob("prefix/*"))
    assert all(map(context.has, jobs))
