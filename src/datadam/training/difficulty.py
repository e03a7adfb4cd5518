"""How hard single images are for a network: what coresets choose by, looked at while it trains or early in its training.

    EL2N(x)      = || softmax(f(x)) - onehot(y) ||_2
    GraNd(x)     = || d cross-entropy(f(x), y) / d theta ||_2,   theta: all parameters
    forgotten(x) = number of times that x, when it came in a batch, was wrong after it had been right the time before

Letters: N images, B images of a batch, K classes.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from datadam.nets import Network
from datadam.training.trainer import Watcher

GRADIENT_BYTES = 1 << 28  # what the gradients of the images of a batch may take together


class History(Watcher):
    """Counts while a network trains: `forgotten` int32 [N], and `learned` bool [N], whether an image was ever right.

    Arguments: `labels` [N], class numbers.
    """

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels
        self.forgotten = torch.zeros(len(labels), dtype=torch.int32)
        self.learned = torch.zeros(len(labels), dtype=torch.bool)
        self._right = torch.zeros(len(labels), dtype=torch.bool)

    def batch(self, chosen: Tensor, logits: Tensor) -> None:
        """Images of some indices [B] have just got these logits [B, K]."""
        self.see(chosen, logits.argmax(1).cpu() == self.labels[chosen])

    def see(self, images: Tensor, right: Tensor) -> None:
        """Some different images [B] have just been classified, `right` [B] or wrong."""
        self.forgotten[images] += (self._right[images] & ~right).int()
        self.learned[images] |= right
        self._right[images] = right

    def state(self) -> dict[str, Tensor]:
        """The counts, and which images were right the last time."""
        return {"forgotten": self.forgotten.clone(), "learned": self.learned.clone(), "right": self._right.clone()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Count on from a `state`."""
        self.forgotten, self.learned, self._right = (state[name].clone() for name in ("forgotten", "learned", "right"))


@torch.no_grad()
def el2n(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Distances [B] of the predicted probabilities to the one-hot labels [B] of images [B, C, H, W]."""
    logits = network(images)
    error: Tensor = logits.softmax(1) - F.one_hot(labels, logits.shape[1])
    lengths: Tensor = error.norm(dim=1)
    return lengths


def grand(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Norms [B] of the gradient of each image's cross-entropy with respect to all parameters; as many at a time as fit."""
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (weights, buffers), (image[None],))
        return F.cross_entropy(logits, label[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))
    at_once = max(1, GRADIENT_BYTES // sum(weight.nbytes for weight in weights.values()))
    norms = []
    for some, their in zip(images.split(at_once), labels.split(at_once), strict=True):
        parts = [g.flatten(1).square().sum(1) for g in gradients(weights, some, their).values()]
        norms.append(torch.stack(parts).sum(0).sqrt())
    return torch.cat(norms)


SCORES = {"el2n": el2n, "grand": grand}
PASSES = {"el2n": 1.0, "grand": 6.0}  # forward passes that a score takes as long as; GraNd's is measured
