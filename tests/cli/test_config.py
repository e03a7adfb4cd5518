"""Options from a file, from the command line and from a preset: who goes first, and every fault at once."""

from pathlib import Path

import pytest
from cli.conftest import TINY


@pytest.fixture
def config(tmp_path: Path):
    """Write a YAML file and give its path."""

    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


def test_a_file_alone_makes_a_run(cli, config, pictures: Path, tmp_path: Path) -> None:
    path = config(f"""
data: {pictures}
ipc: 1
net: convnet1:width=4
iterations: 2
batch-real: 4
set: {{power: 2, lr_images: 0.5, layers: [1]}}
snapshots: [1]
out: {tmp_path / "run"}
note: from a file
json: true
""")
    card = cli("distill", "--config", path).json
    recipe = card["recipe"]
    assert (recipe["net"], recipe["iterations"], recipe["batch_real"], recipe["lr_images"]) == ("convnet1:width=4", 2, 4, 0.5)
    assert (recipe["method"]["power"], recipe["method"]["layers"]) == (2.0, [1])
    assert card["note"] == "from a file"
    assert sorted(path.name for path in (tmp_path / "run/snapshots").iterdir()) == [
        "00000000.safetensors",
        "00000001.safetensors",
    ]


def test_command_line_goes_before_file_goes_before_preset(cli, config, pictures: Path, tmp_path: Path) -> None:
    path = config("""
iterations: 2
net: convnet1:width=4
seed: 5
set: {batch_real: 3, power: 2, task_balance: 0.5}
preset: paper
""")
    options = ("--set", "power=3", "--seed", 6, "--set", "iterations=1", "--out", tmp_path / "run", "--json")
    recipe = cli("distill", pictures, "--ipc", 1, "--config", path, *options).json["recipe"]
    assert (recipe["seed"], recipe["method"]["power"], recipe["iterations"]) == (6, 3.0, 1)  # command line
    assert (recipe["batch_real"], recipe["method"]["task_balance"], recipe["net"]) == (3, 0.5, "convnet1:width=4")  # file
    assert (recipe["preset"], recipe["method"]["scale"], recipe["momentum"]) == ("paper", 1.0, 0.5)  # preset


def test_an_option_goes_before_a_setting_of_the_file(cli, config, pictures: Path, tmp_path: Path) -> None:
    path = config("set: {iterations: 2, batch_real: 3, net: 'convnet1:width=4'}")
    options = ("--iterations", 1, "--out", tmp_path / "run", "--json")
    recipe = cli("distill", pictures, "--ipc", 1, "--config", path, *options).json["recipe"]
    assert (recipe["iterations"], recipe["batch_real"]) == (1, 3)


def test_a_device_of_the_file_is_used(refused, config, pictures: Path, tmp_path: Path) -> None:
    path = config("device: abacus")
    assert "device 'abacus'" in refused("distill", pictures, "--ipc", 1, *TINY, "--config", path, "--out", tmp_path / "run")


def test_every_fault_of_file_and_command_line_shows_at_once(refused, config, tmp_path: Path) -> None:
    path = config("""
icp: 10
iterations: many
seed: true
net: convnt3
time_limit: 0
memory_limit: plenty
snapshots: [0, soon]
set: {powr: 2, lr_images: -1}
""")
    command = ("distill", "--config", path, "--repeats", 0, "--start", "nois", "--set", "momentum", "--out", tmp_path / "run")
    message = refused(*command)
    expected = (
        "unknown option 'icp'. Did you mean 'ipc'?",
        "iterations is 'many'; it must be a whole number",
        "seed is True; it must be a whole number",
        "unknown network 'convnt3'. Did you mean 'convnet3'?",
        "time_limit is 0",
        "memory_limit is 'plenty'",
        "snapshots is [0, 'soon']",
        "unknown setting 'powr'. Did you mean 'power'?",
        "lr_images is -1.0; it must be a number > 0",
        "repeats is 0; it must be at least 1",
        "unknown start 'nois'. Did you mean 'noise'?",
        "--set 'momentum' is no assignment",
        "no DATA given",
        "no --ipc given",
    )
    lines = message.splitlines()
    assert [fault for fault in expected if not any(line.startswith("- ") and fault in line for line in lines)] == []
    assert len(lines) == len(expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- ipc\n- 10\n", "must be a mapping"),
        ("ipc: [1\n", "cannot be read"),
        ("", "must be a mapping"),
        ("!!python/object/apply:os.system ['touch hacked']", "cannot be read"),
        ("ipc: \x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(refused, config, text: str, told: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused("distill", "mnist", "--ipc", 1, "--config", config(text))
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_an_absent_file_is_refused(refused, tmp_path: Path) -> None:
    assert "cannot be read" in refused("distill", "mnist", "--ipc", 1, "--config", tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--set", "iterations=5", "--iterations", "5"), "iterations is given twice"),
        (("--set", "power=1", "--set", "power=2"), "power is given twice"),
        (("--set", "ipc=5"), "ipc is no setting; give it as --ipc"),
        (("--set", "preset=mine"), "preset is no setting; give it as --preset"),
        (("--set", "method=dm"), "method is no setting; give it as --method"),
        (("--set", "protocol=hones"), "protocol is 'hones'; allowed: honest"),
        (("--set", "power=high"), "power is 'high'; it must be a number"),
        (("--set", "layers=a"), "layers is 'a'"),
        (("--set", "augment=colr"), "Did you mean 'color'"),
        (("--set", "=3"), "no assignment"),
        (("--preset", "dm", "--method", "datadam"), "preset 'dm' is for method 'dm', not 'datadam'"),
        (("--method", "random", "--iterations", "5"), "learns nothing; leave out iterations"),
        (("--method", "random", "--set", "lr_images=5"), "learns nothing; leave out lr_images"),
        (("--iterations", "5", "--snapshots", "6"), "snapshots asks for iteration 6, and the run has 5"),
    ],
)
def test_options_that_say_nothing_or_too_much_are_refused(refused, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    assert told in refused("distill", "mnist", "--ipc", 1, *options, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
