"""What a training on the synthetic set is worth: the cross-entropy of real images under the weights that it ends with.

The outcome that dd.py and ld.py hand to a training (trajectory.py), which goes back through it.

Letters: P weights of the network, K classes, B real images.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from datadam.methods.draw import Draw
from datadam.methods.gradient import Gradient
from datadam.methods.networks import augmented
from datadam.methods.student import Student
from datadam.methods.trajectory import Outcome, Step, through
from datadam.nets import Network
from datadam.sets.synthetic import SyntheticSet

FORWARD, BACK, REAL = 3, 8, 3  # forward passes that a step counts for an image, on the way and back; and a real image


def flat(network: Network) -> Tensor:
    """The weights [P] of a network in one row, in the order of its parameters."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def on_real(student: Student, draw: Draw) -> Outcome:
    """loss [1], the mean cross-entropy of the iteration's real images under weights [P], and its gradient."""
    count = sum(draw.real_count(k) for k in range(len(draw.source.real.classes)))

    def outcome(weights: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        leaf, value, slope = weights.detach().requires_grad_(), torch.zeros_like(weights[0]), torch.zeros_like(weights)
        for x, numbers in _real(draw):
            with torch.enable_grad():
                loss = student.loss(leaf, x, numbers) / count
            slope += torch.autograd.grad(loss, leaf)[0]
            value += loss.detach()
        return {"loss": value[None]}, slope

    return outcome


def _real(draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Real images [B, C, H, W] and class numbers [B], class after class, or all at once where the network couples them."""
    pieces = [
        (augmented(draw, k, x), torch.full((len(x),), k, device=x.device))
        for k in range(len(draw.source.real.classes))
        for x in draw.real_chunks(k)
    ]
    if draw.source.network.couples_images:
        x, numbers = zip(*pieces, strict=True)
        pieces = [(torch.cat(x), torch.cat(numbers))]
    yield from pieces


def gradient(
    names: frozenset[str], network: Network, synthetic: SyntheticSet, draw: Draw, rate: Tensor, steps: Sequence[Step]
) -> Gradient:
    """Of what is learned by `names`, through `steps` of training the `network` on the synthetic set at a `rate` [], or [T] of
    each step's own."""
    source, leaf = draw.source, synthetic.leaves(names)
    student: Student = source.once(lambda: Student(source.network, chunk=source.plan.chunk))
    images, labels = leaf.images(), leaf.labels()
    found = through(student, flat(network), images.detach(), labels.detach(), rate.detach(), steps, on_real(student, draw))
    of = {}
    if "images" in names:
        of["images"] = torch.autograd.grad(images, leaf.stored, found.images)[0]
    if found.labels is not None:
        of["labels"] = torch.autograd.grad(labels, leaf.tensors["labels"], found.labels)[0]
    of |= {name: found.rate for name in ("rate", "rates") if name in names}
    whole = float(torch.stack([part.norm() for part in of.values()]).norm())
    return Gradient(of, found.terms, dict.fromkeys(found.terms, whole))
