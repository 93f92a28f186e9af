"""The verb `delete`: a request from its list of ids to a published model with evidence."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rum_ray.deletion import plan
from rum_ray.deletion.evidence import bill_of, collect
from rum_ray.deletion.files import files_of
from rum_ray.deletion.jobs import MeasureModel
from rum_ray.deletion.ledger import Entry
from rum_ray.deletion.measure import Attacked, Predictions, starting_model
from rum_ray.deletion.models import run_seed
from rum_ray.deletion.opened import Opened, Unlearned, forecast, warnings
from rum_ray.deletion.publish import publish
from rum_ray.deletion.scores import difficulty
from rum_ray.errors import GateError
from rum_ray.evaluation.tow import evaluate
from rum_ray.jobs import Context, Job, TrainModel
from rum_ray.partition import Partition
from rum_ray.report.evidence import CHECK_INPUTS, bill_sentence
from rum_ray.results.schema.evidence import Evidence
from rum_ray.study.executor import Executor
from rum_ray.study.progress import Progress
from rum_ray.study.repair import repaired


def delete(opened: Opened, executor: Executor, progress: Progress) -> dict[str, Any]:
    """Unlearn a request, measure it, and publish it if all gates are met.

    The caller holds the lock of the output folder.

    Raises:
        GateError: a gate is not met; nothing is published.
        RumRayError: a job failed, or the files cannot be written.
    """
    request = opened.request
    for sentence in warnings(opened):
        progress.say(sentence)
    if not len(request.rows):
        return {"published": "nothing: all listed ids were forgotten before"}
    progress.say(f"before: {bill_sentence(bill_of(opened, forecast(opened)))}")
    executor.configure(opened.experiment)

    def attempt() -> tuple[Evidence, Entry, dict[str, bytes]]:
        unlearned = unlearn(opened, executor, progress)
        found = collect(unlearned)
        check_gates(found)
        return found, *files_of(unlearned, found)

    found, entry, files = repaired(attempt, opened.context.store, progress.say)
    folder = publish(opened.out, opened.ledger, entry, files)
    progress.say(f"after: {bill_sentence(found.bill)}")
    return answer(found, folder)


def check_gates(found: Evidence) -> None:
    """Raise GateError if a gate of a request is not met."""
    failed = [gate for gate in found.gates if not gate.met]
    if failed:
        parts = (f"{g.name}: {g.value:.3f} is above {g.limit:g} ({g.measured})" for g in failed)
        raise GateError(
            f"deletion.gates: {'; '.join(parts)}. Nothing is published. Change the plan or the "
            "gate, or retrain without the listed rows."
        )


def answer(found: Evidence, folder: Path) -> dict[str, Any]:
    """Return the answer of the command."""
    return {
        "published": str(folder),
        "evidence": str(folder / "evidence.html"),
        "deletion": found,
    }


def unlearn(opened: Opened, executor: Executor, progress: Progress) -> Unlearned:
    """Measure the model that the request starts from, unlearn, and measure the new one."""
    experiment, request, context = opened.experiment, opened.request, opened.context
    seed = run_seed(experiment) / "deletion" / (len(opened.ledger.entries) + 1)
    start = opened.start.job(experiment, context)
    first = MeasureModel(start, seed, past=request.past, request=request.rows)
    _compute("measure", [first], context, executor, progress)
    before = Predictions.of(context.load(first).arrays)
    _say_accuracy(opened, before, progress)
    scores = difficulty(experiment, opened.everything, request, before, opened.prepared)
    partition = plan.subsets(experiment, request.bundle, request.rows, scores)
    steps, source = plan.make_plan(experiment, partition, len(request.bundle.train))
    job = MeasureModel(start, seed, plan=steps, past=request.past, request=request.rows)
    _compute("unlearn", [job], context, executor, progress)
    places = None if opened.prepared is None else opened.prepared.rows(request.ids)
    after = Predictions.of(context.load(job).arrays)
    again = TrainModel(job.recipe, run_seed(experiment), request.rows)
    keys = [context.key(each) for each in (start, first, job, again)]
    return Unlearned(
        opened,
        partition,
        steps,
        source,
        scores.name,
        plan.cost_of(experiment, steps, request.bundle, len(request.past)),
        Attacked(request, before, after, opened.prepared, places),
        job,
        _against_retrained(opened, job, again, partition, executor, progress),
        tuple(f"{key.kind}/{key.digest}" for key in keys if context.store.has(key)),
    )


def _compute(
    name: str, jobs: Sequence[Job], context: Context, executor: Executor, progress: Progress
) -> None:
    """Run the jobs whose results are not in the store."""
    progress.start(name, len(jobs))
    missing = context.missing(jobs)
    if missing:
        executor.run(name, missing, context, lambda state: state)
    reused = len(jobs) - len(missing)
    progress.finish(f"{len(jobs)} done" + (f", {reused} reused" if reused else ""))


def _say_accuracy(opened: Opened, before: Predictions, progress: Progress) -> None:
    """Print the accuracy of the model that the request starts from; warn if it is near chance."""
    classes = opened.request.bundle.num_classes
    start = starting_model(before, classes, not opened.ledger.entries)
    progress.say(
        f"the model of {opened.start.place}: accuracy {start.train.value:.3f} on the training set, "
        f"{start.test.value:.3f} on the test set"
    )
    if start.near_chance:
        progress.say(
            f"warning: an accuracy of {start.train.value:.3f} on its own training set is near "
            f"chance ({1 / classes:.3f}). {CHECK_INPUTS}"
        )


def _against_retrained(
    opened: Opened,
    job: MeasureModel,
    again: TrainModel,
    partition: Partition,
    executor: Executor,
    progress: Progress,
) -> Mapping[str, float] | None:
    """Return the metrics of the new model against a retrained one, if the file asks for one."""
    if opened.experiment.deletion.reference != "retrain":
        return None
    context, request = opened.context, opened.request
    _compute("retrain", [again], context, executor, progress)
    models: Sequence[Callable[[Context], Any]] = (job.load_model, again.load)
    ours, theirs = (evaluate(load(context), request.bundle, partition) for load in models)
    return ours.against(theirs)
