"""Making a table: its parts, each in a folder of its own, and their numbers beside the published ones.

OUT/NAME/DATA/                  an ordinary folder of `datadam compare`; what it holds is not made again
OUT/NAME/search-DATA/           sets of proxies and the page of a search, or of learning class after class (continual-DATA/)
OUT/NAME/pool-DATA/             networks trained on the real set, where the table asks for them
OUT/NAME/reproduce.json         the table
OUT/index.html                  all tables of OUT

What one table has made another one takes over: sets of the same recipe on the same data, with their students.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from datadam import machine
from datadam.applications.reproduce import rows as of_table
from datadam.applications.reproduce.bench import Bench, How
from datadam.applications.reproduce.comparing import compared
from datadam.applications.reproduce.learning import learned
from datadam.applications.reproduce.rows import SKIPPED, Json, verdict
from datadam.applications.reproduce.scales import Scale, few
from datadam.applications.reproduce.searching import TRUTH, lacks, searched
from datadam.applications.reproduce.stages import judged_on_the_way
from datadam.applications.reproduce.tables import Table, names
from datadam.data import RealData
from datadam.errors import ArtifactError, DataError, DownloadError, InvalidInput
from datadam.files.whole import read_json, write_json

FORMAT = "datadam-reproduce/1"
FILE = "reproduce.json"
MAKERS: dict[str, Callable[[Bench], tuple[list[Json], str]]] = {
    "compare": compared, "search": searched, "continual": learned, "stages": judged_on_the_way,
}  # fmt: skip
"""What makes a part of a table, by the word that the part has."""


def read(folder: Path) -> Json | None:
    """The table that a folder holds, or None. Raises `ArtifactError` for a file that is none."""
    path = folder / FILE
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or not _sound(found):
        raise ArtifactError(f"{path} holds no table of datadam reproduce, or was changed; remove it to make the table again")
    return dict(found)


def _sound(found: Json) -> bool:
    """Whether a file has all that a table and its page are made of."""
    kinds = {
        "name": str, "scale": str, "scale_words": str, "title": str, "source": str, "spread": str, "notes": list, "rows": list,
        "skipped": dict, "protocols": dict, "command": str, "hardware": dict, "versions": dict, "created": str,
    }  # fmt: skip
    return (
        found.get("format") == FORMAT
        and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
        and found["name"] in names()
        and "commit" in found
        and all(map(of_table.is_sound, found["rows"]))
    )


def check_place(table: Table, scale: Scale, out: Path) -> Json | None:
    """What OUT/NAME holds of this table. Raises `InvalidInput` when it is of another scale, or something else."""
    folder = out / table.name
    if any(path.exists() and not path.is_dir() for path in (out, folder)):
        raise InvalidInput(f"{out if not out.is_dir() else folder} is a file; choose a folder with --out")
    found = read(folder)
    if found is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise InvalidInput(f"{folder} holds files that are no table of datadam reproduce; choose another folder with --out")
        return None
    if found["name"] != table.name or found["scale"] != scale.name:
        raise InvalidInput(
            f"{folder} holds {found['name']} at scale {found['scale']}; ask for that again, or choose another folder with --out"
        )
    return found


def reproduce(table: Table, scale: Scale, out: Path, load: Callable[[str], RealData], how: How) -> Json:
    """Make a table in OUT/NAME, and write its numbers beside the published ones after each comparison.

    Arguments: `table`, or what `only` leaves of it: rows that were made before stay; `load`, which reads named data. Data that
    are not there are skipped by name, with where to ask. Raises `InvalidInput` as `check_place`.
    """
    before = check_place(table, scale, out)
    folder, device = out / table.name, machine.settle_device(how.device)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {of_table.key(row): row for row in (before or {}).get("rows", [])}
    protocols = dict((before or {}).get("protocols", {}))
    skipped = {data: why for data, why in (before or {}).get("skipped", {}).items() if data not in _data(table)}

    def save() -> Json:
        """Write what is there."""
        found = {
            "format": FORMAT, "name": table.name, "scale": scale.name, "scale_words": scale.words, "title": table.title,
            "source": table.source, "spread": table.spread, "notes": list(table.notes), "rows": list(rows.values()),
            "skipped": skipped, "protocols": protocols, "command": how.command,
            "hardware": machine.hardware(torch.device(device)), "versions": machine.versions(),
            "commit": machine.commit(), "created": machine.now(),
        }  # fmt: skip
        write_json(folder / FILE, found)
        return found

    save()
    loaded: dict[str, RealData | str] = {}
    for name, part in (table.fewest() if scale.fewest else table).parts.items():
        if part.data not in loaded:
            loaded[part.data] = _loaded(part.data, scale, load)
        real = loaded[part.data]
        benchmark = "" if scale.part else lacks(part, how.root)
        if isinstance(real, str) or benchmark:
            missing, why = (part.data, real) if isinstance(real, str) else (TRUTH, benchmark)
            skipped[missing] = why
            new = [of_table.row_of(part, row, ipc, net, status=SKIPPED, reason=why) for row, ipc, net in of_table.cells(part)]
        else:
            made, protocols[name] = MAKERS[part.by](Bench(part, scale, real, folder, name, how))
            new = [row | {"verdict": verdict(row, scale)} for row in made]
        rows |= {of_table.key(row): row for row in new}
        found = save()
    return found


def _data(table: Table) -> set[str]:
    return {part.data for part in table.parts.values()} | {TRUTH}


def _loaded(data: str, scale: Scale, load: Callable[[str], RealData]) -> RealData | str:
    """The data, or why they are not there."""
    try:
        return few(load("mnist"), *scale.part) if scale.part else load(data)
    except (DataError, DownloadError) as error:
        return str(error)
