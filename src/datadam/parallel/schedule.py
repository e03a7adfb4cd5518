"""Which item a free worker takes next, and what becomes of the items of a lost one. It starts nothing and has no clock.

Items are taken in their order. One whose worker is lost is taken again, before all others, for as long as it comes further
between its losses. Machines of different speed are levelled out by more items than workers.
"""

from collections import deque

LOSSES = 3  # of one item that has come no further between them, after which there is no sense in another attempt


class Schedule:
    """The plan of so many items.

    Arguments: `items`, how many; `losses`, of one item in a row before it is given up (0: the first one ends the work).
    """

    def __init__(self, items: int, *, losses: int = LOSSES) -> None:
        self.waiting = deque(range(items))
        self.most, self.begun = losses, 0
        self.attempts: dict[int, int] = {}  # of each that is running, its item
        self.losses = [0] * items  # in a row

    @property
    def finished(self) -> bool:
        """Whether every item is done."""
        return not self.waiting and not self.attempts

    def take(self) -> tuple[int, int] | None:
        """The attempt that a free worker begins now, and its item; None when there is nothing to do."""
        if not self.waiting:
            return None
        self.begun += 1
        self.attempts[self.begun] = self.waiting.popleft()
        return self.begun, self.attempts[self.begun]

    def saved(self, attempt: int) -> None:
        """What an attempt has done is kept, and the next one of its item goes on from there."""
        self.losses[self.attempts[attempt]] = 0

    def done(self, attempt: int) -> None:
        """An attempt has come to its end."""
        del self.attempts[attempt]

    def lost(self, attempt: int) -> tuple[int, bool]:
        """An attempt's worker is gone. Returns its item, and whether that is given up."""
        number = self.attempts.pop(attempt)
        self.losses[number] += 1
        if self.losses[number] > self.most:
            return number, True
        self.waiting.appendleft(number)
        return number, False

    def running(self) -> int:
        """How many attempts are running."""
        return len(self.attempts)
