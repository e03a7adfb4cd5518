"""MTT: its gradient against a plain unroll from the experts' files, its draws, its rate, what it refuses, how it is judged."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from small import make_real
from torch import Tensor
from torch.func import functional_call

import datadam
from datadam.augment.siamese import draw_augmentation
from datadam.data import RealData
from datadam.distillation import forecast as costs
from datadam.distillation.loop import Distillation
from datadam.distillation.presets import Sketch
from datadam.distillation.recipe import Recipe
from datadam.errors import ArtifactError, CannotDo, InvalidInput, NonFiniteLoss, RunFailed
from datadam.evaluation.panel import protocol_named
from datadam.methods import MTT, following
from datadam.methods.window import window
from datadam.rng import stream
from datadam.sets.decoders import decoder_named
from datadam.training.experts import Experts
from datadam.training.make_experts import make_experts

SMALL = MTT(steps=4, expert_epochs=2, max_start=3, count=2, rate=0.05)


@pytest.fixture
def real() -> RealData:
    return make_real(per_class=12)


@pytest.fixture
def experts(real: RealData, tmp_path: Path) -> Experts:
    training = SMALL.needs.training
    assert training is not None
    return make_experts(real, tmp_path / "experts", "convnet2:width=6", replace(training, batch=8, epochs=5), 3, 0)


@pytest.fixture
def asked(experts: Experts, recipe) -> Recipe:
    made = recipe("mtt", ipc=3, lr_images=10.0, networks=f"experts:{experts.folder}")
    return replace(made, method=SMALL)


def begun(real: RealData, asked: Recipe, **options: object) -> Distillation:
    run = datadam.begin(real, asked, **options)  # type: ignore[arg-type]
    assert isinstance(run, Distillation)
    return run


@pytest.mark.parametrize(("batch", "decoder"), [(0, "plain"), (5, "plain"), (7, "grid:2")])
@pytest.mark.parametrize("iteration", [0, 4])
def test_the_gradient_is_that_of_the_released_loop(real, experts, asked, batch: int, decoder: str, iteration: int) -> None:
    """Written down anew: an expert's file, random batches, an augmentation for each step, and an unroll that keeps all graphs."""
    run = begun(real, replace(asked, method=replace(SMALL, batch=batch, student_momentum=0.3), decoder=decoder))
    found = run.gradient(run.state.method, run.synthetic, run.draws.at(iteration), True)
    stored = run.state.images.clone().requires_grad_()
    rate = run.state.tensors["rate"].clone().requires_grad_()
    images = decoder_named(decoder)(stored)
    labels = torch.arange(3).repeat_interleave(len(images) // 3)
    turn, place = divmod(iteration, 3)
    expert = int(torch.randperm(3, generator=stream(0, "experts", turn))[place])
    s = int(torch.randint(0, 3, (), generator=stream(0, "start epoch", iteration)))
    stamps = load_file(experts.file(expert))["epochs"].double()
    weights, velocity = stamps[s].clone().requires_grad_(), torch.zeros(len(stamps[0])).double()
    size, net = batch or len(images), run.draws.network
    names, shapes = zip(*((name, p.shape) for name, p in net.named_parameters()), strict=True)
    orders = (torch.randperm(len(images), generator=stream(0, "batches", iteration, t)).split(size) for t in itertools.count())
    batches = itertools.chain.from_iterable(orders) if batch else itertools.repeat(torch.arange(len(images)))
    for i, chosen in zip(range(4), batches, strict=False):
        augment = draw_augmentation(asked.augment, 0, "batch", iteration, i, images=len(chosen))
        assert augment is not None
        named = {n: w.view(shape) for n, w, shape in zip(names, weights.split([s.numel() for s in shapes]), shapes, strict=True)}
        loss = F.cross_entropy(functional_call(net, named, (augment(images[chosen]),)), labels[chosen])
        velocity = 0.3 * velocity + torch.autograd.grad(loss, weights, create_graph=True)[0]
        weights = weights - rate * velocity
    loss = (weights - stamps[s + 2]).square().sum() / (stamps[s] - stamps[s + 2]).square().sum()
    of_images, of_rate = torch.autograd.grad(loss, [stored, rate])
    torch.testing.assert_close(found.terms["distance"], loss.detach()[None], rtol=1e-10, atol=0)
    torch.testing.assert_close(found.of["rate"], of_rate, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.images, of_images, rtol=1e-8, atol=1e-10 * float(of_images.abs().max()))
    assert found.norms["distance"] == pytest.approx(float(torch.cat([of_images.flatten(), of_rate[None]]).norm()))


def test_each_pass_follows_every_expert_once_from_all_starts(real, asked, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []

    def weights(self: Experts, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        seen.append((expert, first, last))
        return torch.zeros(1), torch.zeros(1)

    monkeypatch.setattr(Experts, "weights", weights)
    run = begun(real, asked)
    for iteration in range(60):
        window(run.draws.at(iteration), *SMALL.starts(iteration), SMALL.expert_epochs)
    assert all(sorted(e for e, _, _ in seen[i : i + 3]) == [0, 1, 2] for i in range(0, 60, 3))
    assert {(first, last) for _, first, last in seen} == {(0, 2), (1, 3), (2, 4)}
    assert len({tuple(e for e, _, _ in seen[i : i + 3]) for i in range(0, 60, 3)}) > 2  # in an order of its own


def test_the_distance_falls_and_the_rate_moves(real, asked) -> None:
    made = begun(real, replace(asked, iterations=30, method=replace(SMALL, lr_rate=1e-4)))
    losses = [step.loss for step in made.steps()]
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    result = made.result()
    assert result.rate is not None
    assert float(result.rate) != pytest.approx(0.05)
    assert result.card["recipe"]["networks"].startswith(asked.networks.replace("experts:", f"experts:{'/'}", 1)[:8])
    assert result.card["rate"] == float(result.rate)
    assert result.card["experts"] == {"networks": 3, "epochs": 5}
    assert result.card["seconds"] > result.card["trained_first_seconds"] > 0


def test_the_rate_is_held_within_its_bounds(real, asked) -> None:
    run = begun(real, replace(asked, method=replace(SMALL, lr_rate=1e6)))
    next(run.steps())
    assert float(run.state.tensors["rate"]) in (pytest.approx(0.05 / 100), pytest.approx(0.05 * 100))


def test_a_training_that_runs_away_is_told_and_leaves_the_last_good_state(real, asked, monkeypatch) -> None:
    run = begun(real, replace(asked, precision="float32", method=replace(SMALL, steps=30, rate=1e30)))
    with pytest.raises(NonFiniteLoss, match="iteration 0"):
        next(run.steps())
    run = begun(real, asked)
    kept = {name: tensor.clone() for name, tensor in run.state.tensors.items()}
    true = following.through
    monkeypatch.setattr(following, "through", lambda *a, **k: replace(true(*a, **k), rate=torch.tensor(float("nan")).double()))
    with pytest.raises(RunFailed, match=r"gradient of the rate is not finite at iteration 0.*lower lr_images"):
        next(run.steps())
    assert all(torch.equal(tensor, kept[name]) for name, tensor in run.state.tensors.items())


def test_teslas_gradient_is_a_setting_and_another_one(real, asked) -> None:
    exact, tesla = (begun(real, replace(asked, method=replace(SMALL, backward=way))) for way in ("exact", "tesla"))
    one, other = (run.gradient(run.state.method, run.synthetic, run.draws.at(0), False) for run in (exact, tesla))
    assert torch.equal(one.terms["distance"], other.terms["distance"])
    assert not torch.allclose(one.images, other.images, rtol=1e-3)
    assert float(torch.cosine_similarity(one.images.flatten(), other.images.flatten(), dim=0)) > 0.5


def test_its_own_experts_are_made_once_and_kept_by_the_run(real, recipe, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    asked, told = replace(recipe("mtt", ipc=1, lr_images=10.0), method=SMALL), []
    straight = datadam.distill(real, asked, progress=lambda what, done, total: told.append(what) if "network" in what else None)
    assert set(told) == {"training network 1 of 2", "training network 2 of 2"}
    spec = straight.card["recipe"]["networks"]
    experts = Experts.read(Path(spec.removeprefix("experts:").partition("#")[0]))
    assert (experts.epochs, experts.spec) == (4, spec)  # 3 starts from 0, and 2 epochs more
    steps = datadam.begin(real, asked, out=tmp_path / "run").steps()
    next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    list(run.steps())
    assert torch.equal(run.result().images, straight.images)
    assert torch.equal(run.state.tensors["rate"].float(), straight.rate)
    steps = datadam.begin(real, asked, out=tmp_path / "other").steps()
    next(steps)
    steps.close()
    make_experts(real, experts.folder, "convnet2:width=6", SMALL.needs.training, 3, 0)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="have changed since this run began"):
        datadam.resume(tmp_path / "other", real)


def test_its_experts_are_trained_as_its_settings_say() -> None:
    training = replace(SMALL, expert_rate=0.2, expert_batch=7).needs.training
    assert training is not None
    assert (training.lr, training.batch, training.momentum, training.epochs) == (0.2, 7, 0.0, 4)
    assert replace(training, lr=0.01, batch=256) == SMALL.needs.training  # as the released code's
    with pytest.raises(InvalidInput, match="expert_batch is 0; it must be a whole number >= 1\n- expert_rate is -1"):
        replace(SMALL, expert_rate=-1, expert_batch=0)


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(None, 1024, 15), (50_000, 1024, 15), (4500, 100, 15), (450, 32, 4), (36, 32, 1)]
)
def test_few_images_take_small_batches_and_few_steps(images: int | None, batch: int, steps: int) -> None:
    recipe = datadam.preset("mtt-quick", Sketch("photos", (3, 32, 32), training_images=images), ipc=10)
    assert recipe.method == MTT(
        steps=steps,
        expert_epochs=1,
        max_start=7,
        batch=100,
        rate=0.1,
        lr_rate=0.001,
        count=3,
        expert_rate=0.1,
        expert_batch=batch,
    )
    assert (recipe.decoder, recipe.start, recipe.protocol) == ("dct:8", "calm-quick", "honest")


@pytest.mark.parametrize(("shape", "ipc"), [((1, 28, 28), 1), ((1, 28, 28), 5), ((3, 32, 32), 5), ((3, 32, 32), 50)])
def test_minutes_go_on_from_minutes(shape: tuple[int, int, int], ipc: int) -> None:
    first, further = (datadam.preset(name, Sketch("photos", shape), ipc=ipc) for name in ("calm-quick", "mtt-quick"))
    assert (first.decoder, first.normalisation, first.zca) == (further.decoder, further.normalisation, further.zca)


def test_what_does_not_fit_is_refused_before_any_work(real, experts, asked, recipe, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="reaches to epoch 7"):
        begun(real, replace(asked, method=replace(SMALL, max_start=6)), out=tmp_path / "run")
    with pytest.raises(InvalidInput, match="made for another run: net"):
        begun(real, replace(asked, net="convnet1:width=6"), out=tmp_path / "run")
    experts.file(2).write_bytes(experts.file(2).read_bytes()[:100])
    with pytest.raises(ArtifactError, match="00002"):
        begun(real, asked, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(CannotDo, match="dm follows no experts"):
        recipe("dm", networks=asked.networks)
    with pytest.raises(CannotDo, match="mtt follows experts: write experts:FOLDER"):
        recipe("mtt", networks="pools/mnist@20-40")
    with pytest.raises(CannotDo, match="decides itself how long it trains"):
        recipe("mtt", network_epochs=3)
    with pytest.raises(InvalidInput, match="experts are trained; leave one of them out"):
        recipe("mtt", init="xavier")
    with pytest.raises(InvalidInput) as told:
        MTT(steps=0, rate=-1.0, lr_rate=float("inf"), student_momentum=1.0, backward="half", batch=-1)
    assert len(told.value.faults) == 6


def test_experts_that_are_named_cost_no_training(real, asked, recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(costs, "passes_a_second", lambda *what: 10.0)
    own = costs.forecast(real, replace(asked, networks="random")).seconds
    assert own - costs.forecast(real, asked).seconds == pytest.approx(2 * 4 * 3 * len(real.train) / 10)


def test_students_learn_at_its_rate_by_its_own_protocol(real, asked) -> None:
    made = datadam.distill(real, asked)
    own, honest = (
        datadam.evaluate(made, real, students=1, protocol=protocol_named(name, epochs=2)) for name in ("mtt", "honest")
    )
    assert own.accuracies != honest.accuracies or own.confusion != honest.confusion or made.rate is not None
    assert "protocol's own rate" in honest.made["remark"]
    assert "remark" not in own.made
    assert protocol_named("mtt").to_card()["learned_rate"] is True


def test_the_preset_is_the_published_table(real) -> None:
    named = lambda name, ipc: datadam.preset("mtt", replace(real, name=name), ipc=ipc)  # noqa: E731
    ten, hundred, other = named("cifar10", 10), named("cifar100", 60), named("own", 3)
    assert (ten.method.steps, ten.method.expert_epochs, ten.method.max_start) == (30, 2, 20)  # type: ignore[attr-defined]
    assert (ten.lr_images, ten.zca, ten.iterations, ten.protocol) == (1e5, "kornia", 5001, "mtt")
    assert hundred.method == MTT(steps=80, expert_epochs=2, max_start=40, batch=125, lr_rate=1e-5)
    assert (other.method, other.zca) == (MTT(), "none")
