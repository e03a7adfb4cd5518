"""`datadam export` and `datadam import`: to other programs, and back into a run that every verb takes."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from datadam.exchange import FORMATS
from datadam.sets.distilled import DistilledSet

QUICK = ("--students", "1", "--epochs", "2")


def test_there_and_back(cli: Any, run: Path, pictures: Path, tmp_path: Path) -> None:
    outcome = cli("export", run, "--to", "ddranking", "--out", tmp_path / "out")
    assert outcome.code == 0
    assert "images.pt, labels.pt, lr.pt" in outcome.out
    assert "every number is kept as it is" in outcome.out
    outcome = cli(
        "import", tmp_path / "out", "--as", "ddranking", "--data", pictures, "--out", tmp_path / "back", "--note", "mine"
    )
    assert outcome.code == 0
    assert "6 images, 2 for each of 3 classes" in outcome.out
    assert f"judge it with: datadam evaluate {tmp_path / 'back'}" in outcome.out
    before, after = DistilledSet.load(run), DistilledSet.load(tmp_path / "back")
    assert torch.equal(before.images, after.images)
    assert after.card["command"].startswith("datadam")
    judged = [cli("evaluate", one, *QUICK, "--net", "convnet1:width=4", "--json").json[0] for one in (run, tmp_path / "back")]
    assert judged[0]["accuracies"] == judged[1]["accuracies"]
    shown = cli("show", tmp_path / "back").out
    assert "imported" in shown
    assert "out, format ddranking, sha256:" in shown
    assert "not judged yet" not in shown
    assert cli("report", tmp_path / "back").code == 0
    assert (tmp_path / "back/report.html").stat().st_size > 1000
    assert cli("train", tmp_path / "back", "--epochs", "1", "--out", tmp_path / "model.safetensors").code == 0
    assert cli("export", tmp_path / "back", "--to", "folder", "--out", tmp_path / "again").code == 0


def test_results_as_json(cli: Any, run: Path, pictures: Path, tmp_path: Path) -> None:
    told = cli("export", run, "--to", "folder", "--out", tmp_path / "out", "--json").json
    assert told["format"] == "folder"
    assert len(told["files"]) == 6
    assert told["numbers"]["mean"] is None
    assert told["error"]["values"] == 6 * 3 * 8 * 8
    told = cli("import", tmp_path / "out", "--as", "folder", "--data", pictures, "--out", tmp_path / "back", "--json").json
    assert told["cards"][0]["kind"] == "imported"


def test_what_rounding_costs_is_measured(cli: Any, run: Path, tmp_path: Path) -> None:
    outcome = cli("export", run, "--to", "folder", "--out", tmp_path / "out", "--measure", *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    cost = outcome.json["measured"]
    assert cost["gap"] == pytest.approx(cost["file"]["mean"] - cost["run"]["mean"])
    assert cost["run"]["protocol"] == cost["file"]["protocol"]
    assert cost["lines"][0].startswith("measured: ")
    assert json.loads((tmp_path / "out/datadam.json").read_text())["measured"]["gap"] == cost["gap"]
    page = (tmp_path / "out/README.md").read_text()
    assert all(line in page for line in cost["lines"])
    assert "not measured" not in page
    clipped = outcome.json["error"]["clipped"]
    assert clipped  # so rounding was measured by itself, too
    alone = cost["rounding_alone"]
    assert alone["gap"] == pytest.approx(alone["set"]["mean"] - cost["run"]["mean"])
    assert "% from the run, rounded and not clipped: " in cost["lines"][1]
    exact = cli("export", run, "--to", "npz", "--out", tmp_path / "exact", "--measure", *QUICK, "--json").json["measured"]
    assert exact["gap"] == 0
    back = cli("export", run, "--to", "folder", "--out", tmp_path / "out", "--overwrite", "--measure", *QUICK)
    assert "points" in back.out


def test_what_was_not_measured_says_so(cli: Any, run: Path, tmp_path: Path) -> None:
    for to in ("folder", "parquet"):
        assert "accuracy: not measured; add --measure" in cli("export", run, "--to", to, "--out", tmp_path / to).out
        assert "not measured; add --measure" in (tmp_path / to / "README.md").read_text()
    assert "not measured" not in cli("export", run, "--to", "npz", "--out", tmp_path / "npz").out
    assert "not measured" not in (tmp_path / "npz/README.md").read_text()


def test_repeats_go_into_one_file(cli: Any, finished: Path, pictures: Path, tmp_path: Path) -> None:
    import shutil

    for n in range(2):
        shutil.copytree(finished, tmp_path / "many" / str(n))
    assert cli("export", tmp_path / "many", "--to", "dm", "--out", tmp_path / "out").code == 0
    outcome = cli("import", tmp_path / "out", "--as", "dm", "--data", pictures, "--out", tmp_path / "back")
    assert "2 sets of 6 images" in outcome.out
    assert cli("evaluate", tmp_path / "back", *QUICK, "--json").json[0]["sets"] == 2
    assert cli("import", tmp_path / "out", "--as", "dm", "--data", pictures, "--out", tmp_path / "back", "--overwrite").code == 0


def test_a_set_of_others_with_its_own_normalisation(cli: Any, pictures: Path, tmp_path: Path) -> None:
    pixels = torch.rand(3, 3, 8, 8)
    torch.save((pixels - 0.5) / 0.25, tmp_path / "images.pt")
    given = ("--as", "eccv24", "--data", pictures, "--mean", ".5,.5,.5", "--std", ".25,.25,.25")
    outcome = cli("import", tmp_path / "images.pt", *given, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "normalisation from: whoever imported it" in outcome.out
    torch.testing.assert_close(DistilledSet.load(tmp_path / "run").pixels(), pixels)


def test_an_order_of_classes_is_said(cli: Any, refused: Callable[..., str], run: Path, pictures: Path, tmp_path: Path) -> None:
    assert cli("export", run, "--to", "folder", "--out", tmp_path / "out").code == 0
    names = json.loads((tmp_path / "out/datadam.json").read_text())["folders"]
    (tmp_path / "out/datadam.json").unlink()
    for k, name in enumerate(names):
        (tmp_path / "out" / name).rename(tmp_path / "out" / f"{(k + 1) % 3:05d}")
    (tmp_path / "order.txt").write_text("\n".join([names[2], names[0], names[1], ""]))
    asked = ("import", tmp_path / "out", "--as", "folder", "--data", pictures, "--out", tmp_path / "back")
    outcome = cli(*asked, "--class-order", tmp_path / "order.txt", "--json")
    assert outcome.code == 0, outcome.err
    assert any("order that was said: 00001 is" in note for note in outcome.json["cards"][0]["warnings"])
    before, after = DistilledSet.load(run), DistilledSet.load(tmp_path / "back")
    torch.testing.assert_close(after.pixels(), before.pixels(), rtol=0, atol=0.003)
    assert "allowed: data, sorted, or a text file" in refused(*asked, "--class-order", "backwards", "--overwrite")


def test_the_formats_are_listed(cli: Any) -> None:
    text = cli("list", "formats").out
    assert [line.split()[0] for line in text.splitlines()] == list(FORMATS)
    assert [row["name"] for row in cli("list", "--json").json["formats"]] == list(FORMATS)


def test_a_folder_is_not_called_like_a_file(cli: Any, refused: Callable[..., str], run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    message = refused("export", run, "--to", "npz", "--out", out)
    assert f"{out} is the name of a file, and an export is a folder" in message
    assert f"give a folder, such as {tmp_path / 'x'}" in message
    assert not out.exists()
    assert cli("export", run, "--to", "npz", "--out", tmp_path / "version1.2").code == 0


def test_bad_requests(refused: Callable[..., str], run: Path, pictures: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert "Did you mean 'parquet'" in refused("export", run, "--to", "parket", *out)
    assert "is no run folder" in refused("export", tmp_path / "nothing", "--to", "npz", *out)
    assert "without --measure" in refused("export", run, "--to", "npz", *out, "--students", "2")
    assert "say --to parquet" in refused("export", run, "--to", "npz", *out, "--push", "me/set")
    assert "is no name on the hub" in refused("export", run, "--to", "parquet", *out, "--push", "set")
    assert "ZCA-whitened" in refused("export", run, "--to", "mtt", *out, "--keep-zca")
    assert "does not exist" in refused("import", tmp_path / "a.pt", "--as", "mtt", "--data", pictures, *out)
    (tmp_path / "a.pt").write_bytes(b"x")
    given = (tmp_path / "a.pt", "--data", pictures, *out)
    assert "Known:" in refused("import", *given, "--as", "pickle")
    assert "one number for each channel" in refused("import", *given, "--as", "eccv24", "--mean", "a", "--std", "1")
    assert "no file of torch.save" in refused("import", *given, "--as", "eccv24")
    assert "unknown data set" in refused("import", tmp_path / "a.pt", "--as", "eccv24", "--data", "cifar11", *out)
    assert not (tmp_path / "out").exists()
    assert "is not empty" in refused("export", run, "--to", "npz", "--out", run)
    assert "is not replaced" in refused("export", run, "--to", "npz", "--out", run, "--overwrite")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "run"]


def test_a_pickle_with_a_program_from_the_command_line(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "images.pt").write_bytes(b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch hacked\x85R.")
    done = subprocess.run(
        [sys.executable, "-m", "datadam.cli", "import", "images.pt", "--as", "eccv24", "--data", str(pictures), "--out", "run"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "wants 'posix.system'" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["images.pt"]


def test_nothing_is_pushed_offline_or_unknown(refused: Callable[..., str], run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    asked = ("export", run, "--to", "parquet", "--out", tmp_path / "out", "--push", "me/set")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refused(*asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "nobody is logged in" in refused(*asked)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'datadam[hf]'" in refused(*asked)
    assert not (tmp_path / "out").exists()


class Hub(http.server.BaseHTTPRequestHandler):
    """What the hub answers to those who make a data set and upload small files."""

    seen: list[tuple[str, str, bytes]]
    broken = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.path, self.headers.get("Authorization", ""), body))
        answer: dict[str, Any] = {"url": f"http://{self.headers['Host']}/datasets/me/set", "name": "me/set", "id": "1"}
        if "preupload" in self.path:
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            answer = {"files": files}
        elif "commit" in self.path:
            answer = {
                "success": True,
                "commitOid": "0" * 40,
                "commitUrl": f"http://{self.headers['Host']}/datasets/me/set/commit/{'0' * 40}",
            }
        self.answer(answer)

    def do_GET(self) -> None:
        self.seen.append((self.path, "", b""))
        self.answer({"id": "me/set", "sha": "0" * 40, "siblings": []})

    def answer(self, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self.send_response(500 if self.broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    """A hub of our own on this machine: its address, and its requests."""
    kind = type("OwnHub", (Hub,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    server.server_close()
    thread.join()


def push(address: str, run: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    own = {"HF_ENDPOINT": address, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    left_out = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY")
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | own
    return subprocess.run(
        [sys.executable, "-m", "datadam.cli", "export", str(run), "--to", "parquet", "--out", str(tmp_path / "out"),
         "--push", "me/set"],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_set_is_pushed(hub: tuple[str, type[Hub]], run: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    address, kind = hub
    done = push(address, run, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"pushed: {address}/datasets/me/set" in done.stdout
    assert "hf_secret" not in done.stdout + done.stderr
    made = json.loads(next(body for path, _, body in kind.seen if path.endswith("/repos/create")))
    assert (made["name"], made["type"]) == ("set", "dataset")
    sent = next(body for path, _, body in kind.seen if "/commit/" in path).decode()
    files = {json.loads(line)["value"]["path"] for line in sent.splitlines() if json.loads(line)["key"] == "file"}
    assert files == {"README.md", "datadam.json", "data/train-00000-of-00001.parquet"}


def test_a_push_that_fails_says_how_to_do_it_later(hub: tuple[str, type[Hub]], run: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    address, kind = hub
    kind.broken = True
    done = push(address, run, tmp_path)
    assert done.returncode == 1
    assert "was not pushed to me/set" in done.stderr
    assert f"hf upload me/set {tmp_path / 'out'} . --repo-type dataset" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out/data/train-00000-of-00001.parquet").exists()
