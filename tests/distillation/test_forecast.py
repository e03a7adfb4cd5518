"""What a run costs, told before it starts."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import make_real

import datadam
from datadam import machine
from datadam.data.resident import keep
from datadam.distillation import forecast as module
from datadam.distillation.forecast import forecast, kept_bytes, kept_form, passes_a_second, passes_of, size_of
from datadam.errors import NotEnoughMemory
from datadam.methods import matching
from datadam.methods.coresets import cost as costs
from datadam.training import difficulty


def test_passes_of_feature_matching(recipe) -> None:
    assert passes_of(recipe("dm", ipc=4), [5, 5, 3]) == 13 + 2 * 12
    assert passes_of(recipe("dm", ipc=4, real_every=2), [5, 5, 3]) == 13 / 2 + 2 * 12
    assert passes_of(recipe("dm", ipc=4, decoder="grid:2", batch_synthetic=6), [5, 5, 3]) == 13 + 2 * 18
    assert passes_of(recipe("dm", ipc=4, batch_synthetic=6), [5, 5, 3]) == 13 + 2 * 12
    assert passes_of(recipe("pixel", ipc=4), [5, 5, 3]) == 0  # it needs no network


def test_passes_of_gradient_matching_with_the_training_between(recipe) -> None:
    matched = 3 * 15 + 8 * 6
    assert passes_of(recipe("dc", network_epochs=0), [5, 5, 5]) == matched
    asked = recipe("dc", ipc=2, iterations_per_network=4, network_epochs=10)
    assert passes_of(asked, [5, 5, 5]) == pytest.approx(matched + 3 * 10 * 6 * 3 / 4)
    drawn = asked.change({"network_when": "drawn"})
    assert passes_of(drawn, [5, 5, 5]) == pytest.approx(matched + 3 * 10 * 6 / 4)


def test_a_step_trains_on_a_batch_and_an_epoch_on_all(recipe) -> None:
    asked = recipe("dm", ipc=200, iterations_per_network=2, network_steps=7)
    bare = passes_of(asked.change({"network_steps": 0}), [5, 5, 5])
    assert passes_of(asked, [5, 5, 5]) - bare == pytest.approx(3 * 7 * 256 / 2)
    epochs = asked.change({"network_steps": 0, "network_epochs": 7})
    assert passes_of(epochs, [5, 5, 5]) - bare == pytest.approx(3 * 7 * 600 / 2)


def test_a_coreset_costs_no_operations(real) -> None:
    assert forecast(real, datadam.preset("random", real, ipc=2).change({"net": "convnet2"})).flops == 0


def test_seconds_are_passes_over_the_measured_rate(real, recipe, monkeypatch) -> None:
    asked = dataclasses.replace(recipe("dc", precision="float32"), iterations=10_000)
    monkeypatch.setattr(module, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(module, "COMPILING_PAYS", float("inf"))
    monkeypatch.setattr(module, "passes_a_second", lambda *what: 50.0)
    assert forecast(real, asked).seconds == pytest.approx(10_000 * passes_of(asked, [5, 5, 5]) / 50)
    assert forecast(real, dataclasses.replace(asked, iterations=20_000)).seconds == 2 * forecast(real, asked).seconds


def test_moments_are_not_measured(real, recipe, monkeypatch) -> None:
    monkeypatch.setattr(module, "passes_a_second", lambda *what: 1 / 0)
    assert forecast(real, recipe("dc")).seconds == 0.0
    assert datadam.begin(real, recipe("dc")).expected == 0.0


def test_the_rate_is_measured_once_a_net() -> None:
    passes_a_second.cache_clear()
    rates = [passes_a_second("convnet1:width=4", (3, 8, 8), 16, "cpu", 4) for _ in range(2)]
    assert 0 < rates[0] == rates[1] < float("inf")
    assert passes_a_second.cache_info().hits == 1


@pytest.mark.parametrize("name", ["dc", "dsa", "cafe", "dm"])
def test_memory_is_told_and_refused_with_the_cure(real, recipe, name: str) -> None:
    wide = recipe(name, net="convnet2:width=64", ipc=12)
    needed = forecast(real, wide, memory_limit=10**12).bytes
    assert needed == forecast(real, wide).bytes + real.train.pixels.nbytes + real.test.pixels.nbytes
    assert forecast(real, wide, memory_limit=needed).bytes == needed
    with pytest.raises(NotEnoughMemory, match="lower ipc, lower batch_real"):
        forecast(real, wide, memory_limit=needed - 1)
    assert forecast(real, recipe(name, net="convnet2:width=128", ipc=12)).bytes > needed


def test_gradient_matching_holds_one_class_and_not_more(recipe) -> None:
    few, many = (make_real(classes=k, per_class=16, shape=(3, 16, 16)) for k in (2, 20))
    asked = recipe("dc", net="convnet2:width=64", ipc=16, start="noise", network_epochs=0)
    grown = forecast(many, asked).bytes - forecast(few, asked).bytes
    images = 18 * 16 * 3 * 16 * 16 * 8
    assert grown == 4 * images
    assert forecast(few, dataclasses.replace(asked, ipc=32)).bytes - forecast(few, asked).bytes > 4 * 2 * 16 * 3 * 16 * 16 * 8


def test_batch_norm_couples_only_feature_matching(real, recipe) -> None:
    net = "convnet2:norm=batch:width=6"
    assert any("couples" in note for note in forecast(real, recipe("dm", net=net)).notes)
    assert not forecast(real, recipe("dc", net=net)).notes


LARGE = 10**12
TRAIN = 3 * 12 * 3 * 8 * 8  # numbers of all training images


@pytest.mark.parametrize(
    ("whitens", "precision", "device", "drawn", "free", "expected"),
    [
        (True, "float32", "cpu", 2 * 36, 1e9, "float32"),
        (True, "bfloat16", "cpu", 2 * 36, 1e9, "float16"),
        (True, "float32", "cpu", 2 * 36 - 1, 1e9, ""),  # whitened less often one by one
        (False, "float32", "cpu", 10**6, 1e9, ""),  # bytes are read fast enough
        (True, "float32", "cpu", 72, 4 * 4 * TRAIN, "float32"),  # a quarter of what is free
        (True, "float32", "cpu", 72, 4 * 4 * TRAIN - 1, ""),
        (True, "bfloat16", "cpu", 72, 4 * 4 * TRAIN - 1, "float16"),
        (True, "float32", "cpu", 72, -1e9, ""),
        (False, "float32", "cuda", 1, 1e9, "uint8"),  # a GPU is far from the memory, however little is drawn
        (True, "float32", "cuda", 1, 1e9, "float32"),
        (True, "bfloat16", "cuda", 1, 1e9, "float16"),
        (False, "bfloat16", "cuda", 1, 4 * TRAIN - 1, ""),
    ],
)
def test_the_form_in_which_images_are_kept(
    real, whitens: bool, precision: str, device: str, drawn: int, free: float, expected: str
) -> None:
    assert kept_form(real, whitens, precision, device, drawn, free) == expected
    if whitens:  # data whitened by hand are as expensive to read
        assert kept_form(real.with_zca("kornia"), False, precision, device, drawn, free) == expected
    if expected:
        assert keep(real, expected, torch.device("cpu"))[torch.arange(36)].nbytes == kept_bytes(real, expected, "cuda")
        assert kept_bytes(real, expected, "cpu") == 0  # they lie in a file


def test_a_large_memory_is_not_taken_for_images_that_need_not_be_kept(real, monkeypatch) -> None:
    monkeypatch.setattr(module, "KEPT_LIMIT", 4 * 4 * TRAIN - 1)
    assert kept_form(real, True, "float32", "cpu", 10**6, 1e15) == ""
    assert kept_form(real, True, "float32", "cuda", 10**6, 1e15) == "float32"


def test_images_are_not_kept_where_memory_is_short(real, recipe) -> None:
    asked = recipe(zca="kornia", precision="float32", iterations=1000)
    bare = forecast(real, dataclasses.replace(asked, iterations=1), memory_limit=LARGE)
    assert (bare.plan.kept, forecast(real, asked, memory_limit=LARGE).plan.kept) == ("", "float32")
    assert forecast(real, asked, memory_limit=LARGE).bytes == bare.bytes  # they lie in a file
    enough = bare.bytes + 4 * 4 * TRAIN
    assert forecast(real, asked, memory_limit=enough).plan.kept == "float32"
    for short in (enough - 1, bare.bytes):
        told = forecast(real, asked, memory_limit=short)
        assert (told.plan.kept, told.bytes) == ("", bare.bytes)
    with pytest.raises(NotEnoughMemory):
        forecast(real, asked, memory_limit=bare.bytes - 1)


def test_nothing_is_kept_for_float64_or_a_coreset(real, recipe) -> None:
    assert forecast(real, recipe(zca="kornia", precision="float64", iterations=1000)).plan.kept == ""
    assert forecast(real.with_zca("kornia"), datadam.preset("random", real, ipc=2)).plan.kept == ""


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Choose what this machine can do; compiling always pays, and is only played."""

    def choose(compiler: bool = True, precision: str = "bfloat16") -> None:
        monkeypatch.setattr(module, "COMPILING_PAYS", 0.0)
        monkeypatch.setattr(module, "can_compile", lambda device="cpu": compiler)
        monkeypatch.setattr(module, "fast_precision", lambda device="cpu": precision)
        monkeypatch.setattr(matching, "compiled", lambda function, device="cpu": function)

    return choose


def test_auto_is_float32_where_nothing_is_compiled(real, recipe, fast) -> None:
    asked = recipe(precision="auto", net="convnet2:width=8")
    assert forecast(real, asked).precision == "float32"  # moments do not pay
    fast(compiler=False)
    told = forecast(real, asked)
    assert (told.precision, told.plan.compiled) == ("float32", False)
    assert any("compiler" in note for note in told.notes)
    fast()
    unequal = make_real(per_class=(3, 12, 12))  # each new size of a batch would be compiled again
    assert (forecast(unequal, asked).precision, forecast(unequal, asked).plan.compiled) == ("float32", False)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_auto_is_what_the_machine_says_where_code_is_compiled(real, recipe, fast, precision: str) -> None:
    fast(precision=precision)
    told = forecast(real, recipe(precision="auto"))
    assert (told.precision, told.plan.compiled) == (precision, True)
    assert forecast(real, recipe("dm", precision="auto")).precision == precision


def test_a_precision_asked_for_stays(real, recipe, fast) -> None:
    fast(precision="bfloat16")
    assert forecast(real, recipe(precision="float32")).precision == "float32"
    fast(compiler=False)
    assert forecast(real, recipe(precision="bfloat16")).precision == "bfloat16"
    assert forecast(real, recipe(precision="float64")).precision == "float64"


@pytest.mark.parametrize("name", ["dc", "dsa", "cafe"])
def test_auto_is_float32_for_methods_that_need_gradients_of_the_real_side(real, recipe, fast, name: str) -> None:
    fast()
    assert forecast(real, recipe(name, precision="auto")).precision == "float32"


@pytest.mark.parametrize("name", ["mtt", "frepo"])
def test_auto_is_what_the_machine_says_for_methods_that_train_on_the_set(real, fast, name: str) -> None:
    fast(compiler=False)
    asked = datadam.preset(name, real, ipc=2).change({"net": "convnet2:width=6", "precision": "auto"})
    assert forecast(real, asked).precision == "bfloat16"


@pytest.mark.parametrize("name", ["random", "herding"])
def test_auto_is_float32_for_coresets(real, fast, name: str) -> None:
    fast()
    asked = datadam.preset(name, real, ipc=2).change({"net": "convnet2", "precision": "auto"})
    assert forecast(real, asked).precision == "float32"


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_auto_is_what_the_machine_says_for_generators(real, fast, precision: str) -> None:
    fast(compiler=False, precision=precision)
    asked = datadam.preset("cgan", real, ipc=2).change({"net": "convnet2", "precision": "auto"})
    assert forecast(real, asked).precision == precision


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_the_card_holds_the_precision_that_was_settled_on(real, recipe, fast, tmp_path: Path, precision: str) -> None:
    """And a resumed run goes on with it, whatever the machine says by then."""
    fast(precision=precision)
    asked = recipe(precision="auto", iterations=3)
    whole = datadam.distill(real, asked)
    assert (whole.card["recipe"]["precision"], whole.card["plan"]["compiled"]) == (precision, True)
    run = datadam.begin(real, asked, out=tmp_path / "run")
    next(run.steps())
    fast(compiler=False, precision="float32")
    again = datadam.resume(tmp_path / "run", real)
    assert (again.recipe.precision, again.plan) == (precision, run.plan)
    list(again.steps())
    assert torch.equal(again.result().images, whole.images)


def test_chunks_grow_with_threads_and_shrink_with_maps(monkeypatch) -> None:
    chunks = {}
    for threads in (1, 2, 7, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        chunks[threads] = machine.chunk_for(128 * 32 * 32 * 4)
        assert machine.chunk_for(10**12) == 1
        assert machine.chunk_for(0) > 0
        sizes = [machine.chunk_for(image) for image in (100, 1000, 10_000, 10**6, 10**8)]
        assert sizes == sorted(sizes, reverse=True)
    assert [chunks[threads] for threads in (2, 7, 64)] == [threads * chunks[1] for threads in (2, 7, 64)]
    assert chunks[1] * 128 * 32 * 32 * 4 == machine.cache_a_thread()


def test_chunks_of_a_run_are_as_large_as_its_largest_map_allows(real, recipe) -> None:
    chunks = {
        p: forecast(real, recipe(net="convnet2:width=64", precision=p)).plan.chunk for p in ("float64", "float32", "bfloat16")
    }
    assert chunks == {p: machine.chunk_for(64 * 8 * 8 * width) for p, width in (("float64", 8), ("float32", 4), ("bfloat16", 2))}
    assert forecast(real, recipe(net="convnet2:norm=batch:width=64")).plan.chunk == machine.images_at_once(real.shape)


# --- what choosing costs ---


@pytest.fixture
def choosing(real, monkeypatch) -> Callable[..., module.Forecast]:
    """The forecast of a coreset where ten forward passes take a second."""
    monkeypatch.setattr(module, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(module, "passes_a_second", lambda *what: 10.0)

    def told(name: str, net: str = "convnet2:width=8", **settings: object) -> module.Forecast:
        return forecast(real, datadam.preset(name, real, ipc=2).change({"net": net} | settings))

    return told


def test_seconds_of_a_choice_are_its_training_and_its_looks(choosing) -> None:
    assert choosing("random").seconds == 0.0
    assert choosing("herding").seconds == pytest.approx((3 * 20 + 1) * 36 / 10)
    assert choosing("herding", features="random").seconds == pytest.approx(36 / 10)
    assert choosing("forgetting", epochs=7).seconds == pytest.approx(3 * 7 * 36 / 10)
    assert choosing("el2n", averaged=2).seconds == pytest.approx(2 * (3 * 5 + 1) * 36 / 10)
    assert choosing("grand", averaged=2).seconds == pytest.approx(2 * (3 * 5 + 6) * 36 / 10)


def test_gradients_image_by_image_are_counted(choosing, monkeypatch) -> None:
    """Where the weights are many and the maps few, they are what GraNd takes; never above what may lie there together."""
    wide = "mlp:width=2000"
    grand, el2n, herding = (choosing(name, wide).bytes for name in ("grand", "el2n", "herding"))
    assert el2n == pytest.approx(herding, abs=2e6)
    assert 1.5 * difficulty.GRADIENT_BYTES < grand - el2n < 2.2 * difficulty.GRADIENT_BYTES
    monkeypatch.setattr(costs, "GRADIENT_BYTES", 1)  # image after image
    assert choosing("grand", wide).bytes < grand - 1.5 * (1 << 28)


PEAK = """
import torch
from small import make_real
from datadam import machine, nets
from datadam.methods.coresets import cost as costs
from datadam.training import difficulty
real = make_real()
network = nets.build({net!r}, shape=real.shape, classes=3)
images, labels = real.images(range(36)), torch.from_numpy(real.train.labels)
before = machine.peak_memory_mb()
difficulty.grand(network, images, labels)
print(machine.peak_memory_mb() - before)
"""


def test_gradients_take_no_more_than_was_foreseen(choosing) -> None:
    """Measured in a process that has held nothing more before, beside what a look without gradients takes."""
    wide = "mlp:width=2000"
    there = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PEAK.format(net=wide)]
    run = subprocess.run(command, env=there, capture_output=True, text=True, check=True)
    taken = float(run.stdout) * 1e6
    foreseen = choosing("grand", wide).bytes - choosing("random", wide).bytes
    assert 0.4 * foreseen < taken < 1.1 * foreseen


def test_memory_of_a_run_that_has_begun_is_told_with_its_data(real, recipe, monkeypatch) -> None:
    asked = recipe(zca="kornia", precision="float32", iterations=1000)
    told = forecast(real, asked, memory_limit=LARGE)
    assert told.whole == told.bytes
    assert module.foretold_memory(real, asked, "float32", "cpu") == told.whole
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": 0)  # it has taken what there was
    assert module.foretold_memory(real, asked, "", "cpu") == told.whole  # kept images lie in a file


@pytest.mark.parametrize("net", ["convnet2:width=4", "convnet2:norm=batch:width=4"])
def test_a_class_of_which_a_part_is_looked_at_is_decoded_whole(recipe, net: str) -> None:
    real = make_real(shape=(3, 8, 8))
    sets = [recipe("dm", ipc=ipc, net=net, decoder="dct:8", batch_synthetic=16) for ipc in (2, 500)]
    small, large = (forecast(real, asked, memory_limit=1 << 40).bytes for asked in sets)
    image = 3 * 8 * 8 * 8  # bytes, in float64
    assert large - small == 4 * 3 * 498 * image + 4 * 498 * 8 * image  # images, start, momentum, gradient; and the decoded


def test_networks_train_on_the_whole_set_whatever_part_an_iteration_looks_at(recipe) -> None:
    asked = recipe("dm", ipc=50, network_steps=2, batch_synthetic=1)
    whole = size_of(asked.change({"batch_synthetic": 0}), (5, 5, 5))
    assert asked.method.cost(replace(size_of(asked, (5, 5, 5)), blocks=(100,))).bytes == 5 * 150 * 100
    assert size_of(asked, (5, 5, 5)) == replace(whole, part=1)
