"""The verbs, and what becomes of errors: 0 done, 2 for what the user got wrong, 1 for what broke, 130 for Ctrl-C."""

import os
import signal
import sys
import traceback
from importlib.metadata import version

import cyclopts
from cyclopts import App

from datadam.cli.screen import complain
from datadam.errors import DatadamError, InvalidInput

app = App(
    name="datadam",
    help="Dataset distillation: a few synthetic images per class on which a network trains nearly as well as on the whole set.",
    version=lambda: version("datadam"),
    help_epilogue="Start with: datadam distill mnist --ipc 10",
)
app.command("datadam.cli.distill:distill")
app.command("datadam.cli.evaluate:evaluate")
app.command("datadam.cli.evaluate:baseline")
app.command("datadam.cli.train:train")
app.command("datadam.cli.report:report")
app.command("datadam.cli.show:show")
app.command("datadam.cli.show:list_names", name="list")


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop saves the run just as Ctrl-C does
    try:
        app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except cyclopts.CycloptsError:
        return 2  # printed already
    except InvalidInput as error:
        complain(error)
        return 2
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nInterrupted. {interrupt}\n" if str(interrupt) else "\nInterrupted.\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone (| head): nothing more to say
        return 1
    except DatadamError as error:
        complain(error)
        return 1
    except Exception as error:
        traceback.print_exc()
        complain(f"this is a fault of datadam, or of the machine: {type(error).__name__}: {error}")
        return 1
    return 0
