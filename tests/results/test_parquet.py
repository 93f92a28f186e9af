"""A list of files to forget, from photos in folders to scores.parquet."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import rum_ray as rr
from rum_ray import config
from rum_ray.errors import DataError


@pytest.fixture
def tree(tmp_path):
    draw = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "photos" / ("cat" if i % 2 else "dog") / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (10 + i % 3, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return {
        "name": "photos",
        "data": {"name": "images", "train": str(tmp_path / "photos"), "size": 8},
        "recipe": {"model": "mlp", "epochs": 1},
        "score": {"name": "confidence"},
        "forget": {"ids": str(tmp_path / "list.txt")},
    }


def test_listed_files_are_the_forget_set_by_name(tree, tmp_path):
    listed = ["cat/01.png", "dog/02.png", "dog/04.png", "cat/39.png"]
    (tmp_path / "list.txt").write_text("\n".join(listed), "utf-8")
    rr.run(config.parse(tree), out=tmp_path / "out", store=tmp_path / "store")
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert sorted(table.loc[table["subset"].notna(), "name"]) == sorted(listed)
    files = sorted(p.relative_to(tmp_path / "photos") for p in tmp_path.glob("photos/*/*"))
    assert [files[row].as_posix() for row in table["id"]] == table["name"].tolist()
    # Photos that were scaled are read from the cache of the store next time.
    assert (tmp_path / "store" / "cache" / "images.sqlite").exists()


def test_files_that_do_not_exist_are_one_error(tree, tmp_path):
    (tmp_path / "list.txt").write_text("cat/01.png\ncat/77.png\ncat/78.png\n", "utf-8")
    with pytest.raises(DataError, match=r"list\.txt: 2 of 3 ids .* entry 2, 3 "):
        rr.run(config.parse(tree), store=tmp_path / "store")
