"""Optimisers: how learned tensors are stepped, by torch's own rules, with buffers that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datadam.errors import InvalidInput
from datadam.methods.base import Group

if TYPE_CHECKING:
    from datadam.distillation.recipe import Recipe

SECOND = 0.999  # beta_2 of Adam, AdamW and LAMB
ADAMS = ("exp_avg", "exp_avg_sq")
BUFFERS = {"sgd": ("momentum_buffer",), "adam": ADAMS, "adamw": ADAMS, "lamb": ADAMS}


class Optimisers:
    """Steps learned tensors in place.

    Arguments: `groups`, what each optimiser steps; `tensors`, by name; `buffers` of an earlier `buffers()`, by
    "tensor/buffer" (those that are missing begin at zero); `done`, steps so far, which Adam counts and no buffer holds: classes
    of a run that is spread may stand at different ones. Raises `KeyError` for a group that names a tensor which is not there.
    """

    def __init__(
        self, groups: Sequence[Group], tensors: Mapping[str, Tensor], buffers: Mapping[str, Tensor], done: int = 0
    ) -> None:
        self.groups, self.tensors = groups, tensors
        self.rules = [_rule(group, [tensors[name] for name in group.tensors]) for group in groups]
        for name, buffer, tensor, state in self._buffers():
            state[buffer] = buffers.get(f"{name}/{buffer}", torch.zeros_like(tensor)).to(tensor.device)
        for group, rule in zip(groups, self.rules, strict=True):
            for name in group.tensors if group.rule != "sgd" else ():
                rule.state[tensors[name]]["step"] = torch.tensor(float(done))

    def _buffers(self) -> Iterator[tuple[str, str, Tensor, dict[str, Tensor]]]:
        """Each buffer: of which tensor, its name, the tensor, and the optimiser's state that holds it."""
        for group, rule in zip(self.groups, self.rules, strict=True):
            for name in group.tensors:
                tensor = self.tensors[name]
                for buffer in BUFFERS[group.rule]:
                    yield name, buffer, tensor, rule.state[tensor]

    def buffers(self) -> dict[str, Tensor]:
        """All that the rules remember, by "tensor/buffer"; the tensors themselves, and no copies."""
        return {f"{name}/{buffer}": state[buffer] for name, buffer, _, state in self._buffers()}

    def step(self, gradient: Mapping[str, Tensor]) -> None:
        """One step of every learned tensor, from its gradient."""
        for group, rule in zip(self.groups, self.rules, strict=True):
            stepped = [self.tensors[name] for name in group.tensors]
            for name, tensor in zip(group.tensors, stepped, strict=True):
                tensor.grad = gradient[name]
            if group.clip is not None:
                torch.nn.utils.clip_grad_norm_(stepped, group.clip)
            rule.step()
            for tensor in stepped:
                tensor.grad = None
                if group.bounds is not None:
                    tensor.clamp_(*group.bounds)

    def skip(self) -> None:
        """A step that is not taken; Adam counts it, since a resumed run counts iterations."""
        for group, rule in zip(self.groups, self.rules, strict=True):
            for name in group.tensors if group.rule != "sgd" else ():
                rule.state[self.tensors[name]]["step"] += 1


def _rule(group: Group, tensors: list[Tensor]) -> torch.optim.Optimizer:
    if group.rule == "sgd":  # with a buffer also where the momentum is 0: a checkpoint holds the same whatever the settings
        return torch.optim.SGD(tensors, lr=group.lr, momentum=group.momentum, foreach=False)
    options: dict[str, Any] = {"lr": group.lr, "betas": (group.momentum, SECOND), "foreach": False, "weight_decay": group.decay}
    if group.rule == "lamb":
        return Lamb(tensors, **options, eps=1e-6)
    return torch.optim.Adam(tensors, **options) if group.rule == "adam" else torch.optim.AdamW(tensors, **options)


class Lamb(torch.optim.Adam):
    """LAMB (You et al., ICLR 2020): the step of Adam, as long as the tensor it moves, times the rate.

    A tensor of zeros, or a step of zero length, keeps the length of Adam's. Arguments as torch's Adam; `weight_decay` is added to
    the step, before its length is taken.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every tensor."""
        for group in self.param_groups:
            (first, second), rate, decay = group["betas"], group["lr"], group["weight_decay"]
            for tensor in group["params"]:
                state, gradient = self.state[tensor], tensor.grad
                state["step"] += 1
                state["exp_avg"].lerp_(gradient, 1 - first)
                state["exp_avg_sq"].lerp_(gradient.square(), 1 - second)
                steps = float(state["step"])
                mean, square = state["exp_avg"] / (1 - first**steps), state["exp_avg_sq"] / (1 - second**steps)
                way = mean / (square.sqrt() + group["eps"]) + decay * tensor
                own, length = tensor.norm(), way.norm()
                ratio = own / length if own > 0 and length > 0 else 1.0
                tensor -= rate * ratio * way


def require_learnable(recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
    """Raise `InvalidInput`, with the cure, unless what the recipe's method learns is there and each of it stepped once."""
    method = recipe.method
    stepped = [name for group in method.groups(recipe.group) for name in group.tensors] if method.learns else []
    if method.learns and sorted(stepped) != sorted(method.learns):
        raise InvalidInput(
            f"{method.name} learns {_names(method.learns)}, and its groups step {_names(stepped)}; `groups` must name each once"
        )
    if missing := method.learns - tensors.keys():
        raise InvalidInput(
            f"{method.name} learns {_names(missing)}, and its `start_values` give {_names(set(tensors) - {'images'})}; give them"
        )
    if method.streams and method.learns > {"images"}:
        raise InvalidInput(
            f"{method.name} matches features, which moves images alone, and learns {_names(method.learns)} as well"
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
