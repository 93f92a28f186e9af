"""The page as markup: well-formed, self-contained, and safe against hostile names."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from rum_ray.report.gallery import Picture

VOID = {"meta", "link", "img", "br", "hr"}
LOADS = {"src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"}


class Page(HTMLParser):
    """The tags and texts of a page; fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        """Return the values of an attribute."""
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


@pytest.fixture(params=["grey", "nasty"])
def html(request) -> str:
    return (request.getfixturevalue(f"{request.param}_folder") / "report.html").read_text("utf-8")


def test_markup_is_well_formed(html):
    page = Page(html)
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    targets = [value[1:] for value in page.values("href") if value.startswith("#")]
    named = " ".join(page.values("aria-labelledby")).split()
    cut = re.findall(r"url\(#([^)]+)\)", html)
    assert {*targets, *named, *cut} <= set(ids)


def test_nothing_is_loaded_and_nothing_runs(html):
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {
        "script",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name, value in attrs.items():
            if name in LOADS and tag != "a":
                assert (value or "").startswith(("data:", "#")), (tag, name, value)
    assert not re.findall(r"url\((?!#)|@import", html)
    policies = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_links_lead_to_sections_only(html):
    page = Page(html)
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert len(links) == 7
    assert all(link.startswith("#") for link in links)


def test_names_add_no_tags(grey_folder, nasty_folder):
    grey, nasty = (
        Page((folder / "report.html").read_text("utf-8")) for folder in (grey_folder, nasty_folder)
    )
    assert {tag for tag, _ in grey.tags} == {tag for tag, _ in nasty.tags}
    text = "".join(nasty.text)
    assert "<script>alert(1)</script>" in text
    assert '"><img onerror=x>' in text
    assert "\x1b" not in text
    assert "$x^2$" in text


def test_what_can_be_seen_can_be_read_out(html):
    page = Page(html)
    for tag, attrs in page.tags:
        if tag == "img":
            assert attrs["alt"]
        if tag == "svg" and attrs.get("aria-hidden") != "true":
            assert attrs["role"] == "img"
            assert attrs["aria-label"]
    assert page.values("lang") == ["en"]


def test_figures_hold_real_text_in_the_page_fonts(html):
    assert "noise floor: retrained again" in html
    assert "DejaVu" not in html
    assert "font-size: 8.5px" in html
    assert html.count('<div class="plot"') == 7


def test_every_colour_of_a_figure_is_one_of_the_page(html):
    figures = re.findall(r'<div class="plot".*?</svg>', html, re.DOTALL)
    assert not [color for svg in figures for color in re.findall(r"(?:fill|stroke): #\w+", svg)]
    assert all("var(--muted)" in svg for svg in figures)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 500, 333), (1, 64, 3)])
def test_pictures_of_any_size_become_small_png(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    picture = Picture(1, pixels, "3", None, 0.5, "most")
    png = picture.png()
    assert png.startswith("data:image/png;base64,")
    assert len(png) < 40_000
    assert not picture.is_mislabelled
