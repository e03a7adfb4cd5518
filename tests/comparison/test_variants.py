"""Methods in one word: what it says, what it may not say, and where its runs lie."""

import dataclasses
import re
from pathlib import Path

import pytest

import datadam
from datadam import nets
from datadam.augment.policies import check_words
from datadam.comparison.variants import Variant, changed, network, split, variant
from datadam.data import RealData
from datadam.distillation.presets import FOR_METHOD, Sketch, preset
from datadam.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("random,dm", ["random", "dm"]),
        (" random , dm ", ["random", "dm"]),
        ("datadam:layers=(1,2),dm", ["datadam:layers=(1,2)", "dm"]),
        ("dm:net=convnet3[norm=batch,width=8],datadam:layers=()", ["dm:net=convnet3[norm=batch,width=8]", "datadam:layers=()"]),
        ("a([,],),b", ["a([,],)", "b"]),
        ("", [""]),
    ],
)
def test_commas_in_brackets_part_nothing(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["datadam:layers=(1,2", "datadam:layers=1,2)", "dm:net=convnet3[norm=batch)", "([)]"])
def test_brackets_come_in_pairs(text: str) -> None:
    with pytest.raises(InvalidInput, match="do not close"):
        split(text)


def test_a_word_is_a_name_and_settings() -> None:
    found = variant("datadam : power=1: layers=(1, 2) :net=convnet3[norm=batch:width=8]")
    assert found.word == "datadam:power=1:layers=(1,2):net=convnet3[norm=batch:width=8]"
    assert (found.base, dict(found.settings)) == (
        "datadam",
        {"power": "1", "layers": "(1,2)", "net": "convnet3:norm=batch:width=8"},
    )
    assert variant("paper") == Variant("paper", "paper")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("convnet3", "convnet3"),
        ("convnet3:norm=batch", "convnet3:norm=batch"),
        ("convnet3[norm=batch]", "convnet3:norm=batch"),
        ("convnet3[norm=batch,width=8]", "convnet3:norm=batch:width=8"),
        ("convnet3[]", "convnet3"),
    ],
)
def test_options_of_a_network_stand_in_brackets(text: str, spelled: str) -> None:
    assert network(text) == spelled


def test_every_fault_of_a_word_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refusal:
        variant("datdam:power:ipc=3:seed=1:start=noise:start=real")
    assert len(refusal.value.faults) == 5
    for words in ("Did you mean 'datadam'", "is no assignment", "give it as ipc", "give it as seed", "start is given twice"):
        assert words in str(refusal.value)


def recipe_of(word: str, real: RealData, **settings: object):
    one = variant(word)
    return changed(datadam.preset(one.base, real, ipc=2), one, settings)


def test_settings_of_method_and_recipe_go_by_name_and_the_word_goes_first(real: RealData) -> None:
    recipe = recipe_of("datadam:power=1:layers=():start=noise:iterations=7", real, iterations=5, batch_real=4)
    usual = datadam.preset("datadam", real, ipc=2)
    method = dataclasses.replace(usual.method, power=1.0, layers=())
    assert recipe == dataclasses.replace(usual, method=method, start="noise", iterations=7, batch_real=4)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("datadam:powr=1", "Did you mean 'power'"),
        ("datadam:power=0", "datadam:power=0: power"),
        ("datadam:norm=batch", r"net=convnet3\[norm=batch\]"),
        ("random:batch_real=3", "learns nothing; leave out batch_real"),
        ("random:power=3", "unknown setting 'power'"),
    ],
)
def test_wrong_settings_are_refused_with_the_cure(real: RealData, word: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        recipe_of(word, real)


def test_folders_are_readable_and_differ_where_words_do() -> None:
    assert variant("dm").folder == "dm"
    assert variant("dm:start=noise").folder == "dm-start=noise"
    words = ["datadam:layers=()", "datadam:layers=(1)", "datadam:layers=(1,2)", "datadam:layers=(12)", "datadam:layers=1",
             "dm:net=convnet3[width=4]", "dm:net=convnet3:width=4", "datadam:layers=(" + "1," * 60 + "1)",
             "datadam:layers=(" + "1," * 60 + "2)"]  # fmt: skip
    folders = [variant(word).folder for word in words]
    assert len(set(folders)) == len(words)
    assert all(len(folder) < 100 and not set(folder) & set("/()[]:, ") for folder in folders)


def lines_of(document: str) -> tuple[list[str], list[str]]:
    """The methods and the networks of each `compare` line of a document."""
    page = (Path(__file__).parents[2] / "docs" / document).read_text()
    lists = [quoted or plain for quoted, plain in re.findall(r"--methods (?:'([^']+)'|([^\s`]+))", page)]
    return lists, re.findall(r"--nets ([^\s`\\]+)", page)


@pytest.mark.parametrize(("document", "least"), [("compare.md", (12, 3)), ("networks.md", (1, 1)), ("choose.md", (1, 0))])
def test_every_line_of_the_documents_can_be_said(document: str, least: tuple[int, int]) -> None:
    lists, columns = lines_of(document)
    assert len(lists) >= least[0]
    assert len(columns) >= least[1]
    kind = Sketch("cifar10", (3, 32, 32))
    for text in lists:
        recipes = []
        for word in split(text):
            one = variant(word)
            recipes.append(changed(preset(FOR_METHOD.get(one.base, one.base), kind, ipc=10), one, {}))
        assert len({str(recipe) for recipe in recipes}) == len(recipes)
    for text in columns:
        for word in split(text):
            name, _, augment = word.partition("@")
            assert nets.canonical(name, kind.shape)
            if augment not in ("", "dsa"):
                check_words(augment)


def test_the_paper_s_tables_have_every_case() -> None:
    """Table 5: the feature-map transfer has neither loss; Table 6: the last layer alone; Table 7: every fifth."""
    words = {name: {word for text in lines_of(name)[0] for word in split(text)} for name in ("compare.md", "networks.md")}
    assert {"datadam:maps=features:task_balance=0", "datadam:layers=none", "datadam:layers=(1)"} <= words["compare.md"]
    for found in words.values():
        ranges = {word.partition("@")[2] for word in found if "networks=" in word}
        assert ranges == {"0-20", "20-40", "40-60", "60-80", "80-100"}
    six = next(text for text in lines_of("compare.md")[0] if "layers=(1)" in text)
    assert "datadam:layers=none" in split(six)


def test_spaces_within_a_folder_s_name_stay() -> None:
    found = variant(" datadam : networks = my pool@0-20 : layers = ( 1 , 2 ) ")
    assert found.word == "datadam:networks=my pool@0-20:layers=(1,2)"
    assert dict(found.settings) == {"networks": "my pool@0-20", "layers": "(1,2)"}
    assert " " not in found.folder
    assert found.folder != variant("datadam:networks=mypool@0-20:layers=(1,2)").folder
