"""The parts of the exam, each a function of the candidate that raises `AssertionError` with what came."""

import tempfile
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam.distillation.begin import distill, resume
from datadam.distillation.forecast import passes_of
from datadam.distillation.recipe import Recipe
from datadam.errors import DatadamError, InvalidInput
from datadam.testing.candidate import (
    Broken,
    Candidate,
    K,
    Still,
    begun,
    breaking,
    expect,
    expect_close,
    finished,
    images_of,
    noise,
    same,
    small_data,
    total,
    traces,
)

LEARNS: dict[str, Any] = {
    "iterations": 40, "net": "convnet2:width=8", "lr_images": 0.5, "augment": "none", "network_augment": "none",
}  # fmt: skip
HELD_OUT = range(999, 1004)  # seeds of networks and real images that no run has seen
FALLS = 0.1  # by what part of it the loss must fall on them


def describes_itself(candidate: Candidate) -> None:
    """Name, family, words; its card and its repr say all of it; an unknown setting and one that is no number are refused."""
    method = candidate.method
    kind, asked = type(method), candidate.recipe()
    for word in ("name", "family", "description"):
        expect(getattr(kind, word, ""), f"its class has no {word}")
    expect(kind.__doc__, "its class has no docstring")
    expect(not kind.citation or kind.citation.startswith("@"), "its citation is no BibTeX")
    expect(Recipe.from_card(asked.to_card()) == asked, "its card does not rebuild it")
    words = ", ".join(f"{f.name}={getattr(method, f.name)!r}" for f in fields(kind))
    expect(repr(method) == f"{kind.__qualname__}({words})", f"its repr does not rebuild it: {method!r}")
    try:
        asked.change({"no_such": 1})
        raise AssertionError("a setting that it does not have is taken")
    except DatadamError as error:
        expect("no_such" in str(error), f"a setting that it does not have is refused without its name: {error}")
    for setting in fields(kind):
        if setting.type in ("float", float, "int", int):
            try:
                asked.change({setting.name: float("nan")})
                raise AssertionError(f"{setting.name} may be NaN")
            except InvalidInput as error:
                expect(setting.name in str(error), f"{setting.name} of NaN is refused without its name: {error}")


def lowers_its_loss(candidate: Candidate) -> None:
    """On networks and real images that its run has not seen."""
    asked = candidate.recipe(**(LEARNS | candidate.settings))
    real = small_data()
    run = begun(real, asked)
    start = {name: values.clone() for name, values in run.state.tensors.items()}
    end = finished(run)
    held_out = [Still(asked.change({"seed": seed}), real, start["images"]) for seed in HELD_OUT]
    before, after = (sum(still.loss(**values) for still in held_out) for values in (start, end))
    expect(
        before - after > FALLS * abs(before),
        f"it is {after:.4g} at the end and {before:.4g} at the start; try another lr_images or start",
    )


def obeys_its_seed(candidate: Candidate) -> None:
    """The same seed gives the same images, another one others."""
    one, again, other = (finished(begun(small_data(), candidate.recipe().change({"seed": seed}))) for seed in (1, 1, 2))
    expect(same(one, again), "the same seed gives other images")
    expect(candidate.method.chooses or not same(one, other), "another seed gives the same images")


def chooses_real_images(candidate: Candidate) -> None:
    """Of the right class, and all different."""
    real = small_data()
    images = distill(real, candidate.recipe()).images.unflatten(0, (K, 2))
    for k, members in enumerate(real.by_class):
        equal = (images[k][:, None] == real.images(members)).flatten(2).all(2)
        expect(equal.any(1).all(), f"an image of class {k} is none of its real images")
        expect(equal.any(0).sum() == 2, f"two images of class {k} are the same")


def samples_images(candidate: Candidate) -> None:
    """As many as asked for, in true colours, and no two of a class alike."""
    made = distill(small_data(), candidate.recipe())
    back = made.transform.to_network(made.pixels())  # clamped to colours on the way
    expect(torch.isfinite(made.images).all(), "samples hold NaN or infinite numbers")
    expect_close(back, made.images, "samples lie outside of what colours can be", rtol=1e-4, atol=1e-4)
    pixels = made.images.unflatten(0, (K, 2))
    expect(not (pixels[:, 0] == pixels[:, 1]).flatten(1).all(1).any(), "two samples of a class are the same")


def parts_its_classes(candidate: Candidate) -> None:
    """A class alone gives the same images, as `separable` says."""
    real, asked = small_data(), candidate.recipe()
    whole = distill(real, asked).images.unflatten(0, (K, 2))
    for k in range(K):
        alone = distill(real.subset([k]), asked).images
        expect_close(alone, whole[k], f"class {k} alone gives other images than beside the rest", rtol=1e-6, atol=1e-7)


def has_the_right_gradient(candidate: Candidate) -> None:
    """Finite, not zero in any class, and that of the loss, by finite differences along a random direction of all it learns."""
    real = small_data()
    still = Still(candidate.recipe(), real, noise(real, 2))
    found = still.at("images", noise(real, 2))
    moved = still.gradient(noise(real, 2))
    expect((moved.unflatten(0, (K, 2)).flatten(1).norm(dim=1) > 0).all(), "a class has no gradient")
    for name, gradient in found.of.items():
        expect(torch.isfinite(gradient).all(), f"the gradient of the {name} is not finite")
        here = still.run.state.tensors[name].clone()
        way = torch.randn(here.shape, generator=torch.Generator().manual_seed(5), dtype=here.dtype)
        way, step = way / way.norm(), 1e-5
        rise = (total(still.at(name, here + step * way)) - total(still.at(name, here - step * way))) / (2 * step)
        still.at(name, here)
        told = float((gradient * way).sum())
        words = f"along the {name} the loss rises by {rise:.8g} and the gradient says {told:.8g}"
        expect(abs(rise - told) <= max(1e-4 * abs(told), 1e-8), words)


def heeds_no_order(candidate: Candidate) -> None:
    """Images of a class in another order get their gradients in that order; without augmentation where each has its own."""
    real, order = small_data(), torch.tensor([2, 0, 1, 3, 4, 5, 8, 7, 6])
    images, plain = noise(real, 3), {"augment": "none"} if candidate.method.augments_each else {}
    still = Still(candidate.recipe(ipc=3, **plain), real, images)
    straight = still.gradient(images)
    if "labels" in candidate.method.learns:  # each image keeps its own
        labels = still.run.state.tensors["labels"]
        labels.copy_(labels[order])
    shuffled = still.gradient(images[order])
    scale = float(straight.abs().max())
    expect_close(shuffled, straight[order], "another order within a class gives other gradients", rtol=1e-8, atol=1e-10 * scale)


def heeds_no_chunks(candidate: Candidate) -> None:
    """Passing few images at a time changes nothing."""
    real = small_data()
    images = noise(real, 2)
    whole, cut = (Still(candidate.recipe(), real, images, chunk).gradient(images) for chunk in (100, 2))
    expect_close(cut, whole, "two images at a time give another gradient", rtol=1e-8, atol=1e-10 * float(whole.abs().max()))


def is_zero_at_the_real_images(candidate: Candidate) -> None:
    """Real images against themselves, without augmentation."""
    real = small_data(per_class=4)
    images = torch.cat([real.images(members, dtype=torch.float64) for members in real.by_class])
    loss = Still(candidate.recipe(ipc=4, augment="none", batch_real=4), real, images).loss(images)
    expect(abs(loss) < 1e-10, f"the loss of the real images against themselves is {loss:.3g}")


def leaves_nothing_behind(candidate: Candidate) -> None:
    """No hooks, gradients or modes on the network, also after an error, and no use of the global generator."""
    for net in ("convnet2:width=6", "convnet2:norm=batch:width=6"):
        for fails in (False, True):
            run = begun(small_data(), candidate.recipe(iterations=3, net=net))
            run.draws.at(0).network()
            before, randomness = traces(run.draws.network), torch.get_rng_state()
            broken = breaking(run, candidate.augmentation, lambda iteration, k, *_: iteration > 0 and k > 0, Broken)
            with broken if fails else nullcontext(), suppress(Broken):
                finished(run)
            words = f"{' of a run that broke' if fails else ''} ({net})"
            expect(traces(run.draws.network) == before, f"hooks, gradients or a mode stay on the network{words}")
            expect(torch.equal(randomness, torch.get_rng_state()), f"the global random state has moved{words}")


def resumes(candidate: Candidate) -> None:
    """A run that was stopped and goes on in another process's stead ends with the same images, to the bit."""
    real, asked = small_data(), candidate.recipe(iterations=6)
    straight = finished(begun(real, asked))
    with tempfile.TemporaryDirectory() as folder:
        steps = begun(real, asked, out=Path(folder, "run")).steps()
        for _ in range(3):
            next(steps)
        steps.close()
        again = resume(Path(folder, "run"), real)
        expect(again.state.iteration == 3, f"stopped after 3 iterations, it goes on after {again.state.iteration}")
        expect(same(finished(again), straight), "a resumed run ends with other images")


def survives_interruptions(candidate: Candidate) -> None:
    """Ctrl-C inside an iteration, in the gradient or in the training of a network; what is kept is a whole iteration."""
    real, asked = small_data(), candidate.recipe(iterations=5)
    straight = finished(begun(real, asked))
    places = {candidate.augmentation: lambda i, k, *_: (i, k) == (3, 1), "training": lambda i, *_: i == 3}
    trains = bool(asked.on_the_way) or asked.method.trains_networks
    for verb, when in places.items():
        with tempfile.TemporaryDirectory() as folder:
            run = begun(real, asked, out=Path(folder, "run"))
            stopped = False
            with breaking(run, verb, when, KeyboardInterrupt):
                try:
                    finished(run)
                except KeyboardInterrupt:
                    stopped = True
            expect(stopped or (verb == "training" and not trains), f"it has not drawn its {verb} of iteration 3")
            again = resume(Path(folder, "run"), real)
            expect(same(finished(again), straight), f"interrupted in its {verb}, it ends with other images")


def goes_on_after_an_error(candidate: Candidate) -> None:
    """The same run, in the same process, as if nothing had happened."""
    real, asked = small_data(), candidate.recipe(iterations=5)
    straight = finished(begun(real, asked))
    run = begun(real, asked)
    with breaking(run, candidate.augmentation, lambda i, k, *_: (i, k) == (3, 1), Broken), suppress(Broken):
        finished(run)
    expect(same(finished(run), straight), "after an error it ends with other images")


def costs_what_it_says(candidate: Candidate) -> None:
    """Counted operations of an iteration are within a third of those that `cost` foretells."""
    real = small_data(per_class=128)
    more = {"net": "convnet3:width=24", "augment": "none", "network_epochs": 0, "network_steps": 0}
    for batch_real, ipc in ((12, 1), (2, 6)):
        asked = candidate.recipe(ipc, batch_real=batch_real, **more)
        run = begun(real, asked)
        with torch.no_grad(), FlopCounterMode(display=False) as one:
            run.draws.at(0).network().features(images_of(run)[:1])
        steps = run.steps()
        next(steps)  # which also measures the norms of the terms
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _Anywhere()  # type: ignore[assignment]  # torch's own breaks at a derivative by forward mode
        with counter:
            next(steps)
        steps.close()
        told, counted = passes_of(asked, [batch_real] * K), counter.get_total_flops() / one.get_total_flops()
        expect(abs(counted - told) <= told / 3, f"an iteration takes {counted:.4g} forward passes, and its cost says {told:.4g}")


class _Anywhere:
    """Counts all operations together, in whatever module they are."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


def computes_alike_on_cuda(candidate: Candidate) -> None:
    """Begun on a GPU, resumed there: the same images but for rounding."""
    real, asked = small_data(), candidate.recipe(iterations=3)
    here = distill(real, asked).images
    with tempfile.TemporaryDirectory() as folder:
        steps = begun(real, asked, device="cuda", out=Path(folder, "run")).steps()
        next(steps)
        steps.close()
        run = resume(Path(folder, "run"), real)
        finished(run)
        expect_close(run.result().images, here, "a GPU gives other images", rtol=1e-4, atol=1e-5)
