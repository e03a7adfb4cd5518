"""What published settings depend on beside ipc: the name of the data and the shape of an image."""

from typing import NamedTuple, Protocol


class Kind(Protocol):
    """Anything with a name and a shape; `RealData` has both."""

    @property
    def name(self) -> str:
        """Such as "mnist"."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""


class Sketch(NamedTuple):
    """A kind of data without the data, to see settings before anything is read."""

    name: str
    shape: tuple[int, int, int]
