"""Checks of the place where the jobs of a command run; nothing is written before."""

import contextlib
import sys

import torch

from rum_ray import api
from rum_ray.errors import StalledError
from rum_ray.experiment import Experiment


def check_place(experiment: Experiment, address: str, insecure: bool) -> None:
    """Raise an error if the jobs of an experiment cannot run at an address, or it is not safe.

    A cluster that does not answer is no error yet: with all results in the store, none is joined.

    Args:
        experiment: has the GPUs and threads per worker, and the folders of modules.
        address: as the flag.
        insecure: True allows a Ray that asks for no token.

    Raises:
        ConfigError: the workers need GPUs, threads or modules that do not exist.
        UnsafeError: Ray asks for no token.
    """
    api.check_machine(experiment, address)
    if address == "none":
        return
    from rum_ray.cluster import access

    with contextlib.suppress(StalledError):
        if address == "auto":
            # Ray alone knows the cluster of this machine, and takes seconds to import.
            from rum_ray.cluster.connect import announced

            address = announced()
        access.check_open(address, insecure)


def check_forecast(experiment: Experiment, address: str) -> None:
    """Raise ConfigError if an experiment cannot be forecast here; tell if that is by the CPU."""
    api.check_machine(experiment, address, needs_gpus=False)
    if experiment.cluster.gpus_per_worker and not torch.cuda.is_available():
        print(
            f"cluster.gpus_per_worker is {experiment.cluster.gpus_per_worker:g}, and PyTorch sees "
            "no GPU on this machine: the times are those of its CPU.",
            file=sys.stderr,
        )
