"""FRePo: Dataset Distillation using Neural Feature Regression (Zhou, Nezhadarya and Ba, NeurIPS 2022, arXiv 2206.00719).

    k(x, x') = < f(x), f(x') >                                            f: last feature of a network of the pool
    L_k      = mean over real x of 1/2 || y(x) - k(x, S) (k(S, S) + r tr(k(S, S)) / M I)^-1 y_S ||^2
    L_m      = - mean over S of min(largest of y_S - second largest, 1 / K)
    L        = L_k + L_m

y(x) is one-hot minus 1 / K; y_S begins as that and is learned, divided by sqrt(K / 10) wherever it stands above. Mirrored
copies of S stand in the kernel beside it (`mirror`). The pool holds networks at ages spread over `most_steps`; an image step
draws one, which then trains for one step on S (Adam, squared error) or, once too old, is drawn anew. Nothing is unrolled.

Departures: real images come evenly from the classes (released code: as they are shuffled). lr_images is constant (released code:
falls along a cosine to a tenth); the released rule is optimizer=lamb, and then the labels' too. Batch norm remembers by torch's
0.1 (released code: by 0.9). The released code's own data set is the checkpoint that tested best; here the last one is kept.
Students learn y_S as softmax(y_S / temperature) by cross-entropy (released code: by squared error).

Letters: K classes, M synthetic images with their mirrored copies, N without, B real images, D numbers of the feature.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods import online, ridge
from datadam.methods.base import Parts, State
from datadam.methods.cost import Cost, Size, general
from datadam.methods.draw import Draw
from datadam.methods.networks import arithmetic, augmented, evaluating
from datadam.methods.regressing import Regressing
from datadam.nets import Network
from datadam.rng import stream
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, require
from datadam.training.trainer import Training

BATCH = 1000  # synthetic images that a network of the pool trains on in a step


@dataclass(frozen=True, kw_only=True)
class FRePo(Regressing):
    """Regress real images on the synthetic ones in the features of a pool of networks on their way.

    Arguments: `pool`, networks; `most_steps` that one trains before it is drawn anew; `lr_network` of Adam on it; `lr_labels`, of
    the images' rule on the labels (0: they stay class numbers); `ridge` (r); `mirror`, 1 to regress on mirrored copies too, else
    0; `temperature` at which students learn the labels. Raises `InvalidInput` with every wrong setting.
    """

    pool: int = 10
    most_steps: int = 100
    lr_network: float = 3e-4
    lr_labels: float = 3e-4
    mirror: int = 1

    name: ClassVar[str] = "frepo"
    description: ClassVar[str] = (
        "real images regressed on synthetic ones with learned labels, in features of networks on their way"
    )
    trains_networks: ClassVar[bool] = True
    real_gradient: ClassVar[bool] = False
    citation: ClassVar[str] = """@inproceedings{zhou2022frepo,
  title={Dataset Distillation using Neural Feature Regression},
  author={Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy}, booktitle={NeurIPS}, year={2022}}"""

    def more_faults(self) -> list[str]:
        """Of the pool."""
        faults: list[str] = []
        for name in ("pool", "most_steps"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
        value = self.lr_network
        require(finite(value) and value > 0, f"lr_network is {value!r}; it must be a number > 0", faults)
        require(self.mirror in (0, 1), f"mirror is {self.mirror!r}; it must be 0 or 1", faults)
        return faults

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        """The pool, ready `at` the first image step, each network as if it were older than the one before."""
        slots = [online.fresh(draw, slot, slot, self.most_steps // self.pool * slot) for slot in range(self.pool)]
        return {"at": draw.iteration} | {name: value for slot in slots for name, value in slot.items()}

    def slot(self, draw: Draw) -> int:
        """Which network of the pool an image step looks through."""
        return int(torch.randint(self.pool, (), generator=stream(draw.source.seed, "slot", draw.iteration)))

    def labels(self, synthetic: SyntheticSet) -> Tensor:
        """y_S [N, K]."""
        scaled: Tensor = ridge.targets(synthetic).to(synthetic.stored) / math.sqrt(len(synthetic.classes) / 10)
        return scaled

    def between(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Generator[State, None, None]:
        """The network of the image step before trains for one step, or makes room for the next."""
        if state["at"] == draw.iteration:
            return
        before = draw.source.at(draw.iteration - 1)
        slot = self.slot(before)
        if online.age(state, slot) > self.most_steps:
            new = online.replaced(state, slot, online.fresh(before, slot, self.pool + before.iteration))
        else:
            training = Training(epochs=self.most_steps + 1, batch=BATCH, lr=self.lr_network, weight_decay=0.0)
            new = online.stepped(state, synthetic, self.labels(synthetic), before, slot, training, ridge.squared_error)
        yield new | {"at": draw.iteration}

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """regression [1] and margin [1]."""
        classes, y = range(len(synthetic.classes)), self.labels(synthetic)
        with evaluating(online.network(state, draw, self.slot(draw))) as network:
            with torch.no_grad():
                real = [features(network, draw, augmented(draw, k, x)) for k in classes for x in draw.real_chunks(k)]
            images = torch.cat([augmented(draw, k, synthetic.images(k, k + 1)) for k in classes])
            together = torch.cat([images, images.flip(-1)]) if self.mirror else images
            own = features(network, draw, together)
        solved = ridge.weights(own @ own.T, torch.cat([y, y]) if self.mirror else y, self.ridge)
        wanted = ridge.centred(draw.real_numbers(), len(classes))
        margin = -y.topk(2).values.diff(dim=1).neg().clamp(max=1 / len(classes)).mean()[None]
        predicted = torch.cat(real) @ own.T @ solved
        yield {"regression": ridge.squared_error(predicted, wanted), "margin": margin.double()}

    def cost(self, size: Size) -> Cost:
        """Real images once, synthetic ones forward and back with their copies, and a training step; all graphs at once."""
        copies, count = 1 + self.mirror, sum(size.synthetic)
        passes = 2 * copies + 3 * min(1, BATCH / max(1, count))
        cost = general(size, synthetic=passes, whole=True, synthetic_maps=5 * copies, trains=True)
        kernels = 8 * copies * count * (copies * count + sum(size.real)) * 3 + 2 * size.embedding * sum(size.real)
        return Cost(passes=cost.passes, bytes=cost.bytes + kernels + 6 * self.pool * size.weights)


def features(network: Network, draw: Draw, images: Tensor) -> Tensor:
    """The last feature [B, D] of images, in float64."""
    with arithmetic(draw):
        found = network.features(images).embedding
    return found.double()
