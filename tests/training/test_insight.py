"""What coresets choose by: the training that is watched, and what of it is kept on the disk."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import make_real

import datadam
from datadam import machine, nets
from datadam.data import RealData
from datadam.files.kept import Entry, Record
from datadam.files.whole import read_tensors, write_tensors
from datadam.rng import stream
from datadam.training import insight, resumable
from datadam.training.difficulty import SCORES
from datadam.training.insight import Insight
from datadam.training.trainer import Trainer, Training

NET = "convnet1:width=4"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    return tmp_path / "insight"


@pytest.fixture
def trainings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the trainings that were begun."""
    begun: list[int] = []
    train = resumable.train_on

    def counted(trainer: Trainer, *arguments: object) -> resumable.Spent:
        begun.append(trainer.seed)
        return train(trainer, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(resumable, "train_on", counted)
    return begun


def shuffled(real: RealData, seed: int) -> RealData:
    """The same images, their training part in another order."""
    order = np.random.default_rng(seed).permutation(len(real.train))
    part = replace(real.train, pixels=real.train.pixels[order], labels=real.train.labels[order])
    return replace(real, train=part)


def test_the_training_is_the_plain_one_and_every_turn_of_an_image_is_watched(folder: Path) -> None:
    real, epochs = make_real(per_class=100), 6  # a batch of 256 and a smaller one
    order = sorted(range(300), key=lambda i: digest(real, i))
    images, labels = real.images(order), torch.from_numpy(real.train.labels)[order]
    net = nets.build(NET, shape=real.shape, classes=3)
    nets.initialise(net, stream(5, "coreset", "trained", 0))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    looks = np.zeros((epochs, 300), dtype=bool)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.01 if epoch < 3 else 0.001
        for chosen in torch.randperm(300, generator=stream(5, "coreset", "trained", 0, "order", epoch)).split(256):
            logits = net(images[chosen])
            looks[epoch, chosen] = (logits.argmax(1) == labels[chosen]).numpy()
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[chosen]).backward()
            optimizer.step()
    assert 0.3 < looks.mean() < 0.99
    seen = Insight(real, 5, NET)
    for k in range(3):
        mine = labels.numpy() == k
        forgotten, learned = seen.forgetting(k, epochs)
        assert forgotten.tolist() == (looks[:-1] & ~looks[1:])[:, mine].sum(0).tolist()
        assert learned.tolist() == looks[:, mine].any(0).tolist()
        assert seen.members(k).tolist() == np.array(order)[mine].tolist()
        expected = net.features(images[mine]).embedding.detach()
        torch.testing.assert_close(seen.embeddings(k, epochs), expected, rtol=1e-4, atol=1e-6)


def digest(real: RealData, i: int) -> bytes:
    return hashlib.sha256(np.int64(real.train.labels[i]).tobytes() + real.train.pixels[i].tobytes()).digest()


def test_one_training_serves_every_rule_and_is_not_made_twice(real: RealData, trainings: list[int]) -> None:
    first = Insight(real, 0, NET)
    looked = (first.embeddings(0, 2), *first.forgetting(1, 2))
    assert trainings == [0]
    assert first.past == 0
    again = Insight(real, 0, NET)
    again_looked = (again.embeddings(0, 2), *again.forgetting(1, 2))
    assert all(torch.equal(a, b) for a, b in zip(looked, again_looked, strict=True))
    assert trainings == [0]
    assert again.past > 0  # what the training took then
    first.embeddings(0)
    assert trainings == [0]  # random weights


def test_other_seed_epochs_data_network_or_whitening_are_trained_anew(real: RealData, trainings: list[int]) -> None:
    Insight(real, 0, NET).embeddings(0, 2)
    others = [
        (real, 1, NET, 2), (real, 0, NET, 3), (make_real(seed=1), 0, NET, 2), (real, 0, "convnet1:width=5", 2),
        (real.with_zca("kornia"), 0, NET, 2),
    ]  # fmt: skip
    for count, (data, seed, net, epochs) in enumerate(others, 2):
        Insight(data, seed, net).embeddings(0, epochs)
        assert len(trainings) == count


def test_scores_are_means_over_networks_early_in_training(real: RealData, trainings: list[int]) -> None:
    seen = Insight(real, 0, NET)
    one, three = (seen.difficulty(1, "el2n", averaged, 2) for averaged in (1, 3))
    assert len(trainings) == 3
    seen.difficulty(1, "grand", 3, 2)
    assert len(trainings) == 3  # the networks are those of the other score
    single = []
    for number in range(3):
        net = nets.build(NET, shape=real.shape, classes=3)
        nets.initialise(net, stream(0, "coreset", "trained", number))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        order = torch.from_numpy(real.order)
        for epoch in range(2):  # one batch an epoch; the rate does not fall
            chosen = order[torch.randperm(36, generator=stream(0, "coreset", "trained", number, "order", epoch))]
            optimizer.zero_grad()
            F.cross_entropy(net(real.images(chosen)), torch.from_numpy(real.train.labels)[chosen]).backward()
            optimizer.step()
        error = net(real.images(seen.members(1))).softmax(1) - torch.tensor([0.0, 1.0, 0.0])
        single.append(error.norm(dim=1).detach().double())
    torch.testing.assert_close(one, single[0], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(three, torch.stack(single).mean(0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("harm", ["torn", "empty", "foreign", "renamed", "changed", "nan", "other shape"])
def test_a_file_that_is_not_whole_or_not_ours_is_made_anew(real: RealData, trainings: list[int], folder: Path, harm: str) -> None:
    before = Insight(real, 0, NET).embeddings(0, 2)
    (file,) = folder.glob("*.safetensors")
    whole = file.read_bytes()
    tensors, words = read_tensors(file)
    if harm == "torn":
        file.write_bytes(whole[: len(whole) // 2])
    elif harm == "empty":
        file.write_bytes(b"")
    elif harm == "foreign":
        file.write_bytes(b"\x80\x04a pickle is never opened")
    elif harm == "renamed":
        write_tensors(file, tensors, words | {"key": words["key"].replace('"seed": 0', '"seed": 1')})
    elif harm == "changed":
        write_tensors(file, tensors | {"weight/head.bias": torch.ones(3)}, words)
    elif harm == "nan":
        Entry(file, words["key"]).write(Record(tensors | {"weight/head.bias": torch.full((3,), torch.nan)}, 1.0))
    else:
        Entry(file, words["key"]).write(Record(tensors | {"history/learned": torch.ones(5, dtype=torch.bool)}, 1.0))
    assert torch.equal(Insight(real, 0, NET).embeddings(0, 2), before)
    assert len(trainings) == 2
    assert torch.equal(Insight(real, 0, NET).embeddings(0, 2), before)
    assert len(trainings) == 2


def test_nothing_but_whole_files_is_left(real: RealData, folder: Path) -> None:
    Insight(real, 0, NET).difficulty(0, "grand", 2, 1)
    assert {path.suffix for path in folder.iterdir()} == {".safetensors"}
    assert len(list(folder.iterdir())) == 4


def test_a_cache_that_cannot_be_written_hinders_nobody(real: RealData, trainings: list[int], tmp_path: Path, monkeypatch) -> None:
    before = Insight(real, 0, NET).embeddings(0, 2)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "file"))
    assert torch.equal(Insight(real, 0, NET).embeddings(0, 2), before)
    assert len(trainings) == 2


def test_what_broke_off_is_gone_on_with_and_counts_into_the_seconds(
    real: RealData, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(what: str, done: int, total: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Insight(real, 0, NET, progress=stop).embeddings(0, 4)
    assert [path.name.split(".", 1)[1] for path in folder.iterdir()] == ["unfinished.safetensors"]
    steps: list[int] = []
    later = Insight(real, 0, NET, progress=lambda what, done, total: steps.append(done))
    found = (later.embeddings(0, 4), *later.forgetting(0, 4))
    assert steps == [3, 4]
    assert 0 < later.past < later.met[0].seconds
    assert not later.met[0].found
    assert [path.name.split(".", 1)[1] for path in folder.iterdir()] == ["safetensors"]
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "another"))
    whole = Insight(real, 0, NET)
    assert all(torch.equal(a, b) for a, b in zip(found, (whole.embeddings(0, 4), *whole.forgetting(0, 4)), strict=True))


def test_the_order_of_the_files_does_not_matter(real: RealData, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shuffled(real, 3)
    assert other.checksum == real.checksum
    assert sorted(other.order.tolist()) == list(range(36))
    assert np.array_equal(real.train.pixels[real.order], other.train.pixels[other.order])
    mine = Insight(real, 0, NET)
    before = (mine.embeddings(1, 2), *mine.forgetting(1, 2), mine.difficulty(1, "el2n", 2, 1))
    for cache in (folder.parent, folder / "another"):  # with what is kept, and without
        monkeypatch.setenv("DATADAM_CACHE", str(cache))
        theirs = Insight(other, 0, NET)
        again = (theirs.embeddings(1, 2), *theirs.forgetting(1, 2), theirs.difficulty(1, "el2n", 2, 1))
        assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))
        assert np.array_equal(real.train.pixels[mine.members(1)], other.train.pixels[theirs.members(1)])


def test_progress_is_told_to_the_end(real: RealData, folder: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    Insight(real, 0, NET, progress=lambda what, done, total: told.append((what, done, total))).difficulty(0, "el2n", 1, 3)
    assert [done for what, done, total in told if what.startswith("training")] == [1, 2, 3]
    assert told[-1] == ("el2n of all images, network 1", 36, 36)


def test_long_trainings_are_compiled_and_learn_the_same(real: RealData, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def as_it_is(network: object, device: str) -> object:
        compiled.append(network)
        return network

    plain = Insight(real, 0, NET).embeddings(0, 2)
    monkeypatch.setattr(machine, "compiled", as_it_is)
    monkeypatch.setattr(machine, "can_compile", lambda device: True)
    monkeypatch.setattr("datadam.training.trainer.COMPILING_PAYS", 1)
    monkeypatch.setenv("DATADAM_CACHE", str(folder / "another"))
    first = Insight(real, 0, NET)
    seen = first.embeddings(0, 2)
    torch.testing.assert_close(seen, plain, rtol=1e-4, atol=1e-5)  # weights laid out anew, so that sums come in another order
    assert len(compiled) == 1
    again = Insight(real, 0, NET)  # finds the training, and must see the images just so
    assert torch.equal(again.embeddings(0, 2), seen)
    assert len(compiled) == 1
    made, found = (one._trained(Training(epochs=2), 0)[0].state_dict() for one in (first, again))
    assert {name: value.stride() for name, value in made.items()} == {name: value.stride() for name, value in found.items()}


def test_memory_maps_are_read_a_part_at_a_time(real: RealData, folder: Path, tmp_path: Path, monkeypatch) -> None:
    before = Insight(real, 0, NET).embeddings(0)
    np.save(tmp_path / "pixels.npy", real.train.pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    far = datadam.RealData(
        name=real.name, source=real.source, options=real.options, classes=real.classes, test=real.test, transform=real.transform,
        train=replace(real.train, pixels=mapped),
    )  # fmt: skip
    sizes = []
    images = RealData.images

    def counted(self, indices, *arguments, **options):  # type: ignore[no-untyped-def]
        sizes.append(len(indices))
        return images(self, indices, *arguments, **options)

    monkeypatch.setattr(RealData, "images", counted)
    monkeypatch.setattr(insight, "images_at_once", lambda shape: 5)
    torch.testing.assert_close(Insight(far, 0, NET).embeddings(0), before)
    assert sizes == [5, 5, 2]


def test_what_a_choice_rests_on_is_noticed_once_with_its_own_seconds(
    real: RealData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training of ten seconds and a look of one: never eleven for the look."""
    now = [0.0]
    monkeypatch.setattr(insight, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(resumable, "time", insight.time)

    def slow(own: Callable[..., object], took: float) -> Callable[..., object]:
        def work(*arguments: object) -> object:
            now[0] += took
            return own(*arguments)

        return work

    monkeypatch.setattr(Trainer, "step", slow(Trainer.step, 10.0))
    for name, score in SCORES.items():
        monkeypatch.setitem(SCORES, name, slow(score, 1.0))
    one = Insight(real, 0, NET)
    for k in range(3):
        one.difficulty(k, "el2n", 2, 1)
    assert [(met.what, met.seconds, met.found) for met in one.met] == [("training", 10, False), ("el2n", 1, False)] * 2
    assert len({met.name for met in one.met}) == 4
    assert one.past == 0
    other = Insight(real, 0, NET)
    other.difficulty(0, "grand", 1, 1)
    other.difficulty(0, "el2n", 1, 1)
    assert [(met.what, met.seconds, met.found) for met in other.met] == [
        ("training", 10, True), ("grand", 1, False), ("el2n", 1, True),
    ]  # fmt: skip
    assert other.met[0].name == one.met[0].name
    assert other.past == 11
