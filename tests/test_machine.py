"""What is asked of a machine, where the answer does not depend on which one it is."""

import dataclasses
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch

import datadam
from datadam import machine
from datadam.distillation import forecast as module
from datadam.distillation.forecast import forecast, kept_bytes
from datadam.errors import NotEnoughMemory


def test_only_full_memory_is_told_as_such() -> None:
    with (
        pytest.raises(datadam.RunFailed, match=r"the memory of the GPU is full .*; do less") as told,
        machine.telling_full_memory("do less"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    assert isinstance(told.value.__cause__, torch.OutOfMemoryError)
    with pytest.raises(RuntimeError, match=r"^something else$"), machine.telling_full_memory("do less"):
        raise RuntimeError("something else")


def test_an_interruption_waits_for_what_belongs_together_and_a_second_one_does_not() -> None:
    done = []

    def both(times: int) -> None:
        with machine.unbroken():
            for number in range(times):
                signal.raise_signal(signal.SIGINT)
                done.append(number)
            done.append("end")

    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        both(1)
    assert done == [0, "end"]
    with pytest.raises(KeyboardInterrupt):
        both(2)
    assert done == [0, "end", 0]
    both(0)
    assert signal.getsignal(signal.SIGINT) is usual
    thread = threading.Thread(target=both, args=(0,))  # signals are none of its business, and it may not ask for them
    thread.start()
    thread.join()
    assert done == [0, "end", 0, "end", "end"]


def test_a_cpu_has_no_memory_of_a_gpu() -> None:
    assert machine.gpu_peak_mb(torch.device("cpu")) == 0.0
    assert {"device", "gpu", "cpu", "cores", "memory_gb"} == set(machine.hardware(torch.device("cpu")))


@pytest.mark.parametrize(
    ("most", "stat", "expected"),
    [
        ("1000000", "anon 300000\ninactive_file 500000\nactive_file 90000\n", 600_000),  # files that were read give way
        ("1000000", "anon 900000\n", 100_000),
        ("800000", "inactive_file 0\n", 0),
        ("max", "inactive_file 500000\n", None),
        ("1000000", None, None),
    ],
)
def test_the_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, stat: str | None, expected: int | None
) -> None:
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text("900000\n")
    if stat is not None:
        (tmp_path / "memory.stat").write_text(stat)
    found = machine.available_memory()
    assert found == expected if expected is not None else found > 1_000_000


def test_a_package_that_runs_from_its_source_tree_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    known = machine.metadata.version

    def version(name: str) -> str:
        if name == "datadam":
            raise machine.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(machine.metadata, "version", version)
    monkeypatch.setattr(machine, "_version", machine._version.__wrapped__)  # without what it remembers
    found = machine.versions()
    assert found["datadam"] == "not installed"
    assert found["torch"] == torch.__version__


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A GPU that nobody touches, with so many free bytes."""
    free = [10**12]
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": free[0] if device == "cuda" else 10**12)
    monkeypatch.setattr(machine, "chunk_for", lambda image, device="cpu": 64)
    return free


def test_a_run_that_does_not_fit_on_the_gpu_is_refused_with_the_cure(real, recipe, gpu: list[int]) -> None:
    wide = recipe("datadam", net="convnet2:width=64", ipc=12, precision="float32")
    foreseen = forecast(real, wide, device="cuda")
    assert foreseen.plan.kept == "uint8"  # whatever a run draws: the GPU is far from the memory
    here = forecast(real, wide)
    assert foreseen.bytes == here.bytes + kept_bytes(real, "uint8", "cuda")
    gpu[0] = here.bytes + 3 * kept_bytes(real, "uint8", "cuda")  # they would take more than a quarter of what is left
    assert forecast(real, wide, device="cuda").plan.kept == ""
    gpu[0] = here.bytes - 1
    with pytest.raises(NotEnoughMemory, match=r"lower ipc, lower batch_real .*or another device"):
        forecast(real, wide, device="cuda")
    with pytest.raises(NotEnoughMemory, match="raise memory_limit"):
        forecast(real, wide, device="cuda", memory_limit=here.bytes - 1)


def test_compiling_pays_later_on_a_gpu(real, recipe, gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_compile", lambda device: True)
    monkeypatch.setattr(module, "SECONDS_MATTER", float("inf"))
    asked = recipe("datadam", precision="float32")
    work = forecast(real, dataclasses.replace(asked, iterations=1))
    assert not work.plan.compiled

    def compiles(device: str, iterations: int) -> bool:
        return forecast(real, dataclasses.replace(asked, iterations=iterations), device=device).plan.compiled

    first = next(n for n in range(10, 60) if compiles("cpu", 1 << n))
    assert not compiles("cuda", 1 << first)
    assert compiles("cuda", module.GPU_WORK << first)


def test_without_its_compiler_a_gpu_says_what_is_missing(real, recipe, gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_compile", lambda device: False)
    monkeypatch.setattr(module, "SECONDS_MATTER", float("inf"))
    long = dataclasses.replace(recipe("datadam", precision="float32"), iterations=1 << 50)
    assert [note for note in forecast(real, long, device="cuda").notes if "Triton or C compiler" in note]
    assert [note for note in forecast(real, long).notes if "C++ compiler" in note]


@pytest.mark.slow
def test_a_compiler_is_one_that_compiles() -> None:
    """Whatever is named CXX: what counts is whether a function comes out of it."""
    from torch._inductor import config
    from torch._inductor.utils import fresh_cache

    assert machine.can_compile() == (shutil.which(os.environ.get("CXX", "g++")) is not None)
    for compiler in ("/no/such/compiler", sys.executable):
        torch.compiler.reset()
        with fresh_cache(), config.patch({"cpp.cxx": (None, compiler)}):
            assert not machine.can_compile.__wrapped__(), compiler
    torch.compiler.reset()
