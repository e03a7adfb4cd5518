"""--help, --version and wrong command lines: quick, complete, and without torch."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

from datadam.cli.app import VERBS, app
from datadam.distillation.presets import Sketch, preset


def test_help_of_every_verb_imports_neither_torch_nor_numpy() -> None:
    code = """
import sys
from datadam.cli.app import VERBS, run
codes = [run([*verb, "--help"]) for verb in [[], *([name] for name in VERBS)]] + [run(["--version"])]
heavy = {"torch", "numpy", "PIL", "safetensors", "matplotlib", "sklearn", "yaml"} & set(sys.modules)
print("RESULT", codes, sorted(heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"RESULT {[0] * (len(VERBS) + 2)} []"
    assert done.stderr == ""


def test_help_lists_the_verbs_in_order_each_with_the_first_line_of_its_docstring(cli) -> None:
    lines = cli("--help").out.splitlines()
    rows = [line.strip("│ ").split("  ", 1) for line in lines if line.startswith("│ ") and "--" not in line]
    told = {name: words.strip() for name, words in rows}
    assert list(told) == [
        "distill", "watch", "evaluate", "baseline", "compare", "train", "pretrain", "experts", "relabel", "merge",
        "add-class", "search",
        "lossless",
        "continual", "federated", "reproduce", "audit", "report",
        "export", "import", "show", "list",
    ]  # fmt: skip
    assert told == {name: (inspect.getdoc(verb) or "").splitlines()[0] for name, verb in VERBS.items()}
    assert all(told.values())


def test_the_first_example_is_one_of_minutes(cli) -> None:
    """Its words are taken as they are, and its work is a fraction of that of the preset."""
    line = cli("--help").out.partition("Start with some minutes: datadam ")[2].replace("\n", " ")
    words = line.split()
    asked = dict(zip(words[2::2], words[3::2], strict=False))
    assert words[:2] == ["distill", "mnist"]
    recipe = preset("datadam", Sketch("mnist", (1, 28, 28)), ipc=int(asked["--ipc"]))
    assert int(asked["--iterations"]) * int(asked["--batch-real"]) < recipe.iterations * recipe.batch_real / 50


def test_without_arguments_the_help_is_shown(cli) -> None:
    outcome = cli()
    assert outcome.code == 0
    assert outcome.out == cli("--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    arguments = app[verb].assemble_argument_collection(parse_docstring=True)
    options = [argument for argument in arguments if not argument.children]  # not what only holds a group of them together
    unexplained = [argument.name for argument in options if not argument.parameter.help]
    assert unexplained == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["distil", "mnist"], 'Did you mean "distill"'),
        (["distill", "mnist", "--icp", "3"], "Did you mean --ipc?"),
        (["distill", "mnist", "--ipc", "many"], '"many" into int'),
        (["distill", "mnist", "--ipc", "1.5"], "'1.5' is no whole number"),
        (["distill", "mnist", "--ipc", "1", "--fit", "sqash"], '"crop", "squash", "pad"'),
        (["distill", "mnist", "cifar10", "--ipc", "1"], "cifar10"),
        (["evaluate"], "requires an argument"),
        (["train", "run"], "--out"),
        (["list", "method"], '"methods"'),
    ],
)
def test_wrong_command_lines_are_refused_with_a_pointer_to_help(refused, arguments: list[str], told: str) -> None:
    message = refused(*arguments)
    assert told in message
    verb = [arguments[0]] if arguments[0] in VERBS else []
    assert message.endswith(f"See: {' '.join(['datadam', *verb, '--help'])}")


def test_a_real_process_gives_the_exit_codes_and_keeps_the_streams_apart() -> None:
    def datadam(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", "datadam.cli", *arguments], capture_output=True, text=True, check=False)

    good, bad = datadam("--version"), datadam("distill", "--icp", "3")
    assert (good.returncode, good.stdout, good.stderr) == (0, f"{version('datadam')}\n", "")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("datadam: error: Unknown option: --icp.")


def test_a_fault_of_ours_shows_its_traceback_and_gives_1(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datadam.cli.screen.result", lambda *a, **k: 1 / 0)
    outcome = cli("list", "starts")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.err.rstrip().endswith("ZeroDivisionError: division by zero")
