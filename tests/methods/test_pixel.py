"""Pixel-space linear MMD equals its closed form, whatever the network."""

import numpy as np
import pytest
import torch

import datadam
from datadam.methods import DataDAM, Pixel


def closed_form(real, start: np.ndarray, iterations: int, lr: float, momentum: float, batch_real: int, ipc: int) -> np.ndarray:
    """Heavy-ball steps along (2 / N) (mean synthetic - mean real), class by class, when a batch is the whole class."""
    images = start.copy()
    for k, members in enumerate(real.by_class):
        assert len(members) <= batch_real
        target = real.images(members, dtype=torch.float64).numpy().mean(0)
        part = images[k * ipc : (k + 1) * ipc]
        velocity = np.zeros_like(part)
        for _ in range(iterations):
            velocity = momentum * velocity + 2 / ipc * (part.mean(0) - target)
            part = part - lr * velocity
        images[k * ipc : (k + 1) * ipc] = part
    return images


@pytest.mark.parametrize("ipc", [1, 3])
@pytest.mark.parametrize("net", ["convnet2:width=4", "convnet2:norm=batch:width=4"])
def test_equals_its_closed_form(real, recipe, ipc: int, net: str) -> None:
    settings = {"iterations": 7, "lr_images": 0.3, "momentum": 0.5, "batch_real": 12, "augment": "none", "net": net}
    run = datadam.begin(real, recipe("pixel", ipc=ipc, **settings))
    start = run.state.images.clone().numpy()
    list(run.steps())
    expected = closed_form(real, start, 7, 0.3, 0.5, 12, ipc)
    np.testing.assert_allclose(run.state.images.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_the_images_end_at_the_class_mean(real, recipe) -> None:
    """All images of a class move alike, so that their mean, and nothing else of them, becomes the class's."""
    settings = {"iterations": 150, "lr_images": 0.3, "batch_real": 12, "augment": "none"}
    run = datadam.begin(real, recipe("pixel", ipc=2, **settings))
    before = run.state.images.clone().unflatten(0, (3, 2))
    list(run.steps())
    after = run.state.images.unflatten(0, (3, 2))
    means = torch.stack([real.images(members, dtype=torch.float64).mean(0) for members in real.by_class])
    torch.testing.assert_close(after.mean(1), means, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after[:, 0] - after[:, 1], before[:, 0] - before[:, 1], rtol=1e-8, atol=1e-8)


def test_the_network_does_not_matter(real, recipe) -> None:
    made = [datadam.distill(real, recipe("pixel", net=net)).images for net in ("convnet1:width=4", "mlp:width=5")]
    torch.testing.assert_close(made[0], made[1], rtol=1e-10, atol=1e-12)


def test_it_cites_the_paper_whose_table_has_it() -> None:
    assert Pixel.citation == DataDAM.citation
