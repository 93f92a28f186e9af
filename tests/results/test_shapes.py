"""Reports of real small studies in every shape, from the experiment to data frames."""

import io
import json
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from reference.finished import finish, make

from rum_ray import ATTACKS, config
from rum_ray.errors import ConfigError, StalledError
from rum_ray.evaluation import ALWAYS
from rum_ray.experiment import (
    DataConfig,
    EvaluateConfig,
    Experiment,
    ForgetConfig,
    RelearnConfig,
    ScoreConfig,
    SearchConfig,
)
from rum_ray.experiment.parts import METRICS
from rum_ray.jobs import Context, format_weights
from rum_ray.refinement import ByClass, ByScore
from rum_ray.results.load import load_examples, load_outcome
from rum_ray.results.parquet import score_table, trial_table
from rum_ray.results.schema import Metric, Summary
from rum_ray.results.summary import summarize
from rum_ray.search.candidates import Candidate
from rum_ray.store import Store
from rum_ray.study.study import Study
from rum_ray.training import Recipe
from rum_ray.unlearning import FineTune, Nothing

TUNED = FineTune(epochs=1, lr=0.2)
TWO = {"low": Nothing(), "high": TUNED}
BASE = Experiment(
    name="small",
    data=DataConfig("digits"),
    recipe=Recipe("mlp", epochs=4, batch_size=32),
    score=ScoreConfig(models=10, fraction=0.5),
    forget=ForgetConfig(size=16),
    refine=ByScore(into=("low", "high")),
    plan=TWO,
)
FILE = {"name": "small", "data": "digits", "recipe": {"model": "mlp"}, "forget": {"size": 8}}
CANDIDATES = (Candidate("nothing"), Candidate("finetune", {"epochs": 1}))
SEARCH = SearchConfig(trials=3, finalists=2, spaces=("V4",), unlearners=CANDIDATES)
RUINOUS = Candidate("finetune", {"weight_decay": 10.0, "epochs": 10, "batch_size": 4, "lr": 0.1})
TRIAL_COLUMNS = (
    "search trial start inherited status objective tow mia_gap auc_gap examples cost by_seed "
    "seconds steps_run cache_hits plan"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Models that several studies share are trained once."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def report(bundle, store, monkeypatch):
    """A function that finishes a study and returns its summary and data frames."""
    # The attacks of a search are loud on 40 examples of V.
    monkeypatch.setattr("rum_ray.study.validation.LARGEST_FLOOR", 1.0)

    def make_report(experiment=BASE, **changes) -> tuple[Summary, pd.DataFrame, pd.DataFrame]:
        study = Study(replace(experiment, **changes), Context(bundle, store))
        clock = finish(study)
        outcome = load_outcome(study, clock.stages.values())
        frames = score_table(outcome.examples, outcome.forget), trial_table(outcome.searches)
        summary = summarize(outcome)
        check(summary, *frames)
        return summary, *frames

    return make_report


def check(summary: Summary, scores: pd.DataFrame, trials: pd.DataFrame) -> None:
    """Hold the laws of every report."""
    text = json.dumps(summary.to_json(), allow_nan=False)
    assert Summary.from_json(json.loads(text)) == summary
    for frame in (scores, trials):
        copy = pd.read_parquet(io.BytesIO(frame.to_parquet(None, index=False)))
        assert (list(copy), len(copy)) == (list(frame), len(frame))
    methods = [row.method for row in summary.rows]
    assert methods[:4] == ["retrained", "retrained_again", "original", "retrained_reordered"]
    plans = [row.plan for row in summary.rows if row.method in ("rum", "best_single", "refined")]
    assert all(plans.count(plan) == 1 for plan in plans)
    assert len(scores) == summary.data.train
    assert scores["subset"].notna().sum() == summary.forget.size == sum(summary.forget.classes)
    assert len(trials) == sum(search.trials for search in summary.searches)
    for row in summary.rows:
        for name, metric in row.metrics.items():
            lawful(metric, name)
            assert len(metric.values) in (0, len(row.seeds)), name
    for subset in summary.subsets:
        for name in ("entanglement_score", "mmd", "two_sample_auc"):
            lawful(getattr(subset, name), name)


def lawful(metric: Metric, name: str) -> None:
    """A metric without a mean has a reason, and no other has one."""
    assert (metric.mean is None) == (metric.reason is not None), name


def test_without_a_search(report):
    summary, _, trials = report()
    assert [row.method for row in summary.rows[4:]] == ["rum"]
    assert (summary.searches, summary.ladder, summary.references) == ((), None, ())
    assert not summary.comparisons
    assert summary.attack_titles is None
    assert list(trials) == TRIAL_COLUMNS.split()
    kinds = trials.dtypes.astype(str).to_dict()
    assert (kinds["search"], kinds["trial"], kinds["start"]) == ("str", "int64", "bool")
    # The figure of the searches groups by the last word of this column.
    assert trials["search"].astype(str).str.rpartition(" ").empty


def test_the_empty_table_of_trials_has_the_types_of_a_full_one(report):
    empty, full = report()[2].dtypes, report(search=SEARCH)[2].dtypes
    assert empty.astype(str).to_dict() == full[empty.index].astype(str).to_dict()


def test_with_nothing_but_the_models(report):
    summary, *_ = report(plan=None)
    assert len(summary.rows) == 4
    assert not [warning for warning in summary.warnings if "plan" in warning]


def test_one_seed_has_no_interval(report):
    summary, *_ = report()
    assert all(m.ci95 is None for row in summary.rows for m in row.metrics.values())
    assert "One seed has no interval." in summary.warnings


def test_three_seeds_bear_claims(report):
    summary, *_ = report(seeds=(0, 1, 2), search=SEARCH, compare=(FineTune(),))
    assert {claim.b for claim in summary.comparisons} >= {"vanilla finetune", "original"}
    assert summary.ladder is None


def test_one_subset(report):
    refine = ByScore(into=("whole",))
    summary, *_ = report(refine=refine, plan={"whole": TUNED})
    assert [subset.name for subset in summary.subsets] == ["whole"]
    assert summary.entanglement.spearman_with_entanglement_score is None


def test_a_subset_of_one_example(report):
    summary, *_ = report(forget=ForgetConfig(size=2))
    assert [subset.size for subset in summary.subsets] == [1, 1]
    assert {s.two_sample_auc.reason for s in summary.subsets} == {"a set of one example"}


def test_given_weights_record_no_proxies(report, bundle, store, tmp_path):
    trained = Study(BASE, Context(bundle, store))
    make(trained, trained.originals)
    path = tmp_path / "original.safetensors"
    path.write_bytes(format_weights(trained.context.load(trained.originals[0])))
    summary, scores, _ = report(recipe=replace(BASE.recipe, weights=str(path)))
    assert summary.scores.proxies == {}
    assert "confidence" not in scores
    assert summary.costs.originals == 0


def test_a_class(report):
    summary, *_ = report(forget=ForgetConfig(label="b"))
    assert (summary.forget.pick, summary.forget.label) == ("class", "b")
    assert [size > 0 for size in summary.forget.classes] == [False, True, False, False]


def test_scores_of_a_file_and_listed_ids(report, bundle, tmp_path):
    scores = pd.DataFrame({"id": bundle.train.ids, "mine": range(160)})
    scores.to_parquet(tmp_path / "mine.parquet")
    (tmp_path / "ids").write_text("\n".join(map(str, bundle.train.ids[::10])))
    summary, table, _ = report(
        score=ScoreConfig("mine", file=str(tmp_path / "mine.parquet")),
        forget=ForgetConfig(ids=str(tmp_path / "ids")),
    )
    assert (summary.scores.models, summary.forget.pick, summary.forget.by) == (None, "ids", None)
    assert summary.scores.split_half_reason == "the scores are not those of a pool"
    assert list(table["mine"]) == [*range(160)]


def test_listed_ids_without_a_score(report, bundle, tmp_path):
    scores = pd.DataFrame({"id": bundle.train.ids, "mine": [None, *range(1, 160)]}, dtype=float)
    scores.astype({"id": "int64"}).to_parquet(tmp_path / "mine.parquet")
    (tmp_path / "ids").write_text("\n".join(map(str, bundle.train.ids[::10])))
    summary, *_ = report(
        score=ScoreConfig("mine", file=str(tmp_path / "mine.parquet")),
        forget=ForgetConfig(ids=str(tmp_path / "ids")),
        refine=ByClass(),
        plan=None,
    )
    known = [subset.score is not None for subset in summary.subsets]
    assert known.count(False) == 1


def test_scores_of_a_proxy_by_distance(report):
    summary, *_ = report(
        score=ScoreConfig("confidence"),
        forget=ForgetConfig(size=16, by="entanglement", pick="high", groups=4),
    )
    assert summary.scores.models is None
    assert summary.selected_on[0].seeds.startswith("distances under the reported seeds'")


def test_most_trials_diverge(report):
    # The first trial is the plan of the file, which leaves the model as it is.
    ruinous = (RUINOUS, Candidate("l1_sparse", RUINOUS.narrowed))
    unlearners = (Candidate("nothing"), *ruinous)
    search = replace(SEARCH, trials=6, unlearners=unlearners, max_cost=50.0, start=("plan",))
    summary, _, trials = report(search=search, plan={"low": Nothing(), "high": Nothing()})
    (found,) = summary.searches
    assert 0 < found.complete < found.diverged
    assert trials["tow"].isna().sum() == found.diverged
    assert any(warning.endswith("of 6 trials diverged.") for warning in summary.warnings)


def test_a_search_whose_trials_all_diverge_is_refused(report):
    search = replace(SEARCH, trials=2, unlearners=(RUINOUS,), max_cost=50.0)
    with pytest.raises(StalledError, match="V4"):
        report(search=search)


def test_a_plan_that_ruins_the_model(report):
    ruin = FineTune(weight_decay=10, epochs=20, batch_size=4, lr=0.1)
    summary, *_ = report(plan={"low": ruin, "high": ruin}, evaluate=EvaluateConfig(residual=True))
    assert "no better than doing nothing" in summary.warnings[-1]
    assert "retrain instead" in summary.warnings[-2]
    assert summary.rows[-1].metrics["residual_low"].reason


def test_several_references(report):
    summary, _, trials = report(
        score=ScoreConfig(models=16, fraction=0.5, confidences=True),
        search=replace(SEARCH, also=("surrogate", "pool")),
    )
    assert [known.reference for known in summary.references] == ["oracle", "surrogate", "pool"]
    assert [known.main for known in summary.references] == [True, False, False]
    assert set(trials["search"]) == {"V4", "V4 surrogate", "V4 pool"}


def test_a_ladder(report):
    summary, *_ = report(
        seeds=(0, 1, 2), search=replace(SEARCH, spaces=("V0", "V1", "V2", "V3", "V4"))
    )
    assert summary.ladder is not None
    spaces = [rung.space for rung in summary.ladder.rungs]
    assert spaces == ["V0", "V1", "V2", "V3", "V4", "shuffle"]
    # Claims whose rows are the same are one, with the names of all.
    told = [(c.a, c.b) for c in summary.ladder.claims]
    told += [tuple(pair) for c in summary.ladder.claims for pair in c.also]
    steps = [("V1", "V0"), ("V2", "V1"), ("V3", "V2"), ("V4", "V3"), ("V1", "shuffle")]
    assert sorted(told) == sorted([*steps, ("V4", "V0")])
    rungs = {rung.space: rung.trials for rung in summary.ladder.rungs[:-1]}
    assert rungs == {search.space: search.trials for search in summary.searches}


def test_all_attacks(report):
    also = tuple(name for name in ATTACKS if name not in ALWAYS)
    evaluate = EvaluateConfig(also=also, relearn=RelearnConfig(epochs=1), residual=True)
    pool = ScoreConfig(models=16, fraction=0.5)
    summary, *_ = report(score=pool, evaluate=evaluate, seeds=(0, 1, 2))
    gaps = {f"{name}_gap" for name in also} | {"relearned_gap", "residual_forget"}
    assert all(gaps <= row.metrics.keys() for row in summary.rows)
    assert summary.costs.attacks > 0
    others = (*also, "residual_low", "residual_high")
    own = [name for name in summary.rows[-1].metrics if not name.startswith(others)]
    assert {name for name in own if not name.endswith(("_low", "_high"))} == {*METRICS}


def test_plugged_attacks_of_each_kind_of_evidence(report):
    names = ("certainty", "nearest", "above_pool", "above_shadows", "above_trained", "way_back")
    names += ("apart",)
    also = tuple(f"results.plugged_attacks:{name}" for name in names)
    summary, *_ = report(
        score=ScoreConfig(models=16, fraction=0.5),
        evaluate=EvaluateConfig(also=also),
        seeds=(0, 1),
    )
    assert f"- {also[0]}" in summary.experiment.config
    titles = ["certainty", "nearest set", "above the pool", "above the shadows", "above both"]
    titles += ["way back", "apart"]
    assert summary.attack_titles == dict(zip(names, titles, strict=True))
    retrained, *others = summary.rows
    for name in names:
        assert all(row.metrics[name].mean is not None for row in summary.rows), name
        gaps = [row.metrics[f"{name}_gap"].mean for row in others]
        assert max(gaps) > 0, name
        if name not in ("above_shadows", "above_trained"):
            assert retrained.metrics[f"{name}_gap"].mean == 0
    assert {"above_pool_retain", "above_pool_tpr_at_0.01"} <= retrained.metrics.keys()


def test_a_plugged_attack_that_gives_no_number(report):
    names = ("nothing", "not_finite")
    also = tuple(f"results.plugged_attacks:{name}" for name in names)
    summary, *_ = report(evaluate=EvaluateConfig(also=also))
    reasons = {row.metrics[name].reason for row in summary.rows for name in names}
    assert reasons == {"the attack gave no number"}


@pytest.mark.parametrize("name", ["wrong_answer", "no_number", "subset_name"])
def test_a_plugged_attack_that_breaks_its_contract(report, name):
    evaluate = EvaluateConfig(also=(f"results.plugged_attacks:{name}",))
    with pytest.raises(ConfigError, match=r"^evaluate\.also: "):
        report(score=ScoreConfig(models=16, fraction=0.5), evaluate=evaluate)


@pytest.mark.parametrize(
    ("also", "given"),
    [
        ("lira", "lira"),
        ("svm", "svm"),
        ("results.plugged_attacks:not_an_attack", "function"),
        ("results.plugged_attacks:threshold", "threshold"),
        ("results.plugged_attacks:metric_name", "tow"),
        ("results.plugged_attacks:gap_name", "relearned"),
        ("results.plugged_attacks:late_name", "excess"),
        ("results.plugged_attacks:missing", "missing"),
        ("no_such_module:attack", "no_such_module"),
    ],
)
def test_names_that_are_no_attacks_are_refused(also, given):
    with pytest.raises(ConfigError, match=rf"^evaluate\.also\[1\]: .*{given}"):
        config.parse({**FILE, "evaluate": {"also": ["svm_entropy", also]}})


def test_the_digest_of_an_experiment_has_the_plain_names():
    plugged = EvaluateConfig(also=("threshold", "results.plugged_attacks:nearest"))
    assert plugged.also == ("threshold", "results.plugged_attacks:nearest")
    experiment = replace(BASE, evaluate=plugged)
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment


def test_scores_are_known_before_a_forget_set(bundle, store):
    study = Study(replace(BASE, forget=ForgetConfig(size=8)), Context(bundle, store))
    make(study, study.first_jobs)
    table = score_table(load_examples(study))
    assert table["subset"].isna().all()


def test_the_second_floor_has_the_weights_of_the_reference_and_another_order(bundle, store):
    study = Study(BASE, Context(bundle, store))
    (reference,), (again,) = study.retrained, study.retrained_reordered
    train = bundle.train

    def start(job):
        return study.recipe.build(train, (job.init or job.seed) / "init").state_dict()

    ours, theirs = start(again), start(reference)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    make(study, [reference, again, *study.retrained_again])
    ours, theirs = (job.load(study.context).state_dict() for job in (again, reference))
    assert not any(ours[name].equal(theirs[name]) for name in theirs)


def test_the_bill_is_that_of_the_plan(report):
    search = replace(SEARCH, reference="surrogate", also=("oracle",))
    summary, *_ = report(search=search, plan=None)
    bill, (main, _) = summary.bill, summary.searches
    plan = next(row for row in summary.rows if row.method == "rum").metrics["cost"].mean
    assert bill.plan == bill.per_request == plan
    assert bill.scores == summary.costs.scores
    # Originals of the search seeds, at least, and the units.
    assert bill.search > 3 + main.whole
    assert bill.references == summary.references[0].trainings
    assert bill.total == pytest.approx(bill.scores + bill.search + bill.references + plan)
    assert bill.break_even > bill.fixed
    oracle = report(search=SEARCH, plan=None)[0].bill
    assert (oracle.per_request, oracle.break_even) == (oracle.plan + oracle.references, None)
    file = report()[0].bill
    assert (file.search, file.references, file.fixed) == (0, 0, file.scores)


def test_rows_of_compare_are_untuned_below_eight_plans(report):
    search = replace(SEARCH, rows=8)
    for compare, changes in (
        (FineTune(), {"search": search}),
        (FineTune(), {"search": replace(search, rows=2)}),
        (TUNED, {}),
    ):
        summary, *_ = report(compare=(compare,), **changes)
        untuned = {row.method for row in summary.rows if row.untuned}
        rows = [row for row in summary.rows if row.method in ("vanilla", "shuffle", "rum_f")]
        assert len(rows) == 3
        assert untuned == {row.method for row in rows if (row.trials or 0) < 8}
    assert summary.variants == ()


def test_the_best_single_unlearner_is_measured_as_the_plan_is(report):
    also = ("pool_lira", "u_lira")
    summary, *_ = report(
        score=ScoreConfig(models=16, fraction=0.5),
        evaluate=EvaluateConfig(also=also, residual=True),
        search=replace(
            SEARCH, spaces=("V0", "V4"), unlearners=(Candidate("finetune"),), max_cost=50.0
        ),
        plan=None,
        compare=(TUNED,),
    )
    rows = {row.method: row.metrics for row in summary.rows}
    found = ("u_lira_gap", "pool_lira_gap", "residual_forget")
    for name in found:
        assert rows["rum"][name].mean is not None, name
        assert rows["best_single"][name].mean is not None, name
    assert rows["vanilla"]["u_lira_gap"].reason
