"""Small data and runs that many tests share, and what keeps a test from hanging or from depending on its machine."""

import faulthandler
import gc
import getpass
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator

import pytest
import torch
from small import make_real

import datadam
from datadam import machine
from datadam.data import RealData
from datadam.distillation.recipe import Recipe

torch.set_num_threads(int(os.environ.get("DATADAM_TEST_THREADS", "1")))
if processor := os.environ.get("ATEN_CPU_CAPABILITY"):  # code that torch kept for the true one is not for the one that is played
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/datadam-tests-{getpass.getuser()}-{processor}")
LONGEST = 900.0  # seconds of a test, with what is set up for it: far more than any takes, on a slow machine with other work too
PLENTY = 16_000_000_000  # bytes of free memory that tests find, whatever else the machine is doing
ABOUT_MEMORY = ("test_machine", "test_cache")  # these look at the machine's own


def pytest_configure(config: pytest.Config) -> None:
    """Where a test hangs, say in which line, past pytest's capture, and end all: the alarm's own way is to end the process.

    An alarm, and no thread that watches: a process of several threads may not fork without a warning.
    """
    if hasattr(signal, "setitimer") and not config.getoption("usepdb"):
        kept = os.dup(sys.__stderr__.fileno())
        faulthandler.register(signal.SIGALRM, file=kept, all_threads=True, chain=True)
        config.add_cleanup(lambda: (faulthandler.unregister(signal.SIGALRM), os.close(kept)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Each test has its own seconds."""
    if item.config.getoption("usepdb") or not hasattr(signal, "setitimer"):
        return (yield)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture(autouse=True, scope="session")
def cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What coresets train is kept for the session, and neither read from nor left in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATADAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread in this process, as each of several side by side has: more of them round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def little_to_collect() -> None:
    """What libraries and earlier modules keep is no longer looked at when garbage is collected, which each comparison does for
    every set: that would take seconds by the end of a session."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests run in the background of a shell, whose jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def plain_surroundings() -> Iterator[None]:
    """Servers of this machine are spoken to without a proxy, nobody asks for colours, a terminal has its usual width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FORCE_COLOR", raising=False)
        patch.setenv("COLUMNS", "80")
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost"))))
        yield


@pytest.fixture(autouse=True)
def plenty_of_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused for want of memory is so by what a test says, and not because the machine is busy."""
    if request.module.__name__.rpartition(".")[2] in ABOUT_MEMORY:
        return
    really = machine.available_memory
    free = lambda device="cpu": PLENTY if torch.device(device).type == "cpu" else really(device)  # noqa: E731
    monkeypatch.setattr(machine, "available_memory", free)


@pytest.fixture(autouse=True)
def on_the_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed where nobody says on what is computed on the CPU, also on a machine with a graphics card."""
    if request.module.__name__.rpartition(".")[2] not in ABOUT_MEMORY:
        settled = machine.settle_device
        monkeypatch.setattr(machine, "settle_device", lambda device, gpus=None: settled(device, gpus or 0.0))


@pytest.fixture
def real() -> RealData:
    """Three classes of twelve 3x8x8 images."""
    return make_real()


@pytest.fixture
def recipe(real: RealData) -> Callable[..., Recipe]:
    """A tiny recipe in float64; keyword arguments change settings."""

    def make(preset: str = "datadam", ipc: int = 2, **settings: object) -> Recipe:
        tiny = {"net": "convnet2:width=6", "iterations": 4, "batch_real": 5, "precision": "float64"}
        return datadam.preset(preset, real, ipc=ipc).change(tiny | settings)

    return make
