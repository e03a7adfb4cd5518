"""DC and DSA as their authors released them (Zhao, Mopuri and Bilen, ICLR 2021; Zhao and Bilen, ICML 2021)."""

from dataclasses import replace

from datadam.distillation.presets.kind import Kind, as_released, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import DC, DSA

NETWORKS = 1000
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""By ipc: image steps with one network, and epochs that it trains on the synthetic set between two of them."""


def loops(ipc: int) -> tuple[int, int]:
    """Image steps a network, and epochs between them: as published, on a line between two published ipc, above 50 as at 50."""
    if ipc >= max(LOOPS):
        return LOOPS[max(LOOPS)]
    below = max(known for known in LOOPS if known <= ipc)
    above = min(known for known in LOOPS if known >= ipc)
    share = (ipc - below) / (above - below) if above > below else 0.0
    outer, inner = (round(low + share * (high - low)) for low, high in zip(LOOPS[below], LOOPS[above], strict=True))
    return outer, inner


def dc(real: Kind, ipc: int) -> Recipe:
    """DC: 1 000 networks, each for some image steps (rate 0.1) with training on the synthetic set between them; from noise.

    An iteration is one image step. Published, CIFAR-10 ipc 1 / 10 / 50: 28.3 / 44.9 / 53.9 %.
    """
    outer, inner = loops(ipc)
    return Recipe(
        method=DC(),
        ipc=ipc,
        net=as_released("instance", real),
        iterations=NETWORKS * outer,
        lr_images=0.1,
        start="noise",
        augment="none",
        normalisation="field",
        iterations_per_network=outer,
        network_epochs=inner if outer > 1 else 0,
        network_lr=0.01,
        network_momentum=0.0,
        network_decay=0.0,
        network_when="between",
        preset="dc",
    )


def dsa(real: Kind, ipc: int) -> Recipe:
    """DSA: DC from real images, and everything augmented: both sides alike, and the images that a network trains on.

    Published, CIFAR-10 ipc 1 / 10 / 50: 28.8 / 52.1 / 60.6 %.
    """
    words = strategy(real)
    return replace(dc(real, ipc), method=DSA(), start="real", augment=words, network_augment=words, preset="dsa")


def remark(recipe: Recipe) -> str:
    """What to tell of loops that nobody has published; "" for nothing."""
    outer, inner = loops(recipe.ipc)
    ours = (recipe.iterations_per_network, recipe.network_epochs) == (outer, inner)
    if recipe.preset not in ("dc", "dsa") or recipe.ipc in LOOPS or not ours:
        return ""
    return (
        f"{recipe.preset} is published for {', '.join(map(str, LOOPS))} images per class; for {recipe.ipc} its loops are "
        f"{'interpolated' if recipe.ipc < max(LOOPS) else f'those of {max(LOOPS)}'}: {outer} image steps a network, "
        f"{inner} epochs between them"
    )
