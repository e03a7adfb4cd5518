"""The command line. Only this package prints, exits or reads argv; torch is imported by verbs at work, not for --help."""

import time

STARTED = time.monotonic()  # --time-limit counts from here


def main() -> None:
    """The entry point `datadam`."""
    from datadam.cli.app import run

    raise SystemExit(run())
