"""Teachers: networks trained on the whole real set, whose answers become soft labels of a distilled one.

Letters: M images, K classes, T teachers.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.machine import images_at_once
from datadam.nets import Network, canonical
from datadam.training.insight import Insight, Progress
from datadam.training.pool import Pool, open_bucket, parse
from datadam.training.trainer import Training

EPOCHS = 30
COUNT = 3


def teacher_logits(images: Tensor, networks: Iterable[Network]) -> Tensor:
    """The mean over teachers of their logits, float32 [M, K].

    Arguments: `images` [M, C, H, W] in network space; `networks`, T of them of K classes, on any device and in any precision,
    asked one after the other in evaluation mode, a part of the images at a time; each is left in the mode it came in.
    Raises `InvalidInput` when no network comes.
    """
    total, teachers = torch.zeros((), dtype=torch.float64), 0
    for network in networks:
        weight, training = next(network.parameters()), network.training
        network.eval()
        parts = images.split(images_at_once((images.shape[1], images.shape[2], images.shape[3]), str(weight.device)))
        with torch.no_grad():  # here alone: the next network may be trained when it is asked for
            logits = torch.cat([network(part.to(weight.device, weight.dtype)).double().cpu() for part in parts])
        network.train(training)
        total, teachers = total + logits, teachers + 1
    if not teachers:
        raise InvalidInput("no teacher came; give one or more networks")
    return (total / teachers).float()


def teachers(
    teacher: str,
    real: RealData,
    *,
    epochs: int | None = None,
    count: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Iterator[Network]:
    """The networks that a word names, in evaluation mode, one after the other: for `teacher_logits`.

    Arguments: `teacher`, a range of a pool such as "pools/mnist@60-100", of which every state teaches, or a network to train now,
    such as "convnet3"; `real`, the data in the space of the images that are taught about; `epochs` (None: 30) and `count` (None:
    3) of those trained now on the whole training part, as students are, with all of the data's augmentation; `seed`; `device`;
    `progress(what, done, total)`. What is trained is kept in the cache, and an interrupted training is gone on with.
    Raises, before anything is trained, `InvalidInput` for a pool that does not fit and for settings that have no use,
    `ArtifactError` for a damaged one.
    """
    if "@" in teacher:
        if epochs is not None or count is not None:
            raise InvalidInput(
                "the networks of a pool are trained already; leave epochs and count out, or name a network to train"
            )
        return _of_pool(teacher, real, device)
    training = Training(epochs=EPOCHS if epochs is None else epochs, augment=strategy_for(real.name, flips=real.flips))
    number = COUNT if count is None else count
    if number < 1:
        raise InvalidInput(f"count is {number}; it must be at least 1")
    insight = Insight(real, seed, canonical(teacher, real.shape), device, progress)
    return (insight.trained(training, i) for i in range(number))


def _of_pool(word: str, real: RealData, device: str) -> Iterator[Network]:
    wanted = parse(word)
    assert wanted is not None
    bucket = open_bucket(word, real, Pool.read(wanted.folder).about["net"])
    assert bucket is not None
    return (network.to(device).eval() for network in bucket.networks())
