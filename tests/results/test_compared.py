"""Several studies beside each other: pairs of seeds, corrected tests, and refused pairs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from rum_ray import config
from rum_ray.errors import ConfigError
from rum_ray.results.compared import check_comparable, compared, objective_of
from rum_ray.results.report import Report
from rum_ray.results.schema import ExperimentSummary, Metric, Row, RowName, Summary

DEMO = Path(__file__).parents[1] / "report" / "demo"
SMALL = {
    "name": "a",
    "data": {"name": "digits", "seed": 0},
    "recipe": {"model": "mlp"},
    "forget": {"size": 30},
}


def named(name: str, rows: tuple[Row, ...], **parts: object) -> Summary:
    identity = ExperimentSummary(name, name * 64, "")
    return replace(Report.read(DEMO).summary, experiment=identity, rows=rows, **parts)


def row(method: str, values: list[float], seeds: tuple[int, ...] = (0, 1, 2, 3), **more) -> Row:
    metrics = {"objective": Metric(float(np.mean(values)), None, tuple(values))}
    return Row(method, more.pop("unlearner", None), None, None, (), seeds, metrics, {}, **more)


def test_a_lead_is_the_paired_t_test_and_corrected_over_the_table():
    rng = np.random.default_rng(0)
    ours = {name: rng.normal(size=(2, 4)) for name in ("original", "best_single")}
    studies = [
        named("ab"[place], tuple(row(n, [*v[place]]) for n, v in ours.items()), attack="auc")
        for place in (0, 1)
    ]
    groups = compared(studies)
    assert [[entry.study for entry in group] for group in groups] == [["a", "b"]] * 2
    raw = []
    for values, (first, second) in zip(ours.values(), groups, strict=True):
        assert (first.lead, first.p) == (None, None)
        expected = ttest_rel(values[1], values[0])
        difference = values[1] - values[0]
        half = t.ppf(0.975, 3) * difference.std(ddof=1) / 2
        assert second.lead.mean == pytest.approx(difference.mean())
        assert second.lead.high == pytest.approx(difference.mean() + half)
        assert second.lead.p == pytest.approx(expected.pvalue)
        raw.append(expected.pvalue)
    low, high = sorted(raw)
    corrected = sorted(group[1].p for group in groups)
    assert corrected == pytest.approx(sorted([min(1, 2 * low), max(min(1, 2 * low), high)]))


def test_only_shared_seeds_are_paired():
    first = named("a", (row("original", [1, 2, 3, 4]),), attack="auc")
    shifted = row("original", [9, 3.5, 4.5, 5.5], seeds=(7, 1, 2, 3))
    ((_, entry),) = compared([first, named("b", (shifted,), attack="auc")])
    assert entry.lead.mean == pytest.approx(1.5)
    few = row("original", [1, 2, 3, 4], seeds=(0, 1, 8, 9))
    ((_, entry),) = compared([first, named("b", (few,), attack="auc")])
    assert entry.lead is None


def test_repeats_are_not_paired_with_seeds():
    first = named("a", (row("original", [1, 2, 3, 4]),), attack="auc")
    repeats = named("b", (row("original", [1, 2, 3, 4]),), attack="auc", repeats=(object(),))
    ((_, entry),) = compared([first, repeats])
    assert entry.lead is None


def test_a_method_is_found_under_each_of_its_names():
    both = row("best_single", [1, 2, 3, 4], also=(RowName("rum", None, "search", 9),))
    alone = replace(row("rum", [2, 3, 4, 5]), source="search")
    groups = compared([named("a", (both,), attack="auc"), named("b", (alone,), attack="auc")])
    (pair,) = (group for group in groups if len(group) == 2)
    assert [entry.row.method for entry in pair] == ["rum", "rum"]
    assert pair[1].lead.mean == pytest.approx(1)


def test_an_unlearner_is_the_same_tuned_or_not():
    rows = [replace(row("vanilla", [1, 2, 3], (0, 1, 2), unlearner="salun"), source=source)
            for source in ("file", "search")]  # fmt: skip
    (group,) = compared([named("a", (rows[0],)), named("b", (rows[1],))])
    assert len(group) == 2


@pytest.mark.parametrize(
    ("attacks", "expected"),
    [
        (("auc", "auc"), ("objective", "auc_gap")),
        (("svm", "svm"), ("objective", "mia_gap")),
        (("auc", "svm"), ("objective_svm", "mia_gap")),
    ],
)
def test_the_objective_is_that_of_the_common_attack(attacks, expected):
    assert objective_of([named("ab"[n], (), attack=a) for n, a in enumerate(attacks)]) == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "b", "data": {"name": "digits", "seed": 1}}, ("'b'", "'a'", "'seed': 1")),
        ({"name": "a", "forget": {"size": 31}}, ("'a'",)),
    ],
)
def test_studies_of_other_data_or_one_name_are_refused(change, said):
    first, other = config.parse(SMALL), config.parse(SMALL | change)
    with pytest.raises(ConfigError) as error:
        check_comparable([first, other])
    assert all(part in str(error.value) for part in said)


def test_studies_on_the_same_data_are_compared():
    others = [{"name": "b", "seeds": [3]}, {"name": "c", "recipe": {"model": "mlp", "epochs": 2}}]
    check_comparable([config.parse(SMALL), *(config.parse(SMALL | other) for other in others)])
