"""The work of a shard that waits where a test can find it. For other processes too, which find it by its name."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datadam.distillation.shards.worker import Shard, ShardProgress, ShardState, ShardTask
from datadam.parallel import Tell

PATIENCE = 240.0  # seconds after which it goes on, so that a test that fails leaves nothing behind


@dataclass(frozen=True)
class Waits(ShardTask):
    """A shard's work that stops, once it has told where it stands and how far it is, until the file `signpost` is there.

    How far it is is told last, and makes the run that hears it take a step: a test that looks between steps finds what was told.
    """

    signpost: str = ""

    def __call__(self, shard: Shard, tell: Tell) -> None:
        """Distil a shard to its end, with that stop."""
        stood = False

        def telling(value: Any) -> None:
            nonlocal stood
            tell(value)
            stood |= isinstance(value, ShardState)
            deadline = time.monotonic() + PATIENCE
            while stood and isinstance(value, ShardProgress) and not Path(self.signpost).exists() and time.monotonic() < deadline:
                time.sleep(0.01)

        super().__call__(shard, telling)
