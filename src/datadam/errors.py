"""Everything that datadam raises on purpose.

    DatadamError
    ├── InvalidInput (also ValueError)      the user can cure it: the command line exits with 2
    │   ├── CannotDo                        settings that are right each by itself, but not of this method
    │   ├── UnknownName                     a name that no catalog knows; offers the nearest one
    │   ├── DataError                       images or labels that cannot be used
    │   ├── ArtifactError                   a file that is not what it says it is
    │   └── NotEnoughMemory                 what was asked needs more memory than allowed
    └── RunFailed (also RuntimeError)       something broke on the way: the command line exits with 1
        ├── NonFiniteLoss                   a loss became NaN or infinite
        ├── DownloadError                   a file could not be fetched or is not the expected one
        └── ExamFailed (also AssertionError)    a method does not keep what every method must

Each message says what came, what is allowed and the usual cure.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches

COMMAND_LINE = ContextVar("COMMAND_LINE", default=False)  # whether errors are read by somebody who typed a command
_SAID = re.compile(
    r"(datadam [a-z]+ (?:(?![;)\n]|[.,] ).)*)|--(no-)?([a-z][a-z0-9-]*)"
)  # a whole command, which stays; an option alone


class DatadamError(Exception):
    """Anything that datadam raises on purpose. An option of the command line, `--batch-real`, is called by its name in Python,
    `batch_real`, unless a command line is at work."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if COMMAND_LINE.get() else _SAID.sub(_in_python, text)


def _in_python(said: re.Match[str]) -> str:
    command, no, option = said.groups()
    return command or option.replace("-", "_") + ("=False" if no else "")


class InvalidInput(DatadamError, ValueError):
    """What was asked cannot be done; the message names the cure. `faults` lists every fault found at once."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__(faults[0] if len(faults) == 1 else "\n".join(f"- {fault}" for fault in faults))


@contextmanager
def noting(faults: list[str]) -> Iterator[None]:
    """Add the faults of an `InvalidInput` to the list and go on."""
    try:
        yield
    except InvalidInput as error:
        faults.extend(error.faults)


class CannotDo(InvalidInput):
    """What was asked is well said, but this method cannot do it: another one may."""


class UnknownName(InvalidInput):
    """A name that no catalog knows.

    Arguments: `kind`, what sort of name ("method"); `name`, what came; `known`, the names that exist; `cure`, more help.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str], cure: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        cure = f" {cure}" if cure else ""
        super().__init__(f"unknown {kind} {str(name)!r}.{hint} Known: {', '.join(names)}.{cure}")


class DataError(InvalidInput):
    """Images or labels that cannot be used."""


class ArtifactError(InvalidInput):
    """A file that is not what it says it is: truncated, forged, or of another format."""


class NotEnoughMemory(InvalidInput):
    """What was asked needs more memory than allowed."""


class RunFailed(DatadamError, RuntimeError):
    """Something broke on the way."""


class NonFiniteLoss(RunFailed):
    """A loss became NaN or infinite."""


class DownloadError(RunFailed):
    """A file could not be fetched, or what came is not the expected file."""


class ExamFailed(RunFailed, AssertionError):
    """A method does not keep what every method must; `faults` lists each part of the exam that it failed, and why."""

    def __init__(self, method: str, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join((f"{method} fails the exam:", *(f"- {fault}" for fault in faults))))
