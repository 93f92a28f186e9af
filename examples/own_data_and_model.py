"""Bring your own data and model: two functions that an experiment file can name, too.

`data: {name: own_data_and_model:rings}` and `recipe: {model: own_data_and_model:net}` name them in
a YAML file. The folder of this file must then be on PYTHONPATH.
"""

import numpy as np
from torch import nn

import rum_ray as rr


def rings(*, size: int = 600, seed: int = 0) -> rr.DataBundle:
    """Return points in the plane in three rings, split into train, validation and test.

    Args:
        size: training examples.
        seed: root of the draws.
    """

    def draw(count: int, split: str) -> rr.LabeledData:
        random = rr.Seed(seed) / split
        labels = (random / "labels").integers(count, 3)
        angles = 2 * np.pi * (random / "angles").uniform(count)
        radii = 1 + labels + 0.5 * (random / "noise").normal(count)
        points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
        return rr.LabeledData(points, labels, num_classes=3)

    return rr.DataBundle("rings", draw(size, "train"), draw(200, "valid"), draw(400, "test"))


def net(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return a network for inputs of a shape; any module that returns logits [N, K] will do."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(*shape, 256), nn.ReLU(), nn.Linear(256, num_classes)
    )


def main() -> None:
    """Train, forget 30 examples that users asked to delete, and compare with retraining."""
    data = rings()
    recipe = rr.Recipe(model="own_data_and_model:net", epochs=60, lr=0.1, batch_size=32)
    runtime = rr.LocalRuntime(rr.Seed(0))
    original = recipe.fit(data.train, runtime / "run")

    asked = np.arange(100, 130)  # row numbers
    partition = rr.Partition((rr.Subset("asked", asked),))
    plan = rr.Plan.assign(partition, {"asked": rr.FineTune(lr=0.05, epochs=5)})
    unlearned = rr.unlearn(original, plan, data.train, runtime / "plan", recipe)

    retrained = recipe.fit(data.train.without(asked), runtime / "run")
    reference = rr.evaluate(retrained, data, plan)
    metrics = rr.evaluate(unlearned, data, plan).against(reference)
    print(f"accuracy on unseen points: {metrics['test_accuracy']:.2f}")
    print(f"ToW {metrics['tow']:.2f} (1 is the same accuracies as the retrained model)")


if __name__ == "__main__":
    main()
