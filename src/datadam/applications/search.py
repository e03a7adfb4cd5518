"""Architecture search by a proxy: does a small set rank networks as the whole set does?

Every network of a space is trained on each proxy, and on the whole training set for the truth. A proxy ranks by the accuracy of
its networks on images that are held out of the training part; the truth is accuracy on the test part, which chooses nothing.
Beside sets there are two proxies of words: "random", random real images, as many as the first set has, and "early", the whole set
with the steps of the first proxy. Source: DataDAM (ICCV 2023), Section 4.5 and Figures 14 and 15; Zhao et al., ICLR 2021.

Letters: K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam import machine, nets
from datadam.applications.spaces import space_of, table_of
from datadam.applications.trainings import Course, NetworkTrainer, Trained, train_all
from datadam.arithmetic import ASKED, settled
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.data.real import Raw, Split, hold_out, require_members
from datadam.distillation.begin import distill
from datadam.distillation.forecast import MAP_WORK, PROBED, passes_a_second
from datadam.distillation.presets import preset
from datadam.errors import ArtifactError, InvalidInput, UnknownName, noting
from datadam.evaluation.evaluate import require_fit, source_of
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import spearman
from datadam.rng import stream
from datadam.sets.distilled import DistilledSet
from datadam.settings import refuse
from datadam.training.needs import PASSES

FORMAT = "datadam-search/1"
HELD_OUT, TEST = "held out", "test"
RANDOM, EARLY, WHOLE = "random", "early", "whole"
MEASURED = 5000  # images held out that networks are ranked by, at most
TOP = 0.2  # the best networks, of which rank correlation is told by itself
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a search is asked for.

    Arguments: `proxies`, run folders and the words "random" and "early"; `space` and `count`, as `space_of`; `ipc`, images per
    class of "random" (None: those of the first set); `epochs` of each network on a proxy, by `protocol` and `augment`, and
    `whole_epochs` on the whole set; `whole_images` of the training part that stand for it (None: all that are not held out);
    `students` of each network, which is ranked by their mean; `truth`, a table of NAS-Bench-201 instead of trainings on the whole
    set, or FILE@COLUMN; `seed`; `precision`, as for students, or "auto": bfloat16 where it is faster.
    """

    proxies: tuple[str, ...]
    space: str
    count: int | None = None
    ipc: int | None = None
    epochs: int = 200
    whole_epochs: int = 100
    whole_images: int | None = None
    students: int = 1
    truth: str | None = None
    protocol: str = "honest"
    augment: str | None = None
    seed: int = 0
    precision: str = "auto"


@dataclass(frozen=True)
class Plan:
    """A search that can be made: `networks`; `courses`, the proxies first and the whole set last, unless `table` has the truth of
    each network; what trains them; processes; about how many `seconds` it takes, and how many trainings are there already."""

    asked: Asked
    networks: tuple[str, ...]
    courses: tuple[Course, ...]
    table: dict[str, float] | None
    trainer: NetworkTrainer
    workers: int
    seconds: float
    kept: int

    @property
    def trainings(self) -> int:
        """How many networks are trained in all."""
        return len(self.networks) * len(self.courses) * self.asked.students


def plan(real: RealData, asked: Asked, *, device: str = "cpu", workers: int | None = None) -> Plan:
    """What a search comes to, before any work. Raises `InvalidInput` with every fault at once."""
    faults: list[str] = []
    for name in ("epochs", "whole_epochs", "students", "whole_images", "ipc"):
        if (value := getattr(asked, name)) is not None and value < 1:
            faults.append(f"{name} is {value}; it must be at least 1")
    if workers is not None and workers < 1:
        faults.append(f"workers is {workers}; it must be at least 1")
    if asked.precision not in ASKED:
        faults.append(f"precision is {asked.precision!r}; allowed: {', '.join(ASKED)}")
    if not len(real.test):
        faults.append("the data have no test part to find the truth on; load them with one (test)")
    networks: list[str] = []
    table: dict[str, float] | None = None
    rule: Protocol | None = None
    with noting(faults):
        networks = space_of(asked.space, real, asked.count, asked.seed)
        if asked.truth is not None:
            path, _, column = asked.truth.partition("@")
            table = table_of(Path(path), networks, real.name, column or None)
    with noting(faults):
        rule = protocol_named(asked.protocol, augment=asked.augment).with_epochs(asked.epochs)
        rule.require_usual("a search")
    sets = _sets(asked.proxies, real, faults)
    if RANDOM in asked.proxies and not sets and asked.ipc is None:
        faults.append("how many random images per class is not said; give --ipc, or a run that they are held against")
    refuse(faults)
    assert rule is not None
    if rule.training.augment == "dsa":
        rule = rule.with_augment(strategy_for(real.name, flips=real.flips))
    courses, parts = _courses(real, asked, rule, sets, table is None)
    precision = settled(asked.precision, device)
    threads = torch.get_num_threads()
    workers = min(workers or threads, len(networks))
    trainer = NetworkTrainer(
        courses, parts, len(real.classes), asked.students, asked.seed, device, precision, max(1, threads // workers)
    )
    kept = trainer.kept(networks)
    seconds = _foreseen(real, networks, trainer, kept, device) / workers
    return Plan(asked, tuple(networks), courses, table, trainer, workers, seconds, len(kept))


def _sets(proxies: Sequence[str], real: RealData, faults: list[str]) -> dict[str, DistilledSet]:
    """The sets among the proxies, by their words; what is wrong is noted."""
    found: dict[str, DistilledSet] = {}
    if not proxies:
        faults.append("no proxy came; give run folders, random or early, with a comma between two of them")
    for proxy in proxies:
        with noting(faults):
            if proxies.count(proxy) > 1:
                raise InvalidInput(f"the proxy {proxy} is given twice; give it once")
            if proxy in (RANDOM, EARLY):
                continue
            if not Path(proxy).is_dir():
                raise UnknownName("proxy", proxy, [RANDOM, EARLY], "Or give the folder of a run.")
            try:
                distilled = DistilledSet.load(Path(proxy))
                require_fit(distilled, real)
            except ArtifactError:
                raise
            except InvalidInput as error:
                raise InvalidInput(*(f"{proxy}: {fault}" for fault in error.faults)) from error
            found[proxy] = distilled
    if EARLY in proxies and all(proxy == EARLY for proxy in proxies):
        faults.append("early has the steps of the first other proxy, and there is none; give a run or random beside it")
    return found


def _courses(
    real: RealData, asked: Asked, rule: Protocol, sets: dict[str, DistilledSet], trains_truth: bool
) -> tuple[tuple[Course, ...], dict[str, Split]]:
    """What networks learn, and the parts that they are tested on."""
    train, held, _ = hold_out(Raw(real.classes, real.train, None))
    held, whole = (_some(part, count, name, asked.seed) for part, count, name in (
        (held, MEASURED, HELD_OUT), (train, asked.whole_images, WHOLE)
    ))  # fmt: skip
    courses: list[Course] = []
    first = next(iter(sets.values()), None)
    for proxy in asked.proxies:
        if proxy == EARLY:
            continue
        distilled = sets[proxy] if proxy in sets else _random(replace(real, train=train), asked, first)
        source = source_of(0, distilled)
        name = RANDOM if proxy == RANDOM else _name(Path(proxy))
        images = distilled.training_images.numpy()
        courses.append(Course(name, source.labels, distilled.transform, rule.training, (HELD_OUT,), images=images))
    full = rule.whole_set().with_epochs(asked.whole_epochs).training
    if EARLY in asked.proxies:
        early = replace(full, epochs=-(-courses[0].steps // -(-len(whole) // full.batch)), drop_after=None)
        early = replace(early, drop_after=early.epochs)  # the rate of the first half, to the end
        course = Course(EARLY, whole.labels, real.transform, early, (HELD_OUT,), pixels=whole.pixels, stop=courses[0].steps)
        courses.insert(asked.proxies.index(EARLY), course)
    if trains_truth:
        courses.append(Course(WHOLE, whole.labels, real.transform, full, (HELD_OUT, TEST), pixels=whole.pixels))
    return tuple(courses), {HELD_OUT: held, TEST: real.test}


def _name(run: Path) -> str:
    """What a run is called: its folder, or that of all repeats where it is one of them (METHOD-ipcN/0)."""
    run = run.resolve()
    return run.parent.name if run.name.isdecimal() else run.name


def _some(part: Split, count: int | None, name: str, seed: int) -> Split:
    """So many images of a part, drawn by a stream of their own (None, or no fewer: all)."""
    if count is None or count >= len(part):
        return part
    order = torch.randperm(len(part), generator=stream(seed, "search", name))[:count]
    return part.take(order.sort().values.numpy())


def _random(real: RealData, asked: Asked, first: DistilledSet | None) -> DistilledSet:
    """Random real images: as many as the first set stores, by its decoder and in its space."""
    ipc = asked.ipc or (first.ipc if first else 1)
    recipe = preset(RANDOM, real, ipc=ipc).change({"seed": asked.seed, "decoder": first.decoder.word if first else "plain"})
    require_members(real, ipc, recipe.each)
    return distill(replace(real, transform=first.transform) if first else real, recipe, progress=False)


def _foreseen(
    real: RealData, networks: Sequence[str], trainer: NetworkTrainer, kept: set[tuple[str, int, int]], device: str
) -> float:
    """About how many seconds all that is not kept takes one process, by the arithmetic of each network and one measurement."""
    work: dict[str, float] = {}
    image = torch.zeros(1, *real.shape, device="meta")
    for net in networks:
        network = nets.on_paper(net, shape=real.shape, classes=len(real.classes)).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            blocks = network.features(image).blocks
        work[net] = counter.get_total_flops() + MAP_WORK * sum(block.numel() for block in blocks)
    usual = min(networks, key=lambda net: abs(work[net] - median(work.values())))
    passes = sum(
        work[net] * (PASSES * course.seen + sum(len(trainer.parts[part]) for part in course.tests))
        for net in networks
        for number, course in enumerate(trainer.courses)
        for student in range(trainer.students)
        if (net, number, student) not in kept
    )
    return passes / work[usual] / passes_a_second(usual, real.shape, PROBED, device, 4) if passes else 0.0


def search(plan: Plan, real: RealData, progress: Callable[[str, float, float], Any] | None = None) -> Json:
    """Make a search, and say what it found; `progress(words, done, total)` on the way, in images seen.

    What is interrupted goes on when it is called again, with what the cache holds.
    """
    courses, networks = plan.courses, plan.networks
    total = float(len(networks) * plan.asked.students * sum(course.seen for course in courses))
    seen: dict[tuple[int, int, int], float] = {}
    done = 0.0

    def told(network: int, where: tuple[int, int, int]) -> None:
        nonlocal done
        course, student, steps = where
        now = courses[course].seen * steps / courses[course].steps
        done += now - seen.get((network, course, student), 0.0)
        seen[network, course, student] = now
        if progress:
            progress(f"{networks[network]} on {courses[course].name}", min(done, total), total)

    made = train_all(plan.trainer, networks, plan.workers, told)
    return _found(plan, real, made)


def _found(plan: Plan, real: RealData, made: list[list[list[Trained]]]) -> Json:
    """Accuracies, correlations, choices and costs."""
    courses, networks = plan.courses, plan.networks
    truth = [plan.table[net] for net in networks] if plan.table else _means(made, len(courses) - 1, TEST)
    ranked = truth if plan.table else _means(made, len(courses) - 1, HELD_OUT)  # which is not the test part, where that is known
    best = sorted(range(len(networks)), key=lambda i: -ranked[i])[: max(1, round(TOP * len(networks)))]
    proxies = []
    for number, course in enumerate(courses):
        scores = _means(made, number, HELD_OUT)
        chosen = max(range(len(networks)), key=scores.__getitem__)
        trained = [one for of_network in made for one in of_network[number]]
        pairs = {"all": range(len(networks)), "top": best}
        told = {name: spearman([scores[i] for i in of], [truth[i] for i in of]) for name, of in pairs.items()}
        proxies.append(
            {
                "name": course.name, "images": len(course.labels), "steps": course.steps, "epochs": course.training.epochs,
                "seen": course.seen, "accuracies": scores, "seconds": sum(one.seconds for one in trained),
                **{f"correlation_{name}": rate.to_json() if rate else None for name, rate in told.items()},
                "chosen": networks[chosen], "chosen_accuracy": truth[chosen],
                "students": [[one.accuracy(HELD_OUT) for one in of_network[number]] for of_network in made],
            }
        )  # fmt: skip
    asked = plan.asked
    return {
        "format": FORMAT, "data": {"name": real.name, "checksum": real.checksum, "shape": list(real.shape)},
        "space": asked.space, "networks": list(networks), "truth": truth, "truth_from": asked.truth or "trained",
        "best": networks[truth.index(max(truth))], "top": sorted(best), "proxies": proxies,
        "held_out": len(plan.trainer.parts[HELD_OUT]), "test": len(real.test), "students": asked.students, "seed": asked.seed,
        "protocol": {"name": asked.protocol, "augment": courses[0].training.augment, "epochs": asked.epochs,
                     "whole_epochs": asked.whole_epochs, "whole_images": asked.whole_images},
        "precision": plan.trainer.precision, "workers": plan.workers, "threads": plan.trainer.threads,
        "hardware": machine.hardware(torch.device(plan.trainer.device)), "versions": machine.versions(),
        "commit": machine.commit(), "created": machine.now(),
    }  # fmt: skip


def _means(made: list[list[list[Trained]]], course: int, part: str) -> list[float]:
    """The mean accuracy of each network's students on a part."""
    return [sum(one.accuracy(part) for one in of_network[course]) / len(of_network[course]) for of_network in made]
