"""The real data that a caller means: as they are, or something that `load` makes them of."""

import warnings
from pathlib import Path
from typing import Any

from datadam.data.catalog import load
from datadam.data.real import RealData
from datadam.errors import InvalidInput


def real_data(given: Any, *, of: str) -> RealData:
    """Real data as they are; a name, a path, arrays or a torch data set as `load` reads them.

    Argument: `of`, the call as it should be, for the message. Raises `InvalidInput` for what is something else.
    """
    if isinstance(given, RealData):
        return given
    kind = type(given).__name__
    if kind in ("DistilledSet", "Recipe", "NoneType") or not (
        isinstance(given, str | Path | tuple) or hasattr(given, "__getitem__") or hasattr(given, "__iter__")
    ):
        raise InvalidInput(
            f"real is a {kind}; give the real data, as in {of}: what datadam.load returns, or a name, a path, a torch data "
            "set or arrays that it reads"
        )
    real = load(given)
    for note in real.notes:  # nobody else looks at what is loaded here
        warnings.warn(f"{real.name}: {note}", stacklevel=3)
    return real
