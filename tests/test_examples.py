"""What people read first must be true: examples run, command lines are accepted, links lead somewhere."""

import importlib
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import datadam
from datadam import nets
from datadam.cli.app import VERBS, app
from datadam.cli.config import merge
from datadam.evaluation.panel import protocol_named
from datadam.methods.catalog import CATALOG
from datadam.sets.distilled import DistilledSet

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("src", "tests", "benchmarks", "results", "examples", "docs")
THERE = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TINY = "convnet1:width=4"
QUICK = "__import__('datadam.evaluation.protocols').evaluation.protocols.CATALOG['honest'].with_epochs(1)"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a program prints, run as its file says in an empty folder, in this process."""

    def told(program: str | Path, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(program), *arguments])
        runpy.run_path(str(program), run_name="__main__")
        return capsys.readouterr().out

    return told


def blocks(path: Path, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(path.read_text("utf-8")) if kind == language]


# --- examples ---


def test_mnist_in_python(python: Callable[..., str], tmp_path: Path) -> None:
    tiny = f"--ipc 1 --iterations 2 --batch-real 2 --net {TINY} --students 1 --epochs 1 --out run".split()
    told = python(ROOT / "examples" / "mnist_in_python.py", *tiny)
    assert "iteration 2 of 2" in told
    assert "distilled, 10 images" in told
    assert "random, 10 images" in told
    assert DistilledSet.load(tmp_path / "run").card["iterations_done"] == 2


def test_own_folder_and_its_use_in_training(python: Callable[..., str], tmp_path: Path) -> None:
    tiny = f"--images 10 --size 16 --iterations 2 --net {TINY} --students 1 --epochs 1 --out run".split()
    told = python(ROOT / "examples" / "own_folder.py", *tiny)
    assert "held out" in told
    assert "distilled, 6 images" in told
    assert DistilledSet.load(tmp_path / "run").classes == ("circle", "square", "triangle")
    used = python(ROOT / "examples" / "use_in_training.py", "run", "--epochs", "1")
    assert re.search(r"6 distilled images, 1 epochs: [0-6] of 6 test images right", used)


def test_every_example_is_tried_here() -> None:
    here = Path(__file__).read_text("utf-8") + (ROOT / "tests" / "test_notebook.py").read_text("utf-8")
    assert all(f'"{path.name}"' in here for path in (ROOT / "examples").iterdir() if path.is_file())


def test_the_readmes_example(python: Callable[..., str], tmp_path: Path) -> None:
    code = next(code for code in blocks(ROOT / "README.md", "python") if "datadam.distill(" in code)
    smaller = {
        "ipc=10": "ipc=1",
        '{"iterations": 1000, "batch_real": 64}': f'{{"iterations": 1, "batch_real": 2, "net": "{TINY}"}}',
        "students=5": f'students=1, net="{TINY}", protocol={QUICK}',
    }
    for words, instead in smaller.items():
        assert words in code, f"the README's example says {words} no longer; this test cannot make it small"
        code = code.replace(words, instead)
    (tmp_path / "readme.py").write_text(code + "print(tuple(pixels.shape), labels.tolist())")
    told = python(tmp_path / "readme.py")
    assert re.findall(r"% +(\w+), 10 images", told) == ["distilled", "random"]
    assert f"{(10, 1, 28, 28)} {list(range(10))}" in told


def test_the_examples_of_documents_are_python() -> None:
    found = [(path, code) for path in DOCUMENTS for code in blocks(path, "python")]
    assert len(found) >= 4
    for path, code in found:
        compile(code, name(path), "exec")


@pytest.mark.parametrize(("document", "told"), [
    ("docs/your-own-data.md", "(3, 16, 16) ('0', '1', '2')"), ("docs/reproducibility.md", ""),
])  # fmt: skip
def test_a_short_example_runs(document: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks(ROOT / document, "python")[0], {})
    assert capsys.readouterr().out.startswith(told)


# --- command lines ---


def command_lines(path: Path) -> list[str]:
    """Lines of shell that begin with `datadam`, and such words inside a sentence or a comment of an example."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return re.findall(r"^#\s+(datadam .+)$", text, re.MULTILINE)
    shell = "\n".join(blocks(path, "sh")).replace("\\\n", " ")
    lines = [line.strip() for line in shell.splitlines() if line.strip().startswith("datadam")]
    return lines + [" ".join(words.split()) for words in re.findall(r"`(datadam\s[^`]+)`", FENCE.sub("", text))]


LINES = [(path, line) for path in [*DOCUMENTS, *sorted((ROOT / "examples").glob("*.py"))] for line in command_lines(path)]


def check(line: str, path: Path | None = None) -> None:
    """Parse a command line without running it, and look up the names in it; a run that it starts from must be a kept row, or made
    by another line of the document. Raises where one is unknown."""
    words = shlex.split(line, comments=True)[1:]
    if len(words) == 1 and words[0] in VERBS:  # a verb that is only spoken of
        return
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    given = {k.rstrip("_"): v for k, v in bound.arguments.items() if v not in (None, "")}
    given = {k: v for k, v in given.items() if v is not False or k == "zca"}
    verb = getattr(command, "__name__", "")
    start = str(given.get("start"))
    row = start.startswith("evidence/") and (ROOT / start.replace("evidence/", "results/", 1) / "card.json").exists()
    if row or (path and any(f"--out {start}" in other for other in command_lines(path))):
        given.pop("start")
    if verb == "distill" and not {"resume", "config"} & set(given):
        merge(given, None)
    if verb in ("evaluate", "baseline", "train"):
        protocol_named(given.get("protocol", "honest"), epochs=given.get("epochs"), augment=given.get("augment"))
        for spec in (given.get("net") or "auto").split(","):
            nets.canonical(spec, (3, 32, 32))


@pytest.mark.parametrize(("path", "line"), LINES, ids=[f"{name(path)}: {line}" for path, line in LINES])
def test_a_command_line_is_accepted(path: Path, line: str) -> None:
    check(line, path)


@pytest.mark.parametrize("line", [
    "datadam distil mnist --ipc 10", "datadam distill mnist --ipc ten", "datadam distill mnist --ipc 10 --iteration 5",
    "datadam distill mnist", "datadam distill mnist --ipc 1 --set powr=2", "datadam distill mnist --ipc 1 --preset papers",
    "datadam evaluate RUN --protocol honesty", "datadam evaluate RUN --net convnet3:norms=batch", "datadam list dato",
    "datadam evaluate RUN --augment mirror", "datadam train RUN",
])  # fmt: skip
def test_a_wrong_command_line_is_caught(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)unknown|invalid|unused|no ipc|requires|must"):
        check(line)


def test_the_readme_is_short() -> None:
    """Words of text, tables and code alike, without the targets of links."""
    text = re.sub(r"<!--.*?-->|(?<=\])\([^)]*\)", "", (ROOT / "README.md").read_text("utf-8"))
    assert len([word for word in text.split() if re.search(r"\w", word)]) <= 900


def test_the_documents_show_every_verb() -> None:
    first = [line for path, line in LINES if path.name == "README.md" or path.parent.name == "applications"]
    shown = {shlex.split(line, comments=True)[1] for line in first}
    assert set(VERBS) <= shown


# --- links and facts ---


def anchors(path: Path) -> set[str]:
    """The names under which a document's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text("utf-8"))):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert not broken


def test_the_reference_has_everything_public() -> None:
    pages = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs" / "api").glob("*.md")}
    told = set(re.findall(r"^::: (\S+)$", "\n".join(pages.values()), re.MULTILINE))
    assert {f"datadam.{name}" for name in datadam.__all__} <= told
    for page, kinds in (("methods", CATALOG.values()), ("nets", [row.make for row in nets.CATALOG.values()])):
        assert [kind.__name__ for kind in kinds if not re.search(rf"\b{kind.__name__}\b", pages[page])] == []
    assert [name for name in sorted(told) if not known(name)] == []
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    documents = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in documents if f"- {page}\n" not in navigation] == []


def known(dotted: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    place, _, rest = dotted.partition(".")
    found: object = importlib.import_module(place)
    for word in rest.split("."):
        if not hasattr(found, word):
            try:
                importlib.import_module(place := f"{place}.{word}")
            except ModuleNotFoundError:
                return False
        else:
            place = f"{place}.{word}"
        found = getattr(found, word)
    return True


OTHERS = ("utils.py", "yours.py", "test_yours.py", "distill_test_model.py")  # files of nobody yet, and of other programs
ENDS = ("md", "py", "json", "html", "methods", "nets", "data")  # of file names, and of entry points


@pytest.mark.parametrize("path", [*DOCUMENTS, *sorted((ROOT / "src").rglob("*.py"))], ids=name)
def test_what_is_named_is_there(path: Path) -> None:
    """Files of ours and dotted names, in documents and in the source."""
    text = path.read_text("utf-8")
    files = set(re.findall(r"(?<![\w/.{}-])(?:[\w-]+/)*[\w-]+\.py\b", text))
    ours = sorted(word for word in files if word.rpartition("/")[2] not in OTHERS)
    assert [word for word in ours if not any(f"/{there}".endswith(f"/{word}") for there in THERE)] == []
    if path.suffix == ".md":
        names = {word for word in re.findall(r"(?<![\w/.-])datadam(?:\.\w+)+", text) if word.rpartition(".")[2] not in ENDS}
        assert [word for word in sorted(names) if not known(word)] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CITATION.cff"], ids=name)
def test_no_document_names_a_place_on_one_machine(path: Path) -> None:
    assert not re.findall(r"(?<![\w.~])/(?:home|root|tmp|work|mnt|Users)/\S*", path.read_text("utf-8"))


def test_versions_agree() -> None:
    import yaml

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == version
    assert citation["license"] == "Apache-2.0"
    assert re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1] == version  # type: ignore[index]
