"""Numbers as people read them: 60 000, 47.0 MB, 2 min 3 s, 97.1 %."""

from typing import Any

from datadam.errors import InvalidInput

THIN = "\u202f"  # narrow no-break space: keeps a number and its unit on one line


def count(number: int) -> str:
    """Thousands apart: 60000 -> "60 000"."""
    return f"{number:,}".replace(",", THIN)


def size(number: float) -> str:
    """Bytes in powers of 1000: 47040000 -> "47.0 MB"."""
    units = ["B", "kB", "MB", "GB", "TB"]
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.{0 if power == 0 or number >= 99.5 else 1}f}{THIN}{units[power]}"


def duration(seconds: float) -> str:
    """The two largest units: 123.4 -> "2 min 3 s"."""
    if seconds < 0:
        raise InvalidInput(f"a duration of {seconds} seconds: it must not be negative.")
    if seconds < 9.95:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    for unit, length, smaller, step in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // step
            return f"{whole // length}{THIN}{unit}" + (f" {rest}{THIN}{smaller}" if rest else "")
    return f"{whole}{THIN}s"


def percent(share: float, digits: int = 1) -> str:
    """A share of one: 0.9712 -> "97.1 %"."""
    return f"{100 * share:.{digits}f}{THIN}%"


def shorten(text: str, length: int) -> str:
    """One line of at most `length` characters, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def plural(number: int, one: str, many: str = "") -> str:
    """1 -> "1 image", 100 -> "100 images"."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def method_name(card: dict[str, Any]) -> str:
    """What made the images: the method, or how the real images were chosen."""
    method = card["recipe"].get("method")
    return str(method.get("name", "an unnamed method") if isinstance(method, dict) else method)
