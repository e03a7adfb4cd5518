"""Options of verbs that can use many workers, and what they come to."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from datadam.cli import STARTED

if TYPE_CHECKING:
    from datadam.parallel import Ray
    from datadam.parallel.spread import Spread

Engine = Annotated[
    Literal["local", "ray"] | None, Parameter(help="where workers are: processes of this machine (local), or a Ray cluster (ray)")
]
Address = Annotated[
    str | None, Parameter(help="of the Ray cluster: auto, or HOST:PORT (default: Ray is started on this machine for the command)")
]
Gpus = Annotated[float | None, Parameter(help="GPUs of each worker on Ray, such as 1 or 0.5")]
Trainers = Annotated[
    int | None,
    Parameter(help="networks trained side by side, by processes that share the threads (default: 1, on Ray as many as it holds)"),
]
TimeLimit = Annotated[
    float | None, Parameter(help="seconds after which the command has ended; what was trained is kept, and it goes on from there")
]
FINISHING = 3.0  # seconds kept back from --time-limit for writing the result
MANY = ("engine", "workers", "shards", "gpus_per_worker", "address")


def engine_of(engine: str | None, gpus_per_worker: float | None, address: str | None) -> "Ray | None":
    """The Ray cluster that is asked for, or None. Raises `InvalidInput`, also where Ray is not installed."""
    from datadam.errors import InvalidInput
    from datadam.parallel import Ray

    if engine == "ray":
        return Ray(address or "", gpus_per_worker or 0.0)
    if engine not in (None, "local"):
        raise InvalidInput(f"engine is {engine!r}; allowed: local, ray")
    if given := [name for name, value in (("--gpus-per-worker", gpus_per_worker), ("--address", address)) if value is not None]:
        raise InvalidInput(f"{' and '.join(given)} are for Ray; add --engine ray")
    return None


def engine_named(asked: dict[str, Any]) -> "Ray | None":
    """The Ray cluster of these options, or None. Raises as `engine_of`."""
    return engine_of(asked.get("engine"), asked.get("gpus_per_worker"), asked.get("address"))


def spread_of(asked: dict[str, Any]) -> "Spread | None":
    """Over which workers a distillation goes; None for this process. Raises `InvalidInput`."""
    from datadam.parallel.spread import Spread

    engine = engine_named(asked)
    if engine is None and not any(name in asked for name in MANY):
        return None
    return Spread(workers=asked.get("workers"), shards=asked.get("shards"), engine=engine)


def crew_of(workers: int | None, engine: str | None, gpus_per_worker: float | None, address: str | None) -> dict[str, Any]:
    """Who trains networks, as `make_experts` and `pretrain` take it. Raises `InvalidInput`."""
    from datadam.errors import InvalidInput

    if workers is not None and workers < 1:
        raise InvalidInput(f"workers is {workers}; it must be at least 1")
    ray = engine_of(engine, gpus_per_worker, address)
    return {"workers": workers if ray or workers else 1, "engine": ray}


def left_of(time_limit: float | None) -> Callable[[], float | None]:
    """What tells how many seconds of the limit are left (None: there is no limit). Raises `InvalidInput` unless it is > 0."""
    from datadam.cli.config import check_seconds

    check_seconds(time_limit)
    return lambda: None if time_limit is None else max(0.0, time_limit - (time.monotonic() - STARTED) - FINISHING)


def tally(what: str, count: int, advance: Callable[[str, int, int], object]) -> Callable[[int, int, int], None]:
    """What is told how far each of `count` networks is, and shows how far all are."""
    reached: dict[int, int] = {}

    def told(number: int, done: int, steps: int) -> None:
        first = min(reached, default=number)
        reached[number] = done
        advance(f"{what} {number + 1} of {count}", min(first, number) * steps + sum(reached.values()), count * steps)

    return told


def still_to_do(made: int, count: int, what: str) -> str:
    """What to say when the time limit was over before all were made; "" otherwise."""
    from datadam.wording import plural

    return "" if made >= count else f"stopped by --time-limit: {made} of {plural(count, what)} are made; the same command goes on"
