"""What it costs to search on a surrogate: the oracle's plan against the surrogate's, over splits.

Each split is another draw of training, validation and test data, with its own scores, forget set,
models and searches. Regret is J(oracle's plan) - J(surrogate's plan) on reported seeds and test,
with the attack of the search. Runs that were killed go on; finished ones are read.

    .venv/bin/python experiments/regret.py [--store STORE]
"""

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from rum_ray.evaluation.statistics import Mean
from rum_ray.results.environment import machine

FILE = Path(__file__).parent / "digits_search.yaml"
RESULT = Path(__file__).parent / "results" / "regret.json"
SPLITS = range(5)
CHANGES = (
    "search.spaces=[V4]",
    "search.also=[surrogate]",
    "search.trials=",
    "search.budget=22",
    "score.models=64",
    "evaluate.attack=auc",
    "seeds=[0, 1, 2, 3, 4]",
)


def report(split: int, store: str) -> dict[str, Any]:
    """Run a split, and return its report.json."""
    out = Path("out") / f"regret-{split}"
    changes = (*CHANGES, f"data.seed={split}", f"score.seed={split}", f"search.seed={split}")
    flags = [part for change in changes for part in ("--set", change)]
    command = [sys.executable, "-m", "rum_ray", "run", str(FILE), *flags]
    subprocess.run([*command, "--out", str(out), "--store", store], check=True)
    found: dict[str, Any] = json.loads((out / "report.json").read_text("utf-8"))
    return found


def main() -> None:
    """Run all splits, print each regret, and keep what they say."""
    parser = argparse.ArgumentParser(description="Regret of a surrogate over splits of the digits.")
    parser.add_argument("--store", default="store", help="folder of artifacts")
    store = parser.parse_args().store
    splits = []
    for split in SPLITS:
        known = {each["reference"]: each for each in report(split, store)["references"]}
        regret = known["surrogate"]["regret"]
        splits.append(
            {
                "split": split,
                "oracle": known["oracle"]["objective"]["mean"],
                "surrogate": known["surrogate"]["objective"]["mean"],
                "regret": {key: regret[key] for key in ("mean", "low", "high")},
            }
        )
        print(f"split {split}: regret {regret['mean']:.3f}", flush=True)
    over = Mean.of([split["regret"]["mean"] for split in splits])
    result = {
        "experiment": "regret",
        "date": date.today().isoformat(),
        "goal": "<= 0.03",
        "regret": {"mean": over.mean, "ci95": over.ci95},
        "splits": splits,
        "changes": CHANGES,
        "environment": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"regret over {len(splits)} splits: {over.mean:.3f} ± {over.ci95:.3f}")


if __name__ == "__main__":
    main()
