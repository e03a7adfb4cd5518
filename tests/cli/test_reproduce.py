"""`datadam reproduce`: two tables whole, at the smallest scale, and what is refused before any work."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def test_two_tables_whole(cli, refused, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = cli("reproduce", "course1,course5", "--only", "mnist", "--scale", "tiny", "--workers", "1", "--out", out, "--json")
    assert done.code == 0, done.err
    first, second = done.json
    assert [(row["data"], row["row"], row["published"], row["status"]) for row in first["rows"]] == [
        ("mnist", "Random", "", "done"), ("mnist", "Whole set", "99.52", "done"),
    ]  # fmt: skip
    assert [row["word"] for row in second["rows"]] == ["course-mnist:network_steps=2:net=convnet3[width=4]"]
    assert second["protocols"]["mnist"].startswith("dc-bench: 2 of 5 students")
    for row in (*first["rows"], *second["rows"]):
        assert 0 <= row["value"] <= 100
        assert row["verdict"] in ("", "no comparison: other data")
    page = (out / "index.html").read_text()
    assert page.index("course1: The whole sets") < page.index("course5: The same set")
    assert "says nothing of the published numbers" in page
    (out / "index.html").unlink()
    assert cli("reproduce", "page", "--out", out).code == 0
    assert (out / "index.html").read_text() == page
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("card.json")}
    assert kept
    again = cli("reproduce", "course1", "--only", "mnist:ipc10", "--scale", "tiny", "--workers", "1", "--out", out, "--json")
    assert again.code == 0, again.err
    values = [[(row["data"], row["row"], row["value"]) for row in table["rows"]] for table in (first, again.json[0])]
    assert values[0] == values[1]  # rows that were not asked for stay
    assert {path: path.stat().st_mtime_ns for path in out.rglob("card.json")} == kept
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
