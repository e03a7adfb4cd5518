"""Judging: schedules against the words of the protocols, intervals against scipy, students that learn and can be made again."""

import dataclasses
import json
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from small import make_real

import datadam
from datadam import nets
from datadam.arithmetic import ASKED, fast_precision
from datadam.errors import InvalidInput, RunFailed, UnknownName
from datadam.evaluation.evaluate import Progress, StudentResults, evaluate, evaluate_whole, train_student
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import CATALOG
from datadam.evaluation.result import Evaluation
from datadam.evaluation.statistics import t95
from datadam.files.kept import Entry
from datadam.parallel import Tell
from datadam.training.students import Student, StudentTrainer
from datadam.training.trainer import Training, confusion, train

NET = "convnet2:width=8"


def quick(name: str = "honest", epochs: int = 3):
    return protocol_named(name, epochs=epochs)


def evaluation(*accuracies: tuple[float, ...]) -> Evaluation:
    return Evaluation(
        of="distilled", net=NET, protocol=CATALOG["honest"], ipc=1, images=3, accuracies=accuracies, confusion=((3, 1), (0, 4)),
        classes=("a", "b"), data="t", seed=0, seconds=1.0, seconds_per_student=0.5,
    )  # fmt: skip


def test_honest_schedule() -> None:
    training = CATALOG["honest"].training
    assert (training.epochs, training.batch, training.lr, training.momentum, training.weight_decay) == (
        1000,
        256,
        0.01,
        0.9,
        5e-4,
    )
    assert [training.lr_at(e) for e in (0, 499)] == [0.01, 0.01]
    assert training.lr_at(500) == training.lr_at(999) == pytest.approx(0.001)
    assert not training.fresh_optimizer
    assert (CATALOG["honest"].students, CATALOG["honest"].sets) == (20, 5)


def test_paper_schedule() -> None:
    training = CATALOG["paper"].training
    assert [training.lr_at(e) for e in (0, 14, 15, 30, 150)] == pytest.approx([0.01, 0.01, 0.005, 0.0025, 0.01 / 1024])


def test_official_schedule() -> None:
    protocol = CATALOG["official"]
    training = protocol.training
    assert (protocol.students, training.epochs, training.batch) == (10, 1801, 64)
    assert training.lr_at(901) == 0.01
    assert training.lr_at(902) == pytest.approx(0.001)
    assert training.fresh_optimizer
    assert protocol.selects


def test_other_epochs_keep_the_share_of_the_drop() -> None:
    assert protocol_named("honest", epochs=200).training.drop == 100
    assert protocol_named("official", epochs=180).training.drop == 90
    assert CATALOG["honest"].whole_set().training.epochs == 100
    assert CATALOG["honest"].whole_set().with_epochs(1).training.lr_at(0) == 0.01
    assert Training(epochs=1).lr_at(0) == Training().lr
    assert CATALOG["honest"].whole_set().students == 1
    assert protocol_named("honest", augment="none").training.augment == "none"
    assert protocol_named("honest", augment="dsa").training.augment == "dsa"
    with pytest.raises(UnknownName, match="Did you mean 'honest'"):
        protocol_named("honets")
    with pytest.raises(InvalidInput, match="at least 1"):
        protocol_named("honest", epochs=0)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 19, 30, 31, 60, 99, 1000])
def test_student_t_against_scipy(freedom: int) -> None:
    assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=6e-4)


def test_interval_over_students_is_labelled() -> None:
    values = (0.7, 0.72, 0.69, 0.74)
    e = evaluation(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert e.to_json()["interval"] == pytest.approx(
        {"low": low, "high": high, "half": (high - low) / 2, "over": "students only"}, abs=1e-4
    )
    assert e.mean == pytest.approx(np.mean(values))
    assert e.std == pytest.approx(np.std(values, ddof=1))
    assert "4 of 20 students, 1 of 5 sets" in e.words


def test_interval_over_sets_uses_the_means_of_the_sets() -> None:
    sets = ((0.7, 0.72), (0.6, 0.64), (0.66, 0.68))
    means = [np.mean(s) for s in sets]
    e = evaluation(*sets)
    assert e.half_width == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(means), abs=1e-4)
    assert e.over == "sets"
    assert e.std == pytest.approx(np.std(np.ravel(sets), ddof=1))


def test_one_student_has_no_interval() -> None:
    e = evaluation((0.5,))
    assert e.to_json()["interval"] is None
    assert e.std == 0
    assert "±" not in str(e)
    assert "(95 %" not in str(e)
    assert e.per_class == (0.75, 1.0)


def test_students_learn_and_can_be_made_again(real) -> None:
    """Stripes are easy: students of all images beat chance by far, and the same command gives the same accuracies."""
    protocol = protocol_named("honest", epochs=30, augment="none")
    e = evaluate_whole(real, net=NET, protocol=protocol, students=2)
    assert e.mean > 0.7
    again = evaluate_whole(real, net=NET, protocol=protocol, students=2)
    assert e.accuracies == again.accuracies
    assert e.confusion == again.confusion
    few = [evaluate_whole(real, net=NET, protocol=quick(epochs=1), students=3, seed=seed).confusion for seed in (0, 1)]
    assert few[0] != few[1]
    assert sum(map(sum, e.confusion)) == 2 * len(real.test)
    assert sum(e.confusion[k][k] for k in range(3)) / 36 == pytest.approx(e.mean)


def test_a_student_does_not_depend_on_how_many_there_are(real, recipe) -> None:
    small = datadam.distill(real, recipe(iterations=0))
    few, many = (evaluate(small, real, protocol=quick(), students=n).accuracies[0] for n in (1, 3))
    assert many[:1] == few


def test_counts_are_added_up_as_they_come_and_no_student_is_held(real, recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand classes have eight megabytes of counts a student."""
    sets = [datadam.distill(real, recipe(iterations=0, seed=s)) for s in range(2)]
    counts, seconds, held, teach = [], [], [], StudentTrainer._train_student

    def taught(school: StudentTrainer, item: tuple[int, int], tell: Tell, unfinished: Entry | None) -> Student:
        assert sum(one() is not None for one in held) == 0
        student = teach(school, item, tell, unfinished)
        counts.append(student.counts.copy())
        seconds.append(student.seconds)
        held.append(weakref.ref(student))
        return student

    monkeypatch.setattr(StudentTrainer, "_train_student", taught)
    e = evaluate(sets, real, protocol=quick(), students=3)
    assert e.confusion == tuple(map(tuple, np.sum(counts, axis=0).tolist()))
    assert [a for one in e.accuracies for a in one] == [float(one.trace() / one.sum()) for one in counts]
    assert e.seconds_per_student == sum(seconds) / 6


def test_a_student_that_is_told_twice_counts_once() -> None:
    marks, student = StudentResults(2, 2), Student(np.array([[3, 1], [0, 4]]), 2.0)
    for number in (1, 1, 0):
        marks.add(number, student)
    assert marks.counts.tolist() == [[6, 2], [0, 8]]
    assert (marks.accuracies, marks.seconds, marks.last) == ([7 / 8, 7 / 8], [2.0, 2.0], student)


def test_several_sets_make_one_row(real, recipe) -> None:
    sets = [datadam.distill(real, recipe(iterations=0, seed=s)) for s in range(2)]
    e = evaluate(sets, real, protocol=quick(), students=2)
    assert [len(one) for one in e.accuracies] == [2, 2]
    assert e.over == "sets"


def test_the_protocol_of_the_run_network_is_the_default(real, recipe, tmp_path: Path) -> None:
    small = datadam.distill(real, recipe(iterations=0))
    e = evaluate(small, real, protocol=quick("official", 2), students=1)
    assert e.net == "convnet2:width=6"
    e.save(tmp_path / "e.json")
    kept = json.loads((tmp_path / "e.json").read_text())
    assert kept["accuracies"] == [list(e.accuracies[0])]
    assert kept["protocol"]["batch"] == 64
    assert "of 10 students" in kept["words"]
    assert evaluate(small, real, net="mlp:width=8", protocol=quick(), students=1).net == "mlp:width=8"


def test_data_that_do_not_fit_are_refused(real, recipe) -> None:
    small = datadam.distill(real, recipe(iterations=0))
    with pytest.raises(InvalidInput, match="3 classes"):
        evaluate(small, make_real(classes=4), protocol=quick())
    with pytest.raises(InvalidInput, match="no set"):
        evaluate([], real)
    whitened = datadam.distill(real, recipe(zca="kornia", iterations=0))
    with pytest.raises(InvalidInput, match="different normalisations"):
        evaluate([small, whitened], real, protocol=quick())
    with pytest.raises(InvalidInput, match="students is 0"):
        evaluate(small, real, protocol=quick(), students=0)


def test_a_whitened_set_is_judged_on_whitened_test_images(real, recipe) -> None:
    """Loading the data without whitening is right: the set brings its own."""
    small = datadam.distill(real, recipe(zca="kornia", iterations=0))
    assert evaluate(small, real, protocol=quick(), students=1) .accuracies == evaluate(
        small, real.with_zca("kornia"), protocol=quick(), students=1
    ).accuracies  # fmt: skip


def test_training_against_plain_sgd(real) -> None:
    """Three epochs of our trainer equal torch's SGD written out, momentum, weight decay and the drop included."""
    training = Training(epochs=3, batch=36, lr=0.1, drop_after=2, augment="none")
    ours, plain = (nets.build(NET, shape=real.shape, classes=3).double() for _ in range(2))
    x, y = real.images(range(36)).double(), torch.from_numpy(real.train.labels)
    assert list(train(ours, x.__getitem__, y, training, 0, "t")) == [1, 2, 3]
    velocity = [torch.zeros_like(p) for p in plain.parameters()]
    for epoch in range(3):
        loss = torch.nn.functional.cross_entropy(plain(x), y)
        gradients = torch.autograd.grad(loss, list(plain.parameters()))
        with torch.no_grad():
            for p, g, v in zip(plain.parameters(), gradients, velocity, strict=True):
                v.mul_(0.9).add_(g + 5e-4 * p)
                p.sub_((0.1, 0.1, 0.01)[epoch] * v)
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-12)


def test_a_fresh_optimizer_loses_the_momentum(real) -> None:
    x, y = real.images(range(36)).double(), torch.from_numpy(real.train.labels)
    ends = []
    for fresh in (False, True):
        net = nets.build(NET, shape=real.shape, classes=3).double()
        list(train(net, x.__getitem__, y, Training(epochs=3, batch=12, lr=0.1, drop_after=2, fresh_optimizer=fresh), 0, "t"))
        ends.append(next(iter(net.parameters())).clone())
    assert not torch.equal(*ends)


def test_a_training_that_explodes_says_so(real) -> None:
    net = nets.build("mlp:width=8", shape=real.shape, classes=3)
    x, y = real.images(range(36)), torch.from_numpy(real.train.labels)
    with pytest.raises(RunFailed, match="lower the rate"):
        list(train(net, x.__getitem__, y, Training(epochs=50, lr=1e30), 0, "t"))


def test_confusion_counts(real) -> None:
    class Known(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(x.long(), 3).float()

    batches = iter([(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])), (torch.tensor([2]), torch.tensor([2]))])
    assert confusion(Known(), batches, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]  # type: ignore[arg-type]


def test_digits_are_not_mirrored(real, recipe) -> None:
    digits = dataclasses.replace(real, name="mnist")
    small = datadam.distill(digits, recipe(iterations=0))
    assert "flip" not in evaluate(small, digits, protocol=quick(), students=1).words
    assert "flip" in evaluate(small, real, protocol=quick(), students=1).words
    named = protocol_named("honest", epochs=1, augment="crop_flip")
    assert "crop_flip" in evaluate(small, digits, protocol=named, students=1).words
    assert math.isfinite(evaluate(small, digits, protocol=quick(), students=1).mean)


def test_the_precision_is_said_and_an_unknown_one_refused(real, recipe) -> None:
    small = datadam.distill(real, recipe(iterations=0))
    by_precision = {p: evaluate(small, real, protocol=quick(), students=1, precision=p) for p in ASKED}
    assert set(by_precision) == {"auto", "float32", "float64", "bfloat16"}
    auto = by_precision.pop("auto")
    assert auto.accuracies == by_precision[fast_precision()].accuracies
    assert auto.to_json()["precision"] == fast_precision()
    for precision, e in by_precision.items():
        assert e.to_json()["precision"] == precision
        assert (f", {precision};" in e.words) == (precision != "float32")
    with pytest.raises(InvalidInput, match="precision is 'float16'; allowed: auto, float32, float64, bfloat16"):
        evaluate(small, real, protocol=quick(), precision="float16")
    with pytest.raises(InvalidInput, match="precision is 'half'"):
        evaluate_whole(real, net=NET, protocol=quick(), precision="half")


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(real, recipe, workers: int) -> None:
    small = datadam.distill(real, recipe(iterations=0))
    with pytest.raises(InvalidInput, match=f"workers is {workers}; it must be at least 1"):
        evaluate(small, real, protocol=quick(), workers=workers)


def test_workers_are_no_more_than_students_and_none_for_short_work(real, recipe) -> None:
    small = datadam.distill(real, recipe(iterations=0))
    for asked in (7, None):
        made = evaluate(small, real, protocol=quick(), students=1, workers=asked).made
        assert (made["workers"], made["threads"]) == (1, torch.get_num_threads())


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_trained_student_is_the_first_of_an_evaluation(real, recipe, precision: str) -> None:
    small = datadam.distill(real, recipe(zca="kornia", iterations=0))
    net = "convnet2:norm=batch:width=8"
    told: list[Progress] = []
    options = {"net": net, "protocol": quick(epochs=6), "seed": 4, "precision": precision}
    network, e = train_student(small, real, progress=told.append, **options)
    assert e.accuracies == ((evaluate(small, real, students=3, **options).accuracies[0][0],),)
    assert [p.epoch for p in told] == [1, 2, 3, 4, 5, 6]
    assert not network.training
    assert all(p.dtype == torch.float32 for p in network.parameters())
    x = small.transform.bytes_to_network(torch.from_numpy(real.test.pixels))
    with torch.no_grad():
        right = network(x).argmax(1) == torch.from_numpy(real.test.labels)
    assert float(right.double().mean()) == e.mean
    other, _ = train_student(small, real, **(options | {"seed": 5}))
    assert not torch.equal(next(iter(other.parameters())), next(iter(network.parameters())))
