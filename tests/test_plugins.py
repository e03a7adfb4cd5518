"""A package of somebody else adds a method, a network and a data set; one that is broken says whose it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import make_real

import datadam
from datadam import nets, plugins
from datadam.cli import app
from datadam.data import catalog as data
from datadam.errors import InvalidInput, UnknownName
from datadam.methods import catalog as methods
from datadam.testing import exam

PACKAGE = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package of tests/plugin is installed, as anyone would, without the network."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", str(target), str(PACKAGE)], check=True)
    return target


@pytest.fixture
def with_tiny(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed here."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(plugins, "LOADED", {})


def command(installed: Path, folder: Path, *arguments: str) -> str:
    """`datadam ...` in a process of its own that has the package; what it writes to standard output."""
    path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))
    call = [sys.executable, "-m", "datadam.cli", *arguments]
    done = subprocess.run(call, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_package_is_used_through_the_command_line(installed: Path, tmp_path: Path) -> None:
    listed = command(installed, tmp_path, "list", "methods")
    assert "tiny        feature matching; Little and Small, Nowhere 2024; package tiny-datadam 0.3.0" in listed
    run = ("--ipc", "2", "--method", "tiny", "--set", "side=2", "--iterations", "5", "--batch-real", "8", "--out", "run")
    command(installed, tmp_path, "distill", "tinydata", *run)
    judged = command(
        installed, tmp_path, "evaluate", "run", "--net", "tinynet:width=4", "--students", "1", "--epochs", "2", "--json"
    )
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["recipe"]["method"] == {"name": "tiny", "side": 2}
    assert card["recipe"]["preset"] == "tiny"
    assert card["versions"]["tiny-datadam"] == "0.3.0"
    assert card["data"]["source"] == "tinydata"
    (evaluation,) = json.loads(judged)
    assert evaluation["net"] == "tinynet:width=4"
    assert evaluation["versions"]["tiny-datadam"] == "0.3.0"


@pytest.mark.usefixtures("with_tiny")
def test_what_a_package_adds_is_found_from_python() -> None:
    real = datadam.load("tinydata")
    assert (real.name, len(real.train), len(real.test)) == ("tinydata", 60, 30)
    recipe = datadam.preset("tiny", real, ipc=1)
    assert recipe.method.settings() == {"side": 4}
    assert datadam.Recipe.from_card(recipe.to_card()) == recipe
    assert type(nets.build("tinynet:width=3", shape=real.shape, classes=3)).__name__ == "TinyNet"
    assert nets.canonical("tinynet:width=8", real.shape) == "tinynet"
    for kind, rows in (("methods", methods), ("nets", nets.catalog), ("data", data)):
        (name,) = plugins.names(kind)
        listed = rows.listed()
        assert list(listed.rows) == [*rows.CATALOG, name]
        assert (listed.package, listed.remarks) == ({name: "tiny-datadam 0.3.0"}, [])


@pytest.mark.usefixtures("with_tiny")
def test_a_folder_goes_before_the_data_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tinydata").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=str(tmp_path / "tinydata")):
        datadam.load("tinydata")


@pytest.mark.usefixtures("with_tiny")
def test_a_misspelt_name_is_told_with_those_of_packages() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tiny'"):
        methods.method_named("tinny")
    with pytest.raises(UnknownName, match="Did you mean 'tinynet'"):
        nets.canonical("tinynett", (1, 8, 8))
    with pytest.raises(UnknownName, match="Did you mean 'tinydata'"):
        datadam.load("tinydatas")
    assert "tiny-datadam" not in plugins.versions()  # and none of them was imported for it


def offer(folder: Path, group: str, name: str, code: str, package: str = "broken-pack") -> None:
    """Install a package of one module and one entry point into the folder."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[datadam.{group}]\n{name} = {module}:THING\n")


METHOD = """
from dataclasses import dataclass
from datadam.methods import DM

@dataclass(frozen=True, kw_only=True)
class THING(DM):
    {body}
"""
BROKEN = {
    "raises": ("methods", "odd", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'; update"),
    "nothing": ("methods", "odd", "OTHER = 1", "AttributeError"),
    "no method": ("methods", "odd", "THING = 3", "must be a subclass of datadam.methods.Method, and is 3"),
    "other name": ("methods", "odd", METHOD.format(body="pass"), "its class says the name 'dm'"),
    "no default": ("methods", "odd", METHOD.format(body="name = 'odd'\n    power: int"), "each of its settings needs a default"),
    "no dataclass": (
        "methods", "odd", "from datadam.methods import Method\nclass THING(Method): name = 'odd'",
        "its class lacks family, description, citation, separable",
    ),
    "no row": ("nets", "odd", "class THING: pass", "must be a datadam.nets.Row"),
    "a name of ours": ("nets", "auto", "from datadam.nets import CATALOG\nTHING = CATALOG['mlp']", "a network of datadam itself"),
    "no data": ("data", "odd", "THING = 'odd'", "must be a datadam.data.Row"),
    "bad name": ("data", "hf:odd", "THING = 1", "a name is lower-case letters"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_what_cannot_be_used_is_refused_with_package_and_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    kind, name, code, words = BROKEN[fault]
    package = f"odd-{list(BROKEN).index(fault)}"  # each its own, since what was imported stays so
    offer(tmp_path, kind, name, code, package)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "LOADED", {})
    ask = {"methods": methods.method_named, "nets": lambda n: nets.canonical(n, (1, 8, 8)), "data": datadam.load}[kind]
    told = f"of the package {package} 1.2 (entry point datadam.{kind}: {name} = odd_{package[4:]}:THING) cannot be "
    if name not in ("auto", "hf:odd"):  # which are never asked of a package
        with pytest.raises(InvalidInput) as refused:
            ask(name)
        assert told in str(refused.value)
        assert words in str(refused.value)
    assert app.run(["list", kind]) == 0  # the rest is listed, and this one told aloud
    listed, aloud = capsys.readouterr()
    assert told in aloud
    assert words in aloud
    assert name not in [line.split()[0] for line in listed.splitlines()]


def test_a_network_without_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from datadam.nets import Architecture\nfrom torch import nn\n"
    code += "THING = Architecture('odd', lambda shape, classes: nn.Linear(1, 1), {})"
    offer(tmp_path, "nets", "bare", code, "bare-net")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "LOADED", {})
    with pytest.raises(InvalidInput, match="bare makes a Linear"):
        nets.build("bare", shape=(1, 8, 8), classes=2)


def test_a_name_of_ours_stays_ours_and_two_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, "methods", "dm", "1 / 0", "taker")
    for package in ("first-pack", "second-pack"):
        offer(tmp_path, "methods", "twice", "1 / 0", package)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "LOADED", {})
    assert methods.method_named("dm") is methods.CATALOG["dm"]
    assert datadam.preset("dm", make_real(), ipc=1).method.name == "dm"
    with pytest.raises(InvalidInput, match=r"offered by the package \w+-pack 1.2 and the package \w+-pack 1.2; keep one"):
        methods.method_named("twice")
    ours, twice = methods.listed().remarks
    assert ours == "the package taker 1.2 offers a method 'dm', which datadam has itself: datadam's own is used"
    assert "'twice' is offered by" in twice


@pytest.mark.usefixtures("with_tiny")
def test_the_method_of_the_package_passes_the_exam() -> None:
    assert "costs what it says" in exam(methods.method_named("tiny")(side=2), lr_images=0.3).passed
