"""Plan: what of a run adapts to the machine."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Plan:
    """What adapts to the machine, decided once for a run, kept in its checkpoint and reused on resume.

    `compiled`: whether descriptors run as compiled code; `chunk`: images a forward pass at most, so that the maps of a chunk
    stay in the processor's cache; `threads`: CPU threads; `kept`: the form in which all training images are kept ready, "uint8",
    "float32" or "float16", or "" (see data/resident.py).
    """

    compiled: bool
    chunk: int
    threads: int
    kept: str = ""

    def to_json(self) -> dict[str, int | bool | str]:
        """As kept in a checkpoint."""
        return asdict(self)
