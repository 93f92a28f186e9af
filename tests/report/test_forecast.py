"""The section that compares the forecast with the real times."""

from dataclasses import replace

from rum_ray.report.gallery import Gallery
from rum_ray.report.render import html, markdown
from rum_ray.report.sections import forecast, sections
from rum_ray.results.schema import StageForecast, Summary

from .shapes import changed, demo


def test_a_study_without_forecasts_has_no_such_section():
    assert forecast.section(demo(), Gallery()) is None
    assert "forecast" not in demo().summary.to_json()["stages"][0]


def test_forecast_and_actual_time_by_stage_and_together():
    first, second, *others = demo().summary.stages
    ahead = [
        replace(first, made=5, seconds=110.0, forecast=StageForecast(6, 4.5, 100.0)),
        replace(second, made=0, seconds=0.0, forecast=StageForecast(0, 0.0, 0.0)),
    ]
    report = changed(demo(), stages=(*ahead, *others))
    section = forecast.section(report, Gallery())
    (table,) = section.blocks
    assert table.title == "The study took 110 % of its forecast"
    _, rows = table.texts()
    assert [row[0] for row in rows] == [first.name, second.name, "together"]
    assert rows[0][1:] == ["6", "5", "4.5", "1 min 40 s", "1 min 50 s", "110 %"]
    assert rows[2][-3:] == ["1 min 40 s", "1 min 50 s", "110 %"]
    page = sections(report, Gallery())
    assert "Forecast and actual time" in html.render(page)
    assert "Forecast and actual time" in markdown.render(page)
    assert Summary.from_json(report.summary.to_json()).stages == report.summary.stages
