"""The table of other attacks, and the agreement of their orders."""

from dataclasses import replace

import pytest
from scipy.stats import kendalltau

from rum_ray.evaluation import ATTACKS
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import contestants
from rum_ray.report.sections import attacks
from rum_ray.report.sections.attacks import columns, section
from rum_ray.report.text import DASH, MINUS, label, objective_title
from rum_ray.results.report import Report
from rum_ray.results.schema import Klom, Metric, Row

from .shapes import changed, demo, with_metrics, with_rows

NAMES = [label(row) for row in contestants(demo().summary.rows)]


def gaps(rows):
    """The table of these rows."""
    return attacks.gaps(rows, columns(changed(demo(), rows=tuple(rows)).summary), "svm")


def finding(rows) -> str:
    """The finding of these rows."""
    return attacks.finding(rows, columns(changed(demo(), rows=tuple(rows)).summary), "svm")


def not_measured(rows) -> str:
    """The sentence about metrics that these rows lack."""
    return attacks.not_measured(rows, columns(changed(demo(), rows=tuple(rows)).summary))


def measured(values: dict[str, float], name: str = "pool_lira_gap") -> Report:
    """The demo with another attack's gap, by the label of each method, and without distances."""

    def add(row: Row) -> Row:
        metrics = {key: found for key, found in row.metrics.items() if key != "js_forget"}
        if label(row) in values:
            metrics[name] = Metric(values[label(row)], 0.01)
        return replace(row, metrics=metrics, klom={})

    return with_rows(demo(), add)


def ranked(report: Report, name: str) -> tuple[Row, ...]:
    """The rows, with a metric that orders the methods as the objective does."""
    places = {label(row): float(i) for i, row in enumerate(contestants(report.summary.rows))}
    return tuple(
        with_metrics(row, {name: Metric(places[label(row)])}) if label(row) in places else row
        for row in report.summary.rows
    )


def test_the_noise_floor_comes_first_and_each_attack_has_a_column():
    report = measured(dict.fromkeys([*NAMES, "retrained again"], 0.1))
    rows = tuple(
        replace(row, klom={"forget": Klom(0.25, 0.9)}) if row.method == "retrained_again" else row
        for row in report.summary.rows
    )
    header, cells = gaps(rows).texts()
    assert header == ["method", "SVM", "AUC", "pool LiRA", "KLoM"]
    assert cells[0][0] == "retrained again, noise floor"
    assert cells[0][3:] == ["0.100 ± 0.010", "0.250"]
    assert not_measured(rows) == ""
    assert [row[0] for row in cells[1:-2]] == NAMES
    assert {len(row) for row in cells} == {5}


def test_a_plug_in_s_gap_has_a_column_of_its_own():
    summary = measured(dict.fromkeys(NAMES, 0.1), "my_attack_gap").summary
    assert columns(summary)["my_attack_gap"] == "my attack"
    assert "my attack" in gaps(summary.rows).texts()[0]
    titled = replace(summary, attack_titles={"my_attack": "Mine"})
    assert columns(titled)["my_attack_gap"] == "Mine"
    assert {f"{name}_gap" for name in ATTACKS.keys() - {"svm"}} <= columns(summary).keys()


def test_a_metric_that_no_row_has_is_given_with_its_reason():
    reason = Klom(None, None, "needs 20 seeds")
    report = with_rows(demo(), lambda row: replace(row, klom={"forget": reason}))
    assert "KLoM" not in gaps(report.summary.rows).texts()[0]
    assert not_measured(report.summary.rows) == "Not measured: KLoM (needs 20 seeds)."
    found = section(report, Gallery())
    assert found is not None
    assert len(found.blocks) == 2


def test_taus_are_scipys_over_the_methods():
    report = measured({name: (7 * place) % 19 / 20 for place, name in enumerate(NAMES)})
    rows = contestants(report.summary.rows)

    def means(name: str) -> list[float]:
        return [row.metrics[name].mean or 0.0 for row in rows]

    by_tow, by_gap = gaps(report.summary.rows).texts()[1][-2:]
    assert (by_tow[0], by_gap[0]) == ("Kendall's τ with ToW", "Kendall's τ with MIA gap")
    tow = -kendalltau(means("tow"), means("pool_lira_gap")).statistic
    gap = kendalltau(means("mia_gap"), means("pool_lira_gap")).statistic
    assert (by_tow[3], by_gap[3]) == tuple(f"{t:.3f}".replace("-", MINUS) for t in (tow, gap))
    assert by_gap[1] == "1.000"


def test_the_attack_that_differs_most_is_named_with_the_method_that_moves():
    # The order is that of the objective, except that the best is last.
    places = {name: float(place) for place, name in enumerate(NAMES)} | {NAMES[0]: 99.0}
    found = finding(ranked(measured(places), "auc_gap"))
    tau = kendalltau(range(len(NAMES)), [places[name] for name in NAMES]).statistic
    assert "pool LiRA" in found
    assert f"τ = {tau:.2f}" in found
    assert f"{NAMES[0]} moves from place 1 to {len(NAMES)} of {len(NAMES)}" in found


def test_attacks_that_agree_are_said_to_agree():
    found = finding(ranked(measured({}), "auc_gap"))
    assert found == f"Every attack orders the methods as {objective_title('svm')} does"


@pytest.mark.parametrize("count", [0, 2])
def test_few_methods_have_no_order(count):
    rows = demo().summary.rows[: 2 + count]
    assert "order" not in finding(rows)
    assert len(gaps(rows).rows) == 1 + count
    assert (section(changed(demo(), rows=rows), Gallery()) is None) == (count == 0)


def test_an_attack_on_few_methods_is_left_out_of_the_order():
    rows = measured({NAMES[0]: 0.3, NAMES[-1]: 0.1}, "u_lira_gap").summary.rows
    assert "U-LiRA" not in finding(rows)
    header, cells = gaps(rows).texts()
    assert cells[-1][header.index("U-LiRA")] == DASH
