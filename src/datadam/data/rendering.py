"""What the numbers of an image mean in 8 bits: deep images are scaled, and something lies behind what is transparent.

Pillow opens images of 16 bits a channel in colour, and gives the high byte of each number alone. It gives the low one where the
bytes are said to lie the other way round, so that both together are the number.

Shapes: C channels, H x W pixels.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE

from datadam.errors import InvalidInput

Bits = int | Literal["auto"]
Source = str | bytes
Open = Callable[[Source], ImageFile.ImageFile]

COLOURS = {"black": 0, "white": 255}
FEWEST, MOST = 8, 16  # bits a channel that can be scaled
USUAL = (8, 10, 12, 14, 16)  # what `auto` chooses from: those of cameras and scanners
TRANSPARENT = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))
ORIENTATION = 0x0112  # the tag of EXIF
SHAPE, FLAT = 128, 16  # of 256 levels: opacity that varies by so much draws something, colours that vary by less show nothing
WHOLE = {"LA": "RGBA"}  # both bytes of both channels at once
HALVES = {
    "RGB": ("RGB;16B", "RGB;16L"),
    "RGBA": ("RGBA;16B", "RGBA;16L"),
}  # the high bytes and the low ones, if stored high first


class OneColour(ValueError):
    """What is drawn in a transparent image has the colour of what lies behind it."""


@dataclass(frozen=True)
class Rendering:
    """`bits`, how many of 16 bits a channel are in use: 2^bits - 1 becomes 255 ("auto": as many as the largest number
    needs; None: deep images are refused); `background`, the level from 0 to 255 behind what is transparent (None: black, and an
    image that shows nothing over it is refused)."""

    bits: Bits | None = None
    background: int | None = None


USUALLY = Rendering()


def rendering(bits: Bits | str | None, background: int | str | None) -> Rendering:
    """From what was asked for: bits from 8 to 16 or "auto"; "black", "white" or a level. Raises InvalidInput."""
    number = int(bits) if isinstance(bits, str) and bits.isdecimal() else bits
    if not (number in (None, "auto") or (type(number) is int and FEWEST <= number <= MOST)):
        raise InvalidInput(f"bits must be a whole number from {FEWEST} to {MOST}, such as 12, or auto; {bits!r} came.")
    level = COLOURS.get(background, background) if isinstance(background, str) else background
    level = int(level) if isinstance(level, str) and level.isdecimal() else level
    if not (level is None or (type(level) is int and 0 <= level <= 255)):
        raise InvalidInput(f"background must be black, white or a level from 0 to 255; {background!r} came.")
    return Rendering(number, level)  # type: ignore[arg-type]


def kind_of(image: ImageFile.ImageFile, source: Source) -> str:
    """Mode and what is special, of an image whose head is read: "RGB", "L of 16 bits", "L with a transparent colour"."""
    depth, mode = _depth(image, source)
    special = f" of {depth} bits" if depth > 8 else ""
    return mode + special + (" with a transparent colour" if "transparency" in image.info and mode not in TRANSPARENT else "")


def is_transparent(kind: str) -> bool:
    """Whether something can lie behind images of this kind."""
    return kind.split()[0] in TRANSPARENT or kind.endswith("transparent colour")


def bits_of(kind: str) -> int:
    """Bits a channel of images of this kind."""
    words = kind.split()
    return int(words[2]) if words[1:2] == ["of"] else 8


def _depth(image: ImageFile.ImageFile, source: Source) -> tuple[int, str]:
    """Bits a channel as they are stored (32 for fractions), and the mode without them."""
    args: Any = image.tile[0][3] if image.tile else ""
    plain = "L" if image.mode.startswith("I") else image.mode
    if image.mode == "F":
        return 32, "F"
    if image.format == "PNG":
        stored = args if isinstance(args, str) else args[0]
        name = stored.partition(";")[0]
        return (16, "L" if name == "I" else name) if ";16" in stored else (8, image.mode)
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITSPERSAMPLE, (8,))  # type: ignore[attr-defined]
        return max(8, *bits), plain
    if image.format == "PPM":
        return (16 if len(args) > 1 and type(args[1]) is int and args[1] > 255 else 8), plain
    if image.format == "JPEG2000":
        return max(8, _precision(source)), plain
    return (32 if image.mode.startswith("I") else 8), plain


def _precision(source: Source) -> int:
    """Bits of the first channel of a JPEG 2000: the size marker follows the start of the stream at once."""
    if isinstance(source, bytes):
        head = source[: 1 << 16]
    else:
        with Path(source).open("rb") as file:
            head = file.read(1 << 16)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def numbers(source: Source, opened: Open) -> tuple[npt.NDArray[np.uint16], int | None]:
    """The numbers of an image of 9 to 16 bits a channel as they are stored, [H, W, C] with 1 to 4 channels, and how it is still
    to be turned (EXIF's orientation); a transparent colour becomes a channel of opacity. Raises ValueError for a kind that
    cannot be read in full."""
    with opened(source) as image:
        depth, mode = _depth(image, source)
        key = image.info.get("transparency")
        if image.format == "PPM":
            found = _netpbm(image, source)
        elif mode == "L":
            image.load()
            whole = np.asarray(image).astype(np.int64)[..., None]
            if whole.size and (whole.min() < 0 or whole.max() > 65535):
                raise ValueError(f"it has numbers from {whole.min()} to {whole.max()}, which 16 bits do not hold")
            found = (whole >> (16 - depth if image.format == "JPEG2000" else 0)).astype(np.uint16)
        elif image.format == "PNG" and mode in WHOLE:
            pairs = _unpacked(image, WHOLE[mode], WHOLE[mode]).astype(np.uint16)
            found = (pairs[..., 0::2] << 8 | pairs[..., 1::2]).astype(np.uint16)
        elif image.format in ("PNG", "TIFF") and mode in HALVES:
            found = _halves(image, mode, lambda: opened(source))
        else:
            raise ValueError(f"{image.format} in {mode} of {depth} bits cannot be read in full; convert it to PNG of 16 bits")
        turn = image.getexif().get(ORIENTATION) if image.format != "PNG" or "exif" in image.info else None
    if key is not None:
        opaque = (found != np.asarray(key, dtype=np.int64)).any(axis=-1, keepdims=True)
        found = np.concatenate([found, np.where(opaque, 65535, 0).astype(np.uint16)], axis=-1)
    return found, turn


def _halves(image: ImageFile.ImageFile, mode: str, again: Callable[[], ImageFile.ImageFile]) -> npt.NDArray[np.uint16]:
    if len({tile[0] for tile in image.tile}) != 1 or any(_stored(tile).partition(";")[0] != mode for tile in image.tile):
        raise ValueError(f"{image.format} of 16 bits is read with its channels together only; convert it to PNG of 16 bits")
    stored = _stored(image.tile[0])
    first = stored.endswith("B") or (stored.endswith("N") and sys.byteorder == "big")
    high, low = HALVES[mode] if first else HALVES[mode][::-1]
    with again() as other:
        return (_unpacked(image, mode, high).astype(np.uint16) << 8 | _unpacked(other, mode, low)).astype(np.uint16)


def _stored(tile: Any) -> str:
    return str(tile[3] if isinstance(tile[3], str) else tile[3][0])


def _unpacked(image: ImageFile.ImageFile, mode: str, stored: str) -> npt.NDArray[np.uint8]:
    """The bytes of an image that is said to be stored like this, [H, W, C]."""
    image._mode = mode
    tiles: list[Any] = list(image.tile)
    image.tile = [(codec, box, at, stored if isinstance(a, str) else (stored, *a[1:])) for codec, box, at, a in tiles]  # type: ignore[misc]
    image.info.pop("transparency", None)
    image.load()
    return np.asarray(image)


def _netpbm(image: ImageFile.ImageFile, source: Source) -> npt.NDArray[np.uint16]:
    tile: Any = image.tile[0]
    codec, _, offset, (mode, _) = tile
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    channels = 3 if mode == "RGB" else 1
    count = image.width * image.height * channels
    if codec == "ppm":
        values = np.frombuffer(data, dtype=">u2", count=count, offset=offset)
    else:
        lines = (line.partition(b"#")[0] for line in data[offset:].splitlines())
        values = np.array(b" ".join(lines).split()[:count], dtype=np.int64)
    if len(values) < count or (count and values.max() > 65535):
        raise ValueError("its numbers are cut off or more than 16 bits hold")
    return values.astype(np.uint16).reshape(image.height, image.width, channels)


def scaled(source: Source, opened: Open, bits: int) -> Image.Image:
    """The picture of 8 bits in which 2^bits - 1 is 255, turned as its file says. Raises ValueError where a number is larger."""
    (found, turn), top = numbers(source, opened), (1 << bits) - 1
    colours = found.shape[-1] - (found.shape[-1] in (2, 4))
    if found.size and (largest := int(found[..., :colours].max())) > top:
        raise ValueError(f"it has the number {largest}, and {bits} bits hold {top}; say --bits 16 or --bits auto")
    tops = np.full(found.shape[-1], top, dtype=np.uint32)
    if colours < len(tops) and found[..., -1].max(initial=0) > top:
        tops[-1] = 65535  # opacity need not have as few bits as the camera
    pixels = ((found.astype(np.uint32) * 255 + tops // 2) // tops).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if turn:
        picture.getexif()[ORIENTATION] = turn
    return picture


def plain(image: Image.Image, channels: int, background: int | None) -> Image.Image:
    """The image in one channel or RGB, over the background where it is transparent. Raises OneColour."""
    if image.mode not in TRANSPARENT and "transparency" not in image.info:
        return image.convert("L" if channels == 1 else "RGB")
    *colours, alpha = image.convert("LA" if channels == 1 else "RGBA").split()
    behind = Image.new("L", image.size, background or 0)
    seen = [Image.composite(colour, behind, alpha) for colour in colours]
    low, high = _extremes(alpha)
    if background is None and high - low >= SHAPE and all(b - a < FLAT for a, b in map(_extremes, seen)):
        raise OneColour("what is drawn in it is as dark as the black behind what is transparent")
    return seen[0] if channels == 1 else Image.merge("RGB", seen)


def _extremes(channel: Image.Image) -> tuple[int, int]:
    low, high = channel.getextrema()
    return int(low), int(high)  # type: ignore[arg-type]
