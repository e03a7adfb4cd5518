#!/bin/sh
# One would guess that a tensor saved as safetensors and loaded again computes what it computed before, to the bit: its numbers are the
# same. They are, but they do not begin where torch's own tensors do. torch's allocator begins each at a multiple of 64 bytes;
# load_file() gives views of the mapped file, which begin where the header happens to end (the format pads it to 8 bytes only), so that
# the length of a tensor's NAME decides. Products of matrices in float64 by MKL take another path for operands that do not begin at a
# multiple of 16 bytes, and sum in another order there: on an AMD EPYC (family 25, model 17) the same product of the same numbers differed
# in its last bits between a tensor and its reloaded self, and a training resumed from such a file ended with other weights. What
# torch.load() gives begins at a multiple of 64 again, and so does .clone() of a loaded tensor, which is the cure.
# Whether the product differs depends on the processor and is printed on a line of its own, which is not compared.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cat > "$folder/begin.py" <<'PYTHON'
import sys

import safetensors
import torch
from safetensors.torch import load_file, save_file

torch.manual_seed(0)
torch.set_num_threads(1)
print("torch", torch.__version__.split("+")[0], "safetensors", safetensors.__version__)
made = torch.rand(5, 193, dtype=torch.float64)
print("made: begins at a multiple of 64:", made.data_ptr() % 64 == 0)
other_bits = False
for name in ("w", "weight", "weight_of_it", "weight_of_the_net"):
    save_file({name: made}, f"{sys.argv[1]}/t.safetensors")
    read = load_file(f"{sys.argv[1]}/t.safetensors")[name]
    fresh = read.clone()
    assert torch.equal(read, made)
    other_bits |= not torch.equal(read @ read.T, made @ made.T)
    assert torch.equal(fresh @ fresh.T, made @ made.T)
    print(f"a name of {len(name)} letters: {read.data_ptr() % 64} bytes beyond a multiple of 64, its clone {fresh.data_ptr() % 64}")
torch.save(made, f"{sys.argv[1]}/t.pt")
print("torch.load:", torch.load(f"{sys.argv[1]}/t.pt").data_ptr() % 64, "bytes beyond")
print("on this processor a product of what was read has other bits:", other_bits, file=sys.stderr)
PYTHON
"$folder/venv/bin/python" "$folder/begin.py" "$folder" > "$folder/seen"
cat "$folder/seen"
sed -n 's/^# seen: //p' "$0" > "$folder/expected"
diff "$folder/expected" "$folder/seen"
# seen: torch 2.13.0 safetensors 0.8.0
# seen: made: begins at a multiple of 64: True
# seen: a name of 1 letters: 8 bytes beyond a multiple of 64, its clone 0
# seen: a name of 6 letters: 16 bytes beyond a multiple of 64, its clone 0
# seen: a name of 12 letters: 16 bytes beyond a multiple of 64, its clone 0
# seen: a name of 17 letters: 24 bytes beyond a multiple of 64, its clone 0
# seen: torch.load: 0 bytes beyond
