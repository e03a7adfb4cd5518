"""Panel: who judges a set, and by which rules."""

from dataclasses import dataclass, replace

from datadam import nets
from datadam.arithmetic import ASKED
from datadam.augment.policies import check_words
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput, UnknownName
from datadam.evaluation.protocols import CATALOG, Protocol


def protocol_named(name: str, *, epochs: int | None = None, augment: str | None = None) -> Protocol:
    """A protocol by name, with other epochs or another augmentation. Raises `UnknownName`, `InvalidInput`.

    `augment`: words such as "color_crop", "none", "dsa" for all operations (for digits all but flip), or a policy
    ("autoaugment", "randaugment"). A protocol may train for longer with augmentation than without; `epochs` goes first.
    """
    if name not in CATALOG:
        raise UnknownName("protocol", name, CATALOG)
    if augment not in (None, "dsa"):
        check_words(augment)
    return CATALOG[name].with_augment(augment).with_epochs(epochs)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Who judges: `students` of `net`, by `protocol`.

    Arguments: `net`, the students' network (None: the one the set was made with); `protocol`, a name or an object; `students` a
    set (None: 5, or all of a protocol that has fewer); `epochs` of each and `augment`, the augmentation of their images, instead
    of the protocol's (as `protocol_named`); `seed`, of the students' streams; `precision`: "float32", "float64",
    "bfloat16" for convolutions and products alone, or "auto", the faster one of the machine. Raises `InvalidInput` for numbers
    below 1 and unknown words.
    """

    net: str | None = None
    protocol: Protocol | str = "honest"
    students: int | None = None
    epochs: int | None = None
    augment: str | None = None
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.students is not None and self.students < 1:
            raise InvalidInput(f"students is {self.students}; it must be at least 1")
        if self.precision not in ASKED:
            raise InvalidInput(f"precision is {self.precision!r}; allowed: {', '.join(ASKED)}")

    def settled(self, real: RealData, net: str, *, whole: bool = False) -> "Panel":
        """With everything decided for these data: the canonical net (`net` where none was asked for), the protocol as an object
        (by name for the `whole` training set in its form for that), its augmentation in words, how many students."""
        protocol = self.protocol
        if isinstance(protocol, str):
            protocol = protocol_named(protocol).whole_set() if whole else protocol_named(protocol)
        if self.augment not in (None, "dsa"):
            check_words(str(self.augment))
        protocol = protocol.with_augment(self.augment).with_epochs(self.epochs)
        if protocol.training.augment == "dsa":
            protocol = protocol.with_augment(strategy_for(real.name, flips=real.flips))
        students = (1 if whole else protocol.usual_students) if self.students is None else self.students
        return replace(self, net=nets.canonical(self.net or net, real.shape), protocol=protocol, students=students)
