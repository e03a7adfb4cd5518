"""datadam: a few synthetic images per class that teach a network as much as they can of the whole set.

    import datadam

    real = datadam.load("mnist")
    recipe = datadam.preset("datadam", real, ipc=10).change({"iterations": 300, "batch_real": 64})
    small = datadam.distill(real, recipe, out="runs/mnist")
    print(datadam.evaluate(small, real, students=2))

Names are imported when they are first used, so that `datadam --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datadam.comparison.compare import compare as compare
    from datadam.comparison.table import Comparison as Comparison
    from datadam.data import RealData as RealData
    from datadam.data import load as load
    from datadam.distillation.begin import begin as begin
    from datadam.distillation.begin import distill as distill
    from datadam.distillation.begin import resume as resume
    from datadam.distillation.loop import Distillation as Distillation
    from datadam.distillation.presets import preset as preset
    from datadam.distillation.recipe import Recipe as Recipe
    from datadam.errors import DatadamError as DatadamError
    from datadam.errors import InvalidInput as InvalidInput
    from datadam.errors import RunFailed as RunFailed
    from datadam.evaluation.evaluate import evaluate as evaluate
    from datadam.evaluation.evaluate import evaluate_whole as evaluate_whole
    from datadam.evaluation.result import Evaluation as Evaluation
    from datadam.machine import tune_allocator as tune_allocator
    from datadam.methods import DM as DM
    from datadam.methods import DataDAM as DataDAM
    from datadam.privacy import audit as audit
    from datadam.sets.distilled import DistilledSet as DistilledSet

_HOME = {
    "Comparison": "comparison.table",
    "DM": "methods",
    "DataDAM": "methods",
    "DatadamError": "errors",
    "DistilledSet": "sets.distilled",
    "Distillation": "distillation.loop",
    "Evaluation": "evaluation.result",
    "InvalidInput": "errors",
    "RealData": "data",
    "Recipe": "distillation.recipe",
    "RunFailed": "errors",
    "audit": "privacy",
    "begin": "distillation.begin",
    "compare": "comparison.compare",
    "distill": "distillation.begin",
    "evaluate": "evaluation.evaluate",
    "evaluate_whole": "evaluation.evaluate",
    "load": "data",
    "preset": "distillation.presets",
    "resume": "distillation.begin",
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
