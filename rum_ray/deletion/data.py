"""The data of a model, the same for every request: its normalisation is that of the first one."""

import dataclasses

from rum_ray.data.bundle import DataBundle, LabeledData
from rum_ray.deletion.ledger import Ledger
from rum_ray.experiment import Experiment


def load_data(experiment: Experiment, ledger: Ledger | None) -> DataBundle:
    """Return all data that are there.

    Files may be gone since the first request. Mean and standard deviation of the inputs stay as
    they were, because the model normalises with them.

    Args:
        experiment: names the data set.
        ledger: the requests so far, if there are any.

    Raises:
        ConfigError: an option is out of range.
        DataError: a file is missing, damaged, or not in the expected format.
    """
    bundle = experiment.data.load()
    if ledger is None:
        return bundle

    def same(data: LabeledData) -> LabeledData:
        return dataclasses.replace(data, mean=ledger.mean, std=ledger.std)

    return dataclasses.replace(
        bundle, train=same(bundle.train), valid=same(bundle.valid), test=same(bundle.test)
    )
