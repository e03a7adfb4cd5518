"""The part `students` of gpu.py: how fast students of one set are trained on a GPU, way by way.

S students, N images of a batch, C channels, H x W pixels.
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from speed import noise
from torch import Tensor
from torch.nn import functional as F

from datadam import machine, nets, parallel
from datadam.augment.siamese import STRATEGY, draw_augmentation
from datadam.training.students import Rows, Source, StudentTrainer
from datadam.training.trainer import Training

if TYPE_CHECKING:
    from gpu import Bench

EPOCHS = 1000  # of a student


def students(here: "Bench") -> dict[str, Any]:
    """One after another, in processes that share the device, and many in one batched computation."""
    alone = {
        "one after another, plain, float32": {"precision": "float32", "compiled": False},
        "one after another, as in evaluate, float32": {"precision": "float32"},
        "one after another, as in evaluate, bfloat16": {"precision": "bfloat16"},
    }
    ways = {name: here.case("school", processes=1, **options) for name, options in alone.items()}
    for processes in here.size.processes:
        ways[f"{processes} processes, as in evaluate, bfloat16"] = here.case("school", processes=processes, precision="bfloat16")
    for stack in here.size.stacks:
        ways[f"vmap over {stack}, bfloat16"] = here.case("vmap", stack=stack)
        ways[f"vmap over {stack}, bfloat16, unaugmented"] = here.case("vmap", stack=stack, augmented=False)
    return {
        "of": f"ipc {here.size.ipcs[-1]}, {EPOCHS} epochs",
        "ways": ways,
        "vmap_equals_alone": here.case("stacked_equals_alone"),
    }


def pupils(here: "Bench") -> tuple[Tensor, Tensor, Training]:
    """What students of the largest ipc learn from, and how."""
    number = here.size.classes * here.size.ipcs[-1]
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((number, 3, 32, 32), dtype=np.float32))
    return (
        images,
        torch.arange(here.size.classes).repeat_interleave(here.size.ipcs[-1]),
        Training(epochs=EPOCHS, augment=STRATEGY),
    )


class Enough(Exception):
    """The epochs to time are over."""


@dataclass
class Timed(StudentTrainer):
    """A school whose students give (epochs, seconds) of what they do while all `together` are at work for `span` seconds."""

    together: int = 1
    span: float = 5.0
    folder: str = ""

    def __call__(self, item: tuple[int, int], tell: Callable[[Any], None]) -> Any:
        began, done, found = 0.0, 0, (0, 1.0)

        def wait() -> None:
            if torch.device(self.device).type == "cuda":
                torch.cuda.synchronize()

        def watch(epoch: int) -> None:
            nonlocal began, done, found
            if epoch == 3:  # compiled, recorded, replayed
                wait()
                Path(self.folder, str(os.getpid())).touch()
                while len(list(Path(self.folder).iterdir())) < self.together:
                    time.sleep(0.01)
                began, done = time.perf_counter(), epoch
            elif began and time.perf_counter() - began > self.span:
                wait()
                found = (epoch - done, time.perf_counter() - began)
                raise Enough

        with suppress(Enough):
            super().__call__(item, watch)
        return found


def in_school(here: "Bench", processes: int, precision: str, compiled: bool | None = None) -> dict[str, Any]:
    """Students as `datadam evaluate` trains them, so many processes side by side."""
    images, labels, training = pupils(here)
    real, source = noise(here.size.classes, 20), Source(0, Rows(images.numpy()), labels.numpy())
    compiled = compiled if compiled is not None else not here.size.quick and machine.can_compile(str(here.device))
    with tempfile.TemporaryDirectory() as folder:
        school = Timed(
            here.size.net, (source,), real.test, here.size.classes, real.transform, training, 0, str(here.device), precision,
            threads=1 if processes > 1 else 0, compiled=compiled, together=processes, span=here.size.span, folder=folder,
        )  # fmt: skip
        found = parallel.run(school, [(0, number) for number in range(processes)], workers=processes)
    epochs_a_second = sum(epochs / seconds for epochs, seconds in found)
    return rate(epochs_a_second) | {"processes": processes, "compiled": compiled, "precision": precision}


def rate(epochs_a_second: float) -> dict[str, float]:
    """Epochs of single students a second, in students a minute and seconds of a hundred."""
    return {
        "epochs_a_second": round(epochs_a_second, 2),
        "students_a_minute": round(60 * epochs_a_second / EPOCHS, 3),
        "seconds_of_100_students": round(100 * EPOCHS / max(epochs_a_second, 1e-9), 1),
    }


def stacked_step(networks: list[nets.Network], training: Training) -> tuple[Callable[[Tensor, Tensor], None], dict[str, Tensor]]:
    """One step of SGD of S students at once, on images [S, N, C, H, W] and labels [S, N]; and their weights, stacked."""
    weights, buffers = torch.func.stack_module_state(networks)  # type: ignore[arg-type]
    options = {"lr": training.lr, "momentum": training.momentum, "weight_decay": training.weight_decay}
    optimizer = torch.optim.SGD(list(weights.values()), **options)

    def loss(own: dict[str, Tensor], rest: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.func.functional_call(networks[0], (own, rest), (x,))
        return F.cross_entropy(logits.to(x.dtype), y)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.func.vmap(loss)(weights, buffers, x, y).sum().backward()
        optimizer.step()

    return step, weights


def stacked(here: "Bench", stack: int, augmented: bool = True) -> dict[str, Any]:
    """An experiment: S students as one batched computation (their convolutions become grouped ones), each with its own batch."""
    images, labels, training = pupils(here)
    images, labels = images.to(here.device), labels.to(here.device)
    networks = [nets.build(here.size.net, shape=(3, 32, 32), classes=here.size.classes).to(here.device) for _ in range(stack)]
    step, _ = stacked_step(networks, training)
    number, batch = count(), min(training.batch, len(images))

    def one() -> None:
        at, generator = next(number), torch.Generator().manual_seed(0)
        chosen = torch.stack([torch.randperm(len(images), generator=generator)[:batch] for _ in range(stack)]).to(here.device)
        x = images[chosen]
        if augmented:
            drawn = [draw_augmentation(training.augment, s, at, images=batch) for s in range(stack)]
            x = torch.stack([a(part) if a else part for a, part in zip(drawn, x, strict=True)])
        with torch.autocast(here.device.type, torch.bfloat16):
            step(x, labels[chosen])

    here.forget_peak()
    here.times(one, max(1, here.size.warm // 5))
    seconds = median(here.times(one, max(2, here.size.calls // 10)))
    steps_an_epoch = -(-len(images) // training.batch)
    return rate(stack / seconds / steps_an_epoch) | {"stack": stack, "seconds_a_step": seconds, **here.peak()}


def stacked_equals_alone(here: "Bench", stack: int = 3, steps: int = 20) -> dict[str, Any]:
    """The largest relative distance of weights in float64 after 20 steps together and apart."""
    images, labels, training = pupils(here)
    x, y = (part[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:32]].to(here.device)
            for part in (images.double(), labels))  # fmt: skip
    torch.manual_seed(0)
    networks = [nets.build(here.size.net, shape=(3, 32, 32), classes=here.size.classes) for _ in range(stack)]
    networks = [network.to(here.device).double() for network in networks]
    step, weights = stacked_step(networks, training)
    for _ in range(steps):
        step(x.expand(stack, *x.shape), y.expand(stack, *y.shape))
    worst = 0.0
    for number, network in enumerate(networks):
        optimizer = torch.optim.SGD(
            network.parameters(), lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay
        )
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
        for name, alone in network.named_parameters():
            worst = max(worst, float((weights[name][number] - alone).detach().norm() / alone.detach().norm()))
    return {"steps": steps, "largest_relative_distance": worst}


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "school": in_school, "vmap": stacked, "stacked_equals_alone": stacked_equals_alone,
}  # fmt: skip
