"""How long the rest of a grid will take: seconds per unit of work, learned from the parts that are done."""

from dataclasses import dataclass, field

Key = tuple[str, str]  # what kind of work, and of what: ("make", "dm"), ("judge", "convnet3")


@dataclass
class Clock:
    """Work in units (floating-point operations, or pieces) and what it took.

    A part is expected to take what others of the same key took a unit, else of the same kind, else of any kind counted in the
    same units, and what each of them took whatever its size; kinds whose name begins with "choose" are counted in pieces and
    teach nothing about the others.
    """

    spent: dict[Key, tuple[float, float, float, int]] = field(default_factory=dict)  # units, their seconds, fixed ones, parts

    def learn(self, key: Key, units: float, seconds: float, fixed: float = 0.0) -> None:
        """A part of so many units took so many seconds, of them `fixed` whatever its size: compiling, testing."""
        known, took, always, parts = self.spent.get(key, (0.0, 0.0, 0.0, 0))
        fixed = min(fixed, seconds)
        self.spent[key] = (known + units, took + seconds - fixed, always + fixed, parts + 1)

    def expect(self, key: Key, units: float, prior: float | None = None) -> float | None:
        """Seconds for so many units: from the same key, or a `prior` guess, or the most alike; None when nothing is known."""
        pieces = key[0].startswith("choose")
        alike = [k for k in self.spent if k[0] == key[0]]
        any_ = [k for k in self.spent if k[0].startswith("choose") == pieces]
        for keys in ([key], alike if prior is None else [], any_ if prior is None else []):
            learnt = [self.spent[k] for k in keys if k in self.spent]
            if sum(known for known, *_ in learnt) > 0:
                known, took, always, parts = (sum(column) for column in zip(*learnt, strict=True))
                return float(always / parts + units * took / known)
        return prior
