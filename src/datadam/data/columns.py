"""What the columns of labelled images are called, in tables and in items that are dictionaries."""

from collections.abc import Iterable, Sequence

IMAGE_COLUMNS = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "picture")
LABEL_COLUMNS = ("label", "labels", "target", "class", "cls", "fine_label")


def pick(wanted: Sequence[str], names: Iterable[str]) -> str | None:
    """The first of the wanted names that is there, whatever its case."""
    known = {name.lower(): name for name in names}
    return next((known[name] for name in wanted if name in known), None)
