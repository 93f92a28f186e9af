"""What each verb of the command line does, from a checked experiment to what it prints."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray import config
from rum_ray.cluster.pipeline import Pipeline, Where
from rum_ray.cluster.summary import score_table, summarize, trial_table
from rum_ray.console import Bars, quiet
from rum_ray.data.bundle import LabeledData
from rum_ray.errors import StoreError
from rum_ray.experiment import Experiment
from rum_ray.report import Gallery, Picture, write
from rum_ray.store import Store, write_bytes
from rum_ray.study import Study
from rum_ray.timing import Clock
from rum_ray.work import Context, load_model
from rum_ray.workplace import claimed

Answer = dict[str, Any]
LOG = "third-party.log"


@dataclass(frozen=True)
class Options:
    """What the flags say.

    Attributes:
        out: folder of what people read; None is out/<name>.
        store: folder or URI of artifacts.
        address: of the cluster.
        dashboard: whether a local cluster has a dashboard.
    """

    out: Path | None = None
    store: str = "store"
    address: str = "local"
    dashboard: bool = False

    def folder(self, experiment: Experiment) -> Path:
        """Return the output folder of an experiment."""
        return self.out or Path("out") / experiment.name


def open_study(experiment: Experiment, options: Options) -> Study:
    """Return the study of an experiment; its data are read, and nothing is written."""
    return Study(experiment, Context(experiment.data.load(), Store(options.store)))


@contextlib.contextmanager
def _running(study: Study, options: Options) -> Iterator[Pipeline]:
    """Hold the output folder and yield the pipeline, with third parties kept quiet."""
    out = options.folder(study.experiment)
    with claimed(out, study.experiment), quiet(out / LOG) as person:
        bars = Bars(person)
        where = Where(
            options.address, options.dashboard, lambda url: bars.say(f"Ray dashboard: {url}")
        )
        try:
            with Pipeline(study, where, bars, Clock(out / "stages.json")) as pipeline:
                yield pipeline
        finally:
            bars.close()


def run(study: Study, options: Options) -> Answer:
    """Make everything that is missing, then the report."""
    with _running(study, options) as pipeline:
        for stage in (*_REFERENCES, Pipeline.search, Pipeline.rows):
            stage(pipeline)
        return _publish(pipeline, options)


def report(study: Study, options: Options) -> Answer:
    """Write the report of a study that is finished."""
    with _running(study, options) as pipeline:
        pipeline.check()
        return _publish(pipeline, options)


def train(study: Study, options: Options) -> Answer:
    """Make the original and the retrained models."""
    with _running(study, options) as pipeline:
        for stage in (Pipeline.train, Pipeline.retrain):
            stage(pipeline)
    models = {"originals": study.originals, "retrained": study.retrained}
    return {
        name: [study.context.store.path(job.key(study.context)) for job in jobs]
        for name, jobs in models.items()
    }


def score(study: Study, options: Options) -> Answer:
    """Score the training set."""
    with _running(study, options) as pipeline:
        pipeline.train()
    path = options.folder(study.experiment) / "scores.parquet"
    write_bytes(path, score_table(study, subsets=False).to_parquet(None, index=False))
    values = study.scores.values
    return {
        "scores": str(path),
        "name": study.scores.name,
        "examples": len(values),
        "unknown": int(np.isnan(values).sum()),
        "mean": float(np.nanmean(values)),
        "above_half": int((values > 0.5).sum()),
    }


def refine(study: Study, options: Options) -> Answer:
    """Choose the forget set, split it into subsets, and measure their entanglement."""
    with _running(study, options) as pipeline:
        pipeline.train()
        pipeline.embed()
    path = options.folder(study.experiment) / "scores.parquet"
    write_bytes(path, score_table(study).to_parquet(None, index=False))
    return {"scores": str(path), "subsets": pipeline.subsets()}


def unlearn(study: Study, options: Options) -> Answer:
    """Run the file's plan on every seed's original, and keep the unlearned models."""
    with _running(study, options) as pipeline:
        pipeline.train()
        pipeline.unlearn()
    from safetensors.torch import save

    out = options.folder(study.experiment)
    paths = []
    for seed, job in zip(study.experiment.seeds, pipeline.planned().jobs, strict=True):
        model = load_model(job.recipe, study.context, study.context.load(job))
        path = out / "unlearned" / f"seed{seed}.safetensors"
        state = {name: t.contiguous() for name, t in model.state_dict().items()}
        write_bytes(path, save(state, {"experiment": study.experiment.digest}))
        paths.append(str(path))
    return {"unlearned": paths}


def evaluate(study: Study, options: Options) -> Answer:
    """Measure the file's plan, the original and the noise floor against retrained models."""
    with _running(study, options) as pipeline:
        pipeline.train()
        pipeline.retrain()
        pipeline.evaluate()
        return {"rows": pipeline.measured_plan()}


def tune(study: Study, options: Options) -> Answer:
    """Search the assignment, and write the plan that was found."""
    study.spaces_allowed()
    with _running(study, options) as pipeline:
        for stage in (*_REFERENCES, Pipeline.search):
            stage(pipeline)
    plan = pipeline.pick(study.spaces[-1])
    path = options.folder(study.experiment) / "plan.yaml"
    write_bytes(path, config.dump_plan(plan).encode())
    return {"plan": str(path), "searches": pipeline.searches()}


_REFERENCES: tuple[Callable[[Pipeline], None], ...] = (
    Pipeline.train,
    Pipeline.embed,
    Pipeline.retrain,
)
VERBS: Mapping[str, Callable[[Study, Options], Answer]] = {
    "run": run,
    "train": train,
    "score": score,
    "refine": refine,
    "unlearn": unlearn,
    "evaluate": evaluate,
    "tune": tune,
    "report": report,
}
