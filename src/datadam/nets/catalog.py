"""Networks by name, and the little language that says a variant in one word: `convnet3:norm=batch:width=64`.

C channels, H x W pixels, K classes.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from datadam import plugins
from datadam.errors import InvalidInput, UnknownName
from datadam.nets.alexnet import AlexNet
from datadam.nets.base import Network
from datadam.nets.convnet import ConvNet
from datadam.nets.initialise import initialise
from datadam.nets.layers import ACTIVATIONS, CHANNELS, NORMS, POOLS, SIZELESS, WIDENINGS
from datadam.nets.lenet import LeNet
from datadam.nets.mlp import MLP
from datadam.nets.nasbench201 import ALL_3X3, NasBench201, cell_letters
from datadam.nets.own import KNOWN, Factory, OwnNetwork, own, require_known
from datadam.nets.resnet import ResNet18
from datadam.nets.vgg import VGG11
from datadam.nets.vit import ViT
from datadam.rng import stream

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Text:
    """An option that is neither a number nor one of a few words: its `default`, and `read`, which gives its one spelling or
    raises `InvalidInput`."""

    default: str
    read: Callable[[str], str]

    def __str__(self) -> str:
        return self.default


@dataclass(frozen=True)
class Architecture:
    """One architecture. `options`: each one's values, default first; its default where any positive number does; or a `Text`."""

    description: str
    make: Callable[..., Network]
    options: Mapping[str, tuple[str, ...] | int | Text]


CATALOG: dict[str, Architecture] = {
    "convnet3": Architecture(
        "ConvNet, the field's usual network; any depth: convnet1, convnet2, ...; auto chooses it by the image size",
        ConvNet,
        {"width": 128, "norm": NORMS, "act": ACTIVATIONS, "pool": POOLS, "widen": WIDENINGS, "channels": CHANNELS},
    ),
    "mlp": Architecture("Three linear layers on the pixels; has no blocks to match", MLP, {"width": 128}),
    "lenet": Architecture("LeNet-5 with ReLU and max pooling", LeNet, {}),
    "alexnet": Architecture("AlexNet for small images", AlexNet, {"norm": ("none", *SIZELESS[:-1]), "widen": WIDENINGS}),
    "vgg11": Architecture("VGG-11 for small images", VGG11, {"norm": SIZELESS, "widen": WIDENINGS}),
    "resnet18": Architecture("ResNet-18 for small images", ResNet18, {"norm": SIZELESS}),
    "nasbench201": Architecture(
        "a network of NAS-Bench-201 by its cell, in six letters or in the published form",
        NasBench201,
        {"cell": Text(ALL_3X3, cell_letters)},
    ),
    "vit": Architecture("small vision transformer", ViT, {"patch": 4, "width": 128, "depth": 6, "heads": 4}),
}


CONVNET = re.compile(r"convnet([1-9][0-9]{0,2})")
DEEPEST = 999
MOST_WEIGHTS = 500_000_000  # of a network: what a file asks for must not fill the memory


def build(spec: str, *, shape: Shape, classes: int) -> Network:
    """The network that `spec` says, in training mode.

    Arguments: `spec`, such as "convnet3:norm=batch", "mlp" or "auto"; `shape`, (C, H, W) of one image; `classes`, K.
    Its weights are always the same; `initialise` draws others. The global random state is neither read nor moved.
    Raises UnknownName (no such network, option or value) and InvalidInput (a misfit width, images too small).
    """
    name, _ = _parse(spec, shape)
    if name in KNOWN:
        _require_count(classes)
        return OwnNetwork(KNOWN[name].factory, shape, classes)
    net = on_paper(spec, shape=shape, classes=classes)
    net.to_empty(device="cpu")
    initialise(net, stream(0, "build"))
    return net


def on_paper(spec: str, *, shape: Shape, classes: int) -> Network:
    """The network that `spec` says, on torch's device "meta": sizes without numbers, made in a moment. Arguments and errors as
    `build`; of a program's own there is none."""
    name, options = _parse(spec, shape)
    _require_count(classes)
    row, depth = _row(name)
    with torch.device("meta"):  # nothing is drawn there; PyTorch's constructors would draw from the global generator
        net = row.make(tuple(shape), classes, **depth, **options)
    if not isinstance(net, Network):
        raise InvalidInput(f"{name} makes a {type(net).__name__}, and every network is a datadam.nets.Network")
    if (numbers := sum(weights.numel() for weights in net.parameters())) > MOST_WEIGHTS:
        raise InvalidInput(f"{spec} would have {numbers:,} weights and {MOST_WEIGHTS:,} are allowed; take a narrower net")
    return net


def spelled(net: str | Factory, *, shape: Shape, classes: int) -> str:
    """The canonical word for a network that is given as a word, or by what makes it (`own`). Raises as these."""
    return canonical(net if isinstance(net, str) else own(net, shape=shape, classes=classes), shape)


def canonical(spec: str, shape: Shape) -> str:
    """The one way to write `spec`: "auto" resolved, options sorted, defaults dropped.

    Raises UnknownName as `build` does; whether the images are large enough is left to `build`.
    """
    name, options = _parse(spec, shape)
    row, _ = _row(name)
    defaults = {option: _default(values) for option, values in row.options.items()}
    return name + "".join(f":{key}={value}" for key, value in sorted(options.items()) if value != defaults[key])


def takes(spec: str, option: str) -> bool:
    """Whether the network that `spec` names has an option of this name. Raises `UnknownName`."""
    name = spec.partition(":")[0]
    return option in _row("convnet3" if name == "auto" else name)[0].options


def listed() -> plugins.Listed[Architecture]:
    """Our networks and those of installed packages."""
    return plugins.listed("nets", CATALOG, _checked)


def _checked(name: str, loaded: object) -> Architecture:
    """What a package offers under this name, if it is the row of a network. Raises `InvalidInput`."""
    if not isinstance(loaded, Architecture):
        raise InvalidInput(f"it must be a datadam.nets.Row, and is {loaded!r}")
    if name == "auto" or CONVNET.fullmatch(name):
        raise InvalidInput("the name is that of a network of datadam itself")
    return loaded


def _parse(spec: str, shape: Shape) -> tuple[str, dict[str, str | int]]:
    """The name and the checked options of a spec; every fault is told at once."""
    if len(shape) != 3 or not all(map(_is_count, shape)):
        raise InvalidInput(f"an image's shape is (channels, height, width), positive whole numbers, and {shape!r} came")
    name, *parts = str(spec).split(":")
    if name == "auto":
        name = f"convnet{max(1, round(math.log2(min(shape[1:]))) - 2)}"
    row, _ = _row(name)
    options: dict[str, str | int] = {}
    faults: list[InvalidInput] = []
    for part in parts:
        option, _, text = part.partition("=")
        try:
            value = _value(name, row, option, text)
            if option in options:
                raise InvalidInput(f"option {option!r} of {name} is given twice in {spec!r}; give it once")
            options[option] = value
        except InvalidInput as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise InvalidInput(*map(str, faults))
    return name, options


def _row(name: str) -> tuple[Architecture, dict[str, Any]]:
    """A name's row, and the depth where the name carries it."""
    convnet = CONVNET.fullmatch(name)
    require_known(name)
    if name in KNOWN:
        return Architecture("a network of this program", OwnNetwork, {}), {}
    if convnet:
        return CATALOG["convnet3"], {"depth": int(convnet[1])}
    row = CATALOG.get(name) or plugins.find("nets", name, _checked)
    if row is None:
        cure = "ConvNets go by their depth, 1 to 999; options follow colons: convnet4:norm=batch:width=64."
        raise UnknownName("network", name, [*CATALOG, *plugins.names("nets"), "auto"], cure)
    return row, {}


def _default(values: tuple[str, ...] | int | Text) -> str | int:
    return values[0] if isinstance(values, tuple) else values.default if isinstance(values, Text) else values


def _value(name: str, row: Architecture, option: str, text: str) -> str | int:
    """One option's value, checked."""
    if option not in row.options:
        cure = "Options are written name=value." if row.options else f"{name} has no options."
        raise UnknownName(f"option of {name}", option, row.options, cure)
    values = row.options[option]
    if isinstance(values, Text):
        return values.read(text)
    if isinstance(values, tuple):
        if text not in values:
            raise UnknownName(f"{option} of {name}", text, values)
        return text
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise InvalidInput(f"{option} of {name} must be a positive whole number, such as {values}, and {text!r} came")
    if option == "depth" and int(text) > DEEPEST:
        raise InvalidInput(f"depth of {name} must be at most {DEEPEST}, and {text} came")
    return int(text)


def _require_count(classes: object) -> None:
    if not _is_count(classes):
        raise InvalidInput(f"classes must be a positive whole number, and {classes!r} came")


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0
