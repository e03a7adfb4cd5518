"""Ray: workers on many machines. The one file that imports it.

Items and what is told travel through Ray's object store, where arrays are read without copies. Ray's own retries are off: the
scheduler's begin an item where it stood. Each attempt is a streaming generator, so what it tells belongs to the process that
asked, and no part of the traffic needs a server of its own.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from queue import Queue
from typing import Any

from datadam.errors import InvalidInput, RunFailed
from datadam.parallel.protocol import Event, Task, enter_worker, sendable

AHEAD = 4  # words of a task that wait to be sent; then it waits
CURE = "pip install 'datadam[ray]'"


@dataclass(frozen=True)
class Ray:
    """Work on a Ray cluster.

    Arguments: `address`, as `ray.init` takes it: "auto" or HOST:PORT for a cluster that runs, "" to start Ray on this machine
    until the process ends; `gpus`, of each worker (a fraction shares one). Raises `InvalidInput` when Ray is not installed.
    """

    address: str = ""
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise InvalidInput(f"engine ray needs Ray, which is not installed; install it with: {CURE}")
        if not 0 <= self.gpus < float("inf"):
            raise InvalidInput(f"gpus_per_worker is {self.gpus}; it must be 0 or a number of GPUs such as 1 or 0.5")

    def settle(self, workers: int | None, items: int) -> tuple[int, int]:
        """How many workers, and CPU threads of each, on the cluster as it is now; connects to it.

        Arguments: `workers` (None: one a CPU core, or as many as the GPUs serve); `items`, above which there is no use for more.
        Raises `InvalidInput` when the cluster has no room for so many, `RunFailed` when it does not answer.
        """
        self.connect()
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        return places([(int(n.get("CPU", 0)), float(n.get("GPU", 0))) for n in nodes], self.gpus, workers, items)

    def connect(self) -> None:
        """Join the cluster, until this process ends, unless it has joined one. Raises `RunFailed` when it does not answer."""
        # nobody is told of this; a cluster that runs already has been told by whoever started it what to report
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not self.address and "ray" not in sys.modules:  # it looks when it is imported
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # also where Ray's default is another
        import ray

        if ray.is_initialized():
            return
        stop = signal.getsignal(signal.SIGTERM)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's own, of versions to come
                ray.init(
                    address=self.address or "local", log_to_driver=False, logging_level=logging.ERROR,
                    include_dashboard=None if self.address else False,  # it would listen on a port for nobody
                )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = f"the Ray cluster at {self.address}" if self.address else "Ray on this machine"
            raise RunFailed(
                f"{where} does not answer: {' '.join(str(error).split())[:400]}. Is it running (ray status), and is its token "
                "known here (RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token)?"
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():  # Ray sets its own, which would end us without a word
                signal.signal(signal.SIGTERM, stop)

    def crew(self, task: Task, threads: int) -> "Attempts":
        """The workers of a task, each with so many CPU cores."""
        return Attempts(self, task, threads)


def places(nodes: list[tuple[int, float]], gpus: float, workers: int | None, items: int) -> tuple[int, int]:
    """How many workers, and the CPU threads of each, on nodes of (CPUs, GPUs).

    As many threads as let all workers be at work at once. Raises `InvalidInput` when there is no room for them.
    """

    def room(threads: int) -> int:
        return sum(min(cpus // threads, int(there / gpus + 1e-9) if gpus else cpus) for cpus, there in nodes)

    most = room(1)
    wanted = min(items, most if workers is None else workers)
    if workers is not None and workers < 1:
        raise InvalidInput(f"workers is {workers}; it must be at least 1")
    if not 1 <= wanted <= most:
        cpus, there = sum(n[0] for n in nodes), sum(n[1] for n in nodes)
        asked = f"{wanted} workers" + (f" of {gpus:g} GPU each" if gpus else "")
        raise InvalidInput(
            f"the cluster has {cpus} CPU cores and {there:g} GPUs on {len(nodes)} machines, which hold {most} workers, and "
            f"{max(wanted, 1)} are asked for ({asked}); use fewer --workers, or a smaller --gpus-per-worker"
        )
    threads = max(t for t in range(1, max(cpus for cpus, _ in nodes) + 1) if room(t) >= wanted)
    return wanted, threads


class Attempts:
    """A crew of Ray tasks; Ray places them on the machines, and waits while there is no room."""

    def __init__(self, engine: Ray, task: Task, threads: int) -> None:
        engine.connect()
        import ray

        self.ray = ray
        options: dict[str, Any] = {"num_cpus": threads, "max_retries": 0, "num_returns": "streaming"}
        self.begin = ray.remote(**options | ({"num_gpus": engine.gpus} if engine.gpus else {}))(attempt_)
        self.task = ray.put(task)
        self.live: dict[Any, int] = {}  # generator -> attempt

    def start(self, attempt: int, item: Any) -> None:
        """Begin the task on an item, wherever there is room."""
        self.live[self.begin.remote(self.task, item)] = attempt

    def hear(self, timeout: float) -> list[Event]:
        """What has happened since."""
        ready, _ = self.ray.wait(list(self.live), num_returns=1, timeout=timeout)
        return [event for generator in ready if (event := self._next(generator))]

    def _next(self, generator: Any) -> Event | None:
        attempt = self.live[generator]
        try:
            kind, value = self.ray.get(next(generator))
        except StopIteration:  # after "done" or "failed", which ends the attempt
            del self.live[generator]
            return None
        except self.ray.exceptions.RayTaskError as error:
            del self.live[generator]
            return Event(attempt, "failed", RunFailed(f"in a worker process: {error}"))
        except self.ray.exceptions.RayError as error:
            del self.live[generator]
            return Event(attempt, "lost", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        if kind in ("done", "failed"):
            del self.live[generator]
        return Event(attempt, kind, value)

    def close(self) -> None:
        """End all attempts, and with them the processes that are at them."""
        for generator in list(self.live):
            del self.live[generator]
            self.ray.cancel(generator, force=True)


def attempt_(task: Task, item: Any) -> Iterator[tuple[str, Any]]:
    """One attempt, in a worker: yields what is told, then the result or the error."""
    name = enter_worker()
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # it lies in the store, and is only read
    words: Queue[tuple[str, Any]] = Queue(AHEAD)

    def work() -> None:
        try:
            words.put(("done", task(item, lambda value: words.put(("tell", value)))))
        except Exception as error:
            words.put(("failed", sendable(error)))
        except BaseException as error:  # sys.exit in a task: nobody else would tell
            words.put(("failed", RunFailed(f"the task ended its worker: {error!r}")))

    yield "note", {"event": "start", "worker": name}
    threading.Thread(target=work, daemon=True).start()
    while True:
        kind, value = words.get()
        yield kind, value
        if kind != "tell":
            return
