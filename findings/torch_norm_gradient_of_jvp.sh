#!/bin/sh
# One would guess that a directional derivative by forward mode (torch.func.jvp), differentiated backward (torch.func.grad), gives
# what double backward gives, or raises. Through group norm, and through the same formula written by hand, it does. Through batch norm
# of a training batch, instance norm and layer norm it gives another gradient, without a warning: the derivative itself is
# right, but its gradient takes the mean and deviation that were saved for constants. Finite differences side with double backward.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/norms.py" <<'PYTHON'
import sys

import torch
import torch.nn.functional as F
from torch.func import grad, jvp

torch.manual_seed(0)
x, along, weight = (torch.randn(4, 3, 5, 5, dtype=torch.float64) for _ in range(3))


def by_hand(x):
    gap = x - x.mean((2, 3), keepdim=True)
    return gap * (gap.square().mean((2, 3), keepdim=True) + 1e-5).rsqrt()


norms = {
    "by hand": by_hand,
    "group_norm": lambda x: F.group_norm(x, 3),
    "instance_norm": F.instance_norm,
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
}
print("torch", torch.__version__)
right = {}
for name, norm in norms.items():
    def loss(x):
        return (torch.sin(norm(x)) * weight).sum()

    def derivative(x):
        return jvp(loss, (x,), (along,))[1]

    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    (twice,) = torch.autograd.grad((first * along).sum(), leaf)
    step = 1e-6
    measured = float(derivative(x + step * along) - derivative(x - step * along)) / (2 * step)
    forward, backward = (float((g * along).sum()) for g in (grad(derivative)(x), twice))
    agrees = torch.allclose(derivative(x), (first * along).sum()) and abs(backward - measured) < 1e-6
    right[name] = abs(forward - measured) < 1e-6
    print(f"{name}: grad of jvp {forward:.6f}, double backward {backward:.6f}, finite difference {measured:.6f}")
    if not agrees:
        sys.exit("the derivative itself, or double backward, is wrong too")
sys.exit(right != {"by hand": True, "group_norm": True, "instance_norm": False, "batch_norm": False, "layer_norm": False})
PYTHON
"$folder/venv/bin/python" "$folder/norms.py"
# seen: torch 2.13.0
#       by hand: grad of jvp 5.663021, double backward 5.663021, finite difference 5.663021
#       group_norm: grad of jvp 5.663021, double backward 5.663021, finite difference 5.663021
#       instance_norm: grad of jvp 5.141150, double backward 5.663021, finite difference 5.663021
#       batch_norm: grad of jvp -18.293883, double backward -17.982244, finite difference -17.982244
#       layer_norm: grad of jvp -14.094614, double backward -15.167444, finite difference -15.167444
