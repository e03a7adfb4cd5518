"""Published sets whose images are single files, from small copies of their layouts."""

import numpy as np
import pytest
from PIL import Image

from datadam.data import load, official
from datadam.errors import DataError


def picture(file, shade, size=(16, 16), mode="RGB"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade if mode == "L" else (shade, shade, shade)).save(file)


def imagenet(root, wnids, size=(16, 16)):
    """Two training images and one validation image a class; a class's shade is 10 times its place in the order."""
    for place, wnid in enumerate(wnids):
        for i in range(2):
            picture(root / "train" / wnid / f"{wnid}_{i}.JPEG", 10 * place, size)
        picture(root / "val" / wnid / "ILSVRC2012_val_1.JPEG", 10 * place, size)


def shades(real):
    """The brightness of the training images of each class."""
    return [int(np.rint(real.train.pixels[indices].mean())) for indices in real.by_class]


def test_table_9_of_the_paper():
    squeezed = {
        name: ", ".join(classes.values()).lower()
        for name, classes in (
            ("nette", official.IMAGENETTE),
            ("woof", official.IMAGEWOOF),
            ("squawk", official.IMAGESQUAWK),
        )
    }
    assert squeezed == {
        "nette": "tench, english springer, cassette player, chainsaw, church, french horn, garbage truck, gas pump, "
        "golf ball, parachute",
        "woof": "australian terrier, border terrier, samoyed, beagle, shih-tzu, english foxhound, rhodesian ridgeback, "
        "dingo, golden retriever, old english sheepdog",
        "squawk": "peacock, flamingo, macaw, pelican, king penguin, bald eagle, toucan, ostrich, black swan, cockatoo",
    }


@pytest.mark.parametrize("folder", ["imagewoof2-160", "imagewoof2", "."])
def test_imagewoof_keeps_the_order_of_the_paper(tmp_path, folder):
    imagenet(tmp_path / folder, list(official.IMAGEWOOF), (20, 16))
    real = load("imagewoof", root=tmp_path)
    assert real.classes == tuple(official.IMAGEWOOF.values())
    assert shades(real) == [10 * place for place in range(10)]
    assert real.shape == (3, 128, 128)
    assert (len(real.train), len(real.test)) == (20, 10)
    assert real.transform.mean == (0.485, 0.456, 0.406)


def test_imagesquawk_is_ten_classes_of_imagenet(tmp_path):
    imagenet(tmp_path / "ILSVRC", ["n00000001", *official.IMAGESQUAWK, "n99999999"])
    real = load("imagesquawk", root=tmp_path, size=8)
    assert real.classes == tuple(official.IMAGESQUAWK.values())
    assert shades(real) == [10 + 10 * place for place in range(10)]
    assert real.shape == (3, 8, 8)
    assert real.options == {"root": str(tmp_path), "size": 8, "fit": "crop"}


def test_a_missing_class_is_named(tmp_path):
    imagenet(tmp_path / "ILSVRC", list(official.IMAGESQUAWK)[:-1])
    with pytest.raises(DataError, match="n01819313"):
        load("imagesquawk", root=tmp_path)


def test_imagenet_is_squashed_to_64(tmp_path):
    imagenet(tmp_path / "ILSVRC", ["n01", "n02"], (100, 50))
    real = load("imagenet-1k", root=tmp_path)
    assert (real.shape, real.classes) == ((3, 64, 64), ("n01", "n02"))


def test_imagenet_with_the_table_of_names(tmp_path):
    imagenet(tmp_path, ["n03", "n01", "n02", "n04"])
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01 crane\nn02 tench, Tinca tinca\nn03 crane\nn09 missing\n")
    real = load("imagenet-1k", root=tmp_path)
    assert real.classes == ("crane (n01)", "tench", "crane (n03)", "n04")
    assert shades(real) == [10, 20, 0, 30]


def tiny(root):
    for place, wnid in enumerate(["n02", "n01"]):
        for i in range(2):
            picture(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 100 * place, (64, 64), "L" if i else "RGB")
    for i in range(3):
        picture(root / "val" / "images" / f"val_{i}.JPEG", 50 * i, (64, 64))
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\nval_2.JPEG\tn01\t0\t0\t9\t9\n")
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tsalamander\nn07\tabacus\n")
    return root


@pytest.mark.parametrize("inside", ["", "tiny-imagenet-200"])
def test_tiny_imagenet(tmp_path, inside):
    tiny(tmp_path / "tiny-imagenet-200")
    real = load("tiny-imagenet", root=tmp_path / inside)
    assert real.classes == ("goldfish", "salamander")
    assert real.shape == (3, 64, 64)
    assert shades(real) == [100, 0]
    assert real.test.labels.tolist() == [1, 0]
    assert [int(image.mean()) for image in real.test.pixels] == [0, 100]


def test_tiny_imagenet_with_sorted_validation(tmp_path):
    """Many tools move val/images into val/WNID, and delete the annotations."""
    root = tiny(tmp_path / "tiny-imagenet-200")
    for name, wnid in (("val_0", "n02"), ("val_2", "n01")):
        (root / "val" / wnid).mkdir()
        (root / "val" / "images" / f"{name}.JPEG").rename(root / "val" / wnid / f"{name}.JPEG")
    (root / "val" / "val_annotations.txt").unlink()
    real = load("tiny-imagenet", root=tmp_path)
    assert real.classes == ("goldfish", "salamander")
    assert [int(real.test.pixels[real.test.labels == k].mean()) for k in range(2)] == [100, 0]


@pytest.mark.parametrize("inside", ["", "images"])
@pytest.mark.parametrize("moved", [("val_0", "val_2"), ("val_2",)])
@pytest.mark.parametrize("name", ["{}", "{}_renamed"])
def test_tiny_imagenet_with_annotations_left_behind(tmp_path, inside, moved, name):
    root = tiny(tmp_path / "tiny-imagenet-200")
    (root / "train" / "n01" / "images" / "n01_0.JPEG").rename(root / "train" / "n01" / "n01_0.JPEG")
    for image in moved if name == "{}" else ("val_0", "val_2"):
        place = root / "val" / {"val_0": "n02", "val_2": "n01"}[image] / inside
        place.mkdir(parents=True)
        (root / "val" / "images" / f"{image}.JPEG").rename(place / f"{name.format(image)}.JPEG")
    real = load("tiny-imagenet", root=tmp_path)
    assert [int(real.test.pixels[real.test.labels == k].mean()) for k in range(2)] == [100, 0]
    assert shades(real) == [100, 0]


@pytest.mark.parametrize("line", ["val_0.JPEG", "val_0.JPEG\tn07"])
def test_damaged_annotations(tmp_path, line):
    root = tiny(tmp_path / "tiny-imagenet-200")
    (root / "val" / "val_annotations.txt").write_text(line)
    with pytest.raises(DataError, match="val_annotations"):
        load("tiny-imagenet", root=tmp_path)


def mhist(root, head="Image Name,Majority Vote Label,Number of Annotators who Selected SSA (Out of 7),Partition", last="test"):
    rows = [
        ("a.png", "SSA", 6, "train"),
        ("b.png", "HP", 0, "train"),
        ("c.png", "SSA", 4, "train"),
        ("d.png", "HP", 2, last),
    ]
    for shade, (name, *_) in enumerate(rows):
        picture(root / "mhist" / "images" / name, 10 * shade, (8, 6))
    (root / "mhist" / "annotations.csv").write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]))


def test_mhist(tmp_path):
    mhist(tmp_path)
    real = load("mhist", root=tmp_path)
    assert (real.classes, real.shape) == (("HP", "SSA"), (3, 6, 8))
    assert (real.train.labels.tolist(), real.test.labels.tolist()) == ([1, 0, 1], [0])
    assert real.train.pixels[:, 0, 0, 0].tolist() == [0, 10, 20]
    assert load("mhist", root=tmp_path, size=4).shape == (3, 4, 4)


@pytest.mark.parametrize("damage", [{"head": "a,b,c,d"}, {"last": "valid"}])
def test_damaged_mhist(tmp_path, damage):
    mhist(tmp_path, **damage)
    with pytest.raises(DataError, match=r"annotations\.csv"):
        load("mhist", root=tmp_path)


def test_mhist_with_an_image_missing(tmp_path):
    mhist(tmp_path)
    (tmp_path / "mhist" / "images" / "c.png").unlink()
    with pytest.raises(DataError, match=r"c\.png"):
        load("mhist", root=tmp_path)
