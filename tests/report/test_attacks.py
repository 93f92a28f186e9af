"""The table of other attacks, and what is said of their order."""

import copy

import pytest
from scipy.stats import kendalltau

from rum_ray.report import attacks, markdown
from rum_ray.report.files import complete
from rum_ray.report.ranking import contestants
from rum_ray.report.text import DASH, MINUS, OBJECTIVE, label

from .sample import Json, sample


def measured(values: dict[str, float], name: str = "pool_lira_gap") -> Json:
    """The sample with another attack's gap, by the label of each method."""
    report = copy.deepcopy(sample()[0])
    for row in report["rows"]:
        if label(row) in values:
            row["metrics"][name] = {"mean": values[label(row)], "ci95": 0.01, "values": []}
    return report


NAMES = [label(row) for row in contestants(sample()[0]["rows"])]


def test_the_floor_comes_first_and_each_attack_has_a_column():
    report = measured(dict.fromkeys([*NAMES, "retrained again"], 0.1))
    report["rows"][1]["klom"] = {"forget": {"mean": 0.25, "p95": 0.9}}
    table = attacks.table(report)
    assert table.columns == ("method", "SVM", "AUC", "pool LiRA", "KLoM")
    assert table.rows[0][0] == "retrained again, noise floor"
    assert table.rows[0][3:] == ("0.100 ± 0.010", "0.250")
    assert attacks.absent(report) == ""
    assert [row[0] for row in table.rows[1:-2]] == NAMES
    assert len({len(row) for row in table.rows} | {5}) == 1


def test_what_was_not_measured_is_told_with_its_reason():
    report = sample()[0]
    for row in report["rows"]:
        row["klom"] = {"forget": {"mean": None, "p95": None, "reason": "needs 20 seeds"}}
    assert "KLoM" not in attacks.table(report).columns
    assert attacks.absent(report) == "Not measured: KLoM (needs 20 seeds)."
    assert "Not measured: KLoM (needs 20 seeds)." in markdown.render(complete(report), sample()[2])


def test_taus_are_scipys_over_the_methods():
    report = measured({name: (7 * place) % 19 / 20 for place, name in enumerate(NAMES)})
    rows = contestants(report["rows"])

    def means(name: str) -> list[float]:
        return [row["metrics"][name]["mean"] for row in rows]

    by_tow, by_gap = attacks.table(report).rows[-2:]
    assert (by_tow[0], by_gap[0]) == ("Kendall's τ with ToW", "Kendall's τ with MIA gap")
    tow = -kendalltau(means("tow"), means("pool_lira_gap")).statistic
    gap = kendalltau(means("mia_gap"), means("pool_lira_gap")).statistic
    assert (by_tow[3], by_gap[3]) == tuple(f"{t:.3f}".replace("-", MINUS) for t in (tow, gap))
    assert by_gap[1] == "1.000"


def test_the_attack_that_differs_most_is_named_with_what_moves():
    # All as before, but the best is last.
    places = {name: float(place) for place, name in enumerate(NAMES)} | {NAMES[0]: 99.0}
    report = measured(places)
    for row in contestants(report["rows"]):
        row["metrics"]["auc_gap"]["mean"] = float(NAMES.index(label(row)))
    tau = kendalltau(range(len(NAMES)), [places[name] for name in NAMES]).statistic
    assert attacks.finding(report) == (
        f"By pool LiRA the order of the methods differs most from that by {OBJECTIVE} "
        f"(Kendall's τ = {tau:.2f}): RUM (search) goes from place 1 to {len(NAMES)} of {len(NAMES)}"
    )


def test_attacks_that_agree_are_said_to_agree():
    report = measured({})
    for place, row in enumerate(contestants(report["rows"])):
        row["metrics"]["auc_gap"]["mean"] = float(place)
    assert attacks.finding(report) == f"Every attack orders the methods as {OBJECTIVE} does"


@pytest.mark.parametrize("count", [0, 2])
def test_few_methods_have_no_order(count):
    report = sample()[0]
    report["rows"] = report["rows"][: 2 + count] if count else []
    assert attacks.finding(report) == "What other attacks say"
    assert len(attacks.table(report).rows) == (1 + count if count else 0)


def test_a_plan_only_attack_is_left_out_of_the_order_of_others():
    report = measured({NAMES[0]: 0.3, NAMES[-1]: 0.1}, "u_lira_gap")
    assert "U-LiRA" not in attacks.finding(report)
    column = attacks.table(report).columns.index("U-LiRA")
    assert attacks.table(report).rows[-1][column] == DASH
