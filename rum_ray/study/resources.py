"""The bytes of a study: results in the store, data in the object store, memory of a worker."""

from collections.abc import Sequence

from rum_ray.data.batches import PREDICTION_BATCH
from rum_ray.data.bundle import DataBundle
from rum_ray.jobs import (
    CentroidDistances,
    EmbeddingMoments,
    Evaluate,
    PoolLogits,
    ScoreByProxy,
    SearchJob,
    SubsetMoments,
    TrainModel,
    TrainPoolModel,
    UnlearnShadow,
)
from rum_ray.jobs.accumulators import FREQUENCIES
from rum_ray.jobs.job import Keyed
from rum_ray.scores.learning_events import EVENTS
from rum_ray.study.calibration import Calibration
from rum_ray.study.costs import training_count
from rum_ray.study.forecast import Forecast
from rum_ray.study.rehearsal import drawn_units
from rum_ray.study.study import Study

RECORD_BYTES = 500
"""Header and provenance of an artifact."""
TRIAL_BYTES = 1600
"""Records of a unit: its result, and its part of the record of the search."""
PROCESS_BYTES = 400 * 2**20
"""Memory of a worker that has imported everything and has computed nothing."""
COPIES = 6
"""Copies of the weights at a time: student, gradients, momentum, mask, teacher and original."""
BUFFERS = 3
"""Largest tensors at a time in a prediction: input, output and scratch memory of a layer."""


def store_bytes(study: Study, lines: Sequence[Forecast], rates: Calibration) -> int:
    """Return the bytes that the missing jobs write to the store."""
    return sum(_artifact(study, job, rates) for line in lines for job in line.jobs)


def _artifact(study: Study, job: Keyed, rates: Calibration) -> int:
    """Return the bytes of the result of a job, with its provenance."""
    if isinstance(job, SearchJob):
        units = len(drawn_units(job, study.context))
        return RECORD_BYTES + units * TRIAL_BYTES
    return RECORD_BYTES + _arrays(study, job, rates)


def _arrays(study: Study, job: Keyed, rates: Calibration) -> int:
    """Return the bytes of the arrays in the result of a job."""
    bundle, speed = study.context.bundle, rates.models[study.recipe]
    total, unseen = len(bundle.train), len(bundle.test)
    if isinstance(job, TrainModel):
        events = job.forget is None and job.weights is None
        return speed.weights + events * len(EVENTS) * 8 * total
    if isinstance(job, TrainPoolModel):
        kept = job.keep * rates.models[job.recipe].weights
        return 2 * -(-total // 8) + 2 * job.confidences * total + kept
    if isinstance(job, Evaluate):
        asked = total + len(getattr(bundle, job.split))
        # A search's references are retrained, and stored, by the job that evaluates them.
        stored = job.keep * speed.weights + training_count(job) * (speed.weights + RECORD_BYTES)
        return 4 * bundle.num_classes * asked + stored
    if isinstance(job, ScoreByProxy):
        return 16 * total
    if isinstance(job, CentroidDistances):
        return 8 * (total + speed.features)
    if isinstance(job, EmbeddingMoments | SubsetMoments):
        waves = 4 * FREQUENCIES if isinstance(job, EmbeddingMoments) else 0
        return 8 * (len(job.partition) + 1) * (speed.features + waves)
    if isinstance(job, PoolLogits):
        return 4 * (total + unseen)
    return 4 * len(job.plan.partition.rows) if isinstance(job, UnlearnShadow) else 0


def object_store_bytes(bundle: DataBundle) -> int:
    """Return the bytes of the data that each machine's object store holds; D twice for streams."""
    return _data_bytes(bundle) + bundle.train.x.nbytes


def worker_bytes(study: Study, rates: Calibration) -> int:
    """Return the largest memory of a worker, on the CPU; the data count, though they are shared."""
    largest = 0.0
    for recipe, speed in rates.models.items():
        training = recipe.batch_size * speed.kept
        prediction = BUFFERS * PREDICTION_BATCH * speed.largest
        largest = max(largest, COPIES * speed.weights + max(training, prediction))
    return PROCESS_BYTES + _data_bytes(study.context.bundle) + round(largest)


def _data_bytes(bundle: DataBundle) -> int:
    """Return the bytes of inputs and labels of all splits."""
    splits = (bundle.train, bundle.valid, bundle.test, bundle.reserved)
    return sum(part.x.nbytes + part.y.nbytes for part in splits if part is not None)
