#!/bin/sh
# One would guess that one figure, saved twice as SVG by the same program without a date, gives the same file twice, as PNG and
# PDF do. It does not: the names of its parts are drawn anew for each file, unless the setting svg.hashsalt is given.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check matplotlib==3.11.2 numpy==2.4.6
cat > "$folder/twice.py" <<'PYTHON'
import io
import sys

import matplotlib
from matplotlib.figure import Figure


def saved(form, undated):
    figure = Figure()
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.plot([0, 1], [0, 1], "o")
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata=undated)
    return file.getvalue()


def same(form, undated):
    return saved(form, undated) == saved(form, undated)


found = {"png": same("png", {}), "pdf": same("pdf", {"CreationDate": None}), "svg": same("svg", {"Date": None})}
with matplotlib.rc_context({"svg.hashsalt": "any word"}):
    found["svg with svg.hashsalt"] = same("svg", {"Date": None})
print("matplotlib", matplotlib.__version__)
for form, equal in found.items():
    print(f"{form}: saved twice, {'the same file' if equal else 'two different files'}")
sys.exit(found != {"png": True, "pdf": True, "svg": False, "svg with svg.hashsalt": True})
PYTHON
"$folder/venv/bin/python" "$folder/twice.py"
# seen: matplotlib 3.11.2
#       png: saved twice, the same file
#       pdf: saved twice, the same file
#       svg: saved twice, two different files
#       svg with svg.hashsalt: saved twice, the same file
