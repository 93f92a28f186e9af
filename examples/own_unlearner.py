"""Write your own unlearner: a frozen dataclass that yields losses.

`{name: own_unlearner:Flatten, strength: 2.0}` names it in an experiment file, in `plan`, `compare`
and `search.unlearners`. The folder of this file must then be on PYTHONPATH.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

import rum_ray as rr


@dataclass(frozen=True, kw_only=True)
class Flatten(rr.FineTune):
    """Push the predictions on the forget set towards uniform, then fine-tune on the retain set.

    Attributes:
        strength: weight of the term on the forget set.
    """

    name: ClassVar[str] = "flatten"
    title: ClassVar[str] = "Flatten"

    strength: float = 1.0

    def losses(
        self, model: nn.Module, teacher: nn.Module, data: Any, epoch: int
    ) -> Iterator[Tensor]:
        """Yield the losses of one epoch; the shared loop takes one SGD step per loss."""
        for x, _ in data.forget:
            yield -self.strength * F.log_softmax(model(x), dim=1).mean()
        yield from super().losses(model, teacher, data, epoch)

    def cost(self, forget: int, retain: int) -> float:
        """Return the examples passed forward and backward."""
        return float(self.epochs * (forget + retain))


def main() -> None:
    """Compare it with fine-tuning on the hardest 120 digits."""
    data = rr.load("digits")
    recipe = rr.Recipe(model="mlp", epochs=40, batch_size=64)
    runtime = rr.LocalRuntime(rr.Seed(0))
    original = recipe.fit(data.train, runtime / "run")
    scores = rr.PROXIES["confidence"]()(data, recipe, runtime / "proxy")
    forget = rr.forget_set(scores, size=120, pick="high")
    partition = rr.Partition((rr.Subset("high", forget),))
    retrained = recipe.fit(data.train.without(forget), runtime / "run")
    reference = rr.evaluate(retrained, data, partition)
    for unlearner in (rr.FineTune(lr=0.05, epochs=5), Flatten(lr=0.05, epochs=5)):
        plan = rr.Plan.assign(partition, {"high": unlearner})
        unlearned = rr.unlearn(original, plan, data.train, runtime / "plan", recipe)
        metrics = rr.evaluate(unlearned, data, plan).against(reference)
        print(f"{unlearner.name:9} ToW {metrics['tow']:.2f}, AUC gap {metrics['auc_gap']:.3f}")


if __name__ == "__main__":
    main()
