"""At which size a table is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from datadam.comparison.variants import variant
from datadam.data import RealData, load
from datadam.data.real import Split
from datadam.distillation.presets import FOR_METHOD, preset
from datadam.errors import UnknownName
from datadam.rng import stream


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A size: what it says of itself in `words`, and what it has in place of the published settings.

    Arguments: `repeats`, sets of each; `students` of each set (None: all of the protocol), of so many `epochs` (None: the
    protocol's); `whole_epochs` on the whole set; `iterations` and `batch_real` of methods that learn (None: their presets');
    `nets`, what a name of a network stands for; `narrow`, which network stands for all that have no name there, presets' own
    included; `settings`, of a method by its name; `pool`, how many networks a pool has, and epochs of each; `part`, training and
    test images of each class of MNIST that stand for every data set (None: the data themselves); `fewest`, whether every part
    is made at one image per class; `pictures`, whether comparisons are drawn; `search`, of a search in a space by its name, what
    is asked otherwise than published; `steps`, in how many steps classes come where the table says so many.
    """

    name: str
    words: str
    repeats: int
    students: int | None
    epochs: int | None = None
    whole_epochs: int | None = None
    iterations: int | None = None
    batch_real: int | None = None
    nets: Mapping[str, str] = field(default_factory=dict)
    narrow: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    pool: tuple[int, int] = (1000, 30)
    part: tuple[int, int] | None = None
    fewest: bool = False
    pictures: bool = True
    search: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: Mapping[int, int] = field(default_factory=dict)

    def net(self, name: str) -> str:
        """The network that a name stands for, NET@AUGMENT too."""
        plain, at, augment = name.partition("@")
        found = self.nets.get(plain) or self.narrow or plain
        return found + at + augment

    def word(self, word: str, real: RealData, ipc: int, pool: str) -> str:
        """A word of a table at this scale; `pool`, the folder that {pool} stands for."""
        named = {name: _bracketed(self.net(name)) for name in ("alexnet", "vgg11", "resnet18")}
        word = word.format(**named, pool=pool)
        said = variant(word)
        if said.base in self.settings:
            word += f":{self.settings[said.base]}"
        if self.narrow and "net" not in dict(said.settings):
            own = preset(FOR_METHOD.get(said.base, said.base), real, ipc=ipc).net
            word += "" if own.startswith("auto") else f":net={_bracketed(self.narrow)}"
        return word


def _bracketed(net: str) -> str:
    """A network as a word of `compare` has it: convnet3[width=4]."""
    name, colon, options = net.partition(":")
    return f"{name}[{options}]" if colon else name


AUTO = {"convnet": "auto"}
GENERATORS = ("dcvae", "cgan", "biggan", "gmmn")
FIVE = {
    "space": "convnet720:depth=1:width=32:act=relu:pool=max", "count": 5, "epochs": 1, "whole_epochs": 1, "students": 1,
}  # fmt: skip
SCALES = {
    "full": Scale(name="full", words="as published but for what the notes say", repeats=5, students=None, nets=AUTO),
    "small": Scale(
        name="small",
        words="smaller than published: one set of three students, ConvNets of width 64, 1 000 iterations of 64 real images",
        repeats=1, students=3, whole_epochs=20, iterations=1000, batch_real=64, pool=(10, 10),
        nets={"convnet": "auto:width=64"},
        settings={"mtt": "count=10", "pad": "count=10"} | dict.fromkeys(GENERATORS, "epochs=20"),
        search={
            "convnet720": {"space": "convnet720:width=32", "count": 60, "epochs": 50, "whole_epochs": 10, "whole_images": 5000},
            "nasbench201": {"count": 20, "epochs": 20, "students": 1},
        },
    ),
    "tiny": Scale(
        name="tiny",
        words="shows that the command works and says nothing of the published numbers: a few images of MNIST stand for all data, "
        "and every set has one a class; networks are a few channels wide and trained for two epochs, other architectures are "
        "small ones of other kinds; a search has five small ConvNets, and classes come in fewer steps",
        repeats=1, students=2, epochs=2, whole_epochs=1, iterations=2, batch_real=4, pool=(1, 1), part=(60, 10), fewest=True,
        pictures=False,
        nets={"convnet": "convnet3:width=4", "alexnet": "convnet2:width=4", "vgg11": "convnet1:width=4", "resnet18": "lenet",
              "mlp": "mlp:width=8"},
        narrow="convnet3:width=4",
        settings={
            "mtt": "count=1:steps=2:expert_epochs=1:max_start=1",
            "pad": "count=1:steps=2:epochs=1:expert_epochs=1:first_max=0:max_start=1:batch=0:curriculum=none",
            **dict.fromkeys(("course-mnist", "course-mhist"), "network_steps=2"),
            **dict.fromkeys(GENERATORS, "epochs=1:width=4:noise=4"),
        },
        search={"convnet720": FIVE, "nasbench201": FIVE},
        steps={5: 2, 10: 5},
    ),
}  # fmt: skip


def scale_named(name: str) -> Scale:
    """A scale by its name. Raises `UnknownName`."""
    if name not in SCALES:
        raise UnknownName("scale", name, SCALES)
    return SCALES[name]


def few(real: RealData, train: int, test: int) -> RealData:
    """So many images of each class, drawn by a stream of their own, as a data set with a checksum of its own."""
    parts: list[npt.NDArray[np.integer]] = []
    for name, split, each in (("train", real.train, train), ("test", real.test, test)):
        kept = split.take(_drawn(split, name, each))
        parts += [kept.pixels.transpose(0, 2, 3, 1), kept.labels]
    return load(tuple(parts), flip=False)


def _drawn(split: Split, name: str, each: int) -> npt.NDArray[np.int64]:
    order = torch.randperm(len(split), generator=stream(0, "reproduce", name)).numpy()
    labels = split.labels[order]
    return np.sort(np.concatenate([order[labels == k][:each] for k in np.unique(labels)]))
