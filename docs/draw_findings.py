"""Draw the picture of docs/findings.md: `python docs/draw_findings.py`.

Each point is a method of the claims preset, as mean over five repeats: ToW - AUC gap, and agreement
with retrained models by example.
"""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rum_ray.report.text import objective_title

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "findings.svg"
J_AUC = objective_title("auc")
NAMES = {
    ("cap 0.5", "retrained_again"): "retrained again",
    ("cap 0.5", "original"): "doing nothing",
    ("cap 0.5", "rum"): f"RUM, by {J_AUC}",
    ("cap 0.5, for agreement", "rum"): "RUM, by agreement",
}
MARKS = {"cap 0.2": "s", "cap 0.5": "o", "cap 0.5, for agreement": "^"}


def draw(axes: Axes) -> None:
    """Draw one point per method and setting, and name the main ones."""
    findings = runpy.run_path(str(DOCS / "make_findings.py"))
    for title, name in findings["CAPS"].items():
        rows = [r for r in findings["summary"](name).rows if r.method != "retrained"]
        x, y = (
            [r.metrics[metric].mean for r in rows] for metric in ("objective_auc", "tow_examples")
        )
        colours = ["#b5402a" if r.method == "rum" else "#4a5a68" for r in rows]
        axes.scatter(x, y, c=colours, marker=MARKS[title], label=title, s=26, linewidths=0)
        for row, *place in zip(rows, x, y, strict=True):
            if (title, row.method) in NAMES:
                text, above, look = NAMES[title, row.method], (0, 6), {"ha": "center", "size": 8}
                axes.annotate(text, place, above, textcoords="offset points", **look)  # type: ignore[arg-type]
    axes.set(xlabel=J_AUC, ylabel="example-level ToW", xlim=(0, 1.1), ylim=(0, 0.7))
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def main() -> None:
    """Write the picture; equal numbers give equal bytes."""
    plt.rcParams |= {"svg.hashsalt": "findings", "svg.fonttype": "none"}
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    draw(axes)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
