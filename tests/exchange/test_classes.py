"""Which class is which, in sets that others made: names count, numbers only where they mean one thing alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import make_real

from datadam.data import RealData
from datadam.data.official import IMAGENETTE, IMAGEWOOF
from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange import export, import_
from datadam.sets.distilled import DistilledSet

CLOTHES = ("T-shirt/top", "Trouser", "Ankle boot")
TURNED = (*CLOTHES[1:], "T shirt top")
WNIDS, DOGS = tuple(IMAGEWOOF), tuple(IMAGEWOOF.values())


def data(*classes: str) -> RealData:
    """Real images of classes with these names."""
    return replace(make_real(classes=len(classes), per_class=4), classes=classes)


def gray(k: int) -> np.ndarray:
    """An image that tells the number of its class."""
    return np.full((8, 8, 3), 20 * k, np.uint8)


def in_folders(path: Path, called: dict[str, int]) -> Path:
    """One image in each of these folders, which shows this class."""
    for name, k in called.items():
        (path / name).mkdir(parents=True)
        Image.fromarray(gray(k)).save(path / name / "0.png")
    return path


def shown(one: DistilledSet) -> list[int]:
    """What the image of each class shows."""
    return np.rint(one.pixels().mean((1, 2, 3)).numpy() * 255 / 20).astype(int).tolist()


def notes(one: DistilledSet) -> str:
    return "\n".join(one.card["warnings"])


@pytest.mark.parametrize(
    ("classes", "folders", "words"),
    [
        (CLOTHES, ("T-shirt_top", "Trouser", "Ankle_boot"), "T-shirt_top is T-shirt/top"),
        (CLOTHES, ("t-shirt top", "TROUSER", "ankle-boot"), "TROUSER is Trouser"),
        (CLOTHES, TURNED, "T shirt top is T-shirt/top"),
        (DOGS, WNIDS, "by their number of WordNet: n02086240 is Shih-Tzu"),
        (WNIDS, DOGS, "by their number of WordNet"),
        (tuple(IMAGENETTE.values()), tuple(IMAGENETTE), "n01440764 is tench"),
        (("0", "1", "2"), ("00000", "00001", "00002"), "00001 is 1"),
        (("1", "2", "3"), ("01", "02", "03"), "03 is 3"),
        (("dog", "cat"), ("dog", "cat"), ""),
    ],
)
def test_folders_are_taken_by_name(classes: tuple[str, ...], folders: Sequence[str], words: str, tmp_path: Path) -> None:
    by_class = dict(zip(folders, range(len(classes)), strict=True))
    if folders == TURNED:
        by_class = {folders[0]: 1, folders[1]: 2, folders[2]: 0}
    (one,) = import_(in_folders(tmp_path / "set", by_class), "folder", data(*classes))
    assert shown(one) == list(range(len(classes)))
    assert (words in notes(one)) if words else not one.card["warnings"]


@pytest.mark.parametrize(
    ("classes", "folders", "words"),
    [
        (("cat", "dog", "fox"), ("cat", "dog", "wolf"), "the data set lacks: wolf"),  # nothing goes by its place
        (("cat", "dog", "fox"), ("lion", "tiger", "wolf"), "the data set lacks: lion, tiger, wolf"),
        (("cat", "dog", "fox"), ("cat", "dog"), "0 to 1 images a class"),
        (("cat", "dog", "fox"), ("a", "b", "c", "d"), "has 4 class folders"),
        (("cat", "Cat", "dog"), ("CAT", "cAt", "dog"), "cannot be told apart but for case and punctuation"),
        (("0", "1", "2"), ("cat", "dog", "fox"), "class_order"),
        (("cat", "dog", "fox"), ("7", "12", "40"), "numbers with gaps"),
        (("cat", "dog", "fox"), ("1", "01", "2"), "two classes of one number"),
        (DOGS, [f"{k:05d}" for k in range(10)], "two orders are in use.*class_order"),
        (DOGS, [f"new{k:03d}" for k in range(10)], "two orders are in use.*class_order"),
    ],
)
def test_what_cannot_be_known_is_refused(
    classes: tuple[str, ...], folders: Sequence[str], words: str, tmp_path: Path
) -> None:  # fmt: skip
    path = in_folders(tmp_path / "set", dict(zip(folders, range(len(folders)), strict=True)))
    with pytest.raises(ArtifactError, match=words):
        import_(path, "folder", data(*classes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_numbered_folders_of_a_subset_of_imagenet_in_both_orders(tmp_path: Path) -> None:
    numbered = {f"{n:05d}": WNIDS.index(wnid) for n, wnid in enumerate(sorted(WNIDS))}  # as RDED numbers them
    path = in_folders(tmp_path / "set", numbered)
    real = data(*DOGS)
    (one,) = import_(path, "folder", real, class_order="sorted")
    assert shown(one) == list(range(10))
    assert f"in the order that was said: {sorted(numbered, key=numbered.__getitem__)[0]} is Australian terrier" in notes(one)
    (listed,) = import_(path, "folder", real, class_order=sorted(WNIDS))
    assert shown(listed) == list(range(10))
    (other,) = import_(path, "folder", real, class_order="data")
    assert shown(other) == list(numbered.values())


def test_an_order_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path, real = in_folders(tmp_path / "set", {"cat": 0, "dog": 1}), data("cat", "dog")
    for order, words in (
        ("backwards", "allowed: data, sorted"), (["cat"], "names 1 classes"), (["cat", "fox"], "lacks: fox"),
        (["dog", "cat"], "names its classes, and class_order says other ones"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=words):
            import_(path, "folder", real, class_order=order)
    assert shown(import_(path, "folder", real, class_order="data")[0]) == [0, 1]


def test_numbers_of_tensors_where_two_orders_are_in_use(tmp_path: Path) -> None:
    images = torch.from_numpy(np.stack([gray(k) for k in range(10)])).permute(0, 3, 1, 2)
    torch.save({"data": [images, torch.arange(10)]}, tmp_path / "syn_data_imagewoof_ipc_1.pt")
    (one,) = import_(tmp_path, "datadam", data(*DOGS))  # whose code numbers them as the catalog does
    assert shown(one) == list(range(10))
    assert "Two orders are in use" in notes(one)
    (turned,) = import_(tmp_path, "datadam", data(*DOGS), class_order="sorted")
    assert shown(turned) == [sorted(WNIDS).index(wnid) for wnid in WNIDS]
    torch.save(images, tmp_path / "images.pt")
    with pytest.raises(ArtifactError, match="two orders are in use"):
        import_(tmp_path / "images.pt", "eccv24", data(*DOGS))


def test_numbers_of_data_whose_names_are_numbers(tmp_path: Path) -> None:
    images = torch.from_numpy(np.stack([gray(k) for k in range(3)])).permute(0, 3, 1, 2)
    for labels, classes, expected in (
        ([1, 2, 3], ("1", "2", "3"), [0, 1, 2]), ([0, 1, 2], ("1", "2", "3"), [0, 1, 2]), ([0, 1, 2], ("0", "1", "2"), [0, 1, 2]),
    ):  # fmt: skip
        torch.save({"data": [images, torch.tensor(labels)]}, tmp_path / "syn_data_x_ipc_1.pt")
        assert shown(import_(tmp_path, "datadam", data(*classes))[0]) == expected
    with pytest.raises(ArtifactError, match='number 1 may be the class "1", or the second one'):
        import_(tmp_path, "datadam", data("1", "0", "2"))
    assert shown(import_(tmp_path, "datadam", data("1", "0", "2"), class_order="data")[0]) == [0, 1, 2]


def test_npz_and_what_lies_beside_count_by_name(tmp_path: Path, make_set: Callable[..., DistilledSet]) -> None:
    one, real = make_set(method="random", ipc=1), data("cat", "a dog", 'the "bird"')
    turned = replace(real, classes=('the "bird"', "CAT", "a dog"))
    for to in ("npz", "mtt", "eccv24", "kip", "folder", "parquet"):
        export(one, to, tmp_path / to)
        (back,) = import_(tmp_path / to, to, turned)
        torch.testing.assert_close(back.pixels(), one.pixels()[[2, 0, 1]])
        assert back.labels.tolist() == [0, 1, 2]
        assert "but for case: cat is CAT" in notes(back)


def test_columns_of_soft_labels_go_with_their_classes(tmp_path: Path) -> None:
    scores = torch.tensor([[3.0, 1.0, 0.5], [0.1, 2.0, 0.4], [0.2, 0.3, 4.0]])
    images = np.stack([gray(k) for k in range(3)]).transpose(0, 3, 1, 2)
    np.savez(tmp_path / "set.npz", images=images / np.float32(255), labels=np.arange(3), logits=scores.numpy(),
             class_names=["fox", "cat", "dog"])  # fmt: skip
    (one,) = import_(tmp_path / "set.npz", "npz", data("cat", "dog", "fox"), mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(one.labels, scores[[1, 2, 0]][:, [1, 2, 0]])
    assert shown(one) == [1, 2, 0]


def test_tables_of_several_files_with_names_in_other_orders(tmp_path: Path) -> None:
    import io
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    def png(k: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(gray(k)).save(stream, "PNG")
        return stream.getvalue()

    for n, (names, classes) in enumerate(((["cat", "dog", "fox"], [0, 1]), (["Fox", "dog", "cat"], [2, 0]))):
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        labels = [[name.lower() for name in names].index(("cat", "dog", "fox")[k]) for k in classes]
        table = pa.table({"image": [{"bytes": png(k), "path": None} for k in classes], "label": labels})
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), tmp_path / f"train-{n}.parquet")
    (one,) = import_(tmp_path, "parquet", data("cat", "dog", "fox"))
    assert one.labels.tolist() == [0, 0, 1, 2]
    assert shown(one) == [0, 0, 1, 2]


def test_folders_of_tiny_imagenet_are_its_own(tmp_path: Path) -> None:
    import datadam

    root, wnids = tmp_path / "root" / "tiny-imagenet-200", ("n00000007", "n00000009", "n00000021")
    for wnid, k in zip(wnids, range(3), strict=True):
        for i in range(2):
            (root / "train" / wnid / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(gray(k + i)).save(root / "train" / wnid / "images" / f"{i}.JPEG")
        (root / "val" / wnid).mkdir(parents=True)
        Image.fromarray(gray(k)).save(root / "val" / wnid / "0.JPEG")
    (root / "wnids.txt").write_text("\n".join(wnids[::-1]))
    (root / "words.txt").write_text("n00000007\tgoldfish, Carassius\nn00000009\tsalamander\nn00000021\tabacus\n")
    real = datadam.load("tiny-imagenet", root=tmp_path / "root", size=8)
    assert real.classes == ("goldfish", "salamander", "abacus")
    (one,) = import_(in_folders(tmp_path / "set", dict(zip(wnids, range(3), strict=True))), "folder", real)
    assert shown(one) == [0, 1, 2]
    assert "by their number of WordNet: n00000007 is goldfish" in notes(one)
    other = in_folders(tmp_path / "other", {wnids[0]: 0, wnids[1]: 1, "n00000010": 2})
    with pytest.raises(ArtifactError, match="the data set lacks"):
        import_(other, "folder", real)


def test_folders_are_called_like_their_classes(tmp_path: Path) -> None:
    classes = ("T-shirt/top", "a", "A", "..", "CON", "naïve ")
    real = data(*classes)
    import datadam

    one = datadam.distill(real, datadam.preset("random", real, ipc=1).change({"net": "convnet2:width=6"}))
    export(one, "folder", tmp_path / "out")
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir() if entry.is_dir()) == sorted(
        ["T-shirt_top", "a", "A (2)", "_", "_CON", "naïve"]
    )
    (back,) = import_(tmp_path / "out", "folder", real)
    torch.testing.assert_close(back.images, one.images, rtol=0, atol=1e-6)
