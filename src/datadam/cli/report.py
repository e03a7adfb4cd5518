"""`datadam report`: what came out, as one page to look at."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.options import Json


def report(
    runs: Annotated[list[Path], Parameter(help="run folders, compared on one page", negative="")],
    *,
    out: Annotated[Path | None, Parameter(help="the page (default: report.html in the first run)")] = None,
    json: Json = False,
) -> None:
    """Show runs as one HTML page.

    Images, the way to them, accuracies, settings. The page needs nothing beside it and can be sent as it is; one that is
    there is replaced.
    """
    from datadam.cli.screen import result
    from datadam.errors import InvalidInput
    from datadam.report import page
    from datadam.report.words import size
    from datadam.storage import require_writable, write_text

    place = runs[0] / "report.html" if out is None else out
    if place.suffix not in (".html", ".htm") or place.is_dir():
        raise InvalidInput(f"{place} is no name of a page; give a file that ends in .html")
    text = page(runs)
    require_writable(place.parent)
    write_text(place, text)
    length = place.stat().st_size
    told = {"report": str(place), "runs": [str(run) for run in runs], "bytes": length}
    result(f"{place}: {size(length)}, open it in a browser", told, as_json=json)
