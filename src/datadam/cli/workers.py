"""Options of verbs that can use many workers, and what they come to."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

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
