"""KIP: Kernel Inducing Points (Nguyen, Chen and Lee, ICLR 2021, arXiv 2011.00050; Nguyen et al., NeurIPS 2021, arXiv 2107.13034).

    L = mean over real x of 1/2 || y(x) - k(x, S) (k(S, S) + r tr(k(S, S)) / M I)^-1 y_S ||^2

k is the tangent kernel of a network of infinite width (ntk.py): nothing is drawn and nothing trained. y(x) is one-hot minus 1 /
K, y_S begins as that, and is learned where `lr_labels` is not 0. The real side is gone through in pieces: first for the
predictions, then, piece by piece, for the gradient; its memory does not grow with the real images.

Departures: the released notebook, and the first paper's plots, take the mean of the squares over classes as well, a factor of K
that Adam does not see. The second paper whitens with each image's own length and learns from augmented images for some of its
sets; the kernel with parameters in their "standard" form is not here. The released convolution without pooling fails as it stands
(a list is never made); `conv` is what it says. Students learn y_S as softmax(y_S / temperature).

Letters: K classes, M training images of the synthetic set S, B real images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods import ridge
from datadam.methods.base import Parts, State
from datadam.methods.cost import Cost, Size
from datadam.methods.draw import Draw
from datadam.methods.networks import augmented
from datadam.methods.ntk import KINDS, ntk, pairs
from datadam.methods.regressing import Regressing
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import require

TOGETHER = 4_000_000  # products of a layer that a piece of the real side makes, about
ALIVE, BESIDE = 15, 18  # tensors of a layer that wait for the way back, and such beside them (measured)
WORK = 6000  # operations that a product counts in a layer, forward and back


@dataclass(frozen=True, kw_only=True)
class KIP(Regressing):
    """Regress real images on the synthetic ones by the kernel of an infinitely wide network.

    Arguments: `kernel`, "fc", "conv" or "pooled", and its `depth` (ntk.py); `lr_labels` of the images' rule on the labels (0:
    they stay class numbers); `ridge` (r); `temperature` at which students learn labels. Raises `InvalidInput` with every wrong
    setting.
    """

    kernel: str = "fc"
    depth: int = 1

    name: ClassVar[str] = "kip"
    description: ClassVar[str] = "real images regressed on synthetic ones by the tangent kernel of an infinitely wide network"
    needs_network: ClassVar[bool] = False
    citation: ClassVar[str] = """@inproceedings{nguyen2021kip,
  title={Dataset Meta-Learning from Kernel Ridge-Regression},
  author={Nguyen, Timothy and Chen, Zhourong and Lee, Jaehoon}, booktitle={ICLR}, year={2021}}"""

    def more_faults(self) -> list[str]:
        """Of the kernel."""
        faults: list[str] = []
        require(self.kernel in KINDS, f"kernel is {self.kernel!r}; allowed: {', '.join(KINDS)}", faults)
        require(type(self.depth) is int and self.depth >= 1, f"depth is {self.depth!r}; it must be a whole number >= 1", faults)
        return faults

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """regression [1], and then for each piece of the real side what it adds to the gradient, and 0 to the value."""
        images, y = synthetic.images(), ridge.targets(synthetic)
        still = images.detach()
        with torch.no_grad():
            known = [ntk(x, still, self.kernel, self.depth) for x in self._pieces(draw, still)]
        across = torch.cat(known).requires_grad_()
        wanted = ridge.centred(draw.real_numbers(), len(synthetic.classes))
        solved = ridge.weights(ntk(images, images, self.kernel, self.depth), y, self.ridge)
        value = ridge.squared_error(across @ solved, wanted)
        (slopes,) = torch.autograd.grad(value.sum(), across, retain_graph=True)
        yield {"regression": value}
        del solved, value
        for x, slope in zip(self._pieces(draw, still), slopes.split([len(kernel) for kernel in known]), strict=True):
            kernel = ntk(x, synthetic.images(), self.kernel, self.depth)
            yield {"regression": (slope * (kernel - kernel.detach())).sum()[None]}

    def _pieces(self, draw: Draw, synthetic: Tensor) -> Iterator[Tensor]:
        """The real images [B, C, H, W] of the iteration, class after class, some at a time."""
        shape = draw.source.real.shape
        size = min(draw.source.plan.chunk, max(1, TOGETHER // (len(synthetic) * pairs(self.kernel, shape))))
        for k in range(len(draw.source.real.classes)):
            for x in draw.real_chunks(k, size):
                yield augmented(draw, k, x)

    def cost(self, size: Size) -> Cost:
        """No network: products of pairs of images, those of the synthetic set all at once."""
        if not size.shape:
            return Cost(passes=0.0, bytes=0.0)
        m, each = sum(size.synthetic), pairs(self.kernel, size.shape)
        products = (m * m + 2 * m * sum(size.real)) * each
        alive = 8.0 * (ALIVE * self.depth + BESIDE) * (max(TOGETHER, m * m * each) + m * each)
        fewer = ["take the kernel fc (kernel=fc), which needs one number for a pair of images"] if self.kernel != "fc" else []
        cure = ", ".join(fewer + ([f"lower depth (now {self.depth})"] if self.depth > 1 else []))
        return Cost(passes=0.0, operations=WORK * self.depth * products, bytes=alive, cure=cure)
