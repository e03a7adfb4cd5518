"""DC: Dataset Condensation with Gradient Matching (Zhao, Mopuri and Bilen, ICLR 2021, arXiv 2006.05929).

    g(X, k) = gradient of the mean cross-entropy of images X, all of class k, with respect to the network's weights
    L       = sum_k sum_layers sum_o 1 - <g_o(real), g_o(synthetic)> / (|g_o(real)| |g_o(synthetic)| + epsilon)

o runs over the output channels of a layer: the rows of a linear layer, the filters of a convolution. Vectors (biases, the
weights of norm layers) do not count. A network serves several image steps; between them it trains on the synthetic set
(the recipe's `iterations_per_network` and `network_epochs`; presets/dc.py has the published numbers).

Departures: epsilon is the released code's, the paper has none. Batch norm uses exactly the statistics of 16 real images a class
drawn anew for each image step; the released code mixes a tenth of them into running statistics that begin at 0 and 1 and hold
the synthetic batches of the network's training too.

Letters: K classes, N images, R rows, D numbers of a row.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from datadam.methods.base import Method, Parts, State
from datadam.methods.cost import Cost, Size, general
from datadam.methods.draw import Draw
from datadam.methods.networks import STATISTICS
from datadam.nets import Network
from datadam.nets.frozen import frozen_statistics
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, refuse, require


@dataclass(frozen=True, kw_only=True)
class DC(Method):
    """Match the gradients of the training loss, class by class.

    Arguments: `epsilon`, added to the product of the norms, so that a row whose gradient dies does not count.
    Raises `InvalidInput`.
    """

    epsilon: float = 1e-6

    name: ClassVar[str] = "dc"
    family: ClassVar[str] = "gradient matching"
    description: ClassVar[str] = "gradients of the training loss with respect to a network's weights"
    separable: ClassVar[bool] = False
    citation: ClassVar[str] = """@inproceedings{zhao2021dc,
  title={Dataset Condensation with Gradient Matching},
  author={Zhao, Bo and Mopuri, Konda Reddy and Bilen, Hakan}, booktitle={ICLR}, year={2021}}"""

    def __post_init__(self) -> None:
        faults: list[str] = []
        require(finite(self.epsilon) and self.epsilon > 0, f"epsilon is {self.epsilon!r}; it must be a number > 0", faults)
        refuse(faults)

    def cost(self, size: Size) -> Cost:
        """Gradients of the weights on both sides, and through them on the synthetic one."""
        return general(size, real=3, synthetic=8, real_maps=5, synthetic_maps=14)

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """gradient [1], class after class."""
        network, classes = draw.network(), range(len(synthetic.classes))
        with frozen_statistics(network, lambda: torch.cat([draw.sample(k, STATISTICS, "statistics") for k in classes])):
            for k in classes:
                yield {"gradient": self._of_class(network, synthetic, draw, k)}

    def _of_class(self, network: Network, synthetic: SyntheticSet, draw: Draw, k: int) -> Tensor:
        augment = draw.augmentation(k) or (lambda images: images)
        weights = matrices(network)
        real = real_gradient(network, weights, (augment(images) for images in draw.real_chunks(k)), k)
        loss = summed_loss(network, weights, augment(synthetic.images(k, k + 1)), k) / synthetic.training_counts[k]
        found = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        return distance(real, found, self.epsilon)[None]


def matrices(network: Network) -> dict[str, Tensor]:
    """The weights that count, by name, as leaves that take gradients; the network's own stay without."""
    return {name: weight.detach().requires_grad_() for name, weight in network.named_parameters() if weight.ndim > 1}


def summed_loss(network: Network, weights: dict[str, Tensor], images: Tensor, k: int) -> Tensor:
    """The sum of the cross-entropies of images [N, C, H, W], all of class k, as a function of the weights."""
    logits = functional_call(network, weights, (images,))
    return F.cross_entropy(logits, torch.full((len(images),), k, device=images.device), reduction="sum")


def real_gradient(network: Network, weights: dict[str, Tensor], chunks: Iterable[Tensor], k: int) -> list[Tensor]:
    """The gradient of the mean cross-entropy over all images of the chunks, a tensor for each weight, without a graph."""
    totals, count = [torch.zeros_like(weight) for weight in weights.values()], 0
    for images in chunks:
        gradient = torch.autograd.grad(summed_loss(network, weights, images, k), list(weights.values()))
        totals = [total + part for total, part in zip(totals, gradient, strict=True)]
        count += len(images)
    return [total / count for total in totals]


def distance(real: Iterable[Tensor], synthetic: Iterable[Tensor], epsilon: float) -> Tensor:
    """The sum over layers and output channels of 1 - cosine, from gradients [R, ...] of each layer on either side."""
    return torch.stack(list(_layer_distances(real, synthetic, epsilon))).sum()


def _layer_distances(real: Iterable[Tensor], synthetic: Iterable[Tensor], epsilon: float) -> Iterator[Tensor]:
    for layer, other in zip(real, synthetic, strict=True):
        r, s = layer.flatten(1), other.flatten(1)
        yield (1 - (r * s).sum(1) / (r.norm(dim=1) * s.norm(dim=1) + epsilon)).sum()
