#!/bin/sh
# A gray TIFF of plain rows that is to be turned by a quarter (EXIF's orientation 5 to 8), opened by its path.
#
# One would guess: the pixels are those of the turned image, as for a compressed file or for one opened as a file object.
# What happens (Pillow 13.0.0): its numbers are laid out with the turned image's sides, in rows of the wrong length, and then turned.
# The array has the shape of the file's rows, and is no turn of it; nothing is said. Opened as a file object it is right.
#
# Exits with 1 when the behaviour has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pillow==13.0.0 numpy==2.4.6
cat > ask.py <<'PYTHON'
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__)
rows = np.arange(30, dtype=np.uint8).reshape(6, 5)
turned = np.rot90(rows, -1)
exif = Image.Exif()
exif[0x0112] = 6  # a quarter clockwise


def right(image):
    found = np.asarray(image)
    return found.shape == turned.shape and bool((found == turned).all())


outcome = {}
for compression in (None, "tiff_lzw"):
    Image.fromarray(rows).save("turned.tif", exif=exif, compression=compression)
    with Image.open("turned.tif") as image:
        outcome[compression, "path"] = right(image)
    with open("turned.tif", "rb") as file, Image.open(file) as image:
        outcome[compression, "file object"] = right(image)
for (compression, way), found in outcome.items():
    print(f"compression {compression}, opened by {way}:", "right" if found else "wrong")
expected = {(None, "path"): False, (None, "file object"): True, ("tiff_lzw", "path"): True, ("tiff_lzw", "file object"): True}
raise SystemExit(0 if outcome == expected else 1)
PYTHON
venv/bin/python ask.py
