"""Teachers: what they say about images, and where they come from."""

import math
from pathlib import Path

import pytest
import torch
from small import make_real

from datadam import nets
from datadam.data import RealData
from datadam.errors import InvalidInput, UnknownName
from datadam.nets import Network
from datadam.rng import stream
from datadam.training import teachers as module
from datadam.training.insight import Insight
from datadam.training.pretrain import pretrain
from datadam.training.teachers import teacher_logits, teachers
from datadam.training.trainer import Training

NET = "convnet1:width=4"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def networks(count: int, net: str = "convnet2:norm=batch:width=4") -> list[Network]:
    made = []
    for number in range(count):
        network = nets.build(net, shape=(3, 8, 8), classes=5)
        nets.initialise(network, stream(0, "teacher", number))
        network(torch.randn(20, 3, 8, 8, generator=stream(0, "statistics", number)))  # batch norm gets statistics of its own
        made.append(network)
    return made


def accuracy(real: RealData, logits: torch.Tensor, part: str) -> float:
    return float((logits.argmax(1) == torch.from_numpy(real.part(part).labels)).double().mean())


def test_logits_are_the_mean_over_teachers_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(11, 3, 8, 8, generator=stream(0, "images"))
    these = networks(3)
    these[1].eval()
    with torch.no_grad():
        expected = torch.stack([network.eval()(images) for network in networks(3)]).mean(0)
    whole = teacher_logits(images, these)
    assert whole.dtype == torch.float32
    assert not whole.requires_grad
    torch.testing.assert_close(whole, expected)
    assert [network.training for network in these] == [True, False, True]
    monkeypatch.setattr(module, "images_at_once", lambda shape, device: 4)
    torch.testing.assert_close(teacher_logits(images, iter(these)), expected)
    wide = [network.double() for network in networks(3)]  # each is asked in its own precision
    torch.testing.assert_close(teacher_logits(images, wide), expected)


def test_no_teacher_is_told() -> None:
    with pytest.raises(InvalidInput, match="no teacher came"):
        teacher_logits(torch.zeros(2, 3, 8, 8), [])


def test_teachers_of_a_pool_are_all_states_of_its_bucket(tmp_path: Path) -> None:
    real = make_real(per_class=40)
    pool = pretrain(real, tmp_path / "pool", net=NET, count=2, epochs=12, augment="none")
    images = real.images(range(len(real.test)), "test")
    every = list(teachers(f"{tmp_path / 'pool'}@0-100", real))
    assert len(every) == len(pool.states)
    with torch.no_grad():
        expected = torch.stack([network(images) for network in every]).mean(0)
    torch.testing.assert_close(teacher_logits(images, every), expected)
    most = max(100 * state.accuracy for state in pool.states)
    best = list(teachers(f"{tmp_path / 'pool'}@{most - 0.01:.2f}-100", real))
    assert 0 < len(best) < len(every)
    assert accuracy(real, teacher_logits(images, best), "test") > 1 / 3


def test_teachers_are_trained_on_the_whole_set_once(cache: Path) -> None:
    real, told = make_real(per_class=40), list[tuple[str, int, int | None]]()
    images = real.images(range(len(real.test)), "test")
    first = teacher_logits(
        images, teachers(NET, real, epochs=30, count=2, seed=1, progress=lambda *what: told.append(what))
    )  # fmt: skip
    assert {what for what, _, _ in told} == {"training network 1 on the real set", "training network 2 on the real set"}
    assert len(told) == 2 * 30
    told.clear()
    again = teacher_logits(images, teachers(NET, real, epochs=30, count=2, seed=1, progress=lambda *what: told.append(what)))
    assert torch.equal(first, again)
    assert told == []
    assert len(list((cache / "insight").iterdir())) == 2
    learned = teacher_logits(real.images(range(len(real.train))), teachers(NET, real, epochs=30, count=2, seed=1))
    assert torch.nn.functional.cross_entropy(learned, torch.from_numpy(real.train.labels)) < 0.9 * math.log(3)
    training = Training(epochs=30, augment=module.strategy_for(real.name))
    single = [Insight(real, 1, NET).trained(training, number) for number in range(2)]
    torch.testing.assert_close(teacher_logits(images, single), first)
    assert not torch.equal(teacher_logits(images, teachers(NET, real, epochs=30, count=2, seed=2)), first)


@pytest.mark.parametrize(
    ("word", "settings", "error", "told"),
    [
        ("convnt3", {}, UnknownName, "convnt3"),
        (NET, {"count": 0}, InvalidInput, "count is 0"),
        (NET, {"epochs": 0}, InvalidInput, "epochs is 0"),
        ("nowhere@0-100", {}, InvalidInput, "no pool"),
        ("pool@100-0", {}, InvalidInput, "range of accuracy"),
        ("pool@0-100", {"epochs": 3}, InvalidInput, "trained already"),
        ("pool@0-100", {"count": 3}, InvalidInput, "trained already"),
    ],
)
def test_what_is_refused_is_refused_at_once(word: str, settings: dict, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        teachers(word, make_real(), **settings)
