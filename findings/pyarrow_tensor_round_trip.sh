#!/bin/sh
# A batch of channels-last images, seen channels-first (a transposed view), as a pyarrow FixedShapeTensorArray and back.
#
# One would guess: from_numpy_ndarray notes how the axes lie in memory, as a permutation that leads from the shape in memory to that of
# an image, and to_numpy_ndarray, or to_numpy of a row, gives the images that were put in.
# What happens (pyarrow 26.0.1): from channels-last to channels-first, and the other way, the inverse of that permutation is noted,
# which leads to another shape. On the way back images of 4x4x3 in memory raise "strides must not involve buffer over run"; those of
# 2x3x4 come back in another shape with other numbers, and nothing is said. Rows alone go wrong for still more orders of the axes,
# even where the whole array comes back right.
#
# Exits with 1 when the behaviour has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 numpy==2.4.6
cat > ask.py <<'PYTHON'
import numpy as np
import pyarrow as pa

print("pyarrow", pa.__version__)


def back(call, wanted):
    """What became of images on their way."""
    try:
        found = call()
    except pa.ArrowInvalid as error:
        return f"raises: {error}"
    return "the same" if found.shape == wanted.shape and (found == wanted).all() else f"others, of shape {found.shape}"


OVERRUN = "raises: strides must not involve buffer over run"
FIRST, LAST, TURNED, SWAPPED = (0, 3, 1, 2), (0, 2, 3, 1), (0, 3, 2, 1), (0, 1, 3, 2)
EXPECTED = {  # memory, order of the axes: the shape that is noted of an image, the whole array, its first row
    ((2, 4, 4, 3), FIRST): ((4, 3, 4), OVERRUN, OVERRUN),
    ((2, 3, 4, 4), LAST): ((4, 3, 4), "others, of shape (2, 4, 3, 4)", "others, of shape (4, 3, 4)"),
    ((2, 2, 3, 4), FIRST): ((3, 4, 2), "others, of shape (2, 3, 4, 2)", "others, of shape (3, 4, 2)"),
    ((2, 2, 3, 4), LAST): ((4, 2, 3), "others, of shape (2, 4, 2, 3)", "others, of shape (4, 2, 3)"),
    ((2, 2, 3, 4), TURNED): ((4, 3, 2), "the same", "others, of shape (4, 3, 2)"),
    ((2, 2, 3, 4), SWAPPED): ((2, 4, 3), "the same", "the same"),
}
found = {}
for memory, order in EXPECTED:
    images = np.arange(np.prod(memory)).reshape(memory).transpose(order)
    array = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    noted = tuple(array.type.shape[axis] for axis in array.type.permutation)
    found[memory, order] = noted, back(array.to_numpy_ndarray, images), back(array[0].to_numpy, images[0])
    print(f"memory {memory}, axes {order}, an image {images.shape[1:]}, noted as {noted}:")
    print("    whole:", found[memory, order][1])
    print("    first row:", found[memory, order][2])
raise SystemExit(0 if found == EXPECTED else 1)
PYTHON
venv/bin/python ask.py
