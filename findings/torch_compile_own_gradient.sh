#!/bin/sh
# One would guess that a gradient of one's own (torch.autograd.Function) costs compiled code nothing but its own arithmetic: it is traced
# into the same graph as all else. Two things differ, and neither is said. While it traces, the compiler makes an object of the class
# Function, of which torch's own constructor warns as deprecated: a program that takes warnings for errors, as test suites do, stops with
# an internal error of the compiler. And the cache of compiled graphs that a second process would be served from is passed by, where the
# same formula without a gradient of its own is served: each process traces and differentiates the graph anew.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/own.py" <<'PYTHON'
import sys
import warnings

import torch
from torch._dynamo.utils import counters


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient * ctx.saved_tensors[0]


way, strict = sys.argv[1], sys.argv[2] == "strict"
if strict:
    warnings.filterwarnings("error", message=".*Function", category=DeprecationWarning)
compiled = torch.compile(Square.apply if way == "own" else lambda x: x * x)
x = torch.ones(3, requires_grad=True)
try:
    compiled(x).sum().backward()
except Exception as error:
    print(f"{type(error).__name__}: {str(error).split(' should')[0]}")
else:
    cache = {name: count for name, count in counters["aot_autograd"].items() if name.startswith("autograd_cache_")}
    print("gradient", x.grad.tolist(), *(f"{name} {count}" for name, count in sorted(cache.items())))
PYTHON
export TORCHINDUCTOR_CACHE_DIR="$folder/cache"
python="$folder/venv/bin/python"
{
  "$python" -c 'import torch; print("torch", torch.__version__.split("+")[0])'
  for way in plain own; do
    echo "$way, first process:  $("$python" "$folder/own.py" $way lax)"
    echo "$way, second process: $("$python" "$folder/own.py" $way lax)"
    echo "$way, warnings are errors: $("$python" "$folder/own.py" $way strict)"
  done
} > "$folder/seen"
cat "$folder/seen"
sed -n 's/^# seen: //p' "$0" > "$folder/expected"
diff "$folder/expected" "$folder/seen"
# seen: torch 2.13.0
# seen: plain, first process:  gradient [2.0, 2.0, 2.0] autograd_cache_miss 1 autograd_cache_saved 1
# seen: plain, second process: gradient [2.0, 2.0, 2.0] autograd_cache_hit 1
# seen: plain, warnings are errors: gradient [2.0, 2.0, 2.0] autograd_cache_hit 1
# seen: own, first process:  gradient [2.0, 2.0, 2.0] autograd_cache_bypass 1
# seen: own, second process: gradient [2.0, 2.0, 2.0] autograd_cache_bypass 1
# seen: own, warnings are errors: InternalTorchDynamoError: DeprecationWarning: <class 'torch.autograd.function.Function'>
