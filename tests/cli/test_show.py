"""`datadam show`, `list` and `report`: what there is, and what came out."""

import json
from pathlib import Path

import pytest
from cli.conftest import QUICK, TINY

from datadam import methods, nets
from datadam.cli.config import AT_ONCE
from datadam.data.catalog import CATALOG as DATA
from datadam.distillation import presets, start
from datadam.evaluation import protocols
from datadam.exchange import FORMATS
from datadam.sets.decoders import DECODERS
from datadam.sets.distilled import DistilledSet

NAMES = {
    "data": DATA, "methods": methods.CATALOG, "presets": presets.CATALOG, "nets": nets.CATALOG, "starts": start.STARTS,
    "decoders": DECODERS, "protocols": protocols.CATALOG, "formats": FORMATS,
}  # fmt: skip


@pytest.mark.parametrize("what", [what for what in NAMES if what != "methods"])
def test_list_tells_every_name_with_a_description(cli, what: str) -> None:
    rows = [line.split("  ", 1) for line in cli("list", what).out.splitlines()]
    assert [name for name, _ in rows] == list(NAMES[what])
    assert all(words.strip() for _, words in rows)
    told = cli("list", what, "--json").json
    assert [(row["name"], row["description"]) for row in told] == [(name, words.strip()) for name, words in rows]


def test_list_tells_family_source_and_cost_of_each_method(cli) -> None:
    lines = cli("list", "methods").out.splitlines()
    assert max(map(len, lines)) <= 100
    told = {row["name"]: row for row in cli("list", "methods", "--json").json}
    assert list(told) == list(methods.CATALOG)
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert [lines[number].split()[0] for number in starts] == list(told)
    for (name, row), begin, end in zip(told.items(), starts, [*starts[1:], len(lines)], strict=True):
        text = " ".join(" ".join(lines[begin:end]).split())
        source = f"; {row['source']}" if row["source"] else ""
        assert text == f"{name} {row['family']}{source} {row['description']} cost: {row['cost']}"
        assert row["citation"] == methods.CATALOG[name].citation
        assert bool(row["source"]) == bool(row["citation"])


def test_methods_are_told_with_authors_and_costs_as_published(cli) -> None:
    told = {row["name"]: row for row in cli("list", "--json").json["methods"]}
    assert told["dm"]["source"] == "Zhao and Bilen, WACV 2023"
    assert told["herding"]["source"] == "Welling, ICML 2009; Rebuffi et al., CVPR 2017"
    assert told["datadam"]["source"] == "Sajedi et al., ICCV 2023"
    assert told["random"]["cost"] == "none"
    assert told["el2n"]["epochs_on_real"] == 15  # three networks of five epochs
    assert told["datadam"]["passes"] == {"real": 1, "synthetic": 2, "each_class": 0, "training": 0}
    assert told["calm"]["passes"]["training"] == 0
    assert told["dsa"]["passes"]["training"] == 3 * 50 * 9 / 10  # 3 passes, 50 epochs, between 10 image steps of a network
    assert "135 more a synthetic one to train networks (preset dsa, ipc 10)" in told["dsa"]["cost"]


def test_list_without_a_word_tells_all(cli) -> None:
    lines = cli("list").out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == list(NAMES)
    told = cli("list", "--json").json
    assert {kind: [row["name"] for row in rows] for kind, rows in told.items()} == {kind: list(n) for kind, n in NAMES.items()}


def test_the_shape_of_named_data_is_that_of_its_title() -> None:
    for name, row in DATA.items():
        assert " x ".join(map(str, row.shape)) in row.title, name


@pytest.mark.parametrize("preset", [*presets.CATALOG, "random", "kmeans"])
@pytest.mark.parametrize("data", ["mnist", "tiny-imagenet"])
def test_show_tells_every_setting_of_a_preset_as_it_would_run(cli, preset: str, data: str) -> None:
    outcome = cli("show", preset, "--data", data, "--ipc", 60)
    told = dict(line.split(maxsplit=1) for line in outcome.out.splitlines() if line.startswith("  "))
    recipe = presets.preset(preset, presets.Sketch(data, DATA[data].shape), ipc=60)
    assert told["method"] == recipe.method.name
    assert told["net"].split()[0] == recipe.net
    if not recipe.method.at_once:
        settings = {name: value for name, value in told.items() if name != "method"}
        assert set(settings) == set(recipe.to_card()) - {"method", "ipc", "preset"} | set(recipe.method.settings())
        plain = {name: value.split(" (")[0] for name, value in settings.items()}
        assert recipe.change(plain) == recipe  # each is shown as one would write it
    elif recipe.method.samples:
        assert set(told) == {"method", *recipe.method.settings(), *AT_ONCE, "precision"}
    assert cli("show", preset, "--data", data, "--ipc", 60, "--json").json == json.loads(json.dumps(recipe.to_card()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("papr",), "Did you mean 'paper'"),
        (("paper", "--data", "minst"), "Did you mean 'mnist'"),
        (("paper", "--ipc", 0), "ipc is 0"),
        (("run", "--ipc", 3), "leave out --data and --ipc"),
        ((".",), "card.json does not exist"),
    ],
)
def test_show_refuses_what_is_neither_run_nor_preset(
    refused, run: Path, monkeypatch, arguments: tuple[object, ...], told: str
) -> None:
    monkeypatch.chdir(run.parent)
    assert told in refused("show", *arguments)


def test_show_tells_a_run_in_a_few_lines(cli, run: Path) -> None:
    before = cli("show", run).out
    assert f"not judged yet: datadam evaluate {run}" in before
    for words in ("2 images for each of 3 classes, 3 x 8 x 8, distilled", "30 training and 12 test", "datadam  power=4",
                  "3 iterations in ", "convnet1:width=4", "in network space"):  # fmt: skip
        assert words in before
    cli("evaluate", run, *QUICK, "--note", "demo")
    outcome = cli("show", run, "--json")
    assert outcome.json["cards"] == [DistilledSet.load(run).card]
    (e,) = outcome.json["evaluations"]
    lines = cli("show", run).out.splitlines()
    assert any(f"{100 * e['mean']:.2f}" in line and "[demo]" in line for line in lines)
    assert len(lines) < 20


def test_show_tells_warnings_notes_and_repeats(cli, pictures: Path, tmp_path: Path) -> None:
    command = ("distill", pictures / "train", "--ipc", 1, *TINY, "--set", "lr_images=1e-9", "--note", "demo", "--repeats", 2)
    assert cli(*command, "--out", tmp_path / "run").code == 0
    text = cli("show", tmp_path / "run").out
    assert "2 sets of 1 image for each of 3 classes" in text
    assert "the images hardly moved" in text
    assert "demo" in text
    assert "no test part" in text


def test_show_tells_the_evaluation_of_the_protocol_first(cli, run: Path) -> None:
    """One without augmentation is kept under a name that comes first."""
    for more in (("--augment", "none"), ()):
        assert cli("evaluate", run, *QUICK, *more).code == 0
    augments = [e["protocol"]["augment"] for e in cli("show", run, "--json").json["evaluations"]]
    assert augments[0] != "none" == augments[1]


def test_report_writes_one_page(cli, run: Path) -> None:
    outcome = cli("report", run)
    assert outcome.code == 0
    assert outcome.out.startswith(f"{run / 'report.html'}: ")
    assert "<html" in (run / "report.html").read_text()
    other = run.parent / "pages" / "both.html"
    told = cli("report", run, run, "--out", other, "--json").json
    assert told == {"report": str(other), "runs": [str(run), str(run)], "bytes": other.stat().st_size}


def test_report_never_takes_the_place_of_anything_but_a_page(refused, run: Path) -> None:
    card = (run / "card.json").read_bytes()
    assert "ends in .html" in refused("report", run, "--out", run / "card.json")
    assert (run / "card.json").read_bytes() == card
    assert "cannot write into" in refused("report", run, "--out", run / "card.json" / "report.html")
    assert "does not exist" in refused("report", run, run.parent / "nowhere")
    assert not (run / "report.html").exists()
