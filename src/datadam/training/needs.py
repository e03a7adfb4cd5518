"""What must exist before the first iteration of a run: networks that are trained, or looked through, first.

`prepare` makes it, or finds it where an earlier run has left it, and `cost` says beforehand what making it counts.
"""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from datadam import machine, nets
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput, UnknownName
from datadam.files.kept import folder_of, made_once
from datadam.training.curriculum import Curriculum
from datadam.training.experts import Experts
from datadam.training.flat import Flat
from datadam.training.generators import Workshop
from datadam.training.insight import Insight
from datadam.training.make_experts import as_kept, bytes_of, make_experts
from datadam.training.making import seconds_of
from datadam.training.pool import Bucket, about, open_bucket
from datadam.training.pretrain import make_pool
from datadam.training.trainer import Training
from datadam.where import Where
from datadam.wording import size

Networks = Literal["random", "pool", "own", "experts", "insight", "generator", "none"]
Progress = Callable[[str, int, int | None], None]
TRAINED_FIRST = ("pool", "experts")
MEASURED = 500  # held-out images that tell how far a network of a pool is: each measuring costs as much as a few steps
PASSES = 3  # forward passes that a training step counts for an image
LOOK = {"el2n": 1, "grand": PASSES}  # and a look at its difficulty


@dataclass(frozen=True)
class Needs:
    """Arguments: `networks`: "random" weights; a "pool" or "experts", trained on the real set; "insight", for choosing images;
    "generator", trained by the method itself; "own", trained on the way; "none"; `training` and `count`, how and how many are
    trained first; of experts also `flat` and `curriculum`, as `make_experts` has them.

    Raises `InvalidInput` where trainings are asked for and not said, or said and not asked for.
    """

    networks: Networks = "random"
    training: Training | None = None
    count: int = 0
    flat: Flat | None = None
    curriculum: Curriculum | None = None

    def __post_init__(self) -> None:
        if self.networks not in get_args(Networks):
            raise UnknownName("networks", self.networks, get_args(Networks))
        said = self.training is not None and self.count >= 1
        idle = self.training is None and self.count == 0
        if self.networks in TRAINED_FIRST and not said:
            raise InvalidInput(f"networks is {self.networks!r}; say training and count, of at least 1")
        if self.networks not in TRAINED_FIRST and not idle:
            raise InvalidInput(f"networks is {self.networks!r}, for which none are trained first; leave training and count out")
        if self.networks != "experts" and (self.flat or self.curriculum):
            raise InvalidInput(f"networks is {self.networks!r}; flat and curriculum are of experts alone")


def cost(needs: Needs, images: int) -> float:
    """Forward passes of one image that making it counts, for so many training `images`, when nothing of it is kept.

    Of "insight" this is 0: a method says itself what its choice rests on (`Method.behind`), and only that is ever made.
    """
    if not needs.training:
        return 0.0
    curriculum, epochs = needs.curriculum, needs.training.epochs
    seen = sum(curriculum.count(epoch, [images]) for epoch in range(epochs)) if curriculum else epochs * images
    ranking = curriculum.averaged * (PASSES * curriculum.looked + LOOK[curriculum.by]) * images if curriculum else 0
    return float(PASSES * seen * needs.count * (2 if needs.flat else 1) + ranking)


def prepare(
    needs: Needs, real: RealData, *, net: str, seed: int, precision: str = "float32", device: str = "cpu",
    progress: Progress | None = None,
) -> Bucket | Experts | Insight | Workshop | None:  # fmt: skip
    """What a run needs before its first iteration, made now or found.

    Arguments: `real`, the data, whitened as the run will see them; `net`; `seed`, the run's; `precision` of a pool's trainings,
    "float32" or "bfloat16" (with weights in float32); `device`; `progress(what, done, total)`, called after each
    step of a training.

    - "pool": a `Bucket` of all states that `count` networks pass through (see pretrain.py). Its pool lies in the cache, under
      data, whitening, network, seed, training, count and what computes; two processes that want the same one make it once. It is
      gone on with after an interruption, within a network too, and a damaged one is made again. The augmentation "dsa" is what
      the data allow of it.
    - "experts": `Experts`, of `count` networks with their weights after each epoch, kept, gone on with and mended likewise.
    - "insight": an `Insight`, which trains nothing before it is asked something.
    - "generator": a `Workshop`, in which the method trains one, of this `precision` ("float64" too).
    - all others: None.

    Raises `InvalidInput` when the cache cannot be written or the data give no pool, `RunFailed` when a training fails.
    """
    net = nets.canonical(net, real.shape)
    if needs.networks == "insight":
        return Insight(real, seed, net, device, progress)
    if needs.networks == "generator":
        return Workshop(real, seed, device, precision, progress)
    if needs.networks in TRAINED_FIRST:
        return _trained(needs, real, net, seed, precision, device, progress)
    return None


def trained_seconds(given: object) -> float | None:
    """How long it took to train a pool or experts, all of them; None where that was not kept, or nothing was trained."""
    if isinstance(given, Bucket):
        return seconds_of(given.pool.folder, given.pool.networks)
    return seconds_of(given.folder, given.networks) if isinstance(given, Experts) else None


def _trained(
    needs: Needs, real: RealData, net: str, seed: int, precision: str, device: str, progress: Progress | None
) -> Bucket | Experts:  # fmt: skip
    assert needs.training is not None
    training, count = needs.training, needs.count
    if training.augment == "dsa":
        training = dataclasses.replace(training, augment=strategy_for(real.name, flips=real.flips))
    versions = {name: version for name, version in machine.versions().items() if name in ("datadam", "torch")}
    key = about(real, net) | {"training": dataclasses.asdict(training), "seed": seed, "count": count, "versions": versions}
    key |= {"device": torch.device(device).type, "precision": precision}
    more = {"optimizer": str(needs.flat) if needs.flat else None, "curriculum": as_kept(needs.curriculum)}
    key |= {name: value for name, value in more.items() if value}
    folder = folder_of("pools" if needs.networks == "pool" else "experts", key)
    if needs.networks == "experts":
        room, bytes_ = shutil.disk_usage(folder.parent).free, bytes_of(real, net, training.epochs, count)
        if bytes_ > room and not (folder / "index.json").exists():
            raise InvalidInput(
                f"{count} experts of {training.epochs} epochs take {size(bytes_)} on the disk, and {folder.parent} has "
                f"{size(room)} free; ask for fewer (count), or set DATADAM_CACHE to another folder"
            )

    def after_step(number: int, done: int, steps: int) -> None:
        if progress:
            progress(f"training network {number + 1} of {count}", done, steps)

    def made() -> Bucket | Experts:
        if needs.networks == "experts":
            experts = make_experts(
                real, folder, net, training, count, seed, device=device, precision=precision, flat=needs.flat,
                curriculum=needs.curriculum, after_step=after_step,
            )  # fmt: skip
            experts.check(deep=True)
            return experts
        make_pool(real, folder, net, training, count, seed, Where(device=device), after_step, precision, MEASURED)
        bucket = open_bucket(f"{folder}@0-100", real, net)
        assert bucket is not None
        bucket.check()
        return bucket

    return made_once(folder, made)
