"""Herding (Welling, ICML 2009; as iCaRL chooses exemplars, Rebuffi et al., CVPR 2017): keep the mean of the class.

    chosen_t = argmin_x || (t + 1) mu - sum_{s<t} phi(chosen_s) - phi(x) ||,   t = 0, 1, ...

mu is the mean of phi over the class, phi the embedding of a network; an image is chosen once, and of equal ones the first (see
`Insight.members`). Departures: iCaRL scales phi to length 1 first, we do not; a known library takes the argmax, which is wrong.
Letters: n images of a class, D numbers of the embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods.coresets.base import FeatureCoreset
from datadam.training.insight import Insight

DESCRIPTION = "real images whose mean stays nearest to the class mean, in the features of a network trained on the real set"
CITATION = """@inproceedings{welling2009herding,
  title={Herding Dynamical Weights to Learn},
  author={Welling, Max}, booktitle={ICML}, year={2009}}
@inproceedings{rebuffi2017icarl,
  title={iCaRL: Incremental Classifier and Representation Learning},
  author={Rebuffi, Sylvestre-Alvise and Kolesnikov, Alexander and Sperl, Georg and Lampert, Christoph H.},
  booktitle={CVPR}, year={2017}}"""


def greedy(features: Tensor, count: int) -> Tensor:
    """Row numbers [count], all different, of the herding choice among features [n, D]; the first m are the choice of m."""
    rows = features.double()
    mean = rows.mean(0)
    rows = rows - mean  # the same choice, and no large numbers that cancel
    squares = rows.square().sum(1)
    rest = torch.zeros_like(mean)  # (t + 1) mu - sum, about mu
    chosen: list[int] = []
    while len(chosen) < count:
        distance = squares - 2 * (rows @ rest)  # || rest - phi ||^2 but for a constant
        distance[chosen] = torch.inf
        chosen.append(int(distance.argmin()))
        rest -= rows[chosen[-1]]
    return torch.tensor(chosen)


@dataclass(frozen=True, kw_only=True)
class Herding(FeatureCoreset):
    """Greedily keep the mean of the chosen images nearest to the class mean; settings as `FeatureCoreset`."""

    name: ClassVar[str] = "herding"
    description: ClassVar[str] = DESCRIPTION
    citation: ClassVar[str] = CITATION

    def among(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        return greedy(embeddings, count)
