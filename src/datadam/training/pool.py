"""Matching networks that are not random: states of networks trained on the real set, by accuracy (the paper's Table 7).

    POOL/index.json                            what the pool was made from and how, and one line for each state
    POOL/states/NNNNN-SSSSSSSS.safetensors     the weights of network N after S steps of training

A bucket is the states of a pool within a range of accuracy: "POOL@20-40" is those of at least 20 and less than 40 % (100 itself
belongs to a range that ends there). A run adds "#" and the bucket's digest, so that the recipe alone says which states it draws
from: the same number of a network gives the same state for as long as the recipe runs. pretrain.py makes pools.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError

from datadam import nets
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.files.whole import read_json
from datadam.nets import Network

FORMAT = "datadam-pool/1"
RANDOM = "random"
WIDTH = 20  # points of accuracy: how Table 7 cuts, and how pools are told
_NUMBER = r"(\d+(?:\.\d+)?)"
_SPEC = re.compile(rf"(.+)@{_NUMBER}-{_NUMBER}(?:#([0-9a-f]{{64}}))?", re.DOTALL)


class State(NamedTuple):
    """One state: of which network (from 0), after how many steps, its accuracy on held-out images, its file's SHA-256."""

    network: int
    step: int
    accuracy: float
    digest: str


class Range(NamedTuple):
    """A bucket by its name: the pool's folder, bounds in percent, and the digest that its states must have ("": any)."""

    folder: Path
    low: float
    high: float
    digest: str

    def holds(self, state: State) -> bool:
        """Whether the state's accuracy lies in the range."""
        percent = 100 * state.accuracy
        return self.low <= percent < self.high or (percent >= 100 and self.high >= 100)


@dataclass(frozen=True)
class Pool:
    """A folder of states. `about`: net, shape, classes, checksum, transform, training and seed; `networks`, how many are done."""

    folder: Path
    about: dict[str, Any]
    networks: int
    states: tuple[State, ...]

    @classmethod
    def read(cls, folder: Path) -> "Pool":
        """The pool of a folder, by its index. Raises `ArtifactError`."""
        if not (folder / "index.json").exists():
            raise ArtifactError(f"{folder} is no pool of networks; make one with: datadam pretrain DATA --out {folder}")
        index = read_json(folder / "index.json")
        try:
            if index["format"] != FORMAT:
                raise ValueError(f"its format is {index['format']!r}, this version reads {FORMAT!r}")
            states = tuple(State(*(line[name] for name in State._fields)) for line in index["states"])
            kinds = {"net": str, "shape": list, "classes": list, "checksum": str, "transform": dict}
            sound = all(type(s.network) is int and type(s.step) is int and 0 <= s.accuracy <= 1 for s in states)
            hashes = all(re.fullmatch("[0-9a-f]{64}", s.digest) for s in states)
            if not (sound and hashes and type(index["networks"]) is int):
                raise ValueError("a line of a state is damaged")
            if wrong := [name for name, kind in kinds.items() if not isinstance(index["about"][name], kind)]:
                raise ValueError(f"{', '.join(wrong)} cannot be read")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder / 'index.json'} is no index of a pool ({error}); make the pool again") from error
        return cls(folder, index["about"], index["networks"], states)

    def to_json(self) -> dict[str, Any]:
        """As kept in index.json."""
        states = [state._asdict() for state in self.states]
        return {"format": FORMAT, "about": self.about, "networks": self.networks, "states": states}

    def file(self, state: State) -> Path:
        """Where a state lies."""
        return self.folder / "states" / f"{state.network:05d}-{state.step:08d}.safetensors"

    def counts(self) -> dict[str, int]:
        """How many states each fifth of the accuracies holds, by its range: {"0-20": 12, ...}."""
        cuts = [Range(self.folder, low, low + WIDTH, "") for low in range(0, 100, WIDTH)]
        return {f"{cut.low:g}-{cut.high:g}": sum(map(cut.holds, self.states)) for cut in cuts}


@dataclass(frozen=True)
class Bucket:
    """The states that a run draws its matching networks from."""

    pool: Pool
    range: Range
    states: tuple[State, ...]

    @property
    def spec(self) -> str:
        """The bucket in one word, with its digest."""
        digest = hashlib.sha256("".join(state.digest for state in self.states).encode()).hexdigest()
        return f"{self.range.folder.resolve()}@{self.range.low:g}-{self.range.high:g}#{digest}"

    def fill(self, network: Network, generator: torch.Generator) -> None:
        """Give the network the weights of one state, uniform over the bucket. Raises `ArtifactError`."""
        self._load(network, self._drawn(self.states, generator))

    def fill_between(self, network: Network, generator: torch.Generator) -> None:
        """Give the network weights on the line between two states of one trained network: the first uniform over the bucket, the
        other over those of the same network, the place uniform. Raises `ArtifactError`."""
        first = self._drawn(self.states, generator)
        other = self._drawn(tuple(state for state in self.states if state.network == first.network), generator)
        place = float(torch.rand((), generator=generator))
        self._load(network, first)
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self._load(network, other)
        for name, tensor in network.state_dict().items():  # the network's own memory
            if tensor.is_floating_point():  # counts of batches stay those of the other
                tensor.lerp_(weights[name], 1 - place)

    @staticmethod
    def _drawn(states: tuple[State, ...], generator: torch.Generator) -> State:
        return states[int(torch.randint(len(states), (), generator=generator))]

    @property
    def ends(self) -> tuple[State, ...]:
        """The last state of each network."""
        return tuple({state.network: state for state in sorted(self.states, key=lambda state: state.step)}.values())

    def networks(self, states: tuple[State, ...] | None = None) -> Iterator[Network]:
        """Each of some states (None: all) as a network of its own. Raises `ArtifactError`."""
        about = self.pool.about
        for state in self.states if states is None else states:
            network = nets.build(about["net"], shape=tuple(about["shape"]), classes=len(about["classes"]))
            self._load(network, state)
            yield network

    def check(self) -> None:
        """Raise `ArtifactError` unless every file is what the index says."""
        for state in self.states:
            self._content(state)

    def _load(self, network: Network, state: State) -> None:
        content = self._content(state)
        try:
            network.load_state_dict(safetensors.torch.load(content))
        except (RuntimeError, SafetensorError) as error:
            raise self._damaged(state, error) from error

    def _content(self, state: State) -> bytes:
        try:
            content = self.pool.file(state).read_bytes()
        except OSError as error:
            raise self._damaged(state, error) from error
        if hashlib.sha256(content).hexdigest() != state.digest:
            raise self._damaged(state, "it is not what the index says")
        return content

    def _damaged(self, state: State, why: object) -> ArtifactError:
        path = self.pool.file(state)
        return ArtifactError(f"{path} does not hold the network that was kept there ({why}); make the pool again")


def parse(networks: str) -> Range | None:
    """The bucket that a recipe's `networks` names; None for "random". Raises `InvalidInput`."""
    if networks == RANDOM:
        return None
    match = _SPEC.fullmatch(networks)
    if not match or not 0 <= float(match[2]) < float(match[3]) <= 100:
        raise InvalidInput(
            f"networks is {networks!r}; it must be {RANDOM!r}, or a pool's folder and a range of accuracy within 0-100 %, "
            "such as pools/mnist@20-40"
        )
    return Range(Path(match[1]).expanduser(), float(match[2]), float(match[3]), match[4] or "")


def open_bucket(networks: str, real: RealData, net: str) -> Bucket | None:
    """The bucket that `networks` names, for matching on these data (whitened as they will be) with this net; None for "random".

    Raises `InvalidInput` when the pool does not fit or the bucket is empty, `ArtifactError` when it is damaged or has changed
    since `networks` was written.
    """
    wanted = parse(networks)
    if wanted is None:
        return None
    pool = Pool.read(wanted.folder)
    require_same(pool.about, real, net, f"pool {wanted.folder} was", "datadam pretrain")
    states = tuple(state for state in pool.states if wanted.holds(state))
    if not states:
        held = ", ".join(f"{count} of {cut} %" for cut, count in pool.counts().items() if count) or "none at all"
        raise InvalidInput(
            f"the pool {wanted.folder} has no state of {wanted.low:g}-{wanted.high:g} % accuracy; it holds {held}. "
            "Name another range, or train more networks or for longer (--count, --epochs)"
        )
    if missing := [str(path) for state in states if not (path := pool.file(state)).exists()]:
        raise ArtifactError(f"{missing[0]} and {len(missing) - 1} more files of the pool are gone; make the pool again")
    bucket = Bucket(pool, wanted, states)
    if wanted.digest and not bucket.spec.endswith(wanted.digest):
        raise ArtifactError(
            f"the bucket {wanted.low:g}-{wanted.high:g} % of {wanted.folder} has changed since this run began, so the same "
            "networks cannot be drawn again; put the pool back as it was, or begin a new run"
        )
    return bucket


def about(real: RealData, net: str) -> dict[str, Any]:
    """What a pool and a run that draws from it must have in common, as JSON knows it; `net` in its canonical spelling."""
    return {
        "net": net, "shape": list(real.shape), "classes": list(real.classes), "checksum": real.checksum,
        "transform": real.transform.to_card(),
    }  # fmt: skip


def require_same(kept: dict[str, Any], real: RealData, net: str, who: str, verb: str) -> None:
    """Raise `InvalidInput` unless networks of which this is `kept` were made for these data and this net.

    Arguments: `who`, with its verb, such as "pool pools/mnist was"; `verb`, the command that makes such networks.
    """
    faults = [f"{name} {_words(kept[name])}, this run has {_words(value)}" for name, value in about(real, net).items()
              if kept[name] != value]  # fmt: skip
    if faults:
        zca = (real.transform.to_card()["zca"] or {"variant": "none"})["variant"]
        alike = f" --normalisation {word}" if (word := real.options.get("normalisation", "own")) != "own" else ""
        cure = f"make {'a pool' if 'pretrain' in verb else 'others'} with: {verb} DATA --net {net}{alike} --zca {zca} --out ..."
        raise InvalidInput(f"the {who} made for another run: {'; '.join(faults)}; {cure}")


def _words(value: object) -> str:
    if isinstance(value, dict) and "zca" in value:
        numbers = "; ".join(f"{name} {', '.join(f'{n:.4g}' for n in value[name])}" for name in ("mean", "std"))
        return f"with whitening {(value['zca'] or {'variant': 'none'})['variant']} ({numbers})"
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
