"""Nothing that is read can run code, leave its folder, or take the machine; the promises are those of SECURITY.md."""

import ast
import http.server
import io
import json
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small import make_real

import datadam
from datadam import machine, nets
from datadam.cli import app
from datadam.data import catalog, download
from datadam.distillation import checkpoint
from datadam.errors import ArtifactError, DownloadError, InvalidInput, NotEnoughMemory
from datadam.evaluation.evaluate import evaluate
from datadam.evaluation.panel import protocol_named
from datadam.files.lock import alone_in
from datadam.files.whole import read_tensors
from datadam.sets.distilled import DistilledSet

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(datadam.__file__).parent
GUARDED = {"data/binary.py", "exchange/pickles.py", "exchange/torch_file.py"}  # read pickles by lists of what they may name
ENGINES = {"parallel/local.py", "parallel/on_ray.py"}  # pickles between our own processes


def test_no_code_runs_from_what_is_read() -> None:
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                banned = names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "runpy"}
                assert not banned or place in GUARDED | ENGINES, f"{place}:{node.lineno} imports {banned}"
            if not isinstance(node, ast.Call):
                continue
            name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            where = f"{place}:{node.lineno} {name}"
            assert name not in {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load",
                                "yaml.full_load", "importlib.import_module"}, where  # fmt: skip
            assert options.get("shell") in (None, "False"), where
            if name in ("np.load", "numpy.load"):
                assert options.get("allow_pickle") == "False", where
            if name == "torch.load":
                assert options.get("weights_only") == "True", where


def test_the_reader_of_official_pickles_builds_nothing_else() -> None:
    classes = [n for n in ast.walk(ast.parse((SOURCE / "data/binary.py").read_text())) if isinstance(n, ast.ClassDef)]
    guarded = [c for c in classes if any("Unpickler" in ast.unparse(base) for base in c.bases)]
    assert len(guarded) == 1
    assert any(isinstance(n, ast.FunctionDef) and n.name == "find_class" for n in guarded[0].body)


def test_every_address_is_https() -> None:
    for row in catalog.CATALOG.values():
        assert all(file.url.startswith("https://") for file in row.downloads)


class Handler(http.server.BaseHTTPRequestHandler):
    """/endless sends bytes for ever; /long promises a terabyte; /short breaks its promise; /to?URL sends on."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.end_headers()
            return
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", {"/long": str(10**12), "/short": "5000", "/word": "many"}.get(self.path, "3"))
        self.end_headers()
        try:
            self.wfile.write(b"abc")
            while self.path == "/endless":
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/endless", "sends more where 0.001 GB are the most"),
        ("/long", "sends 1e"),
        ("/short", "5 attempts"),
        ("/word", "a length that is no number"),
        ("/to?file:///etc/passwd", "is not allowed"),
        ("/to?ftp://127.0.0.1/x", "only https"),
        ("/to?http://example.org/x", "only https"),
        ("/to?/to?/to?file:///etc/passwd", "cannot be fetched"),
    ],
)
def test_servers_that_mean_harm(server: str, tmp_path: Path, path: str, told: str) -> None:
    with pytest.raises(DownloadError, match=told):
        download.fetch(server + path, tmp_path / "f", largest=1_000_000, pause=0)
    assert not (tmp_path / "f").exists()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 100_000


def test_https_is_not_left(tmp_path: Path) -> None:
    handler = download._Redirects()
    request = download.urllib.request.Request("https://example.org/a")
    for url in ("http://example.org/a", "http://127.0.0.1/a", "file:///etc/passwd"):
        with pytest.raises(DownloadError, match="not https"):
            handler.redirect_request(request, None, 302, "", {}, url)
    assert handler.redirect_request(request, None, 302, "", {}, "https://other.org/b").full_url == "https://other.org/b"
    for url in (
        "http://example.org/a",
        "http://localhost.example.org/a",
        "http://127.0.0.1@example.org/a",
        "https:x",
        "http://[::1",
    ):
        if not url.startswith("https"):
            with pytest.raises(DownloadError, match="only https"):
                download.fetch(url, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_UNPACKED", 3_000_000)
    zeros = b"\0" * 2_000_000
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("a", zeros)
        package.writestr("b", zeros)
    for name, mode in (("a.tar.gz", "w:gz"), ("a.tar", "w")):
        with tarfile.open(tmp_path / name, mode) as tar:
            for inside in "ab":
                info = tarfile.TarInfo(inside)
                info.size = len(zeros)
                tar.addfile(info, io.BytesIO(zeros))
    for name in ("a.zip", "a.tar.gz", "a.tar"):
        with pytest.raises(DownloadError, match="is refused: unpacked it is more than"):
            download.unpack(tmp_path / name, tmp_path / "out" / "set")
    monkeypatch.setattr(download, "MOST_FILES", 1)
    with pytest.raises(DownloadError, match="more than 1 files"):
        download.unpack(tmp_path / "a.zip", tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run and a coreset, of arrays."""
    folder, real = tmp_path_factory.mktemp("made"), make_real()
    recipe = datadam.preset("datadam", real, ipc=2).change({"net": "convnet1:width=4", "iterations": 3, "batch_real": 4})
    datadam.distill(real, recipe, out=folder / "run")
    datadam.distill(real, datadam.preset("random", real, ipc=2), out=folder / "coreset")
    return folder


def changed(source: Path, to: Path, name: str, path: str, value: object) -> Path:
    """A copy of a run in which one value of a JSON file is another."""
    import shutil

    shutil.copytree(source, to)
    card = json.loads((to / name).read_text())
    *parents, last = path.split(".")
    part = card
    for key in parents:
        part = part[key]
    part[last] = value
    (to / name).write_text(json.dumps(card))
    return to


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "a/b", "..", ".hidden", "", "x" * 300, {}])
def test_a_card_names_no_file_outside_its_folder(made: Path, tmp_path: Path, name: object) -> None:
    run = changed(made / "coreset", tmp_path / "run", "card.json", "recipe.method", {"name": name})
    with pytest.raises(ArtifactError, match="lacks parts"):
        DistilledSet.load(run)


def test_a_student_whose_maps_would_fill_the_memory_is_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = changed(made / "run", tmp_path / "run", "card.json", "recipe.net", "convnet1:width=100000")
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": 400_000_000)
    with pytest.raises(NotEnoughMemory, match="take a narrower net"):
        evaluate(DistilledSet.load(run), make_real(), students=1)
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": 3 * 4 * 6 * 4 * 64)  # blocks of 4 x 8 x 8, six images
    epoch = protocol_named("honest", epochs=1)
    assert evaluate(DistilledSet.load(made / "run"), make_real(), students=1, protocol=epoch).accuracies


@pytest.mark.parametrize("net", ["convnet2:width=60000", "vgg11:width=9", "vit:width=99999", "vit:depth=9999"])
def test_a_network_that_would_fill_the_memory_is_refused(made: Path, tmp_path: Path, net: str) -> None:
    run = changed(made / "run", tmp_path / "run", "card.json", "recipe.net", net)
    with pytest.raises(InvalidInput):
        evaluate(DistilledSet.load(run), make_real(), students=1)
    with pytest.raises(InvalidInput):
        nets.build(net, shape=(3, 32, 32), classes=10)


@pytest.mark.parametrize(
    ("path", "value"),
    [("recipe.ipc", 10**12), ("recipe.ipc", 10**30), ("data.shape", [10**9] * 3), ("transform.mean", [float(10**308)] * 2),
     ("recipe.ipc", -2), ("data.classes", ["a"] * 9)],
)  # fmt: skip
def test_huge_numbers_in_a_card_take_no_memory(made: Path, tmp_path: Path, path: str, value: object) -> None:
    run = changed(made / "run", tmp_path / "run", "card.json", path, value)
    with pytest.raises(ArtifactError):
        DistilledSet.load(run)


def test_a_forged_state_with_a_right_checksum_is_still_checked(made: Path, tmp_path: Path) -> None:
    import shutil

    real = make_real()
    forgeries = {
        "threads": ({}, {"plan": {"threads": 10**9}}), "chunk": ({}, {"plan": {"chunk": 0}}),
        "kept": ({}, {"plan": {"kept": "object"}}),
        "more": ({}, {"evil": 1}), "images": ({"images": torch.zeros(6, 3, 8, 9)}, {}), "iteration": ({}, {"iteration": 10**30}),
        "seconds": ({}, {"seconds": True}),
    }  # fmt: skip
    for name, (tensors, words) in forgeries.items():
        run = Path(shutil.copytree(made / "run", tmp_path / name))
        file = run / "checkpoint" / "state.safetensors"
        then, metadata = read_tensors(file)
        numbers = json.loads(metadata["state"])
        numbers |= words | ({"plan": numbers["plan"] | words["plan"]} if "plan" in words else {})
        text, then = json.dumps(numbers), then | tensors
        file.unlink()
        (run / "checkpoint" / "before.safetensors").unlink()
        safetensors.torch.save_file(then, file, {"state": text, "checksum": checkpoint._checksum(then, text)})
        with pytest.raises(ArtifactError):
            list(datadam.resume(run, real).steps())


def test_a_forged_network_with_a_right_checksum_is_refused(tmp_path: Path) -> None:
    real = make_real()
    asked = datadam.preset("dm", real, ipc=1).change(
        {"net": "convnet1:width=4", "iterations": 3, "batch_real": 2, "network_steps": 1, "iterations_per_network": 3}
    )
    steps = datadam.begin(real, asked, out=tmp_path / "run").steps()
    next(steps)
    steps.close()
    file = tmp_path / "run" / "checkpoint" / "state.safetensors"
    tensors, metadata = read_tensors(file)
    forged = tensors | {"method/weights/x": torch.zeros(3)}
    safetensors.torch.save_file(forged, file, metadata | {"checksum": checkpoint._checksum(forged, metadata["state"])})
    with pytest.raises(ArtifactError, match="the network in the checkpoint is no convnet1"):
        list(datadam.resume(tmp_path / "run", real).steps())


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "workers.jsonl", "snapshots", "checkpoint/shards", "evaluations/x"])
def test_nothing_is_written_through_a_link_in_a_run(
    made: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").write_text("precious")
    link = run / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(mine if "jsonl" not in name and name != ".lock" else mine / "notes")
    link_to_run = tmp_path / "named"  # what the user names may be a link
    link_to_run.symlink_to(run)
    for folder in (run, link_to_run):
        with pytest.raises(InvalidInput, match=f"{link.name} is a symbolic link, .* remove it"), alone_in(folder):
            pass
        assert app.run(["distill", "mnist", "--ipc", "1", "--iterations", "1", "--out", str(folder), "--overwrite"]) == 2
        assert "is a symbolic link" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [("notes", "precious")]
    link.unlink()
    with alone_in(link_to_run) as words:
        assert words == ""


def test_what_a_terminal_would_obey_is_not_printed(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = changed(made / "run", tmp_path / "run", "card.json", "note", "\x1b]0;owned\x07\x1b[2J\x9b31m\r innocent")
    for arguments in (["show", str(run)], ["evaluate", str(run)], ["show", str(run) + "\x1b[2J"]):
        app.run(arguments)
        said = "".join(capsys.readouterr())
        assert not set(said) & {"\x1b", "\x07", "\x9b", "\r"}
    assert not re.search(r"[\x00-\x08]", said)


def test_the_page_names_tests_that_exist() -> None:
    page, known = (ROOT / "SECURITY.md").read_text(), "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) >= 12
    assert [name for name in named if f"def {name}(" not in known] == []
