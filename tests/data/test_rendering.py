"""Images of more than 8 bits, and what lies behind transparent ones; against numbers written by these tests."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datadam.data import folders, load
from datadam.data.rendering import USUALLY, Rendering, rendering
from datadam.errors import DataError, InvalidInput

COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # of a PNG, by channels


def drawn(*shape: int, top: int, seed: int = 0) -> np.ndarray:
    """Random numbers 0 .. top, both of which occur."""
    found = np.random.default_rng(seed).integers(0, top + 1, shape)
    found.reshape(-1)[:2] = 0, top
    return found


def png16(path: Path, numbers: np.ndarray, key: bytes = b"", *, filtered: int = 0) -> None:
    """A PNG of 16 bits a channel, [H, W, C], as specified; `key`, its chunk tRNS; rows filtered by none or the left."""
    h, w, channels = numbers.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.frombuffer(numbers.astype(">u2").tobytes(), np.uint8).reshape(h, -1)
    if filtered:
        rows = rows - np.pad(rows, ((0, 0), (2 * channels, 0)))[:, : rows.shape[1]]
    head = struct.pack(">IIBBBBB", w, h, 16, COLOUR_TYPE[channels], 0, 0, 0)
    data = zlib.compress(b"".join(bytes([filtered]) + row.tobytes() for row in rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks = [(b"IHDR", head), *([(b"tRNS", key)] if key else []), (b"IDAT", data), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))


def tiff16(path: Path, numbers: np.ndarray, order: str) -> None:
    """An uncompressed TIFF of 16 bits a channel, [H, W, 3], in bytes of this order."""
    h, w, channels = numbers.shape
    pixels = numbers.astype(f"{order}u2").tobytes()
    tags = [(256, 3, 1, w), (257, 3, 1, h), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 14),
            (277, 3, 1, channels), (278, 3, 1, h), (279, 4, 1, len(pixels)), (284, 3, 1, 1)]  # fmt: skip
    entries = b""
    for tag, kind, count, value in tags:
        packed = struct.pack(f"{order}H2x" if kind == 3 and count == 1 else f"{order}I", value)
        entries += struct.pack(f"{order}HHI", tag, kind, count) + packed
    start = 14 + len(pixels)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start) + struct.pack(f"{order}HHH", 16, 16, 16)
    path.write_bytes(head + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4))


def beside(root: Path) -> Path:
    """A folder with a class of 8 bits, and the path of an image of the other."""
    (root / "b").mkdir()
    Image.new("L", (6, 5)).save(root / "b" / "0.png")
    (root / "a").mkdir()
    return root / "a" / "0"


def refused(root: Path, rendered: Rendering = USUALLY) -> str:
    with pytest.raises(DataError) as caught:
        folders.read(root, rendered=rendered)
    return str(caught.value)


@pytest.mark.parametrize("filtered", [0, 1])
@pytest.mark.parametrize(("bits", "top"), [(16, 65535), (12, 4095), (10, 1000), ("auto", 1000), ("auto", 3000), ("auto", 65000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_png(tmp_path: Path, channels: int, bits: int | str, top: int, filtered: int) -> None:
    numbers = drawn(5, 6, channels, top=top)
    png16(tmp_path / "x.png", numbers, filtered=filtered)
    path = beside(tmp_path)
    (tmp_path / "x.png").rename(path.with_suffix(".png"))
    kind = "L" if channels == 1 else "RGB"
    message = refused(tmp_path)
    assert f"1 images have more than 8 bits a channel ({kind} of 16 bits)" in message
    assert "bits 16, 12 (cameras) or 10, or bits auto" in message
    raw = folders.read(tmp_path, rendered=rendering(bits, None))
    full = (1 << (bits if bits != "auto" else {1000: 10, 3000: 12, 65000: 16}[top])) - 1
    np.testing.assert_array_equal(raw.train.pixels[0].transpose(1, 2, 0), np.floor(numbers * 255 / full + 0.5))
    assert any(f"scaled: 0 .. {full} became 0 .. 255" in note for note in raw.notes)


def test_a_number_beyond_the_bits_is_refused(tmp_path: Path) -> None:
    png16(beside(tmp_path).with_suffix(".png"), drawn(5, 6, 3, top=5000))
    assert "it has the number 5000, and 12 bits hold 4095" in refused(tmp_path, rendering(12, None))


@pytest.mark.parametrize("channels", [2, 4])
def test_deep_and_transparent(tmp_path: Path, channels: int) -> None:
    numbers = drawn(5, 6, channels, top=65535)
    png16(beside(tmp_path).with_suffix(".png"), numbers)
    assert f"({'LA' if channels == 2 else 'RGBA'} of 16 bits)" in refused(tmp_path)
    raw = folders.read(tmp_path, rendered=rendering(16, "white"))
    share = numbers[..., -1:] / 65535
    expected = 255 * (numbers[..., :-1] / 65535 * share + 1 - share)
    assert raw.train.pixels.shape[1] == channels - 1
    assert np.abs(raw.train.pixels[0].transpose(1, 2, 0) - expected).max() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_with_a_transparent_colour(tmp_path: Path, channels: int) -> None:
    numbers = np.full((5, 6, channels), 500)
    numbers[2:] = 501  # the same high byte as what is transparent
    path = beside(tmp_path).with_suffix(".png")
    png16(path, numbers, key=struct.pack(f">{channels}H", *[500] * channels))
    raw = folders.read(tmp_path, rendered=rendering(10, 200))
    assert (raw.train.pixels[0][:, :2] == 200).all()
    assert (raw.train.pixels[0][:, 2:] == round(501 * 255 / 1023)).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_tiff(tmp_path: Path, order: str) -> None:
    numbers = drawn(5, 6, 3, top=4095)
    tiff16(beside(tmp_path).with_suffix(".tif"), numbers, order)
    assert "(RGB of 16 bits)" in refused(tmp_path)
    raw = folders.read(tmp_path, rendered=rendering(12, None))
    np.testing.assert_array_equal(raw.train.pixels[0].transpose(1, 2, 0), np.floor(numbers * 255.0 / 4095 + 0.5))


@pytest.mark.parametrize("ending", ["png", "tif", "jp2"])
def test_deep_and_gray_of_other_formats(tmp_path: Path, ending: str) -> None:
    numbers = drawn(5, 6, top=4095).astype(np.uint16)
    Image.fromarray(numbers).save(beside(tmp_path).with_suffix(f".{ending}"))
    assert "(L of 16 bits)" in refused(tmp_path)
    raw = folders.read(tmp_path, rendered=rendering("auto", None))
    np.testing.assert_array_equal(raw.train.pixels[0, 0], np.floor(numbers * 255.0 / 4095 + 0.5))


def test_deep_colour_of_jpeg_2000_is_refused(tmp_path: Path) -> None:
    path = beside(tmp_path).with_suffix(".jp2")
    Image.new("RGB", (6, 5), (9, 99, 200)).save(path)
    assert folders.read(tmp_path).train.pixels.shape[1] == 3
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\x4f\xff\x51") + 42
    data[at], data[at + 3], data[at + 6] = 11, 11, 11
    path.write_bytes(data)
    assert "(RGB of 12 bits)" in refused(tmp_path)
    assert "cannot be read in full" in refused(tmp_path, rendering(12, None))


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_deep_netpbm(tmp_path: Path, kind: str) -> None:
    numbers = drawn(5, 6, 3 if kind in ("P3", "P6") else 1, top=1023)
    body = (
        numbers.astype(">u2").tobytes() if kind in ("P5", "P6") else " ".join(map(str, numbers.reshape(-1))).encode() + b" # end"
    )
    beside(tmp_path).with_suffix(".ppm").write_bytes(f"{kind}\n# a comment\n6 5\n1023\n".encode() + body)
    assert "of 16 bits)" in refused(tmp_path)
    raw = folders.read(tmp_path, rendered=rendering(10, None))
    np.testing.assert_array_equal(raw.train.pixels[0].transpose(1, 2, 0), np.floor(numbers * 255 / 1023 + 0.5))


def test_a_turned_gray_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    levels = drawn(6, 5, top=255).astype(np.uint8)
    Image.fromarray(levels).save(beside(tmp_path).with_suffix(".tif"), exif=exif)
    np.testing.assert_array_equal(folders.read(tmp_path).train.pixels[0, 0], np.rot90(levels, -1))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_deep_and_turned_as_the_camera_says(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    numbers = drawn(6, 5, top=1023).astype(np.uint16)
    Image.fromarray(numbers).save(beside(tmp_path).with_suffix(f".{ending}"), exif=exif)
    raw = folders.read(tmp_path, rendered=rendering(10, None))
    np.testing.assert_array_equal(raw.train.pixels[0, 0], np.floor(np.rot90(numbers, -1) * 255.0 / 1023 + 0.5))


@pytest.mark.parametrize(
    ("background", "level", "word"), [(None, 0, "black"), ("black", 0, "black"), ("white", 255, "white"), (99, 99, "gray 99")]
)
@pytest.mark.parametrize("form", ["key", "LA", "RGBA", "P"])
def test_what_is_transparent_shows_the_background(
    tmp_path: Path, form: str, background: str | int | None, level: int, word: str
) -> None:
    gray = np.full((5, 6), 100, dtype=np.uint8)
    gray[:2] = 180
    opaque = gray != 180
    path = beside(tmp_path).with_suffix(".png")
    if form == "key":
        Image.fromarray(gray).save(path, transparency=180)
    elif form == "P":
        image = Image.frombytes("P", (6, 5), (gray == 180).astype(np.uint8).tobytes())
        image.putpalette([100, 100, 100, 180, 180, 180])
        image.save(path, transparency=1)
    else:
        Image.fromarray(np.dstack([*[gray] * (len(form) - 1), opaque * np.uint8(255)])).save(path)
    raw = folders.read(tmp_path, rendered=rendering(None, background))
    np.testing.assert_array_equal(raw.train.pixels[0, 0], np.where(opaque, 100, level))
    assert raw.notes[-1].endswith(f"; what is transparent became {word}.")


def ink(path: Path, mode: str) -> None:
    """Black ink on nothing."""
    alpha = np.zeros((5, 6), dtype=np.uint8)
    alpha[1:3] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.dstack([0 * alpha] * (len(mode) - 1) + [alpha])).save(path)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_black_ink_on_nothing_is_refused(tmp_path: Path, mode: str) -> None:
    for name in "ab":
        ink(tmp_path / name / "0.png", mode)
    message = refused(tmp_path)
    assert "2 of 2 images cannot be used" in message
    assert "they become one colour" in message
    assert "background black|white|VALUE" in message
    raw = folders.read(tmp_path, rendered=rendering(None, "white"))
    assert raw.train.pixels[0, 0, :, 0].tolist() == [255, 0, 0, 255, 255]
    assert folders.read(tmp_path, rendered=rendering(None, "black")).train.pixels.max() == 0
    Image.fromarray(np.full((5, 6, 4), 0, dtype=np.uint8)).save(tmp_path / "a" / "0.png")
    Image.fromarray(np.full((5, 6, 4), 255, dtype=np.uint8)).save(tmp_path / "b" / "0.png")
    assert len(folders.read(tmp_path).train) == 2  # nothing was drawn in them


def test_options_that_change_nothing_say_so(tmp_path: Path) -> None:
    beside(tmp_path)
    Image.new("L", (6, 5)).save(tmp_path / "a" / "0.png")
    notes = folders.read(tmp_path, rendered=rendering(12, "white")).notes
    assert notes == (
        "no image has more than 8 bits a channel: bits=12 changed nothing.",
        "no image is transparent: background white changed nothing.",
    )


@pytest.mark.parametrize("bits", [0, 7, 17, "many", 12.5, True])
def test_bits_that_are_refused(bits: object) -> None:
    with pytest.raises(InvalidInput, match="bits must be"):
        rendering(bits, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("background", [-1, 256, "green", 0.5, True])
def test_backgrounds_that_are_refused(background: object) -> None:
    with pytest.raises(InvalidInput, match="background must be"):
        rendering(None, background)  # type: ignore[arg-type]


def test_load_remembers_what_it_was_told(tmp_path: Path) -> None:
    for name in "ab":
        for i in range(2):
            ink(tmp_path / name / f"{i}.png", "LA")
            png16(tmp_path / name / f"{i + 2}.png", drawn(5, 6, 1, top=900))
    told = load(tmp_path, bits="12", background="white", size=4)  # type: ignore[arg-type]
    assert told.options == {"size": 4, "fit": "crop", "bits": 12, "background": "white"}
    assert load(told.source, **told.options).checksum == told.checksum
    assert load(tmp_path, bits=16, background="white", size=4).checksum != told.checksum
    assert load(tmp_path, bits=12, background=9, size=4).checksum != told.checksum
