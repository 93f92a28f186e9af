"""The command line in this process; whatever gets as far as computing fails the test."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from refusals import Refuse, raised_into

from rum_ray.cli import app, commands, deletions


@pytest.fixture
def refuse(tmp_path, monkeypatch, capfd) -> Iterator[Refuse]:
    """Run a row in an empty folder."""
    raised: list[BaseException | None] = []

    def computed(*arguments: object, **options: object) -> None:
        pytest.fail("the input was accepted")

    monkeypatch.setattr(os, "_exit", raised_into(raised))
    for name in ("make_executor", "dry_run", "estimated"):
        monkeypatch.setattr(commands, name, computed)
    monkeypatch.setattr(deletions, "make_executor", computed)
    monkeypatch.setattr(deletions.purging, "remove", computed)
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rum-ray", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            app.main()
        out, err = capfd.readouterr()
        return left.value.code or 0, out, err

    yield Refuse(tmp_path, run, raised)
    signal.signal(signal.SIGTERM, handler)
