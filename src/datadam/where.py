"""Where: on what a piece of work is done, in one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datadam.parallel import Ray


@dataclass(frozen=True, kw_only=True)
class Where:
    """On what work is done; it never changes what is computed, but for rounding.

    Arguments: `device`, "cpu", "cuda", ... ("auto": a graphics card if there is one); `workers`, processes side by
    side, which share the threads (None: as many as pay; a
    program that asks for several keeps its start behind `if __name__ == "__main__"`); `engine`, a Ray cluster that has the
    workers (None: this machine); `memory_limit` in bytes (None: what
    is free); `progress`, called on the way, with what the function that is given this object says.
    """

    device: str = "auto"
    workers: int | None = 1
    engine: Ray | None = None
    memory_limit: int | None = None
    progress: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.device == "auto":
            from datadam import machine  # torch is imported only where work is done

            gpus = None if self.engine is None else self.engine.gpus
            object.__setattr__(self, "device", machine.settle_device(self.device, gpus))
