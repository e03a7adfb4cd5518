"""`datadam report`: what came out, as one page to look at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from datadam.cli.options import Json, RunRoot

if TYPE_CHECKING:
    from datadam.data import RealData
    from datadam.inspection import Settings


def report(
    runs: Annotated[list[Path], Parameter(help="run folders, compared on one page", negative="")],
    *,
    out: Annotated[Path | None, Parameter(help="the page (default: report.html in the first run)")] = None,
    features: Annotated[
        str | None, Parameter(help="networks for the map of features: random (default), or trained on the whole set")
    ] = None,
    no_data: Annotated[bool, Parameter(help="without the real images, or with what was found before", negative="")] = False,
    root: RunRoot = None,
    json: Json = False,
) -> None:
    """Show runs as one HTML page.

    Images, the way to them, the nearest real ones, accuracies, attention maps, settings. What needs the real images takes a
    minute or so and is kept in the run. The page needs nothing beside it and can be sent as it is; one that is there is replaced.
    """
    from datadam import machine
    from datadam.cli.screen import result
    from datadam.errors import InvalidInput
    from datadam.files.whole import require_writable, write_text
    from datadam.inspection import Settings
    from datadam.report import page
    from datadam.wording import size

    if no_data and (root is not None or features is not None):
        raise InvalidInput("--no-data looks at no real image, and --root and --features say at which and how; leave out one side")
    settings = None if features is None else Settings(features=features)
    place = runs[0] / "report.html" if out is None else out
    if place.suffix not in (".html", ".htm") or place.is_dir():
        raise InvalidInput(f"{place} is no name of a page; give a file that ends in .html")
    machine.tune_allocator()
    missing = {} if no_data else look_at(runs, settings, root)
    text = page(runs, missing)
    require_writable(place.parent)
    write_text(place, text)
    length = place.stat().st_size
    told = {"report": str(place), "runs": [str(run) for run in runs], "bytes": length}
    result(f"{place}: {size(length)}, open it in a browser", told, as_json=json)


def look_at(runs: list[Path], settings: "Settings | None", root: Path | None) -> dict[Path, str]:
    """Inspect every run that has no fresh inspection; gives for each run that could not be why.

    Raises `InvalidInput` for a folder that is no run, and for data that the user named and that do not serve.
    """
    from datadam.cli.options import data_of_card, sets_of
    from datadam.cli.screen import bar, duration, say
    from datadam.errors import DownloadError, InvalidInput
    from datadam.files.whole import require_writable
    from datadam.inspection import inspect, is_fresh
    from datadam.sets.distilled import DistilledSet

    missing: dict[Path, str] = {}
    loaded: dict[str, RealData] = {}
    for run in dict.fromkeys(folder for given in runs for folder in sets_of(given)):
        small = DistilledSet.load(run)
        if is_fresh(run, small, settings):
            continue
        key = small.card["data"]["checksum"]
        try:
            require_writable(run, cure="what is found is kept in the run; copy it to where you may write")
            if key not in loaded:
                loaded[key] = data_of_card(small.card, root)
            with bar(f"looking at {run.name}") as advance:
                found = inspect(small, loaded[key], settings, progress=advance)
            found.save(run)
            say(f"{run}: set beside real images in {duration(found.found['seconds'])}; kept in inspection.json")
        except (InvalidInput, DownloadError) as error:
            if root is not None or settings is not None:
                raise
            say(f"note: {run} is shown without real images: {error}")
            missing[run] = "the data that the run was made from could not be had here"
    return missing
