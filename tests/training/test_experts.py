"""Experts: the weights of a training after each epoch, kept, gone on with, and refused where they do not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import make_real
from torch import Tensor

from datadam import nets
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.files.whole import read_json, write_json
from datadam.rng import stream
from datadam.training.experts import Experts, open_experts, parse
from datadam.training.make_experts import bytes_of, make_experts
from datadam.training.needs import Needs, prepare
from datadam.training.trainer import Training, train

NET = "convnet1:width=4"
PLAIN = Training(epochs=3, batch=16, lr=0.1, momentum=0.0, weight_decay=0.0, drop_after=3, augment="dsa")


def data() -> RealData:
    return make_real(per_class=12)


def made(folder: Path, count: int = 2, **options: object) -> Experts:
    return make_experts(data(), folder, NET, PLAIN, count, 0, **options)  # type: ignore[arg-type]


def by_hand(number: int) -> list[Tensor]:
    """What an expert is: the trainer's weights before the first epoch and after each, copied."""
    real, network = data(), nets.build(NET, shape=(3, 8, 8), classes=3)
    nets.initialise(network, stream(0, "expert", number, "init"))
    words = Training(**{**vars(PLAIN), "augment": "color_crop_cutout_flip_scale_rotate"})
    flat = lambda: torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()  # noqa: E731
    stamps = [flat()]
    for _ in train(network, real.images, torch.from_numpy(real.train.labels), words, 0, "expert", number):
        stamps.append(flat())
    return stamps


def test_the_weights_after_each_epoch_are_those_of_the_trainer_and_all_different(tmp_path: Path) -> None:
    experts = made(tmp_path / "experts")
    assert (experts.networks, experts.epochs, experts.about["weights"]) == (2, 3, len(by_hand(0)[0]))
    for number in range(2):
        found = experts.weights(number, 0, 1, 2, 3)
        assert all(torch.equal(one, other) for one, other in zip(found, by_hand(number), strict=True))
        assert len({float(stamp.sum()) for stamp in found}) == 4  # none is an alias of the last
    experts.check(deep=True)
    assert bytes_of(data(), NET, 3, 2) == sum(load_file(experts.file(n))["epochs"].nbytes for n in range(2))


def test_more_experts_and_interrupted_ones_end_with_the_same_bits(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole", 3)

    def stop(number: int, done: int, steps: int) -> None:
        if (number, done) == (1, 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "parts", 2, after_step=stop)
    assert Experts.read(tmp_path / "parts").networks == 1
    told: list[tuple[int, int]] = []
    assert made(tmp_path / "parts", 2, after_step=lambda n, done, steps: told.append((n, done))).digests == whole.digests[:2]
    assert told == [(1, done) for done in range(6, 10)]  # and nothing was done twice
    assert made(tmp_path / "parts", 3).digests == whole.digests


def test_half_the_bytes_in_float16(tmp_path: Path) -> None:
    one, half = made(tmp_path / "one", 1), made(tmp_path / "half", 1, form="float16")
    assert torch.equal(half.weights(0, 3)[0], one.weights(0, 3)[0].half().float())
    assert 2 * half.file(0).stat().st_size < 1.2 * one.file(0).stat().st_size


@pytest.mark.parametrize("harm", ["short", "changed", "missing", "form"])
def test_damaged_files_are_refused(harm: str, tmp_path: Path) -> None:
    experts = made(tmp_path / "experts")
    path, spec = experts.file(1), f"experts:{tmp_path / 'experts'}"
    assert open_experts(spec, data(), NET, 3) == experts
    if harm == "missing":
        path.unlink()
    elif harm == "short":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "changed":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    else:
        index = read_json(tmp_path / "experts/index.json")
        index["about"]["training"]["epochs"] = 2
        write_json(tmp_path / "experts/index.json", index)
    with pytest.raises(ArtifactError, match=r"00001.*make the experts again" if harm != "form" else "the index says"):
        experts.check(deep=True) if harm == "changed" else open_experts(spec, data(), NET, 2)


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    experts = made(tmp_path / "experts", 1)
    good = experts.to_json()
    for wrong in (
        {"format": "other"}, {"experts": ["no checksum"]}, {"experts": 3}, {"about": {}},
        {"about": good["about"] | {"weights": "many"}}, {"about": good["about"] | {"form": "float8"}},
    ):  # fmt: skip
        write_json(tmp_path / "experts/index.json", good | wrong)
        with pytest.raises(ArtifactError, match="no index of experts"):
            Experts.read(tmp_path / "experts")
    with pytest.raises(ArtifactError, match="holds no experts"):
        Experts.read(tmp_path / "nowhere")


def test_experts_of_another_run_are_refused_with_all_that_differs(tmp_path: Path) -> None:
    spec, real = f"experts:{made(tmp_path / 'experts', 1).folder}", data()
    order = replace(real, classes=tuple(reversed(real.classes)))
    for other, net, told in (
        (real, "convnet1:width=5", "net convnet1:width=4, this run has convnet1:width=5"),
        (make_real(per_class=13), NET, "checksum"),
        (real.with_zca("kornia"), NET, "whitening none .*, this run has with whitening kornia"),
        (order, NET, "classes"),
    ):
        with pytest.raises(InvalidInput, match=told):
            open_experts(spec, other, net, 3)
    with pytest.raises(InvalidInput, match=r"3 epochs, and the window of this run reaches to epoch 4.*at least 4 epochs"):
        open_experts(spec, real, NET, 4)
    with pytest.raises(ArtifactError, match="have changed since this run began"):
        open_experts(f"{spec}#{'0' * 64}", real, NET, 3)
    with pytest.raises(InvalidInput, match="experts:experts/cifar10"):
        parse("experts:")
    assert parse("random") is None


def test_another_folder_is_asked_for_where_this_one_is_taken(tmp_path: Path) -> None:
    made(tmp_path / "experts", 1)
    with pytest.raises(InvalidInput, match=r"holds a folder of experts made with another form"):
        made(tmp_path / "experts", 1, form="float16")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter.txt").touch()
    with pytest.raises(InvalidInput, match="no folder of experts"):
        made(tmp_path / "other")
    for options, told in (({"count": 0}, "count is 0"), ({"form": "float8"}, "allowed: float32, float16")):
        with pytest.raises(InvalidInput, match=told):
            made(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_run_that_needs_them_has_them_made_once_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    told: list[str] = []
    needs = Needs("experts", PLAIN, 2)

    def again() -> Experts:
        told.clear()
        found = prepare(needs, data(), net=NET, seed=0, progress=lambda what, done, total: told.append(what))
        assert isinstance(found, Experts)
        return found

    first = again()
    assert set(told) == {"training network 1 of 2", "training network 2 of 2"}
    assert again() == first
    assert told == []
    assert first.digests == made(tmp_path / "own").digests
    first.file(0).write_bytes(b"torn")
    assert again() == first
    assert told


def test_want_of_room_is_told_before_any_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(InvalidInput, match=r"2 experts of 3 epochs take .* and .* has .* free; ask for fewer"):
        prepare(Needs("experts", PLAIN, 2), data(), net=NET, seed=0)
