"""What a study spent, in trainings of the original."""

from collections.abc import Sequence
from typing import Any

from rum_ray.study.study import Study


def costs(study: Study, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what was spent, in trainings of the original."""
    seeds, search = len(study.originals), study.experiment.search
    trials = [t for s in study.searches for t in s.load(study.context)] if search else []
    tried = sum(t["cost"] for t in trials if t["status"] == "complete")
    prepared = len(study.search_originals) + len(study.references) if search else 0
    return {
        "unit": "trainings of the original",
        "scores": _share(study) * len(study.scorers),
        "originals": seeds,
        "search": prepared + (tried * search.seeds if search else 0),
        "references": 2 * seeds,
        "plans": sum(
            row["metrics"]["cost"]["mean"] * seeds
            for row in rows
            if row["method"] not in ("retrained", "retrained_again", "original")
        ),
    }


def _share(study: Study) -> float:
    """Return what training one scoring model costs, in trainings of the original."""
    score, recipe = study.experiment.score, study.experiment.recipe
    share = score.fraction if study.pool else 1.0
    return share * (score.recipe or recipe).epochs / recipe.epochs
