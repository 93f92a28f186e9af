"""Scores, proxies, subsets, and the pictures of examples."""

from dataclasses import replace

import numpy as np
import pytest

from rum_ray.report.gallery import Gallery, Picture
from rum_ray.report.sections.scores import entanglement_finding, proxies, subsets
from rum_ray.report.text import DASH
from rum_ray.results.schema import Metric, ProxySummary
from rum_ray.scores import Scores

from .shapes import demo


def test_a_proxy_has_its_intervals_and_its_share_of_the_same_subset():
    scores = demo().summary.scores
    rows = proxies(scores).texts()[1]
    assert rows[0] == ["confidence", "0.758 ± 0.002", "[0.736, 0.782]", "76 ± 1.0 %", "10"]
    once = replace(scores.proxies["confidence"], ci95=None, values=(0.7,), low=None, spearman=0.7)
    rows = proxies(replace(scores, proxies={"curvature": once})).texts()[1]
    assert rows[0][1:3] == ["0.700", DASH]


def test_an_unknown_proxy_has_a_reason():
    nothing = ProxySummary(None, None, (), None, None, Metric.missing("too few"), "all alike")
    rows = proxies(replace(demo().summary.scores, proxies={"entropy": nothing})).texts()[1]
    assert rows == [["entropy", f"{DASH} (all alike)", DASH, f"{DASH} (too few)", "0"]]


def test_an_unknown_entanglement_has_a_reason():
    first, *others = demo().summary.subsets
    apart = Metric.missing("one centroid")
    rows = subsets([replace(first, entanglement_score=apart, two_sample_auc=apart), *others])
    assert [rows.texts()[1][0][place] for place in (6, 8)] == [f"{DASH} (one centroid)"] * 2


def test_the_most_entangled_subset_is_named_only_if_it_is_clear():
    low, medium, high = demo().summary.subsets

    def found(ci95: float | None) -> str:
        values = zip((low, medium, high), (1.0, 2.0, 3.0), strict=True)
        return entanglement_finding(
            [replace(s, entanglement_score=Metric(mean, ci95)) for s, mean in values]
        )

    assert found(0.4).startswith("“high” is the most entangled")
    for unclear in (0.6, None):
        assert "without a clear difference" in found(unclear)
    assert "1.00" in entanglement_finding([replace(low, entanglement_score=Metric(1.0))])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 500, 333), (1, 64, 3)])
def test_pictures_of_any_size_become_small_png(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    picture = Picture(1, pixels, "3", None, 0.5, "most")
    png = picture.png()
    assert png.startswith("data:image/png;base64,")
    assert len(png) < 40_000
    assert not picture.is_mislabelled


def test_the_gallery_is_chosen_by_score(bundle):
    values = np.linspace(0, 1, 160)
    values[[3, 159]] = np.nan
    gallery = Gallery.of(bundle, Scores(values), most=4, others=2)
    ids = {name: [p.id for p in gallery.group(name)] for name in ("most", "medium", "low")}
    assert ids["most"] == bundle.train.ids[[158, 157, 156, 155]].tolist()
    assert ids["low"] == bundle.train.ids[[0, 1]].tolist()
    assert sorted(ids["medium"]) == bundle.train.ids[[79, 80]].tolist()
    wrong = dict(zip(bundle.train.ids, bundle.flipped, strict=True))
    assert [p.is_mislabelled for p in gallery.pictures] == [wrong[p.id] for p in gallery.pictures]


def test_data_that_are_no_images_have_no_gallery(bundle):
    flat = replace(bundle.train, x=bundle.train.x.flatten(1))
    assert Gallery.of(replace(bundle, train=flat), Scores(np.zeros(160))) == Gallery()
