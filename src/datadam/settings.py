"""Settings, checked together, so that all that is wrong with them shows at once."""

import math
from collections.abc import Sequence

from datadam.errors import CannotDo, InvalidInput


def require(ok: bool, what: str, faults: list[str]) -> None:
    """Add a fault unless ok; settings are checked together, so that all faults show at once."""
    if not ok:
        faults.append(what)


def finite(value: object) -> bool:
    """Whether value is a real, finite number (and no truth value)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def refuse(faults: list[str], unfit: Sequence[str] = ()) -> None:
    """Raise `InvalidInput` with all faults, if any; with `unfit`, what this method alone cannot do, and no other fault it is
    `CannotDo`."""
    if faults:
        raise InvalidInput(*faults, *unfit)
    if unfit:
        raise CannotDo(*unfit)
