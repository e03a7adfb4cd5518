"""The loop: it lowers its loss, resumes bit-equal, ends in time, and never keeps what is broken."""

import dataclasses
import json
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from small import make_real

import datadam
from datadam.distillation import checkpoint as checkpoints
from datadam.distillation.loop import Distillation
from datadam.errors import ArtifactError, InvalidInput, NonFiniteLoss, NotEnoughMemory, UnknownName
from datadam.methods import Method, State
from datadam.methods.base import Parts
from datadam.methods.catalog import CATALOG
from datadam.methods.draw import Draw
from datadam.methods.plan import Plan
from datadam.sets.distilled import DistilledSet
from datadam.sets.synthetic import SyntheticSet

RESUMED = [
    {},
    {"network_steps": 3, "iterations_per_network": 3},
    {"network_steps": 2, "iterations_per_network": 3, "network_when": "between"},
    {"network_epochs": 2, "iterations_per_network": 3, "network_when": "between", "network_augment": "flip_scale"},
    {"net": "convnet2:norm=batch:width=6"},
    {"precision": "float32"},
    {"start": "noise"},
    {"real_every": 3},
    {"batch_synthetic": 2, "decoder": "grid:2", "ipc": 1},
    {"batch_synthetic": 1, "real_every": 2, "nested": (1, 2)},
    {"real_every": 2, "net": "convnet2:norm=batch:width=6", "nested": (1, 2)},
]


@pytest.mark.parametrize("settings", RESUMED)
@pytest.mark.parametrize("stop", [1, 4, 5])
def test_resume_is_bit_equal(real, recipe, tmp_path: Path, settings: dict[str, object], stop: int) -> None:
    asked = recipe(iterations=7, **settings)
    straight = datadam.distill(real, asked, out=tmp_path / "straight")
    steps = datadam.begin(real, asked, out=tmp_path / "cut").steps()
    for _ in range(stop):
        next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "cut", real)
    assert run.state.iteration == stop
    list(run.steps())
    assert torch.equal(run.result().images, straight.images)
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "cut")
    ]
    for kept in lines:
        for line in kept:
            del line["seconds"]
    assert lines[0] == lines[1]


def test_a_crash_costs_only_what_came_after_the_checkpoint(real, recipe, tmp_path: Path, monkeypatch) -> None:
    """The process dies without a word: metrics and snapshots beyond the last checkpoint are forgotten, the rest goes on."""
    asked = recipe(iterations=6)
    straight = datadam.distill(real, asked, snapshots=(2, 4))
    run = datadam.begin(real, asked, out=tmp_path / "run", snapshots=(2, 4))
    steps = run.steps()
    for _ in range(3):
        next(steps)
    run.save()
    for _ in range(2):
        next(steps)
    monkeypatch.setattr(run, "save", lambda: None)
    steps.close()
    resumed = datadam.resume(tmp_path / "run", real)
    assert resumed.state.iteration == 3
    assert sorted(p.name for p in (tmp_path / "run/snapshots").iterdir()) == ["00000000.safetensors", "00000002.safetensors"]
    list(resumed.steps())
    assert torch.equal(resumed.result().images, straight.images)


def test_the_threads_of_a_run_are_its_own(real, recipe, tmp_path: Path) -> None:
    """Those of its plan, also when it goes on, and neither student nor run after it has them."""
    asked, before, seen = recipe(zca="kornia", iterations=4), torch.get_num_threads(), []
    plan = Plan(compiled=False, chunk=4, threads=before + 1, kept="float32")

    def drive(run: Distillation, steps: int) -> None:
        gradient = run.gradient
        run.gradient = lambda *what: seen.append(torch.get_num_threads()) or gradient(*what)  # type: ignore[func-returns-value]
        with closing(run.steps()) as going:
            for _ in range(steps):
                next(going)
                assert torch.get_num_threads() == before

    drive(datadam.begin(real, asked, out=tmp_path / "run", plan=plan), 2)
    drive(datadam.resume(tmp_path / "run", real), 2)
    assert seen == [before + 1] * 4
    run = datadam.begin(real, asked, plan=plan)
    run.gradient = lambda *what: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(run.steps())
    assert torch.get_num_threads() == before


def test_an_interruption_saves(real, recipe, tmp_path: Path) -> None:
    run = datadam.begin(real, recipe(iterations=5), out=tmp_path / "run")

    def interrupted() -> None:
        for step in run.steps():
            if step.iteration == 2:
                run.draws.at = lambda iteration: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert datadam.resume(tmp_path / "run", real).state.iteration == 2


def test_a_time_limit_ends_with_a_complete_set_that_can_go_on(real, recipe, tmp_path: Path) -> None:
    small = datadam.distill(real, recipe(iterations=5), out=tmp_path / "run", time_limit=0.0)
    assert small.card["iterations_done"] == 0
    assert "0 of 5 iterations" in small.card["warnings"][0]
    assert DistilledSet.load(tmp_path / "run").card == small.card
    run = datadam.resume(tmp_path / "run", real)
    list(run.steps())
    assert torch.equal(run.result().images, datadam.distill(real, recipe(iterations=5)).images)
    assert DistilledSet.load(tmp_path / "run").card["iterations_done"] == 5


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(real, recipe, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"class '\d' is (nan|inf) at iteration \d+; the last good checkpoint"):
        datadam.distill(real, recipe(iterations=50, lr_images=1e200, net="convnet2:norm=none:width=6"), out=tmp_path / "run")
    run = datadam.resume(tmp_path / "run", real)
    assert torch.isfinite(run.state.images).all()
    assert not (tmp_path / "run/card.json").exists()


def test_metrics_say_what_happened(real, recipe, tmp_path: Path) -> None:
    small = datadam.distill(real, recipe(iterations=21), out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 11, 21]
    assert all(set(line["terms"]) == {"sam", "mmd"} for line in lines)
    assert all(line["loss"] == pytest.approx(sum(term["loss"] for term in line["terms"].values())) for line in lines)
    assert all(term["grad_norm"] > 0 for line in lines for term in line["terms"].values())
    start, _ = checkpoints.read_tensors(tmp_path / "run/snapshots/00000000.safetensors")
    assert lines[-1]["moved"] == pytest.approx(float((small.images.double() - start["images"]).abs().mean()), rel=1e-5)
    assert sorted(int(p.stem) for p in (tmp_path / "run/snapshots").iterdir()) == [0, 5, 10, 16, 21]


def test_a_run_that_hardly_moves_says_so(real, recipe) -> None:
    small = datadam.distill(real, recipe(iterations=2, scale=1e-9))
    assert "hardly moved" in small.card["warnings"][0]
    assert not datadam.distill(real, recipe(iterations=10)).card["warnings"]


def test_warm_start_keeps_the_first_images_and_draws_the_rest(real, recipe) -> None:
    small = datadam.distill(real, recipe(ipc=2))
    larger = datadam.distill(real, recipe(ipc=5, iterations=0), earlier=small.images)
    images = larger.images.unflatten(0, (3, 5))
    assert torch.equal(images[:, :2], small.images.unflatten(0, (3, 2)))
    members = [real.images(m) for m in real.by_class]
    assert all((images[k, n] == members[k]).flatten(1).all(1).any() for k in range(3) for n in range(2, 5))
    with pytest.raises(InvalidInput, match="more than the 1 asked for"):
        datadam.distill(real, recipe(ipc=1), earlier=small.images)


def test_a_start_that_does_not_fit_is_refused_before_networks_are_trained(real, recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    small = datadam.distill(real, recipe(ipc=2))
    monkeypatch.setattr("datadam.distillation.begin.supply_of", lambda *_: pytest.fail("networks are trained first"))
    asked = recipe("calm", decoder="plain", start="real")
    for ipc, words in ((1, "more than the 1 asked for"), (500, "has only 12 training images; ask for at most 12$")):
        with pytest.raises(InvalidInput, match=words):
            datadam.begin(real, replace(asked, ipc=ipc), earlier=small.images)
    for seconds in (-1.0, float("nan"), "a minute"):
        with pytest.raises(InvalidInput, match=r"earlier_seconds is .*must be a number >= 0"):
            datadam.begin(real, replace(asked, ipc=2), earlier=small.images, earlier_seconds=seconds)
    with pytest.raises(InvalidInput, match=r"earlier_seconds is 1\.0; .* go with `earlier`"):
        datadam.begin(real, replace(asked, ipc=2), earlier_seconds=1.0)


@pytest.mark.parametrize("start", ["real", "kcenter", "kmeans"])
def test_chosen_starts_are_different_real_images_of_their_class(real, recipe, start: str) -> None:
    images = datadam.distill(real, recipe(ipc=4, iterations=0, start=start)).images.unflatten(0, (3, 4))
    for k, members in enumerate(real.by_class):
        equal = (images[k][:, None] == real.images(members)).flatten(2).all(2)
        assert equal.any(1).all()
        assert equal.any(0).sum() == 4


def test_noise_is_standard_and_may_outnumber_the_class(real, recipe) -> None:
    images = datadam.distill(real, recipe(ipc=40, iterations=0, start="noise")).images
    assert len(images) == 120
    assert abs(float(images.mean())) < 0.02
    assert float(images.std()) == pytest.approx(1, abs=0.02)
    with pytest.raises(InvalidInput, match="only 12 training images"):
        datadam.distill(real, recipe(ipc=40))


def test_training_the_network_between_steps_changes_the_result(real, recipe) -> None:
    shared = {"iterations": 4, "iterations_per_network": 2}
    found = [
        datadam.distill(real, recipe(**shared, **more)).images
        for more in ({}, {"network_steps": 4}, {"network_steps": 4, "network_when": "between"})
    ]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_refused_before_any_work(real, recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UnknownName, match="convnet3"):
        datadam.distill(real, recipe(net="convnett3"), out=out)
    with pytest.raises(UnknownName, match="Did you mean 'kmeans'"):
        datadam.distill(real, recipe(start="kmean"), out=out)
    with pytest.raises(NotEnoughMemory, match="memory_limit"):
        datadam.distill(real, recipe(), out=out, memory_limit=1_000_000)
    with pytest.raises(InvalidInput, match="8"):
        datadam.distill(real, recipe(net="convnet4"), out=out)
    assert not out.exists()


def test_an_existing_run_is_not_overwritten_unasked(real, recipe, tmp_path: Path) -> None:
    datadam.distill(real, recipe(), out=tmp_path / "run")
    before = (tmp_path / "run/distilled.safetensors").read_bytes()
    with pytest.raises(InvalidInput, match="replace it with overwrite"):
        datadam.distill(real, recipe(seed=1), out=tmp_path / "run")
    assert (tmp_path / "run/distilled.safetensors").read_bytes() == before
    datadam.distill(real, recipe(seed=1), out=tmp_path / "run", overwrite=True)
    assert (tmp_path / "run/distilled.safetensors").read_bytes() != before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="no run of ours"):
        datadam.distill(real, recipe(), out=tmp_path / "other", overwrite=True)
    assert (tmp_path / "other/thesis.txt").exists()


def test_resume_refuses_other_data_and_damaged_checkpoints(real, recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    datadam.distill(real, recipe(), out=out)
    with pytest.raises(InvalidInput, match="not those of the run"):
        datadam.resume(out, make_real(seed=1))
    state = out / "checkpoint/state.safetensors"
    whole = state.read_bytes()
    (out / "checkpoint/before.safetensors").unlink()  # which would be taken in its place
    for damage in (whole[:-50], b"", whole.replace(b"momentum", b"momentun")):
        state.write_bytes(damage)
        with pytest.raises(ArtifactError):
            datadam.resume(out, real)
    with pytest.raises(ArtifactError, match="no checkpoint"):
        datadam.resume(tmp_path / "nothing", real)


def test_the_forecast_grows_with_what_it_must_hold(real, recipe) -> None:
    from datadam.distillation.forecast import forecast

    batch = recipe(net="convnet2:norm=batch:width=6", batch_real=12)
    coupled = forecast(real, batch)
    assert coupled.notes
    assert "couples" in coupled.notes[0]
    assert forecast(real, dataclasses.replace(batch, ipc=12)).bytes > coupled.bytes
    assert forecast(real, recipe(batch_real=12)).flops > forecast(real, recipe(batch_real=6)).flops
    assert not forecast(real, recipe()).plan.compiled


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("net", ["convnet2:width=6", "convnet2:norm=batch:width=6"])
def test_cuda_gives_the_same_images(real, recipe, net: str) -> None:
    there, here = (datadam.distill(real, recipe(net=net), device=device).images for device in ("cuda", "cpu"))
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pull(Method):
    """Pulls every image towards the mean of its class, ever more weakly: a method of the general verbs, with state."""

    decay: float = 0.9
    name: ClassVar[str] = "pull"
    family: ClassVar[str] = "test"
    description: ClassVar[str] = "a test"
    citation: ClassVar[str] = ""
    separable: ClassVar[bool] = True

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        target = torch.stack([draw.real(k).mean(0) for k in range(len(synthetic.classes))])
        return {"target": target.repeat_interleave(synthetic.counts[0], 0), "weight": 0.1, "steps": 0}

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        gap = (synthetic.stored - state["target"]).square().sum((1, 2, 3))
        yield {"pull": state["weight"] * gap, "size": 1e-3 * synthetic.stored.square().sum((1, 2, 3))}

    def between(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Generator[State, None, None]:
        if state["steps"] < draw.iteration:
            yield state | {"weight": state["weight"] * self.decay, "steps": state["steps"] + 1}


def test_a_method_of_the_general_verbs_keeps_its_state_through_a_resume(real, recipe, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(CATALOG, "pull", Pull)
    asked = dataclasses.replace(recipe(iterations=5, lr_images=0.5), method=Pull())
    straight = datadam.begin(real, asked)
    losses = [step.loss for step in straight.steps()]
    assert losses[-1] < losses[0] / 2
    assert straight.state.method["steps"] == 4
    assert straight.state.method["weight"] == pytest.approx(0.1 * 0.9**4)
    steps = datadam.begin(real, asked, out=tmp_path / "run").steps()
    next(steps), next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    assert run.state.method["steps"] == 1
    list(run.steps())
    assert torch.equal(run.result().images, straight.result().images)


def test_files_are_readable_by_others(real, recipe, tmp_path: Path) -> None:
    datadam.distill(real, recipe(iterations=1), out=tmp_path / "run")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "run/metrics.jsonl").stat().st_mode & 0o777}


@pytest.mark.parametrize("when", ["drawn", "between"])
def test_an_interruption_inside_an_iteration_resumes_bit_equal(real, recipe, tmp_path: Path, when: str) -> None:
    """Ctrl-C mostly lands in the gradient, after the network was trained for that iteration."""
    asked = recipe(iterations=6, network_steps=2, iterations_per_network=3, network_when=when)
    straight = datadam.distill(real, asked)
    run = datadam.begin(real, asked, out=tmp_path / "run")
    gradient, calls = run.gradient, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return gradient(*arguments)

    run.gradient = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(run.steps())
    again = datadam.resume(tmp_path / "run", real)
    assert again.state.iteration <= 2
    list(again.steps())
    assert torch.equal(again.result().images, straight.images)


@pytest.mark.parametrize("stopped", [0, 3])
@pytest.mark.parametrize("when", ["drawn", "between"])
def test_the_same_process_goes_on_where_training_was_interrupted(real, recipe, monkeypatch, stopped: int, when: str) -> None:
    """A network that was half trained is not trained on from there."""
    asked = recipe(iterations=6, network_epochs=3, iterations_per_network=3, network_when=when)
    straight = datadam.begin(real, asked)
    list(straight.steps())
    run = datadam.begin(real, asked)
    original = Draw.training

    @contextmanager
    def interrupted(self, *arguments):
        with original(self, *arguments) as trainer:
            if self.iteration >= stopped:
                trainer.step()
                raise KeyboardInterrupt
            yield trainer

    with monkeypatch.context() as patch:
        patch.setattr(Draw, "training", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(run.steps())
    list(run.steps())
    assert torch.equal(run.state.images, straight.state.images)


@pytest.mark.parametrize("zca", ["none", "kornia", "official"])
@pytest.mark.parametrize("by_hand", [False, True])
def test_resume_keeps_the_whitening(real, recipe, tmp_path: Path, zca: str, by_hand: bool) -> None:
    """Plain data are enough to go on with: the whitening of the run is kept, not fitted again."""
    given = real.with_zca("kornia") if by_hand else real
    asked = recipe(iterations=4, zca=zca)
    if by_hand and zca == "official":
        with pytest.raises(InvalidInput, match="whitened by 'kornia'"):
            datadam.begin(given, asked)
        return
    straight = datadam.distill(given, asked)
    steps = datadam.begin(given, asked, out=tmp_path / "run").steps()
    next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    list(run.steps())
    small = run.result()
    assert torch.equal(small.images, straight.images)
    assert small.transform.to_card() == straight.transform.to_card()
    assert torch.equal(small.pixels(), straight.pixels())


def test_network_steps_are_counted_exactly(real, recipe, monkeypatch) -> None:
    count = []
    step = torch.optim.SGD.step

    def noting(self, *a):
        count.extend([1] * any(p.requires_grad for p in self.param_groups[0]["params"]))  # a network's, and not the images'
        return step(self, *a)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    datadam.distill(real, recipe(ipc=3, iterations=4, iterations_per_network=2, network_steps=5))
    assert len(count) == 2 * 5
    with pytest.raises(InvalidInput, match="raise iterations_per_network"):
        recipe(network_steps=5, network_when="between")


def test_a_result_is_a_copy(real, recipe) -> None:
    run = datadam.begin(real, recipe(precision="float32"))
    steps = run.steps()
    next(steps)
    early = run.result()
    before = early.images.clone()
    list(steps)
    assert torch.equal(early.images, before)


def test_a_network_without_maps_to_match_is_told(real, recipe) -> None:
    assert "only the embedding is matched" in datadam.begin(real, recipe(net="convnet1:width=4")).remarks[0]
    assert "only the embedding is matched" in datadam.begin(real, recipe(net="mlp:width=4")).remarks[0]
    assert not datadam.begin(real, recipe(net="convnet1:width=4", layers=())).remarks
    assert not datadam.begin(real, recipe(net="convnet2:width=4")).remarks


def test_random_images_need_no_memory_for_a_network(real, recipe) -> None:
    from datadam.distillation.forecast import forecast

    wide = {"net": "convnet2:width=512"}
    chosen = datadam.preset("random", real, ipc=4).change(wide)
    assert forecast(real, chosen).bytes < forecast(real, recipe(ipc=4, **wide)).bytes - 20_000_000
    with pytest.raises(InvalidInput, match="needs iterations=0"):
        chosen.change({"iterations": 3})


def test_official_keeps_what_the_released_code_judges(real, recipe) -> None:
    run = datadam.begin(real, datadam.preset("official", real, ipc=1).change({"net": "convnet1:norm=batch:width=4"}))
    assert run.frame.snapshots == tuple(range(0, 20_001, 2000))


def test_a_resumed_run_stays_on_its_device(real, recipe, tmp_path: Path) -> None:
    next(datadam.begin(real, recipe(), out=tmp_path / "run").steps())
    kept = json.loads((tmp_path / "run/checkpoint/run.json").read_text())
    assert kept["device"] == "cpu"
    (tmp_path / "run/checkpoint/run.json").write_text(json.dumps(kept | {"device": "meta"}))
    assert datadam.resume(tmp_path / "run", real, device="cpu").device.type == "cpu"
    with pytest.raises((RuntimeError, NotImplementedError)):
        list(datadam.resume(tmp_path / "run", real).steps())
