"""A budget becomes a recipe that takes about as long as it says, on a machine of any speed."""

import pytest

import datadam
from datadam import nets
from datadam.distillation import budget
from datadam.distillation.forecast import passes_of
from datadam.distillation.made_first import recipe_of_start
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.testing import small_data


@pytest.fixture(autouse=True)
def speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does so many passes a second, compiles nothing and has no bfloat16."""
    monkeypatch.setattr(budget, "passes_a_second", lambda *_: 10_000.0)
    monkeypatch.setattr(budget, "can_compile", lambda *_: False)
    monkeypatch.setattr(budget, "fast_precision", lambda *_: "float32")


@pytest.fixture
def real() -> datadam.RealData:
    return small_data(per_class=400)


@pytest.mark.parametrize(
    ("words", "seconds"), [("300", 300), ("5min", 300), ("5 min", 300), ("2h", 7200), ("90s", 90), (75.5, 75.5)]
)
def test_times_are_read(words: str | float, seconds: float) -> None:
    assert budget.seconds_of(words) == seconds


@pytest.mark.parametrize("words", ["", "soon", "5 parsecs", "-5min", "nan", "inf", "59", "0.1min", "min"])
def test_what_is_no_time_is_refused(words: str) -> None:
    with pytest.raises(InvalidInput, match=r"the budget is .*5min|at least 60 seconds"):
        budget.seconds_of(words)


def first_of(recipe: Recipe, images: int) -> float:
    """Passes of training the networks that a recipe needs first."""
    needs = recipe.method.needs
    assert needs.training is not None
    measured = 12 * 500 if recipe.method.name == "calm" else 0
    return needs.count * needs.training.epochs * (3 * (0.8 if measured else 1) * images + measured)


@pytest.mark.parametrize("seconds", [61, 300, 1800])
def test_pool_and_iterations_fill_the_time(real: datadam.RealData, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(budget, "passes_a_second", lambda *_: 150_000 / seconds)
    recipe = budget.within(real, 2, seconds, net="convnet2:width=4")
    assert recipe.method.name == "calm"
    pool = first_of(recipe, len(real.train))
    iterations = recipe.iterations * passes_of(recipe, [recipe.batch_real] * 3)
    assert 0.9 * 150_000 <= pool + iterations <= 150_000
    assert pool <= 0.45 * 150_000


@pytest.mark.parametrize("seconds", [300, 1800])
def test_with_time_what_calm_makes_is_gone_on_with(
    real: datadam.RealData, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(budget, "passes_a_second", lambda *_: 1_000_000 / seconds)
    recipe = budget.within(real, 2, seconds, net="convnet2:width=4", decoder="grid:2")
    assert (recipe.method.name, recipe.start, recipe.decoder) == ("mtt", "calm-quick", "grid:2")
    start = recipe_of_start(real, recipe)
    assert start is not None
    drawn = [start.batch_real] * 3
    spent = sum(first_of(part, len(real.train)) + part.iterations * passes_of(part, drawn) for part in (recipe, start))
    assert budget.FOLLOWED[0] <= recipe.iterations < budget.FOLLOWED[1]
    assert 0.8 * 1_000_000 <= spent <= 1_000_000


def test_more_time_means_more_of_everything(real: datadam.RealData) -> None:
    recipes = [budget.within(real, 2, seconds, net="convnet2:width=4") for seconds in (10, 20, 60, 6000)]
    names = [recipe.method.name for recipe in recipes]
    assert names == sorted(names)
    assert names[0] == "calm"
    assert names[-1] == "mtt"
    of_calm = [recipe for recipe in recipes if recipe.method.name == "calm"]
    assert [first_of(r, 1) for r in of_calm] == sorted(first_of(r, 1) for r in of_calm)
    assert recipes[-1].iterations == budget.FOLLOWED[1]


def test_without_time_for_a_pool_networks_are_random(monkeypatch: pytest.MonkeyPatch, real: datadam.RealData) -> None:
    monkeypatch.setattr(budget, "passes_a_second", lambda *_: 100.0)
    recipe = budget.within(real, 1, 60, net="convnet2:width=4")
    assert (recipe.method.name, recipe.decoder, recipe.start, recipe.method.needs.count) == ("dm", "dct:2", "real", 0)


@pytest.mark.parametrize(
    ("usual", "net", "method", "experts"),
    [(10_000.0, "", "mtt", (3, 7)), (2000.0, "", "mtt", (2, 5)), (1000.0, ":width=64", "mtt", (3, 7)),
     (300.0, ":width=32", "mtt", (3, 7)), (120.0, ":width=32", "mtt", (2, 5)), (100.0, ":width=32", "calm", None),
     (1.0, ":width=32", "dm", None)],
)  # fmt: skip
def test_a_slow_machine_takes_fewer_experts_and_a_narrower_network_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, real: datadam.RealData, usual: float, net: str, method: str, experts: tuple[int, int] | None
) -> None:
    faster = {":width=64": 4.0, ":width=32": 16.0}

    def speed(net: str, *_: object) -> float:
        return usual * next((by for width, by in faster.items() if net.endswith(width)), 1.0)

    monkeypatch.setattr(budget, "passes_a_second", speed)
    recipe = budget.within(real, 1, 100)
    assert recipe.net == nets.canonical("auto", real.shape) + net
    assert recipe.method.name == method
    if experts:
        assert (recipe.method.count, recipe.method.max_start) == experts
    if recipe.method.name == "calm":
        assert recipe.method.count * recipe.method.epochs >= budget.ENOUGH
    assert budget.within(real, 1, 100, net="convnet2:width=4").net == "convnet2:width=4"


@pytest.mark.parametrize(
    ("shape", "ipc", "decoder"),
    [
        ((3, 32, 32), 1, "dct:32"),
        ((3, 32, 32), 2, "dct:16"),
        ((3, 32, 32), 10, "dct:8"),
        ((3, 28, 28), 1, "dct:24"),
        ((1, 28, 28), 1, "grid:4"),
        ((3, 32, 32), 50, "dct:4"),
        ((1, 28, 28), 11, "grid:2"),
        ((1, 28, 28), 10, "grid:4"),
        ((3, 9, 9), 1, "dct:2"),
        ((3, 7, 7), 1, "plain"),
        ((1, 9, 9), 1, "plain"),
        ((1, 8, 8), 1, "plain"),
    ],
)
def test_the_decoder_follows_from_shape_and_ipc(shape: tuple[int, int, int], ipc: int, decoder: str) -> None:
    assert budget.within(small_data(shape=shape, per_class=200), ipc, 60, net="convnet2:width=4").decoder == decoder
    assert (
        budget.within(small_data(shape=shape, per_class=200), ipc, 60, net="convnet2:width=4", decoder="plain").decoder == "plain"
    )


@pytest.mark.parametrize(("members", "decoder"), [(32, "grid:4"), (31, "grid:2"), (7, "plain")])
def test_no_decoder_asks_more_real_images_than_a_class_has(members: int, decoder: str) -> None:
    real = small_data(shape=(1, 32, 32), per_class=members)
    assert budget.within(real, 2, 60, net="convnet2:width=4").decoder == decoder
    assert datadam.preset("calm", real, ipc=2).decoder == decoder


@pytest.mark.parametrize(("members", "decoder"), [(32, "dct:32"), (31, "dct:31"), (1, "plain")])
def test_frequencies_ask_no_more_real_images_than_a_class_has(members: int, decoder: str) -> None:
    real = small_data(shape=(3, 32, 32), per_class=members)
    assert budget.within(real, 1, 60, net="convnet2:width=4").decoder == decoder
    assert datadam.preset("calm-quick", real, ipc=1).decoder == decoder
