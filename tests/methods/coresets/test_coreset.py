"""Coresets as methods: what they choose, what they refuse, and what their card says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import make_real

import datadam
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput, NotEnoughMemory, UnknownName
from datadam.methods import EL2N, Coreset, Forgetting, GraNd, Herding, KCenter, KMeans, Random
from datadam.methods.catalog import CATALOG
from datadam.training import resumable
from datadam.training.insight import Insight

NET = "convnet1:width=4"
QUICK: dict[str, Coreset] = {
    "random": Random(), "kcenter": KCenter(epochs=2), "kcenter random": KCenter(features="random"), "kmeans": KMeans(epochs=2),
    "kcenter first": KCenter(epochs=2, first="random"),
    "kmeans random": KMeans(features="random"), "herding": Herding(epochs=2), "herding random": Herding(features="random"),
    "forgetting": Forgetting(epochs=2), "el2n": EL2N(epochs=1), "el2n easiest": EL2N(epochs=1, pick="easiest"),
    "grand": GraNd(epochs=1), "grand easiest": GraNd(epochs=1, pick="easiest"),
}  # fmt: skip
LEARNED = [name for name in QUICK if name != "random"]


def select(method: Coreset, real: RealData, ipc: int, seed: int = 0) -> list[list[int]]:
    return [chosen.tolist() for chosen in method.choose(Insight(real, seed, NET), ipc)]


def test_every_coreset_is_tried_here() -> None:
    assert {type(method) for method in QUICK.values()} == {kind for kind in CATALOG.values() if issubclass(kind, Coreset)}


@pytest.mark.parametrize("name", QUICK)
def test_different_images_of_their_class(name: str, real: RealData) -> None:
    for ipc in (1, 4, 12):
        chosen = select(QUICK[name], real, ipc)
        for k, indices in enumerate(chosen):
            assert len(indices) == len(set(indices)) == ipc
            assert set(indices) <= set(real.by_class[k].tolist())
    assert select(QUICK[name], real, 4) == select(QUICK[name], real, 4)


@pytest.mark.parametrize("name", QUICK)
def test_another_seed_is_another_choice(name: str) -> None:
    real = make_real(per_class=40)
    assert any(select(QUICK[name], real, 6) != select(QUICK[name], real, 6, seed) for seed in (1, 2))


@pytest.mark.parametrize("name", LEARNED)
def test_the_order_of_the_files_does_not_matter(name: str, real: RealData) -> None:
    order = np.random.default_rng(1).permutation(len(real.train))
    part = replace(real.train, pixels=real.train.pixels[order], labels=real.train.labels[order])
    other = replace(real, train=part)
    mine, theirs = select(QUICK[name], real, 4), select(QUICK[name], other, 4)
    assert [[int(order[i]) for i in indices] for indices in theirs] == mine


@pytest.mark.parametrize("name", ["random", "kcenter", "kcenter first", "herding", "forgetting", "el2n easiest", "grand"])
def test_a_larger_choice_begins_with_the_smaller(name: str, real: RealData) -> None:
    small, large = select(QUICK[name], real, 3), select(QUICK[name], real, 9)
    assert [indices[:3] for indices in large] == small


@pytest.mark.parametrize("name", ["el2n", "grand"])
def test_hardest_and_easiest_are_the_two_ends(name: str, real: RealData) -> None:
    hard, easy = select(QUICK[name], real, 12), select(QUICK[f"{name} easiest"], real, 12)
    assert [indices[::-1] for indices in hard] == easy


def test_el2n_finds_wrong_labels() -> None:
    """The paper's use: what is labelled wrong is hard."""
    real = make_real(classes=2, per_class=60)
    labels = real.train.labels.copy()
    wrong = np.concatenate([np.flatnonzero(labels == k)[:3] for k in range(2)])
    labels[wrong] = 1 - labels[wrong]
    data = replace(real, train=replace(real.train, labels=labels))
    hard = np.concatenate(select(EL2N(epochs=40), data, 3))
    easy = np.concatenate(select(EL2N(epochs=40, pick="easiest"), data, 50))
    assert set(hard.tolist()) == set(wrong.tolist())
    assert not set(easy.tolist()) & set(wrong.tolist())


@pytest.mark.parametrize("name", QUICK)
def test_a_class_that_is_too_small_is_refused_before_any_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(per_class=(5, 3, 5))
    monkeypatch.setattr(resumable, "train_on", None)
    told = r"ipc is 4 but class '1' has only 3 training images; ask for at most 3$"
    with pytest.raises(InvalidInput, match=told):
        select(QUICK[name], real, 4)
    with pytest.raises(InvalidInput, match=told):
        datadam.begin(real, Recipe(method=QUICK[name], ipc=4, iterations=0, net=NET))
    with pytest.raises(InvalidInput, match=r"ipc .* is 0"):
        select(QUICK[name], real, 0)


@pytest.mark.parametrize("name", QUICK)
def test_a_run_has_no_iterations_and_its_card_makes_it_again(name: str, real: RealData, tmp_path: Path) -> None:
    recipe = Recipe(method=QUICK[name], ipc=3, iterations=0, net=NET, augment="none", seed=2)
    small = datadam.distill(real, recipe, out=tmp_path / "run")
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert Recipe.from_card(card["recipe"]) == replace(recipe, precision="float32")  # "auto", settled
    assert (card["kind"], card["iterations_done"], card["moved"], card["warnings"]) == ("coreset", 0, 0.0, [])
    chosen = QUICK[name].choose(Insight(real, 2, NET), 3)
    assert torch.equal(small.images, real.images(torch.cat(chosen)))
    assert small.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert card["citations"] == ([QUICK[name].citation] if name != "random" else [])


def test_the_choice_is_made_in_the_run_s_own_network_space(real: RealData) -> None:
    recipe = Recipe(method=Herding(epochs=2), ipc=2, iterations=0, net=NET, zca="kornia")
    white = real.with_zca("kornia")
    chosen = Herding(epochs=2).choose(Insight(white, 0, NET), 2)
    torch.testing.assert_close(datadam.distill(real, recipe).images, white.images(torch.cat(chosen)))


def test_a_run_counts_the_seconds_of_a_training_that_an_earlier_one_had_made(real: RealData, monkeypatch) -> None:
    def found(self: Insight, k: int, epochs: int = 0) -> torch.Tensor:
        self.past = 1200.0
        return torch.eye(12)

    monkeypatch.setattr(Insight, "embeddings", found)
    recipe = Recipe(method=Herding(), ipc=1, iterations=0, net=NET)
    assert datadam.distill(real, recipe).card["seconds"] >= 1200


def test_a_network_that_does_not_fit_is_refused_before_any_training(real: RealData, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(resumable, "train_on", None)
    for net, error in (("convnet4", InvalidInput), ("convnett", UnknownName)):
        with pytest.raises(error):
            datadam.distill(real, Recipe(method=Herding(), ipc=1, iterations=0, net=net), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_training(real: RealData, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(resumable, "train_on", None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInput, match="cannot write into"):
        datadam.distill(real, Recipe(method=Herding(), ipc=1, iterations=0, net=NET), out=tmp_path / "file" / "run")


def test_memory_that_a_training_needs_is_refused_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "train_on", None)
    real = make_real(shape=(3, 64, 64))
    recipe = Recipe(method=Herding(), ipc=1, iterations=0, net="convnet1:width=64")
    with pytest.raises(NotEnoughMemory, match=r"choose by random features, or at random, take a narrower net"):
        datadam.distill(real, recipe, memory_limit=600_000_000)
    assert len(datadam.distill(real, recipe.change({"features": "random"}), memory_limit=600_000_000).images) == 3


def test_a_coreset_cannot_start_from_a_run(real: RealData) -> None:
    recipe = Recipe(method=Random(), ipc=2, iterations=0, net=NET)
    with pytest.raises(InvalidInput, match="random chooses real images; it cannot start from those of an earlier run"):
        datadam.distill(real, recipe, earlier=real.images([0, 1, 2]))


@pytest.mark.parametrize("settings", [{"iterations": 3}, {"iterations": 0, "start": "noise"}])
def test_a_coreset_learns_nothing(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="herding chooses real images and learns nothing"):
        Recipe(method=Herding(), ipc=1, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "settings", "faults"),
    [
        ("herding", {"features": "learned", "epochs": "0"}, ("features is 'learned'; allowed: trained, random", "epochs is 0")),
        ("kcenter", {"features": "random", "epochs": 3}, ("leave epochs out",)),
        ("kcenter", {"first": "last", "epochs": 0}, ("first is 'last'; allowed: mean, random", "epochs is 0")),
        ("forgetting", {"epochs": 1.5}, ("epochs is 1.5",)),
        ("forgetting", {"epoch": 3}, ("Did you mean 'epochs'",)),
        ("el2n", {"pick": "hard", "averaged": 0}, ("pick is 'hard'; allowed: hardest, easiest", "averaged is 0")),
        ("grand", {"epochs": True}, ("epochs is True",)),
        ("random", {"epochs": 3}, ("unknown setting 'epochs'",)),
    ],
)
def test_wrong_settings_are_refused_together(name: str, settings: dict[str, object], faults: tuple[str, ...]) -> None:
    recipe = datadam.preset(name, make_real(), ipc=1)
    with pytest.raises(InvalidInput) as caught:
        recipe.change(settings)
    assert all(fault in str(caught.value) for fault in faults)


def test_settings_by_name() -> None:
    real = make_real()
    assert datadam.preset("herding", real, ipc=1).change({"features": "random"}).method == Herding(features="random")
    assert datadam.preset("el2n", real, ipc=1).change({"pick": "easiest", "averaged": "2"}).method == EL2N(
        pick="easiest", averaged=2
    )


def test_what_a_choice_costs_is_known_beforehand(real: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    train = resumable.train_on

    def counted(trainer, *arguments):  # type: ignore[no-untyped-def]
        begun.append(trainer.training.epochs)
        return train(trainer, *arguments)

    monkeypatch.setattr(resumable, "train_on", counted)
    assert [kind().training_epochs for kind in (Random, Herding, KCenter, KMeans, Forgetting, EL2N, GraNd)] == [
        0,
        *[20] * 4,
        15,
        15,
    ]
    for name, method in QUICK.items():
        begun.clear()
        select(method, make_real(seed=sum(name.encode())), 2)  # data that no other test has trained on
        assert sum(begun) == method.training_epochs, name


def test_kcenter_begins_with_the_drawn_image_of_each_class(real: RealData) -> None:
    from datadam.methods.coresets import kcenter

    for seed in (0, 1):
        insight = Insight(real, seed, NET)
        for k, chosen in enumerate(KCenter(epochs=2, first="random").choose(insight, 3)):
            first = kcenter.random_first(12, seed, real.classes[k])
            assert chosen[0] == insight.members(k)[first]
