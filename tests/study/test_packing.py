"""The pipeline packs the records of a pool while its stage runs; scores are the same bits."""

import pytest

from rum_ray.experiment import DataConfig, Experiment, ForgetConfig, ScoreConfig
from rum_ray.jobs import Context
from rum_ray.store import Store, packs
from rum_ray.study import pipeline
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import LoggedProgress
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.training import Recipe

MODELS, SIZE = 14, 4


def scored(bundle, store: Store) -> Study:
    """Run the stages that score, and return a new study over the store."""
    score = ScoreConfig(models=MODELS, fraction=0.5, confidences=True, compare=())
    recipe = Recipe("mlp", epochs=1, batch_size=64)
    parts = {"recipe": recipe, "score": score, "forget": ForgetConfig(size=20), "seeds": (0,)}
    experiment = Experiment(name="small", data=DataConfig("digits"), **parts)
    study = Study(experiment, Context(bundle, store))
    Pipeline(study, LocalExecutor(), LoggedProgress(), Clock()).run("score")
    return Study(experiment, Context(bundle, Store(store.root)))


@pytest.mark.parametrize("every", [1, SIZE, 1000])
def test_a_stage_packs_its_records(bundle, tmp_path, monkeypatch, every):
    expected = scored(bundle, Store(tmp_path / "alone"))
    monkeypatch.setattr(packs, "PACK_RECORDS", SIZE)
    monkeypatch.setattr(pipeline, "PACK_RECORDS", every)
    found = scored(bundle, Store(tmp_path / "packed"))
    assert len([*(tmp_path / "packed" / "packs" / "pool").iterdir()]) == MODELS // SIZE
    assert len([*(tmp_path / "packed" / "pool").iterdir()]) == 2 * (MODELS % SIZE)
    assert not (tmp_path / "alone" / "packs").exists()
    assert found.context.missing(found.scoring.pool) == []
    assert found.scores.values.tobytes() == expected.scores.values.tobytes()
    for name, runs in expected.scoring.proxies.items():
        assert found.scoring.proxies[name].tobytes() == runs.tobytes()
    bits = [study.scoring.pool_bits(study.forget) for study in (found, expected)]
    assert bits[0].included.tobytes() == bits[1].included.tobytes()
    assert bits[0].correct.tobytes() == bits[1].correct.tobytes()
