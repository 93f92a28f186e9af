"""Models by their YAML names; each is a function of the input shape and the number of classes.

Example:
    >>> from rum_ray.models import MODELS
    >>> sorted(MODELS)
    ['fast_cnn', 'mlp', 'patch_cnn', 'resnet18', 'resnet50', 'resnet9', 'small_cnn',
     'swin_t', 'vgg16', 'vit_tiny']
    >>> model = MODELS["mlp"]((1, 8, 8), 10)
    >>> sum(parameter.numel() for parameter in model.parameters())
    85002
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from rum_ray.errors import ConfigError
from rum_ray.models.classifier import Classifier, Normalize, normalize_inputs
from rum_ray.models.convnets import resnet18, resnet50, vgg16
from rum_ray.models.library import PREFIX, function_of
from rum_ray.models.resnet9 import resnet9
from rum_ray.models.small import fast_cnn, mlp, patch_cnn, small_cnn
from rum_ray.models.transformers import swin_t, vit_tiny
from rum_ray.plugins import annotated, blamed, find

ModelFunction = Callable[[tuple[int, ...], int], nn.Module]

MODELS: Mapping[str, ModelFunction] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "patch_cnn": patch_cnn,
    "fast_cnn": fast_cnn,
    "resnet9": resnet9,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
    "vit_tiny": vit_tiny,
    "swin_t": swin_t,
}
"""Functions from (input shape, number of classes) to a model, by the name in experiment files."""

__all__ = ["MODELS", "Classifier", "build", "embed", "find_model"]


def find_model(name: str) -> ModelFunction:
    """Return the function of a model.

    Args:
        name: a key of `MODELS`, `torchvision:` and the name of a classification model of
            torchvision, or `package.module:function`.

    Raises:
        ConfigError: the name is unknown, or the plug-in cannot be imported.
    """
    if name.startswith(PREFIX):
        own: ModelFunction = function_of(name)
        return own
    function: ModelFunction = find(name, MODELS, "model", annotated(nn.Module))
    return function


def build(
    name: str,
    shape: tuple[int, ...],
    num_classes: int,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    *,
    every: bool = False,
) -> nn.Module:
    """Return a new model with weights drawn from torch's current generator.

    Args:
        name: as for `find_model`.
        shape: shape of one input.
        num_classes: number of logits.
        mean: mean per channel; the model subtracts it.
        std: standard deviation per channel; the model divides by it.
        every: True normalises the inputs of every model; False those of models of this package
            and of torchvision, because a plug-in may have a normalisation of its own.

    Raises:
        ConfigError: the name is unknown, or the plug-in cannot be imported.
    """
    function = find_model(name)
    with blamed("" if name.startswith(PREFIX) else name, "model", ConfigError):
        model = function(shape, num_classes)
    if not isinstance(model, nn.Module):
        got = type(model).__name__
        raise ConfigError(f"model '{name}' must return a torch.nn.Module; it returned {got}.")
    if not any(mean) and all(value == 1 for value in std):
        return model
    if isinstance(model, Classifier):
        model.normalize = Normalize(mean, std)
    elif every or name.startswith(PREFIX):
        normalize_inputs(model, Normalize(mean, std))
    return model


def embed(model: nn.Module, x: Tensor, layer: str | None = None) -> Tensor:
    """Return the embeddings [N, D] of inputs `x`: the penultimate features by default.

    Without a layer, they are the result of the model's method `embed`, as the models of this
    package have it, or the input of the linear layer that returns the logits.

    Args:
        model: the model.
        x: [N, ...] inputs.
        layer: name of a submodule in `named_modules()`. Its output, averaged over all axes after
            the second (such as pixels), is then the embedding.

    Raises:
        ConfigError: the layer does not exist or does not return features; or no layer is named,
            and the model has no method `embed` and no linear head.
    """
    if layer is not None:
        return _layer_output(model, x, layer)
    own: Any = getattr(model, "embed", None)
    features: Tensor | None = _head_input(model, x) if own is None else own(x)
    if features is None:
        raise ConfigError(
            f"model {type(model).__qualname__} has no method embed(x) that returns features "
            "[N, D], and no linear layer returns its logits. Set the key 'embedding' to the name "
            "of a layer, add the method, or build the model as a rum_ray.models.Classifier. Its "
            f"layers: {_layers(model)}."
        )
    return features


def _head_input(model: nn.Module, x: Tensor) -> Tensor | None:
    """Return the input of the last linear layer, if its output is that of the model."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        return None
    calls: list[tuple[Tensor, Tensor]] = []
    hook = linear[-1].register_forward_hook(lambda module, args, out: calls.append((args[0], out)))
    try:
        logits = model(x)
    finally:
        hook.remove()
    features, output = calls[-1] if calls else (None, None)
    return features if output is logits and features is not None and features.ndim == 2 else None


def _layer_output(model: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Return the output of a submodule for inputs `x`, pooled to [N, D]."""
    submodule = dict(model.named_modules()).get(layer)
    if submodule is None or not layer:
        raise ConfigError(
            f"embedding: the model has no layer '{layer}'. Its layers: {_layers(model)}."
        )
    outputs: list[Any] = []
    hook = submodule.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        model(x)
    finally:
        hook.remove()
    output = outputs[-1] if outputs else None
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(x):
        raise ConfigError(
            f"embedding: layer '{layer}' does not return a tensor [N, D, ...] for N inputs. "
            f"Name another layer: {_layers(model)}."
        )
    return output.flatten(2).mean(dim=2) if output.ndim > 2 else output


def _layers(model: nn.Module) -> str:
    return ", ".join(name for name, _ in model.named_modules() if name)
