"""Which item a free worker takes next, and what becomes of the items of a lost one. It starts nothing and has no clock.

Items are taken in their order. One whose worker is lost is taken again, before all others, for as long as it comes further
between its losses. When nothing waits, a free worker takes a copy of the item that has been worked on for much longer than others
took: what a task gives does not depend on who does it, so the first of the two to end is the one that counts. Time runs from when
an attempt is at work: one that waits for room on a full cluster is not slow, and a copy of it would wait as well.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

LOSSES = 3  # of one item that has come no further between them, after which there is no sense in another attempt
SLOW = 1.3  # times the median of finished items: a straggler


@dataclass
class Item:
    """One item: its `attempts` with the times they began (None: not yet), `losses` in a row, and whether it is `done`."""

    attempts: dict[int, float | None] = field(default_factory=dict)
    losses: int = 0
    done: bool = False


class Schedule:
    """The plan of so many items.

    Arguments: `items`, how many; `losses`, of one item in a row before it is given up (0: the first one ends the work);
    `copies`, whether a straggler is begun a second time. Times are seconds of any clock.
    """

    def __init__(self, items: int, *, losses: int = LOSSES, copies: bool = True) -> None:
        self.items = [Item() for _ in range(items)]
        self.waiting = deque(range(items))
        self.most, self.copies = losses, copies
        self.attempts: dict[int, int] = {}  # attempt -> item
        self.took: list[float] = []  # seconds of finished items
        self.begun = 0

    @property
    def finished(self) -> bool:
        """Whether every item is done."""
        return all(item.done for item in self.items)

    def take(self, now: float) -> tuple[int, int] | None:
        """The attempt that a free worker begins now, and its item; None when there is nothing to do."""
        number = self.waiting.popleft() if self.waiting else self._straggler(now)
        if number is None:
            return None
        self.begun += 1
        self.attempts[self.begun] = number
        self.items[number].attempts[self.begun] = None
        return self.begun, number

    def started(self, attempt: int, now: float) -> None:
        """A worker is at work on an attempt."""
        self.items[self.attempts[attempt]].attempts[attempt] = now

    def _straggler(self, now: float) -> int | None:
        if not self.copies or not self.took:
            return None
        only = [(n, began) for n, item in enumerate(self.items) if len(item.attempts) == 1 for began in item.attempts.values()]
        alone = [(began, n) for n, began in only if began is not None]
        since, number = min(alone, default=(now, 0))
        return number if alone and now - since > SLOW * median(self.took) else None

    def heard(self, attempt: int) -> int:
        """An attempt has told something. Returns its item."""
        return self.attempts[attempt]

    def saved(self, attempt: int) -> None:
        """What an attempt has done is kept, and the next one of its item goes on from there."""
        self.items[self.attempts[attempt]].losses = 0

    def done(self, attempt: int, now: float) -> list[int]:
        """An attempt has come to its end. Returns the other attempts of its item, which nobody needs any more."""
        number = self.attempts.pop(attempt)
        item = self.items[number]
        if (began := item.attempts.pop(attempt)) is not None:
            self.took.append(now - began)
        item.done = True
        others = list(item.attempts)
        for other in others:
            del self.attempts[other]
        item.attempts.clear()
        return others

    def lost(self, attempt: int) -> tuple[int, bool]:
        """An attempt's worker is gone. Returns its item, and whether that is given up."""
        number = self.attempts.pop(attempt)
        item = self.items[number]
        del item.attempts[attempt]
        item.losses += 1
        if item.attempts:  # a copy goes on
            return number, False
        if item.losses > self.most:
            return number, True
        self.waiting.appendleft(number)
        return number, False

    def running(self) -> int:
        """How many attempts are running."""
        return len(self.attempts)
