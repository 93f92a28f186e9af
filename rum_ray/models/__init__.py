"""What learns: models by their YAML names, each a function of the input's shape and the classes."""

from collections.abc import Callable, Mapping, Sequence

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


def embed(model: nn.Module, x: Tensor) -> Tensor:
    """Return the pooled penultimate features [N, D] of inputs `x`.

    Raises:
        ConfigError: the model is somebody's own and has no method `embed`.
    """
    if not hasattr(model, "embed"):
        raise ConfigError(
            f"model {type(model).__qualname__} has no method embed(x) that returns its penultimate "
            "features [N, D]. Give it one, or build it as a rum_ray.models.Classifier."
        )
    embeddings: Tensor = model.embed(x)  # type: ignore[operator]
    return embeddings
