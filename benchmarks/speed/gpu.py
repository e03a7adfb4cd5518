"""Measure everything that a GPU is asked for, in one command on a machine with only torch, numpy, safetensors and Pillow.

    PYTHONPATH=src python benchmarks/speed/gpu.py --out results/benchmarks/gpu.json

Parts (--parts, all by default): `ceilings`, what the device can do: copying, and ConvNet-3's convolutions in three formats;
`agreement`, how far its gradients are from the CPU's, from float32's and from those of uncompiled code; `table4`, seconds and
memory of an iteration of DataDAM, DM, DC and DSA at ipc 1, 10, 50, beside the published numbers and a plain writing of DataDAM
(eager_reference.py) on the same device; `students`, how many a minute trains, way by way. Each case runs in a process of its own.
A case that the file holds already, of the same commit and device, is not measured again, and each is written as soon as it is
known: a short lease, or one that ends in the middle, can be used twice.

--quick is a rehearsal of a minute in which every line runs and no number means anything; with --device cpu it needs no GPU.
Images are noise in CIFAR-10's shape, which costs what real ones cost; --data FOLDER takes CIFAR-10 itself (official binaries).
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import eager_reference
import gpu_students
import interleave
import torch
from speed import noise, yardstick
from torch import Tensor, nn

import datadam
from datadam import machine
from datadam.distillation.loop import Distillation
from datadam.files.whole import write_text
from datadam.methods.plan import Plan

PUBLISHED = {  # the paper's Table 4, CIFAR-10 on an A100: (seconds an iteration, peak MB); of DC and DSA a whole network
    "datadam": {1: (0.09, 3452), 10: (0.08, 3561), 50: (0.16, 3724)},
    "dm": {1: (0.08, 3323), 10: (0.08, 3455), 50: (0.08, 3605)},
    "dc": {1: (0.16, 3515), 10: (3.31, 3621), 50: (15.74, 4527)},
    "dsa": {1: (0.22, 3513), 10: (4.47, 3639), 50: (20.13, 4539)},
}
LONG = 10_000  # iterations that a run is said to have, so that it is planned as a long one


@dataclass(frozen=True)
class Size:
    """How much is done. `warm`, calls before the clock; `calls`, timed ones; `span`, seconds of a way of training students."""

    classes: int = 10
    batch: int = 256
    ipcs: tuple[int, ...] = (1, 10, 50)
    net: str = "convnet3"
    warm: int = 30
    calls: int = 200
    span: float = 5.0
    copied: int = 1 << 31
    convolved: int = 1280
    processes: tuple[int, ...] = (2, 4, 8)
    stacks: tuple[int, ...] = (10, 25, 50)
    quick: bool = False


QUICK = Size(
    classes=3, batch=8, ipcs=(1, 2), net="convnet2:width=8", warm=1, calls=2, span=0.1, copied=1 << 20, convolved=2,
    processes=(2,), stacks=(2,), quick=True,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", type=Path, help="folder that holds CIFAR-10 (default: noise)")
    parser.add_argument("--quick", action="store_true", help="a rehearsal: everything runs, tiny")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--again", action="store_true", help="measure also what the file holds already")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(parts := given.parts.split(",")) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    here = Bench(torch.device(given.device), QUICK if given.quick else Size(), given.data)
    if given.case:
        name, options = json.loads(given.case)
        print(json.dumps(here.guarded(name, options)))
        return
    if here.device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; a rehearsal without one: --device cpu --quick")
    about = {
        "command": " ".join(["python", "benchmarks/speed/gpu.py", *sys.argv[1:]]),
        "hardware": machine.hardware(here.device), "versions": machine.versions() | {"cuda": torch.version.cuda},
        "commit": machine.commit(), "quick": given.quick, "images": "cifar10" if given.data else "noise",
        "shape": f"{here.size.classes} classes, {here.size.batch} real images each, 3x32x32, {here.size.net}",
    }  # fmt: skip
    kept = json.loads(given.out.read_text()) if given.out and given.out.exists() and not given.again else {}
    same = kept and all(kept.get(key) == about[key] for key in ("hardware", "versions", "commit", "quick", "images"))
    result: dict[str, Any] = {**(kept if same else {}), **about, "created": machine.now()}
    here.known = result.setdefault("cases", {})

    def write() -> None:
        if given.out:
            write_text(given.out, json.dumps(result, indent=1) + "\n")

    here.keep = write
    for part in parts:
        result[part] = PARTS[part](here)
        print(f"{part}: {json.dumps(result[part])[:2000]}", file=sys.stderr, flush=True)
    interleave.write(result, given.out)


@dataclass
class Bench:
    """The device, the sizes, and where CIFAR-10 lies; the cases that are `known` already, and how to `keep` them."""

    device: torch.device
    size: Size
    data: Path | None
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    keep: Callable[[], None] = lambda: None

    def case(self, name: str, **options: Any) -> dict[str, Any]:
        """One measurement, in a process of its own (in a rehearsal in this one); what fails says so in the result."""
        told = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
        if told in self.known and "failed" not in self.known[told]:
            return self.known[told]
        print(f"{told} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        self.known[told] = self.measured(name, options) | {"took_seconds": round(time.monotonic() - began, 1)}
        self.keep()
        return self.known[told]

    def measured(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """One measurement, anew."""
        if self.size.quick:
            return self.guarded(name, options)
        words = ["--device", str(self.device), *(["--data", str(self.data)] if self.data else [])]
        command = [sys.executable, __file__, *words, "--case", json.dumps([name, options])]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = run.stdout.splitlines()
        return json.loads(lines[-1]) if lines else {"failed": f"the process ended with code {run.returncode}"}

    def guarded(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """One measurement in this process; an error, such as full memory, is a result too."""
        try:
            return CASES[name](self, **options)
        except Exception as error:
            if self.size.quick:
                raise
            return {"failed": f"{type(error).__name__}: {error}"[:500]}

    def real(self) -> datadam.RealData:
        """CIFAR-10, or noise in its shape and, with the full size, its number."""
        if self.data:
            return datadam.load("cifar10", root=str(self.data))
        return noise(self.size.classes, 20 if self.size.quick else 5000)

    def run(self, method: str, ipc: int, *, device: torch.device | None = None, plan: Plan | None = None, **settings: Any) -> Any:
        """A run of a method's preset, planned as a long one, that leaves nothing on the disk."""
        real = self.real()
        tiny = {"network_epochs": 1, "iterations_per_network": 2} if self.size.quick and method in ("dc", "dsa") else {}
        shape = {"net": self.size.net, "batch_real": self.size.batch, "iterations": LONG, "zca": "none"}
        recipe = datadam.preset(method, real, ipc=ipc).change(shape | tiny | settings)
        return datadam.begin(real, recipe, device=str(device or self.device), plan=plan)

    def wait(self) -> None:
        """Until the device has done all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def times(self, call: Callable[[], Any], calls: int) -> list[float]:
        """Seconds of each call: between events on a GPU, which also see what it waits for."""
        if self.device.type != "cuda":
            found = []
            for _ in range(calls):
                began = time.perf_counter()
                call()
                found.append(time.perf_counter() - began)
            return found
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(calls + 1)]
        marks[0].record()
        for mark in marks[1:]:
            call()
            mark.record()
        self.wait()
        return [before.elapsed_time(after) / 1e3 for before, after in pairwise(marks)]

    def forget_peak(self) -> None:
        """Let the peak of the device's memory begin anew."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        machine.forget_peak()

    def peak(self) -> dict[str, float]:
        """The most memory of the device since then, in MB: of tensors, and taken from the device for them (graphs included)."""
        if self.device.type != "cuda":
            return {"peak_mb": round(machine.peak_memory_mb(), 1)}
        taken = torch.cuda.max_memory_reserved(self.device) / 1e6
        return {"peak_mb": round(machine.gpu_peak_mb(self.device), 1), "reserved_mb": round(taken, 1)}


# --- ceilings


def ceilings(here: Bench) -> dict[str, Any]:
    """Copying, and the real side's convolutions alone, in the best layout."""
    return here.case("ceilings")


def measure_ceilings(here: Bench) -> dict[str, Any]:
    """GB/s read and written; TFLOP/s of each layer and of all, on random numbers."""
    source = torch.randn(here.size.copied // 4, device=here.device)
    target = torch.empty_like(source)
    times = here.times(partial(target.copy_, source), 23)[3:]
    del target
    formats = {
        "bfloat16": convolutions(here, torch.bfloat16, tf32=True),
        "float32, tf32": convolutions(here, torch.float32, tf32=True),
        "float32": convolutions(here, torch.float32, tf32=False),
    }
    return {"copy_gb_s": round(2 * source.numel() * 4 / median(times) / 1e9), "convolutions": formats}


def convolutions(here: Bench, dtype: torch.dtype, *, tf32: bool) -> dict[str, Any]:
    """ConvNet-3's three convolutions on as many images as go through together, as one iteration needs them."""
    rates, total, flops = [], 0.0, 0.0
    for channels, side in ((3, 32), (128, 16), (128, 8)):
        best = float("inf")
        for layout in (torch.channels_last, torch.contiguous_format):
            conv = nn.Conv2d(channels, 128, 3, padding=1).to(here.device, dtype).to(memory_format=layout)
            x = torch.randn(here.size.convolved, channels, side, side, device=here.device, dtype=dtype)
            x = x.contiguous(memory_format=layout)
            with torch.no_grad(), tensor_cores(tf32):
                best = min(best, median(here.times(partial(conv, x), 25)[5:]) / len(x))
        work = 2 * channels * 9 * 128 * side * side
        rates.append(round(work / best / 1e12, 3))
        total, flops = total + best * here.size.classes * here.size.batch, flops + work * here.size.classes * here.size.batch
    return {"tflops_by_layer": rates, "tflops": round(flops / total / 1e12, 3), "seconds_of_an_iteration": total}


@contextmanager
def tensor_cores(tf32: bool) -> Iterator[None]:
    """Convolutions in float32 with or without TF32, while it lasts."""
    now = torch.backends.cudnn
    with now.flags(enabled=True, benchmark=now.benchmark, deterministic=now.deterministic, allow_tf32=tf32):
        yield


# --- agreement


def agreement(here: Bench) -> dict[str, Any]:
    """Of the gradient of the images, at each ipc."""
    return {"rows": [here.case("agreement", ipc=ipc) for ipc in here.size.ipcs]}


def measure_agreement(here: Bench, ipc: int) -> dict[str, Any]:
    """Relative distance and cosine of gradients on the device from those that they should equal, in one iteration.

    The last line is about replayed graphs: compiled code against plain code in the fourth iteration, after three others.
    """
    few = min(here.size.batch, 64)  # a CPU takes part

    def gradient(
        device: torch.device, precision: str, *, compiled: bool = False, tf32: bool = True, iteration: int = 1
    ) -> Tensor:
        plan = Plan(compiled=compiled, chunk=machine.chunk_for(1 << 18, str(device)), threads=torch.get_num_threads())
        with tensor_cores(tf32):
            run = here.run("datadam", ipc, device=device, plan=plan, precision=precision, batch_real=few)
            for number in range(1 if compiled else iteration, iteration):
                run.gradient({}, run.synthetic, run.draws.at(number), False)
            return run.gradient({}, run.synthetic, run.draws.at(iteration), False).images.double().cpu()

    host, cuda = torch.device("cpu"), here.device
    exact, single = gradient(cuda, "float64"), gradient(cuda, "float32", tf32=False)
    compiles = not here.size.quick and machine.can_compile(str(cuda))
    pairs = {
        "float64: device against CPU": (exact, gradient(host, "float64")),
        "float32: device against its float64": (single, exact),
        "float32 with TF32: against float64": (gradient(cuda, "float32"), exact),
        "bfloat16 real side: against float64": (gradient(cuda, "bfloat16"), exact),
    }
    if compiles:
        pairs |= {
            "bfloat16, compiled and replayed: against plain float64": (
                gradient(cuda, "bfloat16", compiled=True, iteration=4),
                gradient(cuda, "float64", iteration=4),
            ),
            "float32, compiled and replayed: against plain": (
                gradient(cuda, "float32", compiled=True, tf32=False, iteration=4),
                gradient(cuda, "float32", tf32=False, iteration=4),
            ),
        }
    return {"ipc": ipc} | {name: distance(found, wanted) for name, (found, wanted) in pairs.items()}


def distance(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """Relative distance of two gradients, and their cosine."""
    cosine = torch.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    return {"relative": float((found - wanted).norm() / wanted.norm()), "cosine": float(cosine)}


# --- Table 4


def table4(here: Bench) -> dict[str, Any]:
    """Every method at every ipc with `--precision auto`, DataDAM in float32, the default, too; and the plain writing."""
    here.case("method", method="datadam", ipc=max(here.size.ipcs))  # what is asked for first
    rows = [here.case("method", method=method, ipc=ipc) for method in PUBLISHED for ipc in here.size.ipcs]
    ours = {row["ipc"]: row["seconds"] for row in rows if row.get("method") == "datadam"}
    single = [here.case("method", method="datadam", ipc=ipc, precision="float32") for ipc in here.size.ipcs]
    plain = [here.case("yardstick", ipc=ipc) for ipc in here.size.ipcs]
    ratios = {str(row["ipc"]): round(row["seconds"] / ours[row["ipc"]], 2) for row in plain if row.get("ipc") in ours}
    return {"rows": rows, "datadam_in_float32": single, "yardstick": plain, "times_faster_than_the_yardstick": ratios}


def measure_method(here: Bench, method: str, ipc: int, precision: str = "auto") -> dict[str, Any]:
    """Seconds and memory of iterations as a run makes them; of DC and DSA, which train between, as many as a network serves."""
    here.forget_peak()
    run = here.run(method, ipc, precision=precision)
    steps = run.steps()
    served = run.recipe.iterations_per_network if run.recipe.on_the_way else 1
    warm, calls = (here.size.warm, here.size.calls) if served == 1 and method not in ("dc", "dsa") else (2, max(served, 3))
    began = time.perf_counter()
    for _ in islice(steps, warm):
        pass
    here.wait()
    first, times = time.perf_counter() - began, here.times(lambda: next(steps), calls)
    published = PUBLISHED[method].get(ipc, (None, None))
    return {
        "method": method, "ipc": ipc, "precision": run.recipe.precision, "plan": run.plan.to_json(), "seconds": median(times),
        "mean_seconds": mean(times), "least_seconds": min(times), "seconds_a_network": served * mean(times), **here.peak(),
        "published_on_an_A100": {"seconds": published[0], "peak_mb": published[1]}, "warming_up_seconds": round(first, 1),
        "iterations_timed": calls, **busy(here, lambda: next(steps)),
    }  # fmt: skip


def busy(here: Bench, call: Callable[[], Any], calls: int = 3) -> dict[str, float]:
    """Seconds of a call in which the GPU computes or copies, and how often it is given work; nothing on a CPU."""
    if here.device.type != "cuda":
        return {}
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as seen:
        for _ in range(calls):
            call()
        here.wait()
    spent = sum(event.self_device_time_total for event in seen.key_averages() if event.device_type.name == "CUDA") / 1e6
    given = sum(
        event.count for event in seen.key_averages() if event.key.startswith(("cudaLaunch", "cuLaunch", "cudaGraphLaunch"))
    )
    waits = sum(event.count for event in seen.key_averages() if event.key in ("cudaStreamSynchronize", "cudaDeviceSynchronize"))
    return {"gpu_busy_seconds": spent / calls, "launches": given / calls, "waits": waits / calls}


def measure_yardstick(here: Bench, ipc: int) -> dict[str, Any]:
    """The plain writing, after it was found to give the product's loss and gradient on this device."""
    few = here.run("datadam", 2, precision="float64", batch_real=8, augment="none", plan=Plan(False, 64, torch.get_num_threads()))
    expected = few.gradient({}, few.synthetic, few.draws.at(1), False)
    loss, gradient = yardstick(few)()
    torch.testing.assert_close(loss, sum(term.double().sum() for term in expected.terms.values()), rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient.flatten(0, 1), expected.images, rtol=1e-6, atol=1e-9)
    del few, expected, gradient
    here.forget_peak()
    run: Distillation = here.run("datadam", ipc, precision="float32", plan=Plan(False, 64, torch.get_num_threads()))
    call = yardstick(run)
    here.times(call, max(1, here.size.warm // 5))
    times = here.times(call, max(2, here.size.calls // 10))
    return {
        "ipc": ipc,
        "seconds": median(times),
        "least_seconds": min(times),
        "written_in": eager_reference.__name__,
        **here.peak(),
    }


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "ceilings": measure_ceilings,
    "agreement": measure_agreement,
    "method": measure_method,
    "yardstick": measure_yardstick,
    **gpu_students.CASES,
}
PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "ceilings": ceilings, "agreement": agreement, "table4": table4, "students": gpu_students.students,
}  # fmt: skip

if __name__ == "__main__":
    main()
