"""The command line. Only this package prints, exits or reads argv; torch is imported by verbs at work, not for --help."""

import os
import sys
import time

STARTED = time.monotonic()  # --time-limit counts from here


def main() -> None:
    """The entry point `datadam`."""
    from datadam.cli.app import INTERRUPTED, run

    code = run()
    if code == INTERRUPTED:  # what is kept is kept: unloading torch and its compiler takes seconds that nobody should wait for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
