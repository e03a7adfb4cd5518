"""Networks, augmentation, distance, whitening and the training of students: as released code computes them."""

from itertools import repeat

import pytest
import torch
from fidelity import case, formulas, product

from datadam.data.field import numbers
from datadam.data.whitening import fit_zca
from datadam.evaluation.panel import protocol_named
from datadam.methods.dc import distance
from datadam.training.trainer import Training

GOLDEN = case.golden()
CLOSE = 1e-10
NORMS = ("instance", "batch", "layer", "group", "none")


@pytest.mark.parametrize("norm", NORMS)
def test_networks_with_their_weights(norm: str) -> None:
    told, images = GOLDEN["networks"][norm], case.uniform(3, 4, *case.SHAPE)
    net = product.network(norm)
    assert sum(p.numel() for p in net.parameters()) == told["weights"]
    assert [tuple(p.shape) for p in net.parameters()] == [tuple(s) for s in formulas.shapes(norm)]
    assert case.apart(case.told(net.features(images).embedding), told["told"]) < CLOSE
    seen = formulas.convnet(case.weights(0, formulas.shapes(norm)), images, norm)
    assert case.apart(case.told(seen.embedding), told["told"]) < CLOSE
    torch.testing.assert_close(net(images), seen.logits, rtol=1e-10, atol=1e-12)


def test_one_channel_of_32_pixels_is_widened() -> None:
    images = case.uniform(3, 4, 1, 32, 32)
    net = product.network("instance", shape=(1, 32, 32), more=":widen=grey")
    assert case.apart(case.told(net.features(images).embedding), GOLDEN["grey"]) < CLOSE
    seen = formulas.convnet(case.weights(0, formulas.shapes("instance", 1)), images, padding=3)
    assert case.apart(case.told(seen.embedding), GOLDEN["grey"]) < CLOSE


@pytest.mark.parametrize("number", range(len(GOLDEN["operations"])))
def test_operations(number: int) -> None:
    """Each with one set of numbers for five images, and with one for each of them."""
    move = dict(GOLDEN["operations"][number])
    told, images = move.pop("told"), case.start()[:5]
    ours = product.augmentation(move)
    assert ours is not None
    assert case.apart(case.told(ours(images)), told) < CLOSE
    assert case.apart(case.told(formulas.augmented(move, images)), told) < CLOSE


def test_distance_of_gradients() -> None:
    """Of a convolution, a layer norm, a linear layer, and a bias that does not count."""
    shapes = ((4, 3, 3, 3), (4, 6, 5), (5, 8), (4,))
    sides = [[case.uniform(40 + 10 * side + i, *shape) - 0.4 for i, shape in enumerate(shapes)] for side in (0, 1)]
    assert float(formulas.distance(*sides)) == pytest.approx(GOLDEN["distance"], rel=CLOSE)
    assert float(distance(*(side[:3] for side in sides), 1e-6)) == pytest.approx(GOLDEN["distance"], rel=CLOSE)


def test_whitening() -> None:
    images = torch.from_numpy(case.pixels()).double()[:, :, ::4, ::4] / 255
    assert case.apart(case.told(formulas.whitened(images)), GOLDEN["zca"]) < CLOSE
    ours = fit_zca(images, variant="kornia").apply(images)  # whose matrices are kept in float32
    assert case.apart(case.told(ours), GOLDEN["zca"]) < 1e-5


def test_students_lose_their_momentum_as_the_rate_falls() -> None:
    """7 epochs, of which the rate is lower after the 5th, with a new optimiser."""
    training = Training(epochs=7, drop_after=5, fresh_optimizer=True)
    ours = torch.cat([w.flatten() for w in product.trained(training)])
    assert case.apart(case.told(ours), GOLDEN["trained"]) < CLOSE
    first = case.weights(0, formulas.shapes("instance"))
    written = formulas.trained(first, case.start(), [0.01] * 5 + [0.001] * 2, repeat(None), momentum=0.9, decay=5e-4, forget=5)
    assert case.apart(case.told(torch.cat([w.flatten() for w in written])), GOLDEN["trained"]) < CLOSE
    kept = torch.cat([w.flatten() for w in product.trained(Training(epochs=7, drop_after=5))])
    assert case.apart(case.told(kept), GOLDEN["trained"]) > 1e-4


@pytest.mark.parametrize("key", sorted(GOLDEN["schedules"]))
def test_schedules_of_protocols(key: str) -> None:
    name, augment = key.split()
    told, training = GOLDEN["schedules"][key], protocol_named(name, augment=augment).training
    rates = [training.lr_at(epoch) for epoch in range(training.epochs)]
    falls = [epoch for epoch in range(1, len(rates)) if rates[epoch] != rates[epoch - 1]]
    assert (len(rates), falls, [training.fresh_optimizer]) == (told["epochs"], told["falls after"], told["new optimiser"])
    assert sorted(set(rates), reverse=True) == told["rates"]
    assert (training.momentum, training.weight_decay) == (told["momentum"], told["weight decay"])


@pytest.mark.parametrize(
    ("loader", "word"), [("DatasetCondensation", "field"), ("DataDAM", "field"), ("CAFE", "mtt"), ("mtt-distillation", "mtt")]
)
def test_normalisations_of_loaders(loader: str, word: str) -> None:
    for data, (mean, std) in GOLDEN["normalisation"][loader].items():
        assert numbers(word, data, len(mean)) == (tuple(mean), tuple(std)), data  # type: ignore[arg-type]
