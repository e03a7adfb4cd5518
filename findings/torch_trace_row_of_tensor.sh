#!/bin/sh
# One would guess that whether a function can be traced for any size (make_fx, tracing_mode="symbolic") depends on the function and on
# shapes. For a function that takes a derivative by forward mode (torch.func.jvp) it depends on what the numbers lie in: a tensor of
# its own can be traced, and a row of a larger tensor, contiguous, of the same shape and strides, even the first one, which begins
# where the larger one begins, raises an error about a storage offset. The same row can be traced with real or with fake tensors
# ("real", "fake"), and a gradient backward alone can be traced either way: it takes both. A copy of the row mends it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/rows.py" <<'PYTHON'
import logging
import sys

import torch
from torch.func import grad, jvp
from torch.fx.experimental.proxy_tensor import make_fx

logging.disable(logging.CRITICAL)  # the error is printed with the frames of its origin otherwise


def loss(x):
    return (x * x * x).sum()


def backward(x):
    return grad(loss)(x)


def forward(x):
    return jvp(loss, (x,), (torch.ones_like(x),))[1]


rows = torch.arange(20.0).view(4, 5)
tensors = {"of its own": torch.arange(5.0), "first row": rows[0], "second row": rows[1], "copy of the row": rows[1].clone()}
print("torch", torch.__version__)
found = {}
for mode in ("real", "fake", "symbolic"):
    for kind, function in (("backward", backward), ("forward", forward)):
        for name, x in tensors.items():
            assert x.shape == (5,) and x.stride() == (1,) and x.is_contiguous()
            try:
                traced = make_fx(function, tracing_mode=mode)(x)
                found[mode, kind, name] = "right" if torch.equal(traced(x), function(x)) else "wrong"
            except RuntimeError as error:
                found[mode, kind, name] = str(error).splitlines()[0]
            print(f"{mode}, {kind}, {name}: {found[mode, kind, name]}")
failing = {key for key, value in found.items() if "storage_offset" in value}
right = {key for key, value in found.items() if value == "right"}
expected = {("symbolic", "forward", "first row"), ("symbolic", "forward", "second row")}
sys.exit(not (failing == expected and failing | right == set(found)))
PYTHON
"$folder/venv/bin/python" "$folder/rows.py"
# seen: torch 2.13.0
#       real and fake, backward and forward, each of the four tensors: right
#       symbolic, backward, each of the four tensors: right
#       symbolic, forward, of its own: right
#       symbolic, forward, first row: Cannot call storage_offset() on tensor with symbolic sizes/strides
#       symbolic, forward, second row: Cannot call storage_offset() on tensor with symbolic sizes/strides
#       symbolic, forward, copy of the row: right
