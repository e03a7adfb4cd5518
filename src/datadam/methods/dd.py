"""DD: Dataset Distillation (Wang, Zhu, Torralba and Efros, 2018, arXiv 1811.10959).

    theta_0     = a network's first weights
    theta_{i+1} = theta_i - alpha * gradient of the mean cross-entropy of the images of step i at theta_i       i = 0 .. T - 1
    L           = mean cross-entropy of real images at theta_T

Each step has `per_step` images of each class for itself, in their order, and they come back in each of `epochs` passes: ten
images per class are ten steps three times. The gradient is that of the whole unroll, at the memory of one step (trajectory.py).
The images are learned, and the rate; with `rates` = "each", as in paper and released code, one alpha_i for each of the T steps,
of which a set carries the mean to its students, and all on its card. theta_0 is drawn anew each iteration; with the recipe's
iterations_per_network as many as its iterations it is one network's, known beforehand (the paper's fixed initialisation).

Departures: one rate for all steps unless asked otherwise; rates are held within a hundredth and a hundred times their first value
(released code: they are softplus of what is learned). Real images come evenly from the classes. The
released code halves its rates every 40 passes over the real set. A set is judged like any other; the paper's own numbers are of
students that take exactly these T steps.

Letters: K classes, N training images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods import lookahead
from datadam.methods.base import Group, Method, State
from datadam.methods.cost import BACKWARD, Cost, Size, training
from datadam.methods.draw import Draw
from datadam.methods.following import HELD, MAPS, ROWS
from datadam.methods.gradient import Gradient
from datadam.methods.trajectory import Step
from datadam.rng import carry
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, refuse, require

RATES = {"one": "rate", "each": "rates"}  # of the steps: by what is asked for, what is learned


@dataclass(frozen=True, kw_only=True)
class DD(Method):
    """Learn images that train a network in a few steps.

    Arguments (the paper's symbol): `epochs` over the synthetic set; `per_step`, images of each class in a step (fewer in the
    last, where they do not divide); `rate` (eta), the first value of the learned rate; `lr_rate`, of Adam on it; `rates`, "one"
    for all steps or one for "each". Raises `InvalidInput` with every wrong setting.
    """

    epochs: int = 3
    per_step: int = 1
    rate: float = 0.02
    lr_rate: float = 2e-4
    rates: str = "one"

    name: ClassVar[str] = "dd"
    family: ClassVar[str] = "learning through training"
    description: ClassVar[str] = "loss of real images after a few training steps on the synthetic set, gone back through"
    separable: ClassVar[bool] = False
    citation: ClassVar[str] = """@article{wang2018dd,
  title={Dataset Distillation},
  author={Wang, Tongzhou and Zhu, Jun-Yan and Torralba, Antonio and Efros, Alexei A.}, journal={arXiv:1811.10959}, year={2018}}"""

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("epochs", "per_step"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
        for name in ("rate", "lr_rate"):
            value = getattr(self, name)
            require(finite(value) and value > 0, f"{name} is {value!r}; it must be a number > 0", faults)
        require(self.rates in RATES, f"rates is {self.rates!r}; allowed: {', '.join(RATES)}", faults)
        refuse(faults)

    @property
    def learns(self) -> frozenset[str]:  # type: ignore[override]
        """The images, and the rate or rates."""
        return frozenset({"images", RATES[self.rates]})

    def rates_of(self, images: int) -> int:
        """T: the steps of an epoch, as often as there are epochs."""
        return self.epochs * -(-images // self.per_step)

    def groups(self, images: Group) -> Sequence[Group]:
        """The images, and the rate by Adam."""
        bounds = (self.rate / HELD, self.rate * HELD)
        return images, Group(tensors=(RATES[self.rates],), rule="adam", lr=self.lr_rate, momentum=images.momentum, bounds=bounds)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        """The first rate, or as many as there are steps."""
        first = torch.tensor(self.rate, dtype=torch.float64)
        return {"rate": first} if self.rates == "one" else {"rates": first.repeat(self.rates_of(max(synthetic.training_counts)))}

    def steps(self, synthetic: SyntheticSet) -> list[Step]:
        """What each of the T steps trains on."""
        counts = synthetic.training_counts
        firsts = torch.tensor([0, *counts]).cumsum(0).tolist()
        once = []
        for start in range(0, max(counts), self.per_step):
            rows = [
                torch.arange(first + start, first + min(start + self.per_step, count))
                for first, count in zip(firsts, counts, strict=False)
                if start < count
            ]
            once.append(Step(carry(torch.cat(rows), synthetic.stored.device)))
        return once * self.epochs

    def gradient(self, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """Through the training of a network."""
        rate = synthetic.tensors[RATES[self.rates]]
        return lookahead.gradient(self.learns, draw.network(), synthetic, draw, rate, self.steps(synthetic))

    def cost(self, size: Size) -> Cost:
        """Synthetic images on the way and back in each pass, real ones forward and back; one step's maps, and all weights."""
        images, steps = sum(size.synthetic), self.rates_of(max(size.synthetic))
        passes: float = images * self.epochs * (lookahead.FORWARD + lookahead.BACK) + lookahead.REAL * sum(size.real)
        passes += BACKWARD * size.trained
        together = min(images, self.per_step * len(size.synthetic))
        maps = max(MAPS * (together if size.couples else min(together, size.chunk)), 5 * min(max(size.real), size.chunk))
        needed = max(maps * sum(size.blocks), training(size)) + (steps + ROWS) * size.weights
        return Cost(passes=passes, bytes=needed, cure="lower per_step")
