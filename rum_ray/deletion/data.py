"""The data of a model, the same for every request.

Normalisation, classes and channels are those of the first request.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rum_ray.data import DataBundle, LabeledData, Reading
from rum_ray.data.reading import Part
from rum_ray.deletion.ledger import Ledger
from rum_ray.errors import DataError, first_ten
from rum_ray.experiment import Experiment
from rum_ray.store import CACHE, Store


def load_data(
    experiment: Experiment,
    ledger: Ledger | None,
    store: str | Path | None = None,
    listed: Sequence[str] = (),
) -> DataBundle:
    """Return all data that are there; listed rows of V, and of T if it is a part of D's, are in D.

    Rows of V that were forgotten are in D, too. Files may be gone since the first request. The
    others stay in the part that they were in. Mean and standard deviation of the inputs stay as
    they were, because the model normalises with them. So do the classes, in their order, and the
    channels, because the model has outputs and inputs for them.

    Args:
        experiment: names the data set.
        ledger: the requests so far, if there are any.
        store: folder or URI of artifacts; a folder caches decoded images.
        listed: ids to forget.

    Raises:
        ConfigError: an option is out of range.
        DataError: a file is missing, damaged, or not in the expected format, or a class is new.
    """
    folder = None if store is None else Store(store).folder
    cache = None if folder is None else folder / CACHE
    if ledger is None:
        return experiment.data.load(Reading(trained=listed, cache=cache))
    part = ledger.part_of if ledger.held else None
    classes, channels = ledger.classes, len(ledger.mean)
    bundle = experiment.data.load(Reading(listed, cache, part, classes, channels))
    if classes and class_names(bundle) != classes:
        raise DataError(
            f"data: {experiment.data.name} has the classes {first_ten(class_names(bundle))}, and "
            f"the first request had {first_ten(classes)}. The model has an output for each of "
            "those. Restore them, or train a new model and name another --out."
        )

    pairs = zip(bundle.valid.ids.tolist(), bundle.valid.known_ids.texts(), strict=True)
    gone = [number for number, name in pairs if ledger.hashed(name) in ledger.forgotten]
    bundle = bundle.with_train_ids(gone)

    def same(data: LabeledData) -> LabeledData:
        return dataclasses.replace(data, mean=ledger.mean, std=ledger.std)

    return dataclasses.replace(
        bundle, train=same(bundle.train), valid=same(bundle.valid), test=same(bundle.test)
    )


def new_ledger(original: str, experiment: Experiment, bundle: DataBundle) -> Ledger:
    """Return an empty ledger; rows that are split by a draw stay in their part from now on.

    Args:
        original: digest of the original.
        experiment: names the data set.
        bundle: the data.
    """
    parts: dict[Part, LabeledData] = {"valid": bundle.valid}
    if experiment.data.options.get("test") is None:
        parts["test"] = bundle.test
    named = parts if bundle.train.names is not None else {}
    held = {part: data.known_ids.texts() for part, data in named.items()}
    return Ledger.new(original, bundle.train, held, class_names(bundle))


def class_names(bundle: DataBundle) -> tuple[str, ...]:
    """Return the names of the classes; their numbers where they have none."""
    return bundle.class_names or tuple(map(str, range(bundle.num_classes)))
