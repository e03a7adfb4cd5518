"""Making a table: its comparisons, each in a folder of its own, and their numbers beside the published ones.

OUT/NAME/DATA/                  an ordinary folder of `datadam compare`; what it holds is not made again
OUT/NAME/pool-DATA/             networks trained on the real set, where the table asks for them
OUT/NAME/reproduce.json         the table
OUT/index.html                  all tables of OUT
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datadam import machine
from datadam.applications.reproduce.scales import Scale, few
from datadam.applications.reproduce.tables import MEASURES, WHOLE_SET, Part, Table, names
from datadam.comparison.compare import compare
from datadam.comparison.making import GridProgress
from datadam.comparison.table import WHOLE
from datadam.comparison.variants import variant
from datadam.data import RealData
from datadam.distillation.begin import prepared
from datadam.distillation.presets import preset
from datadam.errors import ArtifactError, DataError, DownloadError, InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.files.whole import read_json, write_json
from datadam.parallel import Ray
from datadam.progress import Asked
from datadam.training.pretrain import Progress as Trained
from datadam.training.pretrain import pretrain
from datadam.wording import plural

FORMAT = "datadam-reproduce/1"
FILE = "reproduce.json"
NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?")
SKIPPED, ABSENT = "skipped", "not made"
AGREES, OPEN = "agrees", "open"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class How:
    """On what a table is made, as `compare`: `device`, `workers`, `engine`; `command`, a word for the record; `progress`."""

    device: str = "auto"
    workers: int | None = 1
    engine: Ray | None = None
    command: str = ""
    progress: Asked = None


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
    texts = ("data", "row", "net", "published", "note", "status", "reason", "word", "made_on", "verdict")
    return (
        found.get("format") == FORMAT
        and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
        and found["name"] in names()
        and "commit" in found
        and all(
            isinstance(row, dict)
            and all(isinstance(row.get(name), str) for name in texts)
            and all(isinstance(row.get(name), int | float | None) for name in ("ipc", "value", "low", "high"))
            and row.get("measure") in MEASURES
            for row in found["rows"]
        )
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
    rows = {_key(row): row for row in (before or {}).get("rows", [])}
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
        if isinstance(real, str):
            skipped[part.data] = real
            made: list[Json] = []
        else:
            made, protocols[name] = _made(part, scale, real, folder, name, how)
        new = made or [_row(part, row, ipc, net, status=SKIPPED, reason=skipped[part.data]) for row, ipc, net in _cells(part)]
        rows |= {_key(row): row for row in new}
        found = save()
    return found


def _data(table: Table) -> set[str]:
    return {part.data for part in table.parts.values()}


def _key(row: Json) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("data", "measure", "row", "ipc", "net"))


def _cells(part: Part) -> list[tuple[str, int | None, str]]:
    """Rows, images per class and networks, in the order of the table."""
    listed = list(dict.fromkeys((*part.published, *part.methods)))
    found: list[tuple[str, int | None, str]] = []
    for ipc in part.ipc:
        found += [(name, ipc, net) for name in listed if name != WHOLE_SET for net in part.nets]
    return found + [(WHOLE_SET, None, net) for net in part.nets if part.whole]


def _loaded(data: str, scale: Scale, load: Callable[[str], RealData]) -> RealData | str:
    """The data, or why they are not there."""
    try:
        return few(load("mnist"), *scale.part) if scale.part else load(data)
    except (DataError, DownloadError) as error:
        return str(error)


def _made(part: Part, scale: Scale, real: RealData, folder: Path, name: str, how: How) -> tuple[list[Json], str]:
    """The rows of a part, and the protocol in words."""
    pool = folder.resolve() / f"pool-{part.data}"
    if part.pool:
        _train_pool(part, scale, real, pool, how)
    words = {row: variant(scale.word(word, real, part.ipc[0], str(pool))).word for row, word in part.methods.items()}
    rule = protocol_named(part.protocol).with_epochs(scale.epochs)
    table = compare(
        real, list(words.values()), ipc=list(part.ipc), nets=[scale.net(net) for net in part.nets],
        repeats=min(scale.repeats, rule.sets),
        iterations=scale.iterations or part.iterations, batch_real=scale.batch_real, net=scale.net("convnet"), protocol=rule,
        students=min(scale.students or rule.students, rule.students), whole=part.whole,
        whole_epochs=scale.whole_epochs if part.whole else None, device=how.device, workers=how.workers, engine=how.engine,
        out=folder / name, note=scale.words if scale.name != "full" else "", command=how.command, progress=how.progress,
    ).table  # fmt: skip
    made = {(row["method"], row["ipc"]): row for row in table["rows"]}
    rows = []
    for row, ipc, net in _cells(part):
        if row in part.absent or (row not in words and row != WHOLE_SET):
            rows.append(_row(part, row, ipc, net, status=ABSENT, reason=part.absent.get(row, "")))
            continue
        of_row = made[WHOLE, None] if row == WHOLE_SET else made[words[row], ipc]
        label = table["nets"][part.nets.index(net)]
        cell = of_row["cells"][label]
        given = _row(part, row, ipc, net, status=cell["status"], reason=cell["reason"])
        given |= {"word": words.get(row, ""), "made_on": label}
        given |= _measured(part, of_row, cell)
        rows.append(given | {"verdict": _verdict(given, scale)})
    return rows, str(table["words"])


def _train_pool(part: Part, scale: Scale, real: RealData, pool: Path, how: How) -> None:
    """Train the networks of a table's pool, or what of them is missing; how many is told first."""
    count, epochs = scale.pool
    net, told = scale.net("convnet"), how.progress
    whitened = prepared(real, preset("datadam", real, ipc=part.ipc[0]))

    def tell(at: Trained) -> None:
        doing = f"network {at.network} of {at.networks}, epoch {at.epoch} of {at.epochs}"
        if callable(told):
            told(GridProgress(at.network - 1, at.networks, doing, at.epoch / at.epochs, None))

    if callable(told):
        first = f"{plural(count, 'network')} of {plural(epochs, 'epoch')} on the real set come first, in {pool}"
        told(GridProgress(0, count, "", 0.0, None, first))
    pretrain(whitened, pool, net=net, count=count, epochs=epochs, device=how.device, progress=tell)


def _row(part: Part, row: str, ipc: int | None, net: str, *, status: str, reason: str) -> Json:
    return {
        "data": part.data, "measure": part.measure, "row": row, "ipc": ipc, "net": net,
        "published": part.printed(row, ipc, net), "note": part.notes.get(row, ""), "status": status, "reason": reason,
        "value": None, "low": None, "high": None, "word": "", "made_on": "", "verdict": "",
    }  # fmt: skip


def _measured(part: Part, row: Json, cell: Json) -> Json:
    """What was measured in the unit of the published numbers: %, seconds an iteration, or MB."""
    if part.measure == "accuracy":
        ends = cell["interval"] or {"low": None, "high": None}
        values = {"value": cell["mean"], "low": ends["low"], "high": ends["high"]}
        return {name: None if value is None else round(100 * value, 4) for name, value in values.items()}
    if row["seconds"] is None:
        return {}
    return {"value": round(row["seconds"] / row["iterations"], 6) if part.measure == "seconds" else row["peak_memory_mb"]}


def _verdict(row: Json, scale: Scale) -> str:
    """What the two numbers say of each other."""
    match = NUMBER.fullmatch(row["published"])
    if row["value"] is None or not match:
        return ""
    if scale.part:
        return "no comparison: other data"
    if scale.name != "full":
        return "another scale"
    if row["measure"] != "accuracy":
        return "other hardware"
    low, high = (row[name] if row[name] is not None else row["value"] for name in ("low", "high"))
    value, spread = float(match[1]), float(match[2] or 0)
    return AGREES if low <= value + spread and value - spread <= high else OPEN
