"""The sets of MedMNIST whose images are flat and have one label each, from the .npz file that each is published as.

Shapes: N images, S the side of an image, C channels, K classes.
"""

import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from datadam import machine
from datadam.data.named import Download, Layout, NamedData
from datadam.data.official import Asked
from datadam.data.real import Raw, Split
from datadam.errors import DataError, NotEnoughMemory

HOST = "https://zenodo.org/records/10519652/files"
SIDES = (28, 64, 128, 224)  # the first is the usual one, whose file's name does not say so
VOLUMES = ("organmnist3d", "nodulemnist3d", "adrenalmnist3d", "fracturemnist3d", "vesselmnist3d", "synapsemnist3d")
REFUSED = {name: f"{name} holds volumes, and only flat images can be distilled" for name in VOLUMES} | {
    "chestmnist": "an image of chestmnist may have several of its 14 labels or none, and a class is one label an image"
}
ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip


def read(folder: Path, asked: Asked, *, name: str, shape: tuple[int, int, int], classes: tuple[str, ...]) -> Raw:
    """NAME.npz: train_images, train_labels, test_images, test_labels, and a validation part that is left alone.

    Arguments: `name` of the file, `shape` (C, S, S). Raises DataError, NotEnoughMemory.
    """
    path = folder / f"{name}.npz"
    wanted = [f"{part}_{what}" for part in ("train", "test") for what in ("images", "labels")]
    try:
        with zipfile.ZipFile(path) as packed:
            held = {item.filename: item.file_size for item in packed.infolist()}
        if missing := [key for key in wanted if f"{key}.npy" not in held]:
            raise DataError(f"{path} lacks {', '.join(missing)}: it is not a file of MedMNIST. Fetch the set again.")
        needed = sum(held[f"{key}.npy"] for key in wanted)
        if needed > machine.available_memory() // 2:
            raise NotEnoughMemory(f"{path} holds {needed} bytes of images, which do not fit into memory; take a smaller --size")
        with np.load(path, allow_pickle=False) as arrays:
            found = [arrays[key] for key in wanted]
    except (OSError, ValueError, EOFError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, (DataError, NotEnoughMemory)):
            raise
        raise DataError(f"{path} cannot be read as an .npz of plain arrays: {error}. Fetch the set again.") from error
    c, side, _ = shape
    parts = []
    for images, labels in (found[:2], found[2:]):
        usual = images.dtype == np.uint8 and images.shape[1:] == ((side, side) if c == 1 else (side, side, c))
        if not usual or labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)):
            raise DataError(
                f"{path}: images must be uint8 [N, {side}, {side}{'' if c == 1 else ', 3'}] with one label each; {images.dtype} "
                f"{list(images.shape)} and {labels.dtype} {list(labels.shape)} came. Fetch the set again."
            )
        pixels = images[:, None] if c == 1 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        parts.append(Split(pixels, labels.reshape(-1).astype(np.int64)))
    notes = ("the validation part was left alone.",) if "val_images.npy" in held else ()
    return Raw(classes, parts[0], parts[1], notes)


def _row(
    name: str, title: str, c: int, classes: tuple[str, ...], counts: str, checksums: tuple[str, ...], *, flips: bool = True
) -> NamedData:
    """The rows of all sizes; `checksums`, md5 of the files of SIDES."""

    def sized(side: int, md5: str) -> NamedData:
        file, shape = name if side == SIDES[0] else f"{name}_{side}", (c, side, side)
        reader = partial(read, name=file, shape=shape, classes=classes)
        return NamedData(
            title=f"{title}: {len(classes)} classes, {c} x {side} x {side}, {counts}",
            shape=shape,
            layouts=tuple(Layout(folder, f"{file}.npz", reader) for folder in ("medmnist", ".medmnist")),
            flips=flips,
            downloads=(Download(f"{HOST}/{file}.npz", f"md5:{md5}", to="medmnist"),),
        )

    sizes = {side: sized(side, md5) for side, md5 in zip(SIDES, checksums, strict=True)}
    usual = sizes[SIDES[0]]
    return NamedData(
        title=f"{usual.title} (--size 64, 128, 224)",
        shape=usual.shape,
        layouts=usual.layouts,
        flips=flips,
        downloads=usual.downloads,
        sizes=sizes,
    )


ROWS = {
    "pathmnist": _row(
        "pathmnist",
        "PathMNIST, tissue of the colon",
        3,
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        "89 996 + 7 180",
        (
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ),
    ),
    "dermamnist": _row(
        "dermamnist",
        "DermaMNIST, spots on the skin",
        3,
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        "7 007 + 2 005",
        (
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ),
    ),
    "octmnist": _row(
        "octmnist",
        "OCTMNIST, retinas by tomography",
        1,
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        "97 477 + 1 000",
        (
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ),
    ),
    "pneumoniamnist": _row(
        "pneumoniamnist",
        "PneumoniaMNIST, X-rays of the chest",
        1,
        ("normal", "pneumonia"),
        "4 708 + 624",
        (
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ),
    ),
    "retinamnist": _row(
        "retinamnist",
        "RetinaMNIST, grades of retinopathy",
        3,
        ("0", "1", "2", "3", "4"),
        "1 080 + 400",
        (
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ),
    ),
    "breastmnist": _row(
        "breastmnist",
        "BreastMNIST, ultrasound",
        1,
        ("malignant", "normal, benign"),
        "546 + 156",
        (
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ),
    ),
    "bloodmnist": _row(
        "bloodmnist",
        "BloodMNIST, blood cells",
        3,
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        "11 959 + 3 421",
        (
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ),
    ),
    "tissuemnist": _row(
        "tissuemnist",
        "TissueMNIST, kidney cells",
        1,
        (
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        "165 466 + 47 280",
        (
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ),
    ),
    # In these two views a mirror makes a left organ a right one.
    "organamnist": _row(
        "organamnist",
        "OrganAMNIST, organs in axial slices",
        1,
        ORGANS,
        "34 561 + 17 778",
        (
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ),
        flips=False,
    ),
    "organcmnist": _row(
        "organcmnist",
        "OrganCMNIST, organs in coronal slices",
        1,
        ORGANS,
        "12 975 + 8 216",
        (
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ),
        flips=False,
    ),
    "organsmnist": _row(
        "organsmnist",
        "OrganSMNIST, organs in sagittal slices",
        1,
        ORGANS,
        "13 932 + 8 827",
        (
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ),
    ),
}
