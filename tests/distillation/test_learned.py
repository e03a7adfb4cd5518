"""Labels and a rate are learned as images are: stepped by their own optimisers, kept, resumed, spread, written and read."""

import json
import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from here import Here
from safetensors.torch import load_file, save_file

import datadam
from datadam import parallel
from datadam.distillation.checkpoint import _checksum
from datadam.distillation.forecast import size_of
from datadam.distillation.optimisers import Optimisers
from datadam.errors import ArtifactError, InvalidInput
from datadam.methods.base import Group, Method, Parts, State
from datadam.methods.catalog import CATALOG
from datadam.methods.draw import Draw
from datadam.parallel.spread import Spread
from datadam.sets.decoders import Grid
from datadam.sets.synthetic import SyntheticSet
from datadam.training.kept_students import _source
from datadam.training.students import Rows, Source


@dataclass(frozen=True, kw_only=True)
class Everything(Method):
    """Learns images, labels and a rate, each by a rule of its own; trains on the way in pieces, each of which counts."""

    pieces: int = 0

    name: ClassVar[str] = "everything"
    family: ClassVar[str] = "test"
    description: ClassVar[str] = "a test"
    citation: ClassVar[str] = ""
    separable: ClassVar[bool] = False
    needs_network: ClassVar[bool] = False
    learns: ClassVar[frozenset[str]] = frozenset({"images", "labels", "rate"})

    def groups(self, images: Group) -> tuple[Group, ...]:
        labels = Group(tensors=("labels",), rule="adam", lr=0.1, momentum=0.9, clip=0.5)
        return images, labels, Group(tensors=("rate",), rule="adamw", lr=0.5, momentum=0.9, bounds=(1e-3, 0.05))

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, torch.Tensor]:
        labels = torch.nn.functional.one_hot(synthetic.labels(), len(synthetic.classes)).float()
        return {"labels": labels, "rate": torch.tensor(0.01)}

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        return {"at": 0, "piece": 0, "sum": torch.zeros((), dtype=torch.float64)}

    def between(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Generator[State, None, None]:
        if state["at"] == draw.iteration and draw.iteration:
            return
        for piece in range(int(state["piece"]), self.pieces):
            WORK.append((draw.iteration, piece))
            yield state | {"piece": piece + 1, "sum": state["sum"] + synthetic.stored.double().sum() * (piece + 1)}
            state = state | {"piece": piece + 1, "sum": state["sum"] + synthetic.stored.double().sum() * (piece + 1)}
        yield state | {"at": draw.iteration, "piece": 0}

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        images, labels, rate = synthetic.images(), synthetic.labels(), synthetic.tensors["rate"]
        fit = (images.flatten(1).mean(1, keepdim=True) - labels).square().sum()
        yield {"fit": fit[None], "size": (0.1 * images.square().mean() + (rate - 1.0).square() + 1e-6 * state["sum"])[None]}


@dataclass(frozen=True, kw_only=True)
class Apart(Method):
    """Learns images and labels, class by class: it can be spread."""

    name: ClassVar[str] = "apart"
    family: ClassVar[str] = "test"
    description: ClassVar[str] = "a test"
    citation: ClassVar[str] = ""
    needs_network: ClassVar[bool] = False
    separable: ClassVar[bool] = True
    learns: ClassVar[frozenset[str]] = frozenset({"images", "labels"})

    def groups(self, images: Group) -> tuple[Group, ...]:
        return images, Group(tensors=("labels",), rule="adam", lr=0.1, momentum=0.9)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, torch.Tensor]:
        return {"labels": torch.nn.functional.one_hot(synthetic.labels(), len(synthetic.classes)).float()}

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        for k in range(len(synthetic.classes)):
            gap = synthetic.images(k, k + 1).flatten(1).mean(1) - draw.real(k).mean()
            yield {"fit": (gap.square().sum() + synthetic.labels(k, k + 1).square().sum())[None]}


WORK: list[tuple[int, int]] = []


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch, recipe):
    monkeypatch.setitem(CATALOG, "everything", Everything)
    monkeypatch.setitem(CATALOG, "apart", Apart)
    WORK.clear()

    def make(method: Method | None = None, **settings: object) -> datadam.Recipe:
        return replace(recipe("dm", **({"iterations": 6, "lr_images": 0.3} | settings)), method=method or Everything())

    return make


def test_all_that_is_learned_moves_and_is_kept(real, everything, tmp_path: Path) -> None:
    made = datadam.distill(real, everything(precision="float32"), out=tmp_path / "run")
    assert made.soft
    assert made.label_kind == "soft"
    assert made.rate is not None
    assert float(made.rate) == pytest.approx(0.05)  # it would go to 1, and is held
    assert not torch.equal(made.labels, torch.eye(3).repeat_interleave(2, 0))
    again = datadam.DistilledSet.load(tmp_path / "run")
    assert torch.equal(again.labels, made.labels)
    assert again.rate is not None
    assert torch.equal(again.rate, made.rate)
    assert again.numbers.tolist() == [0, 0, 1, 1, 2, 2]
    assert json.loads((tmp_path / "run/card.json").read_text())["labels"] == "soft"


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_all_that_is_learned_resumes_bit_equal(real, everything, tmp_path: Path, stop: int) -> None:
    straight = datadam.distill(real, everything())
    steps = datadam.begin(real, everything(), out=tmp_path / "run").steps()
    for _ in range(stop):
        next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    assert run.state.iteration == stop
    list(run.steps())
    found = run.result()
    for name in ("images", "labels", "rate"):
        assert torch.equal(getattr(found, name), getattr(straight, name)), name


@pytest.mark.parametrize("cut", [(2, 0), (2, 1), (4, 2)])
def test_what_happens_between_image_steps_goes_on_from_its_last_piece(real, everything, tmp_path: Path, cut) -> None:
    asked = everything(Everything(pieces=3))
    straight = datadam.distill(real, asked)
    once = [*WORK]
    WORK.clear()
    run = datadam.begin(real, asked, out=tmp_path / "run")

    class Stops(list):
        def append(self, piece: tuple[int, int]) -> None:
            if piece == cut:
                raise KeyboardInterrupt
            super().append(piece)

    globals()["WORK"] = Stops()
    with pytest.raises(KeyboardInterrupt):
        list(run.steps())
    done = [*WORK]
    globals()["WORK"] = []
    again = datadam.resume(tmp_path / "run", real)
    assert again.state.iteration == cut[0]
    list(again.steps())
    assert done + WORK == once  # nothing is done twice, and nothing left out
    assert torch.equal(again.result().images, straight.images)


def test_snapshots_hold_all_that_is_learned(real, everything, tmp_path: Path) -> None:
    run = datadam.begin(real, everything(), out=tmp_path / "run", snapshots=(0, 3, 6))
    first = {name: value.clone() for name, value in run.state.tensors.items()}
    list(run.steps())
    start, middle, end = (load_file(tmp_path / f"run/snapshots/{i:08d}.safetensors") for i in (0, 3, 6))
    assert start.keys() == middle.keys() == end.keys() == {"images", "labels", "rate"}
    for name, value in run.state.tensors.items():
        assert torch.equal(start[name], first[name])
        assert torch.equal(end[name], value)
        assert not torch.equal(middle[name], start[name])


def test_shards_carry_learned_labels(real, everything, tmp_path: Path, monkeypatch) -> None:
    asked = everything(Apart())
    plain = datadam.distill(real, asked, out=tmp_path / "plain", snapshots=(2,))
    monkeypatch.setattr(parallel, "Processes", Here)
    run = datadam.begin(real, asked, out=tmp_path / "run", spread=Spread(workers=1, shards=2), snapshots=(2,))
    list(run.steps())
    spread = run.result()
    assert torch.equal(spread.images, plain.images)
    assert torch.equal(spread.labels, plain.labels)
    then = [load_file(tmp_path / folder / "snapshots/00000002.safetensors") for folder in ("plain", "run")]
    assert then[0].keys() == then[1].keys() == {"images", "labels"}
    assert all(torch.equal(then[0][name], then[1][name]) for name in then[0])
    kept = [load_file(tmp_path / folder / "checkpoint/state.safetensors") for folder in ("plain", "run")]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0] if name.startswith("buffer/"))


def test_what_is_of_all_classes_is_not_spread(real, everything) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Rated(Apart):
        learns: ClassVar[frozenset[str]] = frozenset({"images", "labels", "rate"})

    @dataclass(frozen=True, kw_only=True)
    class Stateful(Everything):
        separable: ClassVar[bool] = True

    for method, words in ((Rated(), "one rate of students for all classes"), (Stateful(), "a state of its own")):
        with pytest.raises(InvalidInput, match=words):
            datadam.begin(real, everything(method), spread=Spread(workers=1))
    with pytest.raises(InvalidInput, match=r"length of all images together.*take optimizer=adam"):
        datadam.begin(real, everything(Apart(), optimizer="lamb"), spread=Spread(workers=1))


def test_a_damaged_tensor_is_refused_by_its_name(real, everything, tmp_path: Path) -> None:
    datadam.distill(real, everything(), out=tmp_path / "run")
    path = tmp_path / "run/checkpoint/state.safetensors"
    (tmp_path / "run/checkpoint/before.safetensors").unlink()
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        words = file.metadata()["state"]
    tensors = load_file(path)
    for name, wrong in (("labels", torch.zeros(6, 2)), ("rate", torch.tensor(math.nan)), ("images", torch.zeros(6, 3, 8, 9))):
        changed = tensors | {name: wrong.double()}
        save_file(changed, path, {"state": words, "checksum": _checksum(changed, words)})
        with pytest.raises(ArtifactError, match=f"the {name} "):
            datadam.resume(tmp_path / "run", real)


@pytest.mark.parametrize("when", ["drawn", "between"])
def test_a_checkpoint_of_the_first_format_is_gone_on_with(real, recipe, tmp_path: Path, when: str) -> None:
    """It held the images' momentum and the network's weights under other names."""
    asked = recipe("dc", iterations=6, iterations_per_network=3, network_epochs=2, network_when=when)
    straight = datadam.distill(real, asked)
    steps = datadam.begin(real, asked, out=tmp_path / "run").steps()
    for _ in range(4):
        next(steps)
    steps.close()
    path = tmp_path / "run/checkpoint/state.safetensors"
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        words = json.loads(file.metadata()["state"])
    words["method"] = {}
    tensors = load_file(path)
    tensors["momentum"] = tensors.pop("buffer/images/momentum_buffer")
    tensors = {name.replace("method/weights/", "network/"): value for name, value in tensors.items()}
    told = json.dumps(words)
    save_file(tensors, path, {"state": told, "checksum": _checksum(tensors, told)})
    run = datadam.resume(tmp_path / "run", real)
    list(run.steps())
    assert torch.equal(run.result().images, straight.images)


def test_adam_is_adam() -> None:
    """Kingma and Ba's equations, written out, over five steps; a resumed optimiser goes on."""
    generator = torch.Generator().manual_seed(3)
    gradients = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(4, generator=generator, dtype=torch.float64)
    expected, m, v = x.clone(), torch.zeros(4).double(), torch.zeros(4).double()
    for t, g in enumerate(gradients, 1):
        m, v = 0.8 * m + 0.2 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.1 * (m / (1 - 0.8**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    group = Group(tensors=("labels",), rule="adam", lr=0.1, momentum=0.8)
    tensors, buffers = {"labels": x}, {}
    for done, g in enumerate(gradients):  # made anew each time, from its buffers
        optimisers = Optimisers([group], tensors, buffers, done)
        optimisers.step({"labels": g})
        buffers = {name: value.clone() for name, value in optimisers.buffers().items()}
    torch.testing.assert_close(x, expected, rtol=1e-12, atol=0)


def test_sgd_clips_and_holds_within_bounds() -> None:
    x = torch.tensor([1.0, 1.0], dtype=torch.float64)
    group = Group(tensors=("images",), lr=1.0, momentum=0.5, clip=5.0, bounds=(-10.0, 10.0))
    optimisers = Optimisers([group], {"images": x}, {})
    optimisers.step({"images": torch.tensor([30.0, 40.0], dtype=torch.float64)})  # of norm 50, cut to 5
    torch.testing.assert_close(x, torch.tensor([-2.0, -3.0]).double(), rtol=1e-6, atol=0)
    for _ in range(9):
        optimisers.step({"images": torch.tensor([0.0, 40.0], dtype=torch.float64)})
    assert float(x[1]) == -10.0
    assert x.grad is None


def test_a_cafe_run_of_the_first_format_goes_on_training_its_network(real, recipe, tmp_path: Path) -> None:
    """Its checkpoints held the network as it was after the training that now comes before the next image step."""
    asked = recipe("cafe", iterations=6, most_epochs=2)
    straight = datadam.distill(real, asked)
    steps = datadam.begin(real, asked, out=tmp_path / "run").steps()
    for _ in range(3):
        next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    *_, state = asked.method.between(run.state.method, run.synthetic, run.draws.at(3))
    run.state.method = {name: value for name, value in state.items() if name != "at"}
    run.kept = False
    run.save()
    again = datadam.resume(tmp_path / "run", real)
    list(again.steps())
    assert torch.equal(again.result().images, straight.images)
    assert again.state.method["at"] == 5


def test_networks_on_the_way_train_towards_the_softmax_of_learned_labels() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    learned = SyntheticSet({"images": torch.zeros(2, 1, 2, 2), "labels": logits}, ("a", "b"), (1, 1))
    assert torch.equal(learned.targets(), logits.softmax(1))
    hard = SyntheticSet({"images": torch.zeros(2, 1, 2, 2)}, ("a", "b"), (1, 1), Grid(2))
    assert hard.targets().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_terms_that_look_at_labels_alone_and_labels_learned_alone(real, everything, tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Labels(Apart):
        """Labels alone."""

        learns: ClassVar[frozenset[str]] = frozenset({"labels"})

        def groups(self, images: Group) -> tuple[Group, ...]:
            return (Group(tensors=("labels",), lr=0.1),)

        def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
            yield {"labels": synthetic.labels().square().sum()[None], "cubes": synthetic.labels().abs().pow(3).sum()[None]}

    @dataclass(frozen=True, kw_only=True)
    class Both(Apart):
        """A first term that does not look at the images."""

        def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
            yield {"labels": synthetic.labels().square().sum()[None], "images": synthetic.images().square().sum()[None]}

    for method in (Labels(), Both()):
        made = datadam.distill(real, everything(method, iterations=3), out=tmp_path / type(method).__name__)
        assert float(made.labels.abs().max()) < 1.0
        lines = (tmp_path / type(method).__name__ / "metrics.jsonl").read_text().splitlines()
        norms = {name: term["grad_norm"] for name, term in json.loads(lines[0])["terms"].items()}
        assert norms["labels"] == pytest.approx(2 * 6**0.5)  # of 6 ones, by hand


def test_what_cannot_be_learned_is_refused_with_the_cure(real, everything) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Unstepped(Apart):
        def groups(self, images: Group) -> tuple[Group, ...]:
            return (images,)

    @dataclass(frozen=True, kw_only=True)
    class Unstarted(Apart):
        def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, torch.Tensor]:
            return {}

    @dataclass(frozen=True, kw_only=True)
    class Clipped(Apart):
        def groups(self, images: Group) -> tuple[Group, ...]:
            return replace(images, clip=1.0), Group(tensors=("labels",), lr=0.1)

    for method, words in ((Unstepped(), "`groups` must name each once"), (Unstarted(), "`start_values` give nothing")):
        with pytest.raises(InvalidInput, match=words):
            datadam.begin(real, everything(method))
    with pytest.raises(InvalidInput, match="cuts the gradient of all classes together"):
        datadam.begin(real, everything(Clipped()), spread=Spread(workers=1))


def test_the_rate_of_a_source_tells_kept_students_apart() -> None:
    images = Rows(np.zeros((1, 1, 2, 2), np.float32))
    one, other = (Source(0, images, np.zeros(1, np.int64), lr) for lr in (0.1, None))
    assert _source(one) != _source(other)
    assert len(_source(other)) == 2  # students kept before sets had a rate are found


def test_training_on_the_way_is_foreseen_in_memory(real, recipe) -> None:
    size = size_of(recipe("dm", network_steps=5), (5, 5, 5))
    blocks = replace(size, blocks=(1000,), chunk=1)
    assert blocks.trains
    assert recipe("dm").method.cost(blocks).bytes > recipe("dm").method.cost(replace(blocks, trains=False, trained=0.0)).bytes


def test_lamb_is_lamb() -> None:
    """You et al.'s equations, written out, over five steps: Adam's way, as long as the tensor; a resumed optimiser goes on."""
    generator = torch.Generator().manual_seed(3)
    gradients = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(4, generator=generator, dtype=torch.float64)
    expected, m, v = x.clone(), torch.zeros(4).double(), torch.zeros(4).double()
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        way = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6)
        expected -= 0.1 * expected.norm() / way.norm() * way
    group = Group(tensors=("images",), rule="lamb", lr=0.1, momentum=0.9)
    tensors, buffers = {"images": x}, {}
    for done, g in enumerate(gradients):
        optimisers = Optimisers([group], tensors, buffers, done)
        optimisers.step({"images": g})
        buffers = {name: value.clone() for name, value in optimisers.buffers().items()}
    torch.testing.assert_close(x, expected, rtol=1e-12, atol=0)
    zeros = {"images": torch.zeros(2).double()}  # has no length to go by
    Optimisers([group], zeros, {}).step({"images": torch.ones(2).double()})
    torch.testing.assert_close(zeros["images"], torch.full((2,), -0.1).double(), rtol=1e-5, atol=0)
