"""The forecast of the run, compared with its real jobs and times."""

from collections.abc import Sequence

from rum_ray.report.blocks import Section, Table, text_table
from rum_ray.report.gallery import Gallery
from rum_ray.report.text import DASH, format_count, format_duration, format_number
from rum_ray.results.report import Report
from rum_ray.results.schema import StageSummary

READING = (
    "The forecast was made at the first start, before the first job, from a few measured steps. "
    "Jobs and trainings are upper bounds; times are expected ones, on a machine that computes "
    "nothing else. Later starts and other programs add to the real time only."
)


def section(report: Report, _: Gallery) -> Section | None:
    """Return the comparison; None if no stage has a forecast."""
    stages = tuple(stage for stage in report.summary.stages if stage.forecast is not None)
    if not stages:
        return None
    return Section("forecast", "Forecast and actual time", (comparison(stages),))


def comparison(stages: Sequence[StageSummary]) -> Table:
    """Return forecast and actual jobs and times of the stages that have a forecast."""
    columns = ("stage", "jobs, at most", "made", "trainings, at most", "forecast", "time", "ratio")
    cells, ahead, taken = [], 0.0, 0.0
    for stage in stages:
        if stage.forecast is None:
            continue
        ahead, taken = ahead + stage.forecast.seconds, taken + stage.seconds
        cells.append(
            (
                stage.name,
                format_count(stage.forecast.jobs),
                format_count(stage.made),
                format_number(stage.forecast.trainings, 1),
                *_times(stage.forecast.seconds, stage.seconds),
            )
        )
    cells.append(("together", DASH, DASH, DASH, *_times(ahead, taken)))
    title = f"The study took {_times(ahead, taken)[-1]} of its forecast"
    return text_table("Forecast", columns, cells, words=(0,), title=title, caption=READING)


def _times(forecast: float, actual: float) -> tuple[str, str, str]:
    """Return both times and the ratio of the actual one to the forecast."""
    ratio = f"{100 * actual / forecast:.0f} %" if forecast > 0 else DASH
    return format_duration(forecast), format_duration(actual), ratio
