"""Searches of a study, and errors that are raised before anything is trained."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from rum_ray import config
from rum_ray.data import load
from rum_ray.errors import ConfigError, PlanError
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import EvaluatePlan, SearchJob
from rum_ray.rum import Plan
from rum_ray.search.candidates import Candidate
from rum_ray.store import Artifact, Store
from rum_ray.study.methods import method_rows
from rum_ray.study.rehearsal import Rehearsal
from rum_ray.study.spaces import check_plans, load_start_plans, search_spaces
from rum_ray.study.study import Study
from rum_ray.study.validation import check
from rum_ray.unlearning import FineTune, Nothing, SalUn

BASE: dict[str, Any] = {
    "name": "x",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 4},
    "score": {"name": "confidence"},
    "forget": {"size": 60},
    "plan": {"low": "nothing", "medium": "finetune", "high": {"name": "salun", "lr": 0.1}},
    "search": {"trials": 3, "finalists": 3, "spaces": ["V0", "V1", "V4"]},
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """A plug-in that declares no domain."""

    name: ClassVar[str] = "given"

    def __call__(self, model, task, runtime):
        return model

    def cost(self, forget, retain):
        return 0.0


PLAN = {"low": Nothing(), "medium": FineTune(), "high": SalUn(lr=0.1)}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def study(digits, tmp_path):
    def make(*overrides: str) -> Study:
        experiment = config.parse(BASE, overrides)
        # The range tests, and searches that are not finished, have drawn results.
        return Study(experiment, Rehearsal(digits, Store(tmp_path / "store")))

    return make


@pytest.fixture
def scored(study):
    """A study with finished scores."""

    def make(*overrides: str) -> Study:
        ours = study(*overrides)
        for job in ours.scoring.scorers:
            ours.context.get_or_compute(job)
        return ours

    return make


def keys(ours: Study) -> dict[str, str]:
    return {search.name: search.key(ours.context).digest for search in ours.rungs}


def test_spaces_come_in_their_order(scored):
    ours = scored("search.spaces=[V4, V2, V1]")
    assert [*ours.searches] == ["V1", "V2", "V4"]
    assert [*scored().searches] == ["V0", "V1", "V4"]


def test_spaces_are_those_of_the_experiment(scored):
    ours = scored(
        "search.steps={low: nothing}", "search.grid=3", "order=[high, low, medium]", "retain=final"
    )
    for search in ours.rungs:
        space = search.space
        assert space.partition.names == ("high", "low", "medium")
        assert (space.ordered, space.grid, space.retain) == (True, 3, "final")
        assert space.steps == {"low": Nothing()}
        rates = [each.at_rate(ours.recipe.lr) for each in SearchConfig().unlearners]
        assert space.candidates == tuple(rates)
    assert not scored().rungs[0].space.ordered


def test_a_search_does_not_depend_on_the_others(scored):
    plain, more = keys(scored()), keys(scored("search.spaces=[V0, V1, V2, V3, V4]"))
    # V0 gets the budget of the whole chain; a larger space depends on its parents.
    assert plain.keys() < more.keys()
    assert not plain.items() & more.items()
    fewer = keys(scored("search.spaces=[V0, V1, V2]"))
    assert fewer.items() & keys(scored("search.spaces=[V0, V1, V3]")).items() == {
        (name, fewer[name]) for name in ("V0", "V1")
    }
    for override in (
        "search.trials=4", "search.sampler=random", "search.grid=2", "search.steps={low: neggrad}",
        "search.unlearners=[nothing, finetune]", "order=[high, low, medium]", "search.batch=1",
    ):  # fmt: skip
        assert not keys(scored(override)).items() & plain.items(), override


def test_a_start_plan_changes_the_searches_of_its_spaces(scored):
    cap = "search.max_cost=4"
    plain, started = keys(scored(cap)), keys(scored(cap, "search.start=[plan]"))
    assert {name for name in plain if plain[name] != started[name]} == {"V4"}


def test_declared_domains_change_a_search(scored, monkeypatch):
    before = keys(scored())
    monkeypatch.setattr(SalUn, "space", {"lr": SalUn.space["lr"]})
    assert not keys(scored()).items() & before.items()


def test_a_rate_that_diverges_narrows_the_domains(scored, monkeypatch):
    load, recipe = Rehearsal.load, scored().recipe

    def diverging(context, job):
        if isinstance(job, EvaluatePlan) and job.plan.steps[0].unlearner.lr > recipe.lr:
            return Artifact(value={"status": "diverged"})
        return load(context, job)

    def tops(ours):
        return {
            (search.name, candidate.name): candidate.domains["lr"].high
            for search in (*ours.rungs, *ours.row_searches.values())
            for candidate in search.space.candidates
            if candidate.name != "nothing"
        }

    narrowed = "search.unlearners=[nothing, finetune, {name: salun, lr: {low: 0.01, high: 0.15}}]"
    changes = (narrowed, "compare=[finetune]")
    wide = tops(scored(*changes))
    monkeypatch.setattr(Rehearsal, "load", diverging)
    found = tops(scored(*changes))
    assert {name for _, name in found} == {"finetune", "salun"}
    for (space, name), top in found.items():
        # A domain that the file narrows stays.
        assert top == (0.15 if name == "salun" else pytest.approx(2 * recipe.lr / 3)), space
        assert wide[space, name] == (0.15 if name == "salun" else pytest.approx(2 * recipe.lr))


def test_rows_with_values_of_the_file_are_not_tuned(scored):
    own = f"{__name__}:Given"
    ours = scored(f"compare=[{{name: finetune, lr: 0.03}}, salun, '{own}', retrain]")
    assert {name for name, _ in ours.row_searches} == {"salun"}
    # All rows are tuned alike, and without the chain.
    for job in ours.row_searches.values():
        assert (job.config.trials, job.config.budget, job.parents, job.starts) == (8, None, (), ())
    assert not scored("compare=[salun]", "search=").row_searches


def test_searches_start_with_the_plans_in_their_space(scored, tmp_path):
    path = tmp_path / "plan.yaml"
    reverse = Plan.assign(scored().partition.reversed(), PLAN)
    path.write_text(config.dump_plan(reverse))
    untuned = tmp_path / "untuned.yaml"
    untuned.write_text("plan: {low: salun, medium: salun, high: salun}")
    ours = scored(
        "search.spaces=[V0, V1, V2, V3, V4]", f"search.start=[plan, {path}, {untuned}]",
        "search.max_cost=4",
    )  # fmt: skip
    assert list(load_start_plans(ours.experiment, ours.partition)) == [
        "plan",
        str(path),
        str(untuned),
    ]
    started = {name: search.starts for name, search in ours.searches.items()}
    same = Plan.assign(ours.partition, dict.fromkeys(PLAN, SalUn()))
    given = Plan.assign(ours.partition, PLAN)
    assert started["V0"] == ()
    assert started["V1"] == started["V2"] == started["V3"] == (same,)
    assert started["V4"] == (given, reverse, same)


UNTUNED = ["search.unlearners=[nothing, finetune, salun]", "search.spaces=[V0, V3]"]
NOT_NOTHING = "search.unlearners=[finetune, scrub]"
WRONG = [
    (
        ["search.max_cost=0.2", NOT_NOTHING],
        ConfigError,
        r"^search\.max_cost: .*V0 .*0\.25 .*0\.2\.",
    ),
    (
        ["search.max_cost=0.5", NOT_NOTHING],
        ConfigError,
        r"^search\.max_cost: .*V1 .*0\.5\.",
    ),
    (
        ["search.max_cost=2", "search.steps={low: {name: salun, epochs: 10}}"],
        ConfigError,
        r"^search\.max_cost: .*V1 .*2\.\d+ .* 2\.",
    ),
    (
        ["search.max_cost=3", NOT_NOTHING, "search.spaces=[V1, V3]"],
        ConfigError,
        r"^search\.max_cost: .*V3 .*3\.7",
    ),
    (
        ["search.start=[plan]", *UNTUNED],
        ConfigError,
        r"^search\.start: plan .*V0, V3\. V3: .*lr .*0\.1",
    ),
    (
        [
            "search.start=[plan]",
            "search.unlearners=[nothing, {name: salun, lr: {low: 0.001, high: 0.05}}]",
        ],
        ConfigError,
        r"^search\.start: plan .* V4: .*medium\.unlearner .*finetune.*nothing, salun",
    ),
    (
        ["search.start=[plan]", "plan.high.lr=0.5"],
        ConfigError,
        r"^search\.start: plan .* V4: .*high\.salun\.lr .*0\.5.*0\.001 .*0\.2",
    ),
    (
        ["search.start=[plan]", "search.max_cost=2.5"],
        ConfigError,
        r"^search\.start: plan .*2\.55 .*search\.max_cost=2\.5",
    ),
    (["search.start=[nil]"], ConfigError, r"\bnil\b"),
    (
        ["search={budget: 0.1, unlearners: [finetune], max_cost: 3}"],
        ConfigError,
        r"^search\.budget: .*V0 .*0\.35.* 0\.1\.",
    ),
    (
        ["search={budget: 0.01}"],
        ConfigError,
        r"^search\.budget: .*V0 .*0\.1\d*.* 0\.01\.",
    ),
    (
        ["search={spaces: [V5]}", "refine={name: by_score, into: [a+b, c]}", "plan="],
        PlanError,
        r"^refine: .*'a\+b'",
    ),
    (["search.unlearners=[ct]"], PlanError, r"\bct\b.* convolution"),
    (["search.steps={low: ct}"], PlanError, r"\bct\b.* convolution"),
]


@pytest.mark.parametrize(("overrides", "error", "message"), WRONG)
def test_impossible_searches_are_refused_before_anything_is_trained(
    study, tmp_path, overrides, error, message
):
    ours = study(*overrides)
    with pytest.raises(error, match=message) as raised:
        check(ours)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "store").exists()


def test_a_start_plan_must_match_the_subsets(study, tmp_path):
    path = tmp_path / "plan.yaml"
    for text, message in (
        (
            "plan: {low: nothing, high: nothing}",
            r"^search\.start: \S+plan\.yaml: .*'medium'",
        ),
        ("plan: {a: nothing}", r"^search\.start: \S+plan\.yaml: .*'a'"),
        (
            "{plan: {a: salun, b: salun}, order: [b, a]}",
            r"^search\.start: \S+plan\.yaml: .*'a'",
        ),
        (
            "{plan: {low: salun, medium: salun, high: salun}, order: [low]}",
            r"^search\.start: \S+plan\.yaml: .*low, medium, high once.* low\.",
        ),
    ):
        path.write_text(text)
        with pytest.raises(PlanError, match=message):
            check(study(f"search.start=[{path}]"))


def test_the_order_of_a_start_plan_counts(study, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("{plan: {low: salun, medium: salun, high: salun}, order: [high, low, medium]}")
    start = (f"search.start=[{path}]", "search.max_cost=4")
    check(study(*start))
    check(study(*start, "order=[high, low, medium]"))
    message = r"^search\.start: .*V4: .*'high' .*'low'"
    with pytest.raises(ConfigError, match=message):
        check(study(*start, "order=[low, medium, high]"))


def test_searches_with_plans_below_the_cap_pass_the_check(study):
    check(study("search.max_cost=0.001"))
    check(
        study(
            "search.max_cost=0.26",
            NOT_NOTHING,
            "search.spaces=[V0, V1]",
            "plan=",
            "refine={name: by_score, into: [one]}",
        )
    )
    check(study("search.max_cost=4", NOT_NOTHING, "search.spaces=[V0, V1, V2, V3, V4]"))


def test_subsets_named_by_their_refiner_are_checked_once_they_are_known(scored):
    by_class = ["refine=by_class", "plan=", "forget={class: 3, size: 60}"]
    check(scored(*by_class, "search.steps={low: nothing}"))
    message = r"^search\.steps: .*'low'.*class3"
    with pytest.raises(ConfigError, match=message):
        _ = scored(*by_class, "search.steps={low: nothing}").partition
    with pytest.raises(ConfigError, match=r"^search\.max_cost: .*V0 "):
        _ = scored(*by_class, "search.max_cost=0.1", NOT_NOTHING).partition
    assert scored(*by_class, "search.steps={class3: nothing}").partition.names == ("class3",)


def test_without_a_search_there_are_no_spaces(scored):
    ours = scored("search=")
    assert search_spaces(ours.experiment, ours.partition) == ()
    check_plans(ours.experiment, ours.partition, 1200, 200)


def test_the_forecast_counts_the_searched_spaces(study):
    from rum_ray.study.forecast import counted

    for spaces, rows in (("V0, V1, V4", 12), ("V2, V4", 10)):
        ours = study(f"search.spaces=[{spaces}]", "compare=[salun]")
        stages = {stage.stage: stage for stage in counted(ours, "run")}
        searched = len(spaces.split(", "))
        # Each space, and three rows of `compare`.
        assert stages["search"].total == stages["search"].missing == searched + 3
        # Its finalists, those of smaller spaces, and doing nothing; on five seeds.
        assert stages["validate"].total == 5 * (3 * searched * (searched + 1) // 2 + 1)
        # Four models as they are, the plan of the file, each space, the control of V1, and rows.
        assert stages["rows"].total == rows


@pytest.mark.parametrize("tuned", [True, False])
def test_rows_have_the_hyperparameters_of_their_own_searches(scored, monkeypatch, tuned):
    ours = scored("compare=[salun, {name: finetune, lr: 0.03}]")
    best, alone = SearchJob.best, {*ours.row_searches.values()}

    def qualified(job, ledger):
        return [] if job in alone and not tuned else best(job, ledger)

    monkeypatch.setattr(SearchJob, "best", qualified)
    rows = {(row.method, row.unlearner): row for row in method_rows(ours)}
    partitions = {"shuffle": ours.shuffled, "rum_f": ours.partition}
    for method in ("vanilla", "shuffle", "rum_f"):
        search = ours.row_searches["salun", method]
        row, ledger = rows[method, "salun"], search.ledger(ours.context)
        used = {step.unlearner for step in row.plan.steps}
        assert row.plan.partition == partitions.get(method, row.plan.partition)
        if tuned:
            assert used == {step.unlearner for step in best(search, ledger)[0].plan.steps}
            assert (row.source, row.trials) == ("search", len(ledger.trials))
        else:
            assert used == {SalUn()}
            assert (row.source, row.trials) == ("file", None)
        given = rows[method, "finetune"]
        assert {step.unlearner for step in given.plan.steps} == {FineTune(lr=0.03)}
        assert (given.source, given.trials) == ("file", None)


def test_a_fixed_candidate_is_checked_with_its_own_values(study):
    # Half of the weights can change, so the unlearner computes a mask, as the search will.
    candidates = (Candidate("salun", {"keep": 0.5, "mask": "official"}),)
    ours = study(
        "search.unlearners=[{name: salun, keep: 0.5, mask: official}]", "search.max_cost=9"
    )
    assert ours.experiment.search.unlearners == candidates
    check(ours)
