"""Estimate of a command: device-hours, bytes, memory, and wall time by number of devices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rum_ray.errors import ConfigError
from rum_ray.study.calibration import calibrate
from rum_ray.study.forecast import Forecast, counted, counts, timed
from rum_ray.study.resources import object_store_bytes, store_bytes, worker_bytes
from rum_ray.study.study import Study

DEVICES = (1, 8, 64, 512)


@dataclass(frozen=True)
class OnDevices:
    """A command on a number of devices: GPUs if workers use them, else one CPU share per worker.

    Attributes:
        devices: number of devices, all of the measured kind.
        workers: number of workers; several share a GPU if `cluster.gpus_per_worker` is below 1.
        seconds: wall time, with the start of the workers.
        device_hours: the devices times the wall time.
        busy: share of `device_hours` in which the devices compute, in [0, 1].
        price: of `device_hours`; None without a price.
    """

    devices: int
    workers: int
    seconds: float
    device_hours: float
    busy: float
    price: float | None


@dataclass(frozen=True)
class Estimate:
    """The estimate of a command.

    Attributes:
        command: a key of `COMMANDS`.
        forecast: the forecast of each stage, with the time on the experiment's workers.
        trainings: cost at most, in trainings of the original.
        device_hours: time of all jobs on one device, in hours.
        store_bytes: results of the missing jobs.
        object_store_bytes: data in Ray's object store, per machine.
        worker_bytes: memory of a worker on the CPU, at most.
        measured_on: kind of the device that was measured, "cpu" or "cuda".
        devices: by number of devices.
    """

    command: str
    forecast: Sequence[Mapping[str, Any]]
    trainings: float
    device_hours: float
    store_bytes: int
    object_store_bytes: int
    worker_bytes: int
    measured_on: str
    devices: Sequence[OnDevices]


def estimate(study: Study, command: str = "run", price: float | None = None) -> Estimate:
    """Return the estimate of a command; it takes about 10 s and writes nothing.

    Args:
        study: the experiment and its data.
        command: a key of `COMMANDS`.
        price: of a device and hour.

    Raises:
        ConfigError: the price is negative.
    """
    if price is not None and not 0 <= price < math.inf:
        raise ConfigError(f"--price must be a number of at least 0, got {price:g}.")
    rates = calibrate(study)
    lines = timed(study, counted(study, command), rates)
    share = study.experiment.cluster.gpus_per_worker or 1.0
    hours = share * sum(sum(line.work.seconds) for line in lines) / 3600
    return Estimate(
        command=command,
        forecast=[counts(line, study.experiment.cluster.workers) for line in lines],
        trainings=sum(line.trainings for line in lines),
        device_hours=hours,
        store_bytes=store_bytes(study, lines, rates),
        object_store_bytes=object_store_bytes(study.context.bundle),
        worker_bytes=worker_bytes(study, rates),
        measured_on=rates.device,
        devices=[_on_devices(lines, count, share, hours, price) for count in DEVICES],
    )


def _on_devices(
    lines: Sequence[Forecast], devices: int, share: float, hours: float, price: float | None
) -> OnDevices:
    """Return the time and the price on some devices, of which a worker takes a share."""
    workers = max(1, int(devices / share))
    seconds = sum(line.work.wall(workers) for line in lines)
    paid = devices * seconds / 3600
    cost = None if price is None else price * paid
    return OnDevices(devices, workers, seconds, paid, min(1.0, hours / paid) if paid else 0.0, cost)
