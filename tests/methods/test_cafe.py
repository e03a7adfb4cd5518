"""CAFE: its loss in plain words, and its loops, which accuracies end."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from learned import gradient_of, set_of

import datadam
from datadam import nets
from datadam.distillation.start import first_images
from datadam.errors import InvalidInput
from datadam.methods import CAFE
from datadam.methods import cafe as module
from datadam.methods.cafe import discrimination
from datadam.methods.draw import Draws
from datadam.methods.networks import accuracy, keep, restore
from datadam.methods.plan import Plan
from datadam.sets.synthetic import SyntheticSet

PLAN = Plan(compiled=False, chunk=100, threads=1)


def prepare(real, net: str = "convnet3:width=6", ipc: int = 2, chunk: int = 100, augment: str = "color_crop_scale"):
    network = nets.build(net, shape=real.shape, classes=len(real.classes)).double()
    draws = Draws(real, network, 0, 5, augment=augment, dtype=torch.float64, plan=Plan(False, chunk, 1))
    return draws.at(3), set_of(first_images(real, ipc, "noise", 0).double(), ipc, real.classes)


def plain(method: CAFE, draw, synthetic: SyntheticSet, network) -> tuple[float, float, torch.Tensor]:
    """The paper in the plainest words: all classes, all layers, autograd through all of it."""
    images, classes = synthetic.stored.clone().requires_grad_(), range(len(synthetic.classes))
    aligned, real_embeddings, labels, centres = torch.zeros((), dtype=torch.float64), [], [], []
    for k in classes:
        augment = draw.augmentation(k) or (lambda x: x)
        real, syn = (
            network.features(augment(draw.real(k))),
            network.features(augment(images.unflatten(0, (-1, synthetic.counts[0]))[k])),
        )
        pairs = [*zip(real.blocks, syn.blocks, strict=True), (real.embedding, syn.embedding)]
        for weight, (r, s) in zip((method.early, method.early, method.late, method.late), pairs, strict=True):
            aligned = aligned + weight * ((r.mean(0) - s.mean(0)) ** 2).sum()
        real_embeddings.append(real.embedding)
        labels += [k] * len(real.embedding)
        centres.append(syn.embedding.mean(0))
    logits = torch.cat(real_embeddings) @ torch.stack(centres).T
    told = -logits.log_softmax(1)[range(len(labels)), labels].sum()
    (gradient,) = torch.autograd.grad(aligned + method.discrimination * told, images)
    return float(aligned.detach()), method.discrimination * float(told.detach()), gradient


@pytest.mark.parametrize("settings", [{}, {"early": 0.7, "late": 0.2, "discrimination": 0.5}, {"discrimination": 0.0}])
@pytest.mark.parametrize("chunk", [100, 2])
def test_equals_the_paper_in_plain_words(real, settings: dict[str, float], chunk: int) -> None:
    method = CAFE(**settings)
    draw, synthetic = prepare(real, chunk=chunk)
    state = method.init(synthetic, draw)
    aligned, told, expected = plain(method, draw, synthetic, draw.network(0))
    found = gradient_of(method, PLAN, "float64", "cpu")(state, synthetic, draw, True)
    assert float(found.terms["alignment"].sum()) == pytest.approx(aligned, rel=1e-10)
    assert float(found.terms["discrimination"].sum()) == pytest.approx(told, rel=1e-10)
    torch.testing.assert_close(found.images, expected, rtol=1e-8, atol=1e-11)
    alone = gradient_of(CAFE(**(settings | {"discrimination": 0.0})), PLAN, "float64", "cpu")(state, synthetic, draw, False)
    assert found.norms["alignment"] == pytest.approx(float(alone.images.norm()), rel=1e-9)
    assert found.norms["discrimination"] == pytest.approx(float((expected - alone.images).norm()), rel=1e-6, abs=1e-9)


def test_discrimination_against_numpy() -> None:
    rng = np.random.default_rng(0)
    embeddings, centres = [rng.normal(size=(n, 4)) for n in (3, 5)], rng.normal(size=(2, 4))

    def written(centres: np.ndarray) -> np.ndarray:
        values = []
        for k, rows in enumerate(embeddings):
            logits = rows @ centres.T
            values.append((np.log(np.exp(logits).sum(1)) - logits[:, k]).sum())
        return np.array(values)

    value, slope = discrimination([torch.from_numpy(e) for e in embeddings], torch.from_numpy(centres))
    np.testing.assert_allclose(value, written(centres), rtol=1e-12)
    for index in np.ndindex(*centres.shape):
        step = np.zeros_like(centres)
        step[index] = 1e-6
        rise = (written(centres + step) - written(centres - step)).sum() / 2e-6
        assert float(slope[index]) == pytest.approx(rise, rel=1e-6, abs=1e-8)


def test_gradient_against_finite_differences_with_frozen_batch_norm(real) -> None:
    draw, synthetic = prepare(real, net="convnet2:norm=batch:width=6")
    method, step = CAFE(), 1e-6
    state, gradient = method.init(synthetic, draw), gradient_of(method, PLAN, "float64", "cpu")
    exact = gradient(state, synthetic, draw, False).images
    for index in [(0, 0, 0, 0), (5, 2, 7, 7)]:
        losses = []
        for sign in (1, -1):
            moved = synthetic.stored.clone()
            moved[index] += sign * step
            terms = gradient(state, set_of(moved, 2, synthetic.classes), draw, False).terms
            losses.append(sum(float(term.sum()) for term in terms.values()))
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(float(exact[index]), rel=1e-4, abs=1e-6)


class Script:
    """Accuracies as told, in place of measured ones; writes down what was asked."""

    def __init__(self, outer: list[float], inner: Iterator[float]) -> None:
        self.outer, self.inner, self.asked = iter(outer), inner, []

    def __call__(self, network, draw, classes: int, *what: str | int) -> float:
        self.asked.append(what[0])
        return next(self.outer if what[0] == "outer" else self.inner)


def drive(monkeypatch, real, method: CAFE, script: Script, steps: int) -> list[dict[str, object]]:
    """States after image steps, and in each how many epochs were trained in it."""
    draw, synthetic = prepare(real, net="convnet1:width=4", augment="none")
    monkeypatch.setattr(module, "accuracy", script)
    state, states = method.init(synthetic, draw), []
    for iteration in range(steps):
        before = len(script.asked)
        *_, state = state, *method.between(state, synthetic, draw.source.at(iteration + 1))
        states.append(state | {"epochs": script.asked[before:].count("inner")})
    return states


def wavering() -> Iterator[float]:
    while True:
        yield 0.5
        yield 0.54


def rising(steady: int) -> Iterator[float]:
    """Ever the same for a while, then growing by 0.012 an epoch."""
    yield from [0.5] * steady
    value = 0.5
    while True:
        value += 0.012
        yield value


def test_training_ends_when_ten_accuracies_spread(monkeypatch, real) -> None:
    outer = [0.1 * i for i in range(9)]
    assert [s["epochs"] for s in drive(monkeypatch, real, CAFE(), Script(outer, wavering()), 9)] == [10] * 9
    states = drive(monkeypatch, real, CAFE(), Script([0.1], rising(20)), 1)
    assert states[0]["epochs"] == 23  # the ten last are then 0.5 seven times, 0.512, 0.524, 0.536
    states = drive(monkeypatch, real, CAFE(most_epochs=13), Script([0.1], iter([0.5] * 99)), 1)
    assert states[0]["epochs"] == 13


def test_the_next_network_comes_when_ten_accuracies_are_alike(monkeypatch, real) -> None:
    outer = [0.1, 0.9] * 3 + [0.5] * 9 + [0.53] + [0.1] * 10
    states = drive(monkeypatch, real, CAFE(), Script(outer, wavering()), len(outer))
    assert [s["network"] for s in states] == [0] * 14 + [0, 1] + [1] * 9 + [2]
    turn = states[15]
    assert (turn["served"], len(turn["seen"]), turn["epochs"]) == (0, 0, 0)
    assert all(len(s["seen"]) <= 10 for s in states)
    limited = drive(monkeypatch, real, CAFE(most_steps=3), Script([0.1, 0.9] * 4, wavering()), 7)
    assert [s["network"] for s in limited] == [0, 0, 1, 1, 1, 2, 2]


def test_the_next_network_is_fresh_and_the_trained_one_is_kept(monkeypatch, real) -> None:
    states = drive(monkeypatch, real, CAFE(most_steps=2), Script([0.1] * 9, wavering()), 3)
    draw, _ = prepare(real, net="convnet1:width=4")
    fresh = {f"weights/{name}": value.clone() for name, value in draw.network(1).state_dict().items()}
    assert all(torch.equal(states[1][name], value) for name, value in fresh.items())
    assert not torch.equal(states[2]["weights/head.weight"], fresh["weights/head.weight"])
    network, number = restore(states[2], draw)
    assert number == 1
    assert torch.equal(network.head.weight, states[2]["weights/head.weight"])
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_a_state_is_a_copy(real) -> None:
    draw, _ = prepare(real)
    state = keep(draw.network(0), 0)
    with torch.no_grad():
        draw.network(0).head.weight.zero_()
    assert state["weights/head.weight"].any()


def test_accuracy_is_the_mean_over_classes(real) -> None:
    draw, _ = prepare(real)
    network = draw.network()
    rights = []
    for k, members in enumerate(real.by_class):  # the classes are smaller than the query
        predicted = network.eval()(real.images(members, dtype=torch.float64)).argmax(1)
        rights.append(float((predicted == k).double().mean()))
    network.train()
    assert accuracy(network, draw, 3, "outer") == pytest.approx(np.mean(rights))
    assert network.training


def test_the_recipe_sets_how_its_networks_train(real, recipe, monkeypatch) -> None:
    groups = []
    step = torch.optim.SGD.step

    def noting(self, *a):
        if any(p.requires_grad for p in self.param_groups[0]["params"]):  # a network's, and not the images'
            groups.append(self.param_groups[0])
        return step(self, *a)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    datadam.distill(real, recipe("cafe", iterations=2, most_epochs=2, network_lr=0.3))
    assert [(g["lr"], g["momentum"], g["weight_decay"]) for g in groups] == [(0.3, 0.0, 0.0)] * 2


def test_bad_settings_are_refused(recipe) -> None:
    with pytest.raises(InvalidInput) as caught:
        CAFE(early=-1.0, outer_change=float("nan"), most_epochs=0, most_steps=True)
    assert len(caught.value.faults) == 4
    with pytest.raises(InvalidInput, match="no loss"):
        CAFE(early=0.0, late=0.0, discrimination=0.0)
    for setting in ({"iterations_per_network": 2}, {"network_steps": 3}, {"network_epochs": 3}):
        with pytest.raises(InvalidInput, match="decides itself"):
            recipe("cafe", **setting)


@pytest.mark.parametrize("epoch", [1, 4])
def test_the_inner_training_goes_on_epoch_by_epoch(real, recipe, tmp_path, monkeypatch, epoch: int) -> None:
    """Ctrl-C in the middle of it costs an epoch at most: what was trained before is in the checkpoint, momentum included."""
    asked = recipe("cafe", iterations=3, most_epochs=6, network_momentum=0.5)
    straight = datadam.distill(real, asked)
    run, calls, original = datadam.begin(real, asked, out=tmp_path / "run"), [], module.accuracy

    def watching(network, draw, classes, *what):
        calls.append(what)
        if what == ("inner", epoch + 1):
            raise KeyboardInterrupt
        return original(network, draw, classes, *what)

    monkeypatch.setattr(module, "accuracy", watching)
    with pytest.raises(KeyboardInterrupt):
        list(run.steps())
    calls.clear()
    monkeypatch.setattr(module, "accuracy", lambda *a: (calls.append(a[3:]), original(*a))[1])
    again = datadam.resume(tmp_path / "run", real)
    assert again.state.iteration == 1
    list(again.steps())
    assert calls[0] == ("inner", epoch + 1)  # the epochs before it are not trained again
    assert torch.equal(again.result().images, straight.images)
