"""The report in a browser: a silent console, and no text cut off or overlapping."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from rum_ray.report.figures.style import DARK, LIGHT

from .conftest import Browse

# Runs in a copy of the page without its policy: the report itself has no script.
LOOK = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const found = {
    images: images.length,
    broken: images.filter(i => !i.complete || !i.naturalWidth).length,
    blurred: images.filter(i => getComputedStyle(i).imageRendering != "pixelated").length,
    beyond: document.documentElement.scrollWidth - innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    figures: 0, overlaps: [], cut: [], colors: [],
  };
  for (const svg of document.querySelectorAll(".plot svg")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    found.figures++;
    found.colors.push(getComputedStyle(svg.querySelector("text")).fill);
    const texts = [...svg.querySelectorAll("text")];
    const boxes = texts.map(t => t.getBoundingClientRect());
    boxes.forEach((a, i) => {
      const name = texts[i].textContent;
      if (a.left < frame.left - 1 || a.right > frame.right + 1 ||
          a.top < frame.top - 2 || a.bottom > frame.bottom + 2) found.cut.push(name);
      boxes.slice(i + 1).forEach((b, j) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 2 && high > 4) found.overlaps.push([name, texts[i + 1 + j].textContent]);
      });
    });
  }
  document.body.replaceChildren(Object.assign(document.createElement("pre"),
    {id: "found", textContent: JSON.stringify(found)}));
});</script>"""


def look(page: Path, browse: Browse, tmp_path: Path, *flags: str, width: int = 1280) -> dict:
    """Return measurements of the page's layout."""
    html = page.read_text("utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', html)
    assert policy
    copy = tmp_path / "copy.html"
    copy.write_text(html.replace(policy[0], LOOK), "utf-8")
    dom = browse(copy, "--dump-dom", *flags, width=width).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-500:]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.parametrize(
    ("name", "width"), [("grey", 1280), ("busy", 1280), ("nasty", 1280), ("nasty", 500)]
)
def test_nothing_is_cut_or_overlaps(name, width, browse, tmp_path, request):
    page = request.getfixturevalue(f"{name}_folder") / "report.html"
    found = look(page, browse, tmp_path, width=width)
    assert found["figures"] == (8 if name == "busy" else 7)
    assert found["images"] == 40
    assert found["broken"] == found["blurred"] == 0
    assert found["beyond"] <= 0, "the page is wider than the window"
    assert not found["overlaps"]
    assert not found["cut"]


def test_figures_take_the_colours_of_the_reader_s_theme(grey_folder, browse, tmp_path):
    page, dark = grey_folder / "report.html", "--blink-settings=preferredColorScheme=0"
    for theme, flags in ((LIGHT, ()), (DARK, (dark,))):
        found = look(page, browse, tmp_path, *flags)
        assert found["dark"] == bool(flags)
        texts = {rgb(color) for color in (theme.ink, theme.muted, theme.accent)}
        assert set(found["colors"]) <= texts


def rgb(color: str) -> str:
    """A colour as a browser writes it."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"


@pytest.mark.parametrize("name", ["grey", "nasty"])
def test_the_console_stays_silent(name, browse, tmp_path, request):
    page = request.getfixturevalue(f"{name}_folder") / "report.html"
    shot = tmp_path / "shot.png"
    done = browse(page, f"--screenshot={shot}")
    assert "CONSOLE" not in done.stderr, done.stderr
    with Image.open(shot) as picture:
        assert picture.width == 1280
        colors = picture.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert len(colors) > 50, "the page is blank"
    dom = browse(page, "--dump-dom").stdout
    assert 'id="making"' in dom
    assert "<script" not in dom
