"""Estimate of a command: device-hours, bytes, memory, and wall time by number of devices."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rum_ray.errors import ConfigError
from rum_ray.study.calibration import Calibration, calibrate
from rum_ray.study.forecast import Forecast, counted, counts, summed, timed
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
        devices: by number of devices; one line has those of the experiment's workers.
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


def estimate(
    study: Study,
    command: str = "run",
    price: float | None = None,
    measure: Callable[[Study], Calibration] = calibrate,
) -> Estimate:
    """Return the estimate of a command; it takes about 10 s and writes nothing.

    Args:
        study: the experiment and its data.
        command: a key of `COMMANDS`.
        price: of a device and hour.
        measure: returns the speed of this machine.

    Raises:
        ConfigError: the price is negative.
    """
    if price is not None and not 0 <= price < math.inf:
        raise ConfigError(f"--price must be a number of at least 0, got {price:g}.")
    rates, cluster = measure(study), study.experiment.cluster
    lines = timed(study, counted(study, command), rates)
    workers, share = cluster.workers, cluster.gpus_per_worker or 1.0
    devices = sorted({*DEVICES, math.ceil(round(workers * share, 6))})
    hours = share * sum(sum(line.work.seconds) for line in lines) / 3600
    return Estimate(
        command=command,
        forecast=[counts(line, workers) for line in lines],
        trainings=sum(line.trainings for line in lines),
        device_hours=hours,
        store_bytes=store_bytes(study, lines, rates),
        object_store_bytes=object_store_bytes(study.context.bundle),
        worker_bytes=worker_bytes(study, rates),
        measured_on=rates.device,
        devices=[_on_devices(lines, count, share, hours, price) for count in devices],
    )


def together(estimates: Sequence[Estimate]) -> Estimate:
    """Return the estimate of studies that run one after another, at least one."""
    first, *others = estimates
    if not others:
        return first
    return replace(
        first,
        forecast=summed([each.forecast for each in estimates]),
        trainings=sum(each.trainings for each in estimates),
        device_hours=sum(each.device_hours for each in estimates),
        store_bytes=sum(each.store_bytes for each in estimates),
        object_store_bytes=max(each.object_store_bytes for each in estimates),
        worker_bytes=max(each.worker_bytes for each in estimates),
        devices=[_sum(same) for same in zip(*(each.devices for each in estimates), strict=True)],
    )


def _sum(parts: Sequence[OnDevices]) -> OnDevices:
    """Return the time and the price of several studies on the same devices."""
    paid = sum(part.device_hours for part in parts)
    prices = [part.price for part in parts if part.price is not None]
    return replace(
        parts[0],
        seconds=sum(part.seconds for part in parts),
        device_hours=paid,
        busy=sum(part.busy * part.device_hours for part in parts) / paid if paid else 0.0,
        price=sum(prices) if prices else None,
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
