"""`datadam reproduce`: all tables whole, at the smallest scale, and what is refused before any work."""

from pathlib import Path

import pytest

from datadam.applications.reproduce.tables import names
from datadam.files.whole import read_json


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_all_tables_whole(cli, refused, tmp_path: Path) -> None:
    """Every table and figure at the smallest scale by one command, each number there or its reason told, all on one page."""
    out = tmp_path / "out"
    done = cli("reproduce", "all", "--scale", "tiny", "--workers", "1", "--out", out, "--json")
    assert done.code == 0, done.err
    made = {table["name"]: table for table in done.json}
    assert tuple(made) == names()
    for table in made.values():
        assert table["skipped"] == {}
        for row in table["rows"]:
            assert row["value"] is not None or row["reason"], (table["name"], row)
            assert row["verdict"] in ("", "no comparison: other data")
            assert row["measure"] != "accuracy" or row["value"] is None or 0 <= row["value"] <= 100
    first, second = made["course1"], made["course5"]
    assert [(row["data"], row["row"], row["published"], row["status"]) for row in first["rows"] if row["data"] == "mnist"] == [
        ("mnist", "Random", "", "done"), ("mnist", "Whole set", "99.52", "done"),
    ]  # fmt: skip
    assert {row["word"] for row in second["rows"]} == {"course-mnist:network_steps=2:net=convnet3[width=4]"}
    assert second["protocols"]["mnist"].startswith("dc-bench: 2 of 5 students")
    page = (out / "index.html").read_text()
    assert [page.index(f"{name}: ") for name in names()] == sorted(page.index(f"{name}: ") for name in names())
    assert "says nothing of the published numbers" in page

    def of(table: str, row: str) -> float:
        return next(one["value"] for one in made[table]["rows"] if one["row"] == row)

    assert of("table1", "DataDAM") == of("table11", "DataDAM")  # the same set and students, taken over
    cards = {path: path.stat().st_mtime_ns for path in out.rglob("card.json")}
    assert len({read_json(path)["created"] for path in cards}) < len(cards)
    assert of("table8", "DataDAM") == of("figure14", "DataDAM")
    for page_of in ("figure14/search-cifar10/search.html", "figure7/continual-cifar100/steps5.html"):
        assert (out / page_of).exists()

    index = (out / "index.html").read_text()
    (out / "index.html").unlink()
    assert cli("reproduce", "page", "--out", out).code == 0
    assert (out / "index.html").read_text() == index
    again = cli("reproduce", "course1,figure9", "--scale", "tiny", "--workers", "1", "--out", out, "--json")
    assert again.code == 0, again.err
    for table in again.json:
        assert [row["value"] for row in table["rows"]] == [row["value"] for row in made[table["name"]]["rows"]]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("card.json")} == cards
    assert "course5 at scale tiny" in refused("reproduce", "course5", "--scale", "small", "--out", out)


def test_the_list_says_what_is_not_available(cli) -> None:
    told = cli("reproduce", "list", "--json").json
    assert "table5" in told["available"]
    assert not set(told["available"]) & set(told["not_available"])
    assert all(told["not_available"].values())
    text = cli("reproduce", "list").out
    assert text.index("table5") < text.index("table11") < text.index("figure3") < text.index("not available")


def test_what_is_refused(refused, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = refused("reproduce", "table55,course2,table5", "--only", "mnist", "--out", out)
    assert "unknown table 'table55'" in told
    assert "course2 is not available" in told
    assert "--only 'mnist' names nothing in table5" in told
    assert "holds no tables yet" in refused("reproduce", "page", "--out", out)
    assert not out.exists()
    out.write_text("")
    assert "is a file" in refused("reproduce", "table5", "--out", out)
