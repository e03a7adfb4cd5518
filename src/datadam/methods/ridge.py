"""Kernel ridge regression: what a set of images and labels says of other images, in closed form.

    prediction(x) = k(x, S) (k(S, S) + r I)^-1 y

Kernels are in float64, whatever the images are in: the ridge is small, and the kernel of images that are alike nearly singular.

Letters: M images of the set S, B others, N training images of the synthetic set, K classes, D numbers of a feature.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam.sets.synthetic import SyntheticSet


def weights(kernel: Tensor, labels: Tensor, ridge: float) -> Tensor:
    """(k(S, S) + r I)^-1 y [M, K].

    Arguments: `kernel` k(S, S) [M, M]; `labels` y [M, K]; `ridge`, r in parts of the mean of the kernel's diagonal.
    """
    amount = ridge * kernel.diagonal().mean()
    solved: Tensor = torch.linalg.solve(kernel + amount * torch.eye(len(kernel)).to(kernel), labels.to(kernel))
    return solved


def head(features: Tensor, labels: Tensor, ridge: float) -> Tensor:
    """The linear head of features, and its bias, W = X^T (X X^T + r I)^-1 y [D + 1, K].

    Arguments: `features` [M, D], which X [M, D + 1] is with a column of ones; `labels` y [M, K]; `ridge`, r.
    """
    x = with_one(features)
    solved: Tensor = x.T @ torch.linalg.solve(x @ x.T + ridge * torch.eye(len(x)).to(x), labels)
    return solved


def with_one(features: Tensor) -> Tensor:
    """Features [B, D] with a column of ones [B, D + 1]."""
    return torch.cat([features, torch.ones_like(features[:, :1])], 1)


def squared_error(predicted: Tensor, wanted: Tensor) -> Tensor:
    """[1], half the squared distance of predictions [B, K] from what is wanted, its mean over images."""
    return 0.5 * (predicted - wanted).square().sum(1).mean()[None]


def centred(numbers: Tensor, classes: int) -> Tensor:
    """Class numbers [B] as what is regressed on [B, K]: 1 - 1/K for the class, -1/K for the others."""
    return F.one_hot(numbers, classes).double() - 1 / classes


def targets(synthetic: SyntheticSet) -> Tensor:
    """What the training images are regressed on [N, K]: learned labels as they are, or class numbers centred."""
    labels = synthetic.labels()
    return labels if labels.is_floating_point() else centred(labels, len(synthetic.classes))
