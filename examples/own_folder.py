"""Your own images: a folder with one folder per class. This example draws such a folder first, in several sizes.

python examples/own_folder.py --folder shapes --out runs/shapes
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw

import datadam
from datadam.evaluation.protocols import CATALOG as PROTOCOLS

SHAPES = {"circle": 60, "square": 4, "triangle": 3}  # drawn as polygons with so many corners


def draw(corners: int, chance: random.Random) -> Image.Image:
    """A polygon of one colour on a ground of another, anywhere, in an image of some size."""
    width, height = chance.randint(40, 72), chance.randint(40, 72)
    ground, colour = (tuple(chance.randint(*span) for _ in range(3)) for span in ((0, 110), (130, 255)))
    image = Image.new("RGB", (width, height), ground)
    radius = chance.uniform(10, 18)
    centre = chance.uniform(radius, width - radius), chance.uniform(radius, height - radius)
    ImageDraw.Draw(image).regular_polygon((*centre, radius), corners, rotation=chance.randint(-15, 15), fill=colour)
    return image


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--folder", type=Path, default=Path("shapes"), help="where the images are drawn")
parser.add_argument("--images", type=int, default=100, help="of each class")
parser.add_argument("--size", type=int, default=32, help="side to which all are resized")
parser.add_argument("--iterations", type=int, default=100)
parser.add_argument("--net", default="convnet3:width=32")
parser.add_argument("--students", type=int, default=2)
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--out", default="runs/shapes")
asked = parser.parse_args()

chance = random.Random(0)
for shape, corners in SHAPES.items():
    (asked.folder / shape).mkdir(parents=True, exist_ok=True)
    for number in range(asked.images):
        draw(corners, chance).save(asked.folder / shape / f"{number:04d}.png")

# From here on, as with any folder of yours. On the command line:
#   datadam distill shapes --ipc 2 --size 32 --fit pad --out runs/shapes
#   datadam evaluate runs/shapes
real = datadam.load(asked.folder, size=asked.size, fit="pad")
for note in real.notes:  # what was held out, converted or skipped
    print("note:", note)
settings = {"iterations": asked.iterations, "batch_real": 32, "net": asked.net}
small = datadam.distill(real, datadam.preset("datadam", real, ipc=2).change(settings), out=asked.out, overwrite=True)
protocol = PROTOCOLS["honest"].with_epochs(asked.epochs)
print(datadam.evaluate(small, real, protocol=protocol, students=asked.students))
