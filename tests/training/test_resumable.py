"""A training that is interrupted, however often and wherever, ends with the bits of one that is not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from small import make_real
from torch import Tensor

from datadam import nets
from datadam.errors import RunFailed
from datadam.files.kept import Entry, Record, Store
from datadam.files.whole import read_tensors
from datadam.rng import stream
from datadam.training import resumable
from datadam.training.difficulty import History
from datadam.training.resumable import train_kept, train_on
from datadam.training.trainer import Trainer, Training

REAL = make_real(per_class=20)
LABELS = torch.from_numpy(REAL.train.labels)
TRAININGS = {
    "plain": Training(epochs=4, batch=25, lr=0.05),
    "augmented": Training(epochs=4, batch=25, augment="color_crop_flip"),
    "policy": Training(epochs=3, batch=25, augment="randaugment"),
    "forgetful": Training(epochs=4, batch=25, fresh_optimizer=True),  # a new optimiser after two epochs of three steps
    "every15": Training(epochs=4, batch=60, schedule="every15"),
    "still": Training(epochs=4, batch=25, momentum=0.0),
}


def trainer(training: Training = TRAININGS["plain"], *, net: str = "convnet2:norm=batch:width=4", seed: int = 0) -> Trainer:
    """A fresh one, whose history is watched. Batch norm, so that there is more to keep than weights."""
    network = nets.build(net, shape=REAL.shape, classes=3)
    nets.initialise(network, stream(seed, "init"))
    watchers = {"history": History(LABELS)}
    return Trainer(network, REAL.images, LABELS, training, seed, "test", transform=REAL.transform, watchers=watchers)


def entry(folder: Path, **key: object) -> Entry:
    return Store(folder, "test/1").entry(key)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def whole(training: Training = TRAININGS["plain"], **options: object) -> dict[str, Tensor]:
    """What a training gives that nobody interrupts."""
    made = trainer(training, **options)  # type: ignore[arg-type]
    while made.done < made.steps:
        made.step()
    return made.result()


class Stop(Exception):
    """What a progress callback raises."""


def until(step: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[[int], None]:
    def told(done: int) -> None:
        if done == step:
            raise error

    return told


@pytest.mark.parametrize("name", TRAININGS)
def test_interrupted_anywhere_and_gone_on_with_is_bit_equal(name: str, tmp_path: Path) -> None:
    training = TRAININGS[name]
    expected, steps = whole(training), trainer(training).steps
    for step in range(1, steps + 1):
        place = entry(tmp_path / str(step))
        with pytest.raises(KeyboardInterrupt):
            train_kept(trainer(training), place, until(step))
        assert place.unfinished.read() is not None
        later, told = trainer(training), list[int]()
        spent = train_kept(later, place, told.append)
        assert told == list(range(step + 1, steps + 1))
        assert 0 < spent.earlier <= spent.seconds
        assert not spent.found
        assert equal(later.result(), expected)
        assert [path.name for path in place.file.parent.iterdir()] == [place.file.name]


def test_interrupted_after_every_step_it_comes_to_its_end(tmp_path: Path) -> None:
    steps = trainer().steps
    for step in range(1, steps + 1):
        with pytest.raises(Stop):
            train_kept(trainer(), entry(tmp_path), until(step, Stop))
    last = trainer()
    train_kept(last, entry(tmp_path))
    assert equal(last.result(), whole())


def test_what_is_kept_is_found_with_weights_history_and_seconds(tmp_path: Path) -> None:
    first, again = trainer(), trainer()
    made = train_kept(first, entry(tmp_path))
    found = train_kept(again, entry(tmp_path), until(1))
    assert found == (made.seconds, made.seconds, True)
    assert equal(again.result(), first.result())
    assert equal(again.result(), whole())
    assert again.done == again.steps


@pytest.mark.parametrize("where", ["forward", "backward", "watch"])
def test_an_interruption_within_a_step_goes_back_to_the_copy_before_it(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, batch norm has seen images whose gradient has not been taken, and a history those of half a step."""
    monkeypatch.setattr(resumable, "COPY_EVERY", 0.0)
    broken, steps = trainer(), 0

    def stop(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 6:
            raise KeyboardInterrupt

    if where == "watch":
        monkeypatch.setattr(broken.watchers["history"], "step", stop)
    elif where == "forward":
        broken.network.head.register_forward_hook(stop)
    else:
        broken.network.head.register_full_backward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        train_kept(broken, entry(tmp_path))
    later, told = trainer(), list[int]()
    train_kept(later, entry(tmp_path), told.append)
    assert told[0] == 6
    assert equal(later.result(), whole())


def test_within_the_first_step_there_is_nothing_to_keep(tmp_path: Path) -> None:
    broken = trainer()
    broken.network.head.register_forward_hook(lambda *_: until(0)(0))
    with pytest.raises(KeyboardInterrupt):
        train_kept(broken, entry(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_kill_costs_what_came_after_the_last_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each step takes seven seconds: states are written after 30, that is after steps 5 and 10."""
    now = [0.0]
    monkeypatch.setattr(resumable, "time", SimpleNamespace(monotonic=lambda: now[0]))
    own = Trainer.step

    def slow(self: Trainer) -> None:
        own(self)
        now[0] += 7

    monkeypatch.setattr(Trainer, "step", slow)
    disk: dict[int, Path] = {}

    def killed(done: int) -> None:
        disk[done] = tmp_path / str(done)
        shutil.copytree(tmp_path / "store", disk[done])

    assert train_kept(trainer(), entry(tmp_path / "store"), killed).seconds == 12 * 7
    for done, goes_on in ((4, 1), (5, 6), (9, 6), (10, 11), (12, 11)):
        later, told = trainer(), list[int]()
        spent = train_kept(later, entry(disk[done]), told.append)
        assert told[0] == goes_on
        assert spent == (12 * 7, 7 * (goes_on - 1), False)
        assert equal(later.result(), whole())


@pytest.mark.parametrize("harm", ["torn", "foreign", "changed", "other network", "no history", "too far"])
def test_a_state_that_is_not_whole_is_begun_anew(harm: str, tmp_path: Path) -> None:
    place = entry(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_kept(trainer(), place, until(5))
    file, record = place.unfinished.file, place.unfinished.read()
    assert record is not None
    tensors, about = read_tensors(file)
    if harm == "torn":
        file.write_bytes(file.read_bytes()[:-1])
    elif harm == "foreign":
        file.write_bytes(b"\x80\x04a pickle is never opened")
    elif harm == "changed":
        save_file(tensors | {"momentum/head.bias": torch.ones(3)}, file, about)
    elif harm == "other network":
        wider = trainer(net="convnet2:norm=batch:width=5")
        wider.step()
        place.unfinished.write(Record(wider.state(), 1.0))
    elif harm == "no history":
        place.unfinished.write(Record({n: t for n, t in tensors.items() if n != "history/right"}, 1.0))
    else:
        place.unfinished.write(Record(tensors | {"done": torch.tensor(13)}, 1.0))
    later, told = trainer(), list[int]()
    spent = train_kept(later, place, told.append)
    assert told[0] == 1
    assert spent.earlier == 0
    assert equal(later.result(), whole())


def test_another_key_is_another_training(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_kept(trainer(), entry(tmp_path, seed=0), until(5))
    other, told = trainer(seed=1), list[int]()
    train_kept(other, entry(tmp_path, seed=1), told.append)
    assert told[0] == 1
    assert equal(other.result(), whole(seed=1))
    assert entry(tmp_path, seed=0).unfinished.read() is not None


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyboardInterrupt):
        train_kept(trainer(), entry(tmp_path / "file" / "in"), until(5))
    later, told = trainer(), list[int]()
    train_kept(later, entry(tmp_path / "file" / "in"), told.append)
    assert told[0] == 1
    assert equal(later.result(), whole())


def test_a_loss_that_is_no_number_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "WRITE_EVERY", 0.0)
    for _ in range(2):
        told: list[int] = []
        with pytest.raises(RunFailed, match="lower the rate"):
            train_kept(trainer(Training(epochs=4, batch=25, lr=1e30), net="mlp:width=8"), entry(tmp_path), told.append)
        assert told[0] == 1
        assert list(tmp_path.iterdir()) == []


def test_a_failure_of_the_caller_keeps_the_state(tmp_path: Path) -> None:
    with pytest.raises(RunFailed):
        train_kept(trainer(), entry(tmp_path), until(5, RunFailed))
    later, told = trainer(), list[int]()
    train_kept(later, entry(tmp_path), told.append)
    assert told[0] == 6


def test_a_state_without_a_store_of_results_stays_for_its_owner(tmp_path: Path) -> None:
    place = entry(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_on(trainer(), place, until(5))
    later = trainer()
    assert train_on(later, place).earlier > 0
    assert equal(later.result(), whole())
    assert place.read() is not None
    place.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_a_trainer_takes_the_state_of_another_in_any_precision_and_layout(precision: torch.dtype) -> None:
    def made(layout: torch.memory_format) -> Trainer:
        one = trainer()
        one.network.to(precision).to(memory_format=layout)  # type: ignore[call-overload]
        one._images = lambda chosen: REAL.images(chosen).to(precision)
        return one

    plain, other = made(torch.contiguous_format), made(torch.contiguous_format)
    for _ in range(7):
        plain.step()
    other.load(plain.state())
    moved = made(torch.channels_last)
    moved.load(plain.state())
    assert equal(moved.state(), plain.state())
    for _ in range(5):
        plain.step()
        other.step()
    assert equal(other.state(), plain.state())
