"""Calibration: the time and the memory of single steps, measured on a few examples.

A forecast multiplies these rates by the counted work. Nothing is written. A calibration takes at
most about 10 s and 1 GB: batches shrink until a step takes at most a quarter of a second and keeps
at most 256 MiB for its backward pass. Work that is not measured within the budget counts as
training.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from rum_ray.data.batches import PREDICTION_BATCH, Batches, to_float
from rum_ray.data.bundle import LabeledData
from rum_ray.errors import ConfigError, RumRayError
from rum_ray.evaluation.sets import Split
from rum_ray.evaluation.tow import evaluate
from rum_ray.evaluation.two_sample import two_sample_auc
from rum_ray.jobs.embeddings import SAMPLE
from rum_ray.models import embed
from rum_ray.partition import Partition, Subset
from rum_ray.seeding import Seed
from rum_ray.study.neighbours import busy_neighbours, neighbour_count
from rum_ray.study.study import Study
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import UNLEARNERS, Retrain, Unlearner, UnlearningTask

CALIBRATION_SECONDS = 4.0
"""Time of all measurements but those of the models, after which no other begins."""
CALLS = 24
"""A budget allows about so many measured quantities."""
LEAST_CALL = 0.005
"""Seconds of one measurement with no budget."""
STEP_BYTES = 256 * 2**20
"""Most memory that a measured step keeps for its backward pass."""
STEPS, REPETITIONS = 16, 4
"""Most steps of a measured epoch, and epochs that a measurement has time for."""
FORGET_SHARE = 20
"""One example in so many is forgotten by a measured unlearner."""
MOST_EVALUATED = 2000
"""Most examples per set of a measured evaluation; the time of an SVM grows with their square."""
MOST_TESTED = 100_000
"""Most numbers in the embeddings of a measured two-sample test."""


@dataclass(frozen=True)
class Speed:
    """The speed and the size of one recipe's model.

    Attributes:
        step: seconds of a training step, whatever its batch size.
        example: further seconds per example of a training step.
        forward: seconds per example of a prediction.
        weights: bytes of parameters and buffers.
        kept: bytes per example that a training step keeps for its backward pass.
        largest: bytes per example of the largest kept tensor.
        features: length of an embedding; 0 if the model has none.
    """

    step: float
    example: float
    forward: float
    weights: int
    kept: float
    largest: float
    features: int

    def training(self, rows: float, batch_size: int) -> float:
        """Return the seconds of one epoch over `rows` examples."""
        return math.ceil(rows / batch_size) * self.step + rows * self.example


@dataclass(frozen=True)
class Calibration:
    """Rates, measured while other processes keep the cores of the other workers busy.

    Attributes:
        device: where the steps ran, "cpu" or "cuda".
        models: by recipe.
        evaluation: seconds of the attacks of one evaluation, by split.
        unlearners: seconds per unit of `Unlearner.cost`, by class; others count as training.
        two_sample: seconds of the tests on one model's embeddings.
    """

    device: str
    models: Mapping[Recipe, Speed]
    evaluation: Mapping[Split, float] = field(default_factory=dict)
    unlearners: Mapping[type[Unlearner], float] = field(default_factory=dict)
    two_sample: float = 0.0


def calibrate(study: Study, budget: float = CALIBRATION_SECONDS) -> Calibration:
    """Measure the models and the evaluations; within the budget, unlearners and tests, too.

    Args:
        study: the experiment and its data.
        budget: seconds after which no other measurement begins; with 0, only models, without load.
    """
    device = study.context.device if torch.cuda.is_available() else torch.device("cpu")
    shared = budget and device.type == "cpu"
    with busy_neighbours(neighbour_count(study) if shared else 0):
        return _calibrate(study, budget, device)


def _calibrate(study: Study, budget: float, device: torch.device) -> Calibration:
    """Measure on a device."""
    LocalRuntime(Seed(0), device, study.recipe.threads)
    call, scorers = max(LEAST_CALL, budget / CALLS), study.scoring.scorers
    recipes = dict.fromkeys((study.recipe, scorers[0].recipe if scorers else study.recipe))
    models = {recipe: _speed(study, recipe, device, call) for recipe in recipes}
    if not budget:
        return Calibration(device.type, models)
    evaluation: dict[Split, float] = {"test": _evaluation(study, "test", call)}
    if study.search_names:
        evaluation["valid"] = _evaluation(study, "valid", call)
    unlearners: dict[type[Unlearner], float] = {}
    end, speed = _now() + budget, models[study.recipe]
    for unlearner in _unlearners(study):
        rate = _now() < end and _rate(study, unlearner, speed, device, call)
        if rate:
            unlearners[type(unlearner)] = rate
    tests = _two_sample(study, speed.features, call) if _now() < end else 0.0
    return Calibration(device.type, models, evaluation, unlearners, tests)


def _time(work: Callable[[], object], seconds: float) -> float:
    """Return the median time of calls within some seconds; a fast first one only warms up."""
    first, times = _once(work), list[float]()
    while first + sum(times) < seconds:
        times.append(_once(work))
    return median(times or [first])


def _once(work: Callable[[], object]) -> float:
    """Return the time of a call, in seconds."""
    start = _now()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return _now() - start


def _now() -> float:
    """Return the time of this process on the CPU; on a GPU or several threads, of the clock.

    The time on the CPU leaves out the waiting for other programs.
    """
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    return time.process_time() if alone else time.perf_counter()


def _speed(study: Study, recipe: Recipe, device: torch.device, call: float) -> Speed:
    """Measure training and prediction with a recipe."""
    train, runtime = study.context.bundle.train, LocalRuntime(Seed(0), device, recipe.threads)
    # A low learning rate keeps the loss finite.
    slow = dataclasses.replace(recipe, lr=recipe.lr * 1e-3, weights=None)
    model = slow.build(train, Seed(0)).to(device)
    optimizer, two = slow.new_optimizer(model), train.take(range(min(2, len(train))))

    def epoch(batch: int, steps: int) -> tuple[Callable[[], object], int, int]:
        rows = min(len(train), steps * batch)
        batches = Batches(train.take(range(rows)), batch, device, recipe.augment)
        work = lambda: slow.epoch(model, optimizer, batches, runtime.seed)  # noqa: E731
        return work, math.ceil(rows / batch), rows

    kept, largest = _kept(slow.forward(model), to_float(two.x.to(device)))
    _once(epoch(2, 1)[0])
    one = _once(epoch(2, 1)[0]) / len(two)
    fitting = min(recipe.batch_size, len(train), STEP_BYTES / max(kept, 1), call / one)
    large = max(2, int(fitting))
    steps = max(1, min(STEPS, int(call / REPETITIONS / _once(epoch(large, 1)[0]))))
    work, steps, rows = epoch(large, steps)
    full, small, fixed = _time(work, call), large // 4, 0.0
    if small >= 2:
        work, times, few = epoch(small, steps)
        # Two batch sizes tell the time of a step from the time of its examples.
        quick, share = _time(work, call) / times, (few / times) / (rows / steps)
        fixed = min(max(0.0, (quick - share * full / steps) / (1 - share)), full / steps)
    sample = to_float(train.x[: max(2, min(PREDICTION_BATCH, large))].to(device))
    with torch.inference_mode():
        model.eval()
        forward = _time(lambda: model(sample), call) / len(sample)
        features = _features(model, sample[:2], study.experiment.embedding)
    weights = sum(value.nbytes for value in model.state_dict().values())
    return Speed(fixed, (full - steps * fixed) / rows, forward, weights, kept, largest, features)


def _kept(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the bytes per example that a forward pass keeps: all of them, and of one tensor."""
    kept: dict[int, int] = {}
    own = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model.train()(x)
    del outputs
    return sum(kept.values()) / len(x), max(kept.values(), default=0) / len(x)


def _features(model: nn.Module, x: Tensor, layer: str | None) -> int:
    """Return the length of an embedding; 0 if the model has none."""
    try:
        return embed(model, x, layer).shape[1]
    except ConfigError:
        return 0


class _Linear(nn.Module):
    """A classifier that costs next to nothing, so that only the attacks take time."""

    def __init__(self, data: LabeledData) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(data.shape), data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


def _evaluation(study: Study, split: Split, call: float) -> float:
    """Measure one evaluation, without the time of the model."""
    bundle, total = study.context.bundle, len(study.context.bundle.train)
    unseen = getattr(bundle, split)
    sizes = min(total, MOST_EVALUATED), min(len(unseen), MOST_EVALUATED)
    truth = bundle.true_labels
    part = dataclasses.replace(
        bundle,
        train=bundle.train.take(range(sizes[0])),
        true_labels=None if truth is None else truth[: sizes[0]],
        **{split: unseen.take(range(sizes[1]))},
    )
    with Seed(0).torch():
        model = _Linear(bundle.train)
    forgotten = Partition((Subset("all", np.arange(max(1, sizes[0] // 10))),))
    growth = min(total, len(unseen)) / min(sizes)
    # The first evaluation of a process imports scikit-learn.
    evaluate(model, part, forgotten, split)
    once = _time(lambda: evaluate(model, part, forgotten, split), call)
    return once * max(1.0, growth) ** 2


def _unlearners(study: Study) -> Iterator[Unlearner]:
    """Yield one unlearner per class of this package; a user's own might end the process."""
    experiment, search = study.experiment, study.experiment.search
    found = [*(experiment.plan or {}).values(), *experiment.compare]
    if search is not None:
        found += [*(c.unlearner(c.defaults) for c in search.unlearners), *search.steps.values()]
    for kind, unlearner in {type(each): each for each in found}.items():
        if kind in UNLEARNERS.values() and kind is not Retrain:
            yield unlearner


def _rate(
    study: Study, unlearner: Unlearner, speed: Speed, device: torch.device, call: float
) -> float | None:
    """Measure the seconds per unit of cost of an unlearner; None if it is idle or too slow."""
    train, recipe = study.context.bundle.train, study.recipe
    if hasattr(unlearner, "epochs"):
        unlearner = dataclasses.replace(unlearner, epochs=2)  # type: ignore[type-var]
    unit = speed.training(recipe.batch_size, recipe.batch_size) / recipe.batch_size
    forget, retain = len(train) // FORGET_SHARE, len(train) - len(train) // FORGET_SHARE
    while forget and unlearner.cost(forget, retain) > call / unit:
        forget, retain = forget // 2, retain // 2
    cost = unlearner.cost(forget, retain) if forget else 0.0
    batch = min(getattr(unlearner, "batch_size", retain), retain)
    if not cost or batch * speed.kept > STEP_BYTES:
        return None
    model = recipe.build(train, Seed(0)).to(device)
    rows = range(forget), range(forget, forget + retain)
    sets, shift = tuple(map(train.take, rows)), np.zeros(forget + retain, np.float32)
    task = UnlearningTask(sets[0], sets[1], model.eval(), recipe, shift)
    runtime = LocalRuntime(Seed(0), device, recipe.threads)
    try:
        return _time(lambda: unlearner(model, task, runtime), call) / cost
    except RumRayError:
        return None


def _two_sample(study: Study, features: int, call: float) -> float:
    """Measure the two-sample tests of one model's embeddings, on random numbers."""
    size = study.experiment.forget.size or len(study.context.bundle.train) // 10
    subsets = len(getattr(study.experiment.refine, "into", "1"))
    points = min(max(2, size // subsets), SAMPLE)
    if not features:
        return 0.0
    few = max(10, min(points, MOST_TESTED // features))
    drawn = np.random.default_rng(0).normal(size=(2, few, features))
    return _time(lambda: two_sample_auc(drawn[0], drawn[1], Seed(0)), call) * subsets * points / few
