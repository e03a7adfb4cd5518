"""Specs: what they mean, how they are written in one way, and what is refused."""

from itertools import combinations, permutations, product

import pytest
import torch

from datadam import nets
from datadam.errors import InvalidInput, UnknownName
from datadam.nets.catalog import Text

CIFAR = (3, 32, 32)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("convnet3", "convnet3"),
        ("convnet3:width=64:norm=instance", "convnet3:width=64"),
        ("convnet3:width=128:pool=avg:act=relu:norm=instance", "convnet3"),
        ("convnet12:width=8:pool=max:norm=batch", "convnet12:norm=batch:pool=max:width=8"),
        ("auto", "convnet3"),
        ("auto:norm=batch", "convnet3:norm=batch"),
        ("alexnet:norm=none", "alexnet"),
        ("alexnet:norm=instance", "alexnet:norm=instance"),
        ("vgg11:norm=instance", "vgg11"),
        ("mlp:width=128", "mlp"),
        ("lenet", "lenet"),
    ],
)
def test_canonical(spec: str, expected: str) -> None:
    assert nets.canonical(spec, CIFAR) == expected
    assert nets.canonical(expected, CIFAR) == expected


@pytest.mark.parametrize(
    ("sides", "depth"), [((28, 28), 3), ((32, 32), 3), ((64, 64), 4), ((128, 128), 5), ((224, 224), 6), ((8, 8), 1)]
)
def test_auto_follows_the_shorter_side(sides: tuple[int, int], depth: int) -> None:
    assert nets.canonical("auto", (3, *sides)) == f"convnet{depth}"
    assert nets.canonical("auto", (3, 2 * sides[0], sides[1])) == f"convnet{depth}"


def test_auto_always_fits() -> None:
    sides = (
        2,
        3,
        5,
        11,
        12,
        22,
        23,
        28,
        45,
        46,
        90,
        91,
        181,
        182,
        300,
    )  # the depth steps between 11 and 12, 22 and 23, ...
    for channels, height, width in product((1, 3), sides, sides):
        nets.build("auto:width=1", shape=(channels, height, width), classes=1)


def ends_of(values: object) -> tuple[object, object]:
    """The default of an option and another of its values."""
    if isinstance(values, Text):
        return values.default, "3sa1n3"
    return (values[0], values[-1]) if isinstance(values, tuple) else (values, 8)


@pytest.mark.parametrize("name", sorted(nets.CATALOG))
def test_any_order_of_options_is_the_same_network(name: str) -> None:
    options = nets.CATALOG[name].options
    for count in range(len(options) + 1):
        for chosen in combinations(options, count):
            ends = [ends_of(options[option]) for option in chosen]
            for values in product(*ends):
                parts = [f"{option}={value}" for option, value in zip(chosen, values, strict=True)]
                specs = {nets.canonical(":".join((name, *order)), CIFAR) for order in permutations(parts)}
                assert len(specs) == 1
                told = specs.pop()
                assert nets.canonical(told, CIFAR) == told
                assert told.count("=") == sum(value != end[0] for value, end in zip(values, ends, strict=True))


def test_equal_specs_build_equal_networks_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    one = nets.build("convnet3:width=8:norm=instance:act=relu", shape=CIFAR, classes=3)
    other = nets.build(nets.canonical("auto:width=8", CIFAR), shape=CIFAR, classes=3)
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_option_changes_the_network() -> None:
    for name, row in nets.CATALOG.items():
        if name in ("vgg11", "resnet18"):
            continue  # large, and their one option is AlexNet's
        for option, values in row.options.items():
            known = values if isinstance(values, tuple) else ends_of(values) if isinstance(values, Text) else (4, 8)
            if option == "norm":  # fresh layer norm is group norm of one group
                known = tuple(norm for norm in known if norm != "layer")
            shape = (1, 32, 32) if option == "widen" else CIFAR
            x = torch.rand(2, *shape)
            built = (nets.build(f"{name}:{option}={value}", shape=shape, classes=2) for value in known)
            with torch.no_grad():
                outputs = {tuple(net(x).flatten().tolist()) for net in built}
            assert len(outputs) == len(known), (name, option)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("convnt3", ["unknown network", "Did you mean 'convnet3'?"]),
        ("resnet", ["Did you mean 'resnet18'?"]),
        ("vgg", ["Did you mean 'vgg11'?"]),
        ("convnet", ["convnet3"]),
        ("convnet0", ["unknown network"]),
        ("convnet03", ["unknown network"]),
        ("convnet-1", ["unknown network"]),
        ("convnet3 ", ["unknown network"]),
        ("convnet³", ["unknown network"]),
        ("convnet" + "9" * 5000, ["unknown network"]),
        ("", ["unknown network"]),
        (":norm=batch", ["unknown network"]),
        ("convnet3:nrom=batch", ["option of convnet3", "Did you mean 'norm'?"]),
        ("convnet3:norm=bacth", ["Did you mean 'batch'?", "instance"]),
        ("convnet3:act=gelu", ["unknown act", "sigmoid"]),
        ("convnet3:norm", ["unknown norm"]),
        ("convnet3:batch", ["name=value"]),
        ("convnet3:", ["name=value"]),
        ("convnet3:norm=batch=group", ["unknown norm"]),
        ("convnet3:depth=4", ["unknown option"]),
        ("lenet:norm=batch", ["lenet has no options"]),
        ("mlp:norm=batch", ["width"]),
        ("resnet18:width=64", ["norm"]),
    ],
)
def test_unknown_names_are_refused(spec: str, words: list[str]) -> None:
    with pytest.raises(UnknownName) as refusal:
        nets.canonical(spec, CIFAR)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    with pytest.raises(UnknownName):
        nets.build(spec, shape=CIFAR, classes=10)


@pytest.mark.parametrize("width", ["0", "-4", "1.5", "1e2", "", " 8", "٣", "0x10", "1_0", "9" * 5000])
def test_a_width_is_a_positive_whole_number(width: str) -> None:
    with pytest.raises(InvalidInput, match="positive whole number"):
        nets.canonical(f"convnet3:width={width}", CIFAR)


def test_group_norm_wants_a_width_divisible_by_four() -> None:
    with pytest.raises(InvalidInput, match="divisible by 4, and 6 came"):
        nets.build("convnet3:width=6:norm=group", shape=CIFAR, classes=10)


def test_an_option_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="given twice"):
        nets.canonical("convnet3:width=8:width=8", CIFAR)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refusal:
        nets.canonical("convnet3:width=0:nrom=batch:act=gelu", CIFAR)
    assert len(refusal.value.faults) == 3


@pytest.mark.parametrize("shape", [(32, 32), (3, 0, 32), (3, 32, -1), (3, 32.0, 32), (True, 32, 32), (1, 3, 32, 32)])
def test_a_shape_is_three_positive_numbers(shape: tuple[int, int, int]) -> None:
    for ask in (lambda: nets.canonical("auto", shape), lambda: nets.build("mlp", shape=shape, classes=10)):
        with pytest.raises(InvalidInput, match="channels, height, width"):
            ask()


@pytest.mark.parametrize("classes", [0, -1, 2.0, True, "10"])
def test_classes_is_a_positive_number(classes: int) -> None:
    with pytest.raises(InvalidInput, match="classes must be"):
        nets.build("mlp", shape=CIFAR, classes=classes)


def test_every_row_tells_what_it_is() -> None:
    for name, row in nets.CATALOG.items():
        assert row.description
        assert nets.canonical(name, CIFAR) == name
