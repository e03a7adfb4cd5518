"""The machine: what it is, what memory it has, and the one setting of its allocator that pays."""

import ctypes
import datetime
import gc
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from datadam import plugins
from datadam.errors import RunFailed

GROUP = Path("/sys/fs/cgroup")  # the container's limits on Linux
SHAPES = 64  # that a function is compiled for at most; beyond torch's own 8 it would run uncompiled
PIXELS_AT_ONCE = 128 * 32 * 32
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # flags of instructions for it
CACHE_A_THREAD = 4 << 20  # bytes of one map that a thread may have in work; twice as many beside units for products of matrices
GPU_MAP, GPU_MAPS = 1 << 29, 16  # bytes of one map on a GPU, and at least how many of them its memory must hold
GPU_MORE = 16  # times as many images at once on a GPU, whose launches cost more than its memory


def tune_allocator() -> bool:
    """Keep glibc from returning big blocks to the system after each operation; on CPU that halves the time of an iteration.

    The command line calls this; a program that uses the library may call it once at its start. It changes the whole process and
    is therefore never done by an import. Returns whether it took effect (Linux with glibc).
    """
    threshold, trim, top_pad = -3, -1, -2  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(threshold, 1 << 30) and libc.mallopt(trim, (1 << 31) - 1) and libc.mallopt(top_pad, 1 << 28))
    except (OSError, AttributeError):
        return False


@cache
def can_compile(device: str = "cpu") -> bool:
    """Whether torch.compile works here, found by compiling a trivial function, once a process.

    It needs a C++ compiler on the CPU (CXX, or g++), Triton and a C compiler with Python's headers on a GPU; that a program of
    that name lies on the path does not mean that it works.
    """
    try:
        torch.compile(_trivial, dynamic=False, options=_options(device))(torch.zeros(2, device=device))
    except (RuntimeError, ImportError, OSError, subprocess.SubprocessError):
        return False
    return True


def _options(device: str) -> dict[str, Any] | None:
    """How torch compiles here. For each set of vector instructions it starts a Python with torch in it, to see that they can be
    compiled; the system's word and `can_compile` say as much in a tenth of the time."""
    return {"cpp.vec_isa_ok": True} if torch.device(device).type == "cpu" and platform.machine() == "x86_64" else None


def _trivial(x: torch.Tensor) -> torch.Tensor:
    return (x + 1).cos()


def compiled(function: Callable[..., Any], device: str = "cpu", *, more: bool = False) -> Callable[..., Any]:
    """The function as code for fixed shapes, made when it is first called; on a GPU its launches are replayed as one graph.

    With `more` it is one of several that are called in turn, and what was compiled before stays.
    """
    if not more:
        torch.compiler.reset()  # earlier code of this process counts towards a limit, above which nothing is compiled
    options = _options(device)
    graphs = torch.device(device).type == "cuda"
    if graphs:  # the compiler advises TF32 for matrix products, which is for whoever owns the process to choose
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    made: Callable[..., Any] = torch.compile(function, dynamic=False, mode="reduce-overhead" if graphs else None, options=options)
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, SHAPES)
    return made


@contextmanager
def unbroken() -> Iterator[None]:
    """Ctrl-C and the request to end wait until the block has ended; a second one does not. Only the main thread hears of them."""
    heard: list[tuple[int, Any]] = []
    usual: dict[int, Any] = {}

    def hear(number: int, frame: Any) -> None:
        heard.append((number, frame))
        if len(heard) > 1:
            usual[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        usual = {number: handler for number, handler in usual.items() if callable(handler)}
    try:
        for number in usual:
            signal.signal(number, hear)
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if len(heard) == 1:
        usual[heard[0][0]](*heard[0])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads while it lasts; what comes after has those of before."""
    before = torch.get_num_threads()
    if count == before:  # setting a number makes a pool of threads anew
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def repeatable(device: str) -> AbstractContextManager[object]:
    """While it lasts cuDNN takes algorithms that give the same bits each time; its other settings stay as they are."""
    if torch.device(device).type != "cuda":
        return nullcontext()
    now = torch.backends.cudnn
    return now.flags(enabled=now.enabled, benchmark=False, deterministic=True, allow_tf32=now.allow_tf32)


def settle_device(device: str, gpus: float | None = None) -> str:
    """The device that a word means: "auto" is the graphics card that torch can use here, if there is one, else the CPU.

    Argument: `gpus`, of each worker of a cluster (None: the work is done here), where "auto" means what a worker has.
    """
    if device != "auto":
        return device
    return "cuda" if (torch.cuda.is_available() if gpus is None else gpus > 0) else "cpu"


def has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16: without them it is computed in several steps each."""
    return bool(BFLOAT16 & _cpu_flags())


def lacks_bfloat16() -> bool:
    """Whether it is known to have none; of some systems it is not known."""
    return bool(_cpu_flags()) and not has_bfloat16()


def vector_units() -> str:
    """What decides how fast numbers are computed beside the processor's name, in words: flags, and what torch was told to use."""
    flags = sorted(flag for flag in _cpu_flags() if flag.startswith(("amx", "avx", "bf16", "sve")))
    told = [os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *flags, *told])


def chunk_for(image: int, device: str = "cpu") -> int:
    """How many images go through a network together, so that a map of `image` bytes each stays in the cache between operations.

    On a GPU launches cost more than memory: as many as fit into a share of it.
    """
    if torch.device(device).type == "cuda":
        room = min(GPU_MAP, torch.cuda.get_device_properties(device).total_memory // GPU_MAPS)
    else:
        room = cache_a_thread() * torch.get_num_threads()
    return max(1, room // max(1, image))


def cache_a_thread() -> int:
    """Bytes of one map that a thread may have in work: measured, with these units and without."""
    return CACHE_A_THREAD * (2 if has_matrix_units() else 1)


def has_matrix_units() -> bool:
    """Whether the processor has units of its own for products of matrices in bfloat16 (AMX)."""
    return "amx_bf16" in _cpu_flags()


def even_chunk(images: int, most: int) -> int:
    """The largest chunk up to `most` that cuts the images evenly, if one above half of `most` does; else `most`."""
    return next((size for size in range(min(images, most), most // 2, -1) if images % size == 0), most)


def images_at_once(shape: tuple[int, int, int], device: str = "cpu") -> int:
    """How many images [C, H, W] go through a network together where memory must not grow with their number."""
    pixels = PIXELS_AT_ONCE * (GPU_MORE if torch.device(device).type == "cuda" else 1)
    return max(1, pixels // (shape[1] * shape[2]))


def available_memory(device: str = "cpu") -> int:
    """Bytes that can be taken now: on a CPU without swapping, within the container's limit (elsewhere than on Linux half of the
    memory); on a GPU what is free, and what this process has taken before and does not use."""
    if torch.device(device).type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    limits = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    except OSError:
        limits.append(physical_memory() // 2)
    try:
        limit = int((GROUP / "memory.max").read_text())
        lines = (GROUP / "memory.stat").read_text().splitlines()
        files = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
        limits.append(limit - int((GROUP / "memory.current").read_text()) + files)  # what was read from files gives way
    except (OSError, ValueError):  # no such file, or "max": no limit
        pass
    return max(0, min(limits))


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, or since `forget_peak`, in MB (10^6 bytes)."""
    try:  # not by getrusage, which on Linux begins with what the parent process held
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def gpu_peak_mb(device: torch.device) -> float:
    """The most memory that tensors of this process took on a GPU so far, or since `forget_peak`, in MB; 0.0 for a CPU."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0


@contextmanager
def telling_full_memory(cure: str) -> Iterator[None]:
    """Raise `RunFailed` with the cure where a GPU's memory does not suffice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunFailed(f"the memory of the GPU is full ({str(error).split('. ')[0]}); {cure}") from error


def give_back() -> None:
    """Give memory that is free in this process back to the system (glibc), between two works that each need much of it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def forget_peak() -> bool:
    """Give unused memory back to the system and let `peak_memory_mb` begin anew, so that several runs of a process can be told.

    Returns whether it took effect (Linux); without, the peak of a later run is at least that of the earlier ones.
    """
    gc.collect()
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
    give_back()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM: proc(5)
    except OSError:
        return False
    return True


def hardware(device: torch.device) -> dict[str, Any]:
    """What computed, and on what: device, processor, cores, memory and accelerator, for the card."""
    cuda = device.type == "cuda"
    tf32 = {"tf32": torch.backends.cudnn.allow_tf32} if cuda else {}  # of convolutions in float32; torch's default is yes
    return tf32 | {
        "device": str(device),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(physical_memory() / 1e9),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
    }


def versions() -> dict[str, str]:
    """Versions of what computes the numbers, packages that added a method, a network or data among it."""
    found = {name: _version(name) for name in ("datadam", "torch", "numpy", "safetensors")}
    return plugins.versions() | found | {"python": platform.python_version()}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # ours, run from its source tree
        return "not installed"


CODE = ("src", "benchmarks", "pyproject.toml")  # what a commit must hold to say what has run: results are none of it


def commit() -> str | None:
    """The commit of the source tree that is running, with "-dirty" when its code has changes; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
        return run.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *CODE)
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def now() -> str:
    """The time in UTC, as in "2026-01-31T12:00:00Z"."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cpu_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):  # on Arm
                return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
