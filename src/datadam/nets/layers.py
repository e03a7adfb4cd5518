"""The layers that a spec chooses by name: normalisation, activation, pooling. C channels, H x W pixels."""

from collections.abc import Callable

from torch import nn

from datadam.errors import InvalidInput
from datadam.nets.instance import InstanceNorm

NORMS = ("instance", "batch", "layer", "group", "group1", "none")
SIZELESS = tuple(norm for norm in NORMS if norm != "layer")  # those that need not know how large their maps are
ACTIVATIONS = ("relu", "sigmoid", "leakyrelu")
POOLS = ("avg", "max", "avg3", "none")
CHANNELS = ("same", "doubled")  # of a ConvNet's blocks: all alike, or twice as many with each

WIDENINGS = ("28", "grey")  # which images the first convolution makes larger by 4 pixels a side

GROUPS = 4  # of group norm, as in the field's code


def norm_layer(norm: str, channels: int, size: tuple[int, int] = (1, 1)) -> nn.Module:
    """A normalisation of maps of C channels and `size` (H, W), which only `layer` asks for; all but batch norm look at one image
    only.

    `instance` is InstanceNorm2d (instance.py) and not the equal GroupNorm(C, C), which is slower on CPUs. `layer` has a weight
    for each of the C x H x W numbers, as in the field's code; `group1`, one group of all channels, has one a channel.
    Raises InvalidInput where group norm cannot divide the channels.
    """
    if norm == "group" and channels % GROUPS:
        raise InvalidInput(f"norm=group needs a width divisible by {GROUPS}, and {channels} came; change one of them")
    layers: dict[str, Callable[[], nn.Module]] = {
        "instance": lambda: InstanceNorm(channels),
        "batch": lambda: nn.BatchNorm2d(channels),
        "layer": lambda: nn.LayerNorm([channels, *size]),
        "group": lambda: nn.GroupNorm(GROUPS, channels),
        "group1": lambda: nn.GroupNorm(1, channels),
        "none": nn.Identity,
    }
    return layers[norm]()


def sees_one_value(norm: str, channels: int, pixels: int) -> bool:
    """Whether a normalisation of [C, H, W] maps, H * W = `pixels`, would see single values, and make zeros of them.

    Batch norm is not judged: what it sees depends on the batch.
    """
    seen = {"instance": pixels, "layer": channels * pixels, "group1": channels * pixels, "group": channels // GROUPS * pixels}
    return seen.get(norm, 2) == 1


def refuse_one_pixel(name: str, norm: str, shape: tuple[int, int, int], shrink: int) -> None:
    """Refuse instance norm on a last map of one pixel; that map is ceil(H / shrink) x ceil(W / shrink)."""
    if norm == "instance" and max(shape[1:]) <= shrink:
        raise InvalidInput(
            f"{name} with norm=instance needs images longer than {shrink} pixels on a side, and {shape[1]}x{shape[2]} "
            "came: its last map would be one pixel, of which instance norm makes zero. "
            "Use larger images, norm=group, or a ConvNet (auto)"
        )


def activation(act: str) -> nn.Module:
    """An activation by name; never in place, since blocks hand out their outputs."""
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "leakyrelu": nn.LeakyReLU,
    }
    return activations[act]()


def pool_layer(pool: str) -> nn.Module:
    """A pooling that halves the sides: 2x2 of stride 2, or `avg3`, 3x3 of stride 2 that does not count the padding."""
    pools: dict[str, Callable[[], nn.Module]] = {
        "avg": lambda: nn.AvgPool2d(2),
        "max": lambda: nn.MaxPool2d(2),
        "avg3": lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        "none": nn.Identity,
    }
    return pools[pool]()


def pooled(side: int, pool: str) -> int:
    """How long a side is after pooling."""
    return {"avg": side // 2, "max": side // 2, "avg3": (side + 1) // 2, "none": side}[pool]


def widening(shape: tuple[int, int, int], widen: str = WIDENINGS[0]) -> int:
    """Extra padding of the first convolution: 2 for one-channel 28x28 images, which so become 32x32, else 0; with `widen` "grey"
    2 for one-channel images of any size, as the field's code has it."""
    return 2 if shape == (1, 28, 28) or (widen == "grey" and shape[0] == 1) else 0
