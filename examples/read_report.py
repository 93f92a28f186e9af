"""Run a small experiment in this process and read its report with pandas.

`rr.read_report("out/digits")` reads the report of an earlier run in the same way.
"""

import tempfile
from pathlib import Path

import rum_ray as rr

EXPERIMENT = """\
name: tiny
data: {name: digits}
recipe: {model: mlp, epochs: 10, batch_size: 64}
score: {name: confidence}
forget: {size: 60, pick: spread}
plan:
  low: nothing
  medium: {name: finetune, lr: 0.05, epochs: 2}
  high: {name: salun, lr: 0.05, epochs: 2}
compare: [finetune]
seeds: [0, 1, 2]
"""

with tempfile.TemporaryDirectory() as folder:
    file, out, store = (Path(folder) / name for name in ("tiny.yaml", "out", "store"))
    file.write_text(EXPERIMENT)
    rr.run(file, out=out, store=str(store))  # without `out`, no file is written
    report = rr.read_report(out)

rows = report.rows  # one row per method and seed
means = rows.groupby("method")[["tow", "mia_gap", "cost"]].mean()
print(means.sort_values("tow", ascending=False).round(3).to_string())

scores = report.scores  # one row per training example
forgotten = scores.dropna(subset=["subset"])
print(forgotten.groupby("subset")["confidence"].mean().round(3).to_string())
