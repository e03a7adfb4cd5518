"""The page of speed says what was measured, and the yardstick computes what the product computes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import torch
from learned import set_of
from small import make_real

from datadam import nets
from datadam.distillation.start import first_images
from datadam.methods import DataDAM
from datadam.methods.draw import Draws
from datadam.methods.matching import Engine
from datadam.methods.ntk import KINDS
from datadam.methods.plan import Plan

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_is_up_to_date() -> None:
    outcome = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "speed" / "table.py", "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_the_yardstick_has_the_loss_and_the_gradient_of_the_product() -> None:
    spec = importlib.util.spec_from_file_location("eager_reference", ROOT / "benchmarks" / "speed" / "eager_reference.py")
    assert spec is not None
    assert spec.loader is not None
    yardstick = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(yardstick)
    real = make_real(classes=3, per_class=8, shape=(3, 16, 16))
    network = nets.build("convnet3:width=6", shape=real.shape, classes=3).double()
    draw = Draws(real, network, 0, batch_real=7, dtype=torch.float64).at(2)
    synthetic = set_of(first_images(real, 2, "noise", 0).double(), 2, real.classes)
    ours = Engine(DataDAM(power=3.0, task_balance=0.4, scale=5.0), Plan(False, 4, 1)).gradient(synthetic, draw, norms=False)
    loss, gradient = yardstick.iteration(
        draw.network(), torch.stack([draw.real(k) for k in range(3)]), synthetic.stored.unflatten(0, (3, 2)),
        power=3.0, task_balance=0.4, scale=5.0,
    )  # fmt: skip
    torch.testing.assert_close(loss, torch.stack(list(ours.terms.values())).sum(), rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient.flatten(0, 1), ours.images, rtol=1e-8, atol=1e-12)


def test_the_page_of_formats_says_what_was_measured() -> None:
    page, results = " ".join((ROOT / "docs" / "formats.md").read_text().split()), ROOT / "results"
    kept = {name: json.loads((results / f"{name}.json").read_text()) for name in (
        "fuzz", "ddranking", "formats/mnist-ipc10-150-folder", "formats/cifar10-ipc10-256-folder", "formats/datadam-first-images",
    )}  # fmt: skip
    cost, first = kept["formats/mnist-ipc10-150-folder"]["measured"], kept["formats/datadam-first-images"]["read"][2:]
    white = kept["formats/cifar10-ipc10-256-folder"]["measured"]
    numbers = [
        f"Of {spaced(kept['fuzz']['inputs'])} inputs", f"{spaced(kept['fuzz']['guided']['inputs'])} more",
        *(f"{one['accuracy_percent']} %" for one in kept["ddranking"]["read"]),
        *(f"{100 * one['mean']:.2f} %" for one in (cost["run"], cost["file"], cost["rounding_alone"]["set"])),
        f"{100 * cost['gap']:+.2f} points", f"{100 * white['file']['mean']:.1f} % in place of {100 * white['run']['mean']:.1f} %",
        f"all {spaced(first[0]['on_a_level'])} numbers", f"{spaced(first[1]['on_a_level'])} do",
        f"{spaced(first[1]['outside_0_to_255'])} lie outside",
    ]  # fmt: skip
    assert [number for number in numbers if number not in page] == []


def spaced(number: int) -> str:
    """A number as the pages write it: 307 200."""
    return f"{number:_}".replace("_", " ")


def test_the_kernels_of_kip_are_those_of_neural_tangents() -> None:
    """As far as somebody has measured it who has that package (benchmarks/released/ntk.py)."""
    apart = json.loads((ROOT / "results/benchmarks/ntk.json").read_text("utf-8"))["largest_relative_difference"]
    assert {name.partition(":")[0] for name in apart} == set(KINDS)
    assert max(apart.values()) < 1e-9
