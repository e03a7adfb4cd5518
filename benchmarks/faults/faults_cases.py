"""What faults.py kills: six kinds of work, as processes of the real command line or library, and their outcomes."""

import hashlib
import http.server
import io
import json
import os
import shutil
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

SIDE, CLASSES, EACH = 12, ("bar", "cross", "ring"), 30
CLI = """
import sys
import datadam.distillation.loop
datadam.distillation.loop.CHECKPOINT_SECONDS = 0.05
from datadam.cli import app
sys.exit(app.run(sys.argv[1:]))
"""
SHARDED = CLI.replace(
    "import datadam.distillation.loop",
    "import datadam.distillation.loop, datadam.distillation.shards.run\ndatadam.distillation.shards.run.LEAST_PAUSE = 0.05",
)
DOWNLOAD = """
import sys
from dataclasses import replace
from datadam.data import catalog
url, checksum, root = sys.argv[1:]
catalog.CATALOG["cifar10"] = replace(catalog.CATALOG["cifar10"], downloads=(catalog.Download(url, checksum),))
print(catalog.load("cifar10", root=root).checksum)
"""
CACHE = """
import sys
from datadam.data import cache, load
cache.BLOCK_IMAGES = 4
print(load(sys.argv[1], memory_limit=1).checksum)
"""
TINY = ("--ipc", "2", "--net", "convnet1:width=8", "--batch-real", "16")


@dataclass(frozen=True)
class Case:
    """A kind of work: `driver`, Python code that does it; `arguments(place, server)` for it, as a user would give them now;
    `outcome(place)`, everything that must be equal; `there(place)`, how far it is, in a word; `sign(place)`, something that
    changes when a process has begun to work, and not while it is only starting; `inputs`, what must lie there."""

    name: str
    driver: str
    arguments: Callable[[Path, "Server"], list[str]]
    outcome: Callable[[Path], dict[str, str]]
    there: Callable[[Path], str]
    sign: Callable[[Path], object]
    inputs: tuple[str, ...] = ()

    def is_left_over(self, path: Path) -> bool:
        """Whether a file is one in the making, or a lock, that nobody needs any more."""
        return path.name.endswith((".partial", ".part", ".lock")) or path.name == ".partial" or ".unpacked" in path.name


class Server:
    """Serves an archive in CIFAR-10's layout on this machine, slowly; knows ranges. While `go` is not set, nothing beyond the
    first `HELD` bytes is sent."""

    HELD = 1 << 20

    def __enter__(self) -> "Server":
        body = archive()
        self.go = go = threading.Event()
        go.set()
        self.checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                if first >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - first))
                self.end_headers()
                try:
                    for at in range(first, len(body), 1 << 16):
                        if at >= Server.HELD:
                            go.wait(300)
                        self.wfile.write(body[at : at + (1 << 16)])
                        time.sleep(0.01)
                except OSError:  # the other end was killed
                    self.close_connection = True

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/cifar-10-binary.tar.gz"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def archive() -> bytes:
    """A tar.gz of cifar-10-batches-bin with 200 images a file."""
    draw, out = np.random.default_rng(0), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
            rows = draw.integers(0, 256, (200, 3073), dtype=np.uint8)
            rows[:, 0] = np.arange(200) % 10
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = rows.size
            tar.addfile(info, io.BytesIO(rows.tobytes()))
    return out.getvalue()


def environment(place: Path) -> dict[str, str]:
    """One thread, and a cache of its own."""
    return os.environ | {"OMP_NUM_THREADS": "1", "DATADAM_CACHE": str(place / "cache")}


def pictures(folder: Path) -> None:
    """train/CLASS/*.png and test/CLASS/*.png: shapes in noise."""
    draw, (y, x) = np.random.default_rng(0), np.mgrid[:SIDE, :SIDE] - SIDE // 2
    shapes = (abs(x) < 2, (abs(x) < 2) | (abs(y) < 2), abs(np.hypot(x, y) - 4) < 1.2)
    for part, count in (("train", EACH), ("test", 10)):
        for name, shape in zip(CLASSES, shapes, strict=True):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = (90 + 110 * shape + draw.normal(0, 30, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:03d}.png")


def prepare(case: Case, inputs: Path, place: Path) -> None:
    """Lay what a case needs into a fresh folder; made once under `inputs`."""
    import subprocess
    import sys

    for name in case.inputs:
        if not (inputs / name).exists():
            if name == "data":
                pictures(inputs / "making")
                (inputs / "making").rename(inputs / name)
            else:
                arguments = ["distill", str(inputs / "data"), *TINY, "--iterations", "3", "--out", str(inputs / name)]
                subprocess.run([sys.executable, "-c", CLI, *arguments], check=True, capture_output=True, env=environment(inputs))
        if name == "data":
            (place / name).symlink_to(inputs / name)
        else:
            shutil.copytree(inputs / name, place / name)


def outcome_of(case: Case, place: Path) -> str:
    """Everything that must be equal, in one number."""
    return hashlib.sha256(json.dumps(case.outcome(place), sort_keys=True).encode()).hexdigest()


def tensors(path: Path) -> str:
    """All tensors of a file, bit by bit."""
    found = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def of_run(run: Path) -> dict[str, str]:
    """A finished run's images, snapshots, curve and kept state."""
    files = [run / "distilled.safetensors", *(run / "snapshots").iterdir(), run / "checkpoint" / "state.safetensors"]
    metrics = run / "metrics.jsonl"  # choosing real images has no curve
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    curve = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    done = str(json.loads((run / "card.json").read_text())["iterations_done"])
    return {str(file.relative_to(run)): tensors(file) for file in files} | {"curve": json.dumps(curve), "done": done}


def of_evaluations(folder: Path) -> dict[str, str]:
    """Every accuracy and count of the evaluations in a folder."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        e: dict[str, Any] = json.loads(file.read_text())
        found[file.name] = json.dumps([e[name] for name in ("accuracies", "mean", "interval", "per_class", "confusion")])
    return found


def of_comparison(out: Path) -> dict[str, str]:
    """Every run and evaluation, and the cells of the table."""
    found = {}
    for card in sorted(out.glob("runs/*/*/card.json")):
        inside = of_run(card.parent) | of_evaluations(card.parent / "evaluations")
        found |= {f"{card.parent.relative_to(out)}/{name}": value for name, value in inside.items()}
    table = json.loads((out / "table.json").read_text())
    kept = {key: table[key] for key in ("parts", "done") if key in table}
    return found | {"table": json.dumps(kept), "means": json.dumps(_means(table))}


def _means(value: Any) -> Any:
    """The accuracies of a table, wherever they stand."""
    if isinstance(value, dict):
        inside = {key: _means(one) for key, one in value.items()}
        return {key: one for key, one in inside.items() if one not in (None, [], {})} or None
    if isinstance(value, list):
        return [_means(one) for one in value if isinstance(one, dict | list)]
    return None


def of_files(folder: Path) -> dict[str, str]:
    """Every file below a folder by its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def distill(place: Path, _: Server, *more: str) -> list[str]:
    """Begin or, once there is a run, go on with it."""
    run = place / "run"
    if (run / "checkpoint" / "run.json").exists():
        return ["distill", "--resume", str(run), *more]
    data = str((place / "data").resolve())
    return ["distill", data, *TINY, "--iterations", "150", "--snapshots", "20,75,140", "--out", str(run), *more]


def shards(place: Path, _: Server) -> list[str]:
    """The same with two workers."""
    return distill(place, _, "--workers", "2")


def sizes(place: Path, *patterns: str) -> list[tuple[str, int, int]]:
    """Name, size and moment of files that may be renamed or gone at any time."""
    found = []
    for pattern in patterns:
        for path in place.glob(pattern):
            with suppress(OSError):
                told = path.stat()
                found.append((str(path), told.st_size, told.st_mtime_ns))
    return sorted(found)


def _distilled(place: Path) -> str:
    run = place / "run"
    names = {
        "card.json": "finished",
        "metrics.jsonl": "iterating",
        "checkpoint/shards": "iterating",
        "checkpoint/run.json": "begun",
        "snapshots": "beginning",
    }
    return next((word for name, word in names.items() if (run / name).exists()), "nothing yet")


def _evaluated(place: Path) -> str:
    students = len(list((place / "run").glob("evaluations/.partial/*/*.safetensors")))
    done = bool(list((place / "run" / "evaluations").glob("*.json"))) if (place / "run" / "evaluations").exists() else False
    return "finished" if done else f"{students} of 4 students"


def _compared(place: Path) -> str:
    return f"{len(list(place.glob('grid/runs/*/*/card.json')))} of 4 runs" if (place / "grid").exists() else "nothing yet"


def _downloaded(place: Path) -> str:
    names = {"cifar-10-batches-bin": "unpacked", "downloads/cifar-10-binary.tar.gz": "fetched", "downloads": "fetching"}
    return next((word for name, word in names.items() if (place / "root" / name).exists()), "nothing yet")


def _cached(place: Path) -> str:
    endings = {".pixels": "a part finished", ".part": "building"}
    files = list((place / "cache").rglob("*")) if (place / "cache").exists() else []
    return next((word for end, word in endings.items() if any(file.name.endswith(end) for file in files)), "nothing yet")


CASES = (
    Case(
        "distill", CLI, distill, lambda place: of_run(place / "run"), _distilled, lambda place: sizes(place, "run/metrics.jsonl"),
        ("data",),
    ),
    Case(
        "sharded", SHARDED, shards, lambda place: of_run(place / "run"), _distilled,
        lambda place: sizes(place, "run/metrics.jsonl", "run/checkpoint/shards/*"), ("data",),
    ),
    Case(
        "evaluate", CLI,
        lambda place, _: ["evaluate", str(place / "run"), "--students", "4", "--epochs", "60", "--workers", "1"],
        lambda place: of_evaluations(place / "run" / "evaluations"), _evaluated,
        lambda place: sizes(place, "run/evaluations/.partial/*/[!.]*"), ("data", "run"),
    ),
    Case(
        "compare", CLI,
        lambda place, _: ["compare", str((place / "data").resolve()), "--methods", "dm,random", "--ipc", "1", "--repeats", "2",
                          "--iterations", "30", "--batch-real", "16", "--net", "convnet1:width=8", "--students", "1",
                          "--epochs", "5", "--workers", "1", "--out", str(place / "grid")],
        lambda place: of_comparison(place / "grid"), _compared, lambda place: sizes(place, "grid/runs/*/*/metrics.jsonl"),
        ("data",),
    ),
    Case(
        "download", DOWNLOAD, lambda place, server: [server.url, server.checksum, str(place / "root")],
        lambda place: of_files(place / "root"), _downloaded, lambda place: sizes(place, "root/downloads/*"),
    ),
    Case(
        "cache", CACHE, lambda place, _: [str((place / "data").resolve())],
        lambda place: of_files(place / "cache"), _cached, lambda place: sizes(place, "cache/pixels/*"), ("data",),
    ),
)  # fmt: skip
