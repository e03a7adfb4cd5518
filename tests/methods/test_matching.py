"""The engine against a plain writing of the paper, and its invariances: chunks, groups, shards, order, batch norm."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from learned import set_of
from small import make_real

import datadam
from datadam import nets
from datadam.data.resident import keep
from datadam.distillation.recipe import Recipe
from datadam.distillation.start import first_images
from datadam.machine import even_chunk
from datadam.methods import DM, DataDAM, FeatureMatching, matching
from datadam.methods.draw import Draws
from datadam.methods.gradient import Gradient
from datadam.methods.matching import Engine
from datadam.methods.plan import Plan
from datadam.sets.decoders import decoder_named
from datadam.sets.synthetic import SyntheticSet

CHUNKS = (1, 3, 7, 10_000)


def prepare(
    real, net: str = "convnet3:width=6", ipc: int = 2, seed: int = 0, augment: str = "color_crop_cutout_flip_scale_rotate"
):
    network = nets.build(net, shape=real.shape, classes=len(real.classes)).double()
    draws = Draws(real, network, seed, batch_real=5, augment=augment, dtype=torch.float64)
    images = first_images(real, ipc, "noise", seed).double()
    return draws.at(3), set_of(images, ipc, real.classes)


def run(method: FeatureMatching, real, chunk: int = 10_000, **options) -> Gradient:
    draw, synthetic = prepare(real, **options)
    return Engine(method, Plan(compiled=False, chunk=chunk, threads=1)).gradient(synthetic, draw, norms=True)


def plain(method: DataDAM, draw, synthetic: SyntheticSet) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The paper in the plainest words: every class, every layer, autograd through all of it."""
    net, images = draw.network(), synthetic.stored.clone().requires_grad_()
    sam = mmd = torch.zeros((), dtype=torch.float64)
    for k in range(len(synthetic.classes)):
        aug = draw.augmentation(k) or (lambda x: x)
        real, syn = (
            net.features(aug(draw.real(k))),
            net.features(aug(images[k * synthetic.counts[0] : (k + 1) * synthetic.counts[0]])),
        )
        for f, g in list(zip(real.blocks, syn.blocks, strict=True))[:-1]:
            a, b = ((x.abs() ** method.power).sum(1).flatten(1) for x in (f, g))
            a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
            sam = sam + ((a.mean(0) - b.mean(0)) ** 2).sum()
        mmd = mmd + ((real.embedding.mean(0) - syn.embedding.mean(0)) ** 2).sum()
    loss = method.scale * (sam + method.task_balance * mmd)
    (gradient,) = torch.autograd.grad(loss, images)
    return sam.detach(), mmd.detach(), gradient


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_equals_the_paper_in_plain_words(real, power: float) -> None:
    method = DataDAM(power=power, task_balance=0.3, scale=7.0)
    draw, synthetic = prepare(real)
    sam, mmd, gradient = plain(method, draw, synthetic)
    found = run(method, real)
    torch.testing.assert_close(found.terms["sam"].sum(), 7 * sam, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.terms["mmd"].sum(), 7 * 0.3 * mmd, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.images, gradient, rtol=1e-9, atol=1e-12)
    assert float(gradient.norm()) > 1e-6


def test_gradient_against_finite_differences(real) -> None:
    method, epsilon = DataDAM(), 1e-6
    draw, synthetic = prepare(real, augment="color")
    engine = Engine(method, Plan(compiled=False, chunk=100, threads=1))
    gradient = engine.gradient(synthetic, draw, norms=False).images
    for index in [(0, 0, 0, 0), (2, 1, 3, 4), (5, 2, 7, 7)]:
        losses = []
        for sign in (1, -1):
            moved = synthetic.stored.clone()
            moved[index] += sign * epsilon
            terms = engine.gradient(set_of(moved, synthetic.counts[0], synthetic.classes), draw, norms=False).terms
            losses.append(float(sum(term.sum() for term in terms.values())))
        assert (losses[0] - losses[1]) / (2 * epsilon) == pytest.approx(float(gradient[index]), rel=1e-4, abs=1e-7)


def test_norms_are_those_of_each_term_alone(real) -> None:
    both = run(DataDAM(task_balance=0.3), real)
    sam = run(DataDAM(task_balance=0.0), real)
    mmd = run(DataDAM(task_balance=0.3, layers=()), real)
    assert both.norms == pytest.approx({"sam": float(sam.images.norm()), "mmd": float(mmd.images.norm())}, rel=1e-9)
    torch.testing.assert_close(both.images, sam.images + mmd.images, rtol=1e-9, atol=1e-12)


def test_dm_is_datadam_without_sam(real) -> None:
    dm, bare = run(DM(), real), run(DataDAM(layers=(), task_balance=1.0, scale=1.0), real)
    assert torch.equal(dm.images, bare.images)
    assert torch.equal(dm.terms["mmd"], bare.terms["mmd"])


@pytest.mark.parametrize("chunk", CHUNKS)
def test_chunks_and_groups_change_nothing(real, chunk: int) -> None:
    whole, cut = run(DataDAM(), real), run(DataDAM(), real, chunk=chunk)
    torch.testing.assert_close(cut.images, whole.images, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("classes", [[0], [1], [2], [0, 2], [2, 1]])
def test_a_shard_gives_the_same_numbers_as_the_whole(real, classes: list[int]) -> None:
    whole, shard = run(DataDAM(), real), run(DataDAM(), real.subset(classes))
    expected = whole.images.unflatten(0, (3, 2))[classes].flatten(0, 1)
    torch.testing.assert_close(shard.images, expected, rtol=1e-10, atol=1e-14)


def test_order_within_a_class_does_not_matter(real) -> None:
    draw, synthetic = prepare(real, ipc=3)
    engine = Engine(DataDAM(), Plan(compiled=False, chunk=100, threads=1))
    order = torch.tensor([2, 0, 1, 3, 4, 5, 8, 7, 6])
    straight = engine.gradient(synthetic, draw, norms=False)
    shuffled = engine.gradient(set_of(synthetic.stored[order], 3, synthetic.classes), draw, norms=False)
    torch.testing.assert_close(shuffled.images, straight.images[order], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", [DM(), DataDAM(), DataDAM(error="mae"), DataDAM(error="cosine"), DataDAM(maps="features")])
def test_real_equal_to_synthetic_gives_zero(method: FeatureMatching) -> None:
    real = make_real(per_class=4)
    draw, _ = prepare(real, augment="none")
    images = torch.cat([draw.real(k) for k in range(3)])  # all four of each class: the batch asked for is five
    found = Engine(method, Plan(compiled=False, chunk=5, threads=1)).gradient(set_of(images, 4, real.classes), draw, norms=False)
    for term in found.terms.values():
        torch.testing.assert_close(term, torch.zeros_like(term), rtol=0, atol=1e-10)


def test_classes_of_unequal_size_and_smaller_than_the_batch() -> None:
    real = make_real(per_class=(2, 12, 7))
    draw, synthetic = prepare(real, ipc=1)
    assert [draw.real_count(k) for k in range(3)] == [2, 5, 5]
    _, _, gradient = plain(DataDAM(scale=1.0), draw, synthetic)
    torch.testing.assert_close(run(DataDAM(scale=1.0), real, ipc=1).images, gradient, rtol=1e-9, atol=1e-12)


def test_batch_norm_mixes_all_classes_and_keeps_the_sides_apart(real) -> None:
    """Statistics over all real images of the iteration, and over all synthetic ones, in one forward each."""
    method, net = DataDAM(power=1.0), "convnet2:norm=batch:width=6"
    draw, synthetic = prepare(real, net=net)
    network, images = draw.network(), synthetic.stored.clone().requires_grad_()
    assert network.couples_images
    augmented = [draw.augmentation(k) or (lambda x: x) for k in range(3)]
    both = [torch.cat([a(draw.real(k)) for k, a in enumerate(augmented)]),
            torch.cat([a(images[2 * k : 2 * k + 2]) for k, a in enumerate(augmented)])]  # fmt: skip
    real_means, synthetic_means = (
        [d.unflatten(0, (3, -1)).mean(1) for d in method.descriptors(network.features(side))] for side in both
    )
    loss = torch.stack(list(method.terms(real_means, synthetic_means).values())).sum()
    (expected,) = torch.autograd.grad(loss, images)
    for chunk in CHUNKS:
        torch.testing.assert_close(run(method, real, chunk=chunk, net=net).images, expected, rtol=1e-9, atol=1e-12)


def test_draws_are_named_not_timed(real) -> None:
    first, _ = prepare(real)
    later, _ = prepare(real)
    later.augmentation(2), later.real(1), later.network()
    assert torch.equal(first.real(0), later.real(0))
    weights = [p.clone() for p in first.network().parameters()]
    assert all(torch.equal(p, q) for p, q in zip(weights, later.network().parameters(), strict=True))
    other = first.source.at(4)
    assert not torch.equal(next(iter(other.network().parameters())), weights[0])
    assert not torch.equal(other.real(0), first.real(0))


def test_networks_are_shared_when_asked(real) -> None:
    network = nets.build("convnet1:width=4", shape=real.shape, classes=3)
    draws = Draws(real, network, 0, 5, iterations_per_network=3)
    firsts = [next(iter(draws.at(i).network().parameters())).clone() for i in range(6)]
    assert all(torch.equal(firsts[0], firsts[i]) for i in (1, 2))
    assert all(torch.equal(firsts[3], firsts[i]) for i in (4, 5))
    assert not torch.equal(firsts[0], firsts[3])
    assert [draws.at(i).starts_network for i in range(6)] == [True, False, False, True, False, False]


@pytest.mark.parametrize("net", ["convnet3:width=6", "convnet2:norm=batch:width=6"])
def test_iterations_that_share_the_real_side_compute_it_once(real, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, synthetic = prepare(real, net=net)
    draws = dataclasses.replace(draw.source, real_every=3)
    sides: list[int] = []

    class Counted(Engine):
        def _real_means(self, draw, *given):
            sides.append(draw.iteration)
            return super()._real_means(draw, *given)

    method, plan = DataDAM(), Plan(compiled=False, chunk=7, threads=1)
    shared = Counted(method, plan)
    for iteration in range(7):
        moved = set_of(synthetic.stored + 0.1 * iteration, synthetic.counts[0], real.classes)
        found = shared.gradient(moved, draws.at(iteration), norms=False)
        alone = Engine(method, plan).gradient(moved, draw.source.at(iteration // 3 * 3), norms=False)
        assert torch.equal(found.images, alone.images)
    groups = len(sides) // 3
    assert sides == [0] * groups + [3] * groups + [6] * groups


@pytest.mark.parametrize("decoder", ["plain", "grid:2", "dct:3"])
@pytest.mark.parametrize("net", ["convnet2:width=6", "convnet2:norm=batch:width=6"])
def test_an_iteration_looks_at_so_many_synthetic_images_and_moves_no_others(real, net: str, decoder: str) -> None:
    draw, _ = prepare(real, net=net, augment="none")
    draws, decode = dataclasses.replace(draw.source, batch_synthetic=4), decoder_named(decoder)
    stored = first_images(real, 6, "noise", 0).double()
    synthetic = SyntheticSet({"images": stored}, tuple(real.classes), (6,) * 3, decode)
    engine = Engine(DM(), Plan(compiled=False, chunk=100, threads=1))
    found = engine.gradient(synthetic, draws.at(5), norms=False)

    leaf, network, chosen = stored.clone().requires_grad_(), draws.at(5).network(), []
    for k, images in enumerate(decode(leaf).split(6 * decode.each)):
        part = draws.at(5).synthetic(k, len(images))
        assert len(set(part.tolist())) == 4 == len(part)
        chosen.append(images[part])
    together = [torch.cat(chosen), torch.cat([draws.at(5).real(k) for k in range(3)])]
    ours, theirs = (network.features(images).embedding.unflatten(0, (3, -1)).mean(1) for images in together)
    (ours - theirs).square().sum().backward()
    assert torch.allclose(found.images, leaf.grad, rtol=1e-10, atol=1e-14)
    if decoder == "plain":
        assert (found.images.flatten(1).abs().sum(1) > 0).sum() == 3 * 4


def test_a_batch_of_all_synthetic_images_is_all_of_them(real) -> None:
    draw, synthetic = prepare(real)
    for asked in (2, 50):
        engine = Engine(DataDAM(), Plan(compiled=False, chunk=100, threads=1))
        some = engine.gradient(synthetic, dataclasses.replace(draw.source, batch_synthetic=asked).at(3), norms=False)
        assert torch.equal(some.images, engine.gradient(synthetic, draw, norms=False).images)


def test_iterations_that_share_the_real_side_look_at_other_synthetic_images(real) -> None:
    draw, _ = prepare(real)
    draws = dataclasses.replace(draw.source, real_every=3, batch_synthetic=2)
    drawn = [draws.at(iteration) for iteration in range(6)]
    assert [torch.equal(d.real(0), drawn[0].real(0)) for d in drawn] == [True] * 3 + [False] * 3
    assert len({tuple(d.synthetic(0, 50).tolist()) for d in drawn}) == 6


def test_synthetic_images_are_drawn_evenly(real) -> None:
    draw, _ = prepare(real)
    draws = dataclasses.replace(draw.source, batch_synthetic=5)
    seen = torch.zeros(20)
    for iteration in range(240):
        drawn = draws.at(iteration).synthetic(0, 20)
        assert drawn.unique().tolist() == drawn.tolist()
        seen[drawn] += 1
    assert float(seen.min()) > 25  # 60 expected each, standard deviation 6.7
    assert float(seen.max()) < 95


def test_real_images_are_drawn_without_replacement_and_evenly(real) -> None:
    draw, _ = prepare(real)
    members = real.images(real.by_class[1], dtype=torch.float64)
    seen = torch.zeros(len(members))
    for i in range(240):
        equal = (draw.source.at(i).real(1)[:, None] == members).flatten(2).all(2)
        assert equal.sum() == 5
        assert equal.any(0).sum() == 5
        seen += equal.any(0)
    assert float(seen.min()) > 60  # 100 expected each, standard deviation 7.6
    assert float(seen.max()) < 140


def test_bfloat16_on_the_real_side_stays_close(real) -> None:
    draw, synthetic = prepare(real, net="convnet3:width=16")
    draw.source.network.float()
    draw.source.dtype, draw.source.drawn = torch.float32, -1
    single = set_of(synthetic.stored.float(), synthetic.counts[0], synthetic.classes)
    plan = Plan(compiled=False, chunk=100, threads=1)
    exact, rough = (
        Engine(DataDAM(), plan, precision).gradient(single, draw, norms=False) for precision in ("float32", "bfloat16")
    )
    assert rough.images.dtype == torch.float32
    assert float(torch.cosine_similarity(exact.images.flatten(), rough.images.flatten(), dim=0)) > 0.99


def test_the_recipe_reaches_the_engine(recipe: Callable[..., Recipe]) -> None:
    assert recipe(power=1).method == DataDAM(power=1.0)
    assert recipe("dm").method == DM()


def test_bfloat16_descriptors_are_summed_in_full_precision(real) -> None:
    draw, _ = prepare(real, net="convnet2:width=8")
    draw.source.network.float()
    draw.source.dtype, draw.source.drawn = torch.float32, -1
    from datadam.methods.matching import descriptor_sums

    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        sums = descriptor_sums(DM(), draw.network(), draw.real(0), (5,))
    assert all(s.dtype == torch.float32 for s in sums)


def test_a_large_class_streams_in_chunks(real) -> None:
    draw, _ = prepare(real)
    chunks = list(draw.real_chunks(1, 2))
    assert [len(c) for c in chunks] == [2, 2, 1]
    assert torch.equal(torch.cat(chunks), draw.real(1))


@pytest.mark.parametrize("images", range(1, 41))
def test_even_chunks_against_all_divisors(images: int) -> None:
    for most in range(1, 50):
        size = even_chunk(images, most)
        even = [d for d in range(1, most + 1) if images % d == 0 and d > most // 2]
        assert size == (max(even) if even else most)
        parts = torch.arange(images).split(size)
        assert len(parts) <= 2 * -(-images // most)  # never many more than needed
        assert max(map(len, parts)) <= most


@pytest.mark.parametrize(("classes", "ipc", "chunk"), list(itertools.product((1, 5, 7), (1, 4), (1, 3, 4, 6, 8, 12, 100))))
def test_groups_are_even_few_and_fit_the_chunk(classes: int, ipc: int, chunk: int) -> None:
    real = make_real(classes=classes, per_class=3, shape=(3, 4, 4))  # three images of a class, though five are asked for
    draw, synthetic = prepare(real, net="convnet1:width=2", ipc=ipc)
    groups = list(Engine(DM(), Plan(False, chunk, 1))._groups(synthetic, draw, draw.network()))
    assert [k for first, last in groups for k in range(first, last)] == list(range(classes))
    sizes, of_class = [last - first for first, last in groups], max(3, ipc)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) * of_class <= chunk or max(sizes) == 1
    assert len(groups) == math.ceil(classes / max(1, chunk // of_class))


@pytest.mark.parametrize("chunk", range(1, 14))
def test_groups_of_unequal_classes_fit_the_chunk(chunk: int) -> None:
    real = make_real(classes=6, per_class=(1, 5, 2, 2, 1, 4), shape=(3, 4, 4))
    draw, synthetic = prepare(real, net="convnet1:width=2", ipc=1)
    groups = list(Engine(DM(), Plan(False, chunk, 1))._groups(synthetic, draw, draw.network()))
    assert [k for first, last in groups for k in range(first, last)] == list(range(6))
    images = [sum(draw.real_count(k) for k in range(first, last)) for first, last in groups]
    assert all(count <= chunk or last - first == 1 for count, (first, last) in zip(images, groups, strict=True))
    following = [draw.real_count(last) for _, last in groups[:-1]]
    assert all(count + more > chunk for count, more in zip(images, following, strict=False))  # none could take one class more


def test_coupled_images_make_one_group(real) -> None:
    draw, synthetic = prepare(real, net="convnet1:norm=batch:width=2")
    assert list(Engine(DM(), Plan(False, 1, 1))._groups(synthetic, draw, draw.network())) == [(0, 3)]


@pytest.mark.parametrize("together", [1, 5, 100])
@pytest.mark.parametrize("chunk", range(1, 13))
def test_streamed_means_are_those_of_the_whole_batch(monkeypatch, chunk: int, together: int) -> None:
    """Chunks of any size, cut evenly or not, out of images drawn a few at a time or at once."""
    monkeypatch.setattr(matching, "drawn_at_once", lambda shape: together)
    real = make_real(per_class=11)
    network = nets.build("convnet2:width=4", shape=real.shape, classes=3).double()
    draw = Draws(real, network, 0, 11, "color_crop_cutout_flip_scale_rotate", dtype=torch.float64).at(2)
    method, augmentation = DataDAM(), draw.augmentation(1)
    assert augmentation is not None
    means = Engine(method, Plan(False, chunk, 1))._real_means(draw, draw.network(), 1, 2, [augmentation])
    whole = method.descriptors(draw.network().features(augmentation(draw.real(1))))
    for mean, descriptor in zip(means, whole, strict=True):
        torch.testing.assert_close(mean[0], descriptor.mean(0), rtol=1e-12, atol=1e-14)


def test_kept_images_are_drawn_as_those_read(real) -> None:
    read, _ = prepare(real)
    kept = dataclasses.replace(read.source, kept=keep(real, "uint8", torch.device("cpu"))).at(read.iteration)
    for k in range(3):
        assert torch.equal(kept.real(k), read.real(k))
        assert torch.equal(kept.sample(k, 4, "first"), read.sample(k, 4, "first"))
        for one, other in zip(kept.real_chunks(k, 2), read.real_chunks(k, 2), strict=True):
            assert torch.equal(one, other)


@pytest.mark.slow
def test_compiled_code_gives_what_plain_code_does(real, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Compiled, channels last, in float32, by chunks that do not cut a batch evenly: the images and the norms of each term."""
    images, lines = [], []
    for name, plan, precision in (("plain", Plan(False, 10_000, 1), "float64"), ("fast", Plan(True, 4, 1), "float32")):
        asked = recipe(precision=precision, iterations=3, task_balance=0.3)
        images.append(datadam.distill(real, asked, plan=plan, out=tmp_path / name).images.double())
        lines.append([json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()])
    torch.testing.assert_close(images[1], images[0], rtol=1e-3, atol=1e-3)
    assert [line["iteration"] for line in lines[0]] == [1, 3]
    for plain, fast in zip(*lines, strict=True):
        for term in ("sam", "mmd"):
            assert fast["terms"][term] == pytest.approx(plain["terms"][term], rel=1e-3)
