"""The released steps once more, from their formulas alone: nothing of datadam, and nothing of the released code.

K classes, N images, C channels, H x W pixels, D numbers of an embedding. All in float64.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fidelity import case
from torch import Tensor

EPS = 1e-5  # of norm layers
Move = dict[str, Any]  # an operation of the augmentation, and its numbers


class Seen(NamedTuple):
    """What a ConvNet makes of images: outputs of its blocks before pooling, the flattened last pooling, logits."""

    blocks: list[Tensor]
    embedding: Tensor
    logits: Tensor


def convnet(weights: list[Tensor], x: Tensor, norm: str = "instance", padding: int = 1) -> Seen:
    """Blocks of 3x3 convolution, normalisation, ReLU and 2x2 means, then a linear layer."""
    each = 2 if norm == "none" else 4
    layers = [weights[i : i + each] for i in range(0, len(weights) - 2, each)]
    blocks = []
    for layer in layers:
        x = F.conv2d(x, layer[0], layer[1], padding=padding)
        if norm != "none":
            x = normalised(x, norm, *layer[2:])
        blocks.append(x.clamp(min=0))
        height, width = (side // 2 * 2 for side in x.shape[2:])
        even = blocks[-1][:, :, :height, :width]
        x, padding = even.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5)), 1
    embedding = x.flatten(1)
    return Seen(blocks, embedding, embedding @ weights[-2].T + weights[-1])


def normalised(x: Tensor, norm: str, scale: Tensor, shift: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over what the norm looks at, scaled and shifted."""
    parts = x.unflatten(1, (4, -1)) if norm == "group" else x[:, :, None]
    over = {"instance": (3, 4), "batch": (0, 2, 3, 4), "layer": (1, 2, 3, 4), "group": (2, 3, 4)}[norm]
    centred = parts - parts.mean(over, keepdim=True)
    y = (centred / (centred.square().mean(over, keepdim=True) + EPS).sqrt()).reshape(x.shape)
    return y * scale + shift if scale.ndim == 3 else y * scale[:, None, None] + shift[:, None, None]


def augmented(move: Move | None, x: Tensor) -> Tensor:
    """Images [N, C, H, W] under one operation, with one number for all or one for each."""
    if move is None:
        return x
    u = {name: torch.tensor(value, dtype=torch.float64).expand(len(x)) for name, value in move.items() if name != "operation"}
    return torch.stack(
        [OPERATIONS[move["operation"]](image, **{name: float(v[i]) for name, v in u.items()}) for i, image in enumerate(x)]
    )


def _color(x: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    x = x + brightness - 0.5
    x = 2 * saturation * x + (1 - 2 * saturation) * x.mean(0)
    return (0.5 + contrast) * x + (0.5 - contrast) * x.mean()


def _crop(image: Tensor, y: float, x: float) -> Tensor:
    out = torch.zeros_like(image)
    sides = image.shape[1:]
    moves = (math.floor(u * (2 * (side // 8) + 1)) - side // 8 for u, side in zip((y, x), sides, strict=True))
    (down, right), (height, width) = moves, sides
    rows, columns = (slice(max(0, -by), min(side, side - by)) for by, side in ((down, height), (right, width)))
    out[:, rows, columns] = image[:, rows.start + down : rows.stop + down, columns.start + right : columns.stop + right]
    return out


def _cutout(image: Tensor, y: float, x: float) -> Tensor:
    mask = torch.ones_like(image)
    height, width = image.shape[1:]
    top, left = math.floor(y * (height + 1)) - height // 4, math.floor(x * (width + 1)) - width // 4
    mask[:, max(0, top) : top + height // 2, max(0, left) : left + width // 2] = 0
    return image * mask


def _flip(image: Tensor, flip: float) -> Tensor:
    return image[:, :, torch.arange(image.shape[2] - 1, -1, -1)] if flip < 0.5 else image


def _scale(image: Tensor, y: float, x: float) -> Tensor:
    low, high = 1 / 1.2, 1.2
    return _sampled(image, [[low + (high - low) * x, 0], [0, low + (high - low) * y]])


def _rotate(x: Tensor, angle: float) -> Tensor:
    radians = math.radians(30 * angle - 15)
    return _sampled(x, [[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])


def _sampled(x: Tensor, matrix: list[list[float]]) -> Tensor:
    """Each pixel from the place that `matrix` sends its centre to, between four pixels, zero outside; sides go from -1 to 1."""
    height, width = x.shape[1:]
    out = torch.zeros_like(x)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across, down = (2 * column.double() + 1) / width - 1, (2 * row.double() + 1) / height - 1
    to_column, to_row = (
        ((a * across + b * down + 1) * side - 1) / 2 for (a, b), side in zip(matrix, (width, height), strict=True)
    )
    for dy in (0, 1):
        for dx in (0, 1):
            r, c = to_row.floor() + dy, to_column.floor() + dx
            share = (1 - (to_row - r).abs()) * (1 - (to_column - c).abs())
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            out = out + share * inside * x[:, r.clamp(0, height - 1).long(), c.clamp(0, width - 1).long()]
    return out


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "color": _color, "crop": _crop, "cutout": _cutout, "flip": _flip, "scale": _scale, "rotate": _rotate,
}  # fmt: skip


def attention(block: Tensor, power: float) -> Tensor:
    """Maps [N, H*W]: sums over channels of |f|^p, of length 1."""
    maps = (block.abs() ** power).sum(1).flatten(1)
    return maps / maps.square().sum(1, keepdim=True).sqrt()


def class_means(x: Tensor) -> Tensor:
    """Means [K, ...] of images that lie class after class."""
    return x.unflatten(0, (case.K, -1)).mean(1)


def gap(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum over classes of the squared distance of class means."""
    return (class_means(real) - class_means(synthetic)).square().sum()


def dm(real: Seen, synthetic: Seen) -> Tensor:
    """DM: the embeddings."""
    return gap(real.embedding, synthetic.embedding)


def datadam(real: Seen, synthetic: Seen, power: float, scale: float) -> Tensor:
    """DataDAM: attention maps of all blocks but the last, and a hundredth of the embeddings."""
    maps = [gap(attention(r, power), attention(s, power)) for r, s in zip(real.blocks[:-1], synthetic.blocks[:-1], strict=True)]
    return scale * (torch.stack(maps).sum() + 0.01 * dm(real, synthetic))


def cafe(real: Seen, synthetic: Seen) -> Tensor:
    """CAFE as released: early layers by a tenth, the embedding twice, and real embeddings told apart by the synthetic centres."""
    early, late = (0.1, 0.1), (1.0,)
    aligned = [w * gap(r, s) for w, r, s in zip(early + late, real.blocks, synthetic.blocks, strict=True)]
    logits = real.embedding @ class_means(synthetic.embedding).T
    told = -logits.log_softmax(1).unflatten(0, (case.K, -1)).diagonal(0, 0, 2).sum()
    return torch.stack(aligned).sum() + 2 * dm(real, synthetic) + 0.01 * told


def gradients(weights: list[Tensor], x: Tensor, k: int, *, graph: bool) -> list[Tensor]:
    """Of the mean cross-entropy of images of class k, with respect to the weights that are no vectors."""
    leaves = [w.detach().requires_grad_() for w in weights]
    loss = -convnet(leaves, x).logits.log_softmax(1)[:, k].mean()
    return list(torch.autograd.grad(loss, [w for w in leaves if w.ndim > 1], create_graph=graph))


def distance(real: list[Tensor], synthetic: list[Tensor]) -> Tensor:
    """Sum over layers and output channels of 1 - cosine; vectors do not count."""
    total = torch.zeros((), dtype=torch.float64)
    for r, s in ((r.flatten(1), s.flatten(1)) for r, s in zip(real, synthetic, strict=True) if r.ndim > 1):
        total = total + (1 - (r * s).sum(1) / (r.square().sum(1).sqrt() * s.square().sum(1).sqrt() + 1e-6)).sum()
    return total


def loss(method: str, weights: list[Tensor], real: list[Tensor], synthetic: list[Tensor]) -> Tensor:
    """Of the augmented images of each class."""
    if method in ("dc", "dsa"):
        pairs = enumerate(zip(real, synthetic, strict=True))
        return torch.stack([
            distance(gradients(weights, r, k, graph=False), gradients(weights, s, k, graph=True)) for k, (r, s) in pairs
        ]).sum()  # fmt: skip
    norm = case.NORMS.get(method, "instance")
    r, s = convnet(weights, torch.cat(real), norm), convnet(weights, torch.cat(synthetic), norm)
    if method == "dm":
        return dm(r, s)
    return cafe(r, s) if method == "cafe" else datadam(r, s, *{"official": (1.0, 100.0), "paper": (4.0, 1.0)}[method])


def trained(
    weights: list[Tensor], images: Tensor, rates: list[float], moves: Iterator[Move | None], *, momentum: float = 0.0,
    decay: float = 0.0, forget: int = -1,
) -> list[Tensor]:  # fmt: skip
    """Weights after so many steps of SGD on all images; before step `forget` the velocity is lost."""
    labels = torch.arange(case.K).repeat_interleave(case.N)
    velocity = [torch.zeros_like(w) for w in weights]
    for step, rate in enumerate(rates):
        leaves = [w.detach().requires_grad_() for w in weights]
        logits = convnet(leaves, augmented(next(moves), images)).logits
        slopes = torch.autograd.grad(-logits.log_softmax(1)[torch.arange(len(labels)), labels].mean(), leaves)
        kept = 0.0 if step == forget else momentum
        velocity = [kept * v + g + decay * w for v, g, w in zip(velocity, slopes, weights, strict=True)]
        weights = [w - rate * v for w, v in zip(weights, velocity, strict=True)]
    return [w.detach() for w in weights]


def steps(method: str, golden: dict[str, Any]) -> list[Tensor]:
    """The images after each of three image steps."""
    images, velocity, real, found = case.start(), torch.zeros_like(case.start()), case.real(), []
    one = method in case.EPOCHS  # one network serves all steps, and trains between them
    inner = iter(golden["inner"])
    weights: list[Tensor] = []
    for step in range(case.STEPS):
        if step == 0 or not one:
            weights = case.weights(step, shapes(case.NORMS.get(method, "instance")))
        else:
            moves = inner if golden["inner"] else iter([None] * 99)
            weights = trained(weights, images, [0.01] * case.EPOCHS[method], moves)
        moves_now = golden["augmentations"][step] if golden["augmentations"] else [None] * case.K
        leaf = images.detach().requires_grad_()
        rows = [case.chosen(k, case.calls(method, step), case.B) for k in range(case.K)]
        both = [
            (augmented(move, real[r]), augmented(move, x)) for move, r, x in zip(moves_now, rows, leaf.split(case.N), strict=True)
        ]
        (slope,) = torch.autograd.grad(loss(method, weights, *map(list, zip(*both, strict=True))), leaf)
        velocity = 0.5 * velocity + slope
        images = images - case.RATES[method] * velocity
        found.append(images)
    return found


def shapes(norm: str, channels: int = 3) -> list[torch.Size]:
    """Of the weights of the case's ConvNet, in order."""
    found = []
    for block in range(case.DEPTH):
        side = case.SHAPE[1] >> block
        found.append((case.WIDTH, case.WIDTH if block else channels, 3, 3))
        vectors = 1 if norm == "none" else 3
        found += [(case.WIDTH,)] + [(case.WIDTH, side, side) if norm == "layer" else (case.WIDTH,)] * (vectors - 1)
    last = case.WIDTH * (case.SHAPE[1] >> case.DEPTH) ** 2
    return [torch.Size(shape) for shape in (*found, (case.K, last), (case.K,))]


def whitened(x: Tensor, eps: float = 0.1) -> Tensor:
    """ZCA: centred images times U diag(1 / sqrt(S + eps)) U^T, U S U^T their covariance."""
    flat = x.flatten(1) - x.flatten(1).mean(0)
    u, s, _ = torch.linalg.svd(flat.T @ flat / (len(x) - 1))
    return (flat @ (u / (s + eps).sqrt()) @ u.T).reshape(x.shape)
