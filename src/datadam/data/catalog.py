"""The data sets known by name, and `load`, the one way to real data."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datadam import plugins
from datadam.data import arrays, binary, cifar101, four_files, hub_objects, letters, medmnist, official, stl10, svhn, usps
from datadam.data.arrangement import CLASSES
from datadam.data.field import Normalisation, check_normalisation
from datadam.data.named import (
    Download,
    Fit,
    Layout,
    NamedData,
    Progress,
    absolute,
    class_folders,
    default_root,
    read_named,
    refuse,
)
from datadam.data.official import Asked
from datadam.data.parts import holds_parquet
from datadam.data.real import Raw, RealData, Split, hold_out, statistics
from datadam.data.rendering import Bits, rendering
from datadam.data.whitening import Transform, Variant, check_variant
from datadam.errors import DataError, InvalidInput, UnknownName

PATH_MARKS = ("/", "\\", "~")  # in what is meant as a path and not as a name
IN_ORDER_OF_WORDNET = ("tiny-imagenet", "imagenet-1k")
FITS: tuple[Fit, ...] = ("crop", "squash", "pad")

DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORONTO = "https://www.cs.toronto.edu/~kriz"
FASHION_HOST = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"
ASK_IMAGENET = (
    "ImageNet is given on request at https://image-net.org/download. Put its images under "
    "{root}/ILSVRC/train/WNID/*.JPEG and {root}/ILSVRC/val/WNID/*.JPEG, one folder a class (WNID such as n01440764)"
)
ASK_MHIST = (
    "MHIST is given on request at https://bmirds.github.io/MHIST. Put annotations.csv and the folder images (unpacked) "
    "into {root}/mhist"
)
ASK_CINIC = (
    "Fetch CINIC-10.tar.gz (md5 6ee4d0c996905fe93221de577967a372) from https://datashare.ed.ac.uk/handle/10283/3192 and unpack "
    "it into {root}/CINIC-10, so that {root}/CINIC-10/train/CLASS/*.png is there, and test and valid beside train"
)


def _bare(read: Callable[[Path], Raw]) -> Callable[[Path, Asked], Raw]:
    """A reader of a format that leaves nothing to ask for."""
    return lambda folder, asked: read(folder)


def _idx(folders: tuple[str, ...], classes: tuple[str, ...]) -> tuple[Layout, ...]:
    # The last of the four files is the mark, so that an interrupted download goes on.
    read = _bare(partial(binary.read_mnist, classes=classes))
    return tuple(Layout(folder, f"t10k-labels-idx1-ubyte{end}", read) for folder in folders for end in ("", ".gz"))


def _imagenet(folders: tuple[str, ...], classes: Mapping[str, str] | None) -> tuple[Layout, ...]:
    read = partial(official.read_imagenet, classes=classes)
    return tuple(Layout(folder, "train", read) for folder in folders)


CATALOG: dict[str, NamedData] = {
    "mnist": NamedData(
        title="MNIST: 10 digits, 1 x 28 x 28, 60 000 + 10 000 (comes with datadam)",
        shape=(1, 28, 28),
        layouts=_idx(("MNIST/raw", "raw"), DIGITS),
        mean=(0.1307,),
        std=(0.3081,),
        packaged=Path(__file__).parent / "mnist",
    ),
    "fashion-mnist": NamedData(
        title="Fashion-MNIST: 10 kinds of clothes, 1 x 28 x 28, 60 000 + 10 000",
        shape=(1, 28, 28),
        layouts=_idx(("FashionMNIST/raw", "raw"), FASHION),
        downloads=tuple(
            Download(f"{FASHION_HOST}/{name}-ubyte.gz", f"md5:{md5}", to="FashionMNIST/raw")
            for name, md5 in (
                ("train-images-idx3", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                ("train-labels-idx1", "25c81989df183df01b3e8a0aad5dffbe"),
                ("t10k-images-idx3", "bef4ecab320f06d8554ea6380940ec79"),
                ("t10k-labels-idx1", "bb300cfdad3c16e7a12a480ee83cd310"),
            )
        ),
    ),
    "cifar10": NamedData(
        title="CIFAR-10: 10 classes, 3 x 32 x 32, 50 000 + 10 000",
        shape=(3, 32, 32),
        layouts=(
            Layout("cifar-10-batches-bin", "data_batch_1.bin", _bare(binary.read_cifar10)),
            Layout("cifar-10-batches-py", "data_batch_1", _bare(binary.read_cifar10_python)),
        ),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        downloads=(Download(f"{TORONTO}/cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),),
        read_test=cifar101.read,
    ),
    "cifar100": NamedData(
        title="CIFAR-100: 100 classes (the fine labels), 3 x 32 x 32, 50 000 + 10 000",
        shape=(3, 32, 32),
        layouts=(
            Layout("cifar-100-binary", "train.bin", _bare(binary.read_cifar100)),
            Layout("cifar-100-python", "meta", _bare(binary.read_cifar100_python)),
        ),
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        downloads=(Download(f"{TORONTO}/cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8"),),
    ),
    "tiny-imagenet": NamedData(
        title="Tiny ImageNet: 200 classes, 3 x 64 x 64, 100 000 + 10 000 (the validation part)",
        shape=(3, 64, 64),
        layouts=(Layout("tiny-imagenet-200", "wnids.txt", official.read_tiny_imagenet),),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_files=True,
        size=64,
        fit="squash",
        downloads=(Download("https://cs231n.stanford.edu/tiny-imagenet-200.zip", "md5:90528d7ca1a48142e341f4ef8d21d0de"),),
    ),
    "imagenet-1k": NamedData(
        title="ImageNet-1K: 1 000 classes, resized to 3 x 64 x 64, 1 281 167 + 50 000 (the validation part)",
        shape=(3, 64, 64),
        layouts=_imagenet(("ILSVRC",), None),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_files=True,
        size=64,
        fit="squash",
        ask=ASK_IMAGENET,
    ),
    "imagenette": NamedData(
        title="ImageNette: 10 assorted classes of ImageNet, 3 x 128 x 128, 9 469 + 3 925",
        shape=(3, 128, 128),
        layouts=_imagenet(("imagenette2-128", "imagenette2-160", "imagenette2-320", "imagenette2"), official.IMAGENETTE),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_files=True,
        size=128,
        fit="crop",
        downloads=(Download(f"{FASTAI}/imagenette2-160.tgz", "md5:e793b78cc4c9e9a4ccc0c1155377a412"),),
    ),
    "imagewoof": NamedData(
        title="ImageWoof: 10 breeds of dogs of ImageNet, 3 x 128 x 128, 9 025 + 3 929",
        shape=(3, 128, 128),
        layouts=_imagenet(("imagewoof2-128", "imagewoof2-160", "imagewoof2-320", "imagewoof2"), official.IMAGEWOOF),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_files=True,
        size=128,
        fit="crop",
        downloads=(Download(f"{FASTAI}/imagewoof2-160.tgz"),),
    ),
    "imagesquawk": NamedData(
        title="ImageSquawk: 10 birds of ImageNet, 3 x 128 x 128, read from the folders of ImageNet-1K",
        shape=(3, 128, 128),
        layouts=_imagenet(("imagesquawk", "ILSVRC"), official.IMAGESQUAWK),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_files=True,
        size=128,
        fit="crop",
        ask=ASK_IMAGENET,
    ),
    "mhist": NamedData(
        title="MHIST: 2 kinds of colorectal polyps, 3 x 224 x 224, 2 175 + 977",
        shape=(3, 224, 224),
        layouts=(Layout("mhist", "annotations.csv", official.read_mhist),),
        image_files=True,
        ask=ASK_MHIST,
    ),
    "cinic10": NamedData(
        title="CINIC-10: the classes of CIFAR-10, 3 x 32 x 32, 90 000 + 90 000 (the validation part is left alone)",
        shape=(3, 32, 32),
        layouts=tuple(Layout(folder, "valid/airplane", official.read_cinic10) for folder in ("CINIC-10", "cinic-10", "cinic10")),
        image_files=True,
        size=32,
        fit="squash",
        ask=ASK_CINIC,
    ),
    "svhn": svhn.SVHN,
    "stl10": stl10.STL10,
    "usps": usps.USPS,
    **letters.ROWS,
    **medmnist.ROWS,
}


def load(
    source: Any,
    *,
    root: str | os.PathLike[str] | None = None,
    size: int | None = None,
    fit: Fit | None = None,
    test: Any | None = None,
    skip_bad: bool = False,
    labels_as_numbers: bool = False,
    skip_unlabelled: bool = False,
    bits: Bits | None = None,
    background: str | int | None = None,
    layout: str | None = None,
    normalisation: Normalisation = "own",
    zca: Literal[False] | Variant = False,
    flip: bool = True,
    memory_limit: int | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> RealData:
    """Load real data with its training and test part.

    Arguments: `source`, a name of CATALOG, a path (a folder of images, an .npz, a parquet file or a folder of them),
    "hf:owner/name", a data set of (image, label) of torch or of the package datasets, or arrays (x_train, y_train[, x_test,
    y_test]); `root`, where named sets lie or are downloaded to ($DATADAM_ROOT, else ~/.cache/datadam); `size` and `fit`, to
    which square and how images of files are resized; `test`, the test part where `source` is only the training part;
    `skip_bad`, leave out unreadable images instead of refusing; `labels_as_numbers`, equal numbers of both parts are equal
    classes, whatever they are called; `skip_unlabelled`, leave out images whose label is -1 or missing instead of refusing;
    `bits`, from 8 to 16, how many are in use in images of more than 8 bits a channel, which are scaled ("auto": as many as
    their largest number needs); `background`, "black", "white" or a level from 0 to 255, what lies behind transparent images;
    `layout`, where it is not plain: for arrays the order of their axes, such as "HWCN", and for folders "classes", which says
    that the folders inside are the classes, whatever they are called and hold; `normalisation`, as
    `RealData.with_normalisation`; `zca`, whiten like `RealData.with_zca`; `flip`, False for images that a mirror puts into
    another class: presets and protocols then leave flip out of their augmentation, as for digits; `memory_limit`, in bytes,
    beyond which decoded images stay on disk; `download`, whether an absent public set is fetched; `progress(what, done, total)`,
    called now and then.
    Both parts agree by the names of classes, where they have any. Without a test part a fifth of each class is held out, always
    the same images.
    Raises UnknownName, DataError (also where a set must be asked for), DownloadError, NotEnoughMemory.
    """
    if fit is not None and fit not in FITS:
        raise InvalidInput(f"unknown fit {fit!r}. Known: {', '.join(FITS)}.")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise InvalidInput(f"size must be a positive whole number of pixels; {size!r} came.")
    check_normalisation(normalisation)
    if zca:
        check_variant(zca)
    rendered = rendering(bits, background)
    asked = Asked(
        size=size, fit=fit, test=test, skip_bad=skip_bad, labels_as_numbers=labels_as_numbers, skip_unlabelled=skip_unlabelled,
        rendered=rendered, layout=layout, memory_limit=memory_limit, progress=progress,
    )  # fmt: skip
    row = row_named(source) if isinstance(source, str) else None
    named = row is not None
    path = None
    if isinstance(source, (str, os.PathLike)) and not named and not str(source).startswith("hf:"):
        path = absolute(source)
        if not path.exists():
            if not isinstance(source, str) or path.suffix[1:].isalpha() or any(mark in source for mark in PATH_MARKS):
                sets = f"or the name of a data set ({', '.join(CATALOG)})"
                raise DataError(f"no such file or folder: {path}; give the path of data that are there, {sets}")
            if source in medmnist.REFUSED:
                raise DataError(f"{medmnist.REFUSED[source]}. Those that can: {', '.join(medmnist.ROWS)}.")
            raise UnknownName(
                "data set", source, [*CATALOG, *plugins.names("data")], f"No folder or file of that name exists either: {path}."
            )
    if root is not None and not named:
        raise InvalidInput(f"root= says where named sets lie ({', '.join(CATALOG)}), and this is not one. Leave it out.")
    if row is not None:
        name, kept = source, source
        raw = read_named(name, row, default_root() if root is None else absolute(root), asked, download)
    elif isinstance(source, str) and source.startswith("hf:"):
        name, kept = source.removeprefix("hf:").rpartition("/")[2], source
        refuse("data sets of the hub", {"layout": layout}, "Their images are encoded one by one.")
        raw = official.read_hub(source.removeprefix("hf:"), asked)
    elif path is not None:
        name, kept = _name_of(path), str(path)
        raw = _read_path(path, asked)
    else:
        name, kept = "arrays", ""
        raw = _read_object(source, asked)
    train, test_part, notes = hold_out(raw)
    options = _options(kept, root, asked, background, row) | ({} if flip and (row is None or row.flips) else {"flip": False})
    real = RealData(name, kept, options, raw.classes, train, test_part, _normalisation(row, train), notes)
    real = real.with_normalisation(normalisation)
    return real.with_zca(zca) if zca else real


def wordnet_folders(real: RealData) -> tuple[str, ...] | None:
    """The WordNet numbers of the classes, where those of a set of the catalog stand in their order: what its folders are called.
    None for other data, and where the folders cannot be found any more."""
    row = CATALOG.get(real.source) if real.source in IN_ORDER_OF_WORDNET else None
    root = real.options.get("root")
    found = None if row is None else class_folders(row, default_root() if root is None else Path(root))
    return found if found is not None and len(found) == len(real.classes) else None


def row_named(name: str) -> NamedData | None:
    """The row of a named data set: ours, else that of an installed package unless a folder or file is called so.

    Raises `InvalidInput` where a package's row cannot be used.
    """
    if name in CATALOG:
        return CATALOG[name]
    return None if name not in plugins.names("data") or Path(name).exists() else plugins.find("data", name, _checked)


def listed() -> plugins.Listed[NamedData]:
    """Our data sets and those of installed packages."""
    return plugins.listed("data", CATALOG, _checked)


def _checked(name: str, loaded: object) -> NamedData:
    """What a package offers under this name, if it is the row of a data set. Raises `InvalidInput`."""
    if not isinstance(loaded, NamedData):
        raise InvalidInput(f"it must be a datadam.data.Row, and is {loaded!r}")
    if not loaded.layouts:
        raise InvalidInput("its row has no layout, so that nothing says where its files lie and who reads them")
    return loaded


def _read_object(source: Any, asked: Asked) -> Raw:
    """Data that are in memory already."""
    as_numbers, skip = asked.labels_as_numbers, asked.skip_unlabelled
    if hub_objects.is_one(source):
        return hub_objects.read(source, asked)
    refuse("arrays and data sets", asked.of_files())
    if isinstance(source, (tuple, list)):
        refuse("arrays", {"test": asked.test}, "Give (x_train, y_train, x_test, y_test).")
        return arrays.from_arrays(source, asked.layout, labels_as_numbers=as_numbers, skip_unlabelled=skip)
    refuse("data sets", {"layout": asked.layout}, "Let it give tensors, which are always [C, H, W].")
    return arrays.from_dataset(source, asked.test, labels_as_numbers=as_numbers, skip_unlabelled=skip)


def _name_of(path: Path) -> str:
    sets = four_files.sets_in(path)
    own = path.stem if path.is_file() else path.name
    return sets[0].name or path.parent.name if sets and path.is_file() else own


def _read_path(path: Path, asked: Asked) -> Raw:
    test = None if asked.test is None else absolute(asked.test)
    if test is not None and not test.exists():
        raise DataError(f"the test part {test} does not exist.")
    if four_files.sets_in(path):
        refuse(
            "sets of four files", {**asked.of_files(), "layout": asked.layout, "test": test}, "They say all of this themselves."
        )
        return four_files.read(path, labels_as_numbers=asked.labels_as_numbers, skip_unlabelled=asked.skip_unlabelled)
    if path.suffix == ".npz":
        from datadam.data import tables

        refuse(".npz files", asked.of_files())
        return tables.read_npz(
            path,
            test=test,
            layout=asked.layout,
            labels_as_numbers=asked.labels_as_numbers,
            skip_unlabelled=asked.skip_unlabelled,
        )
    if path.suffix == ".parquet" or (path.is_dir() and holds_parquet(path)):
        from datadam.data import tables

        refuse("parquet files", {"layout": asked.layout}, "Their images are encoded one by one.")
        return tables.read_parquet(
            path,
            size=asked.size,
            fit=asked.fit,
            test=test,
            skip_bad=asked.skip_bad,
            labels_as_numbers=asked.labels_as_numbers,
            skip_unlabelled=asked.skip_unlabelled,
            memory_limit=asked.memory_limit,
            progress=asked.progress,
            rendered=asked.rendered,
        )
    if not path.is_dir():
        raise DataError(f"{path} is no folder of images, no .npz and no .parquet; these can be loaded.")
    if asked.layout not in (None, CLASSES):
        raise InvalidInput(f"layout is {asked.layout!r}; for a folder of images it can only be {CLASSES!r}.")
    return official.read_folder(path, asked, test=test)


def _normalisation(row: NamedData | None, train: Split) -> Transform:
    if row is not None and row.mean is not None and row.std is not None:
        return Transform(row.mean, row.std)
    return Transform(*statistics(train.pixels))


def _options(
    kept: str, root: str | os.PathLike[str] | None, asked: Asked, background: str | int | None, row: NamedData | None
) -> dict[str, Any]:
    """What `load` needs beside the source to load the same again; nothing for data in memory, which cannot be."""
    if not kept:
        return {}
    options: dict[str, Any] = {} if root is None else {"root": str(absolute(root))}
    if asked.test is not None:
        options["test"] = str(asked.test) if kept.startswith("hf:") else str(absolute(asked.test))
    if asked.size:  # how they were resized is said also where nobody asked
        fit = asked.fit or (row.fit if row else None) or "crop"
        options |= {"size": asked.size} | ({} if row and row.sizes else {"fit": fit})
    options |= {key: True for key in ("labels_as_numbers", "skip_unlabelled") if getattr(asked, key)}
    given = {"skip_bad": asked.skip_bad or None, "bits": asked.rendered.bits, "background": background, "layout": asked.layout}
    return options | {key: value for key, value in given.items() if value is not None}
