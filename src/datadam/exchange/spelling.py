"""What other programs call data sets, networks and methods, and how they normalise images.

A folder of one's own may be called like a known data set; its normalisation counts when the number of channels fits.

Sources: the loaders of DatasetCondensation (DC, DSA, DM), MTT, DataDAM and of the package ddranking 0.2.0; the rules of the
ECCV 2024 challenge.
"""

import re
from collections.abc import Callable, Sequence

from datadam.data import Transform
from datadam.data.catalog import CATALOG
from datadam.data.field import numbers

Numbers = Callable[[str, Transform], Transform]

DATA = {
    "mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100",
    "tiny-imagenet": "TinyImageNet", "imagenet-1k": "ImageNet1K", "imagenette": "ImageNette", "imagewoof": "ImageWoof",
    "imagesquawk": "ImageSquawk", "mhist": "MHIST",
}  # fmt: skip
METHODS = {"datadam": "DataDAM", "random": "Random", "herding": "Herding"}  # others in capitals
NETS = {
    "convnet": "ConvNet",
    "alexnet": "AlexNet",
    "vgg": "VGG",
    "resnet": "ResNet",
    "lenet": "LeNet",
    "mlp": "MLP",
    "vit": "ViT",
}

LONGEST = 200  # bytes of the name of a class folder, in UTF-8
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # names that Windows keeps for devices


def field(data: str, own: Transform) -> Transform:
    """The normalisation of DC, DSA, DM and DataDAM; of data that they do not know, ours."""
    known = numbers("field", data, len(own.mean))
    return Transform(*known) if known else plain(data, own)


def trajectories(data: str, own: Transform) -> Transform:
    """The normalisation of MTT, DATM, PAD, FTD and DD-Ranking, which give CIFAR-100 the numbers of CIFAR-10; else as `field`."""
    known = numbers("mtt", data, len(own.mean))
    return Transform(*known) if known else plain(data, own)


def of_program(numbers: Numbers, method: str) -> Numbers:
    """The normalisation of the program that a method's files are of: CAFE writes those of DC and DM, and normalises as MTT."""
    return trajectories if numbers is field and method.casefold() == "cafe" else numbers


def plain(data: str, own: Transform) -> Transform:
    """Mean and standard deviation of the data, without whitening; (0, 1), bare pixels, where only whitening is known."""
    row = CATALOG.get(data)
    if row is not None and row.mean is not None and row.std is not None and len(row.mean) == len(own.mean):
        return Transform(row.mean, row.std)
    return Transform(own.mean, own.std)


def bare(data: str, own: Transform) -> Transform:
    """Pixels in [0, 1]."""
    return Transform((0.0,) * len(own.mean), (1.0,) * len(own.mean))


def same(data: str, own: Transform) -> Transform:
    """The set's own space, whatever it is."""
    return own


def of_data(name: str) -> str:
    """A data set as the field spells it: CIFAR10; of data of one's own, its name without what a file name may not hold."""
    return DATA.get(name, safe(name))


def of_method(name: str) -> str:
    """A method as the field spells it: DM, DataDAM."""
    return METHODS.get(name, safe(name.upper()))


def of_net(spec: str) -> str:
    """A network as the field spells it: "convnet3:width=64" is a ConvNet."""
    kind = re.match(r"[a-z]*", spec)
    return NETS.get(kind[0] if kind else "", safe(spec))


def folder_names(classes: Sequence[str]) -> list[str]:
    """What the folders of classes are called: like them, without what file systems refuse; different ones, also where case does
    not count."""
    taken: set[str] = set()
    names = []
    for name in classes:
        plain = (
            re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]+', "_", " ".join(name.split()))
            .strip(". ")
            .encode()[:LONGEST]
            .decode(errors="ignore")
        )
        plain = f"_{plain}" if not plain or RESERVED.fullmatch(plain) else plain
        n, found = 1, plain
        while found.casefold() in taken:
            n += 1
            found = f"{plain} ({n})"
        taken.add(found.casefold())
        names.append(found)
    return names


def safe(text: str) -> str:
    """Text as a part of a file name: letters, digits, dot and hyphen."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")[:60] or "unnamed"
