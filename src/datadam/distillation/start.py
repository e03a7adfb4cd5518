"""The first synthetic images: random real ones, chosen real ones, noise, those of an earlier run, or of one that is made first.

Letters: K classes, N images of a class, n candidates, C channels, H rows, W columns.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from datadam.data import RealData
from datadam.data.real import require_members
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput, UnknownName
from datadam.machine import images_at_once
from datadam.methods.coresets import kcenter, kmeans, random
from datadam.nets import Network
from datadam.rng import stream
from datadam.sets.decoders import PLAIN, Decoder
from datadam.training.generators import Workshop
from datadam.training.insight import Insight

STARTS = {
    "real": "random real images, without replacement",
    "kcenter": "real images that cover the class: greedy k-center in the features of a random network",
    "kmeans": "the real images nearest to the centres of N clusters of the class, in the same features",
    "sure": "random real images that the pool's trained networks are sure of, as they are stored",
    "right": "random real images that one trained network gets right, as they are stored",
    "noise": "standard normal noise",
    "calm-quick": "a set that our own method makes first, by its preset for minutes",
    "calm": "likewise, by its preset for half an hour",
    "calm-long": "likewise, by its preset for hours",
}
ASKING = ("sure", "right")  # ask trained networks
MADE_FIRST = ("calm-quick", "calm", "calm-long")  # presets that make it (made_first.py)
SURE = 0.9  # probability of the right class, the geometric mean over networks


def check_ipc(real: RealData, ipc: int, start: str, decoder: Decoder = PLAIN) -> None:
    """Raise `InvalidInput` unless the start is known, the decoder fits the images, and every class can give the real images for
    `ipc` stored ones (noise needs none)."""
    decoder.require_fit(real.shape)
    if ipc < 1:
        raise InvalidInput(f"ipc (images per class) is {ipc}; it must be at least 1")
    if start not in STARTS:
        raise UnknownName("start", start, STARTS, "To go on from an earlier run, give its images as `earlier`.")
    if start != "noise":
        require_members(real, ipc, decoder.each, cure=", or start from noise")


def first_images(
    real: RealData, ipc: int, start: str, seed: int, *, decoder: Decoder = PLAIN, earlier: Tensor | None = None,
    trained: Sequence[Network] = (),
) -> Tensor:  # fmt: skip
    """First stored images [K*N, C, H, W] in network space, float32; those that hold several have as many real ones
    shrunk, or their frequencies.

    Arguments: `start`, a name of `STARTS` or any text when `earlier` is given; `seed`, the run's seed; `earlier`, images [K*n,
    C, H, W] of another run with n <= N, as they are stored by the same decoder: they come first in each class and random real
    images fill the rest; `trained`, networks that know the classes, in evaluation mode, which the starts "sure" and "right" ask.
    Raises `UnknownName`, `InvalidInput`.
    """
    if earlier is not None:
        return _continue(real, ipc, seed, earlier, decoder)
    check_ipc(real, ipc, start, decoder)
    if start == "noise":
        return torch.cat([_noise(seed, name, ipc, real.shape) for name in real.classes])
    count = ipc * decoder.each
    if start in ASKING:
        chosen = (sure if start == "sure" else right)(real, count, seed, decoder, trained)
    else:
        chosen = random.select(real, count, seed) if start == "real" else _chosen(Insight(real, seed), count, start)
    return encoded(real, torch.cat(chosen), decoder)


def encoded(real: RealData, chosen: Tensor, decoder: Decoder) -> Tensor:
    """Real images as they are stored, in network space, made in pieces: those of a thousand classes are held once, and not as
    bytes beside."""
    images = torch.empty(len(chosen) // decoder.each, *real.shape)
    size = max(1, images_at_once(real.shape) // decoder.each)
    for piece, rows in zip(images.split(size), chosen.split(size * decoder.each), strict=True):
        piece.copy_(decoder.encode(real.images(rows)))
    return images


def sampled(workshop: Workshop, recipe: Recipe, decoder: Decoder) -> Tensor:
    """Samples of the generator that a method trains, as they are stored, in network space: [K*N, C, H, W], float32."""
    real, method = workshop.real, recipe.method
    state, images = method.train(workshop), []
    assert state is not None
    for k, name in enumerate(real.classes):
        made = method.sample(state, k, recipe.ipc * decoder.each, stream(recipe.seed, "sample", name))
        assert made is not None
        images.append(decoder.encode(real.transform.to_network(made)))
    return torch.cat(images)


def _chosen(insight: Insight, ipc: int, start: str) -> list[Tensor]:
    """Training indices [N] of each class by the features of a random network, which cost no training."""
    chosen = []
    for k, name in enumerate(insight.real.classes):
        features = insight.embeddings(k)
        far = start == "kcenter"
        rows = kcenter.greedy(features, ipc) if far else kmeans.nearest_to_centres(features, ipc, insight.seed, name)
        chosen.append(insight.members(k)[rows])
    return chosen


@torch.no_grad()
def sure(real: RealData, count: int, seed: int, decoder: Decoder, trained: Sequence[Network]) -> list[Tensor]:
    """Training indices [N] of each class: in a random order, the first ones of which the networks are sure once they are stored
    and decoded. A class with too few of them gives those that they are surest of. Raises `InvalidInput` when no network comes.
    """
    _require_networks("sure", trained)
    chosen, size = [], max(decoder.each, images_at_once(real.shape) // decoder.each * decoder.each)
    for k, members in enumerate(random.select(real, len(real.train), seed)):
        passed: list[Tensor] = []
        scores = torch.empty(0)
        for some in members[: len(members) // decoder.each * decoder.each].split(size):
            images = decoder(decoder.encode(real.images(some)))
            score = torch.stack([network(images).log_softmax(1)[:, k] for network in trained]).mean(0)
            passed, scores = [*passed, some], torch.cat([scores, score.where(score < math.log(SURE), 0.0)])
            if (scores == 0).sum() >= count:
                break
        best = scores.sort(descending=True, stable=True).indices  # the sure ones as they came, then the others
        chosen.append(torch.cat(passed)[best[:count]])
    return chosen


@torch.no_grad()
def right(real: RealData, count: int, seed: int, decoder: Decoder, trained: Sequence[Network]) -> list[Tensor]:
    """Training indices [N] of each class: in a random order, the first ones that the first network gets right once they are
    stored and decoded; then those that the next one does, and where no network is left any others. Raises as `sure`."""
    _require_networks("right", trained)
    chosen, size = [], max(decoder.each, images_at_once(real.shape) // decoder.each * decoder.each)
    for k, members in enumerate(random.select(real, len(real.train), seed)):
        usable = members[: len(members) // decoder.each * decoder.each]
        taken = torch.zeros(len(usable), dtype=torch.bool)
        order: list[int] = []
        for network in trained:
            for some in torch.arange(len(usable)).split(size):
                if len(order) >= count:
                    break
                images = decoder(decoder.encode(real.images(usable[some])))
                hits = some[(network(images).argmax(1) == k) & ~taken[some]]
                taken[hits] = True
                order += hits.tolist()
        order += (~taken).nonzero().flatten().tolist()
        chosen.append(usable[torch.tensor(order[:count])])
    return chosen


def _require_networks(start: str, trained: Sequence[Network]) -> None:
    if not trained:
        raise InvalidInput(
            f"start {start!r} asks trained networks; name a pool with networks=POOL@LOW-HIGH, take a method that has some, or "
            "name another start"
        )


def _noise(seed: int, name: str, ipc: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(ipc, *shape, generator=stream(seed, "start", name))


def check_earlier(real: RealData, ipc: int, earlier: Tensor, decoder: Decoder) -> int:
    """How many images of each class an earlier run has. Raises `InvalidInput` when they do not fit these data and ipc, or the
    data cannot give what they lack."""
    kept, rest = divmod(len(earlier), len(real.classes))
    if rest or tuple(earlier.shape[1:]) != real.shape:
        raise InvalidInput(
            f"the earlier run holds images {tuple(earlier.shape)}; this data has {len(real.classes)} classes "
            f"of shape {real.shape}: start from a run on the same data"
        )
    if kept > ipc:
        raise InvalidInput(f"the earlier run has {kept} images per class, more than the {ipc} asked for; ask for {kept} or more")
    if kept < ipc:
        decoder.require_fit(real.shape)
        require_members(real, ipc, decoder.each)
    return kept


def _continue(real: RealData, ipc: int, seed: int, earlier: Tensor, decoder: Decoder) -> Tensor:
    kept = check_earlier(real, ipc, earlier, decoder)
    if kept == ipc:
        return earlier.clone()
    chosen = torch.cat(random.select(real, ipc * decoder.each, seed))
    images: Tensor = encoded(real, chosen, decoder).unflatten(0, (len(real.classes), ipc))
    images[:, :kept] = earlier.unflatten(0, (len(real.classes), kept))
    return images.flatten(0, 1)
