"""datadam: a few synthetic images per class that teach a network as much as they can of the whole set.

    import datadam

    real = datadam.load("mnist")
    recipe = datadam.preset("datadam", real, ipc=10).change({"iterations": 300, "batch_real": 64})
    small = datadam.distill(real, recipe, out="runs/mnist")
    print(datadam.evaluate(small, real, students=2))

Names are imported when they are first used, so that `datadam --help` need not wait for torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datadam.audit import audit as audit
    from datadam.compare import Comparison as Comparison
    from datadam.compare import compare as compare
    from datadam.data import RealData as RealData
    from datadam.data import load as load
    from datadam.distill import begin as begin
    from datadam.distill import distill as distill
    from datadam.distill import resume as resume
    from datadam.distilled import DistilledSet as DistilledSet
    from datadam.errors import DatadamError as DatadamError
    from datadam.errors import InvalidInput as InvalidInput
    from datadam.errors import RunFailed as RunFailed
    from datadam.evaluate import Evaluation as Evaluation
    from datadam.evaluate import evaluate as evaluate
    from datadam.evaluate import evaluate_whole as evaluate_whole
    from datadam.loop import Distillation as Distillation
    from datadam.machine import tune_allocator as tune_allocator
    from datadam.methods import DM as DM
    from datadam.methods import DataDAM as DataDAM
    from datadam.presets import preset as preset
    from datadam.recipe import Recipe as Recipe

_HOME = {
    "Comparison": "compare",
    "DM": "methods",
    "DataDAM": "methods",
    "DatadamError": "errors",
    "DistilledSet": "distilled",
    "Distillation": "loop",
    "Evaluation": "evaluate",
    "InvalidInput": "errors",
    "RealData": "data",
    "Recipe": "recipe",
    "RunFailed": "errors",
    "audit": "audit",
    "begin": "distill",
    "compare": "compare",
    "distill": "distill",
    "evaluate": "evaluate",
    "evaluate_whole": "evaluate",
    "load": "data",
    "preset": "presets",
    "resume": "distill",
    "tune_allocator": "machine",
}

__all__ = [
    "DM",
    "Comparison",
    "DataDAM",
    "DatadamError",
    "Distillation",
    "DistilledSet",
    "Evaluation",
    "InvalidInput",
    "RealData",
    "Recipe",
    "RunFailed",
    "audit",
    "begin",
    "compare",
    "distill",
    "evaluate",
    "evaluate_whole",
    "load",
    "preset",
    "resume",
    "tune_allocator",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'datadam' has no attribute {name!r}")
    value = getattr(import_module(f"datadam.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Importing the module datadam.distill would put it in the place of the function datadam.distill; this keeps the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        ours = isinstance(value, ModuleType) and name in __all__
        super().__setattr__(name, getattr(value, name) if ours else value)


sys.modules[__name__].__class__ = _Package
