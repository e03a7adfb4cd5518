"""Options that several verbs share, and how data and runs are found from them."""

import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from datadam.data import RealData
    from datadam.parallel import Ray
    from datadam.sets.distilled import DistilledSet

Root = Annotated[Path | None, Parameter(help="folder in which named data sets lie or are downloaded to")]
RunRoot = Annotated[Path | None, Parameter(help="where the data of the run lie now: the root of named sets, or your own folder")]
Normalised = Annotated[
    Literal["own", "field", "mtt"] | None,
    Parameter(help="mean and deviation: the data's own, or the field's released code's (default: as presets say)"),
]
Whitened = Annotated[Literal["none", "kornia", "official"], Parameter(help="whitening; that of the runs to come")]
Json = Annotated[bool, Parameter(help="print the result as JSON on standard output", negative="")]
Prefix = Annotated[
    int | None, Parameter(name="--ipc", help="the first so many images of each class alone, of a run made with --nested")
]
TakeOver = Annotated[
    bool,
    Parameter(help="take the folder from a process of another machine that was killed there and left its lock", negative=""),
]
Device = Annotated[str, Parameter(help="where to compute: auto (a graphics card if there is one), cpu, cuda, cuda:1")]
Seed = Annotated[int, Parameter(help="names all randomness: same seed, same result")]
Note = Annotated[str, Parameter(help='words kept and shown with the result, such as "demo, not a result"')]


@Parameter(name="*", group="How the data are read")
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How real data are read: what every verb that reads some takes, as options of one group."""

    root: Root = None
    size: Annotated[int | None, Parameter(help="resize images of a folder to this side")] = None
    fit: Annotated[Literal["crop", "squash", "pad"] | None, Parameter(help="how to make them square")] = None
    test: Annotated[Path | None, Parameter(help="the test part, when DATA holds only training images")] = None
    skip_bad: Annotated[bool, Parameter(help="leave out unreadable images instead of refusing", negative="")] = False
    labels_as_numbers: Annotated[
        bool, Parameter(help="a class is its number in the training and the test part, whatever they call it", negative="")
    ] = False
    skip_unlabelled: Annotated[
        bool, Parameter(help="leave out images whose label is -1 or missing, instead of refusing", negative="")
    ] = False
    bits: Annotated[
        str | None, Parameter(help="how many bits of images of more than 8 are in use, which scales them: 16, 12, 10, auto")
    ] = None
    background: Annotated[
        str | None, Parameter(help="what lies behind transparent images: black, white, or a level from 0 to 255")
    ] = None
    layout: Annotated[
        str | None, Parameter(help='axes of the arrays, such as HWCN; "classes": the folders inside DATA are the classes')
    ] = None
    flip: Annotated[bool | None, Parameter(help="whether a mirror leaves an image in its class (--no-flip: as for digits)")] = (
        None
    )

    def given(self) -> dict[str, Any]:
        """What was given on the command line, by the names that `load` knows."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and (value is not False or name == "flip")}

    def load(self, source: str, **more: Any) -> "RealData":
        """The data, read as said here; `more`: options of `load` beside these, None where not given."""
        return load_data(source, self.given() | {name: value for name, value in more.items() if value is not None})


READING = tuple(field.name for field in fields(Reading))
"""The options that say how data are read, by their names."""
AS_SAID = Reading()
"""Data read as they say themselves."""


def command() -> str:
    """The command line as one would type it."""
    return shlex.join(["datadam", *sys.argv[1:]])


def check_device(device: str, engine: "Ray | None" = None) -> str:
    """The device that is meant. Raises `InvalidInput` unless torch can compute there.

    Argument: `engine`, a cluster whose workers compute; "auto" then means their graphics cards, where they have been given some.
    """
    import torch

    from datadam.errors import InvalidInput
    from datadam.machine import settle_device

    device = settle_device(device, None if engine is None else engine.gpus)
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = "cpu" + "".join(f", cuda:{i}" for i in range(torch.cuda.device_count()))
        why = f" ({str(error).splitlines()[0]})" if device.startswith("cuda") else ""
        raise InvalidInput(f"device {device!r} cannot be used{why}; here: {here}") from error
    return device


def size_in_bytes(text: str | None) -> int | None:
    """ "4GB", "500 MB" or a number of bytes. Raises `InvalidInput`."""
    import re

    from datadam.errors import InvalidInput

    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", str(text).lower())
    if not match or float(match[1]) == 0:
        raise InvalidInput(f"memory_limit is {text!r}; write a size such as 500MB or 4GB")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " "))


def data_limit(limit: int | None) -> dict[str, int]:
    """What `load` is told of a limit of memory in bytes: data larger than a part of it stay on disk."""
    from datadam.distillation.forecast import MAPPED_ABOVE

    return {} if limit is None else {"memory_limit": max(1, limit // MAPPED_ABOVE)}


def check_nets(specs: str, real: "RealData") -> list[str]:
    """Networks from a list separated by commas, each once, in their one spelling. Raises `InvalidInput` with every misfit."""
    from datadam import nets
    from datadam.errors import InvalidInput, noting

    found: list[str] = []
    faults: list[str] = []
    for spec in specs.split(","):
        with noting(faults):
            nets.build(spec.strip(), shape=real.shape, classes=len(real.classes))
            found.append(nets.canonical(spec.strip(), real.shape))
    if faults:
        raise InvalidInput(*faults)
    return list(dict.fromkeys(found))


def load_data(source: str, options: dict[str, Any]) -> "RealData":
    """Load with a progress bar, and say aloud what the user must know."""
    from datadam.cli.screen import bar, say
    from datadam.data import load

    with bar("reading") as advance:
        real = load(source, **options, progress=lambda what, done, total: advance(what, done, total))
    for note in real.notes:
        say(f"note: {note}")
    return real


def data_of_card(card: dict[str, Any], root: Path | None) -> "RealData":
    """The data a run was made from. Raises `InvalidInput` when they are not the same any more."""
    from datadam.errors import ArtifactError, InvalidInput

    data = card["data"]
    if not _sound(data):
        raise ArtifactError("the card does not say which data the run was made from; it was changed: make the run again")
    if not data["source"]:
        raise InvalidInput(
            "this run was made from arrays in memory, which the command line cannot load again; evaluate it from Python"
        )
    source = data["source"]
    options = {k: v for k, v in data["options"].items() if k not in ("normalisation", "zca")}  # those of the set
    if root is not None and Path(source).is_absolute():
        source = str(root)  # a folder of one's own that has moved
    elif root is not None:
        options["root"] = root
    real = load_data(source, options)
    if real.checksum != data["checksum"]:
        raise InvalidInput(
            f"{source} is not what the run was made from: checksum {real.checksum[:19]}..., the card says "
            f"{data['checksum'][:19]}...; give the original data, with --root if they lie elsewhere"
        )
    return real


def _sound(data: Any) -> bool:
    """Whether this part of a card can be given to `load`."""
    if not isinstance(data, dict) or not isinstance(data.get("options"), dict):
        return False
    kinds: dict[str, type | tuple[type, ...]] = {
        "root": str, "test": str, "fit": str, "size": int, "skip_bad": bool, "zca": str, "bits": (int, str),
        "background": (int, str), "layout": str, "labels_as_numbers": bool, "skip_unlabelled": bool, "normalisation": str,
        "flip": bool,
    }  # fmt: skip
    options = all(name in kinds and isinstance(value, kinds[name]) for name, value in data["options"].items())
    return options and isinstance(data.get("source"), str) and isinstance(data.get("checksum"), str)


def sets_of(run: Path) -> list[Path]:
    """The run folder itself, or RUN/0 .. RUN/R-1 of repeats. Raises `ArtifactError` when some are not finished."""
    from datadam.errors import ArtifactError
    from datadam.files.whole import read_json

    folders = numbered(run)
    if (run / "card.json").exists() or not folders:
        return [run]
    kept = read_json(run / "repeats.json") if (run / "repeats.json").exists() else None
    asked = kept["asked"].get("repeats") if isinstance(kept, dict) and isinstance(kept.get("asked"), dict) else None
    if isinstance(asked, int) and (done := sum((folder / "card.json").exists() for folder in folders)) < asked:
        raise ArtifactError(f"{run} holds {done} of {asked} finished repeats; finish them with: datadam distill --resume {run}")
    return folders


def numbered(run: Path) -> list[Path]:
    """The folders RUN/0, RUN/1, ... that are there, in order."""
    found = run.iterdir() if run.is_dir() else ()
    return sorted((p for p in found if p.is_dir() and p.name.isdecimal()), key=lambda p: int(p.name))


def set_line(card: dict[str, Any]) -> str:
    """A set in a line: how many images, of which kind, in how many bytes."""
    from datadam.sets.kind import counts_of, per_class, told
    from datadam.wording import plural

    each, classes = per_class(card).rpartition(" ")[0], plural(len(card["data"]["classes"]), "class", "classes")
    return f"{plural(sum(counts_of(card)), 'image')}, {each} for each of {classes}; {told(card)}"


def load_sets(run: Path) -> "list[DistilledSet]":
    """The distilled sets of a run. Raises `ArtifactError`."""
    from datadam.sets.distilled import DistilledSet

    return [DistilledSet.load(folder) for folder in sets_of(run)]


def prefixes(sets: "list[DistilledSet]", run: Path, ipc: int | None) -> "list[DistilledSet]":
    """The first `ipc` images of each class of the sets of a run (None: all). Raises `InvalidInput` where they were not made to
    stand alone."""
    from datadam.errors import InvalidInput

    if ipc is None:
        return sets
    for one in sets:
        if not one.nested and one.card["kind"] != "coreset" and 1 <= ipc < one.ipc:
            raise InvalidInput(
                f"{run} was made without --nested, so that the first {ipc} of its {one.ipc} images a class were never meant to "
                f"stand alone; make a set of --ipc {ipc}, or a nested one, or leave out --ipc"
            )
    return [one.prefix(ipc) for one in sets]
