"""The path of `--device cuda`: the same numbers, no waiting, memory told. All but the rehearsal of the benchmark need a GPU."""

import dataclasses
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from small import make_real

import datadam
from datadam import machine
from datadam.arithmetic import fast_precision
from datadam.augment.siamese import OPERATIONS, draw_augmentation
from datadam.data import RealData
from datadam.distillation.forecast import forecast
from datadam.distillation.loop import Distillation
from datadam.distillation.recipe import Recipe
from datadam.errors import NotEnoughMemory
from datadam.evaluation.panel import protocol_named
from datadam.methods.plan import Plan
from datadam.rng import carry, stream

ROOT = Path(__file__).parents[1]
CUDA = torch.device("cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_compiler = pytest.mark.skipif(
    not (torch.cuda.is_available() and machine.can_compile("cuda")), reason="needs a CUDA device, Triton and a C compiler"
)


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions without TF32, whose rounding would hide a mistake."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@contextmanager
def no_waiting() -> Iterator[None]:
    """An error wherever the CPU would wait for the GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def begin(
    real: RealData, recipe: Callable[..., Recipe], *, compiled: bool = False, kept: str = "uint8", **settings
) -> Distillation:
    """A run on the GPU in two groups of classes, in float32 unless said otherwise."""
    asked = recipe(settings.pop("method", "datadam"), **({"precision": "float32", "iterations": 6} | settings))
    return datadam.begin(real, asked, device="cuda", plan=Plan(compiled, 10, torch.get_num_threads(), kept))


@needs_cuda
@pytest.mark.parametrize("form", ["", "uint8", "float32"])
@pytest.mark.parametrize("method", ["dm", "datadam"])
def test_the_gradient_is_that_of_the_cpu(real, recipe, form: str, method: str) -> None:
    asked = recipe(method, precision="float64")
    plan = Plan(False, 10, torch.get_num_threads(), form)
    there, here = (datadam.begin(real, asked, device=device, plan=plan) for device in ("cuda", "cpu"))
    for iteration in (1, 2):
        found, wanted = (run.gradient({}, run.synthetic, run.draws.at(iteration), True) for run in (there, here))
        torch.testing.assert_close(found.images.cpu(), wanted.images, rtol=1e-8, atol=1e-11)
        assert found.norms == pytest.approx(wanted.norms, rel=1e-8)


@needs_cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("count", [1, 4])
def test_augmentation_is_that_of_the_cpu(operation: str, count: int) -> None:
    drawn = draw_augmentation(operation, 5, "test", images=count)
    assert drawn is not None
    x = torch.randn(4, 3, 12, 10, dtype=torch.float64, generator=stream(0, "x"))
    torch.testing.assert_close(drawn(x.cuda()).cpu(), drawn(x), rtol=1e-10, atol=1e-12)


@needs_cuda
def test_what_is_carried_arrives_in_order() -> None:
    held = torch.zeros(1 << 20, device=CUDA)
    for number in range(50):  # the pinned memory of one copy must not be used again before it has been read
        held.copy_(carry(torch.full((1 << 20,), float(number)), CUDA))
        assert number % 10 or bool((held == number).all())
    assert carry(held, CUDA) is held


@needs_cuda
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_compiler)])
def test_an_iteration_is_queued_without_waiting(real, recipe, compiled: bool) -> None:
    run = begin(real, recipe, compiled=compiled)
    run_of = iter(range(1, 20))

    def one() -> torch.Tensor:
        number = next(run_of)
        with run.draws.ahead(number + 1):
            return run.gradient({}, run.synthetic, run.draws.at(number), False).images

    for _ in range(4):  # compiled, recorded; every kind of kernel has been loaded
        one()
    with no_waiting():
        found = [one() for _ in range(6)]
    assert all(bool(images.isfinite().all()) for images in found)


@needs_compiler
@pytest.mark.parametrize(("norms", "sizes"), [(False, 12), (True, 12), (False, (12, 7, 12))])
def test_replayed_graphs_give_the_numbers_of_plain_code(recipe, norms: bool, sizes: int | tuple[int, ...]) -> None:
    real = make_real(per_class=sizes, shape=(3, 16, 16))
    with full_float32():
        plain, replayed = (begin(real, recipe, compiled=compiled) for compiled in (False, True))
        for iteration in range(1, 6):  # new weights in place, new images: nothing of an earlier replay may show
            wanted, found = (run.gradient({}, run.synthetic, run.draws.at(iteration), norms) for run in (plain, replayed))
            torch.testing.assert_close(found.images, wanted.images, rtol=2e-3, atol=1e-4 * float(wanted.images.abs().max()))
            for name, term in wanted.terms.items():
                torch.testing.assert_close(found.terms[name], term, rtol=1e-3, atol=1e-6)
            assert found.norms == pytest.approx(wanted.norms, rel=1e-2)


@needs_compiler
def test_a_large_class_streams_through_a_replayed_graph(recipe) -> None:
    """Each chunk's sums lie where those of the one before lay."""
    real = make_real(per_class=24, shape=(3, 16, 16))
    with full_float32():
        runs = []
        for compiled in (False, True):
            asked = recipe("datadam", precision="float32", batch_real=24)
            runs.append(datadam.begin(real, asked, device="cuda", plan=Plan(compiled, 8, torch.get_num_threads(), "uint8")))
        for iteration in (1, 2, 3):
            wanted, found = (run.gradient({}, run.synthetic, run.draws.at(iteration), False).images for run in runs)
            torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-4 * float(wanted.abs().max()))


@needs_cuda
def test_bfloat16_on_the_real_side_keeps_the_direction(recipe) -> None:
    real = make_real(per_class=40, shape=(3, 16, 16))
    exact, rough = (begin(real, recipe, precision=p, batch_real=32, net="convnet2:width=32") for p in ("float64", "bfloat16"))
    a, b = (run.gradient({}, run.synthetic, run.draws.at(1), False).images.double().flatten() for run in (exact, rough))
    assert float(torch.cosine_similarity(a, b, dim=0)) > 0.99


@needs_cuda
@pytest.mark.parametrize("method", ["dm", "datadam"])
def test_a_run_draws_ahead_and_resumes(real, recipe, tmp_path: Path, method: str) -> None:
    asked = recipe(method, iterations=6)
    here = datadam.distill(real, asked).images
    run = datadam.begin(real, asked, device="cuda", out=tmp_path / "run")
    assert run.draws_ahead
    steps = run.steps()
    for _ in range(3):
        next(steps)
    steps.close()
    again = datadam.resume(tmp_path / "run", real)
    assert len(list(again.steps())) == 3
    made = again.result()
    torch.testing.assert_close(made.images, here, rtol=1e-4, atol=1e-5)
    assert made.card["gpu_peak_memory_mb"] > 0
    assert made.card["hardware"]["gpu"]
    assert made.card["hardware"]["tf32"] == torch.backends.cudnn.allow_tf32


@needs_cuda
def test_the_plan_is_made_for_the_gpu(real, recipe) -> None:
    asked = recipe("datadam", precision="auto")
    assert forecast(real, asked, device="cuda").plan.kept == "uint8"
    long = dataclasses.replace(asked, iterations=1 << 50)
    foreseen = forecast(real, long, device="cuda")
    assert foreseen.plan.compiled == machine.can_compile("cuda")
    assert foreseen.precision == (fast_precision("cuda") if foreseen.plan.compiled else "float32")
    assert foreseen.plan.chunk > 1000


@needs_cuda
def test_a_run_larger_than_the_gpu_is_refused(recipe) -> None:
    real = make_real(classes=2, per_class=3, shape=(3, 64, 64))
    free = torch.cuda.mem_get_info()[0]
    huge = recipe("datadam", ipc=free // (64 * 64 * 3 * 4 * 4), start="noise", precision="float32")
    with pytest.raises(NotEnoughMemory, match="lower ipc"):
        forecast(real, huge, device="cuda")


@needs_cuda
def test_full_memory_is_told_with_the_cure(real, recipe) -> None:
    run = datadam.begin(real, recipe(), device="cuda")
    steps = run.steps()
    next(steps)
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        torch.cuda.empty_cache()
        run.gradient = lambda *_: torch.empty(1 << 28, device=CUDA)  # type: ignore[assignment, return-value]
        with pytest.raises(datadam.RunFailed, match="memory of the GPU is full"):
            next(steps)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@needs_cuda
@pytest.mark.parametrize("augment", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_students_learn_the_same_as_on_the_cpu(real, recipe, augment: str) -> None:
    small = datadam.distill(real, recipe())
    protocol = protocol_named("honest", epochs=12, augment=augment)
    found = [
        datadam.evaluate(small, real, protocol=protocol, students=2, precision="float64", device=device)
        for device in ("cuda", "cpu")
    ]
    assert found[0].accuracies == found[1].accuracies
    assert found[0].confusion == found[1].confusion


@needs_compiler
def test_students_on_replayed_graphs_learn(real, recipe) -> None:
    """Weights of a compiled student against those of a plain one after the same steps, two batch sizes an epoch."""
    from datadam.training.students import Rows, Source, StudentTrainer

    small = datadam.distill(real, recipe(ipc=5))
    source = Source(0, Rows(small.images.numpy()), small.labels.numpy())
    training = dataclasses.replace(protocol_named("honest", epochs=12).training, batch=8, augment="flip")
    weights = []
    with full_float32():
        for compiled in (False, True):
            school = StudentTrainer(
                "convnet2:width=8",
                (source,),
                real.test,
                3,
                small.transform,
                training,
                0,
                "cuda",
                keep_weights=True,
                compiled=compiled,
            )
            weights.append([school((0, student), lambda epoch: None).weights for student in (0, 1)])
    for plain, replayed in zip(*weights, strict=True):
        for name, value in plain.items():
            torch.testing.assert_close(torch.from_numpy(replayed[name]), torch.from_numpy(value), rtol=1e-2, atol=1e-3)


@needs_cuda
def test_processes_share_a_gpu(real, recipe) -> None:
    small = datadam.distill(real, recipe())
    protocol = protocol_named("honest", epochs=5)
    one, two = (
        datadam.evaluate(small, real, protocol=protocol, students=2, precision="float64", device="cuda", workers=workers)
        for workers in (1, 2)
    )
    assert one.accuracies == two.accuracies


@pytest.mark.slow
def test_the_benchmark_is_rehearsed_without_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "speed" / "gpu.py"), "--device", "cpu", "--quick", "--out", str(out)]
    subprocess.run([*command, "--parts", "ceilings,agreement,table4"], check=True, capture_output=True)
    before = json.loads(out.read_text())
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(out.read_text())
    assert found["quick"]
    assert all(found[part] == before[part] for part in ("ceilings", "agreement", "table4"))  # what is there is not measured again
    assert "students" not in before
    rows = {(row["method"], row["ipc"]): row for row in found["table4"]["rows"]}
    assert set(rows) == {(method, ipc) for method in ("datadam", "dm", "dc", "dsa") for ipc in (1, 2)}
    assert rows["datadam", 1]["published_on_an_A100"] == {"seconds": 0.09, "peak_mb": 3452}
    assert all(row["seconds"] > 0 and row["peak_mb"] > 0 for row in rows.values())
    assert set(found["table4"]["times_faster_than_the_yardstick"]) == {"1", "2"}
    assert set(found["ceilings"]["convolutions"]) == {"bfloat16", "float32", "float32, tf32"}
    assert all(row["float32: device against its float64"]["relative"] < 1e-3 for row in found["agreement"]["rows"])
    assert found["students"]["vmap_equals_alone"]["largest_relative_distance"] < 1e-6
    ways = found["students"]["ways"]
    assert all(way["students_a_minute"] > 0 for way in ways.values())
