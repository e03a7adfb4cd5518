"""Experts: networks trained on the whole real set, with their weights after each epoch, for methods that match trajectories.

    EXPERTS/index.json                   what they were made from and how, and a checksum for each file
    EXPERTS/states/NNNNN.safetensors     "epochs" [E + 1, P]: the weights of expert N before training and after each epoch

The P weights of a network lie in the order of its parameters; what batch norm remembers of its images is not kept. A recipe names
a folder of experts as "experts:FOLDER"; a run adds "#" and their digest, so that it goes on with the same ones or not at all.

Letters: E epochs, P weights.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from datadam import nets
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.files.whole import read_json
from datadam.nets import Network
from datadam.training.pool import require_same

FORMAT = "datadam-experts/1"
FORMS = {"float32": torch.float32, "float16": torch.float16}
NAMED = "experts:"
STAMPS = "epochs"
MADE_AGAIN = "make the experts again"


@dataclass(frozen=True)
class Experts:
    """A folder of experts. `about`: net, shape, classes, checksum, transform, training, seed, form and weights (P); `digests`, a
    SHA-256 of each file."""

    folder: Path
    about: dict[str, Any]
    digests: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "Experts":
        """The experts of a folder, by its index. Raises `ArtifactError`."""
        if not (folder / "index.json").exists():
            raise ArtifactError(f"{folder} holds no experts; make some with: datadam experts DATA --out {folder}")
        index = read_json(folder / "index.json")
        try:
            if index["format"] != FORMAT:
                raise ValueError(f"its format is {index['format']!r}, this version reads {FORMAT!r}")
            found, digests = index["about"], tuple(index["experts"])
            kinds = {"net": str, "shape": list, "classes": list, "checksum": str, "transform": dict, "training": dict,
                     "form": str, "weights": int}  # fmt: skip
            if wrong := [name for name, kind in kinds.items() if type(found[name]) is not kind]:
                raise ValueError(f"{', '.join(wrong)} cannot be read")
            if type(found["training"]["epochs"]) is not int or found["form"] not in FORMS:
                raise ValueError("epochs or form cannot be read")
            if not all(isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
                raise ValueError("the checksum of an expert is damaged")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder / 'index.json'} is no index of experts ({error}); {MADE_AGAIN}") from error
        return cls(folder, found, digests)

    def to_json(self) -> dict[str, Any]:
        """As kept in index.json."""
        return {"format": FORMAT, "about": self.about, "experts": list(self.digests)}

    def to_card(self) -> dict[str, Any]:
        """What a run that follows them says of them."""
        how = {name: value for name in ("optimizer", "curriculum") if (value := self.about.get(name))}
        return {"networks": self.networks, "epochs": self.epochs, **how}

    @property
    def networks(self) -> int:
        """How many there are."""
        return len(self.digests)

    @property
    def epochs(self) -> int:
        """E."""
        found: int = self.about["training"]["epochs"]
        return found

    @property
    def spec(self) -> str:
        """The experts in one word, with their digest, for a recipe."""
        return f"{NAMED}{self.folder.resolve()}#{hashlib.sha256(''.join(self.digests).encode()).hexdigest()}"

    def file(self, expert: int) -> Path:
        """Where an expert lies."""
        return self.folder / "states" / f"{expert:05d}.safetensors"

    def weights(self, expert: int, *epochs: int) -> tuple[Tensor, ...]:
        """The weights [P] of an expert after some numbers of epochs, float32. Raises `ArtifactError`."""
        try:
            with safe_open(self.file(expert), framework="pt") as file:  # anew each time: what was read through a mapping stays
                rows = file.get_slice(STAMPS)
                return tuple(rows[epoch].to(torch.float32, copy=True) for epoch in epochs)  # copied as `read_tensors` does
        except (OSError, SafetensorError, ValueError, IndexError) as error:
            raise self._damaged(expert, error) from error

    def finished(self) -> Iterator[Network]:
        """Each expert after its last epoch, as a network of its own in training mode, in which batch norm looks at its batch."""
        about = self.about
        for expert in range(self.networks):
            network = nets.build(about["net"], shape=tuple(about["shape"]), classes=len(about["classes"]))
            vector_to_parameters(self.weights(expert, self.epochs)[0], network.parameters())
            yield network

    def check(self, *, deep: bool = False) -> None:
        """Raise `ArtifactError` unless every file is whole and has the right form; `deep`, unless each is what the index says."""
        shape = [self.epochs + 1, self.about["weights"]]
        for expert, digest in enumerate(self.digests):
            try:
                with safe_open(self.file(expert), framework="pt") as file:
                    rows = file.get_slice(STAMPS)
                    found, form = rows.get_shape(), rows[:1].dtype
                if found != shape or form != FORMS[self.about["form"]]:
                    raise ValueError(f"it holds {form} {found}, the index says {self.about['form']} {shape}")
                if deep and hashlib.sha256(self.file(expert).read_bytes()).hexdigest() != digest:
                    raise ValueError("it is not what the index says")
            except (OSError, SafetensorError, ValueError) as error:
                raise self._damaged(expert, error) from error

    def _damaged(self, expert: int, why: object) -> ArtifactError:
        return ArtifactError(f"{self.file(expert)} does not hold the expert that was kept there ({why}); {MADE_AGAIN}")


def parse(networks: str) -> tuple[Path, str] | None:
    """The folder and the digest ("": any) that a recipe's `networks` names; None where it names no experts. Raises
    `InvalidInput`."""
    if not networks.startswith(NAMED):
        return None
    match = re.fullmatch(rf"{NAMED}(.+?)(?:#([0-9a-f]{{64}}))?", networks, re.DOTALL)
    if not match:
        raise InvalidInput(f"networks is {networks!r}; experts are named by their folder, such as experts:experts/cifar10")
    return Path(match[1]).expanduser(), match[2] or ""


def open_experts(networks: str, real: RealData, net: str, epochs: int) -> Experts | None:
    """The experts that `networks` names, for matching on these data (whitened as they will be) with this net, where a method
    follows them for so many `epochs`; None where it names none.

    Raises `InvalidInput` when they do not fit, `ArtifactError` when they are damaged, or have changed since `networks` was
    written.
    """
    wanted = parse(networks)
    if wanted is None:
        return None
    folder, digest = wanted
    experts = Experts.read(folder)
    require_same(experts.about, real, net, f"experts in {folder} were", "datadam experts")
    if not experts.networks:
        raise InvalidInput(f"{folder} holds no finished expert; go on with the command that began it")
    if experts.epochs < epochs:
        raise InvalidInput(
            f"the experts in {folder} were trained for {experts.epochs} epochs, and the window of this run reaches to epoch "
            f"{epochs}; make experts of at least {epochs} epochs, or let the method ask for fewer"
        )
    if digest and not experts.spec.endswith(digest):
        raise ArtifactError(
            f"the experts in {folder} have changed since this run began, so it cannot go on as it was; put them back as they "
            "were, or begin a new run"
        )
    experts.check()
    return experts
