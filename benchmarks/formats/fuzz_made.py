"""Files for fuzz.py that are whole, and hold other kinds, shapes, values or things than a set does."""

import io
import json
import pickle
from typing import Any

import numpy as np
import torch

KINDS = ("<f4", "<f8", ">f4", "<f2", "<i8", "<i4", "|u1", "|b1", "<U3", "|S4", "<c8", "<M8[s]", "<u8")


def made_up(suffix: str, rng: np.random.Generator) -> bytes:
    """A file that is whole, and holds other kinds, shapes, values or things than it should."""
    if suffix == ".npz":
        out = io.BytesIO()
        names = ("images", "labels", "mean", "std", "classes", "zca_mean", "zca_matrix", "zca_variant", "zca_eps")
        np.savez(out, **{name: array(rng) for name in names if rng.random() < 0.7})
        return out.getvalue()
    if suffix == ".pt":
        out = io.BytesIO()
        torch.save(thing(rng, 3), out, _use_new_zipfile_serialization=bool(rng.random() < 0.8))
        return out.getvalue()
    if suffix == ".json":
        return json.dumps(words(rng, 3)).encode()
    return pickle.dumps(thing(rng, 2))


def array(rng: np.random.Generator) -> Any:
    """An array of any kind and shape, odd values included."""
    shapes = ((4, 3, 8, 8), (4, 8, 8, 3), (4,), (4, 2), (), (0,), (3,), (4, 1), (192,), (192, 192), (5, 3, 8, 8))
    shape = shapes[int(rng.integers(len(shapes)))]
    values = rng.normal(0, 10 ** float(rng.integers(-3, 40)), shape)
    if rng.random() < 0.3:
        values = np.where(rng.random(shape) < 0.1, rng.choice((np.nan, np.inf, -np.inf, 1e300)), values)
    if rng.random() < 0.3:
        values = rng.integers(0, 2, shape)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(str(rng.choice(KINDS)))


def thing(rng: np.random.Generator, depth: int) -> Any:
    """What torch can save: tensors of many kinds, numpy's arrays and numbers, nested."""
    deed = int(rng.integers(9 if depth else 6))
    if deed == 0:
        return np.asarray(array(rng))
    if deed == 1:
        return np.float64(rng.normal())
    if deed in (2, 3, 4):
        kinds = (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.float16, torch.complex64)
        shape = [(4, 3, 8, 8), (4,), (4, 2), (), (0,), (6, 3, 8, 8)][int(rng.integers(6))]
        tensor = torch.from_numpy(np.asarray(rng.normal(0, 3, shape))).to(kinds[int(rng.integers(len(kinds)))])
        if len(tensor.shape) and len(tensor) and rng.random() < 0.05:
            return tensor[:1].expand(10**6, *tensor.shape[1:])
        return tensor
    if deed == 5:
        return [None, 1, 2**80, "text", b"bytes", float("nan"), {"data": 1}, torch.float32][int(rng.integers(8))]
    if deed == 6:
        return {key: thing(rng, depth - 1) for key in ("data", "accs_all_exps", "net_parameters") if rng.random() < 0.7}
    return [thing(rng, depth - 1) for _ in range(int(rng.integers(0, 4)))]


def words(rng: np.random.Generator, depth: int) -> Any:
    """JSON of any shape, with the names of a real note."""
    names = ("format", "as", "digest", "classes", "numbers", "set", "mean", "std", "zca", "variant", "eps", "method", "origin")
    deed = int(rng.integers(7))
    if depth and deed < 3:
        return {name: words(rng, depth - 1) for name in names if rng.random() < 0.7}
    if depth and deed == 3:
        return [words(rng, depth - 1) for _ in range(3)]
    return ["datadam-exchange/1", 0.1, -1, 10**400, None, "kornia", True, "x" * 1000][int(rng.integers(8))]
