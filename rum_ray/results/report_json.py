"""The report's numbers: report.json."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rum_ray import config as files
from rum_ray.experiment import ForgetConfig
from rum_ray.results.attacks import Attacks
from rum_ray.results.costs import costs
from rum_ray.results.environment import environment
from rum_ray.results.residuals import Residuals
from rum_ray.results.rows import add_excess, comparisons, measure
from rum_ray.results.scores import (
    class_counts,
    entanglement_entry,
    score_entry,
    score_warnings,
    subset_entries,
)
from rum_ray.results.searches import ladder_entry, reference_entries, search_entries
from rum_ray.study.methods import Row, table
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock


def summarize(study: Study, clock: Clock) -> dict[str, Any]:
    """Return report.json of a finished study."""
    methods = table(study)
    rows = row_entries(study, methods)
    searches = search_entries(study, clock)
    scores = score_entry(study)
    subsets = subset_entries(study)
    return {
        "format": 1,
        "status": "complete",
        "attack": study.experiment.evaluate.attack,
        "experiment": {
            "name": study.experiment.name,
            "digest": study.experiment.digest,
            "config": files.dump(study.experiment),
        },
        "environment": environment(study),
        "data": _data(study),
        "scores": scores,
        "forget": {
            "size": len(study.forget),
            **_forget(study.experiment.forget),
            "classes": class_counts(study, study.forget),
        },
        "subsets": subsets,
        "entanglement": entanglement_entry(subsets),
        "rows": rows,
        "comparisons": comparisons(_competing(methods, rows)),
        "searches": searches,
        "ladder": ladder_entry(study, rows),
        "references": reference_entries(study, rows),
        "stages": [asdict(stage) for stage in clock.stages.values()],
        "costs": costs(study, methods, rows),
        "selected_on": _selected_on(study),
        "warnings": [*score_warnings(scores), *_warnings(study, searches), *_plan_warnings(rows)],
    }


def row_entries(study: Study, methods: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows, each with its excess over the noise floor."""
    attacks, residuals = Attacks(study, tuple(methods)), Residuals(study, tuple(methods))
    rows = [measure(study, row, attacks, residuals) for row in methods]
    add_excess(rows)
    return rows


def _competing(
    methods: Sequence[Row], rows: Sequence[dict[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows that compete, the searched plan first and the best single one second."""
    pairs = [(m.label, row) for m, row in zip(methods, rows, strict=True)]
    first = [p for p in pairs if p[1]["method"] == "rum" and p[1]["source"] == "search"]
    second = [p for p in pairs if p[1]["method"] == "best_single"]
    references = ("retrained", "retrained_again", "best_single")
    # Plans that other references of the search led to have their own comparison: regret.
    others = [p for p in pairs if p not in first and p[1]["source"] in (None, "search", "file")]
    others = [p for p in others if p[1]["method"] not in references]
    return [*first, *second, *others] if first else []


def _forget(config: ForgetConfig) -> dict[str, Any]:
    """Return how the forget set was chosen."""
    if config.ids is not None:
        return {"pick": "ids"}
    pick = "class" if config.size is None else config.pick
    return {"pick": pick, "by": config.by, "class": config.label}


def _data(study: Study) -> dict[str, Any]:
    """Return what was learned."""
    bundle = study.context.bundle
    flipped = bundle.flipped
    return {
        "name": bundle.name,
        "train": len(bundle.train),
        "valid": len(bundle.valid),
        "test": len(bundle.test),
        "reserved": None if bundle.reserved is None else len(bundle.reserved),
        "classes": list(bundle.class_names),
        "label_noise": bundle.label_noise.fraction if bundle.label_noise else None,
        "flipped": None if flipped is None else int(flipped.sum()),
    }


def _chosen_by(study: Study) -> str:
    """Return whose draws decided what is forgotten."""
    score, forget = study.experiment.score, study.experiment.forget
    scored = f"file {score.file}" if score.file else f"{score.name}, root {score.seed}"
    if forget.ids is not None:
        return f"ids of {forget.ids}; subsets by {scored}"
    of_class = "" if forget.label is None else f"class {forget.label}; "
    if forget.by_distance:
        return f"{of_class}distances under the reported seeds' originals; subsets by {scored}"
    at_random = f"at random, root {forget.seed}; subsets by " if forget.pick == "random" else ""
    return f"{of_class}{at_random}{scored}"


def _selected_on(study: Study) -> list[dict[str, Any]]:
    """Return what was selected, on which split and seeds."""
    search, reserved = study.experiment.search, study.context.bundle.reserved
    half = "" if reserved is None else ", without the half that held-out retraining learned"
    entries = [
        {
            "what": "forget set and subsets",
            "split": "train",
            "seeds": _chosen_by(study),
        }
    ]
    if search is not None:
        entries.append(
            {
                "what": "plans of the searches, and the values in vanilla, shuffle and rum_f",
                "split": f"validation{half}",
                "seeds": f"{search.seeds} search seeds, and 2 fresh ones for the finalists",
            }
        )
    seeds = ", ".join(map(str, study.experiment.seeds))
    return [*entries, {"what": "nothing: reported rows", "split": "test", "seeds": seeds}]


def _warnings(study: Study, searches: list[dict[str, Any]]) -> list[str]:
    """Return what a reader should know before believing the numbers."""
    warnings = []
    if study.experiment.recipe.weights is not None:
        warnings.append(
            "All seeds, also those of the search, share one given original: intervals cover the "
            "draws of plans and of retraining, and the reference has other initial weights."
        )
    if study.scoring.unused:
        warnings.append(
            f"The reference 'pool' asks {len(study.scoring.unused)} of the leave-k-out models, so "
            "only the others score the examples: another forget set than without it."
        )
    for search in searches:
        for status, did in (("infeasible", "cost more than the cap"), ("diverged", "diverged")):
            if search[status]:
                count, total = search[status], search["trials"]
                warnings.append(f"{search['space']}: {count} of {total} trials {did}.")
        if search["starts"]:
            first = f"the first {search['starts']} of {search['trials']} trials"
            warnings.append(f"{search['space']}: {first} were given by search.start, not found.")
    if len(study.experiment.seeds) < 5:
        seeds = (
            "One seed has no interval."
            if len(study.experiment.seeds) == 1
            else (f"Only {len(study.experiment.seeds)} seeds: intervals are wide.")
        )
        warnings.append(seeds)
    return warnings


def _plan_warnings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what speaks against each plan of RUM: its price, or that doing nothing is as good."""
    warnings = []
    (nothing,) = (row["metrics"] for row in rows if row["method"] == "original")
    for row in rows:
        if row["method"] != "rum":
            continue
        name, metrics = f"The plan of the {row['source']}", row["metrics"]
        if metrics["cost"]["mean"] >= 1:
            cost = f"{100 * metrics['cost']['mean']:.0f} % of"
            warnings.append(f"{name} costs {cost} retraining: retrain instead.")
        if metrics["objective"]["mean"] <= nothing["objective"]["mean"]:
            warnings.append(f"{name} scores no better than doing nothing.")
    return warnings
