"""Options from a YAML file and from the command line, merged and checked together so that every fault shows at once.

Precedence: command line, file, preset.
"""

from pathlib import Path
from typing import Any

from datadam.errors import InvalidInput, UnknownName

KINDS: dict[str, tuple[type, ...]] = {
    "data": (str,), "ipc": (int,), "method": (str,), "preset": (str,), "set": (dict,), "iterations": (int,), "batch_real": (int,),
    "net": (str,), "start": (str,), "seed": (int,), "repeats": (int,), "root": (str,), "size": (int,), "fit": (str,), "test": (str,),
    "skip_bad": (bool,), "zca": (bool,), "device": (str,), "precision": (str,), "memory_limit": (str, int), "time_limit": (int, float),
    "snapshots": (str, list), "out": (str,), "overwrite": (bool,), "note": (str,), "json": (bool,),
}  # fmt: skip
"""What a file may say, and as what; names as on the command line, with - or _."""


def merge(given: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """The options of a new run: `given` on the command line, the rest from the file. Raises `InvalidInput` with every fault."""
    faults: list[str] = []
    given = dict(given)
    if "set" in given:
        given["set"] = _assignments(given["set"], faults)
    asked, settings = {}, {}
    if config is not None:
        asked = _read(config, faults)
        settings = asked.get("set", {})
    asked = asked | given | {"set": settings | given.get("set", {})}
    if asked.get("data") is None:
        faults.append("no DATA given; name a data set (datadam list data) or a path, or --resume RUN")
    if "ipc" not in asked:
        faults.append("no --ipc given; say how many images per class to make, such as --ipc 10")
    elif asked["ipc"] < 1:
        faults.append(f"ipc (images per class) is {asked['ipc']}; it must be at least 1")
    if asked.get("repeats", 1) < 1:
        faults.append(f"repeats is {asked['repeats']}; it must be at least 1")
    if asked.get("time_limit", 1) <= 0:
        faults.append(f"time_limit is {asked['time_limit']}; it must be a number of seconds > 0")
    if "snapshots" in asked:
        asked["snapshots"] = _iterations(asked["snapshots"], faults)
    if faults:
        raise InvalidInput(*faults)
    return asked


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
            allowed = " or ".join(kind.__name__ for kind in KINDS[name])
            faults.append(f"{path}: {key} is {value!r}; it must be {allowed}")
        else:
            asked[name] = value
    return asked


def _assignments(texts: list[str], faults: list[str]) -> dict[str, str]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name.strip():
            settings[name.strip()] = value.strip()
        else:
            faults.append(f"--set {text!r} is no assignment; write NAME=VALUE, such as --set power=2")
    return settings


def _iterations(value: Any, faults: list[str]) -> tuple[int, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        numbers = tuple(int(part) for part in parts)
        if min(numbers, default=0) < 0:
            raise ValueError
    except (TypeError, ValueError):
        faults.append(f"snapshots is {value!r}; write iterations such as 0,100,500")
        return ()
    return numbers
