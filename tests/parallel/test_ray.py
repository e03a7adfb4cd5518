"""A real cluster of several Ray nodes on this machine: the same images whatever dies, and what died stands in the log.

One cluster serves all tests; its workers stay warm between them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tasks
from blocking import Waits
from here import assert_same
from small import make_real

import datadam
from datadam import parallel
from datadam.comparison.compare import compare
from datadam.data import RealData
from datadam.distillation.begin import begin, resume
from datadam.distillation.recipe import Recipe
from datadam.distillation.shards import run as shards
from datadam.errors import InvalidInput, RunFailed
from datadam.evaluation.panel import protocol_named
from datadam.parallel import Ray
from datadam.parallel.on_ray import places
from datadam.parallel.spread import Spread
from datadam.training.make_experts import make_experts
from datadam.training.trainer import Training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and files
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # as on a real cluster
    "OMP_NUM_THREADS": "1",
    "RAY_worker_register_timeout_seconds": "120",
    "RAY_memory_monitor_refresh_ms": "0",  # other work of the machine takes no worker away
    "RAY_health_check_failure_threshold": "60",  # nor does a node count as lost since it is slow
    "RAY_health_check_period_ms": "200",  # one that is gone counts so after a quarter of a minute all the same
    "RAY_local_fs_capacity_threshold": "0.999",
    "RAY_worker_niceness": "0",  # else workers wait for whatever runs beside them, other tests too
}


class Nodes:
    """A head without cores, and workers of one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.workers: list[Any] = []
        for _ in range(2):
            self.add()
        self.cluster.wait_for_nodes(timeout=120)
        self.engine = Ray(self.cluster.address)
        self.engine.connect()

    def add(self) -> None:
        """Start a node; `wait_for_nodes` has more patience than Ray has by itself."""
        self.workers.append(self.cluster.add_node(wait=False, **NODE))

    def of(self, process: int) -> Any:
        """The node whose daemon has started this worker process."""
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        return next(n for n in self.workers if any(p.process.pid == parent for p in n.all_processes["raylet"]))


@pytest.fixture(scope="module")
def all_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("0123456789abcdef" * 3)
    path = os.pathsep.join([str(Path(tasks.__file__).parent), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": path}).items():
            patch.setenv(name, value)
        made = Nodes()  # Ray looks at the environment when it is imported
        import ray

        yield made
        ray.shutdown()
        made.cluster.shutdown()


@pytest.fixture
def nodes(all_nodes: Nodes) -> Nodes:
    """The cluster with both workers, also after a test that took one away."""
    all_nodes.cluster.wait_for_nodes(timeout=120)
    return all_nodes


ITERATIONS = 12


@pytest.fixture(scope="module")
def data() -> RealData:
    return make_real(classes=4, per_class=12)


@pytest.fixture(scope="module")
def long(data: RealData) -> Recipe:
    settings = {"net": "convnet2:width=6", "iterations": ITERATIONS, "batch_real": 5, "precision": "float64"}
    return datadam.preset("datadam", data, ipc=2).change(settings)


@pytest.fixture(scope="module")
def expected(data: RealData, long: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was not spread."""
    out = tmp_path_factory.mktemp("plain") / "run"
    datadam.distill(data, long, out=out)
    return out


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard tells after its first iteration where it stands."""
    monkeypatch.setattr(shards, "LEAST_PAUSE", 0.0)
    monkeypatch.setattr(shards, "BYTES_A_SECOND", float("inf"))


def log_of(out: Path) -> list[dict[str, Any]]:
    path = out / "workers.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def process_of(event: dict[str, Any]) -> int:
    return int(event["worker"].rpartition(":")[2])


def distill_and(
    nodes: Nodes, data: RealData, recipe: Recipe, out: Path, kill: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distil, and do something to the process of one shard while both wait, having told where they stand."""
    signpost = out.with_name("signpost")
    monkeypatch.setattr(shards, "ShardTask", partial(Waits, signpost=str(signpost)))
    run = begin(data, recipe, out=out, spread=Spread(workers=2, engine=nodes.engine))
    for step in run.steps():
        assert 0 <= step.iteration <= ITERATIONS
        if not signpost.exists() and min(run.at) > 0:
            kill(process_of(next(event for event in log_of(out) if event["event"] == "start")))
            signpost.touch()
    run.result()
    assert signpost.exists()


def test_work_on_a_cluster(nodes: Nodes, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    items = [4, 0, 3, 1, 5, 2]
    found = parallel.run(tasks.square, items, workers=2, engine=nodes.engine, report=lambda *what: told.append(what))
    assert found == [i * i for i in items]
    numbers = {n: [value for number, value in told if number == n] for n in range(6)}
    assert {n: values[0] for n, values in numbers.items()} == dict(enumerate(items))
    assert os.getpid() not in {values[1] for values in numbers.values()}
    (tmp_path / "signpost").touch()
    with pytest.raises(InvalidInput, match="unknown net 'resnt18'"):
        parallel.run(tasks.fate, [("ours", tmp_path / "signpost")], engine=nodes.engine)
    with pytest.raises(RunFailed, match=r"(?s)in a worker process: .*KeyError: 'a key that is not there'"):
        parallel.run(tasks.fate, [("unforeseen", tmp_path / "signpost")], engine=nodes.engine)
    with pytest.raises(RunFailed, match="WorkerCrashedError"):  # whoever takes it dies: given up after some
        parallel.run(tasks.fate, [("killed", tmp_path / "signpost")], engine=nodes.engine)
    with pytest.raises(InvalidInput, match=r"has 2 CPU cores .* hold 2 workers, and 3 are asked for"):
        nodes.engine.settle(3, 10)


def test_a_worker_is_killed(
    nodes: Nodes, data: RealData, long: Recipe, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill_and(nodes, data, long, tmp_path / "run", lambda process: os.kill(process, signal.SIGKILL), monkeypatch)
    assert_same(tmp_path / "run", expected)
    log = log_of(tmp_path / "run")
    (lost,) = (event for event in log if event["event"] == "lost")
    first, again = (e for e in log if e["event"] == "start" and e["classes"] == lost["classes"])
    assert (first["iteration"], again["iteration"] > 0) == (0, True)  # not from the beginning
    assert again["worker"] != first["worker"]
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["spread"] == {"engine": "ray", "workers": 2, "shards": 2, "lost": 1}


def test_a_node_is_killed(
    nodes: Nodes, data: RealData, long: Recipe, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(process: int) -> None:
        node = nodes.of(process)
        nodes.workers.remove(node)
        nodes.cluster.remove_node(node, allow_graceful=False)
        with suppress(ProcessLookupError):  # a machine takes all of its processes along; here they end of themselves, or so
            os.kill(process, signal.SIGKILL)
        nodes.add()

    distill_and(nodes, data, long, tmp_path / "run", kill, monkeypatch)
    assert_same(tmp_path / "run", expected)
    log = log_of(tmp_path / "run")
    lost = [event for event in log if event["event"] == "lost"]
    assert len(lost) >= 1
    assert any(e["event"] == "start" and e["classes"] == lost[0]["classes"] and e["iteration"] > 0 for e in log)


PROGRAM = """
import json, sys
from functools import partial
import datadam
from blocking import Waits
from datadam.distillation.shards import run as shards
from datadam.parallel import Ray
from datadam.distillation.recipe import Recipe
from datadam.parallel.spread import Spread
shards.LEAST_PAUSE, shards.BYTES_A_SECOND = 0.0, float("inf")
if __name__ == "__main__":
    data, recipe, out, address, signpost = sys.argv[1:]
    shards.ShardTask = partial(Waits, signpost=signpost)
    spread = Spread(workers=2, engine=Ray(address))
    datadam.distill(datadam.load(data), Recipe.from_card(json.loads(recipe)), out=out, spread=spread)
"""


def test_the_driver_is_killed(nodes: Nodes, data: RealData, long: Recipe, expected: Path, tmp_path: Path) -> None:
    file, out, signpost = tmp_path / "data.npz", tmp_path / "run", tmp_path / "signpost"
    np.savez(
        file, x_train=data.train.pixels.transpose(0, 2, 3, 1), y_train=data.train.labels,
        x_test=data.test.pixels.transpose(0, 2, 3, 1), y_test=data.test.labels,
    )  # fmt: skip
    words = [file, json.dumps(long.to_card()), out, nodes.cluster.address, signpost]
    driver = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 180
    stand = lambda: len(list((out / "checkpoint" / "shards").glob("0*.safetensors")))  # noqa: E731
    while stand() < 2 and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.kill()
    _, said = driver.communicate()
    signpost.touch()
    assert not (out / "card.json").exists(), said
    assert stand() == 2, said
    run = resume(out, datadam.load(file), spread=Spread(workers=2, shards=3, engine=nodes.engine))
    assert 0 < min(run.at) < ITERATIONS
    for _ in run.steps():
        pass
    run.result()
    names = json.loads((out / "card.json").read_text())["data"]["classes"]
    assert names == list(data.classes)
    assert_same(out, expected)


def test_students_on_a_cluster(nodes: Nodes, data: RealData, tmp_path: Path) -> None:
    recipe = datadam.preset("random", data, ipc=2)
    distilled = datadam.distill(data, recipe)
    words = {"net": "convnet1:width=4", "students": 3, "precision": "float64"}
    rule = protocol_named("honest", epochs=5)
    here = datadam.evaluate(distilled, data, protocol=rule, **words)
    there = datadam.evaluate(distilled, data, protocol=rule, workers=2, engine=nodes.engine, **words)
    assert there.accuracies == here.accuracies
    assert there.confusion == here.confusion
    assert there.made["workers"] == 2


def test_experts_on_a_cluster(nodes: Nodes, data: RealData, one_thread: None, tmp_path: Path) -> None:
    training = Training(epochs=2, batch=8, augment="none")
    here, there = (
        make_experts(data, tmp_path / name, "convnet1:width=4", training, 3, 0, workers=workers, engine=engine)
        for name, workers, engine in (("here", 1, None), ("there", 2, nodes.engine))
    )
    assert there.digests == here.digests
    assert {path.name for path in there.folder.iterdir()} == {"index.json", "states"}


def test_cells_on_a_cluster(nodes: Nodes, data: RealData, tmp_path: Path) -> None:
    words: dict[str, Any] = {
        "ipc": 1, "nets": "convnet1:width=4", "net": "convnet2:width=4", "iterations": 3, "batch_real": 4, "students": 1,
        "protocol": protocol_named("honest", epochs=2), "repeats": 2, "whole": True,
        "whole_epochs": 1,
    }  # fmt: skip
    here = compare(data, "random,dm", out=tmp_path / "here", **words)
    told = []
    there = compare(data, "random,dm", out=tmp_path / "there", workers=2, engine=nodes.engine, progress=told.append, **words)
    assert there.failed == 0
    places = sorted(str(p.relative_to(tmp_path / "here")) for p in (tmp_path / "here").rglob("*.safetensors"))
    assert places == sorted(str(p.relative_to(tmp_path / "there")) for p in (tmp_path / "there").rglob("*.safetensors"))
    for place in places:
        if place.endswith("distilled.safetensors"):
            assert (tmp_path / "there" / place).read_bytes() == (tmp_path / "here" / place).read_bytes()
    means = [[row["cells"] for row in made.table["rows"]] for made in (here, there)]
    assert json.dumps(_numbers(means[0])) == json.dumps(_numbers(means[1]))
    assert told[-1].done == told[-1].parts
    assert not (tmp_path / "there" / ".seen").exists()


def _numbers(cells: Any) -> Any:
    """What of cells does not depend on the clock."""
    if isinstance(cells, dict):
        return {
            k: _numbers(v) for k, v in sorted(cells.items()) if k in ("mean", "accuracies", "half") or isinstance(v, dict | list)
        }
    return [_numbers(cell) for cell in cells] if isinstance(cells, list) else cells


@pytest.mark.parametrize(
    ("nodes_", "gpus", "workers", "items", "found"),
    [
        ([(8, 0)], 0, None, 100, (8, 1)),
        ([(8, 0)], 0, None, 3, (3, 2)),
        ([(8, 0), (8, 0)], 0, 4, 100, (4, 4)),
        ([(8, 0), (2, 0)], 0, 3, 100, (3, 2)),
        ([(32, 8), (32, 8)], 1, None, 100, (16, 4)),
        ([(32, 8), (0, 0)], 0.5, None, 100, (16, 2)),
    ],
)
def test_places(nodes_: list[tuple[int, float]], gpus: float, workers: int | None, items: int, found: tuple[int, int]) -> None:
    assert places(nodes_, gpus, workers, items) == found


def test_places_that_are_not_there() -> None:
    with pytest.raises(InvalidInput, match=r"hold 0 workers, and 1 are asked for .* of 1 GPU each"):
        places([(8, 0)], 1, 1, 10)
    with pytest.raises(InvalidInput, match="workers is 0"):
        places([(8, 0)], 0, 0, 10)
