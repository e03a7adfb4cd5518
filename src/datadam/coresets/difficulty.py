"""EL2N and GraNd, the difficulty of an image to a network early in its training (Paul et al., NeurIPS 2021).

    EL2N(x)  = mean over networks of || softmax(f(x)) - onehot(y) ||_2
    GraNd(x) = mean over networks of || d cross-entropy(f(x), y) / d theta ||_2,   theta: all parameters

GraNd is the norm of the whole gradient, computed image by image, and not that of the last layer. Departures: the paper averages
over ten networks, we over fewer unless asked (`averaged`); they look at images as in testing (no augmentation, the statistics of
batch norm kept).
Letters: N images, B images of a batch, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from datadam.nets import Network

EL2N_DESCRIPTION = "real images that lie farthest from (or nearest to) their label for networks early in training"
GRAND_DESCRIPTION = "real images with the largest (or smallest) loss gradient in networks early in training"
CITATION = """@inproceedings{paul2021deep,
  title={Deep Learning on a Data Diet: Finding Important Examples Early in Training},
  author={Paul, Mansheej and Ganguli, Surya and Dziugaite, Gintare Karolina}, booktitle={NeurIPS}, year={2021}}"""
PICKS = ("hardest", "easiest")
GRADIENT_BYTES = 1 << 28  # what the gradients of the images of a batch may take together


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


def ranked(scores: Tensor, pick: str, count: int) -> Tensor:
    """Row numbers [count] by falling score ("hardest") or rising ("easiest"); equal scores keep the order."""
    return scores.argsort(descending=pick == "hardest", stable=True)[:count]
