"""What settings depend on beside ipc: of published ones the name of the data and the shape of an image."""

from typing import NamedTuple, Protocol

from datadam.augment.siamese import strategy_for

CLASSES = {"cifar100": 100, "tiny-imagenet": 200}  # of data that released code knows; its others have ten


class Kind(Protocol):
    """What presets read of data; `RealData` is one, and `Sketch` where there are none."""

    @property
    def name(self) -> str:
        """Such as "mnist"."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    def flips(self) -> bool:
        """Whether a mirror leaves an image in its class."""

    @property
    def members(self) -> int | None:
        """Training images of the smallest class; None where the data are not there."""

    @property
    def training_images(self) -> int | None:
        """Training images of all classes; None likewise."""


class Sketch(NamedTuple):
    """A kind of data without the data, to see settings before anything is read."""

    name: str
    shape: tuple[int, int, int]
    flips: bool = True
    members: int | None = None
    training_images: int | None = None


def strategy(real: Kind) -> str:
    """The Siamese augmentation of these data: all operations, but no mirror where that would be another class."""
    return strategy_for(real.name, flips=real.flips)


def of_each(images: int, real: Kind) -> int:
    """Real images of a class, where an iteration of released code draws so many of all: by the classes of the data it knows, and
    else as of ten."""
    return max(1, images // CLASSES.get(real.name, 10))


def as_released(norm: str, real: Kind, net: str = "auto") -> str:
    """The network of the field's code: it widens one-channel images of any size (those of 28x28 are widened anyway)."""
    wide = real.shape[0] == 1 and real.shape[1:] != (28, 28)
    return ":".join([net, *([f"norm={norm}"] if norm != "instance" else []), *(["widen=grey"] if wide else [])])
