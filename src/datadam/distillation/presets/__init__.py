"""Presets: functions that return complete published settings.

Each takes the data (of which it reads what a `Kind` has) and ipc, since published settings depend on these, and returns a
`Recipe`.
"""

from collections.abc import Callable

from datadam.distillation.presets import cafe, calm, datadam, datm, dc, dd, dm, frepo, generators, kip, ld, mtt, pad
from datadam.distillation.presets.kind import Kind, Sketch, strategy
from datadam.distillation.recipe import PRESETS_OF, Recipe
from datadam.errors import UnknownName
from datadam.methods import Method
from datadam.methods.catalog import method_named

CATALOG: dict[str, Callable[[Kind, int], Recipe]] = {
    "calm-quick": calm.quick,
    "calm": calm.calm,
    "calm-long": calm.long,
    "datadam": datadam.datadam,
    "paper": datadam.paper,
    "official": datadam.official,
    "course-mnist": datadam.course_mnist,
    "course-mhist": datadam.course_mhist,
    "dm": dm.dm,
    "pixel": dm.pixel,
    "dc": dc.dc,
    "dsa": dc.dsa,
    "cafe": cafe.cafe,
    "mtt": mtt.mtt,
    "mtt-quick": mtt.quick,
    "datm": datm.datm,
    "pad": pad.pad,
    "frepo": frepo.frepo,
    "kip": kip.kip,
    "dd": dd.dd,
    "ld": ld.ld,
    "gmmn": generators.gmmn,
    "cgan": generators.cgan,
    "biggan": generators.biggan,
    "dcvae": generators.dcvae,
}

FOR_METHOD = {name: name for name in CATALOG if name not in PRESETS_OF}
"""The preset that a method's bare name stands for; coresets and the methods of other packages need none."""


def preset(name: str, real: Kind, *, ipc: int) -> Recipe:
    """The settings of a preset for this data and ipc, or of a method that needs none by its name.

    Raises `UnknownName`, `InvalidInput`.
    """
    if name in CATALOG:
        return CATALOG[name](real, ipc)
    try:
        return bare(method_named(name)(), real, ipc=ipc)
    except UnknownName:
        raise UnknownName("preset", name, CATALOG) from None


def bare(method: Method, real: Kind, *, ipc: int) -> Recipe:
    """A method with its own settings in the defaults of a recipe. Raises `InvalidInput`."""
    if method.at_once:
        return Recipe(method=method, ipc=ipc, iterations=0, augment="none", preset=method.name)
    return Recipe(method=method, ipc=ipc, augment=strategy(real), preset=method.name)


def remarks(recipe: Recipe) -> tuple[str, ...]:
    """What to tell a user of settings that the preset had to make up."""
    return (dc.remark(recipe),) if dc.remark(recipe) else ()


__all__ = ["CATALOG", "FOR_METHOD", "Kind", "Sketch", "bare", "preset", "remarks"]
