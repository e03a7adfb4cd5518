"""Forms of a class name in which two writings of it are the same: without case, without punctuation, as a number."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

from datadam.data.official import IMAGENETTE, IMAGESQUAWK, IMAGEWOOF

Form = Callable[[str], str | None]


def numeric(names: Sequence[str]) -> bool:
    """Whether all of these names are whole numbers."""
    return bool(names) and all((value := as_number(name)) is not None and value.denominator == 1 for name in names)


def as_number(name: str) -> Fraction | None:
    """The value of a name that is a plain number, such as 1, 01, -1 or 1.50; None for any other."""
    text = unicodedata.normalize("NFKC", name).strip()
    return Fraction(text) if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text) else None


def exact(name: str) -> str:
    """The name itself."""
    return name


def folded(name: str) -> str:
    """Without case, and with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def plain(name: str) -> str | None:
    """Letters, digits and symbols alone; a number by its value, since a point and a minus count there."""
    if (value := as_number(name)) is not None:
        return f"number {value}"
    text = re.sub(r"[0-9]+", lambda run: run[0].lstrip("0") or "0", folded(name))
    text = re.sub(r"(?<=[0-9])[\W_]+(?=[0-9])", "\0", text)  # v1.2 is not v12
    return "".join(c for c in text if c == "\0" or unicodedata.category(c)[0] in "LNMS") or None


def wordnet(name: str) -> str | None:
    """The number of WordNet that a name holds or, as the catalog knows, means; "tench, Tinca tinca" means tench too."""
    if held := re.search(r"(?<![a-z0-9])n[0-9]{8}(?![0-9])", name.casefold()):
        return held[0]
    meant = {_numbers_of_words().get(plain(part) or "") for part in (name, *name.split(","))} - {None}
    return meant.pop() if len(meant) == 1 else None


@cache
def _numbers_of_words() -> dict[str, str]:
    return {plain(name) or "": wnid for wnid, name in (IMAGENETTE | IMAGEWOOF | IMAGESQUAWK).items()}


STAGES: tuple[tuple[Form, str], ...] = (
    (exact, ""),
    (folded, "but for case"),
    (plain, "but for case, punctuation and leading zeros"),
    (wordnet, "by their number of WordNet"),
)
"""The forms, each looser than the one before, and how a note calls names that are the same in it alone."""
