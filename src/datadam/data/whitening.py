"""Between pixels in [0, 1] and the space that networks see: mean and standard deviation, and ZCA whitening.

Shapes: N images, C channels, H x W pixels, D = C * H * W.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from datadam import machine
from datadam.errors import ArtifactError, DataError, InvalidInput, NotEnoughMemory

Variant = Literal["kornia", "official"]
VARIANTS: tuple[Variant, ...] = ("kornia", "official")
EPS = 0.1
LARGEST_D = 12_288  # 64 x 64 in colour: the D x D matrices take some 5 GB while they are fitted
STRIP = 256  # rows of a product that are made at a time
CHUNK = 1_024  # images of one product: enough for it to outweigh adding D x D numbers
PART = 128  # images that are read at a time


@dataclass(frozen=True, eq=False)
class ZCA:
    """ZCA whitening, x -> (x - mean) M, with M = U diag(1 / sqrt(S + eps)) U^T and U S U^T the images' covariance.

    Fields: `variant`, "kornia" (fitted on pixels in [0, 1]) or "official" (fitted on pixels normalised by mean and
    standard deviation); `eps`; `mean` [D]; `matrix` M [D, D]; `inverse` U diag(sqrt(S + eps)) U^T [D, D]. All float32.
    """

    variant: Variant
    eps: float
    mean: Tensor
    matrix: Tensor
    inverse: Tensor
    copies: dict[tuple[str, torch.device, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def fit(cls, read: Callable[[int, int], Tensor], n: int, *, variant: Variant, eps: float = EPS) -> "ZCA":
        """Fit on N images that come in chunks, so that memory does not grow with N.

        Arguments: `read(start, stop)` gives images start .. stop - 1 as [n, C, H, W], before whitening; `n`, how many
        there are.
        Raises DataError for fewer than two images, NotEnoughMemory for D above 12 288.
        Source: Kornia's ZCAWhitening (covariance divided by N - 1, then SVD); the covariance is symmetric, so eigh
        finds the same.
        """
        check_variant(variant)
        if n < 2:
            raise DataError(f"ZCA whitening needs at least 2 images to measure a covariance, and {n} came.")
        d = read(0, 1).numel()
        check_dimension(d)

        machine.give_back()  # what came before may have left much: only one of the two is to count
        total = torch.zeros(d, dtype=torch.float64)
        for _, part in _parts(read, 0, n):
            total += part.sum(dim=0, dtype=torch.float64)
        mean = total / n

        # Symmetric: only the upper triangle, in strips of rows, which also keeps the products of a chunk small.
        covariance = torch.zeros(d, d, dtype=torch.float64)
        chunk, centre = torch.empty(min(CHUNK, n), d, dtype=part.dtype), mean.to(part.dtype)
        for start in range(0, n, CHUNK):
            centred = chunk[: n - start]
            for place, part in _parts(read, start, start + len(centred)):
                torch.sub(part, centre, out=centred[place : place + len(part)])
            for row in range(0, d, STRIP):
                covariance[row : row + STRIP, row:] += centred[:, row : row + STRIP].T @ centred[:, row:]
        del chunk, centred
        covariance /= n - 1

        s, u = _eigen(covariance)
        del covariance  # u has taken its place
        root = torch.sqrt(s.clamp(min=0) + eps)  # rounding can leave an eigenvalue slightly below zero
        zca = cls(variant, eps, mean.float(), _recomposed(u, 1 / root), _recomposed(u, root))
        del u
        machine.give_back()
        return zca

    def apply(self, x: Tensor) -> Tensor:
        """Whiten images [..., C, H, W] of any float dtype."""
        flat = self._flat(x)
        mean, matrix = self._on(x, "mean"), self._on(x, "matrix")
        return ((flat - mean) @ matrix).reshape(x.shape)

    def invert(self, x: Tensor) -> Tensor:
        """Undo `apply`."""
        flat = self._flat(x)
        mean, inverse = self._on(x, "mean"), self._on(x, "inverse")
        return torch.addmm(mean, flat, inverse).reshape(x.shape)

    def tensors(self) -> dict[str, Tensor]:
        """What a file must keep: "mean", "matrix" and "inverse"."""
        return {"mean": self.mean, "matrix": self.matrix, "inverse": self.inverse}

    def _flat(self, x: Tensor) -> Tensor:
        d = len(self.mean)
        if x.dim() < 3 or x.shape[-3:].numel() != d:
            raise DataError(
                f"this whitening is for images of C * H * W = {d} numbers, and images of shape {tuple(x.shape)} came."
            )
        return x.reshape(-1, d)

    def _on(self, x: Tensor, name: str) -> Tensor:
        """One copy for each device and dtype: a matrix is too large to travel with every batch."""
        key = (name, x.device, x.dtype)
        if key not in self.copies:
            self.copies[key] = getattr(self, name).to(x.device, x.dtype)
        return self.copies[key]


@dataclass(frozen=True)
class Transform:
    """Pixels in [0, 1] -> network space: (x - mean) / std for each channel, then ZCA whitening when there is one.

    Fields: `mean` and `std`, one number a channel; `zca`. The variant "kornia" whitens bare pixels: its mean is 0, its
    std 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    zca: ZCA | None = None

    def __post_init__(self) -> None:
        usable = all(map(math.isfinite, self.mean)) and all(0 < s < math.inf for s in self.std)
        if not self.mean or len(self.mean) != len(self.std) or not usable:
            raise DataError(
                f"a transform needs a mean and a positive std for each channel; mean {self.mean}, std {self.std} came."
            )

    def to_network(self, x: Tensor) -> Tensor:
        """Pixels [..., C, H, W], float in [0, 1] -> network space, same dtype and device."""
        return self._whitened(self._affine(x, 1.0))

    def bytes_to_network(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Pixels [..., C, H, W], uint8 -> network space; division by 255 and normalisation are one multiply-add."""
        if x.dtype != torch.uint8:
            raise DataError(f"these pixels must be uint8, and {x.dtype} came; for floats in [0, 1] there is to_network.")
        return self._whitened(self._affine(x.to(dtype), 255.0, in_place=True))

    def to_pixels(self, x: Tensor) -> Tensor:
        """Network space [..., C, H, W] -> pixels, clamped to [0, 1]."""
        if self.zca is not None:
            x = self.zca.invert(x)
        mean, std = (_channels(numbers, x) for numbers in (self.mean, self.std))
        return (x * std + mean).clamp(0, 1)

    def to_card(self) -> dict[str, Any]:
        """As JSON-able settings; the matrices of a whitening go elsewhere, see `ZCA.tensors`."""
        zca = None if self.zca is None else {"variant": self.zca.variant, "eps": self.zca.eps}
        return {"mean": list(self.mean), "std": list(self.std), "zca": zca}

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: tensors as arrays, which need no shared memory."""
        arrays = {name: tensor.numpy() for name, tensor in self.zca.tensors().items()} if self.zca else None
        return _unpacked, (self.to_card(), arrays)

    @classmethod
    def from_card(cls, card: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> "Transform":
        """The reverse of `to_card`.

        Arguments: `card`, what `to_card` gave; `tensors`, what `ZCA.tensors` gave ("inverse" may be missing and is then
        computed).
        Raises ArtifactError when they do not fit together.
        """
        try:
            mean, std = (tuple(float(number) for number in card[key]) for key in ("mean", "std"))
            kept = card["zca"]
            settings = None if kept is None else (kept["variant"], float(kept["eps"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"not a transform (mean, std, zca): {card!r}") from error
        try:
            if settings is None:
                return cls(mean, std)
            return cls(mean, std, _zca_from(*settings, tensors))
        except DataError as error:
            raise ArtifactError(str(error)) from error

    def _affine(self, x: Tensor, divisor: float, in_place: bool = False) -> Tensor:
        if x.dim() < 3 or x.shape[-3] != len(self.mean):
            raise DataError(f"this transform is for {len(self.mean)} channels, and images of shape {tuple(x.shape)} came.")
        scale, shift = _scale_shift(self.mean, self.std, divisor, x.dtype, x.device)
        return x.mul_(scale).add_(shift) if in_place else x * scale + shift

    def _whitened(self, x: Tensor) -> Tensor:
        return x if self.zca is None else self.zca.apply(x)


def fit_zca(images: Tensor, *, variant: Variant = "official", eps: float = EPS) -> ZCA:
    """ZCA whitening of images [N, C, H, W] held in memory, such as the first synthetic images, as they are."""
    return ZCA.fit(lambda start, stop: images[start:stop].detach().cpu(), len(images), variant=variant, eps=eps)


def check_variant(variant: str) -> None:
    """Raise InvalidInput unless this is a known variant of the whitening."""
    if variant not in VARIANTS:
        raise InvalidInput(f"unknown ZCA variant {variant!r}. Known: {', '.join(VARIANTS)}.")


def check_dimension(d: int) -> None:
    """Raise NotEnoughMemory when images of D = C * H * W numbers are too large to whiten."""
    if d > LARGEST_D:
        raise NotEnoughMemory(
            f"ZCA whitening of images of C * H * W = {d} numbers needs matrices of {d} x {d}, {d * d * 8 / 1e9:.0f} GB "
            f"each, and hours to decompose one; {LARGEST_D} is the most. Load smaller images (size=64 or less), or "
            "leave ZCA out."
        )


def _parts(read: Callable[[int, int], Tensor], start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
    """The images start .. stop - 1 as rows [n, D], a few at a time, and how many came before."""
    for first in range(start, stop, PART):
        yield first - start, read(first, min(first + PART, stop)).flatten(1)


def _eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [D], ascending, and eigenvectors [D, D] of the matrix whose upper triangle is given; it is overwritten.

    Scipy's driver needs one matrix beside the result, that of torch and numpy four; torch serves where scipy is not installed.
    """
    try:
        from scipy.linalg import eigh
    except ModuleNotFoundError:
        s, u = torch.linalg.eigh(covariance, UPLO="U")
        return s, u
    # read column by column, as the driver does, the upper triangle is the lower one
    values, vectors = eigh(covariance.numpy().T, lower=True, overwrite_a=True, driver="evr")
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _recomposed(u: Tensor, values: Tensor) -> Tensor:
    """U diag(values) U^T in float32, made strip by strip, so that nothing of its size is held in float64."""
    product = torch.empty(u.shape, dtype=torch.float32)
    for rows, of_u in zip(product.split(STRIP), u.split(STRIP), strict=True):
        rows.copy_((of_u * values) @ u.T)
    return product


def _unpacked(card: dict[str, Any], arrays: dict[str, Any] | None) -> Transform:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()} if arrays else None
    return Transform.from_card(card, tensors)


def _zca_from(variant: Variant, eps: float, tensors: Mapping[str, Tensor] | None) -> ZCA:
    if variant not in VARIANTS or not 0 < eps < math.inf:
        raise ArtifactError(f"not a ZCA whitening that we know: variant {variant!r}, eps {eps}.")
    if tensors is None or not {"mean", "matrix"} <= set(tensors):
        raise ArtifactError(
            "these images are ZCA-whitened, and the file with the whitening's mean and matrix is missing or incomplete."
        )
    mean, matrix = tensors["mean"], tensors["matrix"]
    d = mean.numel()
    inverse = tensors.get("inverse")
    for name, tensor, shape in (("mean", mean, (d,)), ("matrix", matrix, (d, d)), ("inverse", inverse, (d, d))):
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape or not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(
                f"the whitening's {name} must be {shape} finite floats; {tuple(tensor.shape)} {tensor.dtype} came."
            )
    if inverse is None:
        inverse = torch.linalg.inv(matrix.double())
    return ZCA(variant, eps, mean.float(), matrix.float(), inverse.float())


def _channels(numbers: tuple[float, ...], x: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=x.dtype, device=x.device)[:, None, None]


@cache
def _scale_shift(
    mean: tuple[float, ...], std: tuple[float, ...], divisor: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(x / divisor - mean) / std as x * scale + shift, each [C, 1, 1]; computed in float64 and rounded once.

    Kept, and never written to: carrying them to a GPU for each batch would wait for all its work.
    """
    m, s = (torch.tensor(numbers, dtype=torch.float64) for numbers in (mean, std))
    return tuple(v.to(dtype)[:, None, None].to(device) for v in (1 / (divisor * s), -m / s))  # type: ignore[return-value]
