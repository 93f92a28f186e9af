"""The trials of the searches, as the report reads them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rum_ray.evaluation.statistics import pareto
from rum_ray.partition import JOINT
from rum_ray.report.text import KNOWLEDGE
from rum_ray.results.schema import PlanStep, to_json


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have an objective."""
    if trials.empty:
        return pd.DataFrame(columns=["search", "trial", "status", "objective", "cost", "plan"])
    return trials[(trials["status"] == "complete") & trials["objective"].notna()]


def comparable(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials without those judged against other references than the main one.

    Such searches are named after their space and their reference, as in "V4 surrogate".
    """
    others = [str(name).rpartition(" ")[2] in KNOWLEDGE for name in (trials.get("search", ()))]
    return trials[~np.array(others, dtype=bool)] if others else trials


def freest_search(trials: pd.DataFrame) -> str:
    """Return the search with the largest space: names of spaces rise with their size."""
    return max(str(name) for name in complete(trials)["search"].unique())


def choices(
    trials: pd.DataFrame, search: str, subsets: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Return the objectives of a search's trials by subset and by the unlearner chosen there.

    Args:
        trials: of all searches.
        search: whose trials count.
        subsets: the order in which they are shown, for any order of a plan; others follow.
    """
    found: dict[str, dict[str, list[float]]] = {}
    rows = complete(trials)
    for row in rows[rows["search"] == search].to_dict("records"):
        for subset, name in _choices(json.loads(row["plan"]), subsets):
            by_name = found.setdefault(subset, {})
            by_name.setdefault(name, []).append(float(row["objective"]))
    return {name: found[name] for name in dict.fromkeys([*subsets, *found]) if name in found}


def _choices(plan: Sequence[Mapping[str, Any]], subsets: Sequence[str]) -> list[tuple[str, str]]:
    """Return the unlearner of each subset; subsets that share a step have the same one."""
    found = []
    for step in plan:
        whole = step["subset"] == "all" and subsets
        names = subsets if whole else step["subset"].split(JOINT)
        found += [(name, str(step["unlearner"]["name"])) for name in names]
    return found


def picked(
    trials: pd.DataFrame, search: str, plan: Sequence[PlanStep], subsets: Sequence[str] = ()
) -> dict[str, tuple[str, float]]:
    """Return the unlearner and the objective of the picked plan, by subset.

    Empty if the plan is no trial of the search.
    """
    rows, wanted = complete(trials), to_json(plan)
    for row in rows[rows["search"] == search].to_dict("records"):
        steps = json.loads(row["plan"])
        if steps == wanted:
            value = float(row["objective"])
            return {subset: (name, value) for subset, name in _choices(steps, subsets)}
    return {}


def trial_name(search: str, trial: int) -> str:
    """Return the name of a trial, such as "V5 trial 12"."""
    return f"{search} trial {trial}"


def explained(groups: dict[str, list[float]]) -> float | None:
    """Return the share of the variance between groups, corrected for chance (omega squared)."""
    values = np.concatenate([np.array(group) for group in groups.values()])
    total = float(((values - values.mean()) ** 2).sum())
    between = sum(len(g) * (float(np.mean(g)) - float(values.mean())) ** 2 for g in groups.values())
    if len(values) <= len(groups) or total == 0:
        return None
    noise = (total - between) / (len(values) - len(groups))
    return max(0.0, (between - (len(groups) - 1) * noise) / (total + noise))


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials on the Pareto front, by rising cost: no cheaper one is as good."""
    rows = complete(trials)
    return rows.iloc[pareto(rows["cost"].tolist(), rows["objective"].tolist())]
