"""What a browser makes of the report: nothing to complain of, everything in its place."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from .conftest import Browse

# Runs in a copy of the page without its policy: the report itself holds no script.
LOOK = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const found = {
    images: images.length,
    broken: images.filter(i => !i.complete || !i.naturalWidth).length,
    blurred: images.filter(i => getComputedStyle(i).imageRendering != "pixelated").length,
    beyond: document.documentElement.scrollWidth - innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    figures: 0, overlaps: [], cut: [],
  };
  for (const svg of document.querySelectorAll(".plot svg")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    if (svg.classList.contains(found.dark ? "dark" : "light")) found.figures++;
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
    """Return what can be measured in the page as it is laid out."""
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
def test_all_is_in_its_place(name, width, browse, tmp_path, request):
    page = request.getfixturevalue(name) / "report.html"
    found = look(page, browse, tmp_path, width=width)
    assert found["figures"] == (8 if name == "busy" else 7)
    assert found["images"] == 40
    assert found["broken"] == found["blurred"] == 0
    assert found["beyond"] <= 0, "the page is wider than the window"
    assert not found["overlaps"]
    assert not found["cut"]


def test_a_dark_reader_gets_dark_figures(grey, browse, tmp_path):
    dark = "--blink-settings=preferredColorScheme=0"
    found = look(grey / "report.html", browse, tmp_path, dark)
    assert found["dark"]
    assert found["figures"] == 7
    assert not found["overlaps"]


@pytest.mark.parametrize("name", ["grey", "nasty"])
def test_the_console_stays_silent(name, browse, tmp_path, request):
    page = request.getfixturevalue(name) / "report.html"
    shot = tmp_path / "shot.png"
    done = browse(page, f"--screenshot={shot}")
    assert "CONSOLE" not in done.stderr, done.stderr
    with Image.open(shot) as picture:
        assert picture.width == 1280
        colors = picture.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert len(colors) > 50, "the page is blank"
    dom = browse(page, "--dump-dom").stdout
    assert "How it was made" in dom
    assert "<script" not in dom
