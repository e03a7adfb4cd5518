"""Over whom a run is spread, and which runs can be."""

from datadam import nets
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.methods import Method


def require_separable(recipe: Recipe, real: RealData) -> None:
    """Raise `InvalidInput`, with the cure, unless each class of the run can be distilled without the others.

    The recipe's net is canonical.
    """
    method, alone = recipe.method, "leave out --workers, --shards and --engine"
    if method.chooses:
        raise InvalidInput(f"{method.name} chooses real images and learns nothing, so there is nothing to spread; {alone}")
    if method.samples:
        raise InvalidInput(f"{method.name} trains one generator for all classes, so there is nothing to spread; {alone}")
    if not method.separable:
        raise InvalidInput(
            f"{method.name} looks at all classes together, so they cannot be spread over workers; {alone}, or spread what judges "
            "the run: datadam evaluate RUN --workers N"
        )
    if type(method).init is not Method.init or type(method).between is not Method.between:
        raise InvalidInput(
            f"{method.name} keeps a state of its own from one iteration to the next, which is of all classes, so these cannot be "
            f"spread over workers; {alone}"
        )
    if any(group.clip is not None for group in method.groups(recipe.group)):
        raise InvalidInput(
            f"{method.name} cuts the gradient of all classes together to a norm, so these cannot be spread over workers; {alone}"
        )
    if any(group.rule == "lamb" for group in method.groups(recipe.group)):
        raise InvalidInput(
            "LAMB goes by the length of all images together, so classes cannot be spread over workers; take optimizer=adam, "
            f"or {alone}"
        )
    if "rate" in method.learns:
        raise InvalidInput(
            f"{method.name} learns one rate of students for all classes, so they cannot be spread over workers; {alone}"
        )
    if recipe.on_the_way:
        raise InvalidInput(
            "network_steps and network_epochs train the matching networks on the images of all classes, so these cannot be "
            f"spread over workers; {alone}, or set both to 0"
        )
    if method.needs_network and nets.build(recipe.net, shape=real.shape, classes=len(real.classes)).couples_images:
        name = recipe.net.split(":")[0]
        raise InvalidInput(
            f"{recipe.net} couples the images of a batch (batch norm), and with them the classes, so these cannot be spread over "
            f"workers; use a norm that looks at one image (--net {name}:norm=instance), or {alone}"
        )
