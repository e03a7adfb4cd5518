"""`datadam import`: a set that another program wrote, as a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from datadam.cli.options import AS_SAID, Json, Note, Reading, command

if TYPE_CHECKING:
    from datadam.exchange.classes import Order


def import_(
    path: Annotated[Path, Parameter(help="file or folder")],
    *,
    as_: Annotated[str, Parameter(name="--as", help="datadam list formats")],
    data: Annotated[str, Parameter(help="the data that the set was made from, as for distill")],
    out: Annotated[Path, Parameter(help="the new run folder")],
    mean: Annotated[str | None, Parameter(help="normalisation of its numbers, one a channel: .49,.48,.45")] = None,
    std: Annotated[str | None, Parameter(help="likewise")] = None,
    zca: Annotated[
        Literal["kornia", "official"] | None, Parameter(help="whitening of its numbers; of pictures, the one to be done")
    ] = None,
    hard: Annotated[bool, Parameter(help="take the most likely class of soft labels", negative="")] = False,
    class_order: Annotated[
        str | None,
        Parameter(
            help="what number 0, 1, ... of a set is that does not name its classes: data, as the data order them; sorted, by "
            "WordNet number or else by name; or a file with one class a line"
        ),
    ] = None,
    decoder: Annotated[
        str | None, Parameter(help="what makes training images of stored ones: grid:2 for a set of IDC with factor 2")
    ] = None,
    reading: Reading = AS_SAID,
    overwrite: Annotated[bool, Parameter(help="replace a run that is there", negative="")] = False,
    note: Note = "",
    json: Json = False,
) -> None:
    """Read a set that another program wrote.

    The run can be evaluated, shown and reported like any other. Class names, shape and normalisation come from the data and
    from datadam.json, where there is one; nothing in the file is run.
    """
    from datadam.cli.options import set_line
    from datadam.cli.screen import result
    from datadam.errors import InvalidInput
    from datadam.exchange import format_named
    from datadam.exchange import import_ as read

    format_named(as_)
    if not path.exists():
        raise InvalidInput(f"{path} does not exist; give the file or folder of a distilled set")
    order = _order(class_order)
    numbers = [None if text is None else _numbers(name, text) for name, text in (("mean", mean), ("std", std))]
    real = reading.load(data)
    sets = read(
        path, as_, real, out, mean=numbers[0], std=numbers[1], zca=zca, hard=hard, class_order=order, decoder=decoder, note=note,
        command=command(), overwrite=overwrite,
    )  # fmt: skip
    one = sets[0]
    count = f"{len(sets)} sets of " if len(sets) > 1 else ""
    lines = [
        f"{out}: {count}{set_line(one.card)}",
        f"normalisation from: {one.card['imported']['normalisation']}",
        *(f"note: {text}" for text in dict.fromkeys(text for each in sets for text in each.card["warnings"])),
        f"judge it with: datadam evaluate {out}",
    ]
    result("\n".join(lines), {"run": str(out), "cards": [each.card for each in sets]}, as_json=json)


def _order(text: str | None) -> "Order | None":
    from datadam.errors import InvalidInput

    if text is None or text in ("data", "sorted"):
        return text
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"--class-order is {text!r}; allowed: data, sorted, or a text file with one class a line ({error})"
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _numbers(name: str, text: str) -> list[float]:
    from datadam.errors import InvalidInput

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(f"{name} is {text!r}; write one number for each channel, such as .49,.48,.45") from None
