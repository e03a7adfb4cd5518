"""The exam that every method of the catalogue sits: a new row of it is examined without a word here, unless it needs other rates.

What a method computes is the matter of its own test.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from learned import gradient_of, set_of
from small import make_real
from torch.utils.flop_counter import FlopCounterMode

import datadam
from datadam import nets
from datadam.distillation.forecast import passes_of
from datadam.distillation.recipe import Recipe
from datadam.errors import DatadamError, InvalidInput
from datadam.methods import Coreset, FeatureMatching
from datadam.methods.catalog import CATALOG
from datadam.methods.draw import Draws
from datadam.methods.gradient import Gradient
from datadam.methods.plan import Plan
from datadam.sets.synthetic import SyntheticSet

LEARNING = [name for name, method in CATALOG.items() if not issubclass(method, Coreset)]
MATCHING = [name for name, method in CATALOG.items() if issubclass(method, FeatureMatching)]
SEPARABLE = [name for name in LEARNING if CATALOG[name].separable]

# Settings at which these tiny images learn, where the common ones do not do.
RATES = {
    "datadam": {"lr_images": 0.05},
    "dm": {"lr_images": 0.3},
    "pixel": {"lr_images": 0.3},
    "dsa": {"start": "noise"},
    "cafe": {"lr_images": 0.02},
}
COMMON = {"lr_images": 0.5, "augment": "none", "network_augment": "none"}
QUICK = {"cafe": {"most_epochs": 3}, "forgetting": {"epochs": 2}}


def settings_of(name: str, **more: object) -> dict[str, object]:
    return QUICK.get(name, {}) | more


class Examined:
    """A method with everything that it draws, in float64."""

    def __init__(self, asked: Recipe, real, images: torch.Tensor, seed: int = 0, chunk: int = 100) -> None:
        self.asked, self.ipc = asked, asked.ipc
        network = nets.build(asked.net, shape=real.shape, classes=len(real.classes)).double()
        self.draws = Draws(
            real, network, seed, asked.batch_real, asked.augment, dtype=torch.float64, plan=Plan(False, chunk, 1),
            iterations_per_network=asked.iterations_per_network,
        )  # fmt: skip
        self.classes = real.classes
        self.function = gradient_of(asked.method, Plan(compiled=False, chunk=chunk, threads=1), "float64", "cpu")
        self.state = asked.method.init(self.set(images), self.draws.at(0))

    def set(self, images: torch.Tensor) -> SyntheticSet:
        return set_of(images.double(), self.ipc, self.classes)

    def gradient(self, images: torch.Tensor) -> Gradient:
        return self.function(self.state, self.set(images), self.draws.at(0), False)

    def loss(self, images: torch.Tensor) -> float:
        return sum(float(term.sum()) for term in self.gradient(images).terms.values())


def noise(real, ipc: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(len(real.classes) * ipc, *real.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", LEARNING)
def test_lowers_its_loss_on_held_out_networks(real, recipe: Callable[..., Recipe], name: str) -> None:
    asked = recipe(name, iterations=40, net="convnet2:width=8", **settings_of(name, **COMMON | RATES.get(name, {})))
    run = datadam.begin(real, asked)
    start = run.state.images.clone()
    list(run.steps())
    losses = np.zeros(2)
    for seed in range(999, 1004):
        examined = Examined(asked, real, start, seed)
        losses += [examined.loss(start), examined.loss(run.state.images)]
    assert losses[1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", CATALOG)
def test_same_seed_same_images_other_seed_others(real, recipe, name: str) -> None:
    if issubclass(CATALOG[name], Coreset):
        made = [datadam.distill(real, coreset(name, real).change({"seed": seed})).images for seed in (1, 1)]
    else:
        made = [datadam.distill(real, recipe(name, seed=seed, **settings_of(name))).images for seed in (1, 1, 2)]
        assert not torch.equal(made[0], made[2])
    assert torch.equal(made[0], made[1])


def coreset(name: str, real) -> Recipe:
    return datadam.preset(name, real, ipc=2).change({"net": "convnet1:width=4"} | settings_of(name))


@pytest.mark.parametrize("name", [name for name in CATALOG if name not in LEARNING])
def test_a_coreset_is_real_images_of_the_right_class(real, name: str) -> None:
    images = datadam.distill(real, coreset(name, real)).images.unflatten(0, (3, 2))
    for k, members in enumerate(real.by_class):
        equal = (images[k][:, None] == real.images(members)).flatten(2).all(2)
        assert equal.any(1).all()
        assert equal.any(0).sum() == 2


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_class_alone_gives_the_same_images(real, recipe, name: str) -> None:
    whole = datadam.distill(real, recipe(name)).images.unflatten(0, (3, 2))
    for k in range(3):
        alone = datadam.distill(real.subset([k]), recipe(name)).images
        torch.testing.assert_close(alone, whole[k], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LEARNING)
def test_the_gradient_is_finite_and_right(real, recipe, name: str) -> None:
    """Against finite differences along a random direction."""
    images = noise(real, 2)
    examined = Examined(recipe(name, **settings_of(name)), real, images)
    gradient = examined.gradient(images).images
    assert torch.isfinite(gradient).all()
    assert bool((gradient.unflatten(0, (3, 2)).flatten(1).norm(dim=1) > 0).all())
    way = noise(real, 2, seed=5)
    way /= way.norm()
    step = 1e-5
    rise = (examined.loss(images + step * way) - examined.loss(images - step * way)) / (2 * step)
    assert rise == pytest.approx(float((gradient * way).sum()), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", LEARNING)
def test_order_within_a_class_does_not_matter(real, recipe, name: str) -> None:
    images, order = noise(real, 3), torch.tensor([2, 0, 1, 3, 4, 5, 8, 7, 6])
    examined = Examined(recipe(name, ipc=3, **settings_of(name)), real, images)
    straight, shuffled = examined.gradient(images).images, examined.gradient(images[order]).images
    torch.testing.assert_close(shuffled, straight[order], rtol=1e-8, atol=1e-10 * float(straight.abs().max()))


@pytest.mark.parametrize("name", LEARNING)
def test_chunks_change_nothing(real, recipe, name: str) -> None:
    images = noise(real, 2)
    whole, cut = (Examined(recipe(name, **settings_of(name)), real, images, chunk=c).gradient(images).images for c in (100, 2))
    torch.testing.assert_close(cut, whole, rtol=1e-8, atol=1e-10 * float(whole.abs().max()))


@pytest.mark.parametrize("name", MATCHING)
def test_real_equal_to_synthetic_gives_zero(recipe, name: str) -> None:
    real = make_real(per_class=4)
    images = torch.cat([real.images(members, dtype=torch.float64) for members in real.by_class])
    examined = Examined(recipe(name, ipc=4, augment="none", batch_real=4), real, images)
    assert abs(examined.loss(images)) < 1e-10


def traces(network) -> list[object]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = [(m.training, *(len(getattr(m, hook)) for hook in hooks)) for m in network.modules()]
    return [modules, [(p.requires_grad, p.grad is None) for p in network.parameters()]]


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("net", ["convnet2:width=6", "convnet2:norm=batch:width=6"])
def test_leaves_nothing_behind(real, recipe, monkeypatch, name: str, net: str, fails: bool) -> None:
    """No hooks, gradients or modes on the network, also on error, and no use of the global generator."""
    run = datadam.begin(real, recipe(name, iterations=3, net=net, **settings_of(name)))
    run.draws.at(0).network()
    before, randomness = traces(run.draws.network), torch.get_rng_state()
    if fails:
        kind = type(run.draws.at(0))
        original = kind.augmentation
        monkeypatch.setattr(kind, "augmentation", lambda self, k: 1 / 0 if self.iteration and k else original(self, k))
        with pytest.raises(ZeroDivisionError):
            list(run.steps())
    else:
        list(run.steps())
    assert traces(run.draws.network) == before
    assert torch.equal(randomness, torch.get_rng_state())


@pytest.mark.parametrize("name", LEARNING)
def test_resume_is_bit_equal(real, recipe, tmp_path: Path, name: str) -> None:
    asked = recipe(name, iterations=6, **settings_of(name))
    straight = datadam.distill(real, asked).images
    run = datadam.begin(real, asked, out=tmp_path / "run")
    steps = run.steps()
    for _ in range(3):
        next(steps)
    steps.close()
    again = datadam.resume(tmp_path / "run", real)
    assert again.state.iteration == 3
    list(again.steps())
    assert torch.equal(again.result().images, straight)


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("where", ["gradient", "training"])
def test_an_interruption_anywhere_resumes_bit_equal(real, recipe, tmp_path: Path, monkeypatch, name: str, where: str) -> None:
    """Ctrl-C lands inside an iteration, in the gradient or in the training of the network; what is kept is a whole iteration."""
    asked = recipe(name, iterations=5, **settings_of(name))
    straight = datadam.distill(real, asked).images
    run = datadam.begin(real, asked, out=tmp_path / "run")
    kind = type(run.draws.at(0))
    original = getattr(kind, "augmentation" if where == "gradient" else "training_steps")

    def interrupted(self, *arguments):
        if self.iteration == 3 and (where == "training" or arguments[0] == 1):
            if where == "training":
                next(original(self, *arguments))
            raise KeyboardInterrupt
        return original(self, *arguments)

    trains = asked.on_the_way or asked.method.trains_networks
    with monkeypatch.context() as patch:
        patch.setattr(kind, original.__name__, interrupted)
        with pytest.raises(KeyboardInterrupt) if trains or where == "gradient" else nullcontext():
            list(run.steps())
    resumed = datadam.resume(tmp_path / "run", real)
    list(resumed.steps())
    assert torch.equal(resumed.result().images, straight)


@pytest.mark.parametrize("name", LEARNING)
def test_the_same_process_goes_on_after_an_interruption(real, recipe, monkeypatch, name: str) -> None:
    asked = recipe(name, iterations=5, **settings_of(name))
    straight = datadam.begin(real, asked)
    list(straight.steps())
    run = datadam.begin(real, asked)
    kind = type(run.draws.at(0))
    original = kind.augmentation
    with monkeypatch.context() as patch:
        patch.setattr(kind, "augmentation", lambda self, k: 1 / 0 if (self.iteration, k) == (3, 1) else original(self, k))
        with pytest.raises(ZeroDivisionError):
            list(run.steps())
    list(run.steps())
    assert torch.equal(run.state.images, straight.state.images)


@pytest.mark.parametrize("name", CATALOG)
def test_describes_itself_and_its_card_rebuilds_it(real, recipe, name: str) -> None:
    kind = CATALOG[name]
    assert kind.name == name
    assert kind.description
    assert kind.family
    assert name == "random" or name == "pixel" or kind.citation.startswith("@")
    assert kind.__doc__
    asked = coreset(name, real) if issubclass(kind, Coreset) else recipe(name)
    assert Recipe.from_card(asked.to_card()) == asked
    assert eval(repr(asked.method), {kind.__name__: kind}) == asked.method
    with pytest.raises(DatadamError, match="no_such"):
        asked.change({"no_such": 1})
    for field in fields(kind):
        if field.type in ("float", float, "int", int):
            with pytest.raises(InvalidInput, match=field.name):
                asked.change({field.name: float("nan")})


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize(("batch_real", "ipc"), [(12, 1), (2, 6)])
def test_its_cost_is_as_told(recipe, name: str, batch_real: int, ipc: int) -> None:
    """Counted operations of an iteration with its training, within a third of those foretold."""
    real = make_real(per_class=128)
    more = {"batch_real": batch_real, "net": "convnet3:width=24", "augment": "none"}
    asked = recipe(name, ipc=ipc, **settings_of(name, **more) | ({"most_epochs": 10} if name == "cafe" else {}))
    images = noise(real, ipc)
    examined = Examined(asked, real, images)
    network = examined.draws.network
    with torch.no_grad(), FlopCounterMode(display=False) as one:
        network.features(images[:1])
    with FlopCounterMode(display=False) as counter:
        examined.gradient(images)
        list(asked.method.between(examined.state, examined.set(images), examined.draws.at(1)))
    told = passes_of(asked.change({"network_epochs": 0}), [batch_real] * 3)
    assert counter.get_total_flops() / one.get_total_flops() == pytest.approx(told, rel=1 / 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", LEARNING)
def test_cuda_gives_the_same_images(real, recipe, tmp_path: Path, name: str) -> None:
    asked = recipe(name, iterations=3, **settings_of(name))
    here = datadam.distill(real, asked).images
    steps = datadam.begin(real, asked, device="cuda", out=tmp_path / "run").steps()
    next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    list(run.steps())
    torch.testing.assert_close(run.result().images, here, rtol=1e-4, atol=1e-5)
