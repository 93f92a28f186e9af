"""Whether all that a report needs was made."""

from collections.abc import Callable, Sequence
from typing import Any

from rum_ray.errors import StoreError
from rum_ray.study.methods import measuring_jobs, residual_jobs, shadow_jobs, table
from rum_ray.study.study import Study


def check_finished(study: Study) -> None:
    """Raise StoreError unless everything that the report needs is in the store."""
    stages: dict[str, Callable[[], Sequence[Any]]] = {
        "train": lambda: study.first_jobs,
        "distances": lambda: study.distance_jobs,
        "embed": lambda: study.moments,
        "retrain": lambda: study.retrain_jobs,
        "search": lambda: [*study.searches.values()],
        "validate": lambda: study.validations,
        "rows": lambda: measuring_jobs(study, table(study)),
        "residuals": lambda: residual_jobs(study, table(study)),
        "shadows": lambda: shadow_jobs(study, table(study)),
    }
    for name, needed in stages.items():
        store = study.context.store
        missing = len(study.context.missing(needed()))
        if missing:
            raise StoreError(
                f"stage '{name}' is not finished: {missing} results are missing in the store "
                f"{store.root}. Use 'rum-ray run' first."
            )
