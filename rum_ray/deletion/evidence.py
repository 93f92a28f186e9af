"""The evidence of a deletion, from the measurements; nothing is computed by a model here."""

from collections.abc import Sequence

from rum_ray.deletion.measure import (
    accuracies,
    attacks,
    past_attack,
    single_rows,
    starting_model,
)
from rum_ray.deletion.opened import Opened, Unlearned
from rum_ray.deletion.plan import Cost, break_even
from rum_ray.experiment.plain import plan_as_dicts
from rum_ray.report.public import FEW
from rum_ray.results.schema.evidence import (
    AccuracyRow,
    Asked,
    AttackRow,
    DeletionBill,
    Done,
    Drift,
    Estimate,
    Evidence,
    GateRow,
)
from rum_ray.results.schema.rows import PlanStep
from rum_ray.rum import Plan

RETRAINING = 1.0
"""The cost of retraining, in trainings."""


def collect(unlearned: Unlearned) -> Evidence:
    """Return the evidence of a request that is computed."""
    opened, attacked = unlearned.opened, unlearned.attacked
    rows = accuracies(unlearned.partition, attacked.before, attacked.after)
    found, bill = attacks(attacked), bill_of(opened, unlearned.cost)
    single, drift = single_rows(attacked), _drift(unlearned, rows, bill)
    return Evidence(
        name=opened.experiment.name,
        request=len(opened.ledger.entries) + 1,
        public=opened.public,
        asked=_asked(opened),
        done=_done(unlearned),
        accuracies=tuple(row for row in rows if not (opened.public and row.size < FEW)),
        attacks=found,
        single=single,
        reference=unlearned.reference,
        not_measured=tuple(_not_measured(unlearned)),
        bill=bill,
        drift=drift,
        gates=tuple(_gates(opened, rows, found)),
        start=starting_model(
            attacked.before, opened.request.bundle.num_classes, not opened.ledger.entries
        ),
    )


def _asked(opened: Opened) -> Asked:
    """Return the request in numbers."""
    request = opened.request
    return Asked(
        listed=len(request.listed.names),
        already=len(request.already),
        forgotten=len(request.rows),
        classes={
            name: count
            for name, count in request.classes.items()
            if not (opened.public and count < FEW)
        },
        whole_classes=request.whole_classes,
    )


def _done(unlearned: Unlearned) -> Done:
    """Return the unlearning."""
    opened, bundle = unlearned.opened, unlearned.opened.request.bundle
    return Done(
        data=bundle.name,
        rows=len(bundle.train),
        test=len(bundle.test),
        model=opened.experiment.recipe.model,
        score=unlearned.score,
        source=unlearned.source,
        plan=plan_steps(unlearned.plan),
        sizes={
            subset.name: len(subset)
            for subset in unlearned.partition
            if not (opened.public and len(subset) < FEW)
        },
    )


def plan_steps(plan: Plan) -> tuple[PlanStep, ...]:
    """Return the steps of a plan by their names."""
    return tuple(PlanStep(**step) for step in plan_as_dicts(plan))


def bill_of(opened: Opened, cost: Cost) -> DeletionBill:
    """Return the bill of a request and of all requests so far."""
    prepared = 0.0 if opened.prepared is None else opened.prepared.cost
    return DeletionBill(
        plan=cost.plan,
        measuring=cost.measuring,
        reference=cost.reference,
        total=cost.total,
        prepared=prepared,
        break_even=break_even(prepared, cost.total),
        spent=cost.total + sum(entry.cost for entry in opened.ledger.entries),
    )


def _drift(unlearned: Unlearned, rows: Sequence[AccuracyRow], bill: DeletionBill) -> Drift:
    """Return the state of the model after all requests, and the reasons to retrain."""
    opened, gates = unlearned.opened, unlearned.opened.experiment.deletion.gates
    entries, request, test = opened.ledger.entries, opened.request, rows[0]
    assert test.before.value is not None
    assert test.after.value is not None
    original = entries[0].test_accuracy_before if entries else test.before.value
    attack, lost, due = past_attack(unlearned.attacked), original - test.after.value, []
    if gates.test_accuracy_drop is not None and lost > gates.test_accuracy_drop:
        due.append(
            f"the accuracy on the test set has fallen by {lost:.3f} since the original; the gate "
            f"is {gates.test_accuracy_drop:g}"
        )
    if gates.attack_auc is not None and (attack.low or 0.0) > gates.attack_auc:
        due.append(
            f"the attack on all rows that were ever forgotten has an AUC of {attack.value:.3f}, "
            f"at least {attack.low:.3f}; the gate is {gates.attack_auc:g}"
        )
    if bill.spent >= RETRAINING:
        due.append(f"all requests so far cost {bill.spent:.2f} trainings, and retraining costs one")
    return Drift(
        requests=len(entries) + 1,
        forgotten=len(opened.ledger.forgotten) + len(request.rows),
        present=len(request.past) + len(request.rows),
        original=original,
        now=test.after.value,
        attack=attack,
        due=tuple(due),
    )


def _gates(
    opened: Opened, rows: Sequence[AccuracyRow], found: Sequence[AttackRow]
) -> list[GateRow]:
    """Return the gates of the file with their values."""
    limits, gates = opened.experiment.deletion.gates, []
    change = rows[0].change.value or 0.0
    if limits.test_accuracy_drop is not None:
        gates.append(
            GateRow(
                name="test_accuracy_drop",
                limit=limits.test_accuracy_drop,
                value=-change,
                met=-change <= limits.test_accuracy_drop,
                measured="drop of the accuracy on the test set by this request",
            )
        )
    if limits.attack_auc is not None:
        worst = max(found, key=lambda row: row.auc.low or 0.0)
        gates.append(
            GateRow(
                name="attack_auc",
                limit=limits.attack_auc,
                value=worst.auc.low,
                met=(worst.auc.low or 0.0) <= limits.attack_auc,
                measured=f"lower end of the interval of the AUC of the attack {worst.name}, "
                f"{_text(worst.auc)}",
            )
        )
    return gates


def _text(estimate: Estimate) -> str:
    """Return an estimate with its interval, for messages."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _not_measured(unlearned: Unlearned) -> list[str]:
    """Return what is not measured, each with its reason."""
    opened, attacked, found = unlearned.opened, unlearned.attacked, []
    if unlearned.reference is None:
        found.append(
            "The distance to a model retrained without the rows (ToW and gaps): deletion.reference "
            "is not retrain."
        )
    else:
        found.append("The noise floor of retraining: it needs a second retrained model.")
    if attacked.prepared is None:
        found.append(
            "Single rows against models that never saw them: there is no pool of 'rum-ray prepare' "
            "that knows these rows."
        )
    if attacked.difficulty(attacked.after) is None:
        found.append(
            "The attack among rows of the same difficulty: the network has no embeddings. Set the "
            "key 'embedding' to a layer."
        )
    missing = len(opened.ledger.forgotten) - len(opened.request.past)
    if missing:
        found.append(
            f"{missing} rows of earlier requests in the drift: their data are no longer there."
        )
    found.append("Relearning: the forget accuracy after more training on the retained rows.")
    found.append("Attacks on the weights, on earlier versions of the model, and on its copies.")
    return found
