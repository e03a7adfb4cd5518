"""LD: Flexible Dataset Distillation: Learn Labels Instead of Images (Bohdal, Yang and Hospedales, 2020, arXiv 2006.08572).

A batch x, y of the synthetic set is learned from, and real images tell what that was worth:

    lookahead   L = cross-entropy of real images at theta - alpha * gradient of the cross-entropy of x with softmax(y) at theta
    ridge       L = cross-entropy of real images with logits s [f, 1] W,   W = X^T (X X^T + r I)^-1 softmax(y),   X = [f(x), 1]

f is the last feature of the network theta, which trains on along with the labels: one step of Adam on such a batch after each of
theirs, and a network drawn anew when its accuracy has not risen for `patience` steps. The images are real ones and stay; with
`learn` "images" or "both" they are learned, as in the paper's comparison.

Departures: labels are logits, and begin as zeros, which is the same uniform distribution (released code: probabilities, cut at 0
and 1 and divided by their sum after each step). Batches of the look-ahead and of the network are drawn apart. The network is
drawn anew by its accuracy on 128 real images a class (released code: by the error of the look-ahead on its batch). Ridge solves W
for each batch at a fixed scale s, and the network trains with a head of its own (released code: a moving average of W, and a
learned scale). Images, where they are learned, are not cut at 0 and 1. The number of steps that students take is the protocol's.

Letters: K classes, N training images, B of a batch, D numbers of a feature.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam.methods import lookahead, online, ridge
from datadam.methods.base import Group, Method, Parts, State
from datadam.methods.cost import Cost, Size, general
from datadam.methods.draw import Draw
from datadam.methods.following import MAPS, ROWS
from datadam.methods.gradient import Gradient, differentiate
from datadam.methods.networks import QUERY, accuracy, augmented, numbers, tensor
from datadam.methods.trajectory import Step
from datadam.rng import carry, stream
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, refuse, require
from datadam.training.trainer import Training

LEARNS = {"labels": frozenset({"labels"}), "images": frozenset({"images"}), "both": frozenset({"images", "labels"})}
WAYS = ("lookahead", "ridge")
STEPS = 1 << 30  # of a network, at most; its accuracy ends it


@dataclass(frozen=True, kw_only=True)
class LD(Method):
    """Learn labels for real images.

    Arguments: `learn`, "labels", "images" or "both"; `way`, "lookahead" or "ridge"; `inner_batch`, synthetic images that are
    learned from at once; `inner_lr` (alpha) of the look-ahead; `lr_labels` of Adam on the labels; `lr_network` of Adam on the
    network; `patience`, steps; `ridge` (r) and `scale` (s) of the way "ridge". Raises `InvalidInput` with every wrong setting.
    """

    learn: str = "labels"
    way: str = "lookahead"
    inner_batch: int = 50
    inner_lr: float = 0.01
    lr_labels: float = 0.01
    lr_network: float = 1e-3
    patience: int = 50
    ridge: float = 1.0
    scale: float = 10.0

    name: ClassVar[str] = "ld"
    family: ClassVar[str] = "learning through training"
    description: ClassVar[str] = "labels of real images, by the loss of others after a step of training on them"
    separable: ClassVar[bool] = False
    trains_networks: ClassVar[bool] = True
    citation: ClassVar[str] = """@article{bohdal2020ld,
  title={Flexible Dataset Distillation: Learn Labels Instead of Images},
  author={Bohdal, Ondrej and Yang, Yongxin and Hospedales, Timothy}, journal={arXiv:2006.08572}, year={2020}}"""

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name, allowed in (("learn", LEARNS), ("way", WAYS)):
            value = getattr(self, name)
            require(value in allowed, f"{name} is {value!r}; allowed: {', '.join(allowed)}", faults)
        for name in ("inner_batch", "patience"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
        for name in ("inner_lr", "lr_labels", "lr_network", "ridge", "scale"):
            value = getattr(self, name)
            require(finite(value) and value > 0, f"{name} is {value!r}; it must be a number > 0", faults)
        refuse(faults)

    @property
    def learns(self) -> frozenset[str]:  # type: ignore[override]
        """Labels, images, or both."""
        return LEARNS[self.learn]

    def groups(self, images: Group) -> Sequence[Group]:
        """The images by their rule, the labels by Adam, as far as they are learned."""
        labels = Group(tensors=("labels",), rule="adam", lr=self.lr_labels, momentum=0.9)
        return tuple(group for group in (images, labels) if group.tensors[0] in self.learns)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        """Logits of a uniform distribution."""
        return {"labels": torch.zeros(len(synthetic.stored), len(synthetic.classes))} if "labels" in self.learns else {}

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        """The first network, and no accuracy seen."""
        return {"at": draw.iteration, "seen": tensor([]), **online.fresh(draw, 0, 0)}

    def between(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Generator[State, None, None]:
        """The network trains for a step on the set as it is by now, or is drawn anew where that has led nowhere for long."""
        if state["at"] == draw.iteration:
            return
        before, count = draw.source.at(draw.iteration - 1), len(synthetic.classes)
        seen = [*numbers(state, "seen"), accuracy(online.network(state, before, 0), before, count, "online")]
        sums = [sum(seen[end - self.patience : end]) for end in range(self.patience, len(seen) + 1)]
        if sums and sums.index(max(sums)) < len(sums) - self.patience:
            state, seen = online.replaced(state, 0, online.fresh(before, 0, draw.iteration)), []
        else:
            training = Training(epochs=STEPS, batch=self.inner_batch, lr=self.lr_network, weight_decay=0.0)
            state = online.stepped(state, synthetic, synthetic.targets(), before, 0, training, F.cross_entropy)
        yield state | {"at": draw.iteration, "seen": tensor(seen[-2 * self.patience :])}

    def batch(self, images: int, draw: Draw) -> Tensor:
        """Rows [B] of the training images that this iteration learns from, in their order."""
        order = torch.randperm(images, generator=stream(draw.source.seed, "inner", draw.iteration))
        return carry(order[: self.inner_batch].sort().values, draw.source.device)

    def gradient(self, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """Through one step of training, or of `loss`."""
        network = online.network(state, draw, 0)
        if self.way == "ridge":
            return differentiate(self, state, synthetic, draw, norms=norms)
        step = Step(self.batch(sum(synthetic.training_counts), draw))
        return lookahead.gradient(self.learns, network, synthetic, draw, torch.tensor(self.inner_lr).to(synthetic.stored), [step])

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """loss [1], of the head in closed form."""
        network, classes = online.network(state, draw, 0), range(len(synthetic.classes))
        chosen = self.batch(sum(synthetic.training_counts), draw)
        targets = synthetic.targets()[chosen]
        wanted = targets if targets.is_floating_point() else F.one_hot(targets, len(classes)).to(synthetic.stored)
        head = ridge.head(network.features(synthetic.images()[chosen]).embedding, wanted, self.ridge)
        with torch.no_grad():
            real = [network.features(augmented(draw, k, x)).embedding for k in classes for x in draw.real_chunks(k)]
        yield {"loss": F.cross_entropy(self.scale * ridge.with_one(torch.cat(real)) @ head, draw.real_numbers())[None]}

    def cost(self, size: Size) -> Cost:
        """A batch on the way and back, or forward and back; real images; the training; and the accuracy."""
        share = min(1.0, self.inner_batch / max(1, count := sum(size.synthetic)))
        through, real = (lookahead.FORWARD + lookahead.BACK, lookahead.REAL) if self.way == "lookahead" else (3, 1)
        cost = general(size, real=real, synthetic=share * (through + 3), each_class=QUERY, trains=True)
        maps = MAPS * min(count, self.inner_batch, count if size.couples else size.chunk) * sum(size.blocks)
        return Cost(passes=cost.passes, bytes=max(cost.bytes, maps) + ROWS * size.weights)
