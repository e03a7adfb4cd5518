"""Students: the same however and wherever they are trained, in this process or beside one another in others."""

import dataclasses
import io
import math
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from here import Here
from small import make_real

import datadam
from datadam import machine, nets, parallel
from datadam.data import RealData
from datadam.data.cache import pixels
from datadam.data.real import Split
from datadam.errors import RunFailed
from datadam.evaluation.evaluate import Progress, evaluate
from datadam.evaluation.panel import protocol_named
from datadam.training import students
from datadam.training.kept_students import KeptStudents
from datadam.training.students import Rows, Source, Student, StudentTrainer, side_by_side
from datadam.training.trainer import COMPILING_PAYS, Training

ITEMS = [(s, student) for s in range(2) for student in range(2)]


def silent(epoch: int) -> None:
    """Nobody listens."""


def school(real: RealData, net: str = "convnet2:width=4", precision: str = "float64", **settings: object) -> StudentTrainer:
    """Two sets of two images a class, 20 steps on each."""
    sources = tuple(
        Source(s, Rows(real.images([i for members in real.by_class for i in members[2 * s : 2 * s + 2]]).numpy()), labels)
        for s, labels in enumerate([np.repeat(np.arange(3), 2)] * 2)
    )
    training = Training(epochs=20, lr=0.05, augment="color_crop")
    made = StudentTrainer(net, sources, real.test, 3, real.transform, training, 5, precision=precision, keep_weights=True)
    return dataclasses.replace(made, **settings)


def same(one: Student, other: Student) -> bool:
    return np.array_equal(one.counts, other.counts) and all(np.array_equal(one.weights[n], other.weights[n]) for n in one.weights)


def loss(of: StudentTrainer, student: Student, number: int = 0) -> float:
    """The cross-entropy of a student on what it learned from."""
    net = nets.build(of.net, shape=of.shape, classes=3).double()
    net.load_state_dict({name: torch.from_numpy(value) for name, value in student.weights.items()})
    x, y = torch.from_numpy(of.sources[number].images.images).double(), torch.from_numpy(of.sources[number].labels)
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(net(x), y))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_an_interrupted_student_goes_on_where_it_was(real, tmp_path, precision: str) -> None:
    """Twice within its training: the same counts and weights, and no epoch is trained twice."""
    straight = school(real, precision=precision)((1, 0), silent)
    taught: list[int] = []

    def told(epoch: int) -> None:
        taught.append(epoch)
        if epoch in (7, 12):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            KeptStudents(tmp_path, school(real, precision=precision), "data")((1, 0), told)
    assert same(KeptStudents(tmp_path, school(real, precision=precision), "data")((1, 0), told), straight)
    assert taught == list(range(1, 21))
    assert [path.name for path in tmp_path.glob(".partial/*/*")] == ["1-0.safetensors"]


@pytest.mark.slow
def test_students_side_by_side_are_those_of_one_process(real) -> None:
    """Whitened, so that the matrices must arrive too; batch norm, so that a student could leave something to the next."""
    taught = school(real.with_zca("kornia"), net="convnet2:norm=batch:width=4", threads=1)
    apart = parallel.run(taught, ITEMS, workers=1)
    told: list[tuple[int, int]] = []
    together = parallel.run(taught, ITEMS, workers=2, report=lambda *what: told.append(what))
    assert all(map(same, apart, together))
    assert all(value.dtype != np.float32 for one in together for value in one.weights.values())
    for number in range(4):
        assert [epoch for item, epoch in told if item == number] == list(range(1, 21))
    first = [next(iter(one.weights.values())) for one in apart]
    assert all(not np.array_equal(first[i], first[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_student_does_not_depend_on_those_before(real, norm: str) -> None:
    taught = school(real, net=f"convnet2:norm={norm}:width=4", precision="float32")
    row = [taught(item, silent) for item in ITEMS]
    alone = school(real, net=f"convnet2:norm={norm}:width=4", precision="float32")((1, 1), silent)
    assert same(alone, row[3])
    assert not same(alone, row[2])


def test_a_failed_student_leaves_nothing_to_the_next(real) -> None:
    taught = school(real, net="mlp:width=8")
    expected = taught((0, 0), silent)
    broken, taught.training = taught.training, dataclasses.replace(taught.training, lr=1e200)
    with pytest.raises(RunFailed, match="lower the rate"):
        taught((0, 1), silent)
    taught.training = broken
    assert same(taught((0, 0), silent), expected)


@pytest.mark.parametrize("where", ["forward_of", "train_on", "confusion"])
def test_full_memory_is_told_with_its_cure_wherever_it_fills(real, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The first pass, which compiles and takes the most, lies before the training."""

    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(students, where, full)
    with pytest.raises(RunFailed, match=r"memory of the GPU is full .*; use fewer workers"):
        school(real)((0, 0), silent)


def test_counts_are_of_every_test_image(real) -> None:
    one = school(real)((0, 0), silent)
    assert one.counts.shape == (3, 3)
    assert one.counts.sum(1).tolist() == np.bincount(real.test.labels).tolist()
    assert school(real, keep_weights=False)((0, 0), silent).weights == {}


def test_evaluations_side_by_side_are_equal_and_tell_their_progress(
    real, recipe: Callable[..., datadam.Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "Processes", Here)
    sets = [datadam.distill(real, recipe(zca="official", iterations=0, seed=seed)) for seed in (0, 1)]
    told: list[Progress] = []
    options = {"protocol": protocol_named("honest", epochs=4), "students": 2, "precision": "float64", "seed": 3}
    apart = evaluate(sets, real, **options)
    together = evaluate(sets, real, workers=2, progress=told.append, **options)
    assert (together.accuracies, together.confusion, together.words) == (apart.accuracies, apart.confusion, apart.words)
    assert (apart.made["workers"], together.made["workers"]) == (1, 2)
    done = [(p.student - 1) * p.epochs + p.epoch for p in told]
    assert done == list(range(1, 17))
    assert {(p.students, p.epochs) for p in told} == {(4, 4)}
    assert all(1 <= p.epoch <= 4 for p in told)


class Watched(ForkingPickler):
    """What processes send each other, with a list of all tensors among it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.tensors: list[torch.Tensor] = []

    def reducer_override(self, thing: object) -> object:
        if isinstance(thing, torch.Tensor | torch.nn.Module | torch.UntypedStorage):
            self.tensors.append(thing)
        return NotImplemented


def test_a_school_travels_as_arrays_and_without_what_it_made(real) -> None:
    taught = school(real.with_zca("official"))
    expected = taught((0, 1), silent)
    assert hasattr(taught, "_made")
    sent = io.BytesIO()
    pickler = Watched(sent)
    pickler.dump(taught)
    assert pickler.tensors == []
    arrived = pickle.loads(sent.getvalue())
    assert not hasattr(arrived, "_made")
    assert hasattr(taught, "_made")  # which stays as it was
    assert arrived.transform.to_card() == taught.transform.to_card()
    for name, tensor in taught.transform.zca.tensors().items():
        assert torch.equal(arrived.transform.zca.tensors()[name], tensor)
    assert same(arrived((0, 1), silent), expected)


def test_the_pickler_of_these_tests_sees_tensors() -> None:
    pickler = Watched(io.BytesIO())
    pickler.dump({"a": [torch.zeros(3)]})
    assert len(pickler.tensors) > 0


def test_a_test_part_on_the_disk_travels_too(real) -> None:
    def fill(start: int, stop: int, out: np.ndarray) -> None:
        out[:] = real.test.pixels[start:stop]

    mapped = pixels(len(real.test), real.shape, fill, key="a test of students", memory_limit=0)
    assert isinstance(mapped, np.memmap)
    taught = school(real, test=Split(mapped, real.test.labels))
    arrived = pickle.loads(ForkingPickler.dumps(taught))
    assert np.array_equal(arrived((0, 0), silent).counts, school(real)((0, 0), silent).counts)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_coarser_arithmetic_learns_nearly_the_same(real, precision: str) -> None:
    fine, coarse = (school(real, precision=p, training=Training(epochs=20, lr=0.05)) for p in ("float64", precision))
    exact, rough = fine((0, 0), silent), coarse((0, 0), silent)
    assert all(value.dtype in (np.float32, np.int64) for value in rough.weights.values())
    fresh = nets.build(fine.net, shape=real.shape, classes=3)
    nets.initialise(fresh, datadam.rng.stream(5, "student", 0, 0, "init"))
    before = loss(fine, Student(exact.counts, 0.0, {name: value.numpy() for name, value in fresh.state_dict().items()}))
    assert before == pytest.approx(math.log(3), rel=0.5)
    after = loss(fine, exact)
    assert after < 0.5 * before
    assert loss(fine, rough) == pytest.approx(after, rel=1e-4 if precision == "float32" else 0.1)
    assert loss(fine, rough) != after


@pytest.mark.parametrize("precision", students.PRECISIONS)
def test_the_precision_is_that_of_products_and_bfloat16_of_them_alone(real, precision: str) -> None:
    taught = school(real, precision=precision)
    network, forward = taught._student_network(taught.sources[0])
    inside = set()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda module, given, result: inside.add(result.dtype))
    wide = torch.float64 if precision == "float64" else torch.float32
    assert forward(taught.sources[0].images(torch.arange(2))).dtype == wide
    assert inside == {getattr(torch, precision)}
    assert {p.dtype for p in network.parameters()} == {wide}


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices for which a network was compiled; a stand-in for the compiler, which gives the network back."""
    made: list[str] = []

    def compiled(network: nets.Network, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        made.append(device)
        return lambda x: network(x)

    monkeypatch.setattr(machine, "compiled", compiled)
    monkeypatch.setattr(machine, "can_compile", lambda device: True)
    return made


@pytest.mark.parametrize(("steps", "expected"), [(COMPILING_PAYS, 0), (COMPILING_PAYS + 1, 1)])
def test_compiling_pays_for_a_long_student_whatever_their_number(real, forwards: list[str], steps: int, expected: int) -> None:
    taught = school(real, training=Training(epochs=steps, batch=6))
    for _ in range(2):
        taught._student_network(taught.sources[0])
    assert len(forwards) == expected
    for epochs, asked in ((1, True), (10_000, False)):
        told = school(real, training=Training(epochs=epochs), compiled=asked)
        told._student_network(told.sources[0])
    assert len(forwards) == expected + 1


def test_nothing_is_compiled_where_that_cannot_be(real, forwards: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "can_compile", lambda device: False)
    taught = school(real, training=Training(epochs=10_000))
    taught._student_network(taught.sources[0])
    assert forwards == []
    assert not taught.compiles
    assert "no compiler works here" in taught.remark
    assert school(real, training=Training(epochs=1)).remark == ""


def test_compiled_students_begin_as_others_do(real, forwards: list[str]) -> None:
    """Making the code runs the network once, on images channels last: nothing of it may be left in weights or gradients."""
    net = "convnet2:norm=batch:width=4"
    fast, plain = school(real, net=net, compiled=True), school(real, net=net, compiled=False)
    for item in ITEMS[:2]:
        one, other = fast(item, silent), plain(item, silent)
        assert np.array_equal(one.counts, other.counts)
        for name, value in other.weights.items():
            np.testing.assert_allclose(one.weights[name], value, rtol=1e-9, atol=1e-12)
    assert forwards == ["cpu"]


@pytest.mark.slow
def test_compiled_students_are_the_same(real) -> None:
    fast, plain = (school(real, "convnet1:width=4", compiled=compiled)((0, 1), silent) for compiled in (True, False))
    assert np.array_equal(fast.counts, plain.counts)
    for name, value in plain.weights.items():
        np.testing.assert_allclose(fast.weights[name], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("share", "count", "threads", "room", "expected"),
    [
        (0.99, 10, 4, 100, (1, 4)),  # of the steps above which it pays: over before the others have started
        (1.0, 10, 4, 100, (4, 1)),
        (10.0, 1, 4, 100, (1, 4)),
        (10.0, 3, 8, 100, (3, 2)),
        (10.0, 20, 1, 100, (1, 1)),
        (10.0, 20, 8, 2.5, (2, 1)),  # as many as there is memory for, each with the threads it would have with more
        (10.0, 20, 8, 0.5, (1, 1)),
    ],
)
def test_workers_that_pay(
    real, monkeypatch, share: float, count: int, threads: int, room: float, expected: tuple[int, int]
) -> None:
    taught = school(real, training=Training(epochs=int(share * students.WORKERS_PAY / count)))
    one = students.WORKER_BYTES + real.test.pixels.nbytes
    monkeypatch.setattr(machine, "available_memory", lambda: int(room * one))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert side_by_side(taught, count) == expected


def test_the_whole_set_is_taught_in_one_process(real, monkeypatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1 << 60)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    whole = Source(0, real.images, real.train.labels)
    assert side_by_side(school(real, sources=(whole,), training=Training(epochs=10_000)), 20) == (1, 8)
    assert side_by_side(school(real), 3, 5) == (3, 2)  # as asked, never more than there are students


def test_steps_count_the_last_one_that_is_not_full() -> None:
    taught = school(make_real(), training=Training(epochs=3, batch=100))
    assert [taught.steps(images) for images in (99, 100, 101, 250)] == [(3, 99), (3, 100), (6, 100), (9, 100)]
