"""What predicting every example once costs, beside training a leave-k-out model.

An epoch and a prediction are timed; the share is that of 30 epochs on 70 % of the examples.
"""

import contextlib
from statistics import median

from _cifar import SOURCE, images
from _harness import Row, Side, interleave, process, save
from _training import epochs

from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.prediction import predict

EPOCHS, FRACTION = 30, 0.7
# Model: (batch size, examples a repetition).
SIZES = {"fast_cnn": (256, 512), "resnet18": (128, 128)}
PRECISIONS = ("float32", "bfloat16")


def training(model: str, precision: str) -> Side:
    """Return a side that trains an epoch."""
    batch, count = SIZES[model]
    recipe = Recipe(model, lr=0.01, batch_size=batch, augment=True, precision=precision)  # type: ignore[arg-type]
    return epochs(recipe, images(count))


def prediction(model: str) -> Side:
    """Return a side that predicts, as after every training, in float32."""
    runtime = LocalRuntime(Seed(0), threads=1)
    data = images(500)
    network = Recipe(model).build(data, runtime.seed)
    return lambda: len(predict(network, data))


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    rows, rates = [], {}
    for model in SIZES:
        predicting = f"{model}, prediction"
        with contextlib.ExitStack() as stack:
            start = stack.enter_context
            sides = {
                f"{model}, training {kind}": start(
                    process(training, model, kind, environment=WORKER_SETTINGS)
                )
                for kind in PRECISIONS
            }
            sides[predicting] = start(process(prediction, model, environment=WORKER_SETTINGS))
            rates |= interleave(sides, 3, "examples")
        for kind in PRECISIONS:
            trained = EPOCHS * FRACTION / median(rates[f"{model}, training {kind}"])
            predicted = 1 / median(rates[predicting])
            share = 100 * predicted / (trained + predicted)
            what = f"prediction of all examples, {model}, trained in {kind}"
            rows.append(Row(what, "<= 3 %", f"{EPOCHS} epochs on 70 % + prediction", share))
    save("prediction", rows, rates, "examples", data=SOURCE, threads=1, sizes=SIZES)


if __name__ == "__main__":
    main()
