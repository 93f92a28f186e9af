"""The way of a report through the package, by tests/reference/hops.py."""

import runpy
from pathlib import Path

HOPS = Path(__file__).resolve().parents[1] / "reference" / "hops.py"


def test_a_summary_passes_through_few_modules_and_climbs_no_layer(tmp_path):
    found = runpy.run_path(str(HOPS))["traces"](tmp_path)
    assert not found["load_outcome"].climbs
    assert not found["summarize"].climbs
    assert len(found["summarize"].modules) <= 21, sorted(found["summarize"].modules)


def test_only_the_loader_knows_studies_jobs_and_the_store():
    """The other modules of `results` are functions of plain values."""
    folder = HOPS.parents[2] / "rum_ray" / "results"
    for path in folder.glob("*.py"):
        text = path.read_text("utf-8")
        known = [name for name in ("study", "store", "jobs") if f"from rum_ray.{name}" in text]
        allowed = {"load": ["study", "jobs"], "outcome": ["jobs"], "scores": ["jobs"]}
        assert known == allowed.get(path.stem, []), path
