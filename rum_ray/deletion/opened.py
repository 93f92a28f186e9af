"""A request that is read and checked, and one that is computed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rum_ray.deletion.data import load_data, new_ledger
from rum_ray.deletion.jobs import MeasureModel
from rum_ray.deletion.ledger import Ledger
from rum_ray.deletion.measure import Attacked, enough_models
from rum_ray.deletion.models import Start, find_start
from rum_ray.deletion.plan import Cost, Source, cost_of, make_plan, subsets
from rum_ray.deletion.pool import Prepared
from rum_ray.deletion.publish import settle
from rum_ray.deletion.request import Listed, Request, open_request
from rum_ray.deletion.scores import known_scores
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment
from rum_ray.jobs import Context
from rum_ray.partition import Partition
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.store import Store


@dataclass(frozen=True, eq=False)
class Opened:
    """A request that is checked; nothing of it is computed yet.

    Attributes:
        experiment: the file.
        out: the output folder.
        ledger: the requests so far; a new ledger for the first request.
        request: the rows to forget.
        start: the model that the request starts from.
        everything: all data that are there, and the store.
        context: D without rows forgotten before, and the store.
        prepared: the pool, if it knows the rows of the request.
        public: True leaves out hashes and numbers about few rows.
    """

    experiment: Experiment
    out: Path
    ledger: Ledger
    request: Request
    start: Start
    everything: Context
    context: Context
    prepared: Prepared | None
    public: bool


@dataclass(frozen=True, eq=False)
class Unlearned:
    """A request that is computed.

    Attributes:
        opened: the request.
        partition: its subsets.
        plan: its plan.
        source: origin of the plan, "file" or "auto".
        score: name of the score of the subsets.
        cost: of the request.
        attacked: both models' predictions.
        job: the unlearning.
        reference: metrics against a retrained model; None without one.
        artifacts: kind and digest of the artifacts in the store that were made for the request.
    """

    opened: Opened
    partition: Partition
    plan: Plan
    source: Source
    score: str
    cost: Cost
    attacked: Attacked
    job: MeasureModel
    reference: Mapping[str, float] | None
    artifacts: tuple[str, ...]


def open_deletion(
    experiment: Experiment,
    listed: Listed,
    out: Path,
    store: str | Path,
    *,
    public: bool = False,
    settled: bool = True,
) -> Opened:
    """Read everything that a request needs, and check it.

    Args:
        experiment: the file.
        listed: the list of ids.
        out: the output folder.
        store: folder or URI of artifacts.
        public: True leaves out hashes and numbers about few rows.
        settled: True finishes an interrupted publication first; the caller then holds the lock.

    Raises:
        RumRayError: the list, the data, the model and the ledger do not fit together.
    """
    ledger = settle(out) if settled else Ledger.read(out)
    # Without the lock, nothing is written: no cached images either.
    bundle = load_data(experiment, ledger, store if settled else None, listed.names)
    device = torch.device("cuda" if experiment.cluster.gpus_per_worker else "cpu")
    everything = Context(bundle, Store(store), device)
    start = find_start(experiment, everything, out, ledger)
    known = ledger or new_ledger(start.digest, experiment, bundle)
    request = open_request(listed, bundle, known)
    context = dataclasses.replace(everything, bundle=request.bundle)
    prepared = _usable(Prepared.read(out), context, request)
    if prepared is None and experiment.deletion.reference == "pool":
        raise ConfigError(
            "deletion.reference: pool needs the models of 'rum-ray prepare' on these rows and this "
            "test set. Run it, or set deletion.reference to none."
        )
    # A score that is not there, and a plan that does not fit, are told before the first job.
    known_scores(experiment, everything, request, prepared)
    opened = Opened(experiment, out, known, request, start, everything, context, prepared, public)
    if len(request.rows):
        forecast(opened)
    return opened


def _usable(prepared: Prepared | None, context: Context, request: Request) -> Prepared | None:
    """Return the pool if it knows the rows of the request and the test set."""
    if prepared is None or prepared.test != context.eval_fingerprint("test"):
        return None
    places = prepared.rows(request.ids)
    return None if places is None or not enough_models(prepared, places) else prepared


def forecast(opened: Opened) -> Cost:
    """Return the cost of a request; subsets of equal size stand for those by difficulty.

    Raises:
        ConfigError: there is no plan.
        PlanError: the plan does not fit the subsets.
    """
    experiment, request = opened.experiment, opened.request
    placeholder = Scores(np.zeros(len(request.bundle.train)), name="unknown")
    partition = subsets(experiment, request.bundle, request.rows, placeholder)
    steps, _ = make_plan(experiment, partition, len(request.bundle.train))
    return cost_of(experiment, steps, request.bundle, len(request.past))


def warnings(opened: Opened) -> list[str]:
    """Return what the user may not expect, one sentence each."""
    request, found = opened.request, []
    if request.already:
        found.append(
            f"warning: {len(request.already)} of {len(request.listed.names)} listed ids were "
            "forgotten before, and are skipped"
        )
    found += [
        f"warning: no row of class '{name}' remains; the model cannot be measured on what it "
        "retains of this class"
        for name in request.whole_classes
    ]
    return found
