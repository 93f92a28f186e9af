"""The end of a command: an answer on standard output, or one line of error, and an exit code."""

import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from rum_ray.errors import GateError, RumRayError, StoreError
from rum_ray.files import private_files

INTERRUPTED = 75


@private_files()
def guarded(command: Callable[[], dict[str, Any]], as_json: bool, debug: bool) -> None:
    """Run a command and print its answer; on an error, print one line and exit with its code.

    Args:
        command: returns the answer.
        as_json: True prints one JSON object.
        debug: True prints the traceback of an error, too.
    """
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        answer = command()
    except KeyboardInterrupt:
        leave_interrupted()
    except SystemExit as error:
        leave(f"a plug-in called sys.exit({error.code!r}); a command ends otherwise.", 2, debug)
    except RumRayError as error:
        leave(str(error), error.exit_code, debug)
    except OSError as error:
        # Errors of files that have an owner were told with their place before.
        where = "" if error.filename is None else f"{error.filename} cannot be used: "
        reason = f"{where}{error.strerror or error}. The same command goes on once it can be used."
        leave(reason, StoreError.exit_code, debug)
    except Exception as error:
        reason = f"a bug: {type(error).__name__}: {error}. Run again with --debug, and report it."
        leave(reason, 1, debug)
    if as_json:
        from rum_ray.results.schema import to_json

        typer.echo(json.dumps(to_json(answer.get("answer", answer)), allow_nan=False))
    else:
        from rum_ray.cli.console import show

        show(answer)
    if wrong := answer.get("wrong"):
        reason = f"{', '.join(wrong)}: wrong, as the line 'found' says"
        leave(f"{reason}.", GateError.exit_code)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def leave_interrupted() -> NoReturn:
    """Report an interrupt and exit."""
    leave("interrupted; the same command goes on from here.", INTERRUPTED)


def leave(message: str, code: int, debug: bool = False) -> NoReturn:
    """Print a message as one line and exit at once; threads of third parties may still run."""
    if debug:
        traceback.print_exc()
    print(f"rum-ray: {' '.join(message.split())}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and exit; an error in it is one line, too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character shows another one.
            stream.reconfigure(errors="replace")
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.Abort:
        leave_interrupted()
    except Exception as error:
        # Some versions of Typer bundle their own click, others import the installed one.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().rstrip()
        end = "" if message.endswith((".", "?")) else "."
        leave(f"{message}{end} See 'rum-ray --help', and 'rum-ray COMMAND --help'.", 2)
    sys.exit(code)
