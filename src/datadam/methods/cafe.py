"""CAFE: Learning to Condense Dataset by Aligning Features (Wang et al., CVPR 2022, arXiv 2203.01531).

    L_f = sum_k sum_l w_l || mean over real of f_l - mean over synthetic of f_l ||^2       l: every block, then the embedding
    L_d = sum over the real images x of - log softmax_k(<emb(x), mean over synthetic of class k of emb>) at the class of x
    L   = L_f + beta * L_d

The network trains on the synthetic set between image steps, for a time that accuracies decide, each on 128 real training images
a class: training stops when the last 10 accuracies, one an epoch, spread by more than lambda_2; the next network is drawn when
the last 10, one an image step, spread by less than lambda_1.

Departures from the released code, which also: counts the embedding's alignment twice; halves lr_images after 60, 80 and 90 % of
the networks; adds to an accuracy a K-th of the one before; may train for ever (ours has limits). Batch norm is frozen on 16 real
images a class in the loss, so that classes are looked at one by one; its accuracies are in evaluation mode.

Letters: K classes, N images, B real images of a class, D numbers of the embedding, W accuracies.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam.methods.base import Method, Parts, State
from datadam.methods.cost import Cost, Size, general
from datadam.methods.draw import Draw
from datadam.methods.networks import QUERY, STATISTICS, accuracy, features_of, keep, numbers, real_side, restore, tensor
from datadam.nets import Features
from datadam.nets.frozen import frozen_statistics
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, refuse, require
from datadam.training.trainer import inside

WATCHED = 10  # accuracies in a row that are looked at


@dataclass(frozen=True, kw_only=True)
class CAFE(Method):
    """Align the features of all layers, tell real classes apart by the synthetic centres, and train the network on the way.

    Arguments: `early` and `late`, w_l of the first half of the layers (rounded down) and of the rest; `discrimination`, beta;
    `inner_change` (lambda_2) and `outer_change` (lambda_1), in fractions; `most_epochs` of training between two image steps and
    `most_steps` of the images with one network, where accuracies do not end them. Raises `InvalidInput`.
    """

    early: float = 0.1
    late: float = 1.0
    discrimination: float = 0.01
    inner_change: float = 0.03
    outer_change: float = 0.04
    most_epochs: int = 50
    most_steps: int = 100

    name: ClassVar[str] = "cafe"
    family: ClassVar[str] = "feature matching"
    description: ClassVar[str] = (
        "features of all layers, and real classes told apart by synthetic centres, in networks on their way"
    )
    separable: ClassVar[bool] = False
    trains_networks: ClassVar[bool] = True
    citation: ClassVar[str] = """@inproceedings{wang2022cafe,
  title={{CAFE}: Learning to Condense Dataset by Aligning Features},
  author={Wang, Kai and Zhao, Bo and Peng, Xiangyu and Zhu, Zheng and Yang, Shuo and Wang, Shuo and Huang, Guan
          and Bilen, Hakan and Wang, Xinchao and You, Yang}, booktitle={CVPR}, year={2022}}"""

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("early", "late", "discrimination", "inner_change", "outer_change"):
            value = getattr(self, name)
            require(finite(value) and value >= 0, f"{name} is {value!r}; it must be a number >= 0", faults)
        for name in ("most_epochs", "most_steps"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
        some = self.early or self.late or self.discrimination
        require(bool(some), "early=0, late=0 and discrimination=0 leave no loss; keep one of them", faults)
        refuse(faults)

    def cost(self, size: Size) -> Cost:
        """Ten epochs of the inner training and their accuracies, about, between two image steps."""
        of_class = QUERY * (1 + WATCHED)
        return general(size, synthetic=3 + 3 * WATCHED, each_class=of_class, keeps_features=True, trains=True)

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        """The first network: its number, its weights, the image steps it served, the accuracies seen."""
        return first_state(draw, 0, at=draw.iteration)

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """alignment [1] and discrimination [1], class after class."""
        (network, _), classes = restore(state, draw), range(len(synthetic.classes))
        with frozen_statistics(network, lambda: torch.cat([draw.sample(k, STATISTICS, "statistics") for k in classes])):
            real = [real_side(network, draw, k) for k in classes]
            with torch.no_grad():
                pairs = ((k, synthetic.images(k, k + 1).detach()) for k in classes)
                centres = torch.stack([features_of(network, draw, k, images).embedding.mean(0) for k, images in pairs])
            value, slope = discrimination([embeddings for _, embeddings in real], centres)
            for k in classes:
                yield self._terms(real[k][0], features_of(network, draw, k, synthetic.images(k, k + 1)), value[k], slope[k])

    def _terms(self, real: list[Tensor], features: Features, value: Tensor, slope: Tensor) -> dict[str, Tensor]:
        synthetic = [layer.mean(0) for layer in (*features.blocks, features.embedding)]
        gaps = torch.stack([(r - s).square().sum() for r, s in zip(real, synthetic, strict=True)])
        shallow = len(gaps) // 2
        aligned = self.early * gaps[:shallow].sum() + self.late * gaps[shallow:].sum()
        told = value + (slope * (synthetic[-1] - synthetic[-1].detach())).sum()  # the value, with its gradient by the chain rule
        return {"alignment": aligned[None], "discrimination": self.discrimination * told[None]}

    def between(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Generator[State, None, None]:
        """Train the network on, or draw the next one; `at` says for which iteration a state is ready."""
        if state["at"] == draw.iteration:
            return
        at, draw = draw.iteration, draw.source.at(draw.iteration - 1)  # all is named by the image step before
        (network, number), served, count = restore(state, draw), int(state["served"]), len(synthetic.classes)
        watched, inner = numbers(state, "watched"), numbers(state, "inner")
        if not watched:
            watched = [*numbers(state, "seen"), accuracy(network, draw, count, "outer")][-WATCHED:]
            if served + 1 >= self.most_steps or (len(watched) == WATCHED and max(watched) - min(watched) < self.outer_change):
                yield first_state(draw, number + 1, at=at)
                return
        with draw.training(synthetic.images().detach(), synthetic.targets().detach(), self.most_epochs) as trainer:
            if under_way := inside("training", {name: value for name, value in state.items() if isinstance(value, Tensor)}):
                trainer.load(under_way)
            while trainer.done < trainer.steps:
                trainer.step()
                if trainer.ends_epoch:
                    inner = [*inner, accuracy(network, draw, count, "inner", trainer.done)][-WATCHED:]
                    if len(inner) == WATCHED and max(inner) - min(inner) > self.inner_change:
                        break
                    under_way = {f"training/{name}": value for name, value in trainer.state().items()}
                    yield state | under_way | {"watched": tensor(watched), "inner": tensor(inner)}
        yield keep(network, number, at=at, served=served + 1, seen=tensor(watched))


def first_state(draw: Draw, number: int, *, at: int) -> State:
    """The state with a freshly drawn network: image steps `served`, and accuracies `seen` [W] after them."""
    return keep(draw.network(number), number, at=at, served=0, seen=tensor([]))


def discrimination(embeddings: list[Tensor], centres: Tensor) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy [K] of each class's real embeddings [B, D] against centres [K, D], and its slope [K, D]."""
    centres = centres.detach().requires_grad_()
    with torch.enable_grad():
        targets = [torch.full((len(e),), k, device=e.device) for k, e in enumerate(embeddings)]
        pairs = zip(embeddings, targets, strict=True)
        value = torch.stack([F.cross_entropy(e @ centres.T, target, reduction="sum") for e, target in pairs])
    return value.detach(), torch.autograd.grad(value.sum(), centres)[0]
