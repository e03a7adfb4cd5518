"""Methods that regress real images on the synthetic ones (ridge.py) and may learn what these are regressed to: their labels.

frepo.py takes the features of trained networks, kip.py the kernel of infinitely wide ones.

Letters: K classes, M stored images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods.base import Group, Method
from datadam.methods.ridge import centred
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, refuse, require


@dataclass(frozen=True, kw_only=True)
class Regressing(Method):
    """What methods that regress have in common.

    Arguments: `lr_labels`, of the images' rule on the labels (0: they stay class numbers); `ridge` (the papers' lambda), in parts
    of the mean of the kernel's diagonal; `temperature` at which students learn the labels. Raises `InvalidInput` with every wrong
    setting.
    """

    lr_labels: float = 0.0
    ridge: float = 1e-6
    temperature: float = 0.2

    family: ClassVar[str] = "kernel regression"
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("ridge", "temperature"):
            value = getattr(self, name)
            require(finite(value) and value > 0, f"{name} is {value!r}; it must be a number > 0", faults)
        value = self.lr_labels
        require(finite(value) and value >= 0, f"lr_labels is {value!r}; it must be a number >= 0", faults)
        refuse(faults + self.more_faults())

    def more_faults(self) -> list[str]:
        """What is wrong with the settings of a method of its own."""
        return []

    @property
    def learns(self) -> frozenset[str]:  # type: ignore[override]
        """The images, and the labels where they have a rate."""
        return frozenset({"images", "labels"} if self.lr_labels else {"images"})

    @property
    def label_temperature(self) -> float:
        """That of the setting."""
        return self.temperature

    def groups(self, images: Group) -> Sequence[Group]:
        """The labels by the rule of the images, at a rate of their own."""
        labels = Group(tensors=("labels",), rule=images.rule, lr=self.lr_labels, momentum=images.momentum)
        return (images, labels) if self.lr_labels else (images,)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        """One-hot minus 1 / K [M, K]."""
        numbers = torch.arange(len(synthetic.classes)).repeat_interleave(torch.tensor(synthetic.counts))
        return {"labels": centred(numbers, len(synthetic.classes))} if self.lr_labels else {}
