"""The measurements of a deletion in words and tables: accuracy, attacks, single rows."""

from rum_ray.report.blocks import Paragraph, Section, text_table
from rum_ray.report.text import DASH, format_count, format_interval, format_number, metric_title
from rum_ray.results.schema.evidence import AttackRow, Estimate, Evidence

SETS = {
    "test": "test set, never seen",
    "retain": "retained rows",
    "forget": "forgotten rows",
}
ATTACKS = {
    "by_class": "rows of the same class",
    "by_difficulty": "rows of the same class and difficulty",
    "pool_lira": "models that never saw the row (LiRA)",
    "pool_rmia": "models that never saw the row (RMIA)",
}
CHANCE, WIDE = 0.5, 0.2
REFERENCE = ("tow", "tow_mia", "mia_gap", "auc_gap", "disagreement_forget", "disagreement_test")


def worst(evidence: Evidence) -> AttackRow:
    """Return the attack with the highest AUC on the published model."""
    return max(evidence.attacks, key=lambda row: row.auc.value or 0.0)


def verdict(evidence: Evidence) -> str:
    """Return what the attacks say, in the words of measurement."""
    attack = worst(evidence)
    low, high = attack.auc.low or 0.0, attack.auc.high or 1.0
    measured = f"AUC {text(attack.auc)}"
    if low > CHANCE:
        told = (
            "Forgotten rows can still be told from unseen rows by an attack "
            f"({ATTACKS[attack.name]}: {measured}; 0.5 is chance)."
        )
    elif high < CHANCE:
        told = (
            f"Forgotten rows look less learned than unseen rows of their kind ({measured}; 0.5 is "
            "chance). An attacker who expects that can tell them."
        )
    else:
        told = (
            "Forgotten rows could not be told from unseen rows by the attacks on this page (the "
            f"strongest: {measured}; 0.5 is chance, 1 is certainty)."
        )
    if high - low > WIDE:
        told += " The interval is wide, since few rows were forgotten or few are unseen."
    return f"{told} This is a measurement, not a proof."


def set_title(name: str) -> str:
    """Return the title of a set of rows, or of a subset of the forgotten ones."""
    return SETS.get(name, f"forgotten rows: {name}")


def text(estimate: Estimate, ends: bool = True) -> str:
    """Return an estimate, with its interval if wanted; or the reason why there is none."""
    if estimate.value is None:
        return f"{DASH} ({estimate.reason})" if estimate.reason else DASH
    interval = f" {format_interval(estimate.low, estimate.high)}" if ends else ""
    return f"{format_number(estimate.value)}{interval}"


def accuracy(evidence: Evidence) -> Section:
    """Return the accuracies before and after."""
    rows = [
        (
            set_title(row.name),
            format_count(row.size),
            text(row.before),
            text(row.after),
            text(row.change),
        )
        for row in evidence.accuracies
    ]
    columns = ("rows", "number", "before", "after", "change")
    caption = (
        "Share of right predictions with its 95 % interval. Test set and retained rows show "
        "whether the model is as useful as before. A low accuracy on forgotten rows is no proof of "
        "forgetting: a model that never saw a row often gets it right, too."
    )
    table = text_table("Accuracy before and after", columns, rows, caption=caption)
    return Section("accuracy", "Accuracy before and after", (table,))


def attacks(evidence: Evidence) -> Section:
    """Return the attacks before and after, and how to read them."""
    rows = [
        (
            ATTACKS[row.name],
            text(row.auc_before),
            text(row.auc),
            text(row.tpr_before),
            text(row.tpr),
        )
        for row in evidence.attacks
    ]
    columns = (
        "compared with", "AUC before", "AUC after",
        "found at 1 % before", "found at 1 % after",
    )  # fmt: skip
    first = evidence.attacks[0]
    caption = (
        f"{format_count(first.forgotten)} forgotten rows against {format_count(first.unseen)} "
        "unseen ones. An attacker who sees the model's predictions guesses for each row whether "
        "the model was trained on it. AUC is the probability that a forgotten row looks more like "
        "a training row than an unseen one: 0.5 is chance, 1 is certainty. Below 0.5, forgotten "
        "rows look less learned than unseen ones. Found at 1 %: share of forgotten rows that are "
        "found while 1 % of unseen rows are mistaken for training rows; 0.01 is chance. All with "
        "95 % intervals."
    )
    table = text_table("Attacks before and after", columns, rows, caption=caption)
    return Section("attacks", "Can an attacker tell?", (Paragraph(verdict(evidence)), table))


def single(evidence: Evidence) -> Section | None:
    """Return the section on single rows that stand out; None without a pool."""
    single = evidence.single
    if single is None:
        return None
    told = (
        f"Each forgotten row is compared with the models of a pool of {single.models} that never "
        f"saw it (at least {single.least}). A row stands out if its prediction is more certain "
        "than those of all but 1 % of unseen rows. "
        f"{format_count(single.standing_out)} forgotten rows stand out on the published model."
    )
    rows = [
        ("forgotten rows, before", text(single.before)),
        ("forgotten rows, after", text(single.after)),
        ("unseen rows that did not set the threshold", text(single.false_positive_rate)),
    ]
    caption = (
        "The last row is the measured false positive rate; it is meant to be 0.01. If it is far "
        "from that, the other rows say little."
    )
    columns = ("rows", "share that stands out")
    table = text_table("Single rows", columns, rows, caption=caption)
    return Section("single", "Do single rows stand out?", (Paragraph(told), table))


def reference(evidence: Evidence) -> Section | None:
    """Return the distance to a retrained model; None without one."""
    if evidence.reference is None:
        return None
    found = evidence.reference
    rows = [(metric_title(name), format_number(found[name])) for name in REFERENCE if name in found]
    told = (
        "A model was retrained without the forgotten rows. ToW is 1 if the published model is as "
        "accurate as the retrained one on forgotten, retained and test rows; gaps and disagreement "
        "are 0 if it is equal. One retrained model was trained, so there is no interval."
    )
    table = text_table("Against a retrained model", ("metric", "value"), rows)
    return Section("reference", "Against a retrained model", (Paragraph(told), table))
