"""EL2N and GraNd against plain loops over single images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datadam import nets
from datadam.nets import Network
from datadam.rng import stream
from datadam.training import difficulty as looks


def network(spec: str) -> Network:
    net = nets.build(spec, shape=(3, 8, 8), classes=4).double()
    for _ in range(3):  # batch norm gets statistics of its own
        net(torch.randn(9, 3, 8, 8, generator=stream(0, "statistics"), dtype=torch.float64))
    return net.eval()


X = torch.randn(7, 3, 8, 8, generator=stream(0, "images"), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 3, 3, 1, 0])
SPECS = ("convnet2:width=4", "convnet2:norm=batch:width=4", "convnet1:norm=group:pool=max:width=4", "mlp:width=5")


@pytest.mark.parametrize("spec", SPECS)
def test_el2n_is_the_length_of_the_error(spec: str) -> None:
    net = network(spec)
    for i, score in enumerate(looks.el2n(net, X, Y).tolist()):
        logits = net(X[i : i + 1])[0].detach().numpy()
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert score == pytest.approx(np.sqrt(((probabilities - np.eye(4)[Y[i]]) ** 2).sum()), rel=1e-12)


@pytest.mark.parametrize("spec", SPECS)
def test_grand_is_the_norm_over_all_parameters(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(spec)
    scores = looks.grand(net, X, Y)
    for i, score in enumerate(scores.tolist()):
        F.cross_entropy(net(X[i : i + 1]), Y[i : i + 1]).backward()
        numbers = [p.grad.flatten().numpy() for p in net.parameters()]  # type: ignore[union-attr]
        assert score == pytest.approx(np.linalg.norm(np.concatenate(numbers)), rel=1e-12)
        net.zero_grad(set_to_none=True)
    monkeypatch.setattr(looks, "GRADIENT_BYTES", 1)  # image after image
    torch.testing.assert_close(looks.grand(net, X, Y), scores, rtol=1e-12, atol=0)


def test_looking_leaves_the_network_as_it_was() -> None:
    net = network("convnet2:norm=batch:width=4")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    looks.grand(net, X, Y)
    looks.el2n(net, X, Y)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
