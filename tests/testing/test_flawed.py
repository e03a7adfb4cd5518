"""The exam finds what is wrong: methods with one flaw each, and the part that each fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import datadam
from datadam.data import RealData
from datadam.errors import ExamFailed, InvalidInput
from datadam.methods import GMMN, Cost, FeatureMatching, Group, Method, Random, Size, State
from datadam.methods.base import Parts
from datadam.methods.catalog import CATALOG
from datadam.methods.coresets.base import Coreset
from datadam.methods.draw import Draw
from datadam.nets import Features
from datadam.sets.synthetic import SyntheticSet
from datadam.testing import PARTS, Candidate, exam


@dataclass(frozen=True, kw_only=True)
class Sound(FeatureMatching):
    """Class means of the pixels, as `pixel` matches them."""

    strength: float = 1.0

    name: ClassVar[str] = "sound"
    description: ClassVar[str] = "for this test"
    citation: ClassVar[str] = ""
    needs_network: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise InvalidInput(f"strength is {self.strength}; it must be a number > 0")

    def descriptors(self, features: Features) -> list[Tensor]:
        return [features.pixels.flatten(1)]

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        return {"mmd": self.strength * (real[0] - synthetic[0]).square().sum(1)}


class Careless(Sound):
    """Takes any strength."""

    def __post_init__(self) -> None:
        pass


class Still(Sound):
    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        return {"mmd": super().terms(real, synthetic)["mmd"] * 1e-6}


class Wavers(Sound):
    def descriptors(self, features: Features) -> list[Tensor]:
        return [features.pixels.flatten(1) * torch.rand(1, dtype=features.pixels.dtype)]


class Detached(Sound):
    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        distance = real[0] - synthetic[0]
        return {"mmd": (distance * distance.detach()).sum(1)}


class Counts(Sound):
    def descriptors(self, features: Features) -> list[Tensor]:
        pixels = features.pixels.flatten(1)
        return [pixels * torch.arange(1, len(pixels) + 1, dtype=pixels.dtype)[:, None]]


class Couples(Sound):
    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        apart = super().terms(real, synthetic)["mmd"]
        return {"mmd": apart * apart.sum() / 100}


class Shifted(Sound):
    """Says one too much."""

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        return {"mmd": super().terms(real, synthetic)["mmd"] + 1}


class Draws(Sound):
    needs_network: ClassVar[bool] = True

    def descriptors(self, features: Features) -> list[Tensor]:
        torch.rand(1)
        return [features.embedding]


class Remembers(Sound):
    seen: ClassVar[list[int]] = []

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        self.seen.append(1)
        return {"mmd": super().terms(real, synthetic)["mmd"] * len(self.seen)}


class Cheap(Sound):
    needs_network: ClassVar[bool] = True

    def cost(self, size: Size) -> Cost:
        return Cost(passes=sum(size.synthetic), bytes=0)


@dataclass(frozen=True, kw_only=True)
class Anywhere(Coreset):
    """Images of no class in particular."""

    name: ClassVar[str] = "anywhere"
    description: ClassVar[str] = "for this test"
    citation: ClassVar[str] = ""

    def choose(self, insight: Any, ipc: int) -> list[Tensor]:
        return [torch.arange(ipc) for _ in insight.real.classes]


@dataclass(frozen=True, kw_only=True)
class Repeats(GMMN):
    """Samples that are one image, whatever the noise."""

    epochs: int = 1
    batch: int = 9
    width: int = 8

    name: ClassVar[str] = "repeats"

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(count, self.noise)


FLAWED = [
    (Careless, "describes itself", "strength may be NaN"),
    (Still, "lowers its loss on held-out networks", "at the end and"),
    (Wavers, "same seed, same images", "the same seed gives other images"),
    (Remembers, "same seed, same images", "the same seed gives other images"),
    (Couples, "a class alone gives the same images", "class 0 alone gives other images than beside the rest"),
    (Detached, "the gradient is finite and right", "and the gradient says"),
    (Counts, "order within a class does not matter", "other gradients: they are up to"),
    (Counts, "chunks change nothing", "two images at a time give another gradient"),
    (Shifted, "real equal to synthetic gives zero", "against themselves is 3"),
    (Draws, "leaves nothing behind", "the global random state has moved (convnet2:width=6)"),
    (Remembers, "resumes bit-equal", "a resumed run ends with other images"),
    (Remembers, "resumes bit-equal after an interruption anywhere", "interrupted in its augmentation, it ends with other images"),
    (Remembers, "goes on after an error", "after an error it ends with other images"),
    (Cheap, "costs what it says", "forward passes, and its cost says 3"),
    (Anywhere, "chooses real images of the right class", "is none of its real images"),
    (Repeats, "samples images of each class", "two samples of a class are the same"),
]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The cards of these methods can be read, as in an exam."""
    monkeypatch.setitem(CATALOG, "sound", Sound)
    yield
    Remembers.seen.clear()


@pytest.mark.parametrize(("kind", "part", "words"), FLAWED, ids=[f"{kind.__name__}: {part}" for kind, part, _ in FLAWED])
def test_a_flaw_is_found(kind: type, part: str, words: str, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOG, kind.name, kind)
    method = kind()
    assert not PARTS[part][0](method)
    with pytest.raises(AssertionError) as failed:
        PARTS[part][1](Candidate(method, {"lr_images": 0.3}))
    assert words in str(failed.value)


def test_every_part_fails_somebody() -> None:
    assert {part for _, part, _ in FLAWED} == set(PARTS) - {"computes alike on CUDA"}


def test_all_faults_are_told_at_once_and_nothing_stays(real: RealData) -> None:
    with pytest.raises(ExamFailed) as failed:
        exam(Shifted())
    assert str(failed.value).startswith("sound fails the exam:\n- ")
    (only,) = failed.value.faults
    assert only.startswith("real equal to synthetic gives zero: the loss of the real images against themselves is 3")
    assert "sound" not in CATALOG


def test_what_was_examined_is_told() -> None:
    told = exam(Random())
    assert told.passed == ("describes itself", "same seed, same images", "chooses real images of the right class")
    assert {*told.passed, *told.left_out} == set(PARTS)
    assert "resumes bit-equal: left out, it learns nothing" in str(told)


def test_what_cannot_sit_it_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the exam is for a method"):
        exam(datadam.DM)  # type: ignore[arg-type]

    class Taken(Sound):
        name: ClassVar[str] = "dm"

    with pytest.raises(InvalidInput, match="give the class of the method one of its own"):
        exam(Taken())


@dataclass(frozen=True, kw_only=True)
class Labels(Method):
    """Learns images and labels; `wrong` has the labels' gradient half."""

    wrong: bool = False

    name: ClassVar[str] = "labels"
    family: ClassVar[str] = "test"
    description: ClassVar[str] = "for this test"
    citation: ClassVar[str] = ""
    separable: ClassVar[bool] = True
    needs_network: ClassVar[bool] = False
    learns: ClassVar[frozenset[str]] = frozenset({"images", "labels"})

    def groups(self, images: Group) -> tuple[Group, ...]:
        return images, Group(tensors=("labels",), rule="adam", lr=0.1)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        return {"labels": torch.nn.functional.one_hot(synthetic.labels(), len(synthetic.classes)).float()}

    def cost(self, size: Size) -> Cost:
        return Cost(passes=0, bytes=0)

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        for k in range(len(synthetic.classes)):
            draw.augmentation(k)
            labels = synthetic.labels(k, k + 1)
            labels = (labels + labels.detach()) / 2 if self.wrong else labels
            shift = synthetic.images(k, k + 1).flatten(1) - draw.real(k).mean(0).flatten()
            yield {"fit": (shift.square().sum() + (labels.sum(1) - 2).square().sum())[None]}


def test_learned_labels_are_examined_like_images() -> None:
    assert "the gradient is finite and right" in exam(Labels(), lr_images=0.05).passed
    with pytest.raises(ExamFailed) as failed:
        exam(Labels(wrong=True), lr_images=0.05)
    assert [fault.split(" the loss rises")[0] for fault in failed.value.faults] == [
        "the gradient is finite and right: along the labels"
    ]
