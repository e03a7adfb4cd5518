"""DataDAM: Efficient Dataset Distillation with Attention Matching (Sajedi et al., ICCV 2023, arXiv 2310.00093).

    a_l   = vec(sum_c |f_l|^p) / || . ||_2                        attention map of block l after ReLU, before pooling
    L_SAM = sum_k sum_{l<L} || mean over real of a_l - mean over synthetic of a_l ||^2
    L_MMD = sum_k || mean over real of emb - mean over synthetic of emb ||^2
    L     = s * (L_SAM + lambda * L_MMD)

Departures: the paper's text divides the MMD by nothing and neither do we; the authors' released code uses p = 1, s = 100 and
batch norm (preset `official`), the paper p = 4, s = 1 and instance norm (preset `paper`). See docs/methods/datadam.md.

Letters: K classes, N images, C channels, H rows, W columns of a map, D numbers of a descriptor.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.errors import InvalidInput
from datadam.methods.base import FeatureMatching
from datadam.nets import Features
from datadam.settings import finite, refuse, require

ERRORS = ("mse", "mae", "cosine")
MAP_NORMS = ("l2", "l1", "none")
MAPS = ("attention", "features")
TINY = 1e-12  # the least norm that a map is divided by


@dataclass(frozen=True, kw_only=True)
class DataDAM(FeatureMatching):
    """Match spatial attention maps and the last feature.

    Arguments: `power`, p; `task_balance`, lambda (0 switches MMD off); `scale`, s; `layers`, the numbers (from 1) of the
    blocks whose maps are matched, None for all but the last, () switches SAM off; `error`, how class means of maps are compared:
    "mse" (squared, summed), "mae" (absolute, summed) or "cosine" (1 - cos); `map_norm`, what a map is divided by: "l2", "l1" or
    "none"; `maps`: "attention", or "features" for the whole feature map in its place (with `task_balance` 0, which leaves the
    maps alone, the feature-map transfer of the paper's Table 5).
    Raises `InvalidInput` with every wrong setting.
    """

    power: float = 4.0
    task_balance: float = 0.01
    scale: float = 100.0
    layers: tuple[int, ...] | None = None
    error: str = "mse"
    map_norm: str = "l2"
    maps: str = "attention"

    name: ClassVar[str] = "datadam"
    description: ClassVar[str] = "class means of spatial attention maps and of the last feature of random networks"
    citation: ClassVar[str] = """@inproceedings{sajedi2023datadam,
  title={DataDAM: Efficient Dataset Distillation with Attention Matching},
  author={Sajedi, Ahmad and Khaki, Samir and Amjadian, Ehsan and Liu, Lucy Z. and Lawryshyn, Yuri A.
          and Plataniotis, Konstantinos N.}, booktitle={ICCV}, year={2023}}"""

    def __post_init__(self) -> None:
        faults: list[str] = []
        require(finite(self.power) and self.power >= 1, f"power (p) is {self.power!r}; it must be a number >= 1", faults)
        require(
            finite(self.task_balance) and self.task_balance >= 0,
            f"task_balance (lambda) is {self.task_balance!r}; it must be a number >= 0",
            faults,
        )
        require(finite(self.scale) and self.scale > 0, f"scale (s) is {self.scale!r}; it must be a number > 0", faults)
        for setting, allowed in (("error", ERRORS), ("map_norm", MAP_NORMS), ("maps", MAPS)):
            value = getattr(self, setting)
            require(value in allowed, f"{setting} is {value!r}; allowed: {', '.join(allowed)}", faults)
        layers = self.layers
        numbers = isinstance(layers, tuple) and all(type(n) is int and n >= 1 for n in layers)
        require(
            layers is None or (numbers and len(set(layers)) == len(layers)),
            f"layers is {layers!r}; it must be None or different block numbers from 1, such as (1, 2)",
            faults,
        )
        require(layers != () or self.task_balance != 0, "layers=none and task_balance=0 leave no loss; keep one of them", faults)
        refuse(faults)

    def descriptors(self, features: Features) -> list[Tensor]:
        """Maps [N, H_l*W_l] of the chosen blocks, then the embedding [N, D] unless lambda is 0."""
        maps = [self._map(features.blocks[layer - 1]) for layer in self._layers(len(features.blocks))]
        return [*maps, features.embedding] if self.task_balance else maps

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """sam [K] and mmd [K], scaled and weighted as they enter the loss."""
        count = len(real) - bool(self.task_balance)
        terms = {}
        if count:
            gaps = [gap(r, s, self.error) for r, s in zip(real[:count], synthetic[:count], strict=True)]
            terms["sam"] = self.scale * torch.stack(gaps).sum(0)
        if self.task_balance:
            terms["mmd"] = self.scale * self.task_balance * (real[-1] - synthetic[-1]).square().sum(1)
        return terms

    def remark(self, features: Features) -> str:
        """Says so when the network has no block below its last, so that no map is matched though none was switched off."""
        super().remark(features)
        if self.layers is not None or len(features.blocks) > 1:
            return ""
        return f"the network has {len(features.blocks)} block(s), none below the last: only the embedding is matched, no map"

    def _layers(self, blocks: int) -> tuple[int, ...]:
        layers = tuple(range(1, blocks)) if self.layers is None else self.layers
        if max(layers, default=0) > blocks:
            raise InvalidInput(f"layers is {layers} but the network has {blocks} blocks; name blocks from 1 to {blocks}")
        if not layers and not self.task_balance:
            raise InvalidInput(
                f"the network has {blocks} block(s), so no map below the last one is left, and task_balance=0 switches MMD off; "
                "name layers, or take a deeper network"
            )
        return layers

    def _map(self, block: Tensor) -> Tensor:
        flat = attention_map(block, self.power) if self.maps == "attention" else block.flatten(1)
        return normalise(flat, self.map_norm)


def attention_map(block: Tensor, power: float) -> Tensor:
    """Sum over channels of |f|^p, flattened: [N, C, H, W] -> [N, H*W]. Whole even powers are squarings."""
    if power == 1:
        raised = block.abs()
    elif power == 2:
        raised = block * block
    elif power == 4:
        square = block * block
        raised = square * square
    else:
        raised = block.abs().pow(power)
    return raised.sum(1).flatten(1)


def normalise(maps: Tensor, how: str) -> Tensor:
    """Divide each row of maps [N, D] by max(its norm, 1e-12)."""
    if how == "none":
        return maps
    norm: Tensor = maps.norm(p=2.0 if how == "l2" else 1.0, dim=1, keepdim=True)
    return maps / norm.clamp_min(TINY)


def gap(real: Tensor, synthetic: Tensor, error: str) -> Tensor:
    """Distance of class means [K, D] -> [K]: summed squares, summed absolutes, or 1 - cosine."""
    if error == "mse":
        return (real - synthetic).square().sum(1)
    if error == "mae":
        return (real - synthetic).abs().sum(1)
    return 1 - torch.cosine_similarity(real, synthetic, dim=1, eps=TINY)
