"""Released code, run as it is on the small case of tests/fidelity/case.py, in float64 and without its clock.

Its programs are called through their own `main`. Only what they take from outside is given to them: data, weights and start of
the case, a clock that counts, images of a class in a known order, and batches in the order of the set. What the programs import
and do not need here (torchvision, matplotlib) is empty.
"""

import contextlib
import importlib
import logging
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch._dynamo  # before the stubs: torch imports it when an optimiser first steps
from fidelity import case
from torch import Tensor

STUBS = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.utils", "matplotlib", "matplotlib.pyplot",
         "scipy", "scipy.ndimage", "scipy.ndimage.interpolation", "einops", "einops.layers", "einops.layers.torch", "tqdm",
         "torch.cuda.comm", "wandb", "kornia", "gpustat")  # fmt: skip
PROGRAMS = {  # method: repository, module, arguments
    "dm": ("DatasetCondensation", "main_DM", "--Iteration 2 --init noise"),
    "dc": ("DatasetCondensation", "main", "--method DC --Iteration 0"),
    "dsa": ("DatasetCondensation", "main", f"--method DSA --Iteration 0 --dsa_strategy {case.STRATEGY}"),
    "official": ("DataDAM", "main_DataDAM", "--Iteration 2 --init noise --model ConvNetBN"),
    "paper": ("DataDAM", "main_DataDAM", "--Iteration 2 --init noise --lr_img 0.01"),  # with p = 4 below; its scale is 100
    "official on alexnet": ("DataDAM", "main_DataDAM", "--Iteration 2 --init noise --model AlexNet"),
    "official on vgg11": ("DataDAM", "main_DataDAM", "--Iteration 2 --init noise --model VGG11"),
    "cafe": ("CAFE", "distill", f"--method DSA --dsa_strategy {case.STRATEGY} --lambda_1 -1 --lambda_2 -1"),
}


class _Done(Exception):
    """The image steps that were wanted have been made."""


class _Stub(types.ModuleType):
    """An empty module: every name in it exists and does nothing."""

    __path__: list[str] = []  # noqa: RUF012 (a package)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return mock.MagicMock()


@contextlib.contextmanager
def modules(folder: Path) -> Iterator[None]:
    """The folder's own modules come first, and go again afterwards; what is not installed is empty."""
    before = dict(sys.modules)
    stubs = {}
    for name in STUBS:
        try:
            importlib.import_module(name)
        except Exception:
            stubs[name] = _Stub(name)
    sys.path.insert(0, str(folder))
    try:
        sys.modules.update(stubs)
        logging.disable()
        yield
    finally:
        logging.disable(logging.NOTSET)
        sys.path.remove(str(folder))
        for name in set(sys.modules) - set(before):
            if name in stubs or str(folder) in str(
                getattr(sys.modules[name], "__file__", None) or list(getattr(sys.modules[name], "__path__", []))
            ):
                del sys.modules[name]


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """What asks for float32 by name gets float64."""
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(torch, "float", torch.float64), mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


class Clock:
    """A clock of which each look is a millisecond later, so that seeds are 0, 1, 2, ..."""

    def __init__(self) -> None:
        self.now = -1

    def time(self) -> float:
        self.now += 1
        return (self.now + 0.5) / 1000

    def strftime(self, *what: object) -> str:
        return ""

    localtime = strftime


class Augmented:
    """Their DiffAugment, with the numbers that each call draws written down."""

    def __init__(self, inner: Callable[..., Tensor], fixed: int | None = None) -> None:
        self.inner, self.fixed, self.calls = inner, fixed, []  # type: ignore[var-annotated]

    def __call__(self, x: Tensor, strategy: str = "", seed: int = -1, param: Any = None) -> Tensor:
        if strategy.lower() in ("none", ""):
            return x
        drawn: list[Tensor] = []

        def written(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
            def call(*args: Any, **options: Any) -> Tensor:
                found = draw(*args, **options)
                drawn.append(found.flatten().double().clone())
                return found

            return call

        if self.fixed is not None:
            torch.manual_seed(self.fixed + len(self.calls))
        with mock.patch.object(torch, "rand", written(torch.rand)), mock.patch.object(torch, "randint", written(torch.randint)):
            out = self.inner(x, strategy, seed=seed, param=param)
        words = strategy.split("_")
        numbers = drawn[1:] if seed == -1 else [u[:1] for u in drawn[1:]]
        self.calls.append(parameters(words[int(drawn[0])], numbers, x.shape))
        return out


def parameters(operation: str, drawn: list[Tensor], shape: torch.Size) -> dict[str, Any]:
    """An operation and its numbers as datadam has them: each uniform in [0, 1), whole numbers at the middle of their part."""
    height, width = shape[2:]
    named: dict[str, Tensor]
    if operation == "crop":
        pads = [int(side * 0.125 + 0.5) for side in (height, width)]
        named = {name: (d + pad + 0.5) / (2 * pad + 1) for name, d, pad in zip("yx", drawn, pads, strict=True)}
    elif operation == "cutout":
        sizes = [side + (1 - int(side * 0.5 + 0.5) % 2) for side in (height, width)]
        named = {name: (d + 0.5) / size for name, d, size in zip("yx", drawn, sizes, strict=True)}
    else:
        names = {"color": ("brightness", "saturation", "contrast"), "flip": ("flip",), "scale": ("x", "y"), "rotate": ("angle",)}
        named = dict(zip(names[operation], drawn, strict=True))
    return {"operation": operation, **{name: u.tolist() for name, u in named.items()}}


def network(networks: Any, norm: str, number: int, channels: int = 3, im_size: tuple[int, int] = (32, 32)) -> Any:
    """Their ConvNet with the weights of the case."""
    kind = norm if norm == "none" else f"{norm}norm"
    options = {"net_width": case.WIDTH, "net_depth": case.DEPTH, "net_act": "relu", "net_norm": kind, "net_pooling": "avgpooling"}
    net = networks.ConvNet(channel=channels, num_classes=case.K, im_size=im_size, **options)
    return filled(net, number)


@torch.no_grad()
def filled(net: Any, number: int) -> Any:
    """The network, with the weights of the case."""
    for there, drawn in zip(net.parameters(), case.weights(number, [p.shape for p in net.parameters()]), strict=True):
        there.copy_(drawn)
    return net


def steps(repos: Path, method: str) -> dict[str, Any]:
    """Three image steps of a program: the images after each, and every augmentation that it drew."""
    repository, name, arguments = PROGRAMS[method]
    images: list[Tensor] = []
    counter = {"network": -1}
    shape = torch.Size((case.K * case.N, *case.SHAPE))

    class Recorded(torch.optim.SGD):
        """SGD that keeps the images after each of their steps."""

        def step(self, closure: Any = None) -> Any:
            found = super().step(closure)
            (first, *_) = self.param_groups[0]["params"]
            if first.shape == shape:
                images.append(first.detach().clone())
                if len(images) == case.STEPS:
                    raise _Done
            return found

    def drawn(members: Any) -> Any:
        key = int(members[0]) // case.M
        counter[key] = counter.get(key, -1) + 1
        return case.chosen(key, counter[key], case.M)

    def judged(*args: Any, **options: Any) -> tuple[None, float, float]:
        counter["network"] = -1  # the networks before were of students
        return None, 0.0, 0.0

    def next_network(*args: Any, **options: Any) -> Any:
        counter["network"] += 1
        if " on " in method:
            make = {"alexnet": networks.AlexNet, "vgg11": networks.VGG11}[method.split(" on ")[1]]
            return filled(make(3, case.K), counter["network"])
        return network(networks, case.NORMS.get(method, "instance"), counter["network"])

    data = [(image, int(i) // case.M) for i, image in enumerate(case.real())]
    known = (3, (32, 32), case.K, list(map(str, range(case.K))), case.MEAN, case.STD, data, data, None)
    loader = torch.utils.data.DataLoader
    with modules(repos / repository), float64(), contextlib.ExitStack() as patches, tempfile.TemporaryDirectory() as folder:
        main, utils, networks = (importlib.import_module(module) for module in (name, "utils", "networks"))
        outer, inner = Augmented(utils.DiffAugment), Augmented(utils.DiffAugment, fixed=5000)
        given = {
            "get_dataset": lambda *a: (*known, None) if repository == "DataDAM" else known,
            "get_network": next_network, "evaluate_synset": judged, "DiffAugment": outer,
            "get_loops": lambda ipc: (case.STEPS, case.EPOCHS.get(method, 0)), "time": Clock(),
        }  # fmt: skip
        for key, value in given.items():
            patches.enter_context(mock.patch.object(main, key, value))
        if method == "paper":  # the paper's power, through the function that the program has for it
            at_four = lambda f, **options: utils.get_attention(f, param=1, exp=4, norm="l2")  # noqa: E731
            patches.enter_context(mock.patch.object(main, "get_attention", at_four))
        words = (*arguments.split(), *f"--ipc {case.N} --batch_real {case.B} --num_exp 1 --num_eval 1".split())
        places = ("--data_path", folder, "--save_path", folder)
        for target, key, value in (
            (utils, "DiffAugment", inner), (sys, "argv", [name, *words, *places]), (torch.optim, "SGD", Recorded),
            (np.random, "permutation", drawn), (torch, "randn", lambda *a, **o: case.start().requires_grad_()),
            (torch.utils.data, "DataLoader", lambda *a, **o: loader(*a, **(o | {"shuffle": False}))),
            (torch.cuda, "is_available", lambda: False),
        ):  # fmt: skip
            patches.enter_context(mock.patch.object(target, key, value))
        patches.enter_context(contextlib.chdir(folder))
        patches.enter_context(contextlib.redirect_stdout(None))
        with contextlib.suppress(_Done):
            main.main()
    if len(images) != case.STEPS:
        raise RuntimeError(f"{method}: {len(images)} image steps were seen and {case.STEPS} expected")
    pairs = [[outer.calls[2 * (step * case.K + k)] for k in range(case.K)] for step in range(case.STEPS) if outer.calls]
    return {"images": images, "augmentations": pairs, "inner": inner.calls}


def features(repos: Path, norm: str, shape: tuple[int, int, int] = case.SHAPE) -> Any:
    """Their ConvNet, and its embedding of real images of this shape."""
    with modules(repos / "DatasetCondensation"), float64():
        net = network(importlib.import_module("networks"), norm, 0, shape[0], shape[1:])
        return net, net.embed(case.uniform(3, 4, *shape)).detach()


def operations(repos: Path) -> list[dict[str, Any]]:
    """Each operation on images of the case, the same for all, then each with numbers of its own."""
    found = []
    with modules(repos / "DatasetCondensation"), float64():
        utils = importlib.import_module("utils")
        for word in case.STRATEGY.split("_"):
            for seed in (7, 8, -1):
                augment = Augmented(utils.DiffAugment, fixed=11)
                images = case.start()[:5]
                out = augment(images, word, seed=seed, param=utils.ParamDiffAug())
                found.append(augment.calls[0] | {"told": case.told(out)})
    return found


def distance(repos: Path) -> float:
    """Their distance of two lists of gradients: of a convolution, a layer norm, a linear layer and a bias."""
    sides = [[case.uniform(40 + 10 * side + i, *shape) - 0.4 for i, shape in enumerate(((4, 3, 3, 3), (4, 6, 5), (5, 8), (4,)))]
             for side in (0, 1)]  # fmt: skip
    with modules(repos / "DatasetCondensation"), float64():
        utils = importlib.import_module("utils")
        return float(utils.match_loss(*sides, types.SimpleNamespace(device="cpu", dis_metric="ours")))


def trained(repos: Path, epochs: int = 6) -> list[Tensor]:
    """The weights after their training of a student on the start images, unaugmented, `epochs` + 1 epochs long."""
    with modules(repos / "DatasetCondensation"), float64():
        utils, networks = importlib.import_module("utils"), importlib.import_module("networks")
        args = types.SimpleNamespace(
            device="cpu", lr_net=0.01, epoch_eval_train=epochs, batch_train=256, dsa=False, dc_aug_param=None
        )
        labels = torch.arange(case.K).repeat_interleave(case.N)
        net = network(networks, "instance", 0)
        with contextlib.redirect_stdout(None):
            utils.evaluate_synset(
                0, net, case.start(), labels, [(case.real(), torch.arange(case.K).repeat_interleave(case.M))], args
            )
        return [p.detach().clone() for p in net.parameters()]


def whitened(repos: Path) -> Tensor | None:
    """Real images under the whitening that DataDAM and MTT take from kornia, where that is installed."""
    try:
        enhance = importlib.import_module("kornia.enhance")
    except ImportError:
        return None
    with float64():
        zca = enhance.ZCAWhitening(eps=0.1, compute_inv=True)
        images = torch.from_numpy(case.pixels()).double()[:, :, ::4, ::4] / 255
        zca.fit(images)
        return zca(images)  # type: ignore[no-any-return]
