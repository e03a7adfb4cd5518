"""The README of a run folder."""

import re
from types import SimpleNamespace

from datadam.report import run_readme


def test_it_says_what_how_and_whom_to_cite(made: SimpleNamespace) -> None:
    text = run_readme(made.card(("cat", "dog"), 10, (3, 32, 32)))
    for part in ("cifar10", "20 images, 32 x 32, colour", "DistilledSet.load(", ".pixels()", ".dataset()", "seed 0"):
        assert part in text
    assert "cat, dog" in text
    assert "@inproceedings{sajedi2023datadam" in text
    assert "datadam distill cifar10 --ipc 10" in text
    assert "**Note:**" not in text


def test_it_says_what_is_stored_and_what_students_see(made: SimpleNamespace) -> None:
    plain = run_readme(made.card(("cat", "dog"), 10, (3, 32, 32)))
    assert "Stored in 246\u202fkB: images as float32 and labels." in plain
    assert not any(word in plain for word in ("decoder", "soft", "rate of students", "stored_pixels"))
    card = made.card(("cat", "dog"), 10, (3, 32, 32), decoder="grid:2", labels="soft", temperature=4.0, rate=0.02)
    text = run_readme(card | {"counts": [4, 10]})
    for part in (
        "# cifar10: 4 to 10 images per class", "14 images, 32 x 32, colour", "with the rate of students",
        "the decoder grid:2 makes 56 training images of the 14 stored ones, and images per class count stored ones",
        "softmax at temperature 4", "The rate of students was learned too: 0.02", ".stored_pixels()",
        "(training image as networks see it, logits of its soft label)",
    ):  # fmt: skip
        assert part in text


def test_notes_warnings_and_remarks_on_the_data_come_first(made: SimpleNamespace) -> None:
    card = made.card(("cat",), 1, (1, 8, 8), note="demo, not a result", warnings=["stopped early"])
    card["data"]["notes"] = ["no test part"]
    text = run_readme(card)
    places = [text.index(part) for part in ("demo, not a result", "stopped early", "no test part", "1 image, 8 x 8")]
    assert places == sorted(places)


def test_a_coreset_is_not_called_distilled(made: SimpleNamespace) -> None:
    card = made.card(("cat",), 1, (1, 8, 8), kind="coreset")
    card["recipe"]["method"] = {"name": "herding"}
    text = run_readme(card)
    assert "chosen with herding" in text
    assert "distilled from" not in text


def test_names_and_commands_stay_plain_text(made: SimpleNamespace) -> None:
    hostile = ("<script>alert(1)</script>", "![x](http://x)", "a\n# heading", "`code`")
    text = run_readme(made.card(hostile, 1, (1, 8, 8), command="datadam\n```\n# out"))
    outside = re.sub(r"(?ms)^(`{3,})\w*$.*?^\1$", "", text)
    assert "# out" not in outside
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?m)^# heading", text)
    assert r"!\[x\](http://x)" in text


def test_a_card_with_only_what_it_must_have(made: SimpleNamespace) -> None:
    card = made.card(("cat",), 1, (1, 8, 8))
    for name in ("seconds", "versions", "command", "citations", "warnings", "note", "iterations_done", "hardware"):
        del card[name]
    del card["data"]["train"], card["data"]["notes"]
    assert "## Cite" not in run_readme(card)
