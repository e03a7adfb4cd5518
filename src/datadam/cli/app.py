"""The verbs, and what becomes of errors: 0 done, 2 for what the user got wrong, 1 for what broke, 130 for Ctrl-C."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import cyclopts
from cyclopts import App, Parameter, Token

from datadam.cli.add_class import add_class
from datadam.cli.audit import audit
from datadam.cli.compare import compare
from datadam.cli.continual import continual
from datadam.cli.distill import distill
from datadam.cli.evaluate import baseline, evaluate
from datadam.cli.experts import experts
from datadam.cli.export import export
from datadam.cli.federated import federated
from datadam.cli.import_ import import_
from datadam.cli.lossless import lossless
from datadam.cli.merge import merge
from datadam.cli.pretrain import pretrain
from datadam.cli.relabel import relabel
from datadam.cli.report import report
from datadam.cli.reproduce import reproduce
from datadam.cli.screen import complain
from datadam.cli.search import search
from datadam.cli.show import list_names, show
from datadam.cli.train import train
from datadam.cli.watch import watch
from datadam.errors import COMMAND_LINE, DatadamError, InvalidInput


def _exact(kind: Any, tokens: tuple[Token, ...]) -> Any:
    """What cyclopts makes of an option's text, save that 1.5 is no whole number (it would round)."""
    if kind is int and "." in tokens[0].value:
        raise ValueError(f"{tokens[0].value!r} is no whole number.")
    return cyclopts.convert(kind, tokens)


INTERRUPTED = 130  # by Ctrl-C, as shells say it
app = App(
    name="datadam",
    help="Dataset distillation: a few synthetic images per class that teach a network as much as they can of the whole set.",
    version=lambda: version("datadam"),
    help_epilogue="Start with some minutes: datadam distill mnist --ipc 10 --iterations 300 --batch-real 64",
    default_parameter=Parameter(converter=_exact),
    suppress_keyboard_interrupt=False,  # ours says how to go on
)
VERBS: dict[str, Callable[..., None]] = {
    "distill": distill, "watch": watch, "evaluate": evaluate, "baseline": baseline, "compare": compare, "train": train,
    "pretrain": pretrain, "experts": experts, "relabel": relabel, "merge": merge, "add-class": add_class,
    "search": search, "lossless": lossless, "continual": continual, "federated": federated, "reproduce": reproduce,
    "audit": audit, "report": report, "export": export, "import": import_, "show": show, "list": list_names,
}  # fmt: skip
for place, (name, verb) in enumerate(VERBS.items()):
    app.command(verb, name=name, sort_key=place)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop saves the run just as Ctrl-C does
    token = COMMAND_LINE.set(True)
    try:
        return _run(arguments)
    finally:
        COMMAND_LINE.reset(token)


def _run(arguments: list[str] | None) -> int:
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        complain(f"{error} See: {' '.join(('datadam', *(error.command_chain or ()), '--help'))}")
        return 2
    except InvalidInput as error:
        complain(error)
        return 2
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nInterrupted. {interrupt}\n" if str(interrupt) else "\nInterrupted.\n")
        return INTERRUPTED
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
