"""What learns: models by their YAML names, each a function of the input's shape and the classes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from rum_ray.errors import ConfigError
from rum_ray.models.classifier import Classifier, Normalize
from rum_ray.models.convnets import resnet18, resnet50, vgg16
from rum_ray.models.small import fast_cnn, mlp, small_cnn
from rum_ray.plugins import find

ModelFunction = Callable[[tuple[int, ...], int], nn.Module]

MODELS: Mapping[str, ModelFunction] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "fast_cnn": fast_cnn,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
}

__all__ = ["MODELS", "Classifier", "build", "embed"]


def build(
    name: str,
    shape: tuple[int, ...],
    num_classes: int,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> nn.Module:
    """Return a fresh model, its weights drawn from torch's current generator.

    Args:
        name: a key of `MODELS`, or `package.module:function`.
        shape: of one input.
        num_classes: number of logits.
        mean: per channel, subtracted inside the model.
        std: per channel, divided by inside the model.
    """
    function: ModelFunction = find(name, MODELS, "model")
    model = function(shape, num_classes)
    if isinstance(model, Classifier) and (any(mean) or any(value != 1 for value in std)):
        model.normalize = Normalize(mean, std)
    return model


def embed(model: nn.Module, x: Tensor, layer: str | None = None) -> Tensor:
    """Return the penultimate features [N, D] of inputs `x`.

    Args:
        model: what embeds; the models of this package know which features are meant.
        x: [N, ...] inputs.
        layer: a submodule, as `named_modules()` calls it, whose output counts instead: its mean
            over all axes after the second, such as pixels.

    Raises:
        ConfigError: there is no such layer, it gives no features, or the model is somebody's own,
            has no method `embed`, and no layer is named.
    """
    if layer is not None:
        return _layer_output(model, x, layer)
    if not hasattr(model, "embed"):
        raise ConfigError(
            f"model {type(model).__qualname__} has no method embed(x) that returns its penultimate "
            "features [N, D]. Name a layer with the key 'embedding', give the model that method, "
            f"or build it as a rum_ray.models.Classifier. Its layers: {_layers(model)}."
        )
    embeddings: Tensor = model.embed(x)  # type: ignore[operator]
    return embeddings


def _layer_output(model: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Return what a submodule gives for inputs `x`, pooled to [N, D]."""
    found = dict(model.named_modules()).get(layer)
    if found is None or not layer:
        raise ConfigError(
            f"embedding: the model has no layer '{layer}'. Its layers: {_layers(model)}."
        )
    outputs: list[Any] = []
    hook = found.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        model(x)
    finally:
        hook.remove()
    output = outputs[-1] if outputs else None
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(x):
        raise ConfigError(
            f"layer '{layer}' does not give a tensor [N, D, ...] for N inputs. "
            f"Name another one: {_layers(model)}."
        )
    return output.flatten(2).mean(dim=2) if output.ndim > 2 else output


def _layers(model: nn.Module) -> str:
    return ", ".join(name for name, _ in model.named_modules() if name)
