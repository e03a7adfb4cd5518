"""What failing and slow machines cost a run of 10 000 classes, by the product's own scheduler on a simulated clock.

    python benchmarks/scale/scheduler.py --out results/benchmarks/scheduler.json

Simulated are the machines: 16 of 4 workers each; every class takes 23.04 s on a worker of full speed, so that the whole takes one
hour where nothing is lost. Machines fail at exponential times and come back after five minutes; a lost shard is begun again, by
whom the scheduler (datadam.parallel.schedule) gives it to, from where it stood when it last told so. Some machines are slow.
"""

import argparse
import heapq
import json
import random
import statistics
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from datadam import machine
from datadam.parallel.schedule import LOSSES, SLOW, Schedule
from datadam.parallel.spread import cut

CLASSES, MACHINES, EACH = 10_000, 16, 4
SECONDS_A_CLASS = 3600 * MACHINES * EACH / CLASSES
START = 15.0  # seconds until a worker has begun a shard
TELLS = 60.0  # seconds between two words on where a shard stands
BACK = 300.0  # seconds until a failed machine is there again
LOOKS = 10.0  # seconds after which a free worker looks again for a slow shard
HOURS = (None, 8.0, 2.0, 0.5)  # mean time between failures of one machine
SLOW_SHARE, SLOW_SPEED = 0.25, 0.5


@dataclass
class Attempt:
    """A shard on a worker: since when, how much work was left then, and at what speed."""

    item: int
    place: int
    begun: float
    left: float
    speed: float

    def told(self, now: float) -> float:
        """The work left by what it has told last."""
        spent = max(0.0, now - self.begun - START)
        return max(0.0, self.left - (spent // TELLS) * TELLS * self.speed)

    def end(self) -> float:
        """When it comes to its end."""
        return self.begun + START + self.left / self.speed


@dataclass
class World:
    """One simulated run."""

    shards: int
    hours: float | None
    slow: int
    copies: bool
    seed: int
    now: float = 0.0
    running: dict[int, Attempt] = field(default_factory=dict)
    lost: int = 0
    copied: int = 0
    repeated: float = 0.0  # seconds of work done again

    def run(self) -> float:
        """Seconds until all is done."""
        chance, ids = random.Random(self.seed), count()
        speeds = [SLOW_SPEED if m < self.slow else 1.0 for m in range(MACHINES)]
        plan = Schedule(self.shards, losses=LOSSES, copies=self.copies)
        left = [(last - first) * SECONDS_A_CLASS for first, last in cut(CLASSES, self.shards)]
        free = sorted(m for m in range(MACHINES) for _ in range(EACH))
        up = [True] * MACHINES
        events: list[tuple[float, int, str, int]] = [(0.0, next(ids), "look", -1)]

        def fails(m: int) -> None:
            if self.hours is not None:
                heapq.heappush(events, (self.now + chance.expovariate(1 / (3600 * self.hours)), next(ids), "fail", m))

        for m in range(MACHINES):
            fails(m)
        while not plan.finished:
            self.now, _, kind, which = heapq.heappop(events)
            if kind == "start" and which in self.running:
                plan.started(which, self.now)
            elif kind == "end" and which in self.running:
                attempt = self.running.pop(which)
                free.append(attempt.place)
                for other in plan.done(which, self.now):
                    free.append(self.running.pop(other).place)
            elif kind == "fail":
                up[which] = False
                free = [m for m in free if m != which]
                for number in [n for n, a in self.running.items() if a.place == which]:
                    attempt = self.running.pop(number)
                    told = attempt.told(self.now)
                    if self.now - attempt.begun > START:  # a worker tells how far it is as soon as it is at work
                        plan.saved(number)
                    done = min(attempt.left, max(0.0, self.now - attempt.begun - START) * attempt.speed)
                    self.repeated += done - (attempt.left - told)
                    left[attempt.item] = min(left[attempt.item], told)
                    self.lost += 1
                    _, given_up = plan.lost(number)
                    if given_up:
                        raise RuntimeError("a shard was given up")
                heapq.heappush(events, (self.now + BACK, next(ids), "back", which))
            elif kind == "back":
                up[which] = True
                free += [which] * EACH
                fails(which)
            while free and (taken := plan.take(self.now)):
                number, item = taken
                place = free.pop(0)
                for other in self.running.values():  # a copy goes on from where the other stood last
                    if other.item == item:
                        left[item] = min(left[item], other.told(self.now))
                        self.copied += 1
                self.running[number] = Attempt(item, place, self.now, left[item], speeds[place])
                heapq.heappush(events, (self.now + START, next(ids), "start", number))
                heapq.heappush(events, (self.running[number].end(), next(ids), "end", number))
            if free and not plan.waiting and not any(event[2] == "look" for event in events):
                heapq.heappush(events, (self.now + LOOKS, next(ids), "look", -1))
        return self.now


def ideal(slow: int) -> float:
    """Seconds if all workers were at work until the end, and nothing were lost or had to start."""
    return CLASSES * SECONDS_A_CLASS / (EACH * (MACHINES - slow + slow * SLOW_SPEED))


def measure(seeds: int) -> list[dict[str, Any]]:
    """A row for each way to cut and to schedule, under each kind of trouble."""
    rows = []
    for slow in (0, round(MACHINES * SLOW_SHARE)):
        for hours in HOURS:
            for shards in (64, 256, 1024):
                for copies in (True, False):
                    worlds = [World(shards, hours, slow, copies, seed) for seed in range(seeds if hours else 1)]
                    ratios = [world.run() / ideal(slow) for world in worlds]
                    rows.append({
                        "slow_machines": slow, "hours_between_failures": hours, "shards": shards, "copies": copies,
                        "times_ideal": round(statistics.mean(ratios), 3), "worst": round(max(ratios), 3),
                        "lost": round(statistics.mean(w.lost for w in worlds), 1),
                        "copied": round(statistics.mean(w.copied for w in worlds), 1),
                        "work_repeated": round(statistics.mean(w.repeated for w in worlds) / (CLASSES * SECONDS_A_CLASS), 4),
                    })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    began = time.monotonic()
    rows = measure(given.seeds)
    result = {
        "command": f"python benchmarks/scale/scheduler.py --seeds {given.seeds}",
        "simulated": True,
        "classes": CLASSES, "machines": MACHINES, "workers_each": EACH, "seconds_a_class": SECONDS_A_CLASS,
        "start_seconds": START, "tells_seconds": TELLS, "back_seconds": BACK, "losses": LOSSES, "slow_times": SLOW,
        "slow_speed": SLOW_SPEED, "seeds": given.seeds,
        "versions": machine.versions(), "commit": machine.commit(), "created": machine.now(),
        "seconds": round(time.monotonic() - began, 1), "rows": rows,
    }  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    if given.out:
        given.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
