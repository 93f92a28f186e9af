"""Render the tables of the paper's items in experiments/README.md, between its two marks.

Items and published numbers come from rum_ray/paper, costs from experiments/results/costs.json, our
numbers from the reports in experiments/results. A claim holds if the 95 % interval of its statistic
lies above its limit, and fails if the interval lies below it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray import config
from rum_ray.config.strict_yaml import parse_value, read
from rum_ray.evaluation.statistics import Mean
from rum_ray.paper.catalogue import FOLDER, Item, catalogue, studies
from rum_ray.report.text import (
    format_count,
    format_interval,
    format_metric,
    format_number,
    unlearner_title,
)
from rum_ray.results.rows import find_row
from rum_ray.results.schema import Metric, Row, Summary

README = Path(__file__).parents[1] / "experiments" / "README.md"
RESULTS = README.parent / "results"
BEGIN, END = "<!-- begin: python docs/make.py -->", "<!-- end: python docs/make.py -->"
STORED = {"table1-cifar10-small": "cifar10_claims"}
"""Names of result files that differ from the names of their studies."""
RELABELLING = ("salun", "random_label")
CAPPED = "no row of RUM^F is tuned within the cap on cost"
MARGIN = 0.02
"""Loss of ToW that counts as none."""
VARIANTS = ("vanilla", "shuffle", "rum_f")
ITEMS = """\
`rum-ray reproduce ITEM` runs one row with the preset `small`: the claims on 3,000 images of
CIFAR-10, over five repeats. Several studies end with a page that compares them. Trainings are an
upper bound, and core-hours the forecast for all repeats on one core of the machine below; studies
share through the store what they have in common. Add `--set data.root=DIR`, the folder of the data,
or `--dry-run` for a forecast, which needs no data. The verdicts are about this size alone."""
SIZES = """\
`rum-ray reproduce ITEM --data NAME --preset paper` is the same at the paper's own size, with its
recipes, splits, forget sets and assignment. No row was run yet. A cell has trainings, at most,
core-hours, and the memory of a worker on the CPU, at most, with the data. They were forecast by
`python experiments/costs.py` on {hardware}; on a GPU, ask `--dry-run`.
`python experiments/dry_runs.py` runs the dry run of each item."""
DECIDES = """\
A claim holds if the 95 % interval over the repeats lies above the limit (below it, where the
statistic says so), fails if it lies on the other side, and is not shown otherwise."""
TABLE1 = """\
The paper's numbers are those of its own size. Ours are of 3,000 images and another network, with
every searched plan capped at 20 % of a retraining, so they are no attempt at the same numbers.
Untuned: no plan of this row is within the cap."""


@dataclass(frozen=True)
class Measured:
    """A statistic over the repeats of the preset "small".

    Attributes:
        mean: of the statistic.
        half: of its 95 % interval.
        limit: it holds above this value.
        sign: -1 if it holds below the limit.
        of: the study that has it, if it is not that of the question.
    """

    mean: float
    half: float
    limit: float = 0.0
    sign: int = 1
    of: str = ""

    @property
    def text(self) -> str:
        """Mean and interval."""
        ends = format_interval(self.mean - self.half, self.mean + self.half)
        return f"{format_number(self.mean)} {ends}{f' ({self.of})' if self.of else ''}"

    @property
    def verdict(self) -> str:
        """The verdict that follows from the interval."""
        lead = self.sign * (self.mean - self.limit)
        return "holds" if lead > self.half else "fails" if lead < -self.half else "not shown"


Answer: TypeAlias = Measured | str | None
"""A statistic; the reason why a finished study has none; None if the study was not run."""


def result(item: str, study: str = "") -> Summary | None:
    """Return the committed report of a study of the preset "small"; None if there is none."""
    (found,) = (each for each in studies(item) if each.name == study)
    experiment = found.experiment()
    path = RESULTS / f"{STORED.get(experiment.name, experiment.name)}.json"
    if not path.exists():
        return None
    summary = Summary.from_json(json.loads(path.read_text("utf-8")))
    made = config.parse(parse_value(summary.experiment.config, path.name))
    # The folder of the data says nothing about them.
    same = found.experiment((f"data.root={json.dumps(made.data.options['root'])}",))
    return summary if made.digest == same.digest else None


def over(values: NDArray[np.float64], limit: float = 0.0) -> Measured:
    """Return the mean over repeats."""
    mean = Mean.of(values)
    return Measured(mean.mean, mean.ci95 or 0.0, limit)


def values(rows: Sequence[Row], metric: str = "tow") -> NDArray[np.float64]:
    """Return the mean of a metric over rows, one value per repeat."""
    found: NDArray[np.float64] = np.mean([row.metrics[metric].values for row in rows], axis=0)
    return found


def vanilla(summary: Summary, relabelling: bool | None = None) -> list[Row]:
    """Return the rows of unlearners on the whole forget set: all, or by kind."""
    rows = [row for row in summary.rows if row.method == "vanilla"]
    return [r for r in rows if relabelling in (None, r.unlearner in RELABELLING)]


def fall(item: str, metric: str) -> Answer:
    """Return the fall of a metric from the low to the high level, as mean over the unlearners."""
    low, high = result(item, "low"), result(item, "high")
    if low is None or high is None:
        return None
    return over(values(vanilla(low), metric) - values(vanilla(high), metric))


def relabelling() -> Answer:
    """Return the ToW that relabelling loses to other methods at low, less that at high."""
    low, high = result("memorization", "low"), result("memorization", "high")
    if low is None or high is None:
        return None
    lost = [values(vanilla(each, False)) - values(vanilla(each, True)) for each in (low, high)]
    return over(lost[0] - lost[1])


def refined() -> Answer:
    """Return the lead of RUM^F over vanilla, as mean over the unlearners with both rows tuned."""
    summary = result("table1")
    if summary is None:
        return None
    tuned = {(row.method, row.unlearner): row for row in summary.rows if not row.untuned}
    names = [u for method, u in tuned if method == "rum_f" and ("vanilla", u) in tuned]
    if not names:
        return CAPPED
    ours, theirs = ([tuned[method, name] for name in names] for method in ("rum_f", "vanilla"))
    return over(values(ours) - values(theirs))


def mixed() -> Answer:
    """Return the lead of the searched plan over the best row of RUM^F."""
    summary = result("table1")
    if summary is None:
        return None
    rows = [row for row in summary.rows if row.method == "rum_f" and not row.untuned]
    rum = find_row(summary.rows, "rum")
    if not rows or rum is None:
        return CAPPED
    best = max(rows, key=lambda row: row.metrics["tow"].mean or 0.0)
    return over(values([rum]) - values([best]), -MARGIN)


def proxy() -> Answer:
    """Return the rank correlation of the C-proxy with memorization."""
    own = result("proxies", "memorization")
    summary = own or result("table1")
    found = None if summary is None else summary.scores.proxies.get("confidence")
    if found is None or found.spearman is None:
        return None
    return Measured(found.spearman, found.ci95 or 0.0, 0.8, of="" if own else "in table1")


def discrepancy() -> Answer:
    """Return the rank correlation of entanglement and MMD over the subsets."""
    own = result("mmd")
    summary = own or result("table1")
    found = None if summary is None else summary.entanglement.spearman_with_entanglement_score
    if not found or found["mmd"].mean is None:
        return None
    half, of = found["mmd"].ci95 or 0.0, "" if own else "subsets of table1"
    return Measured(found["mmd"].mean, half, sign=-1, of=of)


def skipped() -> Answer:
    """Return the lead of plans that leave the low subset as it is over free ones."""
    found = [_rum("skip_low", name) for name in ("skipped", "free")]
    rows = [row for row in found if row is not None]
    return over(values(rows[:1]) - values(rows[1:]), -MARGIN) if len(rows) == 2 else None


def ordered() -> Answer:
    """Return the lead of the paper's order over the mean of the other five."""
    found = [_rum("order", study.name) for study in studies("order")]
    rows = [row for row in found if row is not None]
    return over(values(rows[:1]) - values(rows[1:])) if len(rows) == len(found) else None


def _rum(item: str, study: str) -> Row | None:
    """Return the row of the plan that a study found."""
    summary = result(item, study)
    return None if summary is None else find_row(summary.rows, "rum")


MEASURES: Mapping[str, Callable[[], Answer]] = {
    "Q1": partial(fall, "es", "tow"),
    "Q2": partial(fall, "memorization", "tow"),
    "Q3": relabelling,
    "Q4": refined,
    "Q5": mixed,
    "Q6": partial(fall, "memorization", "tow_examples"),
    "Q7": partial(fall, "memorization", "tow_mia"),
    "Q8": proxy,
    "Q9": discrepancy,
    "Q10": skipped,
    "order": ordered,
}
"""The statistic of each question."""


def render() -> dict[str, str]:
    """Return experiments/README.md by its path from docs/."""
    before, _, rest = README.read_text("utf-8").partition(BEGIN)
    published = read(FOLDER / "published.yaml")
    costs = json.loads((RESULTS / "costs.json").read_text("utf-8"))
    parts = (
        _items(published["questions"], costs["items"]),
        _sizes(costs),
        _statistics(published["questions"]),
        _table1(published["table1"]),
    )
    middle = "\n\n".join([BEGIN, *parts, END])
    return {"../experiments/README.md": f"{before}{middle}{rest.partition(END)[2]}"}


def _grid(header: Sequence[str], rules: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table; `rules` has "l" or "r" per column."""
    drawn = [":--" if rule == "l" else "--:" for rule in rules]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, drawn, *rows))


def _items(questions: Mapping[str, Any], costs: Mapping[str, Any]) -> str:
    """Return the items with command, cost, published number, our number and verdict."""
    rows = []
    for name, item in catalogue().items.items():
        cost = costs[f"{name} cifar10 small"]
        first = [
            f"[{name}](../rum_ray/paper/catalogue.yaml): {item.title} ({item.place})",
            f"`rum-ray reproduce {name}`",
            str(len(studies(name))),
            *_cost(cost),
        ]
        asked = {key: each for key, each in questions.items() if each["item"] == name}
        for key, each in asked.items():
            claim = each["claim"] if key == name else f"{key}: {each['claim']}"
            rows.append([*first, claim, each["paper"], *_answer(MEASURES[key]())])
            first = [""] * len(first)
        if not asked:
            rows.append([*first, f"as for {' and '.join(item.of)}", "as a figure", "", ""])
    header = ("item", "command", "studies", "trainings", "core-hours")
    header += ("claim", "the paper", "ours, small", "verdict")
    return "\n\n".join(["## The paper's items", ITEMS, _grid(header, "llrrrllll", rows)])


def _cost(cost: Mapping[str, Any]) -> tuple[str, str]:
    """Return trainings, and hours with two digits."""
    hours = float(f"{cost['device_hours']:.2g}")
    text = f"{hours:,.0f}" if hours >= 10 else f"{hours:g}"
    return format_count(round(cost["trainings"])), text


def _answer(answer: Answer) -> tuple[str, str]:
    """Return our number and the verdict."""
    if answer is None:
        return "", "not run"
    return (answer, "not shown") if isinstance(answer, str) else (answer.text, answer.verdict)


def _sizes(costs: Mapping[str, Any]) -> str:
    """Return the cost of the items at the paper's own size."""
    names = [*catalogue().settings]
    rows = [
        [f"`{name}`", *(_size(costs["items"], name, item, data) for data in names)]
        for name, item in catalogue().items.items()
    ]
    told = SIZES.format(hardware=costs["machine"]["hardware"])
    table = _grid(["item", *(f"`{name}`" for name in names)], "l" + "r" * len(names), rows)
    return "\n\n".join(["### At the paper's size", told, table])


def _size(costs: Mapping[str, Any], name: str, item: Item, data: str) -> str:
    """Return the cost of an item with a data set."""
    if item.data and data not in item.data:
        return "no scores"
    cost = costs[f"{name} {data} paper"]
    trainings, hours = _cost(cost)
    return f"{trainings}; {hours} h; {cost['worker_gib']:.1f} GiB"


def _statistics(questions: Mapping[str, Any]) -> str:
    """Return the statistic that decides each question."""
    rows = [[key, each["statistic"]] for key, each in questions.items()]
    return "\n\n".join(["### What decides", DECIDES, _grid(("claim", "statistic"), "ll", rows)])


def _table1(table: Mapping[str, Any]) -> str:
    """Return Table 1 of the paper beside our numbers."""
    summary, (first, second) = result("table1"), (table["cifar10"], table["cifar100"])
    found = {} if summary is None else {(r.method, r.unlearner): r for r in summary.rows}
    rows = [
        [
            f"{unlearner_title(name)}, {'RUM^F' if method == 'rum_f' else method}",
            *first[name][place],
            *second[name][place],
            *_numbers(found.get((method, name))),
        ]
        for name in first
        if name != "rum"
        for place, method in enumerate(VARIANTS)
    ]
    rum = None if summary is None else find_row(summary.rows, "rum")
    rows.append(["RUM", *first["rum"], *second["rum"], *_numbers(rum)])
    header = ("method", "CIFAR-10: ToW", "MIA gap", "CIFAR-100: ToW", "MIA gap")
    header += ("ours, small: ToW", "MIA gap")
    return "\n\n".join(["### Table 1", TABLE1, _grid(header, "lrrrrrr", rows)])


def _numbers(row: Row | None) -> tuple[str, str]:
    """Return ToW and MIA gap with their intervals; a mark if the row is untuned."""
    if row is None:
        return "", ""
    tow, gap = (format_metric(row.metrics.get(name, Metric(None))) for name in ("tow", "mia_gap"))
    return f"{tow}, untuned" if row.untuned else tow, gap


if __name__ == "__main__":
    print(render()["../experiments/README.md"])
