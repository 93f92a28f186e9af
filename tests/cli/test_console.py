"""The bars: events between the lines of progress."""

import io

from rum_ray.cli.console import Bars


def test_an_event_is_one_line_as_it_was_said():
    file, text = io.StringIO(), "Ray did not start [red]in[/red] 60 s; " + "trying again " * 20
    bars = Bars(file)
    bars.say(text)
    bars.start("train", 4)
    bars.say(text)
    bars.finish("4 done")
    first, second, last = file.getvalue().splitlines()
    assert first == second == text
    assert last.split() == ["train", "0.0", "s", "4", "done"]
