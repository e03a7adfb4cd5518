"""Decoding: encoded images of any size and mode become uint8 pixels of one shape.

Shapes: K classes, N images, C channels, H x W pixels, S the side asked for.
"""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from datadam.data import cache
from datadam.data.real import Raw, Split
from datadam.data.rendering import (
    MOST,
    USUAL,
    USUALLY,
    Bits,
    OneColour,
    Rendering,
    bits_of,
    is_transparent,
    kind_of,
    numbers,
    plain,
    scaled,
)
from datadam.errors import DataError, InvalidInput, UnknownName
from datadam.files import kept

Fit = Literal["crop", "squash", "pad"]
Progress = Callable[[str, int, int | None], None]
Source = str | bytes  # the path of an image file, or what is in it

# Pillow knows more formats, some of which start other programs.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
PLAIN_ENDINGS = (".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
ENDINGS = frozenset((*PLAIN_ENDINGS, ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".avif"))
LARGEST = 89_478_485  # pixels of one image; Pillow suspects more to be an attack
GRAY = frozenset(("1", "L", "LA", "La"))
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the tag of EXIF, and its values that swap width and height
BLOCK = 1024
WORTH_KEEPING = 20_000  # images: their heads take seconds to read, and those of ImageNet minutes
SHOWN = 5


@dataclass(frozen=True)
class Pictures:
    """Encoded images in a fixed order, those of the training part first.

    Fields: `classes`, K names; `labels`, int64 [N]; `train`, how many belong to the training part (None: there is no
    test part); `name(i)`, for messages; `read(start, stop)`, the images start .. stop - 1; `key`, names their content.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    train: int | None
    name: Callable[[int], str]
    read: Callable[[int, int], Sequence[Source]]
    key: str


def decode(
    pictures: Pictures,
    *,
    size: int | None = None,
    fit: Fit | None = None,
    skip_bad: bool = False,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    notes: Sequence[str] = (),
    rendered: Rendering = USUALLY,
) -> Raw:
    """Decode images, all to one shape [C, H, W]: one channel if all are gray, else three.

    Arguments: `size` and `fit`, to which square and how they are resized (None: they have one size already), "crop" if
    only the size is given; `skip_bad`, leave out images that cannot be decoded; `memory_limit`, in bytes, beyond which
    pixels stay on disk; `progress(what, done, total)`; `notes`, put before its own; `rendered`, how deep and transparent
    images become 8 opaque bits. Of an animation the first picture counts. Raises DataError, InvalidInput.
    """
    if fit is not None and size is None:
        raise InvalidInput(f"fit={fit!r} says how images are resized, and needs a size: --size 64, say.")
    if fit is not None and fit not in FITS:
        raise UnknownName("fit", fit, FITS)
    if size is not None and size < 1:
        raise InvalidInput(f"size must be a positive number of pixels; {size} came.")
    n = len(pictures.labels)
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        sizes, kinds = _survey(pictures, pool, progress)
        bits, remarks = _bits(pictures, kinds, pool, rendered.bits)
        target, more_remarks = _target(pictures, sizes, kinds, size, fit, bits, rendered.background)
        remarks += more_remarks

        def fill(start: int, stop: int, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
            decoded = pool.map(lambda source, into: _fault(source, target, into) is None, pictures.read(start, stop), out)
            return np.fromiter(decoded, dtype=np.bool_, count=stop - start)

        pixels, good = cache.good_pixels(
            n, target.shape, fill, key=f"{pictures.key} {target}", memory_limit=memory_limit, progress=progress
        )
        bad = np.flatnonzero(~good).tolist()
        if bad and not skip_bad:
            _require_background(pictures, bad, target)
            named = "; ".join(f"{pictures.name(i)} ({_why(pictures, i, target)})" for i in bad[:SHOWN])
            more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            raise DataError(
                f"{len(bad)} of {n} images cannot be decoded: {named}{more}. Repair or remove them, or leave them out "
                "with --skip-bad."
            )
    if bad:
        remarks.append(f"{len(bad)} broken images skipped: {some([pictures.name(i) for i in bad])}.")
    labels = pictures.labels[good]
    end = n if pictures.train is None else pictures.train
    cut = int(good[:end].sum())
    parts = [Split(pixels[:cut], labels[:cut]), Split(pixels[cut:], labels[cut:])]
    _check_skipped(pictures, good, end)
    return Raw(pictures.classes, parts[0], None if pictures.train is None else parts[1], (*notes, *remarks))


class Target(NamedTuple):
    """What images become: `shape` (C, H, W), how they are resized (None: not at all), and how they are rendered."""

    shape: tuple[int, int, int]
    fit: Fit | None
    bits: int | None = None
    background: int | None = None


Sizes = Counter[tuple[int, int]]
Kinds = Counter[str]


def _survey(pictures: Pictures, pool: ThreadPoolExecutor, progress: Progress | None) -> tuple[Sizes, Kinds]:
    """How often each (width, height) and each kind comes, from the heads alone; unreadable heads are not counted."""
    n = len(pictures.labels)

    def count() -> list[tuple[int, int, str, int]]:
        heads: Counter[tuple[int, int, str]] = Counter()
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            heads.update(head for head in pool.map(_head, pictures.read(start, stop)) if head is not None)
            if progress:
                progress("reading sizes", stop, n)
        return [(*head, times) for head, times in heads.items()]

    sizes, kinds = Counter[tuple[int, int]](), Counter[str]()
    for w, h, kind, times in count() if n < WORTH_KEEPING else kept.remembered(f"heads with kinds {pictures.key}", count):
        sizes[w, h] += times
        kinds[kind] += times
    return sizes, kinds


def _bits(pictures: Pictures, kinds: Kinds, pool: ThreadPoolExecutor, asked: Bits | None) -> tuple[int | None, list[str]]:
    """How many bits a channel deep images have in use, None where there are none, and notes."""
    deep = {kind: count for kind, count in kinds.items() if bits_of(kind) > 8}
    if not deep:
        return None, [] if asked is None else [f"no image has more than 8 bits a channel: bits={asked} changed nothing."]
    told = f"{sum(deep.values())} images have more than 8 bits a channel ({', '.join(sorted(deep))})"
    if beyond := sorted(kind for kind in deep if bits_of(kind) > MOST):
        raise DataError(f"{told}; those with {', '.join(beyond)} must be converted first: black and white are your choice.")
    if asked is None:
        raise DataError(
            f"{told}. Say how many of them are in use: --bits 16, 12 (cameras) or 10, or --bits auto for as many as the largest "
            "number needs. Or convert the images to 8 bits first."
        )
    bits = _enough(pictures, pool) if asked == "auto" else asked
    return bits, [
        f"{sum(deep.values())} images of more than 8 bits a channel were scaled: 0 .. {(1 << bits) - 1} became 0 .. 255."
    ]


def _enough(pictures: Pictures, pool: ThreadPoolExecutor) -> int:
    """The fewest usual bits that hold the numbers of all deep images; those that cannot be read are left to the decoding."""

    def largest(source: Source) -> int:
        with suppress(ValueError, OSError, SyntaxError, DataError), _opened(source) as image:
            if bits_of(kind_of(image, source)) > 8:
                found, _ = numbers(source, _opened)
                colours = found.shape[-1] - (found.shape[-1] in (2, 4))
                return int(found[..., :colours].max(initial=0))
        return 0

    n = len(pictures.labels)
    blocks = (pictures.read(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
    top = max((value for block in blocks for value in pool.map(largest, block)), default=0)
    return next(bits for bits in USUAL if top < 1 << bits)


def _target(
    pictures: Pictures, sizes: Sizes, kinds: Kinds, size: int | None, fit: Fit | None, bits: int | None, background: int | None
) -> tuple[Target, list[str]]:
    """What the images become, and notes about those that change more than their size."""
    n = len(pictures.labels)
    if not sizes:
        raise DataError(f"none of the {n} images can be read; the first is {pictures.name(0) if n else 'missing'}.")
    if size is None and len(sizes) > 1:
        ranked = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{w} x {h} ({count} images)" for (w, h), count in ranked[:8])
        more = f" and {len(ranked) - 8} more sizes" if len(ranked) > 8 else ""
        raise DataError(
            f"the images have {len(sizes)} sizes (width x height): {shown}{more}; all must have one. "
            "Say how they get it: --size S --fit crop|squash|pad, for example --size 64 --fit crop."
        )
    notes = _kind_notes(kinds, background)
    small = sum(count for (w, h), count in sizes.items() if size is not None and min(w, h) < size)
    if small:
        notes.append(f"{small} of {sizes.total()} images are smaller than {size} pixels and were enlarged.")
    channels = 1 if _gray(kinds) else 3
    if size is None:
        ((w, h),) = sizes
        return Target((channels, h, w), None, bits, background), notes
    return Target((channels, size, size), fit or "crop", bits, background), notes


def _gray(kinds: Kinds) -> bool:
    return all(kind.split()[0] in GRAY for kind in kinds)


def _kind_notes(kinds: Kinds, background: int | None) -> list[str]:
    gray = _gray(kinds)
    usual = ("1", "L") if gray else ("RGB",)
    others = {kind: count for kind, count in kinds.most_common() if kind.split()[0] not in usual or is_transparent(kind)}
    transparent = any(is_transparent(kind) for kind in kinds)
    level = {0: "black", 255: "white"}.get(background or 0, f"gray {background}")
    notes = [] if transparent or background is None else [f"no image is transparent: background {level} changed nothing."]
    if others:
        listed = ", ".join(f"{count} {kind}" for kind, count in others.items())
        behind = f"; what is transparent became {level}" if transparent else ""
        became = "one channel" if gray else "RGB"
        notes.append(f"{sum(others.values())} of {kinds.total()} images were converted to {became} ({listed}){behind}.")
    return notes


def _head(source: Source) -> tuple[int, int, str] | None:
    """(width, height, kind) of the image as it is meant to be seen, or None when its head cannot be read."""
    try:
        with _opened(source) as image:
            # Pillow reads a PNG to its end when it is asked for an EXIF that does not come first.
            exif = image.format != "PNG" or "exif" in image.info
            sideways = exif and image.getexif().get(ORIENTATION) in SIDEWAYS
            w, h = image.size
            if isinstance(image, TiffImageFile):  # whose size is turned already from Pillow 11 on
                w, h = image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
            kind = kind_of(image, source)
            return (h, w, kind) if sideways else (w, h, kind)
    except (DataError, MemoryError):
        raise
    except Exception:  # hostile bytes can make Pillow raise nearly anything
        return None


def _fault(source: Source, target: Target, out: npt.NDArray[np.uint8]) -> Exception | None:
    """Decode into `out` [C, H, W]; what was wrong with the image, or None."""
    _, h, w = target.shape
    try:
        with _opened(source) as image, _shallow(source, image, target.bits) as picture:
            ImageOps.exif_transpose(picture, in_place=True)
            shown = plain(picture, target.shape[0], target.background)
            if target.fit is not None:
                shown = FITS[target.fit](shown, h)
        if shown.size != (w, h):
            raise ValueError(f"it is {shown.size[0]} x {shown.size[1]}, which its head does not say")
        pixels = np.asarray(shown)
        out[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    except (DataError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault
            raise DataError(f"{source!r} cannot be read: {error.strerror}. Repair or remove it.") from error
        return error
    return None


def _opened(source: Source) -> ImageFile.ImageFile:
    """The image, its head read. Raises DataError when the file itself cannot be read: no image is to blame for that."""
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
    except OSError as error:
        if error.errno is None:
            raise
        raise DataError(f"{source!r} cannot be read: {error.strerror}. Repair or remove it.") from error
    if isinstance(image, TiffImageFile):
        image.filename = ""  # else Pillow maps a file of plain rows, and takes its sides for those of the turned image
    if image.width * image.height > LARGEST:
        image.close()
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels are too many")
    return image


def _why(pictures: Pictures, i: int, target: Target) -> str:
    (source,) = pictures.read(i, i + 1)
    if not (source if isinstance(source, bytes) else Path(source).stat().st_size):
        return "empty"
    error = _fault(source, target, np.empty(target.shape, dtype=np.uint8))
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return f"{error}" or type(error).__name__


def _shallow(source: Source, image: ImageFile.ImageFile, bits: int | None) -> Image.Image:
    """The image itself where it has 8 bits a channel, else scaled to them."""
    deep = bits is not None and bits_of(kind_of(image, source)) > 8
    return scaled(source, _opened, bits) if deep and bits is not None else image


def _require_background(pictures: Pictures, bad: Sequence[int], target: Target) -> None:
    """Raises DataError where images show nothing over the black behind them."""
    first = bad[:SHOWN]
    sources = [pictures.read(i, i + 1)[0] for i in first]
    faults = [_fault(source, target, np.empty(target.shape, dtype=np.uint8)) for source in sources]
    lost = [pictures.name(i) for i, fault in zip(first, faults, strict=True) if isinstance(fault, OneColour)]
    if lost:
        raise DataError(
            f"{len(bad)} of {len(pictures.labels)} images cannot be used, some because they are transparent and what is drawn in "
            f"them is as dark as the black behind, so that they become one colour: {some(lost)}. Put white or another level "
            "behind them (--background black|white|VALUE), or leave them out (--skip-bad)."
        )


def _crop(image: Image.Image, size: int) -> Image.Image:
    """The shorter side becomes S; of the longer one the middle stays. In one step, so that no strip gets huge."""
    w, h = image.size
    short = min(w, h)
    left, top = (w - short) / 2, (h - short) / 2
    box = (left, top, left + short, top + short)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def _squash(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BILINEAR)


def _pad(image: Image.Image, size: int) -> Image.Image:
    """The longer side becomes S; black at both ends of the shorter one."""
    w, h = (max(1, round(side * size / max(image.size))) for side in image.size)
    out = Image.new(image.mode, (size, size))
    out.paste(image.resize((w, h), Image.Resampling.BILINEAR), ((size - w) // 2, (size - h) // 2))
    return out


FITS: dict[str, Callable[[Image.Image, int], Image.Image]] = {"crop": _crop, "squash": _squash, "pad": _pad}


@once
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_skipped(pictures: Pictures, good: npt.NDArray[np.bool_], end: int) -> None:
    for what, part in (("training", slice(0, end)), ("test", slice(end, None))):
        before, after = (
            np.bincount(labels, minlength=len(pictures.classes))
            for labels in (pictures.labels[part], pictures.labels[part][good[part]])
        )
        empty = [pictures.classes[k] for k in np.flatnonzero((before > 0) & (after == 0))]
        if empty:
            raise DataError(f"all {what} images of class {some(empty)} are broken. Repair them, or remove the class.")


def some(names: Sequence[str]) -> str:
    """The first few names, and how many there are besides."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
