"""The public form of reports of every shape, and of settings with every kind of path."""

import json
from dataclasses import replace

import pytest

from rum_ray import config
from rum_ray.config.public import LEFT_OUT, dump_public, without_paths
from rum_ray.errors import ConfigError
from rum_ray.report.public import FEW, check_public, public_report, write_public
from rum_ray.results.schema import Summary

from .shapes import SHAPES, changed, demo

TREE = {
    "name": "mine",
    "data": {"name": "images", "train": "secret_train", "test": "/srv/secret/test", "size": 32},
    "recipe": {"model": "mlp", "epochs": 3},
    "score": {"name": "memorization", "file": "secret.parquet", "seed": 900719},
    "seeds": [900717, 900718],
    "forget": {"ids": "secret.txt"},
    "plan": {
        "low": "nothing",
        "medium": {"name": "finetune", "epochs": 2},
        "high": {"name": "retrain"},
    },
    "cluster": {"modules": ["secret_modules"]},
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("initial") / "secret.pt"
    path.write_bytes(b"weights")
    return config.parse(TREE, [f"recipe.init={path}"])


def test_settings_have_no_path_and_no_text_of_the_data(experiment):
    text, hidden = dump_public(experiment)
    assert "secret" in config.dump(experiment)
    assert "secret" not in text
    assert "9007" not in text
    assert {each for each in hidden if "secret" not in each} == set()
    for kept in ("name: images", "size: 32", "model: mlp", "epochs: 3", "name: finetune"):
        assert kept in text
    assert text.count(LEFT_OUT) >= 7


def test_a_plan_names_no_file(experiment):
    found = without_paths({"name": "retrain", "recipe": {"model": "mlp", "init": "secret.pt"}})
    assert found == {"name": "retrain", "recipe": {"model": "mlp", "init": LEFT_OUT}}


@pytest.mark.parametrize("shape", ["busy", "not finite", "nothing", "one seed"])
def test_a_report_of_any_shape_has_a_public_form(shape, experiment, tmp_path):
    report = SHAPES[shape]()
    folder, public = write_public(tmp_path, report, experiment)
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.md", "report.json"}
    tree = json.loads((folder / "report.json").read_text("utf-8"))
    assert tree["public"] is True
    assert Summary.from_json(tree).to_json() == tree == public.summary.to_json()
    assert "public" not in report.summary.to_json()
    for subset in public.summary.subsets:
        assert (subset.score_low, subset.score_high, subset.classes) == (None, None, ())
        assert subset.size >= FEW
    page = (folder / "report.html").read_text("utf-8")
    assert "data:image" not in page
    assert report.summary.experiment.digest not in page


def test_free_text_names_no_file(experiment):
    report = demo()
    first, *_, last = report.summary.selected_on
    told = replace(first, seeds="ids of secret.txt; subsets by memorization, root 900719")
    report = changed(report, selected_on=(told, last), warnings=("/srv/secret/test is small.",))
    summary = public_report(report, experiment).summary
    told = f"ids of {LEFT_OUT}; subsets by memorization, root {LEFT_OUT}"
    assert [each.seeds for each in summary.selected_on] == [told, "2 seeds"]
    assert {row.seeds for row in summary.rows} == {tuple(range(10))}
    assert summary.warnings == (f"{LEFT_OUT} is small.",)


def test_a_small_subset_is_left_out_with_its_metrics(experiment):
    report = demo()
    first, *others = report.summary.subsets
    few = (replace(first, size=FEW - 1), *(replace(each, size=FEW) for each in others))
    public = public_report(changed(report, subsets=few), experiment)
    assert [subset.name for subset in public.summary.subsets] == [each.name for each in others]
    names = {name for row in report.summary.rows for name in row.metrics}
    left = {name for row in public.summary.rows for name in row.metrics}
    assert {name for name in names if name.endswith(f"_{first.name}")} == names - left != set()
    assert f"forget_accuracy_{first.name}" in report.trials
    assert f"forget_accuracy_{first.name}" not in public.trials


def test_small_counts_are_left_out(experiment):
    report = demo()
    data = replace(report.summary.data, flipped=FEW - 1)
    subsets = tuple(replace(each, flipped=FEW - 1) for each in report.summary.subsets)
    public = public_report(changed(report, data=data, subsets=subsets), experiment).summary
    assert public.data.flipped is None
    assert {subset.flipped for subset in public.subsets} == {None}
    assert public.forget.classes == ()


def test_a_forget_set_of_few_rows_has_no_public_report():
    check_public(FEW)
    with pytest.raises(ConfigError, match="--public"):
        check_public(FEW - 1)
