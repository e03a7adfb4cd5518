"""Spaces of networks to search: 720 ConvNets, cells of NAS-Bench-201, or the words of a file.

The 720: depth 1 to 4, width 32 to 256, three activations, five norms and three poolings. The text of DataDAM's paper names no and
max pooling alone, which makes 480 of them; with the average pooling of Zhao et al. (ICLR 2021), whom it follows, they are 720.
"""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch

from datadam import nets
from datadam.data import RealData
from datadam.errors import InvalidInput, UnknownName, noting
from datadam.nets.nasbench201 import EDGES, OPERATIONS, cell_letters
from datadam.rng import stream
from datadam.settings import refuse

GRID: dict[str, tuple[str, ...]] = {
    "depth": ("1", "2", "3", "4"),
    "width": ("32", "64", "128", "256"),
    "act": ("sigmoid", "relu", "leakyrelu"),
    "norm": ("none", "batch", "layer", "instance", "group"),
    "pool": ("none", "max", "avg"),
}
DRAWN = 100  # of the cells of NAS-Bench-201, unless another number is asked for
LONGEST = 10_000  # lines of a file
COLUMNS = {"cifar10": "cifar10_test", "cifar100": "cifar100_test"}  # of the benchmark's table, by the name of data


def space_of(text: str, real: RealData, count: int | None = None, seed: int = 0) -> list[str]:
    """The networks of a space, each in its one spelling.

    Arguments: `text`, "convnet720", of which "convnet720:width=32,64:pool=max" is a part; "nasbench201"; or a file with a network
    on each line, in which # begins a remark; `real`, whose images they must take; `count`, so many of them, drawn by a stream
    named by the `seed` (None: all, of nasbench201 100). Raises `InvalidInput` with every fault at once.
    """
    if count is not None and count < 3:
        raise InvalidInput(f"count is {count}; three networks are the fewest that can be ranked")
    name, *parts = text.split(":")
    if name == "convnet720":
        words = _grid(parts)
    elif text == "nasbench201":
        words, count = [f"nasbench201:cell={''.join(c)}" for c in product(OPERATIONS, repeat=len(EDGES))], count or DRAWN
    elif Path(text).is_file():
        words = _lines(Path(text))
    else:
        cure = "Or give a file that is there, with the word of a network on each line."
        raise UnknownName("space", text, ["convnet720", "nasbench201"], cure)
    if count is not None and count > len(words):
        raise InvalidInput(f"count is {count}, and {text} has {len(words)} networks; ask for at most as many")
    if count is not None:
        order = torch.randperm(len(words), generator=stream(seed, "space", name)).tolist()
        words = [words[i] for i in sorted(order[:count])]
    return _checked(words, text, real)


def _grid(parts: Sequence[str]) -> list[str]:
    """The words of the 720, or of a part of them. Raises `InvalidInput`."""
    grid, faults = dict(GRID), list[str]()
    for part in parts:
        option, _, text = part.partition("=")
        values = tuple(dict.fromkeys(text.split(",")))
        if option not in GRID:
            faults += UnknownName("option of convnet720", option, GRID).faults
            continue
        for value in values:
            if value not in GRID[option]:
                faults += UnknownName(f"{option} of convnet720", value, GRID[option]).faults
        grid[option] = values
    refuse(faults)
    return [
        f"convnet{depth}:width={width}:act={act}:norm={norm}:pool={pool}"
        for depth, width, act, norm, pool in product(*grid.values())
    ]


def _lines(path: Path) -> list[str]:
    """The words of a file. Raises `InvalidInput`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read as text ({error}); give a file with the word of a network on each line"
        ) from None
    if len(lines) > LONGEST:
        raise InvalidInput(f"{path} has {len(lines)} lines, and {LONGEST} are allowed")
    words = [word for line in lines if (word := line.partition("#")[0].strip())]
    if len(words) < 3:
        raise InvalidInput(f"{path} names {len(words)} networks; three are the fewest that can be ranked, one on each line")
    return words


def _checked(words: Sequence[str], text: str, real: RealData) -> list[str]:
    """The words in their one spelling. Raises `InvalidInput` with every fault."""
    faults: list[str] = []
    found: dict[str, str] = {}
    for word in words:
        wrong: list[str] = []
        with noting(wrong):
            spec = nets.canonical(word, real.shape)
            nets.on_paper(spec, shape=real.shape, classes=len(real.classes))
            if (other := found.setdefault(spec, word)) is not word:
                wrong.append(f"is the same network as {other!r}; leave one of them out")
        faults += [f"{word!r} of {text}: {fault}" for fault in wrong]
    refuse(faults)
    return list(found)


def table_of(path: Path, networks: Sequence[str], data: str, column: str | None = None) -> dict[str, float]:
    """The accuracies, as shares of 1, that a table of NAS-Bench-201 has for these networks.

    Arguments: `path`, a CSV file with the columns "arch" and, of accuracies in percent, `column` (None: that of the `data`'s
    name). Raises `InvalidInput` with all that is wrong or missing.
    """
    cells = {spec: spec.partition(":cell=")[2] for spec in networks}
    if alien := [spec for spec in networks if not spec.startswith("nasbench201")]:
        raise InvalidInput(f"{path} has cells of NAS-Bench-201, and {alien[0]} is none; leave --truth out: then it is trained")
    wanted = column or COLUMNS.get(data)
    if wanted is None:
        raise InvalidInput(f"the table has no column for data named {data!r}; name one with --truth {path}@COLUMN")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if missing := {"arch", wanted} - set(rows.fieldnames or ()):
                known = ", ".join(rows.fieldnames or ()) or "none"
                raise InvalidInput(f"{path} has no column {', '.join(sorted(missing))}; it has {known}")
            found = {cell_letters(row["arch"]): _share(row[wanted], path, number) for number, row in enumerate(rows, 2)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} cannot be read as a table ({error}); give the benchmark's CSV file") from None
    letters = {spec: cell or "333333" for spec, cell in cells.items()}
    if missing := {spec for spec, cell in letters.items() if cell not in found}:
        raise InvalidInput(
            f"{path} lacks {len(missing)} of {len(networks)} networks, such as {sorted(missing)[0]}; give the whole table"
        )
    return {spec: found[cell] for spec, cell in letters.items()}


def _share(text: str | None, path: Path, line: int) -> float:
    try:
        share = float(text or "") / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidInput(f"line {line} of {path} has {text!r} where an accuracy in percent is needed")
    return share
