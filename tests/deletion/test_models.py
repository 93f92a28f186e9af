import pytest
import torch

from rum_ray.data import LabeledData
from rum_ray.deletion.models import state_digest
from rum_ray.jobs import format_weights
from rum_ray.jobs.pretrained import read_weights
from rum_ray.jobs.train import weights
from rum_ray.seeding import Seed
from rum_ray.store import Artifact
from rum_ray.training import Recipe


@pytest.mark.parametrize("name", ["mlp", "small_cnn", "resnet18"])
def test_a_published_model_is_read_as_it_was_written(name, tmp_path):
    # Weights of convolutions are not in the order of their axes in memory.
    data = LabeledData(torch.zeros(6, 3, 8, 8), torch.arange(6) % 3)
    recipe = Recipe(name)
    model = recipe.build(data, Seed(3))
    path = tmp_path / "model.safetensors"
    path.write_bytes(format_weights(Artifact(weights(model))))
    again = read_weights(str(path), recipe, data)
    assert state_digest(again) == state_digest(model)
    assert all(torch.equal(value, again.state_dict()[k]) for k, value in model.state_dict().items())
