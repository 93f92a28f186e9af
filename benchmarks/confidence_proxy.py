"""What recording the learning events of every example costs a training."""

import contextlib

from _cifar import SOURCE, images
from _harness import Side, compared, interleave, process, save
from _training import epochs

from rum_ray.data import load
from rum_ray.scores.learning_events import LearningEvents
from rum_ray.training import Recipe

# Model: (batch size, epochs a repetition); fast_cnn on 512 images, mlp on the digits.
SIZES = {"fast_cnn": (256, 1), "mlp": (64, 60)}


def training(model: str, observed: bool) -> Side:
    """Return a side that trains some epochs, with learning events or without."""
    batch, count = SIZES[model]
    data = load("digits").train if model == "mlp" else images(512)
    recipe = Recipe(model, lr=0.01, batch_size=batch, augment=model != "mlp")
    return epochs(recipe, data, count, LearningEvents(len(data)) if observed else None)


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    rows, rates = [], {}
    for model in SIZES:
        bare, seen = f"{model}, without", f"{model}, with events"
        with contextlib.ExitStack() as stack:
            sides = {
                name: stack.enter_context(
                    process(training, model, name == seen, environment=WORKER_SETTINGS)
                )
                for name in (bare, seen)
            }
            rates |= interleave(sides, 7, "examples")
        what = f"learning events, {model}"
        rows.append(compared(what, "<= 1.02 x", rates, bare, seen, "training without them"))
    save("confidence_proxy", rows, rates, "examples", data=SOURCE, threads=1, sizes=SIZES)


if __name__ == "__main__":
    main()
