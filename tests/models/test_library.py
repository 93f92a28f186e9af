"""torchvision's classification models: names of weights, normalisation, embeddings."""

import copy
import pickle

import pytest
import torch
from torch import nn

from rum_ray.errors import ConfigError
from rum_ray.models import build, embed, find_model
from rum_ray.models.classifier import Normalize
from rum_ray.models.library import networks_with
from rum_ray.models.vision import vision
from rum_ray.seeding import Seed

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
SMALL = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121")


@pytest.mark.parametrize("name", SMALL)
def test_names_of_weights_are_those_of_torchvision(name):
    theirs = vision.get_model(name, num_classes=5)
    ours = build(f"torchvision:{name}", (3, 32, 32), 5, MEAN, STD)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())


def test_inputs_are_normalised_in_front_of_the_network():
    theirs = vision.resnet18(num_classes=5).eval()
    x = torch.rand(4, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    for ours in (
        build("torchvision:resnet18", (3, 32, 32), 5, MEAN, STD),
        copy.deepcopy(build("torchvision:resnet18", (3, 32, 32), 5, MEAN, STD)),
        pickle.loads(pickle.dumps(build("torchvision:resnet18", (3, 32, 32), 5, MEAN, STD))),
    ):
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours.eval()(x), theirs((x - mean) / std))
    plain = build("torchvision:resnet18", (3, 32, 32), 5).eval()
    plain.load_state_dict(theirs.state_dict())
    assert torch.equal(plain(x), theirs(x))


def test_a_plug_in_is_normalised_only_where_that_is_asked():
    name, x = "reference.training:bare", torch.rand(2, 1, 8, 8)
    models = []
    for every in (False, True):
        with Seed(0).torch():
            models.append(build(name, (1, 8, 8), 3, (0.5,), (0.25,), every=every).eval())
    plain, normal = models
    torch.testing.assert_close(normal(x), plain((x - 0.5) / 0.25))
    assert list(normal.state_dict()) == list(plain.state_dict())
    assert not any(isinstance(module, Normalize) for module in plain.modules())


def test_weights_are_drawn_from_the_current_generator():
    states = []
    for seed in (0, 0, 1):
        with Seed(seed).torch():
            states.append(build("torchvision:shufflenet_v2_x0_5", (3, 32, 32), 3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize(
    ("name", "head"),
    [("resnet18", "fc"), ("densenet121", "classifier"), ("mobilenet_v3_small", "classifier.3")],
)
def test_the_embedding_is_the_input_of_the_head(name, head):
    model = build(f"torchvision:{name}", (3, 64, 64), 5, MEAN, STD).eval()
    x = torch.rand(3, 3, 64, 64)
    embeddings = embed(model, x)
    assert embeddings.ndim == 2
    torch.testing.assert_close(model.get_submodule(head)(embeddings), model(x))
    assert not model.get_submodule(head)._forward_hooks


def test_a_transformer_embeds_too():
    block = vision.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=4).eval()
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(block.heads(embed(block, x)), block(x))


def test_a_linear_layer_that_returns_no_logits_is_no_head():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return 2 * self.fc(x)

    with pytest.raises(ConfigError, match="no linear layer"):
        embed(Scaled(), torch.zeros(2, 4))


def test_an_unknown_name_is_an_error_with_the_closest_one():
    with pytest.raises(ConfigError, match=r"torchvision:resnet19.*resnet18"):
        find_model("torchvision:resnet19")
    with pytest.raises(ConfigError, match="classification"):
        find_model("torchvision:fasterrcnn_resnet50_fpn")


@pytest.mark.parametrize("name", ["resnet50", "vgg16_bn", "vit_b_16"])
def test_a_network_is_recognised_by_its_names(name):
    with torch.device("meta"):
        state = vision.get_model(name, num_classes=7).state_dict()
    ignored = ("num_batches_tracked",)
    found = networks_with({key for key in state if not key.endswith(ignored)}, ignored)
    assert f"torchvision:{name}" in found
    assert networks_with({"features.0.weight", "head.weight"}, ignored) == []
