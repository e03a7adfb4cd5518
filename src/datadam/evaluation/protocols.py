"""Protocols: how a distilled set is judged. Named, complete, and printed with every number."""

from dataclasses import dataclass, replace
from typing import Any

from datadam.errors import CannotDo, InvalidInput
from datadam.training.trainer import Training

USUAL_STUDENTS = 5  # of a set, unless the protocol has fewer or all are asked for
CHALLENGE = "eccv24"
CHALLENGED = 10  # images per class
CHALLENGERS = "convnet3"  # at 32x32 and at 64x64
RISING = 500  # steps in which the rate rises, of FRePo's students
RELEASED = ((301, 152), (1001, 502))
"""How long the released code of DC, DSA, DM and of those that took it over trains without and with augmentation, and where the
rate falls: "300" and "1 000" epochs count from 0 to 300 and 1 000, and the fall follows that of half plus one."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way to judge.

    Arguments: `name`; `students` a set and `sets` that the full protocol asks for; `training` of a student; `selects`, whether
    the best of several iterations is reported, chosen on the test set; `description` in words; `schedules`, epochs and the epoch
    after which the rate falls, without and with augmentation, where they differ; `learned_rate`, whether students take the rate
    that a set has learned, where it has one; `regress`, whether they learn by Adam on the squared error, learned labels as they
    are, and not by SGD on cross-entropy; `steps` of a student, by training images from which on so many are taken (None: as
    many epochs whatever the images).
    """

    name: str
    students: int
    sets: int
    training: Training
    description: str
    selects: bool = False
    schedules: tuple[tuple[int, int], tuple[int, int]] | None = None
    learned_rate: bool = False
    regress: bool = False
    steps: tuple[tuple[int, int], ...] | None = None

    @property
    def rule(self) -> str:
        """How students learn, in words."""
        return f"{'Adam on squared error' if self.regress else 'SGD'} {self.training.lr:g}"

    @property
    def usual_students(self) -> int:
        """How many students of a set are trained unless more are asked for."""
        return min(USUAL_STUDENTS, self.students)

    def departures(self, *, ipc: int | None, net: str, zca: bool) -> str:
        """How a set of so many images per class, and its students' network, are other than the protocol had them; "" for not."""
        if self.regress and "norm=none" not in net:
            return f"{self.name} judged networks without norm (--net {net.partition(':')[0]}:norm=none); here: {net}"
        if self.name != CHALLENGE:
            return ""
        found = [f"ipc {ipc}"] if ipc not in (CHALLENGED, None) else []
        found += ([net] if net != CHALLENGERS else []) + (["ZCA"] if zca else [])
        words = f"{self.name} judged {CHALLENGED} images per class, made without ZCA, on {CHALLENGERS} with instance norm; here"
        return f"{words}: {', '.join(found)}" if found else ""

    def with_epochs(self, epochs: int | None) -> "Protocol":
        """The same with other epochs, which then stay whatever the augmentation.

        A drop of the rate keeps its share of the training; "every15" stays every 15 epochs.
        """
        if epochs is None:
            return self
        if epochs < 1:
            raise InvalidInput(f"epochs is {epochs}; it must be at least 1")
        return replace(self._scaled(epochs), schedules=None, steps=None)

    def for_images(self, images: int) -> "Protocol":
        """The same for a set of so many training images, where their number decides the steps."""
        if self.steps is None:
            return self
        steps = [taken for least, taken in self.steps if least <= images] or [self.steps[0][1]]
        an_epoch = -(-images // self.training.batch)
        epochs, rising = -(-steps[-1] // an_epoch), max(1, -(-RISING // an_epoch))
        return replace(self, training=replace(self.training, epochs=epochs, drop_after=rising), steps=None)

    def require_usual(self, what: str) -> None:
        """Raise `CannotDo` unless students learn by SGD on cross-entropy, which is all that `what` knows."""
        if self.regress:
            raise CannotDo(f"{what} trains students by SGD on cross-entropy; judge by protocol {self.name} with datadam evaluate")

    def _scaled(self, epochs: int) -> "Protocol":
        if epochs == self.training.epochs:
            return self
        drop = self.training.drop_after
        scaled = None if drop is None else max(1, round(drop * epochs / self.training.epochs))
        return replace(self, training=replace(self.training, epochs=epochs, drop_after=scaled))

    def with_augment(self, augment: str | None) -> "Protocol":
        """The same with another augmentation of the students' images; switching it on or off may change the epochs."""
        if augment is None:
            return self
        changed = replace(self, training=replace(self.training, augment=augment))
        if self.schedules is None or (augment == "none") == (self.training.augment == "none"):
            return changed
        epochs, drop = self.schedules[augment != "none"]
        return replace(changed, training=replace(changed.training, epochs=epochs, drop_after=drop))

    def whole_set(self) -> "Protocol":
        """For the whole training set: one student of 100 epochs, the schedule scaled."""
        return replace(self.with_epochs(100), students=1, sets=1)

    def to_card(self) -> dict[str, Any]:
        """The settings as JSON knows them."""
        t = self.training
        return {
            "name": self.name, "students": self.students, "sets": self.sets, "selects": self.selects, "epochs": t.epochs,
            "batch": t.batch, "lr": t.lr, "momentum": t.momentum, "weight_decay": t.weight_decay, "schedule": t.schedule,
            "drop_after": t.drop, "fresh_optimizer": t.fresh_optimizer, "augment": t.augment,
            **({"learned_rate": True} if self.learned_rate else {}),
            **({"regress": True} if self.regress else {}),
        }  # fmt: skip


OF_DSA = Training(epochs=1001, drop_after=502, fresh_optimizer=True, augment="dsa")
"""The schedule of DSA's and DM's released code, with which others judge too."""

CATALOG = {
    "honest": Protocol(
        name="honest",
        students=20,
        sets=5,
        training=Training(epochs=1000, drop_after=500, augment="dsa"),
        description="1 000 epochs, rate x0.1 after half, momentum kept; last iterate, last epoch; nothing chosen on the test set",
    ),
    "dsa": Protocol(
        name="dsa",
        students=20,
        sets=5,
        training=OF_DSA,
        description="released code of DSA and DM, with --augment none of DC: 1 001 or 301 epochs, momentum lost at the fall",
        schedules=RELEASED,
    ),
    "paper": Protocol(
        name="paper",
        students=20,
        sets=5,
        training=Training(epochs=1000, schedule="every15", augment="dsa"),
        description="DataDAM's Table 10 taken literally: rate x0.5 every 15 epochs; expect low numbers",
    ),
    "official": Protocol(
        name="official",
        students=10,
        sets=1,
        training=Training(epochs=1801, batch=64, drop_after=902, fresh_optimizer=True, augment="dsa"),
        description="DataDAM's released code; also gives the best iteration, selected on the test set",
        selects=True,
    ),
    "dc-bench": Protocol(
        name="dc-bench",
        students=5,
        sets=1,
        training=OF_DSA,
        description="as DC-Bench judges: 301 epochs with --augment none; else 1 001 with dsa, autoaugment or randaugment",
        schedules=RELEASED,
    ),
    "mtt": Protocol(
        name="mtt",
        students=5,
        sets=1,
        training=OF_DSA,
        description="MTT's released code: students learn at the rate that the set has learned; the last iterate, not the best",
        learned_rate=True,
    ),
    "frepo": Protocol(
        name="frepo",
        students=5,
        sets=1,
        training=Training(epochs=2000, batch=500, lr=3e-4, weight_decay=0.0, schedule="cosine", drop_after=RISING, augment="dsa"),
        description="FRePo's released code: Adam on the squared error to the learned labels, 1 000 to 40 000 steps by the images",
        regress=True,
        steps=((10, 1000), (100, 2000), (200, 20_000), (400, 5000), (1000, 10_000), (2000, 40_000)),
    ),
    "eccv24": Protocol(
        name="eccv24",
        students=3,
        sets=1,
        training=OF_DSA,
        description="as the ECCV 2024 challenge judged 10 images per class; convnet3 and no ZCA are yours to choose",
    ),
}
