"""Train a network of your own on a distilled set: python examples/use_in_training.py runs/shapes

A run folder gives an ordinary torch data set; what is special is only that test images must take the same way into network
space as the distilled ones, which the set's `transform` knows (whitening included).
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader

import datadam

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", help="a run folder")
parser.add_argument("--epochs", type=int, default=200)
asked = parser.parse_args()

small = datadam.DistilledSet.load(asked.run)
images, labels = small.images, small.labels
channels = images.shape[1]

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
    nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
    nn.Flatten(), nn.Linear(32 * 16, len(small.classes)),
)  # fmt: skip
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for _ in range(asked.epochs):
    for x, y in DataLoader(small.dataset(), batch_size=64, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()

# The real test images, loaded as the run did; `download=False`: they were here when the set was made.
data = small.card["data"]
options = {name: value for name, value in data["options"].items() if name != "zca"}
test = datadam.load(data["source"], **options, download=False).test
network.eval()
right = 0
with torch.no_grad():
    for first in range(0, len(test), 500):
        pixels, truth = test.pixels[first : first + 500], test.labels[first : first + 500]
        x = small.transform.bytes_to_network(torch.tensor(pixels))
        right += int((network(x).argmax(1) == torch.tensor(truth)).sum())
print(f"{len(labels)} distilled images, {asked.epochs} epochs: {right} of {len(test)} test images right")
