"""How a command ends: its answer, or one line that says what is wrong, and an exit code."""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from rum_ray.errors import RumRayError

INTERRUPTED = 75


def guarded(do: Callable[[], dict[str, Any]], as_json: bool, debug: bool) -> None:
    """Do something; print its answer, or its one error, and leave with the right exit code."""
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        answer = do()
    except KeyboardInterrupt:
        leave_interrupted()
    except RumRayError as error:
        leave(str(error), error.exit_code, debug)
    except Exception as error:
        told = f"a bug: {type(error).__name__}: {error}. Run again with --debug, and report it."
        leave(told, 1, debug)
    if as_json:
        from rum_ray.results.schema import to_json

        typer.echo(json.dumps(to_json(answer.get("answer", answer)), allow_nan=False))
    else:
        from rum_ray.cli.console import show

        show(answer)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def leave_interrupted() -> NoReturn:
    """Say that the command was interrupted, and exit."""
    leave("interrupted; the same command goes on from here.", INTERRUPTED)


def leave(message: str, code: int, debug: bool = False) -> NoReturn:
    """Print one line and exit, without waiting for what third parties left running."""
    if debug:
        traceback.print_exc()
    print(f"rum-ray: {' '.join(message.split())}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
