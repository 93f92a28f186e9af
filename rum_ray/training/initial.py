"""Initial weights from a file: the weights that an original was fine-tuned from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from rum_ray.errors import DataError

KEY = "recipe.init"


@dataclass(frozen=True)
class InitialWeights:
    """A file of weights; its content, and not its name, is part of keys.

    Attributes:
        path: the file.
        sha256: SHA-256 of its content.
    """

    path: str = field(compare=False)
    sha256: str

    @classmethod
    def of(cls, path: str) -> "InitialWeights":
        """Return the initial weights in a file.

        Raises:
            DataError: the file cannot be read.
        """
        # A training without such a file needs no safetensors.
        from rum_ray.models.checkpoint import file_digest

        return cls(path, file_digest(path, KEY))


def read_initial(initial: InitialWeights) -> Mapping[str, Tensor]:
    """Return the weights by their names in the file.

    Raises:
        DataError: the file cannot be read, or its content has changed.
    """
    from rum_ray.models.checkpoint import file_digest, read

    if file_digest(initial.path, KEY) != initial.sha256:
        raise DataError(f"{KEY}: the content of {initial.path} has changed. Start again.")
    return read(initial.path, KEY).state


def load_initial(model: nn.Module, state: Mapping[str, Tensor], classes: int) -> None:
    """Let a model start from weights, by any names; a head for other classes keeps its own.

    Raises:
        DataError: the weights are those of another network.
    """
    from rum_ray.models.checkpoint import Checkpoint

    given = Checkpoint("the file", state, key=KEY)
    fitted = given.fit(model.state_dict(), f"the model with {classes} classes", head=classes)
    model.load_state_dict(fitted, strict=False)
