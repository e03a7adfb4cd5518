"""Generators: their losses in closed form, samples of the class asked for, and a training that is kept, resumed and told.

Letters: B images of a batch, N rows, D numbers of a row.
"""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import datadam
from datadam.errors import InvalidInput, RunFailed
from datadam.files.kept import cache_folder
from datadam.methods import CGAN, DCVAE, GMMN, BigGAN, Generator
from datadam.methods.generators.biggan import augmented, follow, hinge
from datadam.methods.generators.cgan import loss_of_critic, loss_of_generator
from datadam.methods.generators.cost import counted
from datadam.methods.generators.dcvae import TEMPERATURE, contrast, divergence, dual_hinge
from datadam.methods.generators.gmmn import SIGMAS, discrepancy, mmd2
from datadam.methods.generators.networks import ConditionalBatchNorm, Trunk, halvings, seeded
from datadam.rng import stream
from datadam.testing import small_data
from datadam.training.generators import GeneratorTrainer, Workshop

TINY: dict[str, int] = {"epochs": 2, "batch": 9, "width": 8, "noise": 4}
KINDS: dict[str, type[Generator]] = {"gmmn": GMMN, "cgan": CGAN, "biggan": BigGAN, "dcvae": DCVAE}


def tiny(name: str, **settings: float) -> Generator:
    return KINDS[name](**(TINY | settings))  # type: ignore[arg-type]


def recipe(name: str, ipc: int = 2, **settings: object) -> datadam.Recipe:
    return datadam.preset(name, small_data(), ipc=ipc).change({**TINY, **settings})


def rows(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def test_mmd_is_the_double_sum_over_all_pairs() -> None:
    x, y = rows(5, 7, 1), rows(4, 7, 2)

    def k(a: Tensor, b: Tensor) -> float:
        return sum(math.exp(-sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True)) / (2 * s)) for s in SIGMAS)

    literal = sum(k(a, b) for a in x for b in x) / 25 + sum(k(a, b) for a in y for b in y) / 16
    literal -= 2 * sum(k(a, b) for a in x for b in y) / 20
    assert float(mmd2(x, y)) == pytest.approx(literal, rel=1e-10)
    assert float(mmd2(x, x[torch.tensor([3, 0, 4, 1, 2])])) == pytest.approx(0, abs=1e-12)


def test_the_discrepancy_compares_each_class_with_itself() -> None:
    real, y = rows(6, 12, 3).reshape(6, 3, 2, 2).tanh(), torch.tensor([0, 1, 0, 2, 1, 0])
    assert float(discrepancy(real, real, y)) == pytest.approx(1e-4, rel=1e-6)  # the root of what keeps its slope finite
    swapped = real[torch.tensor([2, 4, 5, 3, 1, 0])]  # within classes
    assert float(discrepancy(real, swapped, y)) == pytest.approx(1e-4, rel=1e-6)
    across = real[torch.tensor([1, 0, 2, 3, 4, 5])]
    assert float(discrepancy(real, across, y)) > 0.01


def test_losses_of_adversaries_in_closed_form() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]).double(), torch.tensor([-3.0, 0.25, 1.0]).double()
    assert float(hinge(real, fake)) == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1.25 + 2) / 3)
    assert float(dual_hinge(real, fake, -fake)) == pytest.approx(2.5 / 3 + ((0 + 1.25 + 2) / 3 + (4 + 0.75 + 0) / 3) / 2)
    sigmoid = [[1 / (1 + math.exp(-v)) for v in values.tolist()] for values in (real, fake)]
    critic = -sum(map(math.log, sigmoid[0])) / 3 - sum(math.log(1 - s) for s in sigmoid[1]) / 3
    assert float(loss_of_critic(real, fake)) == pytest.approx(critic, rel=1e-12)
    assert float(loss_of_generator(fake)) == pytest.approx(-sum(map(math.log, sigmoid[1])) / 3, rel=1e-12)


def test_losses_of_the_autoencoder_in_closed_form() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    assert float(contrast(eye, 5 * eye)) == pytest.approx(math.log(1 + 2 * math.exp(-1 / TEMPERATURE)), rel=1e-9)
    assert float(contrast(eye, eye[torch.tensor([1, 2, 0])])) > 1 / TEMPERATURE - 1
    mean, log_variance = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[0.0, math.log(4.0)]]).double()
    assert float(divergence(mean, log_variance)) == pytest.approx((1 + 4 + 1 + 4 - math.log(4) - 2) / 2)
    assert float(divergence(torch.zeros(2, 3), torch.zeros(2, 3))) == 0


@pytest.mark.parametrize("loss", [
    lambda x: discrepancy(rows(4, 12, 1).reshape(4, 3, 2, 2).tanh(), x.reshape(4, 3, 2, 2).tanh(), torch.tensor([0, 1, 1, 0])),
    lambda x: loss_of_critic(x[:2].flatten(), x[2:].flatten()) + loss_of_generator(x.flatten()),
    lambda x: contrast(x, rows(4, 12, 2)) + divergence(x, rows(4, 12, 3)),
    lambda x: augmented(x.reshape(4, 3, 2, 2), 3).square().sum(),
])  # fmt: skip
def test_gradients_are_those_of_finite_differences(loss) -> None:
    x = rows(4, 12, 7).requires_grad_()
    assert torch.autograd.gradcheck(loss, x, eps=1e-6, atol=1e-6)


def test_augmentation_takes_all_three_operations_each_image_its_own() -> None:
    images = torch.ones(6, 3, 8, 8).cumsum(3)
    changed = augmented(images, 1)
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 6
    assert torch.equal(changed, augmented(images, 1))
    assert not torch.equal(changed, augmented(images, 2))
    assert (changed == 0).flatten(1).sum(1).min() >= 9  # what cutout, half a side wide, leaves black even in a corner


def test_conditional_batch_norm_scales_and_shifts_by_class() -> None:
    norm, x, k = ConditionalBatchNorm(2, 3).double(), rows(6, 32, 1).reshape(6, 2, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    norm.scale.weight.data = rows(3, 2, 2)
    norm.shift.weight.data = rows(3, 2, 3)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    plain = (x - mean) / (variance + 1e-5).sqrt()
    expected = norm.scale.weight[k][:, :, None, None] * plain + norm.shift.weight[k][:, :, None, None]
    torch.testing.assert_close(norm(x, k), expected)


def test_spectral_norm_holds_every_layer_of_the_critic_at_one() -> None:
    critic = seeded(lambda: BigGAN(**TINY).networks((3, 8, 8), 3), stream(0, "test"))["critic"].double()  # type: ignore[arg-type]
    x, k = rows(2, 192, 1).reshape(2, 3, 8, 8), torch.tensor([0, 1])
    for _ in range(60):  # power iterations
        critic(x, k)
    for module in critic.modules():
        if hasattr(module, "parametrizations"):
            assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.02)


def test_a_running_mean_forgets_first_weights() -> None:
    mean, now = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    start, end = mean.weight.clone(), now.weight.clone()
    follow(mean, now, 0.75)
    torch.testing.assert_close(mean.weight, 0.75 * start + 0.25 * end)


@pytest.mark.parametrize(("side", "count"), [(8, 1), (28, 2), (32, 3), (64, 4), (224, 5), (30, 1)])
def test_sides_are_halved_as_far_as_they_go(side: int, count: int) -> None:
    assert halvings((1, side, side)) == count
    first, features = Trunk((1, side, side), 2)(torch.zeros(1, 1, side, side))
    assert first.shape == (1, 2, side // 2, side // 2)
    assert features.shape == (1, 2)


@pytest.mark.parametrize("side", [9, 27, 50])
def test_other_sides_are_refused_before_any_work(side: int) -> None:
    with pytest.raises(InvalidInput, match=f"images of {side} x {side} pixels cannot be halved"):
        datadam.begin(small_data(shape=(1, side, side)), recipe("cgan"))
    assert not cache_folder("generators").exists()


@pytest.mark.parametrize("name", KINDS)
def test_samples_are_of_the_size_of_the_images_and_of_a_seed(name: str) -> None:
    real = small_data()
    one, again, other = (datadam.distill(real, recipe(name, seed=seed)) for seed in (1, 1, 2))
    assert one.images.shape == (6, *real.shape)
    assert one.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    assert (one.pixels() >= -1e-6).all()
    assert (one.pixels() <= 1 + 1e-6).all()
    assert one.card["kind"] == "generated"
    assert one.card["networks"]["generator"] == sum(p.numel() for p in tiny(name).maker(real.shape, 3).parameters())
    assert [found["found"] for found in (one.card["behind"][0], again.card["behind"][0])] == [False, True]


def test_one_training_serves_every_number_of_images_and_every_space() -> None:
    real = small_data()
    one = datadam.distill(real, recipe("gmmn", ipc=1))
    more = datadam.distill(real, recipe("gmmn", ipc=3, zca="kornia", decoder="grid:2"))
    assert more.card["behind"] == [one.card["behind"][0] | {"found": True}]
    assert len(more.training_images) == 3 * 3 * 4


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    datadam.distill(small_data(), recipe("biggan"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", KINDS)
def test_a_training_that_stops_anywhere_ends_with_the_same_bits(name: str) -> None:
    real, method = small_data(), tiny(name)

    def trainer() -> GeneratorTrainer:
        networks = seeded(lambda: method.networks(real.shape, 3), stream(3, "init"), method.first_weights)
        return GeneratorTrainer(networks, method.rules(), lambda t: method.turn(t, 3), real, 3, 9, 3, "generator", name)

    straight, stopped = trainer(), trainer()
    assert straight.steps == 12
    for _ in range(12):
        straight.step()
    for _ in range(5):
        stopped.step()
    later = trainer()
    later.load({key: value.clone() for key, value in stopped.state().items()})
    for _ in range(7):
        later.step()
    one, other = straight.state(), later.state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(ValueError, match="13 of 12 steps"):
        later.load(one | {"done": torch.tensor(13)})


def test_ctrl_c_keeps_what_there_is_and_the_same_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real, told = small_data(), []
    straight = datadam.distill(real, recipe("cgan", seed=4)).images
    (file,) = cache_folder("generators").glob("*.safetensors")
    file.unlink()

    def stop(what: str, done: int, total: int | None) -> None:
        if what == "training the generator" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datadam.distill(real, recipe("cgan", seed=4), progress=stop)
    (file,) = cache_folder("generators").glob("*.safetensors")
    assert ".unfinished." in file.name
    again = datadam.distill(real, recipe("cgan", seed=4), progress=lambda what, done, total: told.append(done))
    assert told[0] == 4
    assert torch.equal(again.images, straight)
    assert not file.exists()


def test_a_loss_that_is_not_finite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunFailed, match=r"the loss of the (critic|generator) is (nan|inf) at step \d+; lower the rate \(lr\)"):
        datadam.distill(small_data(), recipe("biggan", lr=1e30))


@pytest.mark.parametrize("name", ["gmmn", "cgan"])
def test_samples_of_a_class_come_from_its_label(name: str) -> None:
    """Classes are plain colours: after a short training the samples of a class are nearest to its own colour."""
    from datadam import load

    colours = torch.tensor([[230, 20, 20], [20, 230, 20], [20, 20, 230]], dtype=torch.uint8)
    labels = torch.arange(3).repeat(20)
    pixels = colours[labels][:, :, None, None].expand(-1, -1, 8, 8).contiguous().numpy()
    real = load((pixels, labels.numpy(), pixels[:6], labels.numpy()[:6]))
    settings = {"gmmn": {"epochs": 60, "lr": 0.01, "width": 32}, "cgan": {"epochs": 40, "lr": 2e-3}}[name]
    made = datadam.distill(real, recipe(name, ipc=4, batch=20, **settings))
    near = torch.cdist(made.pixels().mean((2, 3)), colours.float() / 255).argmin(1)
    assert (near == made.labels).float().mean() >= 0.9


def test_labels_decide_in_every_generator() -> None:
    for name in KINDS:
        state = tiny(name, epochs=1).train(Workshop(small_data(), 0))
        method, draws = tiny(name), (torch.Generator().manual_seed(1) for _ in range(3))
        zero, same, one = (method.sample(state, k, 3, draw) for k, draw in zip((0, 0, 1), draws, strict=True))
        assert torch.equal(zero, same)
        assert not torch.equal(zero, one)


@pytest.mark.parametrize("name", KINDS)
def test_cost_counts_the_operations_of_a_turn(name: str) -> None:
    """Twice as wide costs between once and more than four times as much, and an epoch more costs an epoch more."""
    from datadam.methods.cost import Size

    size = Size(real=(4,), synthetic=(2,), members=(12, 12, 12), shape=(3, 8, 8))
    one, two = (tiny(name, epochs=epochs).cost(size).operations_before for epochs in (1, 2))
    assert two == 2 * one > 0
    narrow, wide = (counted(tiny(name, width=width), (3, 8, 8), 3)[0] for width in (8, 16))
    assert 1 < wide / narrow < 5


def test_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as told:
        BigGAN(epochs=0, batch=1, lr=math.nan, critic_steps=0, average=1.0)
    assert [fault.split()[0] for fault in told.value.faults] == ["epochs", "batch", "lr", "critic_steps", "average"]
    with pytest.raises(InvalidInput, match="samples a generator and learns nothing on the way: it needs iterations=0"):
        recipe("gmmn", iterations=5)
    with pytest.raises(InvalidInput, match="cannot start from images of an earlier run"):
        datadam.begin(small_data(), recipe("gmmn"), earlier=torch.zeros(6, 3, 8, 8))
