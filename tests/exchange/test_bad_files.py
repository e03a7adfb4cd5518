"""Files that are damaged, renamed, hostile or of other sets: refused with the reason, in every format, and nothing is written."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import make_real

from datadam.data import RealData
from datadam.errors import ArtifactError
from datadam.exchange import FORMATS, import_
from datadam.sets.distilled import DistilledSet

Bare = Callable[[DistilledSet, str], Path]
TENSORS = [name for name in FORMATS if name in ("ddranking", "mtt", "dm", "eccv24", "datadam")]
ARCHIVES = ["npz", "kip"]


def victim(path: Path) -> Path:
    """The file that is damaged: itself, or the first picture of a folder."""
    return path if path.is_file() else sorted(path.rglob("*.png"))[0]


@pytest.mark.parametrize("to", FORMATS)
def test_a_truncated_file(small: DistilledSet, animals: RealData, bare: Bare, tmp_path: Path, to: str) -> None:
    path = bare(small, to)
    file = victim(path)
    whole = file.read_bytes()
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:length])
        with pytest.raises(ArtifactError):
            import_(path, to, animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_of_another_kind_under_its_name(
    small: DistilledSet, animals: RealData, bare: Bare, tmp_path: Path, to: str
) -> None:
    path = bare(small, to)
    others = {name: victim(bare(small, name)).read_bytes() for name in FORMATS if name != to}
    alike = ({"ddranking", "mtt", "eccv24"}, {"npz", "kip"})  # images under one name, which are read
    others = {name: data for name, data in others.items() if not any({name, to} <= pair for pair in alike)}
    for data in (*others.values(), b"hello", b"\x80\x04N.", pickle.dumps({"data": 1})):
        if data != victim(path).read_bytes():
            victim(path).write_bytes(data)
            with pytest.raises(ArtifactError):
                import_(path, to, animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("to", FORMATS)
def test_a_set_of_other_data(small: DistilledSet, animals: RealData, bare: Bare, tmp_path: Path, to: str) -> None:
    path = bare(small, to)
    for other in (make_real(classes=3, shape=(1, 8, 8)), make_real(classes=3, shape=(3, 8, 9)), make_real(classes=4)):
        with pytest.raises(ArtifactError, match="data"):
            import_(path, to, other, tmp_path / "run")
    few = replace(animals, train=animals.train.take(np.concatenate([of_class[:1] for of_class in animals.by_class])))
    with pytest.raises(ArtifactError, match=r"than the 3 real ones|6 rows .* the data have 3 images|labels without"):
        import_(path, to, few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Attack:
    """What unpickling would run."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("to", TENSORS)
@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_with_a_program(animals: RealData, bare: Bare, small: DistilledSet, tmp_path: Path, to: str, old: bool) -> None:
    path, hacked = bare(small, to), tmp_path / "hacked"
    for value in (Attack(hacked), {"data": [[small.images, small.labels]], "more": Attack(hacked)}):
        torch.save(value, path, _use_new_zipfile_serialization=not old)
        with pytest.raises(ArtifactError, match=r"wants .posix.mkdir., .* could run a program.*weights_only=False"):
            import_(path, to, animals, tmp_path / "run")
    assert not hacked.exists()


@pytest.mark.parametrize("to", ARCHIVES)
def test_arrays_of_objects(animals: RealData, bare: Bare, small: DistilledSet, tmp_path: Path, to: str) -> None:
    path = bare(small, to)
    np.savez(path, images=np.array([Attack(tmp_path / "hacked")], dtype=object), labels=small.labels.numpy())
    with pytest.raises(ArtifactError, match="objects never"):
        import_(path, to, animals)
    assert not (tmp_path / "hacked").exists()


def rezip(path: Path, change: Callable[[str, bytes], bytes | None], how: int = zipfile.ZIP_STORED) -> None:
    """The archive with changed records, whole again."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w", how) as made:
        for name in archive.namelist():
            if (record := change(name, archive.read(name))) is not None:
                made.writestr(name, record)
    path.write_bytes(out.getvalue())


def test_zip_bombs(animals: RealData, bare: Bare, small: DistilledSet) -> None:
    path = bare(small, "eccv24")
    rezip(path, lambda name, data: data + bytes(10**8) if name.endswith("/0") else data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    with pytest.raises(ArtifactError, match="packed"):
        import_(path, "eccv24", animals)
    path = bare(small, "npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(10**8))
    assert path.stat().st_size < 10**6
    with pytest.raises(ArtifactError, match="unpacks to 100000000 bytes"):
        import_(path, "npz", animals)


def test_tensors_that_claim_what_is_not_there(animals: RealData, bare: Bare, small: DistilledSet) -> None:
    path = bare(small, "eccv24")
    rezip(path, lambda name, data: data[:-4] if name.endswith("data/0") else data)
    with pytest.raises(ArtifactError, match="holds 4604 bytes of a tensor of 4608"):
        import_(path, "eccv24", animals)
    rezip(path, lambda name, data: None if name.endswith("data/0") else data)
    with pytest.raises(ArtifactError, match="holds 0 bytes of a tensor of 4608"):
        import_(path, "eccv24", animals)
    torch.save(torch.zeros(1, 3, 8, 8).expand(10**9, 3, 8, 8), path)
    with pytest.raises(ArtifactError, match="far more than a set of these data has"):
        import_(path, "eccv24", animals)
    huge = bytes(path.read_bytes())
    with zipfile.ZipFile(path, "w") as archive:  # a storage of 2^60 numbers, which nothing may allocate
        scripted = b"\x80\x02ctorch\nFloatStorage\nq\x00."
        archive.writestr("archive/data.pkl", scripted)
        archive.writestr("archive/version", "3")
    with pytest.raises(ArtifactError):
        import_(path, "eccv24", animals)
    assert huge


def test_pickles_that_are_traps(animals: RealData, bare: Bare, small: DistilledSet) -> None:
    path = bare(small, "eccv24")
    nested = b"\x80\x02)" + b"2\x86" * 60 + b"."  # a pair of itself, sixty times over
    as_key = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns."  # as the key of a mapping: hashing it takes 2^60 steps
    memo = b"\x80\x02Nr\xff\xff\xff\x7f."  # a memo of 2^31 entries
    encode = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00punyc\x86R."
    shaped = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x8a\x08" + b"\xff" * 7 + b"\x7f\x85U\x01b\x87R."
    objects = b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R."
    for program in (nested, as_key, encode, shaped, objects, b"\x80\x02", b"\x80\x02.", b"\x80\x02}(NNu.", b"\x80\x02(l0."):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/version", "3")
        with pytest.raises(ArtifactError):
            import_(path, "eccv24", animals)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", memo)
        archive.writestr("archive/version", "3")
    with pytest.raises(ArtifactError):  # nothing but None
        import_(path, "eccv24", animals)


def png(width: int, height: int) -> bytes:
    """A PNG whose head promises so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(os.urandom(208))[:100]) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("to", ["folder", "parquet"])
def test_pictures_that_promise_too_much(small: DistilledSet, animals: RealData, bare: Bare, tmp_path: Path, to: str) -> None:
    path = bare(small, to)
    for width, height, words in (
        (31_623, 31_623, "cannot be decoded|is 31623 x 31623"),
        (9, 8, "9 x 8 pixels"),
        (8, 8, "cannot"),
    ):
        if to == "folder":
            victim(path).write_bytes(png(width, height))
        else:
            table(path, [png(width, height)] * 6, [0, 0, 1, 1, 2, 2])
        with pytest.raises(ArtifactError, match=words):
            import_(path, to, animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def table(path: Path, images: Any, labels: Any, names: tuple[str, str] = ("image", "label")) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(zip(names, (images, labels), strict=True))), path)


def encoded(mode: str = "RGB", size: tuple[int, int] = (8, 8), form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, form)
    return stream.getvalue()


def test_pictures_of_other_modes(small: DistilledSet, animals: RealData, bare: Bare) -> None:
    path = bare(small, "folder")
    for mode in ("L", "RGBA", "P", "I;16", "1"):
        victim(path).write_bytes(encoded(mode))
        with pytest.raises(ArtifactError, match="mode"):
            import_(path, "folder", animals)
    victim(path).write_bytes(encoded(form="GIF"))
    with pytest.raises(ArtifactError, match="no PNG or JPEG"):
        import_(path, "folder", animals)


def test_tables_that_are_not_sets(animals: RealData, tmp_path: Path) -> None:
    path, good = tmp_path / "set.parquet", [encoded()] * 6
    for images, labels, words in (
        (good, [0, 0, 1, 1, 2, None], "missing, or neither"),
        (good, ["cat"] * 6, "0 to 6 images a class"),
        (good, ["lion"] * 6, "the data set lacks: lion"),
        (good, [0, 0, 1, 1, 2, 0.5], "no class numbers, such as 0.5"),
        (good, [0, 0, 1, 1, 2, 2**40], "0 to 1099511627776"),
        (good[:4], [0, 0, 1, 1], "0 to 2 images a class"),
        ([*good[:5], None], [0, 0, 1, 1, 2, 2], "lacks the bytes"),
        (["a path"] * 6, [0, 0, 1, 1, 2, 2], "encoded images are needed"),
        ([{"bytes": None, "path": "/etc/passwd"}] * 6, [0, 0, 1, 1, 2, 2], "encoded images are needed|not read"),
        ([], [], "encoded images are needed|no image"),
        (good * 10, [0, 0, 1, 1, 2, 2] * 10, "60 rows"),
    ):
        table(path, images, labels)
        with pytest.raises(ArtifactError, match=words):
            import_(path, "parquet", animals)
    table(path, good, [0, 0, 1, 1, 2, 2], ("picture", "label"))
    with pytest.raises(ArtifactError, match="image and label are needed"):
        import_(path, "parquet", animals)


IMAGES = torch.rand(6, 3, 8, 8)
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
SOFT = torch.softmax(torch.arange(18.0).reshape(6, 3).sin(), 1)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES.index_fill(0, torch.tensor([4]), float("nan")), LABELS, "image 4 holds NaN"),
        (IMAGES.index_fill(0, torch.tensor([1]), float("inf")), LABELS, "image 1 holds NaN or infinite"),
        (IMAGES.double() * 1e300, LABELS, "too large for float32"),
        (IMAGES * 1e5, LABELS, "no image looks like that"),
        (IMAGES[:, :1], LABELS, r"\[6, 1, 8, 8\]"),
        (IMAGES.permute(0, 2, 3, 1), LABELS, r"\[6, 8, 8, 3\]"),
        (IMAGES.flatten(1), LABELS, r"\[6, 192\]"),
        (IMAGES[:0], LABELS[:0], r"\[0, 3, 8, 8\]"),
        (IMAGES[:4], LABELS[:4], r"0 to 2 images a class \(cat 2, a dog 2, the .bird. 0\).*add the missing classes"),
        (IMAGES, torch.tensor([0, 0, 1, 1, 1, 1]), "0 to 4 images a class .*add the missing classes"),
        (IMAGES, torch.tensor([0, 0, 1, 1, 2, 3]), "0 to 3; the data have 3 classes"),
        (IMAGES, torch.tensor([0, 0, 1, 1, 2, -1]), "from -1"),
        (IMAGES, LABELS[:5], r"labels are \[5\] for 6 images"),
        (IMAGES, LABELS + 0.5, "no class numbers, such as 0.5"),
        (IMAGES, LABELS * float("nan"), "labels hold NaN"),
        (IMAGES, SOFT, "labels are soft .*hard takes"),
        (IMAGES, SOFT[:, :2], r"labels are \[6, 2\]; the data have 3"),
        (IMAGES, LABELS > 1, "torch.bool"),
        (IMAGES.long(), LABELS, "torch.int64; floats"),
        (IMAGES.to(torch.complex64), LABELS, "wants 'torch.ComplexFloatStorage'"),
        (IMAGES.tolist(), LABELS, "kind list"),
        (IMAGES, "012", "kind str"),
        (IMAGES.to_sparse(), LABELS, "wants 'torch._utils._rebuild_sparse_tensor'"),
    ],
)  # fmt: skip
def test_tensors_that_are_not_sets(animals: RealData, tmp_path: Path, images: Any, labels: Any, words: str) -> None:
    path = tmp_path / "syn_data_animals_ipc_2.pt"
    torch.save({"data": [images, labels]}, path)
    with pytest.raises(ArtifactError, match=words):
        import_(path, "datadam", animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"net_parameters": OrderedDict(a=torch.zeros(1))}, "weights of a network, not images"),
        ({}, 'holds nothing, and no "data"'),
        ([1, 2], 'holds list, and no "data"'),
        ({"data": []}, "0 items"),
        ({"data": [1, 2, 3]}, "a set is a pair|3 items|int came"),
        ({"data": {"a": 1}}, "dict came"),
        ({"data": [[IMAGES, LABELS, LABELS]]}, "3 items"),
        ({"data": None}, "NoneType came"),
    ],
)
def test_structures_that_are_not_sets(animals: RealData, tmp_path: Path, value: Any, words: str) -> None:
    path = tmp_path / "res_DM_X_ConvNet_2ipc.pt"
    torch.save(value, path)
    with pytest.raises(ArtifactError, match=words):
        import_(path, "dm", animals)


def test_folders_and_files_that_are_not_there(animals: RealData, tmp_path: Path) -> None:
    for to in FORMATS:
        place = tmp_path / to
        place.mkdir()
        with pytest.raises(ArtifactError):
            import_(place, to, animals)
    (tmp_path / "eccv24" / "a.pt").mkdir()
    with pytest.raises(ArtifactError, match="is no file"):
        import_(tmp_path / "eccv24", "eccv24", animals)
    torch.save(IMAGES, tmp_path / "mtt" / "images_best.pt")
    with pytest.raises(ArtifactError, match=r"has no labels beside it .*as eccv24"):
        import_(tmp_path / "mtt", "mtt", animals)
    torch.save(IMAGES, tmp_path / "mtt" / "images_2.pt")
    with pytest.raises(ArtifactError, match="give the file of images itself"):
        import_(tmp_path / "mtt", "mtt", animals)


def test_devices_that_never_end(animals: RealData) -> None:
    for to in sorted(set(FORMATS) - {"folder"}):
        with pytest.raises(ArtifactError, match=r"is no (file|folder)"):
            import_(Path("/dev/zero"), to, animals)
