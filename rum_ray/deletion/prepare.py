"""The verb `prepare`: the pool, and its numbers in one file for all requests."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rum_ray.deletion.data import load_data, new_ledger
from rum_ray.deletion.ledger import LEDGER, Ledger
from rum_ray.deletion.models import state_digest
from rum_ray.deletion.pool import PREPARED, Prepared
from rum_ray.deletion.publish import settle
from rum_ray.deletion.request import remaining
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment
from rum_ray.files import PRIVATE, write_bytes
from rum_ray.jobs import Context, retraining_cost
from rum_ray.jobs.pool import pool_logits
from rum_ray.store import Store
from rum_ray.study.executor import Executor
from rum_ray.study.methods import pool_jobs
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import Progress
from rum_ray.study.repair import repaired
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.study.validation import check_pool, check_share
from rum_ray.unlearning.base import FORWARD_ONLY

POOL = "pool_lira"


def pooled(experiment: Experiment) -> Experiment:
    """Return the experiment that trains the original, if it is not given, and the pool.

    Raises:
        ConfigError: the score is not that of a pool.
    """
    score, evaluate = experiment.score, experiment.evaluate
    if score.file is not None or score.name not in ("auto", "memorization"):
        raise ConfigError(
            f"score: 'rum-ray prepare' trains the leave-k-out pool, but the score is "
            f"{score.file or score.name}. Set score.name to auto or memorization."
        )
    also = evaluate.also if POOL in evaluate.also else (*evaluate.also, POOL)
    return dataclasses.replace(
        experiment,
        score=dataclasses.replace(score, name="memorization"),
        evaluate=dataclasses.replace(evaluate, also=also),
        seeds=experiment.seeds[:1],
        plan=None,
        compare=(),
        search=None,
        repeats=1,
    )


def open_preparation(experiment: Experiment, out: Path, store: str | Path) -> Study:
    """Return the study of the pool on all rows that were not forgotten before.

    Raises:
        RumRayError: the experiment does not fit its data.
    """
    ledger = Ledger.read(out)
    bundle = load_data(experiment, ledger, store)
    if ledger is not None:
        hashes = ledger.hashes(bundle.train.known_ids.texts())
        kept = np.flatnonzero([each not in ledger.forgotten for each in hashes])
        bundle = remaining(bundle, kept)
    device = torch.device("cuda" if experiment.cluster.gpus_per_worker else "cpu")
    study = Study(pooled(experiment), Context(bundle, Store(store), device))
    check_share(study)
    check_pool(study)
    return study


def prepare(study: Study, out: Path, executor: Executor, progress: Progress) -> dict[str, Any]:
    """Train what is missing, and write the numbers of the pool; the caller holds the lock."""

    def attempt() -> dict[str, Any]:
        Pipeline(study, executor, progress, Clock()).run("prepare")
        return write(study, out)

    return repaired(attempt, study.context.store, progress.say)


def write(study: Study, out: Path) -> dict[str, Any]:
    """Write the numbers of a pool whose models are trained, and return the answer."""
    context, bundle = study.context, study.context.bundle
    ledger = settle(out)
    if ledger is None:
        ledger = new_ledger(
            state_digest(study.originals[0].load(context)), study.experiment, bundle
        )
        write_bytes(out / LEDGER, ledger.content(), PRIVATE)
    rows = np.arange(len(bundle.train))
    jobs = pool_jobs(study)
    logits, included, unseen = pool_logits(context, jobs, rows)
    keys = [context.key(job.model) for job in jobs] + [context.key(job) for job in jobs]
    made = Prepared(
        tuple(ledger.hashes(bundle.train.known_ids.texts())),
        study.scores.values,
        included,
        logits.astype(np.float32),
        unseen.astype(np.float32),
        context.eval_fingerprint("test"),
        cost_of(study),
        tuple(f"{key.kind}/{key.digest}" for key in keys),
    )
    made.write(out)
    return {
        "prepared": str(out / PREPARED),
        "models": made.models,
        "cost": made.cost,
        "unknown": int(np.isnan(made.scores).sum()),
        "note": f"prepared once {made.cost:.3g} of a retraining, for any number of requests",
    }


def cost_of(study: Study) -> float:
    """Return the cost of the pool and of its predictions, in trainings of the original."""
    bundle, recipe = study.context.bundle, study.recipe
    total, models = len(bundle.train), len(study.scoring.pool)
    scoring = study.experiment.score.recipe or recipe
    one = retraining_cost(recipe, 0, total)
    learned = study.experiment.score.fraction * total * scoring.epochs
    # Two passes over D: the record of a model, and its logits.
    asked = FORWARD_ONLY * (2 * total + len(bundle.test))
    return models * (learned + asked) / one
