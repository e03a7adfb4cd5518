"""Networks of a program's own: whatever makes an `nn.Module`, under a name that says what its code is.

A recipe, a card and an evaluation name a network by a word. `own` gives such a word to a factory and remembers it in this
process; the code itself is kept nowhere, so another process must be given the same factory before it can use the word.

Letters: N images, C channels, H x W pixels, K classes.
"""

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from datadam.errors import InvalidInput
from datadam.nets.base import Features, Network

Shape = tuple[int, int, int]
Factory = Callable[..., nn.Module]
PREFIX = "own-"
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
FACTORY = "a function such as lambda shape, classes: MyNet(shape[0], classes)"


@dataclass(frozen=True)
class Own:
    """A `factory` with its `name`, and the `digest` of the code of the factory and of the modules that it makes."""

    factory: Factory
    name: str
    digest: str

    def to_card(self) -> dict[str, str]:
        """As cards and evaluations keep it."""
        return {"name": self.name, "code": self.digest}


KNOWN: dict[str, Own] = {}


class OwnNetwork(Network):
    """A module of somebody else's as a network.

    The logits are what the module returns, the embedding is what goes into the last of its linear layers that computes (without
    one: the logits), and the blocks are the maps [N, C_l, H_l, W_l] that go into its pooling layers, in the order of computing:
    what a block is after its activation and before its pooling. A module that is a `Network` says all of this itself.
    """

    def __init__(self, factory: Factory, shape: Shape, classes: int) -> None:
        super().__init__()
        self._make: Callable[[], nn.Module] = partial(_called, factory, shape, classes)
        self.module = self._drawn(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, K] of images x [N, C, H, W]."""
        logits: Tensor = self.module(x)
        return logits

    def features(self, x: Tensor) -> Features:
        """Blocks and embedding of images x [N, C, H, W]; the hooks that catch them are gone afterwards."""
        if isinstance(self.module, Network):
            return self.module.features(x)
        blocks: list[Tensor] = []
        embeddings: list[Tensor] = []
        hooks = []
        for module in self.module.modules():
            if isinstance(module, (*POOLS, nn.Linear)):
                caught = embeddings if isinstance(module, nn.Linear) else blocks
                hooks.append(module.register_forward_pre_hook(lambda _, given, caught=caught: caught.append(given[0])))
        try:
            logits = self.module(x)
        finally:
            for hook in hooks:
                hook.remove()
        embedding = embeddings[-1] if embeddings else logits
        return Features(tuple(block for block in blocks if block.ndim == 4), embedding.flatten(1), x)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Weights as the factory draws them, anew; the global random state of the CPU is left as it is."""
        self.module.load_state_dict(self._drawn(generator).state_dict())

    def _drawn(self, generator: torch.Generator) -> nn.Module:
        seed, before = int(torch.randint(2**62, (), generator=generator)), torch.random.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            return self._make()
        finally:
            torch.random.set_rng_state(before)


def own(factory: Factory, *, shape: Shape, classes: int) -> str:
    """The word for the network that `factory` makes: "own-NAME-DIGEST", known in this process from now on.

    Arguments: `factory`, called with those of `shape` (C, H, W) and `classes` (K) that it names, or with both in this order, or
    with nothing where it needs nothing; it returns a new module each time, which maps images [N, C, H, W] to logits [N, K].
    Raises `InvalidInput` when it does not.
    """
    if isinstance(factory, nn.Module) or not callable(factory):
        raise InvalidInput(
            f"net is a {type(factory).__name__}, and each student needs a new network: give its name, or what makes "
            f"one, {FACTORY}"
        )
    network = OwnNetwork(factory, shape, classes)
    with torch.no_grad():
        logits = network.eval()(torch.zeros(2, *shape))
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, classes):
        came = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidInput(
            f"net gives {came} for two images of {list(shape)}, and logits [2, {classes}] are needed; give {FACTORY}"
        )
    name = getattr(factory, "__name__", "<lambda>")
    name = type(network.module).__name__ if name == "<lambda>" else name
    found = Own(factory, name, _digest(factory, network.module))
    word = f"{PREFIX}{re.sub('[^a-z0-9_]+', '-', name.lower()).strip('-') or 'net'}-{found.digest[7:19]}"
    KNOWN[word] = found
    return word


def card_of(spec: str) -> dict[str, Any]:
    """What a card says of a network of a program's own beside its word; nothing for another."""
    return {"network": KNOWN[spec].to_card()} if spec in KNOWN else {}


def require_known(name: str) -> None:
    """Raise `InvalidInput` for the word of a program's own network that this process has not been given."""
    if name.startswith(PREFIX) and name not in KNOWN:
        raise InvalidInput(
            f"{name} is a network of a program of its own, whose code is kept nowhere; name another network, or, in Python, give "
            "what makes it: net=..., or datadam.nets.own(factory, shape=..., classes=...) before"
        )


def _called(factory: Factory, shape: Shape, classes: int) -> nn.Module:
    try:
        takes = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a thing of C, which does not tell
        takes = {}  # type: ignore[assignment]
    named = {name: value for name, value in {"shape": tuple(shape), "classes": classes}.items() if name in takes}
    needed = [p for p in takes.values() if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if named or not needed:
        module = factory(**named)
    elif len(needed) == 2:
        module = factory(tuple(shape), classes)
    else:
        raise InvalidInput(
            f"net needs {', '.join(p.name for p in needed)}, and (C, H, W) and the classes are given; give {FACTORY}"
        )
    if not isinstance(module, nn.Module):
        raise InvalidInput(f"net makes a {type(module).__name__}, and an nn.Module is needed; give {FACTORY}")
    return module


def _digest(factory: Factory, module: nn.Module) -> str:
    """ "sha256:<hex>" of the code, where Python can show it, and of the structure with the sizes of all tensors."""
    found = hashlib.sha256()
    kinds = {type(part) for part in module.modules() if not type(part).__module__.startswith("torch.")}
    known: tuple[Any, ...] = (factory, *sorted(kinds, key=lambda kind: kind.__qualname__))
    for kind in known:
        try:
            found.update(inspect.getsource(kind).encode())
        except (OSError, TypeError):
            found.update(getattr(kind, "__qualname__", type(kind).__qualname__).encode())
    found.update(str(module).encode())
    found.update(str([(name, list(value.shape)) for name, value in module.state_dict().items()]).encode())
    return f"sha256:{found.hexdigest()}"
