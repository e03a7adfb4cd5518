"""The audit from start to end: students, references, what they answer, what lies near.

What is compared and attacked are the images that students learn from: of a decoded set those that its stored images decode to.
Letters: M synthetic training images, N images, R references, K classes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datadam import machine, nets, parallel
from datadam.arithmetic import ASKED, settled
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.evaluation.evaluate import Progress, require_fit, source_of
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.files.whole import write_json, write_tensors
from datadam.nets import Network
from datadam.privacy import memorisation as near
from datadam.privacy.balance import balance
from datadam.privacy.membership import Answers, Attack, Ints, attacks, log_odds
from datadam.rng import stream
from datadam.sets.decoders import decoded
from datadam.sets.distilled import DistilledSet
from datadam.sets.kind import per_class
from datadam.training.kept_students import KeptStudents
from datadam.training.students import Rows, Source, Student, StudentTrainer, side_by_side

FORMAT = "datadam-audit/1"
STUDENTS, REFERENCES, EPOCHS, SAMPLES = 3, 4, 200, 2000


@dataclass(frozen=True)
class Audit:
    """What was measured: `found`, as audit.json holds it (see the package), and `tensors`, as audit.safetensors; `kept`, its
    networks on disk until it is saved."""

    found: dict[str, Any]
    tensors: dict[str, Tensor]
    kept: KeptStudents | None = field(default=None, repr=False, compare=False)

    def save(self, run: Path | str) -> None:
        """Write audit.safetensors and, last, audit.json into the run folder; the networks kept until now are removed."""
        write_tensors(Path(run) / "audit.safetensors", self.tensors)
        write_json(Path(run) / "audit.json", self.found)
        if self.kept:
            self.kept.forget()


def audit(
    distilled: DistilledSet,
    real: RealData,
    *,
    start: Tensor | None = None,
    net: str | None = None,
    protocol: Protocol | str = "honest",
    students: int = STUDENTS,
    references: int = REFERENCES,
    samples: int = SAMPLES,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    workers: int | None = 1,
    progress: Callable[[Progress], None] | None = None,
    keep: Path | None = None,
) -> Audit:
    """Measure what a set tells of the real images it was made from.

    Arguments: `distilled`; `real`, the data it was made from; `start`, in network space, the stored images it began with, where
    they are known; `net`, of the students (None: the one it was made with); `protocol`, a name (then of 200 epochs) or an
    object; `students` on the set, and as many on random real images; `references`, networks on other random real images, at
    least 2; `samples`, how many training and how many test images are asked about, at most; `seed`; `device`; `precision` and
    `workers` as `evaluate`; `progress`, called after each epoch of a network; `keep`, a folder where networks are kept until the
    audit is saved: called again after a kill, only those that were in progress are trained anew.
    Raises `InvalidInput`, before any work, when the data do not fit or give too few images.
    """
    device = machine.settle_device(device)
    protocol = protocol_named(protocol, epochs=EPOCHS) if isinstance(protocol, str) else protocol
    protocol.require_usual("an audit")
    if protocol.training.augment == "dsa":
        protocol = protocol.with_augment(strategy_for(real.name, flips=real.flips))
    check(distilled, real, start, students, references, samples, precision, workers)
    precision = settled(precision, device)
    real = replace(real, transform=distilled.transform)
    work = _Audit(distilled, real, nets.canonical(net or distilled.card["recipe"]["net"], real.shape), seed, device)
    began = time.monotonic()
    width = int(np.prod(real.shape))
    each = distilled.decoder.each
    asked = _Asked.draw(real, [each * count for count in distilled.counts], references, samples, seed)
    ours, began_with = distilled.training_images, None if start is None else decoded(distilled.decoder, start.float())
    synthetic, first = (None if x is None else distilled.transform.to_pixels(x).flatten(1) for x in (ours, began_with))
    assert synthetic is not None
    count = len(real.train)
    pixels = near.compare(
        near.pixels_of(real), count, width, synthetic=synthetic, start=first, train=asked.train,
        test=torch.from_numpy(np.array(real.test.pixels[asked.test])).flatten(1).float() / 255,
    )  # fmt: skip
    began_as = near.located(pixels.start, width) if pixels.start is not None else np.full(len(synthetic), -1)
    origin, kind = _origin(distilled, began_as, near.located(pixels.synthetic, width))
    taught, school, kept = work.teach(asked, protocol, students, precision, workers, progress, keep)
    networks = [work.network(one) for one in taught]
    membership = work.membership(asked, networks, students, origin, kind)
    every = torch.arange(len(ours))
    # The first reference never saw the set. Its real images are drawn by themselves: some may be start images, or the rival's.
    features, wide = work.features(networks[2 * students])
    space = near.compare(
        lambda chosen: features(chosen, real.images), count, wide, synthetic=features(every, ours.__getitem__),
        start=features(every, began_with.__getitem__) if began_with is not None else None, train=asked.train,
        test=features(torch.from_numpy(asked.test), lambda chosen: real.images(chosen, "test")),
    )  # fmt: skip
    closest = near.closest(pixels, space, distilled.training_numbers.numpy(), real.train.labels, began_as)
    card = distilled.card
    found = {
        "format": FORMAT,
        "run": {
            "of": _of(card), "net": work.net, "ipc": distilled.ipc, "images": len(distilled.labels),
            "labels": distilled.label_kind, "decoder": distilled.decoder.word, "training_images": len(ours),
            "stored_bytes": distilled.stored_bytes, "classes": list(real.classes), "data": real.name,
            "digest": card.get("digest"), "note": card.get("note", ""),
        },
        "settings": {
            "students": students, "references": references, "samples": samples, "protocol": _words(protocol),
            "training": protocol.to_card(), "seed": seed, "precision": precision,
            "features": f"embedding of {work.net}, trained on {_as_many(distilled)} random real images per class (a reference)",
        },
        "memorisation": {
            "pixels": pixels.to_json(),
            "features": space.to_json(),
            "copies": near.copies(pixels.synthetic, width),
            "start": near.start_report(pixels, space, synthetic, first, began_as) if first is not None else None,
            "closest": closest,
        },
        "membership": membership,
        "balance": {
            "distilled": balance([one.counts for one in taught[:students]], seed),
            "random": balance([one.counts for one in taught[students:]], seed),
        },
        "scores": None,
        "notes": _notes(distilled, start, began_as, origin, real, asked),
        "command": "",
        "seconds": round(time.monotonic() - began, 1),
        "made": {
            "threads": school.threads, "workers": work.workers, "hardware": machine.hardware(torch.device(device)),
            "versions": machine.versions(), "commit": machine.commit(), "created": machine.now(),
        },
    }  # fmt: skip
    return Audit(found, _tensors(distilled, real, pixels, space, origin, closest), kept)


def check(
    distilled: DistilledSet, real: RealData, start: Tensor | None, students: int, references: int, samples: int,
    precision: str = "float32", workers: int | None = 1,
) -> None:  # fmt: skip
    """Raise `InvalidInput` with every reason for which these cannot be audited; no work is done."""
    require_fit(distilled, real)
    faults = []
    if not len(real.test):
        faults.append("the data have no test part, and unseen real images are what all is held against; give one with --test")
    if len(real.classes) < 2:
        faults.append("the data have one class; what students answer about its images is always right and tells nothing")
    counts = [distilled.decoder.each * count for count in distilled.counts]
    scarcest = min(range(len(real.classes)), key=lambda k: len(real.by_class[k]) / counts[k])
    if (size := len(real.by_class[scarcest])) < 2 * (ipc := counts[scarcest]):
        stored = "" if distilled.decoder.each == 1 else f" ({distilled.counts[scarcest]} stored ones, decoded)"
        faults.append(
            f"class {real.classes[scarcest]!r} has {size} training images, and the set {ipc} a class{stored}; an audit compares "
            f"it with random real images and needs twice as many, at least {2 * ipc}"
        )
    if start is not None and (start.shape != distilled.images.shape or not start.isfinite().all()):
        faults.append("the start images are not finite numbers of the shape of the set; the snapshot is damaged")
    if students < 1:
        faults.append(f"students is {students}; it must be at least 1")
    if references < 2:
        faults.append(f"references is {references}; the attack by the likelihood ratio needs at least 2")
    if samples < 10:
        faults.append(f"samples is {samples}; it must be at least 10")
    if precision not in ASKED:
        faults.append(f"precision is {precision!r}; allowed: {', '.join(ASKED)}")
    if workers is not None and workers < 1:
        faults.append(f"workers is {workers}; it must be at least 1")
    if faults:
        raise InvalidInput(*faults)


@dataclass(frozen=True)
class _Asked:
    """Which real images are asked about (`train`, `test`) or learned from (`random`, `references`), by their indices."""

    train: Ints
    test: Ints
    random: Ints
    references: tuple[Ints, ...]

    @classmethod
    def draw(cls, real: RealData, counts: Sequence[int], references: int, samples: int, seed: int) -> "_Asked":
        """So many of each class [K], for each that learns."""

        def some(part: str, count: int) -> Ints:
            order = torch.randperm(count, generator=stream(seed, "audit", "asked", part))
            return np.sort(order[:samples].numpy())

        def subset(*what: str | int) -> Ints:
            drawn = []
            for name, members, count in zip(real.classes, real.by_class, counts, strict=True):
                order = torch.randperm(len(members), generator=stream(seed, "audit", *what, name))
                drawn.append(members[order[:count].numpy()])
            return np.concatenate(drawn)

        return cls(
            some("train", len(real.train)), some("test", len(real.test)), subset("random"),
            tuple(subset("reference", r) for r in range(references)),
        )  # fmt: skip


@dataclass
class _Audit:
    distilled: DistilledSet
    real: RealData
    net: str
    seed: int
    device: str
    workers: int = 1

    def teach(
        self, asked: _Asked, protocol: Protocol, students: int, precision: str, workers: int | None,
        progress: Callable[[Progress], None] | None, keep: Path | None,
    ) -> tuple[list[Student], StudentTrainer, KeptStudents | None]:  # fmt: skip
        """Students on the set, as many on random real images, one on each reference set: in this order."""
        real, sources = self.real, [source_of(0, self.distilled)]
        for number, chosen in enumerate((asked.random, *asked.references), 1):
            sources.append(Source(number, Rows(real.images(chosen).numpy()), real.train.labels[chosen]))
        school = StudentTrainer(
            self.net, tuple(sources), real.test, len(real.classes), real.transform, protocol.training, self.seed, self.device,
            precision, keep_weights=True,
        )  # fmt: skip
        items = [(s, number) for s in (0, 1) for number in range(students)]
        items += [(2 + r, 0) for r in range(len(asked.references))]
        self.workers, school.threads = side_by_side(school, len(items), workers)
        done, epochs = [0] * len(items), protocol.training.epochs

        def tell(item: int, epoch: int) -> None:
            done[item] = epoch
            if progress:
                student, last = divmod(sum(done) - 1, epochs)
                progress(Progress(student + 1, len(items), last + 1, epochs))

        kept = KeptStudents(keep, school, real.checksum) if keep else None
        return parallel.run(kept or school, items, workers=self.workers, report=tell), school, kept

    def network(self, student: Student) -> Network:
        """The student itself, in float32 and ready to be asked."""
        network = nets.build(self.net, shape=self.real.shape, classes=len(self.real.classes))
        network.load_state_dict({name: torch.from_numpy(value).float() for name, value in student.weights.items()})
        return network.to(self.device).eval()

    @torch.no_grad()
    def _asked(self, networks: Sequence[Network], chosen: Ints, part: Any) -> np.ndarray[Any, Any]:
        """Log-odds of the right class [networks, N] of some images [N] of a part."""
        answers: list[list[Tensor]] = [[] for _ in networks]
        labels = torch.from_numpy(self.real.part(part).labels)
        for some in torch.from_numpy(chosen).split(machine.images_at_once(self.real.shape, self.device)):
            x = self.real.images(some, part, device=self.device)
            for network, told in zip(networks, answers, strict=True):
                told.append(log_odds(network(x).cpu(), labels[some]))
        return np.stack([torch.cat(told).numpy() for told in answers])

    def membership(
        self, asked: _Asked, networks: Sequence[Network], students: int, origin: Ints, kind: str | None
    ) -> dict[str, Any]:
        """Both attacks on both groups of students, on training images at large and on those that each learned from."""
        own = np.unique(origin[origin >= 0])
        members = np.unique(np.concatenate([asked.train, asked.random, own]))
        out = np.stack([~np.isin(members, chosen) for chosen in asked.references])
        train, test = self._asked(networks, members, "train"), self._asked(networks, asked.test, "test")
        groups = {"distilled": slice(0, students), "random": slice(students, 2 * students)}
        sides = {
            ("distilled", "training"): asked.train, ("distilled", "own"): own,
            ("random", "training"): np.setdiff1d(asked.train, asked.random), ("random", "own"): asked.random,
        }  # fmt: skip
        found: dict[str, Any] = {name: {} for name in groups}
        for (group, side), chosen in sides.items():
            here = np.searchsorted(members, np.sort(chosen))
            unseen = np.ones((len(asked.references), test.shape[1]), dtype=bool)
            one = Answers(train[groups[group]][:, here], train[2 * students :][:, here], out[:, here])
            other = Answers(test[groups[group]], test[2 * students :], unseen)
            measured: dict[str, Attack | None] = attacks(one, other, self.seed, group, side) if len(chosen) else {}
            found[group][side] = {k: a.to_json() if a else None for k, a in measured.items()} or None
        return found | {"own_kind": kind}

    def features(self, network: Network) -> tuple[Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor], int]:
        """A function that gives the embeddings [n, D] under a network of images by their indices [n], and D."""
        batch = machine.images_at_once(self.real.shape, self.device)

        @torch.no_grad()
        def embed(chosen: Tensor, images: Callable[[Tensor], Tensor]) -> Tensor:
            parts = [network.features(images(some).to(self.device)).embedding.float().cpu() for some in chosen.split(batch)]
            return torch.cat(parts)

        return embed, embed(torch.zeros(1, dtype=torch.long), lambda some: torch.zeros(len(some), *self.real.shape)).shape[1]


def _as_many(distilled: DistilledSet) -> str:
    """As many images of a class as students of the set learn from, in words."""
    return per_class(distilled.card, distilled.decoder.each).rpartition(" ")[0]


def _of(card: dict[str, Any]) -> str:
    method = card["recipe"].get("method")
    name = str(method.get("name") if isinstance(method, dict) else method)
    return name if card["kind"] == "coreset" else "distilled"


def _words(protocol: Protocol) -> str:
    t = protocol.training
    return (
        f"{protocol.name}: {t.epochs} epochs, batch {t.batch}, {protocol.rule}, {t.falls}, augmentation {t.augment}; last epoch"
    )


def _origin(distilled: DistilledSet, began_as: Ints, copies: Ints) -> tuple[Ints, str | None]:
    """The training image [M] behind each image of the set (-1: unknown), and whether it is what the image began as or is.

    Arguments: the training images [M] that the start images are, and that the images of the set themselves are. A set that comes
    from elsewhere has no start; of real images it tells all the same which they are.
    """
    if (began_as >= 0).any():
        return began_as, "chosen" if distilled.card["kind"] == "coreset" else "start"
    return copies, "chosen" if (copies >= 0).any() else None


def _notes(
    distilled: DistilledSet, start: Tensor | None, began_as: Ints, origin: Ints, real: RealData, asked: _Asked
) -> list[str]:  # fmt: skip
    """What a reader must be told beside the numbers."""
    notes = []
    if distilled.decoder.each > 1:
        notes.append(
            f"images are those that {distilled.decoder.word} decodes the stored ones to, which is what students see: "
            f"{distilled.decoder.each} of each stored image, side by side"
        )
    if distilled.soft:
        notes.append("students of the set learn its soft labels, those of random real images class numbers")
    if start is None:
        notes.append("no start images are kept with the set, so nothing is told of them")
    elif not (began_as >= 0).any():
        shrunk = ", real images that were stored coarsely" if distilled.decoder.each > 1 else ""
        notes.append(f"none of the start images is a training image (noise, another whitening, or an earlier run{shrunk})")
    if not (began_as >= 0).any() and (origin >= 0).any():
        notes.append(f"{int((origin >= 0).sum())} images of the set are training images; those are asked about as its own")
    if len(asked.test) < 100:
        notes.append(f"{len(asked.test)} test images: below 100, 1 % false positives means none at all")
    if any("held out" in note for note in real.notes):
        notes.append("the test part was cut from the training images of the data by us")
    return notes


def _tensors(
    distilled: DistilledSet, real: RealData, pixels: near.Space, features: near.Space, origin: Ints, pairs: list[dict[str, Any]]
) -> dict[str, Tensor]:
    ours, theirs = ([pair[key] for pair in pairs] for key in ("image", "real"))
    return {
        "nearest_pixels": torch.from_numpy(pixels.synthetic.index),
        "nearest_features": torch.from_numpy(features.synthetic.index),
        "distance_pixels": torch.from_numpy(pixels.synthetic.distance),
        "distance_features": torch.from_numpy(features.synthetic.distance),
        "origin": torch.from_numpy(origin.astype(np.int64)),
        "closest_synthetic": (distilled.transform.to_pixels(distilled.training_images[ours]) * 255).round().to(torch.uint8),
        "closest_real": torch.from_numpy(np.array(real.train.pixels[theirs])),
    }
