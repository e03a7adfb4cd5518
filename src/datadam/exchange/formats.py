"""The formats by name."""

from datadam.errors import UnknownName
from datadam.exchange import condensation, folder, kip, npz, parquet, spelling, tensors
from datadam.exchange.base import Format

PIXELS = "order, labels, class names, 8 bits of each pixel"
FLOATS = "every bit of the images as written, order, labels, class names"
UNSAID = "whitening, unless it is kept (--keep-zca)"

FORMATS: dict[str, Format] = {
    "folder": Format(
        title="PNG images, one folder a class",
        readers="ImageFolder of torchvision and timm, RDED, SRe2L, Pillow, people",
        kept=PIXELS, lost="what 8 bits round away, values outside [0, 1]",
        numbers=None, write=folder.write, read=folder.read, files=folder.files,
    ),
    "parquet": Format(
        title="parquet with image and label columns, and a data set card",
        readers="datasets (load_dataset), the Hugging Face hub, pandas, pyarrow, datadam distill",
        kept=PIXELS, lost="what 8 bits round away, values outside [0, 1]",
        numbers=None, write=parquet.write, read=parquet.read, files=parquet.files,
    ),
    "npz": Format(
        title="one .npz of images, labels, classes, mean, std and whitening",
        readers="numpy alone",
        kept="every bit, order, labels (soft ones too), class names, normalisation, whitening, a learned rate",
        lost="nothing but how it was made",
        numbers=spelling.same, write=npz.write, read=npz.read, files=npz.files, own_space=True, soft=True, rated=True,
    ),
    "ddranking": Format(
        title="images.pt, labels.pt, lr.pt",
        readers="the package ddranking",
        kept=f"{FLOATS}, soft labels, a learned rate", lost=UNSAID,
        numbers=spelling.trajectories, write=tensors.writer(""), read=tensors.read, files=tensors.files, soft=True, rated=True,
    ),
    "mtt": Format(
        title="images_best.pt, labels_best.pt, lr_best.pt",
        readers="MTT, DATM, PAD, FTD and their kin",
        kept=f"{FLOATS}, soft labels, a learned rate", lost=UNSAID,
        numbers=spelling.trajectories, write=tensors.writer("_best"), read=tensors.read, files=tensors.files,
        soft=True, rated=True, ordered=True,
    ),
    "dm": Format(
        title="res_METHOD_DATA_NET_Nipc.pt, one set or several",
        readers="DatasetCondensation (DC, DSA, DM), DataDAM, CAFE, DC-Bench",
        kept=FLOATS, lost=UNSAID,
        numbers=spelling.field, write=condensation.write, read=condensation.read, files=condensation.files, several=True,
        ordered=True,
    ),
    "eccv24": Format(
        title="a bare tensor of images, class after class",
        readers="the evaluation of the ECCV 2024 challenge",
        kept=FLOATS, lost=f"{UNSAID}; labels, which the order says",
        numbers=spelling.plain, write=tensors.write_eccv, read=tensors.read_eccv, files=tensors.files_eccv, equal=True,
    ),
    "datadam": Format(
        title="syn_data_DATA_ipc_N.pt, as the authors of DataDAM released theirs",
        readers="distill_test_model.py of DataDAM (with the weights of a network, which is not written)",
        kept=FLOATS, lost=UNSAID,
        numbers=spelling.field, write=condensation.write_released, read=condensation.read_released,
        files=condensation.files_released, ordered=True,
    ),
    "idc": Format(
        title="data.pt: images in [0, 1] and labels",
        readers="IDC, DREAM",
        kept="images but for rounding of float32, order, labels, class names", lost="whitening, which import makes again",
        numbers=spelling.bare, write=condensation.write_pair, read=condensation.read_pair, files=condensation.files_pair,
        bare=True,
    ),
    "kip": Format(
        title=".npz of images [M, H, W, C] and centred one-hot labels",
        readers="KIP, DC-Bench",
        kept=FLOATS, lost="whitening, unless it is kept (--keep-zca); sets in KIP's own whitening are refused",
        numbers=spelling.plain, write=kip.write, read=kip.read, files=kip.files,
    ),
}  # fmt: skip


def format_named(name: str) -> Format:
    """A format by name. Raises `UnknownName`."""
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS, "See: datadam list formats.")
    return FORMATS[name]
