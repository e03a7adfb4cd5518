"""Options from a YAML file and from the command line, merged and checked together so that every fault shows at once.

Precedence: command line, file, preset.
"""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadam.errors import InvalidInput, UnknownName, noting

if TYPE_CHECKING:
    from datadam.distillation.presets import Kind
    from datadam.distillation.recipe import Recipe

KINDS: dict[str, tuple[type, ...]] = {
    "data": (str,), "ipc": (int,), "method": (str,), "preset": (str,), "set": (dict,), "iterations": (int,), "batch_real": (int,),
    "net": (str,), "start": (str,), "seed": (int,), "repeats": (int,), "root": (str,), "size": (int,), "fit": (str,),
    "test": (str,), "skip_bad": (bool,), "bits": (str, int), "background": (str, int), "layout": (str,),
    "labels_as_numbers": (bool,), "skip_unlabelled": (bool,), "normalisation": (str,), "zca": (bool,), "flip": (bool,),
    "device": (str,), "precision": (str,), "memory_limit": (str, int),
    "time_limit": (int, float), "snapshots": (str, list, int), "out": (str,), "overwrite": (bool,), "note": (str,),
    "json": (bool,), "engine": (str,), "workers": (int,), "shards": (int,), "gpus_per_worker": (int, float),
    "address": (str,), "tensorboard": (str, bool), "nested": (bool,), "budget": (str, int, float),
}  # fmt: skip
"""What a file may say, and as what; names as on the command line, with - or _."""

SETTINGS = ("iterations", "batch_real", "net", "start", "seed", "precision", "normalisation", "zca", "nested")
"""Settings of a recipe that are options of their own; the others go by --set."""

AT_ONCE = ("net", "seed", "normalisation", "zca", "protocol", "decoder")
"""The settings that mean something to a method whose images are there at once."""


def merge(given: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """The options of a new run: `given` on the command line, the rest from the file; settings of the recipe lie under "set".

    Raises `InvalidInput` with every fault that can be found without the data.
    """
    from datadam.cli.options import size_in_bytes
    from datadam.cli.workers import spread_of
    from datadam.distillation.presets import Sketch

    faults: list[str] = []
    given = dict(given)
    if "set" in given:
        given["set"] = _assignments(given["set"], faults)
    given = _settled(given, faults)
    asked = _settled(_read(config, faults), faults) if config is not None else {"set": {}}
    asked = asked | given | {"set": asked["set"] | given["set"]}
    if asked.get("data") is None:
        faults.append("no DATA given; name a data set (datadam list data) or a path, or --resume RUN")
    if "ipc" not in asked:
        faults.append("no --ipc given; say how many images per class to make, such as --ipc 10")
    with noting(faults):
        spread_of(asked)
    for name in ("ipc", "repeats"):
        if asked.get(name, 1) < 1:
            faults.append(f"{name} is {asked[name]}; it must be at least 1")
    with noting(faults):
        check_seconds(asked.get("time_limit"))
    with noting(faults):
        size_in_bytes(asked.get("memory_limit"))
    if "snapshots" in asked:
        asked["snapshots"] = _iterations(asked["snapshots"], faults)
    with noting(faults):
        recipe_for(asked | {"ipc": max(1, asked.get("ipc", 1))}, Sketch(str(asked.get("data")), (3, 32, 32)))
    if faults:
        raise InvalidInput(*faults)
    return asked


def recipe_for(asked: dict[str, Any], real: "Kind") -> "Recipe":
    """The recipe that was asked for, on data of this kind. Raises `InvalidInput` with every unknown name and wrong setting."""
    from datadam import nets
    from datadam.distillation.start import STARTS

    faults: list[str] = []
    recipe = None
    with noting(faults):
        recipe = _preset(asked, real)
    settings = dict(asked.get("set", {}))
    if isinstance(settings.get("zca"), bool):
        own = "official" if recipe is not None and recipe.preset == "official" else "kornia"
        settings["zca"] = own if settings["zca"] else "none"
    if recipe is not None:
        known = {f.name for f in fields(recipe.method)} | set(AT_ONCE) | ({"precision"} if recipe.method.samples else set())
        if recipe.method.at_once and (wrong := sorted((_fields(recipe) - known) & set(settings))):
            does = "samples a generator" if recipe.method.samples else "chooses real images and learns nothing"
            faults.append(f"{recipe.method.name} {does}; leave out {', '.join(wrong)}")
        with noting(faults):
            recipe = recipe.change(settings)
    with noting(faults):
        nets.canonical(settings.get("net", "auto"), real.shape)
    start = settings.get("start", "real")
    if start not in STARTS and not Path(str(start)).is_dir():
        faults.extend(UnknownName("start", start, STARTS, "The folder of an earlier run is allowed too.").faults)
    late = [i for i in asked.get("snapshots", ()) if recipe is not None and i > recipe.iterations]
    if late and recipe is not None:
        faults.append(f"snapshots asks for iteration {late[0]}, and the run has {recipe.iterations}; name iterations up to that")
    if faults or recipe is None:
        raise InvalidInput(*faults)
    return recipe


def _preset(asked: dict[str, Any], real: "Kind") -> "Recipe":
    from datadam.distillation.presets import FOR_METHOD, preset
    from datadam.methods.catalog import method_named

    method, name = asked.get("method"), asked.get("preset")
    if "budget" in asked:
        return _within(asked, real)
    if method is not None:
        method_named(method)
    recipe = preset(name or (FOR_METHOD.get(method, method) if method else "datadam"), real, ipc=asked["ipc"])
    if method is not None and recipe.method.name != method:
        raise InvalidInput(f"preset {name!r} is for method {recipe.method.name!r}, not {method!r}; leave one of them out")
    return recipe


def _within(asked: dict[str, Any], real: "Kind") -> "Recipe":
    """The recipe that fits the time there is; of data that are not there yet, one of its kind."""
    from datadam.data import RealData
    from datadam.distillation.budget import seconds_of, within
    from datadam.distillation.presets import preset

    settings = asked.get("set", {})
    decided: list[str] = [name for name in ("method", "preset") if name in asked]
    decided += [name for name in ("iterations", "count", "epochs", "precision") if name in settings]
    if decided:
        raise InvalidInput(f"--budget decides {', '.join(decided)}; leave that out, or leave --budget out")
    seconds = seconds_of(asked["budget"])
    if not isinstance(real, RealData):
        return preset("calm", real, ipc=asked["ipc"])
    chosen = {name: settings[name] for name in ("net", "decoder") if name in settings}
    return within(real, asked["ipc"], seconds, device=asked.get("device", "auto"), follows=_mtt_takes(settings, real), **chosen)


def _mtt_takes(settings: dict[str, Any], real: "Kind") -> bool:
    """Whether MTT has all these settings, so that it may end what a budget begins; it looks at all images at once."""
    from datadam.distillation.presets import preset

    if settings.get("nested", "none") != "none" or "batch_synthetic" in settings:
        return False
    try:
        preset("mtt-quick", real, ipc=1).change(settings)
    except InvalidInput:
        return False
    return True


def _fields(recipe: "Recipe") -> set[str]:
    return {field.name for field in fields(recipe)}


def check_seconds(limit: float | None) -> None:
    """Raise `InvalidInput` unless the limit is a number of seconds."""
    if limit is not None and not limit > 0:
        raise InvalidInput(f"time_limit is {limit}; it must be a number of seconds > 0")


def _settled(options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    """The options with every setting of the recipe under "set"."""
    settings = dict(options.get("set", {}))
    for name in SETTINGS:
        if name in options and name in settings:
            faults.append(f"{name} is given twice, as an option and with set; give it once")
    for name in ("ipc", "preset", "method"):
        if name in settings:
            faults.append(f"{name} is no setting; give it as --{name}")
            del settings[name]
    settings |= {name: options[name] for name in SETTINGS if name in options}
    if isinstance(options.get("nested"), bool):
        settings["nested"] = "auto" if options["nested"] else "none"
    return {name: value for name, value in options.items() if name not in SETTINGS} | {"set": settings}


def _read(path: Path, faults: list[str]) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"config {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"config {path} must be a mapping such as 'ipc: 10', and holds {type(content).__name__}")
    asked = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in KINDS:
            faults.append(f"{path}: {UnknownName('option', key, KINDS)}")
        elif not isinstance(value, KINDS[name]) or (isinstance(value, bool) and bool not in KINDS[name]):
            allowed = " or ".join({"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
                                   "dict": "a mapping", "list": "a list"}[kind.__name__] for kind in KINDS[name])  # fmt: skip
            faults.append(f"{path}: {key} is {value!r}; it must be {allowed}")
        else:
            asked[name] = value
    return asked


def _assignments(texts: list[str], faults: list[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            faults.append(f"--set {text!r} is no assignment; write NAME=VALUE, such as --set power=2")
        elif name in settings:
            faults.append(f"--set {name} is given twice; give it once")
        else:
            settings[name] = value
    return settings


def _iterations(value: Any, faults: list[str]) -> tuple[int, ...]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        numbers = tuple(int(part) for part in parts)
        if min(numbers, default=0) < 0:
            raise ValueError
    except (TypeError, ValueError):
        faults.append(f"snapshots is {value!r}; write iterations such as 0,100,500")
        return ()
    return numbers
