"""CALM: class means in networks between untrained and trained, with images that trained networks recognise. Our own method.

    L = sum_k || mean over real of emb - mean over synthetic of emb ||^2 - c * mean over synthetic of log softmax_k(f)

f is a network with weights drawn from a pool: on a line between two of the states that one of a few networks went through in a
short training on the real set, made before the first iteration; emb is its last feature. Random weights alone match what every
network sees of a class; trained ones alone match few directions; the second term (calibration) keeps each image an example of its
own class and not only a part of a good mean.

The idea of matching between untrained and trained weights, with a calibrating cross-entropy, is that of DANCE (Zhang et al.,
IJCAI 2024), which draws on lines between the first and the last weights; ours differs in the states on the way, in a pool of
minutes, in the start (real images that the pool is sure of) and in what it costs.

Letters: K classes, N images, D numbers of the embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.methods.base import FeatureMatching
from datadam.nets import Features
from datadam.settings import finite, refuse, require
from datadam.training.needs import Needs
from datadam.training.trainer import Training

WEIGHTS = ("lines", "states")


@dataclass(frozen=True, kw_only=True)
class CALM(FeatureMatching):
    """Match class means in a small pool of networks on their way, and stay recognisable to them.

    Arguments: `calibration` (c), weight of the second term; `count` networks of the pool, each trained for `epochs`; `weights`,
    on "lines" between two states of one training, or "states" alone.
    Raises `InvalidInput` with every wrong setting.
    """

    calibration: float = 5.0
    count: int = 2
    epochs: int = 3
    weights: str = "lines"

    name: ClassVar[str] = "calm"
    description: ClassVar[str] = (
        "our own, after DANCE: class means in networks on their way, and images that trained networks recognise"
    )
    separable: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = True
    coarse: ClassVar[bool] = True
    citation: ClassVar[str] = """@inproceedings{zhang2024dance,
  title={{DANCE}: Dual-View Distribution Alignment for Dataset Condensation},
  author={Zhang, Hansong and Li, Shikun and Lin, Fanzhao and Wang, Weiping and Qian, Zhenxing and Ge, Shiming},
  booktitle={IJCAI}, year={2024}}"""

    def __post_init__(self) -> None:
        faults: list[str] = []
        value = self.calibration
        require(finite(value) and value >= 0, f"calibration is {value!r}; it must be a number >= 0", faults)
        for name in ("count", "epochs"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
        require(self.weights in WEIGHTS, f"weights is {self.weights!r}; allowed: {', '.join(WEIGHTS)}", faults)
        refuse(faults)

    @property
    def between_states(self) -> bool:
        """Whether weights lie on lines."""
        return self.weights == "lines"

    @property
    def needs(self) -> Needs:
        """A pool: SGD with batches of 125 and a rate that rises to 0.04 and falls to 0."""
        return Needs("pool", Training(epochs=self.epochs, batch=125, lr=0.04, schedule="cycle", augment="dsa"), self.count)

    def descriptors(self, features: Features) -> list[Tensor]:
        """The embedding [N, D]."""
        return [features.embedding]

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """mean [K], the squared distance of the class means; calibration [K], the cross-entropy of the synthetic images."""
        return {
            "mean": (real[0] - synthetic[0]).square().sum(1),
            "calibration": -self.calibration * synthetic[1][:, 0],
        }
