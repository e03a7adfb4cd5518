"""Image folders: layouts, sizes, modes, broken files, the map on the disk; against arrays written by these tests."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datadam.data import folders, pictures
from datadam.data.real import Raw
from datadam.errors import DataError, InvalidInput, UnknownName


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DATADAM_CACHE", str(folder))
    return folder / "pixels"


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def put(path: Path, pixels: np.ndarray, **options: object) -> np.ndarray:
    """Write an image [H, W] or [H, W, C]; returns it as [C, H, W]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def filled(root: Path, classes: dict[str, int], h: int = 4, w: int = 5, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """CLASS/00.png ... of noise, files made in a random order."""
    made: dict[str, list[np.ndarray]] = {}
    order = [(name, i) for name, count in classes.items() for i in range(count)]
    images = {item: noise(h, w, 3, seed=seed + k) for k, item in enumerate(order)}
    for name, i in random.Random(seed).sample(order, len(order)):
        put(root / name / f"{i:02d}.png", images[name, i])
    for name, i in order:
        made.setdefault(name, []).append(images[name, i].transpose(2, 0, 1))
    return made


def expected(made: dict[str, list[np.ndarray]]) -> tuple[np.ndarray, list[int]]:
    names = sorted(made)
    return np.stack([x for name in names for x in made[name]]), [k for k, name in enumerate(names) for _ in made[name]]


def same(raw: Raw, made: dict[str, list[np.ndarray]], part: str = "train") -> None:
    pixels, labels = expected(made)
    found = getattr(raw, part)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.labels.tolist() == labels


def refused(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        folders.read(path, **options)
    return str(caught.value)


# ---- layouts


def test_class_folders(tmp_path: Path) -> None:
    made = filled(tmp_path, {"dog": 3, "cat": 2, "10": 1})
    raw = folders.read(tmp_path)
    assert raw.classes == ("10", "cat", "dog")
    assert raw.test is None
    assert raw.notes == ()
    same(raw, made)


@pytest.mark.parametrize("train", ["train", "training", "Train"])
@pytest.mark.parametrize("test", ["test", "val", "valid", "validation", "VAL"])
def test_train_and_test_folders(tmp_path: Path, train: str, test: str) -> None:
    made = filled(tmp_path / train, {"a": 2, "b": 1})
    held = filled(tmp_path / test, {"a": 1, "b": 2}, seed=50)
    raw = folders.read(tmp_path)
    same(raw, made)
    same(raw, held, "test")
    assert raw.notes == ()


def test_test_goes_before_val_aloud(tmp_path: Path) -> None:
    filled(tmp_path / "train", {"a": 2, "b": 1})
    filled(tmp_path / "val", {"a": 1, "b": 1}, seed=50)
    held = filled(tmp_path / "test", {"a": 1, "b": 2}, seed=90)
    raw = folders.read(tmp_path)
    same(raw, held, "test")
    assert raw.notes == (f"{tmp_path / 'val'} was left alone: the test part is {tmp_path / 'test'}.",)


def test_a_test_folder_without_classes_is_not_the_test_part(tmp_path: Path) -> None:
    filled(tmp_path / "train", {"a": 2, "b": 1})
    held = filled(tmp_path / "val", {"a": 1, "b": 1}, seed=50)
    put(tmp_path / "test" / "x.png", noise(4, 5, 3))
    raw = folders.read(tmp_path)
    same(raw, held, "test")
    assert raw.notes == (f"{tmp_path / 'test'} was left alone: it has no class folder of {tmp_path / 'train'}.",)
    shutil.rmtree(tmp_path / "val")
    assert folders.read(tmp_path).test is None


def test_a_test_folder_elsewhere(tmp_path: Path) -> None:
    made = filled(tmp_path / "set", {"a": 2, "b": 1})
    held = filled(tmp_path / "other", {"a": 1, "b": 1}, seed=50)
    raw = folders.read(tmp_path / "set", test=tmp_path / "other")
    same(raw, made)
    same(raw, held, "test")


def test_test_goes_before_what_lies_beside(tmp_path: Path) -> None:
    filled(tmp_path / "set" / "train", {"a": 2, "b": 1})
    filled(tmp_path / "set" / "val", {"a": 1, "b": 1})
    held = filled(tmp_path / "other", {"a": 1, "b": 1}, seed=50)
    raw = folders.read(tmp_path / "set", test=tmp_path / "other")
    same(raw, held, "test")
    assert "val was left alone" in raw.notes[0]


def test_a_class_called_train(tmp_path: Path) -> None:
    made = filled(tmp_path, {"train": 2, "plane": 1, "test": 1, "bus": 1, "car": 1})
    same(folders.read(tmp_path), made)


def test_images_deeper_in_a_class(tmp_path: Path) -> None:
    first = put(tmp_path / "n01" / "images" / "n01_1.JPEG.png", noise(4, 4, 3))
    second = put(tmp_path / "n01" / "more" / "x" / "1.png", noise(4, 4, 3, seed=1))
    other = put(tmp_path / "n02" / "2.PNG", noise(4, 4, 3, seed=2))
    raw = folders.read(tmp_path)
    np.testing.assert_array_equal(raw.train.pixels, np.stack([first, second, other]))
    assert raw.train.labels.tolist() == [0, 0, 1]


def test_only_some_classes_in_an_order(tmp_path: Path) -> None:
    made = filled(tmp_path / "train", {"n1": 1, "n2": 2, "n3": 3})
    held = filled(tmp_path / "val", {"n1": 1, "n2": 1, "n3": 1, "n4": 1}, seed=50)
    raw = folders.read(tmp_path, classes={"n3": "tench", "n1": "church"})
    assert raw.classes == ("tench", "church")
    np.testing.assert_array_equal(raw.train.pixels, np.stack([*made["n3"], *made["n1"]]))
    assert raw.train.labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(raw.test.pixels, np.stack([*held["n3"], *held["n1"]]))
    assert "lacks the class folders n9" in refused(tmp_path, classes={"n9": "x", "n1": "y"})


def test_the_order_of_the_disk_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(tmp_path, {"a": 6, "b": 5, "c": 4})
    put(tmp_path / "a" / "05x" / "0.png", made["a"][0].transpose(1, 2, 0))
    before = folders.read(tmp_path)
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: sorted(listing(path), reverse=True))
    after = folders.read(tmp_path)
    assert after.classes == before.classes
    np.testing.assert_array_equal(after.train.pixels, before.train.pixels)
    np.testing.assert_array_equal(after.train.labels, before.train.labels)


def test_other_files_are_ignored_aloud(tmp_path: Path) -> None:
    made = filled(tmp_path, {"a": 2, "b": 1})
    for name in ("a/.DS_Store", "a/._00.png", "b/notes.txt", "b/more.txt", "b/README", "a/.hidden/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    raw = folders.read(tmp_path)
    same(raw, made)
    assert raw.notes == ("6 files that are not images, or are hidden, were ignored (3 hidden, 2 .txt, 1 without ending).",)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    made = filled(tmp_path / "elsewhere", {"x": 2, "y": 1})
    for name in "xy":
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "x" / "up").symlink_to(tmp_path / "elsewhere" / "x")
    same(folders.read(tmp_path / "set"), made)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "absent")
    put(tmp_path / "flat" / "x.png", noise(4, 4))
    assert "no class folders" in refused(tmp_path / "flat")
    filled(tmp_path / "above" / "set", {"a": 1, "b": 1})
    assert f"Give {tmp_path / 'above' / 'set'}" in refused(tmp_path / "above")
    filled(tmp_path / "lone" / "val", {"a": 1, "b": 1})
    assert "no train/" in refused(tmp_path / "lone")
    filled(tmp_path / "empty", {"a": 1, "d": 1})
    (tmp_path / "empty" / "b").mkdir()
    (tmp_path / "empty" / "c").mkdir()
    (tmp_path / "empty" / "c" / "x.txt").touch()
    assert "no image in class folder b, c." in refused(tmp_path / "empty")
    filled(tmp_path / "more", {"a": 1, "d": 1, "e": 1})
    shutil.rmtree(tmp_path / "empty" / "b")
    shutil.rmtree(tmp_path / "empty" / "c")
    assert f"has classes that {tmp_path / 'empty'} lacks: e; " in refused(tmp_path / "empty", test=tmp_path / "more")
    (tmp_path / "more" / "a" / "dangling.png").symlink_to(tmp_path / "nothing")
    assert "dangling.png cannot be read" in refused(tmp_path / "more")


# ---- sizes


def test_mixed_sizes_are_listed_most_frequent_first(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path / "a" / f"{i}.png", noise(20, 30, 3))
    put(tmp_path / "b" / "0.png", noise(30, 20, 3))
    message = refused(tmp_path)
    assert "2 sizes (width x height): 30 x 20 (3 images), 20 x 30 (1 images);" in message
    assert "size S fit crop|squash|pad" in message
    for i in range(9):
        put(tmp_path / "b" / f"more{i}.png", noise(40 + i, 9, 3))
    message = refused(tmp_path)
    assert "11 sizes (width x height): 30 x 20 (3 images), 9 x 40 (1 images), " in message
    assert message.count(" images)") == 8
    assert "and 3 more sizes" in message


def test_sizes_of_both_parts_count(tmp_path: Path) -> None:
    filled(tmp_path / "train", {"a": 2, "b": 1})
    filled(tmp_path / "val", {"a": 1, "b": 1}, h=5, w=4)
    assert "5 x 4 (3 images), 4 x 5 (2 images)" in refused(tmp_path)


def test_one_size_is_kept_as_it_is(tmp_path: Path) -> None:
    made = filled(tmp_path, {"a": 1, "b": 1}, h=3, w=11)
    raw = folders.read(tmp_path)
    assert raw.train.pixels.shape == (2, 3, 3, 11)
    same(raw, made)


def test_crop_keeps_the_middle_of_the_longer_side(tmp_path: Path) -> None:
    wide, tall = noise(6, 10, 3), noise(12, 6, 3, seed=1)
    put(tmp_path / "a" / "0.png", wide)
    put(tmp_path / "b" / "0.png", tall)
    raw = folders.read(tmp_path, size=6)
    np.testing.assert_array_equal(raw.train.pixels[0], wide[:, 2:8].transpose(2, 0, 1))
    np.testing.assert_array_equal(raw.train.pixels[1], tall[3:9].transpose(2, 0, 1))
    same_as = folders.read(tmp_path, size=6, fit="crop")
    np.testing.assert_array_equal(raw.train.pixels, same_as.train.pixels)


def test_crop_is_resizing_and_then_cutting(tmp_path: Path) -> None:
    """As others do it in two steps; they differ only where the cut meets the resampling's reach."""
    rough = np.asarray(Image.fromarray(noise(6, 9, 3)).resize((150, 100), Image.Resampling.BICUBIC))
    put(tmp_path / "a" / "0.png", rough)
    put(tmp_path / "b" / "0.png", rough)
    raw = folders.read(tmp_path, size=32)
    two_steps = Image.fromarray(rough).resize((48, 32), Image.Resampling.BILINEAR).crop((8, 0, 40, 32))
    difference = np.abs(raw.train.pixels[0].astype(int) - np.asarray(two_steps).transpose(2, 0, 1))
    assert difference[:, :, 2:-2].max() <= 1


def test_squash_uses_all_of_the_image(tmp_path: Path) -> None:
    halves = np.zeros((8, 32), dtype=np.uint8)
    halves[:, 16:] = 200
    put(tmp_path / "a" / "0.png", halves)
    put(tmp_path / "b" / "0.png", halves.T)
    raw = folders.read(tmp_path, size=8, fit="squash")
    wide, tall = raw.train.pixels[:, 0]
    np.testing.assert_array_equal(wide, tall.T)
    assert (wide[:, :3] == 0).all()
    assert (wide[:, 5:] == 200).all()


def test_pad_is_black_at_both_ends(tmp_path: Path) -> None:
    put(tmp_path / "a" / "0.png", np.full((4, 8, 3), 90, dtype=np.uint8))
    put(tmp_path / "b" / "0.png", np.full((8, 1, 3), 90, dtype=np.uint8))
    wide, thin = folders.read(tmp_path, size=8, fit="pad").train.pixels
    assert (wide[:, 2:6] == 90).all()
    assert wide.sum() == 3 * 32 * 90
    assert (thin[:, :, 3] == 90).all()
    assert thin.sum() == 3 * 8 * 90


def test_a_strip_does_not_become_huge(tmp_path: Path) -> None:
    put(tmp_path / "a" / "0.png", np.full((1, 60_000), 7, dtype=np.uint8))
    put(tmp_path / "b" / "0.png", np.full((60_000, 1), 7, dtype=np.uint8))
    for fit in ("crop", "squash"):
        assert (folders.read(tmp_path, size=32, fit=fit).train.pixels == 7).all()


def test_enlarging_is_told(tmp_path: Path) -> None:
    put(tmp_path / "a" / "0.png", noise(4, 9))
    put(tmp_path / "b" / "0.png", noise(9, 9))
    assert folders.read(tmp_path, size=8).notes == ("1 of 2 images are smaller than 8 pixels and were enlarged.",)
    assert folders.read(tmp_path, size=4).notes == ()


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(InvalidInput, match="needs a size"):
        folders.read(tmp_path, fit="crop")
    with pytest.raises(UnknownName, match="Did you mean 'squash'"):
        folders.read(tmp_path, size=4, fit="sqash")
    with pytest.raises(InvalidInput, match="positive"):
        folders.read(tmp_path, size=0)


# ---- modes


def test_gray_images_have_one_channel(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a" / "0.png", noise(4, 5)), put(tmp_path / "b" / "0.bmp", noise(4, 5, seed=1))
    bits = noise(4, 5, seed=2) > 100
    Image.fromarray(bits).save(tmp_path / "b" / "1.png")
    raw = folders.read(tmp_path)
    np.testing.assert_array_equal(raw.train.pixels, np.stack([first, second, 255 * bits[None].astype(np.uint8)]))
    assert raw.notes == ()


def test_mixed_modes_become_colour_aloud(tmp_path: Path) -> None:
    colour, gray, alpha = noise(4, 5, 3), noise(4, 5, seed=1), noise(4, 5, seed=2)
    put(tmp_path / "a" / "0.png", colour)
    put(tmp_path / "a" / "1.png", gray)
    put(tmp_path / "b" / "2.png", np.dstack([colour, alpha]))
    Image.fromarray(gray).convert("RGB").quantize(4).save(tmp_path / "b" / "3.png")
    palette = np.asarray(Image.open(tmp_path / "b" / "3.png").convert("RGB"))
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "b" / "4.tiff")
    raw = folders.read(tmp_path)
    found = raw.train.pixels.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found[0], colour)
    np.testing.assert_array_equal(found[1], np.dstack([gray] * 3))
    over_black = colour.astype(float) * alpha[..., None].astype(float) / 255
    assert np.abs(found[2] - over_black).max() <= 1
    np.testing.assert_array_equal(found[3], palette)
    np.testing.assert_array_equal(found[4], colour)
    assert raw.notes[0].startswith("4 of 5 images were converted to RGB (")
    assert {"1 L", "1 RGBA", "1 P", "1 CMYK"} == set(raw.notes[0].split("(")[1].split(")")[0].split(", "))
    assert raw.notes[0].endswith("; what is transparent became black.")


def test_transparent_colours_and_gray_with_alpha(tmp_path: Path) -> None:
    gray, alpha = noise(4, 5), np.where(noise(4, 5, seed=1) > 127, 255, 0).astype(np.uint8)
    put(tmp_path / "a" / "0.png", gray)
    put(tmp_path / "b" / "0.png", np.dstack([gray, alpha]))
    put(tmp_path / "b" / "1.png", np.full((4, 5), 9, dtype=np.uint8), transparency=9)
    raw = folders.read(tmp_path)
    np.testing.assert_array_equal(raw.train.pixels[:, 0], np.stack([gray, np.where(alpha > 0, gray, 0), 0 * gray]))
    kinds = "1 LA, 1 L with a transparent colour"
    assert raw.notes == (f"2 of 3 images were converted to one channel ({kinds}); what is transparent became black.",)


@pytest.mark.parametrize(
    ("ending", "pixels", "words"),
    [
        ("png", noise(4, 5).astype(np.uint16) * 200, "(L of 16 bits). Say how many"),
        ("tiff", noise(4, 5) / np.float32(255), "(F of 32 bits); those"),
    ],
)
def test_more_than_8_bits_are_refused(tmp_path: Path, ending: str, pixels: np.ndarray, words: str) -> None:
    filled(tmp_path, {"a": 1, "b": 1})
    put(tmp_path / "a" / f"deep.{ending}", pixels)
    message = refused(tmp_path, skip_bad=True)
    assert f"1 images have more than 8 bits a channel {words}" in message


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_turned_as_the_camera_says(tmp_path: Path, ending: str) -> None:
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:, :16] = (255, 0, 0)
    turned = np.rot90(upright)  # stored 32 high, 16 wide, and to be turned clockwise again
    exif = Image.Exif()
    exif[0x0112] = 6
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(ending, {})
    put(tmp_path / "a" / f"0.{ending}", turned, exif=exif, **lossless)
    put(tmp_path / "b" / f"0.{ending}", upright, **lossless)
    raw = folders.read(tmp_path)
    assert raw.train.pixels.shape == (2, 3, 16, 32)
    assert np.abs(raw.train.pixels[0].astype(int) - raw.train.pixels[1]).max() <= 2
    assert (folders.read(tmp_path, size=16, fit="squash").train.pixels[0, 0, :, :6] > 250).all()


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm"])
def test_formats(tmp_path: Path, ending: str) -> None:
    for name in "ab":
        put(tmp_path / name / f"0.{ending}", np.full((8, 8, 3), 255 if name == "a" else 0, dtype=np.uint8))
    pixels = folders.read(tmp_path).train.pixels.astype(int)
    assert pixels.shape in ((2, 3, 8, 8), (2, 1, 8, 8))
    assert pixels[0].min() >= 250
    assert pixels[1].max() <= 5


# ---- broken images


def broken(root: Path, kind: str, path: str = "a/zz.png") -> Path:
    file = root / path
    if kind == "empty":
        file.write_bytes(b"")
    elif kind == "rubbish":
        file.write_bytes(noise(500).tobytes())
    elif kind == "text":
        file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 5\n")
    elif kind == "truncated":
        put(file, noise(64, 64, 3))
        os.truncate(file, 2000)
    elif kind == "corrupt":
        put(file, noise(64, 64, 3))
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 255
        file.write_bytes(data)
    elif kind == "giant":
        Image.new("1", (10_000, 9_000)).save(file)
    return file


KINDS = ["empty", "rubbish", "text", "truncated", "corrupt", "giant"]


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_image_is_named_or_skipped(tmp_path: Path, kind: str, limit: int | None) -> None:
    made = filled(tmp_path, {"a": 2, "b": 1}, h=64, w=64)
    file = broken(tmp_path, kind)
    message = refused(tmp_path, memory_limit=limit)
    assert message.startswith(f"1 of 4 images cannot be decoded: {file} (")
    assert "skip_bad" in message
    raw = folders.read(tmp_path, skip_bad=True, memory_limit=limit)
    same(raw, made)
    assert raw.notes == (f"1 broken images skipped: {file}.",)


def test_pillows_own_limit_may_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, {"a": 2, "b": 1}, h=64, w=64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    broken(tmp_path, "giant")
    assert "10000 x 9000 pixels are too many" in refused(tmp_path)


def test_five_are_named_and_all_counted(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 2, "b": 1})
    files = [broken(tmp_path, "empty", f"b/bad{i}.png") for i in range(7)]
    message = refused(tmp_path)
    assert message.startswith("7 of 10 images cannot be decoded: ")
    assert all(f"{file} (empty)" in message for file in files[:5])
    assert "bad5" not in message
    assert "and 2 more" in message
    note = folders.read(tmp_path, skip_bad=True).notes[0]
    assert note == f"7 broken images skipped: {', '.join(map(str, files[:5]))} and 2 more."


def test_skipping_must_not_empty_a_class(tmp_path: Path) -> None:
    filled(tmp_path / "train", {"a": 2, "b": 1})
    filled(tmp_path / "test", {"a": 1, "b": 1})
    (tmp_path / "test" / "b" / "00.png").write_bytes(b"")
    assert "all test images of class b are broken" in refused(tmp_path, skip_bad=True)
    (tmp_path / "train" / "b" / "00.png").write_bytes(b"")
    assert "all training images of class b are broken" in refused(tmp_path, skip_bad=True)


def test_broken_images_of_both_parts(tmp_path: Path) -> None:
    made = filled(tmp_path / "train", {"a": 3, "b": 2})
    held = filled(tmp_path / "test", {"a": 2, "b": 3}, seed=50)
    (tmp_path / "train" / "a" / "01.png").write_bytes(b"")
    (tmp_path / "test" / "b" / "00.png").write_bytes(b"")
    del made["a"][1], held["b"][0]
    for limit in (None, 0):
        raw = folders.read(tmp_path, skip_bad=True, memory_limit=limit)
        same(raw, made)
        same(raw, held, "test")


def test_all_broken(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").touch()
    assert "none of the 2 images can be read" in refused(tmp_path, skip_bad=True)


# ---- memory


def test_the_map_on_the_disk_is_the_same_and_made_once(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(tmp_path / "train", {"a": 3, "b": 2})
    held = filled(tmp_path / "test", {"a": 1, "b": 1}, seed=50)
    fault, decoded = pictures._fault, []

    def watched(source: object, *rest: object) -> object:
        decoded.append(source)
        return fault(source, *rest)

    monkeypatch.setattr(pictures, "_fault", watched)
    for times in (7, 7):
        raw = folders.read(tmp_path, memory_limit=0)
        assert isinstance(raw.train.pixels, np.memmap)
        assert isinstance(raw.test.pixels, np.memmap)
        same(raw, made)
        same(raw, held, "test")
        assert len(decoded) == times
    folders.read(tmp_path, memory_limit=0, size=4)
    assert len(decoded) == 14
    squashed = folders.read(tmp_path, memory_limit=0, size=4, fit="squash").train.pixels
    np.testing.assert_array_equal(squashed, folders.read(tmp_path, size=4, fit="squash").train.pixels)
    del decoded[14:]
    os.utime(tmp_path / "train" / "a" / "00.png", ns=(1, 1))
    folders.read(tmp_path, memory_limit=0)
    assert len(decoded) == 21
    assert len(list(own_cache.iterdir())) == 4


def test_the_heads_of_many_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(tmp_path, {"a": 3, "b": 2})
    monkeypatch.setattr(pictures, "WORTH_KEEPING", 5)
    same(folders.read(tmp_path), made)
    monkeypatch.setattr(pictures, "_head", lambda source: pytest.fail("read again"))
    same(folders.read(tmp_path), made)
    monkeypatch.setattr(pictures, "WORTH_KEEPING", 6)
    with pytest.raises(pytest.fail.Exception):
        folders.read(tmp_path)


def test_progress_tells_sizes_and_images(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 2, "b": 1})
    told: list[tuple[str, int, int | None]] = []
    folders.read(tmp_path, progress=lambda *what: told.append(what))
    assert told == [("reading sizes", 3, 3), ("preparing images", 3, 3)]


def test_files_from_a_list(tmp_path: Path) -> None:
    made = filled(tmp_path, {"x": 4})["x"]
    listed = [(str(tmp_path / "x" / f"{i:02d}.png"), label) for i, label in ((3, 1), (0, 0), (2, 1), (1, 0))]
    raw = folders.read_files(("a", "b"), listed[:3], listed[3:])
    np.testing.assert_array_equal(raw.train.pixels, np.stack([made[3], made[0], made[2]]))
    assert raw.train.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(raw.test.pixels, made[1][None])
    assert raw.test.labels.tolist() == [0]
