"""A pickle read as a list of instructions: what it would import, and which bytes of a file it lays claim to. Nothing is run.

`torch.load(weights_only=True)` calls nothing that is not allowed either, but it allows more than a set of images needs, and takes
the pickle's word for the length of each storage. So a file is judged here first, and loaded only if this finds nothing.
"""

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datadam.errors import ArtifactError

STORAGES = {
    "FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
"""Bytes of one number."""
REBUILD = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor", "torch._utils._rebuild_parameter")
NUMPY = tuple(
    f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")
)  # the folder has two names: of numpy 1 and of numpy 2
CALLED = frozenset((*REBUILD, *NUMPY, "numpy.dtype", "_codecs.encode", "collections.OrderedDict"))
ALLOWED = CALLED | {"numpy.ndarray", *(f"torch.{name}" for name in STORAGES)}
NUMERIC = frozenset(f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)) | {"b1", "?"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES",
         "SHORT_BINBYTES")  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Global:
    """Something that a pickle names, such as torch.FloatStorage."""

    name: str


@dataclass(frozen=True)
class Claim:
    """A storage: the record of the file that it lies in, how many bytes of it, and how many numbers these are."""

    key: str
    bytes: int
    count: int


@dataclass(frozen=True)
class Bytes:
    """Bytes that a pickle makes of a text, so many."""

    length: int


MARK, THING = object(), object()  # a mark on the stack; any object that nothing here needs to know


class Scan:
    """The stack of one pickle. `claims`: the storages that it wants. Raises `ArtifactError` for what is not allowed.

    Arguments: `what`, the file; `most`, numbers that a tensor may have; `refuse_global`, the error for a name not allowed.
    """

    def __init__(self, what: str, most: int, refuse_global: Callable[[str], ArtifactError]) -> None:
        self.what, self.most, self.refuse_global = what, most, refuse_global
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.claims: list[Claim] = []
        self.size, self.encoded, self.filled = 0, 0, 0

    def run(self, stream: io.BytesIO) -> Any:
        """Go through the instructions up to the end of this pickle; its value, as far as it is known here."""
        self.size = stream.getbuffer().nbytes
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, argument)
        except ArtifactError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        raise self._broken("no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "GLOBAL":
            stack.append(self._global(str(argument).replace(" ", ".")))
        elif name in NUMBERS or name in TEXTS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append(THING)
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[int(argument)])
        elif name in TUPLES:
            stack[-TUPLES[name] :] = [self._tuple(stack[-TUPLES[name] :])]
        elif name == "TUPLE":
            stack.append(self._tuple(self._down_to_mark()))
        elif name in ("LIST", "DICT"):
            items = self._down_to_mark()
            self._keys(items[::2] if name == "DICT" else [])
            stack.append(THING)
        elif name in ("APPENDS", "SETITEMS"):
            items = self._down_to_mark()
            self._keys(items[::2] if name == "SETITEMS" else [])
            stack[-1] = self._filled(stack[-1])
        elif name in ("APPEND", "SETITEM"):
            items = [stack.pop() for _ in range(1 if name == "APPEND" else 2)]
            self._keys(items[1:])
            stack[-1] = self._filled(stack[-1])
        elif name == "BINPERSID":
            stack.append(self._claim(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(self._call(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            if stack[-1] is not THING:
                raise self._broken("a state for what has none")
            self.filled = self._within(self.filled, state[-1] if isinstance(state, tuple) and state else None)
        elif name != "PROTO":
            raise self._broken(f"the instruction {name}, which torch.save does not write")

    def _global(self, name: str) -> Global:
        if name not in ALLOWED:
            raise self.refuse_global(name)
        return Global(name)

    def _tuple(self, items: list[Any]) -> Any:
        """Of tuples in tuples only plain numbers are kept: one made of itself twice, forty times over, is a short pickle."""
        if any(item is MARK for item in items):
            raise self._broken("a mark inside a tuple")
        deep = [isinstance(item, tuple) and not all(type(number) is int for number in item) for item in items]
        return tuple(THING if far else item for far, item in zip(deep, items, strict=True))

    def _down_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def _keys(self, keys: list[Any]) -> None:
        if not all(isinstance(key, str | int | float) for key in keys):
            raise self._broken("a mapping whose keys are neither words nor numbers")

    def _filled(self, target: Any) -> Any:
        if target is not THING:
            raise self._broken("items for what holds none")
        return THING

    def _claim(self, given: Any) -> Any:
        if not isinstance(given, tuple) or len(given) not in (5, 6) or given[0] != "storage":
            raise self._broken("an object kept elsewhere that is no storage")
        _, kind, key, _, count, *view = given
        size = STORAGES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Global) else None
        if size is None or not isinstance(key, str) or type(count) is not int or count < 0 or any(v is not None for v in view):
            raise self._broken("a storage of no known kind and length")
        self.claims.append(Claim(key, count * size, count))
        return self.claims[-1]

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Global) or function.name not in CALLED or not isinstance(arguments, tuple):
            raise self._broken("a call of what is no function")
        name = function.name
        if (name == "collections.OrderedDict" and arguments) or (name.endswith("_reconstruct") and arguments[1] != (0,)):
            raise self._broken(f"a call of {name} as torch.save does not write it")
        if name in REBUILD[:2]:
            storage, sizes = arguments[0], arguments[2]
            if not isinstance(storage, Claim):
                raise self._broken("a tensor of what is no storage")
            if not isinstance(sizes, tuple) or any(type(n) is not int or n < 0 for n in sizes) or math.prod(sizes) > self.most:
                raise ArtifactError(f"{self.what} holds a tensor of {str(sizes)[:80]}, far more than a set of these data has")
            if (many := math.prod(sizes)) > storage.count:
                raise ArtifactError(
                    f"{self.what} holds a tensor of {many} numbers that shows {storage.count} again and again; a short file of "
                    "that kind can fill the memory. Save its images and labels as tensors of their own: tensor.clone()"
                )
        if name == "_codecs.encode" and (len(arguments) != 2 or arguments[1] != "latin1" or not isinstance(arguments[0], str)):
            raise self._broken("an encoding other than latin1")
        if name == "_codecs.encode":
            self.encoded = self._within(self.encoded, arguments[0])
            return Bytes(len(arguments[0]))
        if name == "numpy.dtype" and (not arguments or str(arguments[0]).lstrip("<>=|") not in NUMERIC):
            raise ArtifactError(f"{self.what} holds numpy values that are no numbers; only numbers are read. {RESAVE}")
        return THING

    def _within(self, before: int, given: Any) -> int:
        """Bytes that came `before`, and those `given`: an honest pickle uses each of its bytes once, a bomb one text often."""
        more = given.length if isinstance(given, Bytes) else len(given) if isinstance(given, str | bytes) else 0
        if before + more > self.size:
            raise self._broken("it uses the same bytes again and again, which would fill the memory")
        return before + more

    def _broken(self, why: str) -> ArtifactError:
        return ArtifactError(f"{self.what} is no sound file of torch.save ({why}); it is damaged, or something else")


RESAVE = (
    "Ask whoever made it for plain tensors, or, only if you trust the file as much as a program that you start, load it in "
    "Python with torch.load(..., weights_only=False) and save its images and labels again with torch.save([images, labels], ...)"
)
