"""The experiment that runs on several hosts, and its results on one."""

from pathlib import Path

import pytest
from netns import Hosts, missing

import rum_ray as rr

FILE = """\
name: hosts
data: {name: digits, label_noise: 0.1, seed: 0}
recipe: {model: mlp, epochs: 40, lr: 0.1, batch_size: 64, schedule: cosine}
score: {name: memorization, models: 28, fraction: 0.7, seed: 0}
forget: {size: 60, pick: spread}
refine: {name: by_score, into: [low, medium, high]}
plan:
  low: nothing
  medium: {name: finetune, lr: 0.1, epochs: 1}
  high: {name: finetune, lr: 0.1, epochs: 1}
compare: [finetune]
search: {trials: 6, spaces: [V4], unlearners: [nothing, finetune], max_cost: 0.9, batch: 2}
seeds: [0, 1]
cluster: {workers: 4}
"""


@pytest.fixture(scope="session")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("file") / "hosts.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="session")
def alone(tmp_path_factory, file) -> dict[str, bytes]:
    """The artifacts of the same experiment in this process, without Ray."""
    folder = tmp_path_factory.mktemp("alone")
    rr.run(file, out=folder / "out", store=folder / "store")
    store = folder / "store"
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*.safetensors")}


@pytest.fixture
def hosts():
    """A switch without hosts, in a folder whose path is short enough for Ray's sockets."""
    import tempfile

    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="rh", ignore_cleanup_errors=True) as folder,
        Hosts(Path(folder) / "h") as hosts,
    ):
        yield hosts
