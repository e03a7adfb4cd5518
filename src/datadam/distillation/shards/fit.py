"""Whether each class of a run can be distilled without the others, and so which runs can be spread."""

from typing import NamedTuple

from datadam import nets
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.methods import Method


class Coupling(NamedTuple):
    """What ties the classes of a run together: `why`, in words, and a `cure`, where another setting is one ("" for none)."""

    why: str
    cure: str = ""


def coupling(recipe: Recipe, real: RealData) -> Coupling | None:
    """What ties the classes of a run that learns or samples images together; None where nothing does.

    The recipe's net is canonical.
    """
    method = recipe.method
    if method.samples:
        return Coupling(f"{method.name} trains one generator for all classes")
    if not method.separable:
        return Coupling(f"{method.name} looks at all classes together")
    if type(method).init is not Method.init or type(method).between is not Method.between:
        return Coupling(f"{method.name} keeps a state of its own from one iteration to the next, which is of all classes")
    if any(group.clip is not None for group in method.groups(recipe.group)):
        return Coupling(f"{method.name} cuts the gradient of all classes together to a norm")
    if any(group.rule == "lamb" for group in method.groups(recipe.group)):
        return Coupling("LAMB goes by the length of all images together", "take optimizer=adam")
    if "rate" in method.learns:
        return Coupling(f"{method.name} learns one rate of students for all classes")
    if recipe.on_the_way:
        return Coupling(
            "network_steps and network_epochs train the matching networks on the images of all classes", "set both to 0"
        )
    if method.needs_network and nets.build(recipe.net, shape=real.shape, classes=len(real.classes)).couples_images:
        name = recipe.net.split(":")[0]
        why = f"{recipe.net} couples the images of a batch (batch norm), and with them the classes"
        return Coupling(why, f"use a norm that looks at one image (--net {name}:norm=instance)")
    return None


def require_separable(recipe: Recipe, real: RealData) -> None:
    """Raise `InvalidInput`, with the cure, unless the classes of the run can be spread over workers.

    The recipe's net is canonical.
    """
    method, alone = recipe.method, "leave out --workers, --shards and --engine"
    if method.chooses:
        raise InvalidInput(f"{method.name} chooses real images and learns nothing, so there is nothing to spread; {alone}")
    found = coupling(recipe, real)
    if method.samples and found:
        raise InvalidInput(f"{found.why}, so there is nothing to spread; {alone}")
    if found and not method.separable:
        alone += ", or spread what judges the run: datadam evaluate RUN --workers N"
    if found:
        cure = f"{found.cure}, or {alone}" if found.cure else alone
        raise InvalidInput(f"{found.why}, so that these cannot be spread over workers; {cure}")
