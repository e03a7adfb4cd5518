"""What one iteration draws, and drawing it ahead of its time."""

from collections.abc import Callable

import pytest
import torch
from small import make_real

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.data.resident import keep
from datadam.distillation.recipe import Recipe
from datadam.methods.draw import Draws
from datadam.rng import carry

AUGMENT = "color_crop_cutout_flip_scale_rotate"


def draws(real: RealData, net: str = "convnet2:width=4", **options: object) -> Draws:
    """Draws of five real images, with a network of its own."""
    network = nets.build(net, shape=real.shape, classes=len(real.classes))
    return Draws(real, network, 3, 5, AUGMENT, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("net", ["convnet2:width=4", "convnet2:width=4:norm=batch", "mlp:width=5"])
def test_what_is_drawn_ahead_is_what_would_be_drawn(real, net: str) -> None:
    plain, early = draws(real, net), draws(real, net)
    early.at(6).network()
    with early.ahead(7):
        held = {name: value.clone() for name, value in early.network.state_dict().items()}
    changed = early.network.state_dict()
    assert any(not torch.equal(changed[name], value) for name, value in held.items())  # after the block, and not before
    expected = plain.at(7).network().state_dict()
    assert early.drawn == 7
    assert all(torch.equal(expected[name], value) for name, value in early.at(7).network().state_dict().items())
    for k in range(3):
        assert torch.equal(plain.at(7).real(k), early.at(7).real(k))
        one, other = plain.at(7).augmentation(k), early.at(7).augmentation(k)
        assert one is not None
        assert other is not None
        assert one.operation == other.operation
        assert all(torch.equal(one.parameters[name], value) for name, value in other.parameters.items())


def test_the_iteration_inside_keeps_its_own_draws(real) -> None:
    early = draws(real)
    early.network.eval()
    with early.ahead(1):
        pass
    assert early.at(1).network().training
    assert not any(p.requires_grad for p in early.at(1).network().parameters())
    with early.ahead(2):
        inside = [p.clone() for p in early.at(1).network().parameters()], early.at(1).real(0)
    plain = draws(real).at(1)
    assert all(torch.equal(p, q) for p, q in zip(plain.network().parameters(), inside[0], strict=True))
    assert torch.equal(plain.real(0), inside[1])
    assert torch.equal(draws(real).at(9).real(2), early.at(9).real(2))  # any other iteration is drawn when it is asked for


def test_a_shared_network_is_left_as_it_is(real) -> None:
    early = draws(real, iterations_per_network=3)
    first = early.at(3).network()
    with torch.no_grad():
        next(first.parameters()).zero_()  # as if trained
    with early.ahead(4):
        pass
    assert not next(early.at(4).network().parameters()).any()
    with early.ahead(6):
        pass
    assert next(early.at(6).network().parameters()).any()


def test_what_is_drawn_early_for_iterations_that_share_it_is_the_same(real) -> None:
    early = draws(real, real_every=2)
    with early.ahead(3):
        pass
    plain = draws(real).at(2)
    assert early.at(3).iteration == early.at(2).iteration == 2
    assert torch.equal(early.at(3).real(1), plain.real(1))
    assert all(torch.equal(p, q) for p, q in zip(early.at(3).network().parameters(), plain.network().parameters(), strict=True))


def test_an_error_inside_is_not_swallowed(real) -> None:
    early = draws(real)
    with pytest.raises(KeyError, match="mine"), early.ahead(1):
        raise KeyError("mine")
    assert early.drawn == -1


def test_an_error_of_the_thread_arrives(real) -> None:
    early = draws(real, init="no such init")
    with pytest.raises(datadam.InvalidInput, match="no such init"), early.ahead(1):
        pass


@pytest.mark.parametrize(("method", "part"), [("dm", 1), ("datadam", 0)])
def test_a_run_that_draws_ahead_is_the_same_run(real, recipe: Callable[..., Recipe], method: str, part: int) -> None:
    images = []
    for ahead in (False, True):
        run = datadam.begin(real, recipe(method, precision="float32", batch_synthetic=part))
        assert not run.draws_ahead  # for a CPU, which would have nothing to wait for
        run.draws_ahead = ahead
        assert len(list(run.steps())) == 4
        images.append(run.result().images)
        assert bool(run.draws.ready) == ahead
    assert torch.equal(*images)


@pytest.mark.parametrize("form", ["", "uint8", "float32"])
def test_the_classes_fetched_together_are_those_fetched_alone(form: str) -> None:
    real = make_real(per_class=(2, 12, 7))
    kept = keep(real, form, torch.device("cpu")) if form else None
    draw = draws(real, kept=kept).at(4)
    together = draw.real_of(0, 3)
    assert [len(images) for images in together] == [2, 5, 5]
    assert all(torch.equal(images, draw.real(k)) for k, images in enumerate(together))
    assert [len(images) for images in draw.real_of(1, 2)] == [5]


def test_what_stays_on_the_cpu_is_not_copied() -> None:
    drawn = torch.arange(3)
    assert carry(drawn, torch.device("cpu")) is drawn


def test_full_memory_leaves_a_checkpoint_and_a_cure(real, recipe: Callable[..., Recipe], tmp_path) -> None:
    run = datadam.begin(real, recipe(), out=tmp_path / "run")
    steps = run.steps()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...")

    next(steps)
    run.gradient = full  # type: ignore[assignment]
    with pytest.raises(datadam.RunFailed, match=r"memory of the GPU is full \(CUDA out of memory\).*resume"):
        next(steps)
    assert (run.saved, run.torn) == (1, False)
    again = datadam.resume(tmp_path / "run", real)
    assert len(list(again.steps())) == 3
    whole = datadam.distill(real, recipe())
    assert torch.equal(again.result().images, whole.images)
