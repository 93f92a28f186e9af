"""The stages of a study and the commands that run them, in order: the only such table.

The pipeline runs these stages. A dry run and `rum-ray estimate` forecast them. `rum-ray report`
checks that their results are in the store. The documentation prints the table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rum_ray.errors import StoreError
from rum_ray.jobs import Job
from rum_ray.jobs.job import Keyed
from rum_ray.jobs.pretrained import import_initial, import_weights
from rum_ray.study import bounds
from rum_ray.study.bounds import Bound
from rum_ray.study.given import RETRAINED, original_files, reference_files
from rum_ray.study.methods import (
    measuring_jobs,
    method_rows,
    plan_row,
    pool_jobs,
    residual_jobs,
    shadow_jobs,
)
from rum_ray.study.study import Study
from rum_ray.study.validation import check_floor

Parts: TypeAlias = Mapping[str, Sequence[Keyed]]
"""The jobs of a stage, by the name of the part in reports of progress and times."""


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    Attributes:
        description: one line for the documentation.
        kind: how the executor runs the stage: as "jobs", as a "stream" of embeddings, or as a
            "search", which proposes its own jobs.
        parts: returns the jobs; the results of the stages in `after` must be in the store.
        bound: returns an upper bound on the jobs; needs no results.
        after: stages whose results `parts` reads.
        wanted: returns True if the experiment needs the stage.
        prepare: runs before the jobs, in the driver; returns sentences for the user.
        cancelled: returns the jobs that finished ones have made unnecessary.
        statistics: returns fields of `ProgressState` that depend on finished jobs.
    """

    description: str
    kind: Literal["jobs", "stream", "search"]
    parts: Callable[[Study], Parts]
    bound: Callable[[Study], list[Bound]]
    after: tuple[str, ...] = ()
    wanted: Callable[[Study], bool] = lambda study: True
    prepare: Callable[[Study], Sequence[str]] = lambda study: ()
    cancelled: Callable[[Study], Sequence[Job]] = lambda study: ()
    statistics: Callable[[Study], Mapping[str, Any]] = lambda study: {}


def _one(name: str, jobs: Callable[[Study], Sequence[Keyed]]) -> Callable[[Study], Parts]:
    """Return the parts of a stage that reports all its jobs under one name."""
    return lambda study: {name: jobs(study)}


def _import_files(study: Study) -> list[str]:
    """Save the given weights in the store; return what was done, and the original's accuracy."""
    context, recipe = study.context, study.experiment.recipe
    scoring = study.experiment.score.recipe or recipe
    initial = [line for each in (recipe, scoring) for line in import_initial(each, context)]
    return [*initial, *import_weights(original_files(study), context)]


def _import_references(study: Study) -> list[str]:
    """Save the given references in the store; return what was done, and their accuracy."""
    return import_weights(reference_files(study), study.context, RETRAINED)


def _check_noise(study: Study) -> tuple[str, ...]:
    """Raise ConfigError if the noise of the objective hides differences between plans."""
    check_floor(study)
    return ()


def _has_search(study: Study) -> bool:
    """Return True if the study searches plans."""
    return study.experiment.search is not None and not study.plan_only


_FORGET = ("train", "distances")
"""Their results determine the forget set and its subsets."""
_PLANS = (*_FORGET, "ranges", "search", "validate")
"""Their results determine the plans of all methods."""

STAGES: Mapping[str, Stage] = {
    "train": Stage(
        "Train the originals of all seeds, and the models that score the examples.",
        "jobs",
        _one("train", lambda study: study.first_jobs),
        bounds.train,
        prepare=_import_files,
        cancelled=lambda study: study.scoring.cancelled,
        statistics=lambda study: study.scoring.precision_so_far,
    ),
    "distances": Stage(
        "Stream distances in embedding space, if the forget set or its subsets depend on them.",
        "stream",
        _one("distances", lambda study: study.distance_jobs),
        bounds.distances,
        wanted=lambda study: bool(study.distance_jobs),
    ),
    "embed": Stage(
        "Stream the embeddings of the subsets under each original.",
        "stream",
        _one("embed", lambda study: study.moments),
        bounds.embed,
        after=_FORGET,
    ),
    "retrain": Stage(
        "Retrain without the forget set: references, noise floor, references of the searches.",
        "jobs",
        _one("retrain", lambda study: study.retrain_jobs),
        bounds.retrain,
        after=_FORGET,
        prepare=_import_references,
    ),
    "references": Stage(
        "Retrain the references of the searches, and nothing else.",
        "jobs",
        _one("references", lambda study: study.reference_jobs),
        bounds.references,
        after=_FORGET,
        wanted=_has_search,
    ),
    "ranges": Stage(
        "Test the learning rates of the unlearners before the searches.",
        "jobs",
        _one("ranges", lambda s: [job for tests in s.range_tests.values() for _, job in tests]),
        bounds.ranges,
        after=_FORGET,
        wanted=_has_search,
    ),
    "search": Stage(
        "Search every space of plans, and tune every row of `compare`.",
        "search",
        _one("search", lambda study: [*study.searches.values(), *study.row_searches.values()]),
        bounds.search,
        after=(*_FORGET, "ranges"),
        wanted=_has_search,
        prepare=_check_noise,
    ),
    "validate": Stage(
        "Try the finalists of each search on fresh seeds.",
        "jobs",
        _one("validate", lambda study: study.validations),
        bounds.validate,
        after=(*_FORGET, "ranges", "search"),
        wanted=_has_search,
    ),
    "rows": Stage(
        "Measure every method on the reported seeds and on test data.",
        "jobs",
        _one("rows", lambda study: measuring_jobs(study, method_rows(study))),
        bounds.rows,
        after=_PLANS,
    ),
    "residuals": Stage(
        "Stream the embeddings of the measured models, if `evaluate.residual` is true.",
        "stream",
        _one("residuals", lambda study: residual_jobs(study, method_rows(study))),
        bounds.residuals,
        after=_PLANS,
        wanted=lambda study: study.experiment.evaluate.residual,
    ),
    "shadows": Stage(
        "Run the reported plans on the models of the pool, if an attack needs shadow models.",
        "jobs",
        _one("shadows", lambda study: shadow_jobs(study, method_rows(study))),
        bounds.shadows,
        after=_PLANS,
        wanted=lambda study: bool(study.experiment.evaluate.of_shadows),
    ),
    "pool": Stage(
        "Ask the models of the pool for their logits.",
        "jobs",
        _one("pool", pool_jobs),
        bounds.pool,
        wanted=lambda study: study.asks_pool,
    ),
    "unlearn": Stage(
        "Run the plan of the file on the original of every seed.",
        "jobs",
        _one("unlearn", lambda study: plan_row(study).jobs),
        bounds.unlearn,
        after=_FORGET,
    ),
}

_MEASURE = ("rows", "residuals", "shadows")
_RUN = ("train", "distances", "embed", "retrain", "ranges", "search", "validate", *_MEASURE)

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": _RUN,
    "train": ("train", "distances", "retrain"),
    "score": ("train", "distances"),
    "refine": ("train", "distances", "embed"),
    "unlearn": ("train", "distances", "unlearn"),
    "evaluate": ("train", "distances", "retrain", *_MEASURE),
    "tune": ("train", "distances", "references", "ranges", "search", "validate"),
    "ladder": _RUN,
    "prepare": ("train", "pool"),
    "report": (),
}
"""The stages of each command, in order."""


def wanted_stages(study: Study, command: str) -> dict[str, Stage]:
    """Return the stages of a command that the experiment needs, in order."""
    return {name: STAGES[name] for name in COMMANDS[command] if STAGES[name].wanted(study)}


def check_finished(study: Study) -> None:
    """Raise StoreError unless the store has every result that the report needs."""
    context = study.context
    for stage in wanted_stages(study, "run").values():
        for name, jobs in stage.parts(study).items():
            missing = len(context.missing(context.distinct(jobs)))
            if missing:
                raise StoreError(
                    f"stage '{name}' is not finished: {missing} results are missing in the store "
                    f"{context.store.shown}. Use 'rum-ray run' first."
                )
