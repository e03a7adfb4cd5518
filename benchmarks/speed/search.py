"""How many networks an hour a search trains, against a plain loop over them.

    python benchmarks/speed/search.py --out results/benchmarks/search.json [--count 24] [--repeats 3]

All ways train the same networks of the 720 on the same images: random real ones of MNIST, ten a class, and so many of the whole
set. The plain loop does so one network after another in float32 on all threads, as one would write it, and once more with the
allocator of the command line; `datadam search` in its processes and number format. The ways take turns, each in a process of its
own with an empty cache; the minimum of the turns counts, and the start of processes with it. Beside the seconds of the wall stand
those of the processor, which other work on the machine moves less.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from interleave import Worker, in_turns, serve, write

import datadam
from datadam import machine, nets
from datadam.applications.reproduce.scales import few
from datadam.applications.search import Asked, Plan, plan, search
from datadam.augment.policies import student_augmentation
from datadam.data import RealData
from datadam.rng import stream

SPACE = "convnet720:width=32,64"
PART = 600, 100  # training and test images of each class: enough to rank by, so that trainings and not tests take the time
WAYS = ("plain", "plain, allocator tuned", "search")


def asked(count: int) -> Asked:
    """Trainings of a few seconds each."""
    return Asked(proxies=("random",), space=SPACE, count=count, ipc=10, epochs=20, whole_epochs=1, whole_images=2560)


def plain(made: Plan) -> None:
    """Every network and every course, one after another, as one would write it."""
    for net in made.networks:
        for course in made.courses:
            network = nets.build(net, shape=(1, 28, 28), classes=10)
            nets.initialise(network, stream(0, course.name))
            optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
            labels, training = torch.from_numpy(course.labels), course.training
            for epoch in range(training.epochs):
                for group in optimizer.param_groups:
                    group["lr"] = training.lr_at(epoch)
                order = torch.randperm(len(labels), generator=stream(0, "order", epoch))
                for place, chosen in enumerate(order.split(training.batch)):
                    x = _images(course, chosen)
                    augmentation = student_augmentation(
                        training.augment, 0, epoch, place, images=len(x), transform=course.transform
                    )
                    optimizer.zero_grad()
                    F.cross_entropy(network(augmentation(x) if augmentation else x), labels[chosen]).backward()
                    optimizer.step()
            network.eval()
            with torch.no_grad():
                for part in course.tests:
                    for pixels in torch.from_numpy(made.trainer.parts[part].pixels).split(256):
                        network(course.transform.bytes_to_network(pixels)).argmax(1)


def _images(course: Any, chosen: torch.Tensor) -> torch.Tensor:
    if course.images is not None:
        return torch.from_numpy(course.images)[chosen]
    return course.transform.bytes_to_network(torch.from_numpy(course.pixels[chosen.numpy()]))


def prepare(way: str, count: int) -> Callable[[], tuple[Callable[[], float], dict[str, Any]]]:
    """What a worker of this way does in a turn."""

    def ready() -> tuple[Callable[[], float], dict[str, Any]]:
        if way != "plain":
            machine.tune_allocator()
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        real: RealData = few(datadam.load("mnist"), *PART)

        def turn() -> float:
            with tempfile.TemporaryDirectory() as cache:
                os.environ["DATADAM_CACHE"] = cache
                made = plan(real, asked(count))
                began = time.perf_counter()
                search(made, real) if way == "search" else plain(made)
                return time.perf_counter() - began

        made = plan(real, asked(count))
        about = {"precision": made.trainer.precision, "workers": made.workers, "threads": made.trainer.threads}
        return turn, about if way == "search" else {"precision": "float32", "workers": 1, "threads": torch.get_num_threads()}

    return ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--note", default="", help="what is to be known of the machine")
    parser.add_argument("--way", choices=WAYS)
    given = parser.parse_args()
    if given.way:
        serve(prepare(given.way, given.count))
        return
    workers = [Worker(way, [__file__, "--way", way, "--count", str(given.count)]) for way in WAYS]
    ways = in_turns(workers, given.repeats)
    hours = {name: 3600 * given.count / way["seconds"] for name, way in ways.items()}
    result = {
        "command": f"python benchmarks/speed/search.py --count {given.count} --repeats {given.repeats}",
        "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(), "commit": machine.commit(),
        "created": machine.now(), "note": given.note, "networks": given.count,
        "space": SPACE, "ways": ways, "networks_an_hour": hours,
        "ratio": hours["search"] / hours["plain"],
        "ratio_of_processor_seconds": ways["plain"]["least_processor"] / ways["search"]["least_processor"],
    }  # fmt: skip
    write(result, given.out)


if __name__ == "__main__":
    main()
