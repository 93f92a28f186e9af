"""The page of one deletion, for readers who do not know unlearning.

The words are those of measurement. Nothing is certified.
"""

from rum_ray.report import measured
from rum_ray.report.blocks import (
    Block,
    Bullets,
    Command,
    KeyNumber,
    KeyNumbers,
    Paragraph,
    PlanBox,
    PlanSteps,
    Section,
    Table,
    text_table,
)
from rum_ray.report.render import html
from rum_ray.report.text import (
    format_count,
    format_interval,
    format_number,
    format_percent,
    format_settings,
    join_words,
    printable,
    unlearner_title,
)
from rum_ray.results.schema.evidence import (
    AttackRow,
    DeletionBill,
    Drift,
    Evidence,
    StartingModel,
)

CHECK_INPUTS = "Check recipe.normalize, the order of the classes, and the size of the inputs"
"""The advice on a model that is near chance on its own training set."""


def page(evidence: Evidence) -> str:
    """Return the page as one HTML file."""
    return html.render(sections(printable(evidence)))


def sections(evidence: Evidence) -> tuple[Section, ...]:
    """Return the sections of the page."""
    found = (
        _head(evidence),
        _asked(evidence),
        _done(evidence),
        measured.accuracy(evidence),
        measured.attacks(evidence),
        measured.single(evidence),
        measured.reference(evidence),
        Section(
            "not-measured",
            "What was not measured",
            (Bullets("", evidence.not_measured, "Nothing is left out."),),
        ),
        _cost(evidence),
        _drift(evidence.drift),
        _check(evidence),
    )
    return tuple(section for section in found if section is not None)


def _head(evidence: Evidence) -> Section:
    """Return the title, what can be said, and four numbers."""
    asked, done = evidence.asked, evidence.done
    title = (
        f"{format_count(asked.forgotten, 'row')} of {format_count(done.rows)} of {done.data} "
        f"{'is' if asked.forgotten == 1 else 'are'} forgotten"
    )
    test, attack = evidence.accuracies[0], measured.worst(evidence)
    numbers = (
        KeyNumber(
            "Attack on the forgotten rows",
            measured.text(attack.auc, ends=False),
            _was(attack),
            True,
        ),
        KeyNumber(
            "Accuracy on the test set",
            format_percent(test.after.value),
            f"{format_percent(test.before.value)} before",
        ),
        KeyNumber("Cost", format_number(evidence.bill.total, 2), "retraining is 1"),
        KeyNumber("Requests so far", str(evidence.drift.requests), due(evidence.drift)),
    )
    blocks = (Paragraph(measured.verdict(evidence), "lead"), KeyNumbers(numbers))
    return Section("top", title, blocks, f"{evidence.name} · request {evidence.request}")


def _was(attack: AttackRow) -> str:
    interval = format_interval(attack.auc.low, attack.auc.high)
    return f"AUC {interval} · {measured.text(attack.auc_before, ends=False)} before"


def _asked(evidence: Evidence) -> Section:
    """Return the request in words and by class."""
    asked = evidence.asked
    told = f"The list has {format_count(asked.listed, 'id')}."
    if asked.already:
        told += f" {format_count(asked.already)} of them were forgotten by earlier requests."
    told += (
        f" {format_count(asked.forgotten, 'row')} of {format_count(evidence.done.rows)} rows of "
        "the training set are forgotten by this request. No id, name or picture of them is on this "
        "page."
    )
    blocks: list[Block] = [Paragraph(told)]
    if asked.whole_classes:
        blocks.append(
            Paragraph(
                f"No row remains of {join_words(asked.whole_classes)}. The accuracy on retained "
                "rows says nothing about these classes."
            )
        )
    if asked.classes:
        rows = [(name, format_count(count)) for name, count in asked.classes.items()]
        blocks.append(
            text_table("Classes of the forgotten rows", ("class", "rows"), rows, style="compact")
        )
    return Section("asked", "What was asked", tuple(blocks))


def _done(evidence: Evidence) -> Section:
    """Return the subsets and the plan."""
    done = evidence.done
    origin = "from the experiment file" if done.source == "file" else "taken from a table (auto)"
    steps = tuple(
        PlanBox(
            step.subset,
            format_count(done.sizes[step.subset]) if step.subset in done.sizes else "",
            unlearner_title(step.name),
            tuple(format_settings(step)),
        )
        for step in done.plan
    )
    told = (
        f"The forgotten rows are split by difficulty ({done.score}), and each part is unlearned by "
        f"an algorithm that suits it. The plan is {origin}. Difficult rows are those that a model "
        "gets wrong unless it was trained on them, such as rows with a wrong label."
    )
    plan = PlanSteps("The plan", "", steps, format_number(evidence.bill.plan, 2))
    start = () if evidence.start is None else (Paragraph(_start(evidence.start)),)
    return Section("done", "What was done", (*start, Paragraph(told), plan))


def _start(start: StartingModel) -> str:
    """Return the accuracy of the model that the request starts from."""
    name = "The original model" if start.original else "The model of the request before"
    told = (
        f"{name} was measured first. Its accuracy is {measured.text(start.train)} on the training "
        f"set and {measured.text(start.test)} on the test set."
    )
    return f"{told} That is near chance. {CHECK_INPUTS}." if start.near_chance else told


def _cost(evidence: Evidence) -> Section:
    """Return the bill."""
    bill = evidence.bill
    told = bill_sentence(bill)
    return Section("cost", "What it cost", (Paragraph(f"T{told[1:]}."), _bill(bill)))


def _bill(bill: DeletionBill) -> Table:
    """Return the parts of the bill."""
    rows = [
        ("unlearning", format_number(bill.plan)),
        ("predictions before and after", format_number(bill.measuring)),
        ("retrained models", format_number(bill.reference)),
        ("this request", format_number(bill.total)),
        ("all requests so far", format_number(bill.spent)),
    ]
    caption = (
        "In trainings of the original: examples passed forward and backward, a forward pass alone "
        "as a third."
    )
    return text_table("Cost in trainings", ("part", "trainings"), rows, caption=caption)


def bill_sentence(bill: DeletionBill) -> str:
    """Return the bill and its break-even in one sentence."""
    prepared = f"; prepared once {bill.prepared:.3g}" if bill.prepared else ""
    told = f"this request {bill.total:.2g} of a retraining{prepared}"
    if bill.break_even is None:
        return f"{told}; retraining is cheaper than such requests"
    if bill.break_even == 1:
        return f"{told}; cheaper than retraining from the first request on"
    ordinal = f"{bill.break_even}{_ordinal(bill.break_even)}"
    return f"{told}; cheaper than retraining from the {ordinal} request on"


def _ordinal(number: int) -> str:
    """Return the ending of an ordinal number."""
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def due(drift: Drift) -> str:
    """Return "retraining is due", or that it is not."""
    return "retraining is due" if drift.due else "retraining is not due"


def _drift(drift: Drift) -> Section:
    """Return the state of the model after all requests."""
    rows = [
        ("requests", format_count(drift.requests)),
        ("rows ever forgotten", format_count(drift.forgotten)),
        ("of these still there, and measured", format_count(drift.present)),
        ("test accuracy of the original", format_number(drift.original)),
        ("test accuracy now", format_number(drift.now)),
        ("AUC of all rows ever forgotten", measured.text(drift.attack)),
    ]
    reasons = tuple(f"{reason[0].upper()}{reason[1:]}." for reason in drift.due)
    absent = "No: neither a gate of the file nor the cost says so."
    table = text_table("All requests so far", ("", "value"), rows)
    return Section(
        "drift", "After all requests", (table, Bullets("Is retraining due?", reasons, absent))
    )


def _check(evidence: Evidence) -> Section:
    """Return the gates, and the way to check this page."""
    blocks: list[Block] = []
    if evidence.gates:
        rows = [
            (gate.name, format_number(gate.limit), format_number(gate.value), gate.measured)
            for gate in evidence.gates
        ]
        columns = ("gate", "limit", "value", "compared")
        blocks.append(text_table("Gates, all met", columns, rows, words=(0, 3)))
    folder = f"deletions/{evidence.request:04d}"
    blocks.append(
        Command(
            f"rum-ray verify {folder}",
            "checks the files against manifest and ledger, and measures the model again.",
        )
    )
    blocks.append(
        Paragraph(
            "The rows are forgotten by the published model only. The original, earlier published "
            "models, pool models and kept results still derive from them until 'rum-ray purge' has "
            "removed them.",
            "note",
        )
    )
    return Section("check", "Gates, and how to check", tuple(blocks))
