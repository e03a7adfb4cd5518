"""Networks of a method's own that train on the synthetic set step by step, each waiting in the state for its next turn.

    online/SLOT/number, age            what the weights were drawn by, and the steps since (or as if)
    online/SLOT/weight/..., average/..., square/..., done       as the trainer keeps them

Letters: N training images, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from datadam.methods.draw import Draw
from datadam.nets import Network
from datadam.sets.synthetic import SyntheticSet
from datadam.training.trainer import Loss, Training, adam, inside

if TYPE_CHECKING:
    from datadam.methods.base import State


def fresh(draw: Draw, slot: int, number: int, age: int = 0) -> State:
    """The state of a slot whose network has just been drawn, by this number."""
    weights = {f"weight/{name}": value.clone() for name, value in draw.network(number).state_dict().items()}
    return _of(slot, weights | {"number": number, "age": age})


def network(state: State, draw: Draw, slot: int) -> Network:
    """The network of a slot, as it stands. Raises `RuntimeError` for a state of another network."""
    drawn = draw.network(int(state[f"online/{slot}/number"]))
    drawn.load_state_dict(_under(f"online/{slot}/weight", state))
    return drawn


def age(state: State, slot: int) -> int:
    """Steps since the network of a slot was drawn (or as if)."""
    return int(state[f"online/{slot}/age"])


def stepped(
    state: State, synthetic: SyntheticSet, labels: Tensor, draw: Draw, slot: int, training: Training, loss: Loss
) -> State:
    """The state with the network of a slot one step of Adam further, on the training images and `labels` [N, K]."""
    network(state, draw, slot)
    number, steps = int(state[f"online/{slot}/number"]), age(state, slot)
    images = synthetic.images().detach()
    with draw.training(images, labels.detach(), training.epochs, training, adam, loss) as trainer:
        if f"online/{slot}/done" in state:
            trainer.load(_under(f"online/{slot}", state))
        trainer.step()
        return replaced(state, slot, _of(slot, {"number": number, "age": steps + 1, **trainer.state()}))


def replaced(state: State, slot: int, new: State) -> State:
    """The state with another network in a slot."""
    return {name: value for name, value in state.items() if not name.startswith(f"online/{slot}/")} | new


def _of(slot: int, values: State) -> State:
    return {f"online/{slot}/{name}": value for name, value in values.items()}


def _under(name: str, state: State) -> dict[str, Tensor]:
    return inside(name, {key: value for key, value in state.items() if isinstance(value, Tensor)})
