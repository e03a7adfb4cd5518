"""Recipe: everything that decides the synthetic images, in one frozen object that a card can hold and rebuild."""

import dataclasses
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from typing import Any, get_args, get_type_hints

from datadam import nets
from datadam.arithmetic import ASKED
from datadam.augment.siamese import STRATEGY, operations
from datadam.data import RealData
from datadam.data.field import NORMALISATIONS
from datadam.distillation.nested import usual_ladder
from datadam.distillation.optimisers import BUFFERS
from datadam.errors import CannotDo, DatadamError, InvalidInput, UnknownName, noting
from datadam.evaluation.protocols import CATALOG as PROTOCOLS
from datadam.methods import Method
from datadam.methods.base import Group
from datadam.methods.catalog import CATALOG as METHODS
from datadam.methods.catalog import method_named
from datadam.methods.networks import NETWORK_BATCH, OnTheWay
from datadam.sets.card import of_today
from datadam.sets.decoders import decoder_named
from datadam.settings import finite, refuse, require
from datadam.training import experts
from datadam.training.pool import RANDOM, parse
from datadam.training.trainer import Training

ZCA = ("none", "kornia", "official")
TRAINED = ("drawn", "between")
PRESETS_OF = {
    "paper": "datadam",
    "official": "datadam",
    "course-mnist": "datadam",
    "course-mhist": "datadam",
    "calm-quick": "calm",
    "calm-long": "calm",
    "mtt-quick": "mtt",
}
"""The method of each preset that has not its name."""
OF_NETWORKS = ("networks", "init", "iterations_per_network", "network_steps", "network_epochs", "network_augment")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method and how it is run.

    Arguments (the paper's symbol): `method`; `ipc` (IPC), images per class; `net`, the matching network; `iterations` (I);
    `batch_real` (B), real images per class and iteration; `lr_images` (eta_S) and `momentum` (beta_1 of Adam) of the
    `optimizer` ("sgd", "adam", "adamw", "lamb") on the images; `decoder`, from stored to training images (sets/decoders.py);
    `start`, the first images; `augment`, words of the Siamese augmentation; `normalisation` (data/field.py) and `zca`, whitening,
    of the data; `init`, distribution of the weights; `networks`, "random", a bucket of trained ones, "POOL@20-40" (see
    training/pool.py), or for a method that follows experts "experts:FOLDER" (training/experts.py; "random": its own are made
    first); `iterations_per_network`, iterations that share a drawn network; `network_steps` training steps, or `network_epochs`
    passes, of the network over the synthetic set in batches of 256, when it is "drawn" or "between" image steps (`network_when`),
    by SGD with `network_lr`, `network_momentum` (begun anew each time), `network_decay` and the augmentation `network_augment`;
    `real_every`, iterations in a row that share network, real images and augmentation, so that the real side is computed once
    for them; `batch_synthetic`, training images of each class of the synthetic set that an iteration looks at, another draw each
    time (0: all); `nested`, prefixes of the set that are to be good by themselves, one of which is drawn for each iteration
    (nested.py): () for none, None for the usual ladder 1, 2, 5, 10, ... up to `ipc`; `seed`; `precision`; `protocol`, how the
    result is judged unless asked otherwise; `preset`, where the settings came from ("" where that was a preset of another
    method). Raises `InvalidInput` with every wrong setting at once; `CannotDo`, which is one, when all is right but for this
    method.
    """

    method: Method
    ipc: int
    net: str = "auto"
    iterations: int = 8000
    batch_real: int = 256
    lr_images: float = 1.0
    momentum: float = 0.5
    optimizer: str = "sgd"
    decoder: str = "plain"
    start: str = "real"
    augment: str = STRATEGY
    normalisation: str = "own"
    zca: str = "none"
    init: str = "default"
    networks: str = "random"
    iterations_per_network: int = 1
    network_steps: int = 0
    network_epochs: int = 0
    network_lr: float = 0.01
    network_momentum: float = 0.9
    network_decay: float = 5e-4
    network_augment: str = "none"
    network_when: str = "drawn"
    real_every: int = 1
    batch_synthetic: int = 0
    nested: tuple[int, ...] | None = ()
    seed: int = 0
    precision: str = "float32"
    protocol: str = "honest"
    preset: str = ""

    def __post_init__(self) -> None:
        made_for = PRESETS_OF.get(self.preset, self.preset if self.preset in METHODS else self.method.name)
        if made_for != self.method.name:  # replace(recipe, method=another): these are not that preset's settings any more
            object.__setattr__(self, "preset", "")
        faults: list[str] = []
        unfit: list[str] = []  # for this method
        for name, least in (
            ("ipc", 1),
            ("iterations", 0),
            ("batch_real", 1),
            ("iterations_per_network", 1),
            ("real_every", 1),
            ("batch_synthetic", 0),
            ("network_steps", 0),
            ("network_epochs", 0),
        ):
            value = getattr(self, name)
            require(type(value) is int and value >= least, f"{name} is {value!r}; it must be a whole number >= {least}", faults)
        require(type(self.seed) is int, f"seed is {self.seed!r}; it must be a whole number", faults)
        for name in ("lr_images", "network_lr"):
            value = getattr(self, name)
            require(finite(value) and value > 0, f"{name} is {value!r}; it must be a number > 0", faults)
        for name in ("momentum", "network_momentum", "network_decay"):
            value = getattr(self, name)
            require(finite(value) and 0 <= value < 1, f"{name} is {value!r}; it must lie in [0, 1)", faults)
        for name, allowed in (
            ("optimizer", tuple(BUFFERS)), ("precision", ASKED), ("normalisation", tuple(NORMALISATIONS)), ("zca", ZCA),
            ("network_when", TRAINED), ("init", tuple(nets.INITS)), ("protocol", tuple(PROTOCOLS)),
        ):  # fmt: skip
            value = getattr(self, name)
            require(value in allowed, f"{name} is {value!r}; allowed: {', '.join(allowed)}", faults)
        follows = self.method.needs.networks == "experts"
        with noting(faults):
            names = experts.parse(self.networks) is not None
            require(
                names == follows or (follows and self.networks == RANDOM),
                f"networks is {self.networks!r}; {self.method.name} "
                + ("follows experts: write experts:FOLDER, or leave it out, and they are made first" if follows else
                   "follows no experts: name a range of a pool, such as pools/mnist@20-40, or leave it out"),
                unfit,
            )  # fmt: skip
            trained = follows or (not names and parse(self.networks) is not None)
            which = "experts" if follows else f"networks={self.networks}"
            require(
                not trained or self.init == "default",
                f"init={self.init} is about random weights, and {which} are trained; leave one of them out",
                faults,
            )
        with noting(faults):
            decoder_named(self.decoder)
        for words in dict.fromkeys((self.augment, self.network_augment)):
            try:
                operations(words)
            except DatadamError as error:
                faults.append(str(error))
        require(
            self.precision != "bfloat16" or not self.method.real_gradient,
            f"{self.method.name} takes gradients on the real side, for which bfloat16 is too coarse; use precision=float32",
            unfit,
        )
        require(
            not (self.network_steps and self.network_epochs),
            "network_steps and network_epochs say the same thing in two ways; set one of them to 0",
            faults,
        )
        require(
            not (self.method.trains_networks or follows) or (not self.on_the_way and self.iterations_per_network == 1),
            f"{self.method.name} decides itself how long it trains a network and when it draws the next; leave network_steps=0, "
            "network_epochs=0, iterations_per_network=1",
            unfit,
        )
        asked = [f.name for f in fields(self) if f.name in OF_NETWORKS and getattr(self, f.name) != f.default]
        require(
            self.method.needs_network or not asked,
            f"{self.method.name} reads pixels and no network, so it has no use for {', '.join(asked)}; leave that out",
            unfit,
        )
        require(
            not (self.on_the_way and self.network_when == "between" and self.iterations_per_network == 1),
            "network_when=between trains a network between the iterations that share it, and each has its own; "
            "raise iterations_per_network, or say network_when=drawn",
            faults,
        )
        require(
            self.real_every == 1 or self.method.streams,
            f"{self.method.name} has no class means of real images that several iterations could share; leave real_every=1",
            unfit,
        )
        require(
            self.batch_synthetic == 0 or self.method.streams,
            f"{self.method.name} looks at all synthetic images in each iteration; leave batch_synthetic=0",
            unfit,
        )
        if type(self.real_every) is type(self.iterations_per_network) is int and self.real_every > 1:
            require(
                self.iterations_per_network == 1 or self.iterations_per_network % self.real_every == 0,
                f"{self.iterations_per_network} iterations share a network and {self.real_every} the real side, which is that of "
                "one; make iterations_per_network a multiple of real_every, or leave it out",
                faults,
            )
        require(
            self.real_every == 1 or not self.on_the_way or not self.method.streams,
            "a network that trains on the way is another one in each iteration, and real_every shares it; leave one of them out",
            faults,
        )
        faults += self._faults_of_ladder() if self.nested else ()
        require(
            self.nested == () or not ("rate" in self.method.learns or self.method.at_once),
            f"{self.method.name} " + ("learns one rate of students for the whole set, and none for its prefixes" if
            "rate" in self.method.learns else "learns no images, whose prefixes could be made good") + "; leave nested out",
            unfit,
        )  # fmt: skip
        if self.method.at_once:
            does = "samples a generator" if self.method.samples else "chooses real images"
            require(
                self.iterations == 0 and self.start == "real",
                f"{self.method.name} {does} and learns nothing on the way: it needs iterations=0 and start='real'",
                unfit,
            )
        refuse(faults, unfit)

    def _faults_of_ladder(self) -> list[str]:
        ladder = self.nested or ()
        rises = all(a < b for a, b in pairwise((0, *ladder)))
        if rises and ladder[-1] == self.ipc:
            return []
        came = ", ".join(map(str, ladder))
        return [
            f"nested is {came}; write numbers from 1 on that rise up to ipc, {self.ipc}, such as nested=1,{self.ipc}, or auto"
        ]

    @property
    def ladder(self) -> tuple[int, ...]:
        """Images of each class in the prefixes that are learned, ascending; () where the whole set alone is."""
        return usual_ladder(self.ipc) if self.nested is None else self.nested

    @property
    def on_the_way(self) -> OnTheWay:
        """How drawn networks are trained on the synthetic set."""
        training = Training(
            batch=NETWORK_BATCH, lr=self.network_lr, momentum=self.network_momentum, weight_decay=self.network_decay,
            augment=self.network_augment,
        )  # fmt: skip
        return OnTheWay(steps=self.network_steps, epochs=self.network_epochs, when=self.network_when, training=training)

    @property
    def group(self) -> Group:
        """How the images are stepped."""
        return Group(tensors=("images",), rule=self.optimizer, lr=self.lr_images, momentum=self.momentum)  # type: ignore[arg-type]

    @property
    def each(self) -> int:
        """Training images of one stored image."""
        return decoder_named(self.decoder).each

    def counts(self, real: RealData) -> tuple[int, ...]:
        """Stored images of each class of the data."""
        return (self.ipc,) * len(real.classes)

    def to_card(self) -> dict[str, Any]:
        """The settings as JSON knows them; `from_card` rebuilds an equal recipe."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        card = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return card | {"method": {"name": self.method.name} | self.method.settings()}

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> "Recipe":
        """The recipe of a card. Raises `InvalidInput` for settings that are missing, unknown or wrong."""
        if not isinstance(card, dict) or not isinstance(card.get("method"), dict):
            raise InvalidInput("a recipe must be a mapping with a method in it; the card is damaged or from another program")
        card = of_today(card)
        method = dict(card["method"])
        kind = method_named(method.pop("name", None))
        if missing := {"ipc", "iterations", "net", "seed"} - set(card):
            raise InvalidInput(f"the recipe lacks {', '.join(sorted(missing))}; the card is damaged or from another program")
        return cls(**_known(cls, card | {"method": kind(**_known(kind, method))}))

    def change(self, settings: dict[str, Any]) -> "Recipe":
        """A copy with some settings changed: those of the recipe and those of its method, by name.

        Values may be text, as from a command line. Raises `InvalidInput` with every unknown or wrong one, or `CannotDo`.
        """
        own: dict[str, Any] = {}
        inner: dict[str, Any] = {}
        faults: list[str] = []
        unfit: list[str] = []
        names = {f.name for f in fields(self)} - {"method"}
        method_names = {f.name for f in fields(self.method)}
        for name, value in settings.items():
            try:
                if name in method_names:
                    inner[name] = convert(type(self.method), name, value)
                elif name in names:
                    own[name] = convert(type(self), name, value)
                else:
                    raise UnknownName("setting", name, names | method_names)
            except InvalidInput as error:
                faults.extend(error.faults)
        try:
            method = dataclasses.replace(self.method, **inner)
        except InvalidInput as error:
            faults.extend(error.faults)
            method = self.method
        try:
            changed = dataclasses.replace(self, method=method, **own)
        except CannotDo as error:
            unfit.extend(error.faults)
        except InvalidInput as error:
            faults.extend(error.faults)
        refuse(faults, unfit)
        return changed


def _known(cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    if unknown := sorted(set(settings) - names):
        raise UnknownName("setting", unknown[0], names, "The card is from another version or was changed.")
    try:
        return {name: convert(cls, name, value) for name, value in settings.items()}
    except TypeError as error:
        raise InvalidInput(f"a setting is of the wrong kind: {error}") from error


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of a class's fields; working them out anew takes longer than all else of a setting."""
    return get_type_hints(cls)


def convert(cls: type, name: str, value: Any) -> Any:
    """A setting's value from JSON, YAML or text, in the type that the field declares. Raises `InvalidInput`."""
    hint = _hints(cls)[name]
    if tuple[int, ...] in get_args(hint):
        return _numbers(name, value)
    try:
        if hint is int and not isinstance(value, bool) and float(value) == int(float(value)):
            return int(float(value)) if isinstance(value, str) else int(value)
        if hint is float and not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    if hint is str and not isinstance(value, str):
        raise InvalidInput(f"{name} is {value!r}; it must be text")
    if hint in (int, float):
        raise InvalidInput(f"{name} is {value!r}; it must be {'a whole number' if hint is int else 'a number'}")
    return value


def _numbers(name: str, value: Any) -> tuple[int, ...] | None:
    """Whole numbers from text such as "1,2" or from a list; () for "()" or "none"; None for "auto"."""
    if value is None or value == "auto":
        return None
    value = "" if value == "none" else value
    parts = value.strip("()[] ").split(",") if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in parts if part != "")
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} is {value!r}; write block numbers such as 1,2, or none for no block, or auto") from None
