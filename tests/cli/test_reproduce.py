"""`rum-ray reproduce`: one study or several, by the paths of `run`, and reports of several."""

import json

import pytest
from miniature import flags

import rum_ray.cli.commands
from rum_ray.paper.catalogue import FOLDER, studies
from rum_ray.study.calibration import calibrate

HERE = ("--address", "none", "--set", "cluster.workers=1", "--json")
DIGITS = (
    "data=digits",
    "recipe={model: mlp, epochs: 1, batch_size: 64}",
    "score={name: confidence}",
    "forget.size=30",
    "evaluate.also=[]",
    "search=null",
    "compare=[{name: finetune, epochs: 1}]",
    "seeds=[0, 1, 2]",
    "repeats=1",
)


def asked(call, *arguments: str) -> dict:
    here = HERE if arguments[0] == "reproduce" else HERE[2:]
    code, out, err = call(*arguments, *here)
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def _quick(monkeypatch):
    """Forecasts that measure models only, once."""
    monkeypatch.setattr(rum_ray.cli.commands, "calibrate", lambda study: calibrate(study, 0.0))


def test_one_study_is_that_of_run(call, tmp_path):
    found = asked(call, "reproduce", "table1", *flags(*DIGITS))
    assert found["experiment"]["name"] == "table1-cifar10-small"
    out = tmp_path / "out"
    assert (out / "table1-cifar10-small" / "report.html").exists()
    plain = asked(call, "run", str(FOLDER / "small.yaml"), *flags(*DIGITS))
    assert plain["rows"] == found["rows"]
    assert plain["experiment"]["digest"] == found["experiment"]["digest"]


def test_several_studies_end_with_a_page_that_compares_them(call, tmp_path):
    found = asked(
        call, "reproduce", "memorization", "--seed", "4", *flags(*DIGITS, "seeds=[4, 5, 6]")
    )
    names = [f"memorization-cifar10-small-{level}" for level in ("low", "medium", "high")]
    assert [each["study"] for each in found["reports"]] == names
    assert {tuple(row["seeds"]) for each in found["reports"] for row in each["answer"]["rows"]} == {
        (4,)
    }
    page = tmp_path / found["compared"]
    assert page == tmp_path / "out" / "memorization-cifar10-small" / "compared.html"
    text = page.read_text("utf-8")
    assert "levels-tow" in text
    assert "The studies low, medium and high have the same" in text

    files = [f"out/{name}/experiment.yaml" for name in names]
    again = asked(call, "report", *files, "--out", "page")
    assert again["compared"] == "page/compared.html"
    assert (tmp_path / "page" / "compared.html").read_bytes() == page.read_bytes()


def test_several_studies_have_folders_of_their_own_in_out(call, tmp_path):
    asked(call, "reproduce", "skip_low", *flags(*DIGITS), "--set", "search=null", "--out", "here")
    names = {path.parent.name for path in (tmp_path / "here").glob("*/report.json")}
    assert names == {"free", "skipped"}
    assert (tmp_path / "here" / "compared.md").exists()


@pytest.mark.usefixtures("_quick")
def test_a_dry_run_needs_no_data_and_writes_nothing(call, tmp_path):
    changes = flags("recipe.model=mlp", "recipe.precision=float32", "repeats=1", "search=null")
    changes += flags("compare=[finetune]", "evaluate.also=[]")
    code, out, err = call("reproduce", "es", "--dry-run", *changes, *HERE)
    assert code == 0
    assert "data/cifar10 is not there" in err
    found = json.loads(out)["reports"]
    assert [each["study"] for each in found] == [s.experiment().name for s in studies("es")]
    assert all(stage["missing"] for each in found for stage in each["forecast"])
    assert not [*tmp_path.iterdir()]
    code, out, err = call("reproduce", "mmd", "--dry-run", *changes, *HERE[:-1])
    assert code == 0
    assert "mmd-cifar10-small, at most" in out
