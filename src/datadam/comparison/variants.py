"""A method and its settings in one word: `datadam`, `paper`, `datadam:power=1:layers=()`, `dm:net=convnet3[norm=batch]`.

    LIST    = WORD , WORD , ...
    WORD    = NAME : SETTING=VALUE : SETTING=VALUE ...      NAME: a method (with its usual preset), or a preset
    VALUE   of the setting `net`: NETWORK[OPTION=VALUE:OPTION=VALUE ...]; of `decoder`: plain, grid:2, dct:32; of `networks`:
            random, POOL@20-40, experts:FOLDER

Commas and colons inside of brackets, round or square, part nothing.
"""

import hashlib
import re
from dataclasses import dataclass, fields
from typing import Any

from datadam import nets, plugins
from datadam.distillation.presets import CATALOG as PRESETS
from datadam.distillation.presets import FOR_METHOD
from datadam.distillation.recipe import Recipe
from datadam.distillation.start import STARTS
from datadam.errors import CannotDo, InvalidInput, UnknownName
from datadam.methods import Coreset
from datadam.methods.catalog import CATALOG as METHODS
from datadam.settings import refuse
from datadam.training.experts import NAMED

FOR_ALL = ("ipc", "seed", "protocol", "method", "preset")
"""What no single method of a comparison may set."""
OF_CORESETS = ("net", "normalisation", "zca", "decoder")
"""The settings of a recipe that mean something to a method whose images are there at once."""
LONGEST = 80  # letters of a folder's name


@dataclass(frozen=True)
class Variant:
    """A method as one word says it: the `word` without spaces around its signs, its `base` (a method or preset), the `settings`
    as text."""

    word: str
    base: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> str:
        """A name for its runs: readable, and different for different words."""
        name = re.sub(r"[^A-Za-z0-9.=_-]+", "-", self.word).strip("-")
        if name != self.word.replace(":", "-") or len(name) > LONGEST:
            name = f"{name[:LONGEST]}-{hashlib.sha256(self.word.encode()).hexdigest()[:6]}"
        return name


def bases() -> set[str]:
    """The names that a word may begin with."""
    coresets = (name for name, method in METHODS.items() if issubclass(method, Coreset))
    return {*PRESETS, *FOR_METHOD, *coresets, *plugins.names("methods")}


def split(text: str, at: str = ",") -> list[str]:
    """The parts of a list, where `at` stands outside of brackets. Raises `InvalidInput` for a bracket without its fellow."""
    parts, open_ = [""], ""
    for letter in text:
        if letter in "([":
            open_ += letter
        elif letter in ")]":
            if open_[-1:] != {")": "(", "]": "["}[letter]:
                break
            open_ = open_[:-1]
        if letter == at and not open_:
            parts.append("")
        else:
            parts[-1] += letter
    else:
        if not open_:
            return [part.strip() for part in parts]
    raise InvalidInput(f"the brackets of {text!r} do not close; write them in pairs, as in datadam:layers=(1,2)")


def variant(text: str) -> Variant:
    """The variant that a word says. Raises `InvalidInput` with every fault that shows without data."""
    word = re.sub(r"\s*([,:=()\[\]])\s*", r"\1", str(text).strip())  # a folder's name may have spaces of its own
    base, *parts = _joined(split(word, ":"))
    faults: list[str] = []
    settings: dict[str, str] = {}
    if not word:
        faults.append("a method is empty; write names with a comma between two of them, such as random,dm")
    elif base not in bases():
        faults += UnknownName("method or preset", base, bases()).faults
    for part in parts:
        name, equals, value = part.partition("=")
        if not name or not equals:
            faults.append(f"{part!r} of {word!r} is no assignment; write SETTING=VALUE, such as datadam:power=1")
        elif name in ("method", "preset"):
            faults.append(f"{name} cannot be set in {word!r}; a word begins with its method or preset: {value or 'dm'}")
        elif name in FOR_ALL:
            faults.append(f"{name} of {word!r} belongs to the whole comparison and to no single method; give it as --{name}")
        elif name in settings:
            faults.append(f"{name} is given twice in {word!r}; give it once")
        else:
            settings[name] = network(value) if name == "net" else value
    refuse(faults)
    return Variant(word, base, tuple(settings.items()))


def _joined(parts: list[str]) -> list[str]:
    """The parts of a word: the number of a decoder (`decoder=grid:2`), and the folder of experts, with what stands before."""
    found: list[str] = []
    for part in parts:
        grid = found and part.isdecimal() and re.fullmatch("decoder=[a-z]+", found[-1])
        if grid or (found and f"{found[-1]}:" == f"networks={NAMED}"):
            found[-1] += f":{part}"
        else:
            found.append(part)
    return found


def network(text: str) -> str:
    """A network in its usual spelling: `convnet3[norm=batch:width=64]` (or commas) becomes `convnet3:norm=batch:width=64`."""
    found = re.fullmatch(r"([^\[\]]*)\[([^\[\]]*)\]", text.strip())
    return f"{found[1]}:{found[2].replace(',', ':')}".rstrip(":") if found else text.strip()


def changed(recipe: Recipe, variant: Variant, settings: dict[str, Any]) -> Recipe:
    """The recipe of a variant: `settings` for all methods, then its own. Raises `InvalidInput` with every wrong one."""
    own = dict(variant.settings)
    known = {f.name for f in (*fields(recipe), *fields(recipe.method))}
    options = {option for row in nets.CATALOG.values() for option in row.options}
    faults = [
        f"{name} of {variant.word!r} is an option of a network; write it in brackets: net=convnet3[{name}={value}]"
        for name, value in own.items()
        if name in options - known
    ]
    if recipe.method.at_once:
        meant = {*OF_CORESETS, *(("precision",) if recipe.method.samples else ())}
        wrong = sorted(set(own) & {f.name for f in fields(recipe)} - meant)
        if wrong:
            does = "samples a generator" if recipe.method.samples else "chooses real images and learns nothing"
            faults.append(f"{variant.word!r} {does}; leave out {', '.join(wrong)}")
    if own.get("start", "real") not in STARTS:
        cure = "A comparison starts from nothing that an earlier run has left; datadam distill --start RUN does."
        faults += UnknownName("start", own["start"], STARTS, cure).faults
    refuse(faults)
    try:
        return recipe.change(settings | own)
    except InvalidInput as error:
        kind = CannotDo if isinstance(error, CannotDo) else InvalidInput
        raise kind(*(f"{variant.word}: {fault}" for fault in error.faults)) from error
