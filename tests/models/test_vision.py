"""The import of torchvision, where its compiled operators do not fit PyTorch."""

import builtins
import importlib

import pytest
import torch

from rum_ray.models import vision

MISSING = "operator torchvision::nms does not exist"


@pytest.fixture
def failing(monkeypatch):
    """Let the next imports of torchvision's models fail with these messages."""
    messages, original = [], builtins.__import__

    def limping(name, *arguments, **others):
        if name == "torchvision.models" and messages:
            raise RuntimeError(messages.pop(0))
        return original(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", limping)
    return messages


def test_missing_operators_are_declared(failing, monkeypatch):
    defined = []
    monkeypatch.setattr(torch.library, "define", lambda name, schema: defined.append(name))
    failing.append(MISSING)
    assert importlib.reload(vision).vision.resnet18
    assert defined == ["torchvision::nms", "torchvision::qnms"]


def test_other_errors_are_not_swallowed(failing):
    failing.append("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        importlib.reload(vision)
