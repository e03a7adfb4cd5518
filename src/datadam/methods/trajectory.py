"""The gradient through a training: of a number that the weights after N steps of SGD decide, with respect to what was trained on.

    g_i         = gradient of the mean cross-entropy of batch i at the weights theta_i
    m_{i+1}     = momentum * m_i + g_i
    theta_{i+1} = theta_i - rate * m_{i+1}                        (or a rate of each step's own)

A plain unroll holds the graphs of all N steps. Here the first walk keeps the weights theta_i and no graph, and the second one
goes back and makes one step's graph at a time. With lambda_N the gradient of the outcome with respect to theta_N:

    kappa_i  = lambda_{i+1} + momentum * kappa_{i+1}              (zero beyond the last step)
    s_i      = <g_i, kappa_i>
    lambda_i = lambda_{i+1} - rate * gradient of s_i with respect to theta_i
    images, labels of batch i get -rate * gradient of s_i; the rate gets -s_i

This is the gradient of the plain unroll, and no approximation. TESLA (Cui et al., ICML 2023) leaves out that theta_i depends on
the batches before: lambda_i = lambda_N for all i, which makes a step cheaper and the gradient another one.

s_i is a derivative of the loss along kappa_i, and its gradient goes through that (student.py).

Letters: P weights of the network, N training images, B images of a batch, K classes, C H W.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datadam.methods.student import Student

Augment = Callable[[Tensor], Tensor]
Outcome = Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]


@dataclass(frozen=True)
class Step:
    """What a step trains on: `chosen` [B], rows of the training images, all different, and their `augment`ation (None: none)."""

    chosen: Tensor
    augment: Augment | None = None


@dataclass(frozen=True)
class Through:
    """What came of a training: the `terms` of the outcome, and its gradient with respect to the training `images` [N, C, H, W],
    the `labels` [N, K] where they are logits (else None), and the `rate` [], or [T] of T steps."""

    terms: dict[str, Tensor]
    images: Tensor
    labels: Tensor | None
    rate: Tensor


def through(
    student: Student, start: Tensor, images: Tensor, labels: Tensor, rate: Tensor, steps: Sequence[Step], outcome: Outcome, *,
    momentum: float = 0.0, exact: bool = True,
) -> Through:  # fmt: skip
    """Train for some steps, and go back through them.

    Arguments: `student`; `start` [P], its first weights; `images` [N, C, H, W] and `labels`, class numbers [N] or logits [N, K],
    that it trains on, at a `rate` [], or [T] of each step's own; `steps`; `outcome`, of the last weights [P] the named terms and
    the gradient [P] of their sum; `momentum`; `exact`, or TESLA's approximation.
    """
    with torch.no_grad():
        weights, velocity = start, torch.zeros_like(start)
        walked = start.new_empty(len(steps), len(start))  # one block: single rows would lie between maps
        for i, step in enumerate(steps):
            walked[i] = weights
            slope = student.slope(weights, _augmented(step, images[step.chosen]), labels[step.chosen])
            velocity = momentum * velocity + slope
            weights = weights - _of_step(rate, i) * velocity
        terms, after = outcome(weights)
        soft = labels.is_floating_point()
        of_images, of_labels, of_rate = torch.zeros_like(images), torch.zeros_like(labels), torch.zeros_like(rate)
        along = torch.zeros_like(start)
        for i, step in reversed([*enumerate(steps)]):
            along = after + momentum * along
            batch = images[step.chosen]
            s, by_image, by_label, by_weight = student.back(
                walked[i], _augmented(step, batch), labels[step.chosen], along, exact=exact
            )
            here = _of_step(rate, i)
            of_images.index_add_(0, step.chosen, -here * _pulled(step, batch, by_image))
            if soft:
                of_labels.index_add_(0, step.chosen, -here * by_label)
            _of_step(of_rate, i).sub_(s)
            if exact:
                after = after - here * by_weight
    return Through(terms, of_images, of_labels if soft else None, of_rate)


def _of_step(rate: Tensor, i: int) -> Tensor:
    """The one of all steps [], or that of a step of [T]; of the tensor's own memory."""
    return rate[i] if rate.ndim else rate


def _augmented(step: Step, batch: Tensor) -> Tensor:
    return batch if step.augment is None else step.augment(batch)


def _pulled(step: Step, batch: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with respect to the images of a batch, from that with respect to the augmented ones."""
    if step.augment is None:
        return gradient
    with torch.enable_grad():
        leaf = batch.detach().requires_grad_()
        return torch.autograd.grad(step.augment(leaf), leaf, gradient)[0]
