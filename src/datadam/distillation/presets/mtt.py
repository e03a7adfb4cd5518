"""MTT as its authors released it (Cazenavette et al., CVPR 2022), and in minutes, from a set of our own method's."""

from dataclasses import dataclass

from datadam.distillation.presets.calm import coarser
from datadam.distillation.presets.kind import Kind, as_released, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import MTT


@dataclass(frozen=True)
class Row:
    """A row of the released code's table: steps N, expert epochs M, starts below T+, batch (0: all), rates, whitening."""

    steps: int
    expert_epochs: int
    max_start: int
    lr_images: float
    lr_rate: float
    rate: float = 0.01
    batch: int = 0
    zca: str = "kornia"


USUAL = Row(20, 3, 25, 1000.0, 1e-5, zca="none")  # the code's own defaults
TABLE = {
    "cifar10": {1: Row(50, 2, 2, 100.0, 1e-7), 10: Row(30, 2, 20, 1e5, 1e-4), 50: Row(30, 2, 40, 1000.0, 1e-5, 1e-3, zca="none")},
    "cifar100": {1: Row(20, 3, 20, 1000.0, 1e-5), 10: Row(20, 2, 40, 1000.0, 1e-5), 50: Row(80, 2, 40, 1000.0, 1e-5, batch=125)},
}
ITERATIONS = 5001  # 0 to 5 000
LARGE, SMALL, STEPS = 1024, 32, 45  # images a step of our experts, at most and at least, and steps of an epoch, at least between


def mtt(real: Kind, ipc: int) -> Recipe:
    """MTT: 5 001 iterations with 100 experts; by ipc the row of the table that is published for it, or for the next smaller one.

    Published, CIFAR-10 ipc 1 / 10 / 50: 46.3 / 65.3 / 71.6 %; CIFAR-100: 24.3 / 40.1 / 47.7 %. The table in the released code's
    readme is a picture; its rows are taken from commands that others print for it, and differ there in lr_rate at ipc 10. Data
    sets without a row get the code's defaults, without whitening.
    """
    rows = TABLE.get(real.name, {1: USUAL})
    row = rows[max((known for known in rows if known <= ipc), default=min(rows))]
    method = MTT(
        steps=row.steps, expert_epochs=row.expert_epochs, max_start=row.max_start, batch=row.batch, rate=row.rate,
        lr_rate=row.lr_rate,
    )  # fmt: skip
    return Recipe(
        method=method, ipc=ipc, net=as_released("instance", real), iterations=ITERATIONS, lr_images=row.lr_images,
        augment=strategy(real), normalisation="mtt", zca=row.zca, protocol="mtt", preset="mtt",
    )  # fmt: skip


def quick(real: Kind, ipc: int) -> Recipe:
    """Minutes: three experts in large steps, and 120 iterations that go on from the set that calm-quick makes first.

    The experts train at ten times the released rate in larger batches, of less than 1 024 images where the data are few; students
    take 15 steps of 100 images, but no more than a third of an expert's epoch. Images are stored as calm-quick does; to go on
    from a run that is there (--start RUN) give its decoder.
    """
    images = LARGE * STEPS if real.training_images is None else real.training_images
    batch = min(LARGE, max(SMALL, images // STEPS))
    steps = min(15, max(1, images // batch // 3))  # at one rate a student of more would pass the expert
    method = MTT(
        steps=steps, expert_epochs=1, max_start=7, batch=100, rate=0.1, lr_rate=0.001, count=3, expert_rate=0.1,
        expert_batch=batch,
    )  # fmt: skip
    return Recipe(
        method=method, ipc=ipc, iterations=120, optimizer="adam", lr_images=0.01, decoder=coarser(real, ipc), start="calm-quick",
        augment=strategy(real), precision="auto", preset="mtt-quick",
    )  # fmt: skip
