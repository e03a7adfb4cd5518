"""Tables of the papers as data: each is well-formed, can be planned, and keeps its numbers apart from ours."""

from pathlib import Path

import numpy as np
import pytest

import datadam
from datadam.applications.reproduce.bench import Bench, How
from datadam.applications.reproduce.making import MAKERS, check_place, reproduce
from datadam.applications.reproduce.page import sentence, write_page
from datadam.applications.reproduce.rows import NUMBER, verdict
from datadam.applications.reproduce.scales import SCALES, few
from datadam.applications.reproduce.searching import lacks
from datadam.applications.reproduce.tables import MEASURES, NOT_AVAILABLE, WHOLE_SET, names, table_named
from datadam.comparison.grid import plan
from datadam.comparison.variants import variant
from datadam.data import RealData
from datadam.data.catalog import CATALOG
from datadam.errors import InvalidInput, UnknownName
from datadam.evaluation.panel import protocol_named


@pytest.fixture(scope="module")
def mnist() -> RealData:
    return few(datadam.load("mnist"), 60, 10)


@pytest.mark.parametrize("name", names())
def test_each_table_is_well_formed(name: str) -> None:
    table = table_named(name)
    assert table.title
    assert table.source.endswith(tuple("0123456789IVX"))
    for part in table.parts.values():
        assert part.data in CATALOG
        assert part.measure in MEASURES
        assert part.by in MAKERS
        rows = {*part.methods, *part.absent, WHOLE_SET}
        assert {*part.published, *part.notes} <= rows
        assert not {*part.methods} & {*part.absent}
        assert part.whole or WHOLE_SET not in part.published
        for row, numbers in part.published.items():
            assert len(numbers) == len(part.nets) * (1 if row == WHOLE_SET else len(part.ipc)), row
            assert all(NUMBER.fullmatch(number) for number in numbers if number not in ("", "out of memory")), row


@pytest.mark.parametrize("name", names())
def test_each_table_can_be_planned(name: str, mnist: RealData) -> None:
    """At every scale its words are those of `compare`; at the smallest the whole grid is checked, and nothing is refused but
    ranges of a pool that is not there."""
    for part in table_named(name).fewest().parts.values():
        if part.by != "compare":
            made = Bench(part, SCALES["tiny"], mnist, Path("out") / name, "part", How())
            words = [made.word(word) for word in part.methods.values() if word not in ("random", "early")]
            assert {made.recipe(word).ipc for word in words} == {1}
            continue
        for scale in (SCALES["full"], SCALES["small"], SCALES["tiny"]):  # the last one's words are planned
            words = [scale.word(word, mnist, part.ipc[0], "pool") for word in part.methods.values()]
            assert len({variant(word) for word in words}) == len(words)
        rule = protocol_named(part.protocol).with_epochs(scale.epochs)
        grid = plan(
            mnist, words, list(part.ipc), [scale.net(net) for net in part.nets], repeats=1, iterations=scale.iterations,
            batch_real=scale.batch_real, precision=None, net=scale.net("convnet"), normalisation=None, zca=None, protocol=rule,
            students=2, whole=part.whole, whole_epochs=scale.whole_epochs if part.whole else None, seed=0, device="cpu",
            memory_limit=None,
        )  # fmt: skip
        assert len(grid.rows) == len(part.methods)
        assert len(grid.columns) == len(part.nets)
        assert [row.variant.word for row in grid.rows if row.refused and "networks=" not in row.variant.word] == []


def test_published_numbers_of_a_part_follow_it() -> None:
    table = table_named("table3")
    assert table.parts["cifar10"].printed("DM", 50, "vgg11") == "57.4 ± 0.8"
    one = table_named("table1").only("cifar10:ipc10")
    assert list(one.parts) == ["cifar10"]
    assert one.parts["cifar10"].published["DataDAM"] == ("54.2 ± 0.8",)
    assert not one.parts["cifar10"].whole
    both = table_named("table1").only("ipc50, cifar100")
    assert {name: (part.ipc, part.whole) for name, part in both.parts.items()} == {
        "cifar10": ((50,), False), "cifar100": ((1, 10, 50), True), "tiny-imagenet": ((50,), False),
    }  # fmt: skip
    assert both.parts["cifar100"].printed(WHOLE_SET, None, "convnet") == "56.2"


def test_names_that_are_none() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'table5'"):
        table_named("table55")
    for name, why in NOT_AVAILABLE.items():
        assert name not in names()
        with pytest.raises(InvalidInput, match="is not available") as caught:
            table_named(name)
        assert why in str(caught.value)
    with pytest.raises(InvalidInput, match=r"'ipc7' names nothing in table5; there is cifar10:ipc10") as caught:
        table_named("table5").only("mnist,ipc7")
    assert len(caught.value.faults) == 2


def test_few_images_are_a_set_of_their_own(mnist: RealData) -> None:
    whole = datadam.load("mnist")
    assert mnist.checksum != whole.checksum
    assert not mnist.flips
    for part, each in ((mnist.train, 60), (mnist.test, 10)):
        assert np.bincount(part.labels).tolist() == [each] * 10
    kept = {image.tobytes() for image in whole.train.pixels}
    assert all(image.tobytes() in kept for image in mnist.train.pixels)


def test_numbers_agree_where_interval_and_spread_touch() -> None:
    def says(published: str, value: float, low: float, high: float, scale: str = "full") -> str:
        row = {"published": published, "value": value, "low": low, "high": high, "measure": "accuracy"}
        return verdict(row, SCALES[scale])

    assert says("54.2 ± 0.8", 53.0, 52.5, 53.5) == "agrees"
    assert says("54.2 ± 0.8", 53.0, 52.7, 53.3) == "open"
    assert says("54.2", 55.0, 54.1, 55.9) == "agrees"
    assert says("54.2", 55.0, 54.3, 55.7) == "open"
    assert says("", 55.0, 54.3, 55.7) == ""
    assert says("54.2", 54.2, 54.0, 54.4, "small") == "another scale"
    assert says("54.2", 54.2, 54.0, 54.4, "tiny") == "no comparison: other data"
    assert says("-0.37", -0.4, -0.55, -0.2) == "agrees"
    assert says("-0.37", 0.37, 0.2, 0.55) == "open"


def test_data_that_are_not_there_are_skipped_by_name(tmp_path: Path) -> None:
    def load(data: str) -> RealData:
        return datadam.load(data, root=tmp_path / "data", download=False)

    table = table_named("table2")
    found = reproduce(table, SCALES["full"], tmp_path / "out", load, How())
    assert {row["status"] for row in found["rows"]} == {"skipped"}
    assert "image-net.org" in found["skipped"]["imagenet-1k"]
    assert found["skipped"].keys() == {part.data for part in table.parts.values()}
    assert "0 of" in sentence(found)
    path = tmp_path / "out" / "table2" / "reproduce.json"
    page = write_page(tmp_path / "out").read_text()
    assert "image-net.org" in page
    assert "15.5 ± 0.2" in page
    with pytest.raises(InvalidInput, match="holds table2 at scale full"):
        check_place(table, SCALES["tiny"], tmp_path / "out")
    kept = path.read_text()
    for said, spoilt in (
        ('"ipc": 10', '"ipc": "10"'),
        ('"value": null', '"value": "9"'),
        ('"name": "table2"', '"name": "tables"'),
    ):
        path.write_text(kept.replace(said, spoilt, 1))
        with pytest.raises(InvalidInput, match="or was changed"):
            write_page(tmp_path / "out")


def test_a_benchmark_that_is_not_there_is_skipped_by_name(mnist: RealData, tmp_path: Path) -> None:
    """The numbers of NAS-Bench-201 are given on request; the smallest scale trains its truth and needs none."""
    table = table_named("table13")
    found = reproduce(table, SCALES["full"], tmp_path / "out", lambda _: mnist, How(root=tmp_path))
    assert {row["status"] for row in found["rows"]} == {"skipped"}
    assert list(found["skipped"]) == ["nasbench201"]
    assert f"{tmp_path / 'nasbench201'}" in found["skipped"]["nasbench201"]
    assert "github.com/D-X-Y/NAS-Bench-201" in write_page(tmp_path / "out").read_text()
    (tmp_path / "nasbench201").mkdir()
    (tmp_path / "nasbench201" / "accuracies.csv").touch()
    assert not any(lacks(part, tmp_path) for part in table.parts.values())


@pytest.mark.parametrize("spoil", ["{", '{"format": "datadam-reproduce/1", "rows": [{}]}', "[]"])
def test_a_spoilt_file_is_told(spoil: str, tmp_path: Path) -> None:
    (tmp_path / "table5").mkdir()
    (tmp_path / "table5" / "reproduce.json").write_text(spoil)
    with pytest.raises(InvalidInput, match=r"reproduce\.json"):
        check_place(table_named("table5"), SCALES["tiny"], tmp_path)
    with pytest.raises(InvalidInput, match=r"reproduce\.json"):
        write_page(tmp_path)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no tables yet"):
        write_page(tmp_path)
    (tmp_path / "table5").mkdir()
    (tmp_path / "table5" / "mine.txt").touch()
    with pytest.raises(InvalidInput, match="holds files that are no table"):
        check_place(table_named("table5"), SCALES["tiny"], tmp_path)
