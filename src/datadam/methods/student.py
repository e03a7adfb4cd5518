"""A student as a function of its weights: its loss, its gradient, and the gradient of a derivative along a direction.

    g = gradient of the mean cross-entropy of a batch,   s = <g, direction>,   and the gradient of s

The gradient of s goes through a derivative by forward mode. In a long run the functions of one step are traced to plain
operations, the same ones, which saves torch the work of transforming them and lets them be compiled as one.

Letters: P weights of the network, B images of a batch, K classes.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad_and_value, jvp
from torch.fx.experimental.proxy_tensor import make_fx

from datadam import machine
from datadam.methods.layers import with_plain_layers
from datadam.nets import Network

PIECES = 2  # of the images that go forward together where that must not take much memory: a step back holds far more maps
TRACING_PAYS = 100  # calls of a function above which the second that tracing it takes is won back,
LARGE = 100_000  # and weights of a network for which it pays at once: its maps are let go sooner so


def piece(chunk: int) -> int:
    """How many images a step goes back through together, where so many go forward."""
    return max(1, chunk // PIECES)


class Student:
    """A network as a function of its weights, which lie in one row [P] in the order of its parameters.

    Arguments: `network`, which is left alone; `chunk`, images that go through it together, where it does not couple them;
    `compiled`, whether its steps run as compiled code; `coarse`, whether convolutions and products are computed in bfloat16,
    with weights, norms and sums in float32.
    """

    def __init__(self, network: Network, *, chunk: int = 1 << 30, compiled: bool = False, coarse: bool = False) -> None:
        self.network, self.coarse = with_plain_layers(network), coarse
        self.chunk = 1 << 30 if network.couples_images else chunk
        self.compiled, self.device = compiled, next(network.parameters()).device
        self.names = [name for name, _ in network.named_parameters()]
        self.shapes = [parameter.shape for parameter in network.parameters()]
        self._calls: Counter[tuple[object, ...]] = Counter()
        self._made: dict[tuple[object, ...], Callable[..., tuple[Tensor, ...]]] = {}

    def loss(self, weights: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The sum of cross-entropies of images [B, C, H, W] with their class numbers [B], or the softmax of logits [B, K]."""
        parts = weights.split([shape.numel() for shape in self.shapes])
        named = {n: part.view(shape) for n, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False) if self.coarse else nullcontext():
            logits = functional_call(self.network, named, (images,)).to(weights.dtype)
        return F.cross_entropy(logits, labels.softmax(1) if labels.is_floating_point() else labels, reduction="sum")

    def slope(self, weights: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The gradient [P] of the mean loss, without a graph."""
        found = [self._run(self._slope, weights, x, y)[0] for x, y in self._pieces(images, labels)]
        return torch.stack(found).sum(0) / len(images)

    def back(self, weights: Tensor, images: Tensor, labels: Tensor, along: Tensor, *, exact: bool) -> tuple[Tensor, ...]:
        """s = <gradient of the mean loss, along>, and its gradient with respect to images, labels (zero for class numbers) and,
        if `exact`, weights (else zero)."""
        function = self._back if exact else self._back_cut
        found = [self._run(function, weights, x, y, along) for x, y in self._pieces(images, labels)]
        s, of_images, of_labels, of_weights = zip(*found, strict=True)
        summed = torch.stack(s).sum(), torch.cat(of_images), torch.cat(of_labels), torch.stack(of_weights).sum(0)
        return tuple(part / len(images) for part in summed)

    def _pieces(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch in pieces of at most a chunk, of one size as far as it goes: each new size is traced again."""
        size = -(-len(images) // -(-len(images) // self.chunk))
        return zip(images.split(size), labels.split(size), strict=True)

    def _slope(self, weights: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return (torch.func.grad(self.loss)(weights, images, labels),)

    def _back(self, weights: Tensor, images: Tensor, labels: Tensor, along: Tensor) -> tuple[Tensor, ...]:
        return self._derived(weights, images, labels, along, exact=True)

    def _back_cut(self, weights: Tensor, images: Tensor, labels: Tensor, along: Tensor) -> tuple[Tensor, ...]:
        return self._derived(weights, images, labels, along, exact=False)

    def _derived(self, weights: Tensor, images: Tensor, labels: Tensor, along: Tensor, *, exact: bool) -> tuple[Tensor, ...]:
        soft = labels.is_floating_point()
        wanted = (1, *((2,) if soft else ()), *((0,) if exact else ()))

        def directional(weights: Tensor, images: Tensor, labels: Tensor) -> Tensor:
            found: Tensor = jvp(lambda at: self.loss(at, images, labels), (weights,), (along,))[1]
            return found

        (of_images, *rest), s = grad_and_value(directional, argnums=wanted)(weights, images, labels)
        of_labels = rest.pop(0) if soft else torch.zeros_like(labels)
        return s, of_images, of_labels, rest.pop(0) if exact else torch.zeros((), dtype=s.dtype, device=s.device)

    @torch.no_grad()
    def _run(self, function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> tuple[Tensor, ...]:
        """The function; traced (and compiled) once for each shape of its arguments, where steps enough are to come for it."""
        arguments = tuple(_laid_out(argument) for argument in arguments)
        key = (function.__name__, *((tuple(argument.shape), argument.dtype) for argument in arguments))
        if key not in self._made:
            self._calls[key] += 1
            few = self._calls[key] <= TRACING_PAYS and arguments[0].numel() < LARGE
            if few and not self.compiled:
                return function(*arguments)
            machine.give_back()  # plain operations come and go in another order, and would find no place among what was there
            blank = map(torch.zeros_like, arguments)  # traced without maps; a view cannot be so
            traced: Callable[..., tuple[Tensor, ...]] = make_fx(lambda *given: function(*given), tracing_mode="fake")(*blank)
            self._made[key] = machine.compiled(traced, str(self.device), more=bool(self._made)) if self.compiled else traced
        return self._made[key](*arguments)


def _laid_out(tensor: Tensor) -> Tensor:
    """The numbers in the layout that a new tensor has, which a trace rests on. Images of one channel may count as contiguous and
    yet say that their channels lie last, by the stride of that one."""
    return tensor.contiguous().view(-1).view(tensor.shape)
