"""How work is spread: over how many workers and shards, and over which engine."""

from dataclasses import dataclass

import torch

from datadam.errors import InvalidInput
from datadam.parallel import Ray


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Arguments: `workers`, at once (None: as many as there are cores or GPUs for); `shards`, pieces of neighbouring classes
    (None: one a worker; more of them cost a little and level out machines that differ or fail); `engine`, a Ray cluster (None:
    processes of this machine). Raises `InvalidInput` for numbers below 1.
    """

    workers: int | None = None
    shards: int | None = None
    engine: Ray | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "shards"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InvalidInput(f"{name} is {value}; it must be at least 1")

    def settle(self, classes: int) -> "Places":
        """What this comes to for so many classes, on the machines as they are now.

        Raises `InvalidInput` when there are fewer classes than shards or the cluster is too small, `RunFailed` when it does not
        answer.
        """
        if self.shards is not None and self.shards > classes:
            raise InvalidInput(f"shards is {self.shards}, and there are {classes} classes; ask for at most one shard a class")
        most = classes if self.shards is None else self.shards
        if self.engine is not None:
            workers, threads = self.engine.settle(None if self.workers is None else min(self.workers, most), most)
        else:
            workers = min(torch.get_num_threads() if self.workers is None else self.workers, most)
            threads = max(1, torch.get_num_threads() // workers)
        return Places(workers, self.shards or workers, threads, self.engine)


@dataclass(frozen=True)
class Places:
    """So many `workers` of so many CPU `threads` each take turns at so many `shards`."""

    workers: int
    shards: int
    threads: int
    engine: Ray | None


def cut(classes: int, shards: int) -> list[tuple[int, int]]:
    """Even ranges (first, last + 1) of neighbouring classes."""
    return [(classes * s // shards, classes * (s + 1) // shards) for s in range(shards)]


def require_limit(engine: Ray | None, memory_limit: int | None) -> None:
    """Raise `InvalidInput` for a limit of memory that nobody could keep."""
    if engine is not None and not engine.address and memory_limit is not None:
        raise InvalidInput(
            "memory_limit cannot be kept with Ray that is started on this machine, whose store and servers take memory of their "
            "own; leave out --engine ray (--workers alone are processes of this machine), or give a cluster with --address, of "
            "which the limit holds for each process"
        )
