"""DC: its distance in numpy, its gradient by finite differences, its loops, and that it leaves the network as it was."""

import dataclasses
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from learned import gradient_of, set_of
from small import make_real

import datadam
from datadam import nets
from datadam.distillation.presets.dc import LOOPS, loops
from datadam.distillation.start import first_images
from datadam.errors import InvalidInput
from datadam.methods import DC, DSA, Method
from datadam.methods.dc import distance, matrices
from datadam.methods.draw import Draws
from datadam.methods.gradient import Gradient
from datadam.methods.plan import Plan
from datadam.nets.frozen import frozen_statistics
from datadam.sets.synthetic import SyntheticSet

PLAN = Plan(compiled=False, chunk=100, threads=1)
NETS = ["convnet2:width=6", "convnet2:norm=batch:width=6", "mlp:width=8", "convnet2:norm=none:width=4"]


def prepare(real, net: str = NETS[0], ipc: int = 2, augment: str = "none", batch_real: int = 5, chunk: int = 100):
    network = nets.build(net, shape=real.shape, classes=len(real.classes)).double()
    draws = Draws(real, network, 0, batch_real, augment=augment, dtype=torch.float64, plan=Plan(False, chunk, 1))
    return draws.at(3), set_of(first_images(real, ipc, "noise", 0).double(), ipc, real.classes)


def gradient(draw, synthetic: SyntheticSet, method: Method | None = None, norms: bool = False) -> Gradient:
    return gradient_of(method or DC(), PLAN, "float64", "cpu")({}, synthetic, draw, norms)


def in_numpy(real: list[np.ndarray], synthetic: list[np.ndarray], epsilon: float) -> float:
    total = 0.0
    for layer, other in zip(real, synthetic, strict=True):
        if layer.ndim < 2:
            continue
        for r, s in zip(layer, other, strict=True):  # an output channel
            total += 1 - np.vdot(r, s) / (np.linalg.norm(r) * np.linalg.norm(s) + epsilon)
    return total


def plain(draw, synthetic: SyntheticSet, epsilon: float = 1e-6) -> list[float]:
    """The loss of each class in the plainest words: the module's own gradients, and numpy."""
    network, losses = draw.network(), []
    for k in range(len(synthetic.classes)):
        augment = draw.augmentation(k) or (lambda x: x)
        sides = []
        for images in (draw.real(k), synthetic.images(k, k + 1)):
            network.requires_grad_(True).zero_grad()
            logits = network(augment(images))
            (-logits.log_softmax(1)[:, k].mean()).backward()
            sides.append([p.grad.clone().numpy() for p in network.parameters()])
        losses.append(in_numpy(*sides, epsilon))
    network.requires_grad_(False).zero_grad()
    return losses


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_distance_against_numpy(epsilon: float) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 3, 3), (5, 7), (2, 3, 4)]
    real, synthetic = ([torch.randn(*s, generator=g, dtype=torch.float64) for s in shapes] for _ in range(2))
    expected = in_numpy([r.numpy() for r in real], [s.numpy() for s in synthetic], epsilon)
    assert float(distance(real, synthetic, epsilon)) == pytest.approx(expected, rel=1e-12)
    rows = 4 + 5 + 2
    assert float(distance(real, [-r for r in real], 1e-300)) == pytest.approx(2 * rows, rel=1e-12)
    assert float(distance(real, [3 * r for r in real], 1e-300)) == pytest.approx(0, abs=1e-12)


def test_a_dead_row_costs_one_and_has_a_finite_gradient() -> None:
    real, synthetic = torch.ones(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    cost = distance([real], [synthetic], 1e-6)
    assert float(cost.detach()) == 2
    assert torch.isfinite(torch.autograd.grad(cost, synthetic)[0]).all()


@pytest.mark.parametrize("net", [NETS[0], NETS[2], NETS[3]])
@pytest.mark.parametrize("augment", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_loss_against_plain_words(real, net: str, augment: str) -> None:
    draw, synthetic = prepare(real, net, augment=augment)
    found = gradient(draw, synthetic)
    assert set(found.terms) == {"gradient"}
    np.testing.assert_allclose(found.terms["gradient"], plain(draw, synthetic), rtol=1e-9)


def test_vectors_do_not_count(real) -> None:
    network = prepare(real)[0].network()
    assert set(matrices(network)) == {"body.0.0.weight", "body.1.0.weight", "head.weight"}


@pytest.mark.parametrize("net", NETS)
def test_gradient_against_finite_differences(real, net: str) -> None:
    draw, synthetic = prepare(real, net, augment="color_scale")
    exact, step = gradient(draw, synthetic).images, 1e-6
    assert float(exact.norm()) > 1e-6
    for index in [(0, 0, 0, 0), (2, 1, 3, 4), (5, 2, 7, 7)]:
        losses = []
        for sign in (1, -1):
            moved = synthetic.stored.clone()
            moved[index] += sign * step
            terms = gradient(draw, set_of(moved, 2, synthetic.classes)).terms
            losses.append(float(terms["gradient"].sum()))
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(float(exact[index]), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("net", [NETS[0], NETS[1], NETS[3]])  # of an MLP some rows are dead, and cost 1 whatever the images
def test_real_equal_to_synthetic_gives_zero(net: str) -> None:
    real = make_real(per_class=4)
    draw, _ = prepare(real, net)
    images = torch.cat([draw.real(k) for k in range(3)])
    found = gradient(draw, set_of(images, 4, real.classes), DC(epsilon=1e-300))
    assert float(found.terms["gradient"].abs().max()) < 1e-9


@pytest.mark.parametrize("net", NETS)
def test_chunks_of_the_real_images_change_nothing(real, net: str) -> None:
    whole, cut = (gradient(*prepare(real, net, chunk=chunk)) for chunk in (100, 2))
    torch.testing.assert_close(cut.images, whole.images, rtol=1e-9, atol=1e-13)


def test_order_of_classes_and_of_images_does_not_matter(real) -> None:
    """Classes see each other only through the head's rows: renumbering them renumbers the gradient."""
    draw, synthetic = prepare(real, ipc=3)
    order = torch.tensor([2, 0, 1, 3, 4, 5, 8, 7, 6])
    straight = gradient(draw, synthetic).images
    shuffled = gradient(draw, set_of(synthetic.stored[order], 3, synthetic.classes)).images
    torch.testing.assert_close(shuffled, straight[order], rtol=1e-9, atol=1e-13)
    classes = [2, 0, 1]
    other, _ = prepare(real.subset(classes))
    with torch.no_grad():
        network = other.network()
        network.load_state_dict(draw.network().state_dict())
        network.head.weight.copy_(draw.network().head.weight[classes])
        network.head.bias.copy_(draw.network().head.bias[classes])
    images = synthetic.stored.unflatten(0, (3, 3))[classes].flatten(0, 1)
    renamed = gradient(other, set_of(images, 3, other.source.real.classes)).images
    torch.testing.assert_close(renamed, straight.unflatten(0, (3, 3))[classes].flatten(0, 1), rtol=1e-9, atol=1e-13)


def test_the_norm_is_that_of_the_whole_gradient(real) -> None:
    found = gradient(*prepare(real), norms=True)
    assert found.norms == {"gradient": pytest.approx(float(found.images.norm()), rel=1e-12)}


class Saved:
    """A tensor that a graph holds."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_only_one_class_has_a_graph(real, monkeypatch) -> None:
    """What a class's graph holds is let go before the next class is looked at."""
    alive: weakref.WeakSet[Saved] = weakref.WeakSet()
    at_class, most = [], []
    draw, synthetic = prepare(real)
    original = type(draw).augmentation

    def counted(self, k: int):
        at_class.append(len(alive))
        return original(self, k)

    def pack(tensor: torch.Tensor) -> Saved:
        saved = Saved(tensor)
        alive.add(saved)
        most.append(len(alive))
        return saved

    monkeypatch.setattr(type(draw), "augmentation", counted)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        gradient(draw, synthetic)
    assert max(most) > 10
    assert at_class == [0, 0, 0]


def traces(network) -> list[object]:
    return [
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in network.modules()],
        [(p.requires_grad, p.grad is None, type(p)) for p in network.parameters()],
        [m.momentum for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)],
    ]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_stays_as_it_was_also_on_error(real, monkeypatch, net: str, fails: bool) -> None:
    draw, synthetic = prepare(real, net)
    network = draw.network()
    before, weights = traces(network), {name: value.clone() for name, value in network.state_dict().items()}
    if fails:
        original = Draws.at(draw.source, 3).augmentation
        monkeypatch.setattr(type(draw), "augmentation", lambda self, k: 1 / 0 if k == 1 else original(k))
        with pytest.raises(ZeroDivisionError):
            gradient(draw, synthetic)
    else:
        gradient(draw, synthetic)
    assert traces(network) == before
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert not synthetic.stored.requires_grad


def test_batch_norm_is_frozen_on_sixteen_real_images_a_class() -> None:
    real = make_real(per_class=40)
    draw, synthetic = prepare(real, "convnet1:norm=batch:width=4")
    network = draw.network()
    sample = torch.cat([draw.sample(k, 16, "statistics") for k in range(3)])
    assert len(sample) == 48
    with frozen_statistics(network, lambda: sample):
        maps = network.body[0][0](sample)
        norm = network.body[0][1]
        np.testing.assert_allclose(norm.running_mean, maps.mean((0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(norm.running_var, maps.transpose(0, 1).flatten(1).var(1), rtol=1e-12)
        alone = network(sample[:1])
        torch.testing.assert_close(alone, network(sample)[:1], rtol=1e-12, atol=1e-14)
    whole = gradient(draw, synthetic)
    for k in range(3):  # frozen, a class reads only its own images
        moved = synthetic.stored.clone().unflatten(0, (3, 2))
        moved[(k + 1) % 3] += 1
        other = gradient(draw, set_of(moved.flatten(0, 1), 2, synthetic.classes))
        assert float(other.terms["gradient"][k]) == float(whole.terms["gradient"][k])


def test_published_loops_and_what_lies_between_them() -> None:
    assert {ipc: loops(ipc) for ipc in LOOPS} == {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
    assert loops(15) == (15, 38)
    assert loops(2) == (2, 6)
    assert loops(500) == loops(50)
    for ipc in range(1, 200):
        outer, inner = loops(ipc)
        assert outer == min(ipc, 50)
        assert 1 <= inner <= 50


@pytest.mark.parametrize("ipc", [1, 2, 10, 50])
def test_presets_are_the_released_settings(real, ipc: int) -> None:
    for name, start, method in (("dc", "noise", DC()), ("dsa", "real", DSA())):
        recipe = datadam.preset(name, real, ipc=ipc)
        outer, inner = loops(ipc)
        assert recipe.method == method
        assert (recipe.start, recipe.lr_images, recipe.momentum, recipe.batch_real) == (start, 0.1, 0.5, 256)
        assert recipe.iterations == 1000 * outer
        assert recipe.iterations_per_network == outer
        assert recipe.network_epochs == (inner if ipc > 1 else 0)
        assert (recipe.network_lr, recipe.network_momentum, recipe.network_decay) == (0.01, 0.0, 0.0)
        assert (recipe.augment != "none") == (recipe.network_augment != "none") == (name == "dsa")


def test_loops_that_nobody_published_are_told(real, recipe: Callable[..., object]) -> None:
    assert any("interpolated: 2 image steps a network, 6 epochs" in r for r in datadam.begin(real, recipe("dc", ipc=2)).remarks)
    assert not datadam.begin(real, recipe("dc", ipc=1)).remarks
    assert not datadam.begin(real, recipe("dc", ipc=2, network_epochs=3)).remarks


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_network_trains_between_image_steps(real, recipe, monkeypatch, epochs: int) -> None:
    """Two networks of three image steps: two trainings each, of as many passes as asked for, in batches of 256."""
    steps = []
    step = torch.optim.SGD.step

    def noting(self, *a):
        if any(p.requires_grad for p in self.param_groups[0]["params"]):  # a network's, and not the images'
            steps.append(self.param_groups[0])
        return step(self, *a)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    asked = recipe("dc", iterations=6, iterations_per_network=3, network_epochs=epochs, ipc=2)
    run = datadam.begin(real, asked)
    list(run.steps())
    assert len(steps) == 2 * 2 * epochs
    assert all((s["lr"], s["momentum"], s["weight_decay"]) == (0.01, 0.0, 0.0) for s in steps)
    steps.clear()
    way = run.draws.on_the_way
    monkeypatch.setattr(run.draws, "on_the_way", dataclasses.replace(way, training=dataclasses.replace(way.training, batch=4)))
    with run.draws.at(0).training(run.state.images, run.synthetic.labels(), epochs) as trainer:
        while trainer.done < trainer.steps:
            trainer.step()
    assert len(steps) == 2 * epochs  # six images in batches of four


def test_bad_settings_are_refused(recipe) -> None:
    with pytest.raises(InvalidInput, match="epsilon"):
        DC(epsilon=0.0)
    with pytest.raises(InvalidInput, match="bfloat16"):
        recipe("dc", precision="bfloat16")
    with pytest.raises(InvalidInput, match="two ways"):
        recipe("dc", network_steps=3, network_epochs=3)
    with pytest.raises(InvalidInput, match="network_momentum"):
        recipe("dc", network_momentum=1.0)
    with pytest.raises(InvalidInput, match="flop"):
        recipe("dc", network_augment="flop")
