"""A network that a method trains by itself: its number and weights live in the method's state, and so in the checkpoint."""

import torch
from torch import Tensor

from datadam.methods.base import State
from datadam.methods.draw import Draw
from datadam.nets import Network

WEIGHTS = "weights/"
QUERY = 128  # real images a class that an accuracy is measured on


def keep(network: Network, number: int, **rest: Tensor | int | float) -> State:
    """The state: the `number` that the network was drawn by, its weights as they are, and what else the method remembers."""
    weights = {WEIGHTS + name: value.clone() for name, value in network.state_dict().items()}
    return {"network": number} | rest | weights


def restore(state: State, draw: Draw) -> tuple[Network, int]:
    """The network of a state, with its weights, and its number."""
    number = int(state["network"])
    network = draw.network(number)
    network.load_state_dict({name.removeprefix(WEIGHTS): value for name, value in state.items() if name.startswith(WEIGHTS)})
    return network, number


@torch.no_grad()
def accuracy(network: Network, draw: Draw, classes: int, *what: str | int) -> float:
    """The mean over classes of the fraction of up to 128 fresh real images that the network classifies rightly."""
    network.eval()
    right = [(network(draw.sample(k, QUERY, "query", *what)).argmax(1) == k).double().mean() for k in range(classes)]
    network.train()
    return float(torch.stack(right).mean())
