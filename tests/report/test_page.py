"""The page: whole, self-contained, harmless, in true colours, and without what a run does not have."""

import json
import re
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from datadam.cli.evaluations import verdicts
from datadam.errors import ArtifactError, InvalidInput
from datadam.report import page
from datadam.report.folder import read
from datadam.report.gallery import gallery
from datadam.sets.preview import as_uint8

VOID = {"meta", "input", "br", "img", "link", "hr"}
HOSTILE = ("<script>alert(1)</script>", '" onmouseover="alert(1)', "</style><b>", "{{ 7 * 7 }}", "$x^{")


class Reader(HTMLParser):
    """Tags with attributes and text; complains about what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def said(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def frames(html: str, key: str = "run0") -> list[np.ndarray]:
    """The sheets of a run, from start to end, as uint8 [height, width, 3]."""
    own = re.search(rf"#{key}-images {{(.*?)\n}}", html, re.DOTALL)
    assert own
    found = re.findall(r"--f\d+: url\(data:image/png;base64,([^)]*)\)", own[1])
    return [np.asarray(Image.open(BytesIO(b64decode(text))).convert("RGB")) for text in found]


def test_the_page_is_whole_and_fetches_nothing(made: SimpleNamespace, tmp_path: Path) -> None:
    html = page([made.full(tmp_path / "run", note="demo, not a result", warnings=["stopped early"])])
    read = Reader(html)
    assert {"The images", "Accuracy", "Class by class", "On the way", "Make it again"} <= set(read.said("h2"))
    assert {"demo, not a result", "stopped early"} <= set(read.said("p"))
    for _, attributes in read.tags:
        assert not {"src", "action", "background", "onclick", "onload"} & set(attributes)
        assert str(attributes.get("href") or attributes.get("xlink:href") or "#").startswith("#")
    assert set(re.findall(r"url\((.{10})", html)) <= {"data:image", *re.findall(r"url\((#.{9})", html)}
    assert "--near" not in html.replace("var(--near)", ""), "nothing was inspected"
    assert "@import" not in html
    references = set(re.findall(r'(?:url\(#|href="#)([^")]+)', html))
    names = re.findall(r'\bid="([^"]*)"', html)
    assert references <= set(names)
    assert len(names) == len(set(names)), "a name twice would let one plot cut another"


def test_only_its_own_script_may_run(made: SimpleNamespace, tmp_path: Path) -> None:
    html = page([made.run(tmp_path / "run")])
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == len(Reader(html).all("script")) == 1
    digest = b64encode(sha256(scripts[0].encode()).digest()).decode()
    policy = next(str(tag["content"]) for tag in Reader(html).all("meta") if "http-equiv" in tag)
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_what_comes_from_files_is_only_ever_text(made: SimpleNamespace, tmp_path: Path) -> None:
    told = {
        "a": made.evaluation("distilled", 0.6, HOSTILE),
        "b": made.evaluation(HOSTILE[0], 0.5, HOSTILE, words=HOSTILE[0]),
    }
    metrics = [{"iteration": n, "loss": 1.0, "terms": {name: {"loss": n, "grad_norm": n} for name in HOSTILE}} for n in (1, 2)]
    plain = made.run(
        tmp_path / "plain",
        classes=("a", "b", "c", "d", "e"),
        evaluations={"a": made.evaluation("distilled", 0.6, tuple("abcde"))},
        metrics=metrics,
        snapshots=(0,),
    )
    hostile = made.run(
        tmp_path / "hostile", classes=HOSTILE, evaluations=told, metrics=metrics, snapshots=(0,), note=HOSTILE[0],
        command=HOSTILE[0], citations=list(HOSTILE), warnings=list(HOSTILE), created=HOSTILE[1],
        hardware={"cpu": HOSTILE[0]}, versions={HOSTILE[0]: HOSTILE[1]},
    )  # fmt: skip
    read = Reader(page([hostile]))
    kinds = {tag for tag, _ in read.tags}
    assert kinds <= {tag for tag, _ in Reader(page([plain])).tags} | {
        "details",
        "summary",
        "datalist",
        "option",
        "output",
        "ol",
        "li",
    }
    assert len(read.all("script")) == len(read.all("style")) == 1
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    for name in HOSTILE:
        assert name in read.said("figcaption")
    assert [tag for tag in read.all("button") if str(tag.get("aria-label")).startswith(HOSTILE[1])]


def test_the_images_are_shown_in_true_colours(made: SimpleNamespace, tmp_path: Path) -> None:
    html = page([made.run(tmp_path / "run", ipc=4)])
    (sheet,) = frames(html)
    images = as_uint8(made.images(3, 4, (3, 8, 8)))
    tiles = [str(tag["style"]) for tag in Reader(html).all("button") if tag.get("class") == "tile"]
    assert len(tiles) == 12
    for image, style in zip(images, tiles, strict=True):
        x, y = (int(number) for number in re.findall(r"--[xy]:(\d+)", style))
        shown = sheet[10 * y + 1 : 10 * y + 9, 10 * x + 1 : 10 * x + 9].astype(int)
        assert abs(shown - image).max() <= 1  # float32 there and back


def test_the_way_goes_from_start_to_end(made: SimpleNamespace, tmp_path: Path) -> None:
    html = page([made.run(tmp_path / "run", snapshots=(0, 75, 150))])
    labels = [tag["label"] for tag in Reader(html).all("option")]
    assert labels == ["start", "iteration 75", "iteration 150, the end"]
    start, middle, end = (sheet.astype(int) for sheet in frames(html))
    assert abs(middle - (start + end) / 2).max() <= 2
    assert abs(start - end).max() > 50
    slider = Reader(html).all("input")[0]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "2")


def test_what_a_run_does_not_have_is_left_out(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run", citations=[], command="")
    html = page([folder])
    assert set(Reader(html).said("h2")) == {"The images", "Beside real images", "Make it again"}
    assert "are not shown: the report was made without the real images." in html
    assert "Cite" not in Reader(html).said("h3")
    assert not Reader(html).all("input")
    assert 'role="note"' not in html


def test_accuracy_stands_with_interval_protocol_and_comparison(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    own = made.evaluation("distilled", 0.7, classes, mean=0.7, words="five students of the house")
    own["interval"] = {"low": 0.68, "high": 0.72, "over": "students only"}
    whole = made.evaluation("whole", 0.9, classes, mean=0.9, words="all of it", note="another protocol")
    alone = made.evaluation("random", 0.5, classes, accuracies=[[0.5]], mean=0.5, interval=None)
    text = " ".join(Reader(page([made.run(tmp_path / "run", evaluations={"a": own, "b": whole, "c": alone})])).said(
        "dd", "dt", "span", "p", "strong", "em", "div", "td", "th", "li"
    )).replace("\u202f", " ")  # fmt: skip
    for part in (
        "70.0 %",
        "68.0 – 72.0 % over students only",
        "five students of the house",
        "whole training set: 90.0 %",
    ):
        assert part in text
    for part in ("Distilled images", "Random real images", "Whole training set", "another protocol", "no interval"):
        assert part in text


USUAL, PLAIN = ({"name": "honest", "epochs": 1000, "augment": a} for a in ("color_crop_cutout_flip_scale_rotate", "none"))


def said(html: str) -> str:
    return " ".join(text for _, text in Reader(html).texts).replace("\u202f", " ")


def test_the_headline_is_of_the_cards_protocol_whatever_files_are_called(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")

    def of(what: str, mean: float, rule: dict[str, object], **more: object) -> dict[str, object]:
        return dict(made.evaluation(what, mean, classes, mean=mean, protocol=rule, **more))

    told = {
        "a-none": of("distilled", 0.9, PLAIN), "b": of("distilled", 0.7, USUAL), "c-none": of("whole", 0.99, PLAIN),
        "d": of("whole", 0.95, USUAL | {"epochs": 5}), "e": of("whole", 0.96, USUAL | {"epochs": 100}),
        "f": of("distilled", 0.8, USUAL | {"epochs": 10}), "g-none": of("distilled", 0.5, PLAIN, net="mlp"),
        "0": of("distilled", 0.4, USUAL, net="mlp"), "h": of("random", 0.3, USUAL | {"epochs": 100}, net="mlp"),
    }  # fmt: skip
    run = made.run(tmp_path / "run", evaluations=told)
    html = page([run])
    facts = Reader(html).said("dd", "dt", "span")
    assert facts[:3] == ["70.0\u202f%", "test accuracy, convnet3", "whole training set: 96.0\u202f%"]
    labels = [str(tag.get("aria-label")).replace("\u202f", " ") for tag in Reader(html).all("svg")]
    assert "Accuracy by network: convnet3 70.0 %; mlp 40.0 %" in labels
    assert Reader(html).said("th")[:2] == ["Trained on", "Network"]
    nets = [text for text in Reader(html).said("td") if text in ("convnet3", "mlp")]
    assert nets[: len(told)] == sorted(nets[: len(told)]), "the run's own network leads, whatever files are called"
    rows = Reader(html).said("th")
    assert rows.count("Distilled images, not augmented") == 2
    heads = re.search(r'<table class="shares sortable">.*?</thead>', html, re.DOTALL)
    assert heads
    assert [text.strip() for text in re.findall(r"<th[^>]*>(.*?)</th>", heads[0])][1] == "Distilled images, convnet3"
    both = page([run, made.run(tmp_path / "plain", evaluations={"x": of("distilled", 0.6, PLAIN)})])
    cells = [text.replace("\u202f", " ") for text in Reader(both).said("td")]
    assert "70.0 %" in cells
    assert "60.0 %, not augmented" in cells


def test_names_above_points_are_not_cut_for_a_network_that_all_share(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    told = {of: made.evaluation(of, 0.5, classes, net="convnet5:width=32") for of in ("distilled", "random")}
    html = page([made.run(tmp_path / "run", evaluations=told)])
    assert Reader(html).said("text").count("Random real images") == 2, "wide and narrow"


def test_the_time_of_a_student_stands_beside_that_on_the_whole_set(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    own = made.evaluation("distilled", 0.7, classes, protocol=USUAL, seconds_per_student=1.6)
    whole = made.evaluation("whole", 0.9, classes, protocol=USUAL | {"epochs": 1}, seconds_per_student=405.0)
    text = said(page([made.run(tmp_path / "run", evaluations={"a": own, "b": whole})]))
    assert "1.6 s to train a student, 1 000 epochs whole training set: 6 min 45 s, 1 epoch" in text
    assert "to train a student" not in said(page([made.run(tmp_path / "alone", evaluations={"a": own})]))


def test_an_interval_that_no_accuracy_can_have_is_told_as_cut(made: SimpleNamespace, tmp_path: Path) -> None:
    wide = made.evaluation("distilled", 0.32, ("a", "b"), mean=0.32, accuracies=[[0.2, 0.44]])
    wide["interval"] = {"low": -0.543, "high": 1.187, "over": "students only"}
    html = page([made.run(tmp_path / "run", classes=("a", "b"), evaluations={"a": wide})])
    text = said(html)
    assert "0.0 – 100.0 %" in text
    assert "cut: wider than 0 – 100 %, from 2 students only" in text
    assert "convnet3, only 2 students" in text
    assert "-54.3" not in text
    assert "118.7" not in text


def test_scores_are_those_of_the_evaluations_that_are_there_now(made: SimpleNamespace, tmp_path: Path) -> None:
    """No audit is needed for them; what is missing is told with the command."""
    names = tuple("abcdefghij")

    def of(what: str, mean: float, rule: dict[str, object], students: int = 5) -> dict[str, object]:
        steps = [mean + 0.01 * (n - (students - 1) / 2) for n in range(students)]
        return dict(made.evaluation(what, mean, names, mean=mean, accuracies=[steps], protocol=rule))

    told = {
        "a": of("distilled", 0.54, USUAL), "b": of("random", 0.30, USUAL), "w": of("whole", 0.85, USUAL | {"epochs": 100}, 1),
    }  # fmt: skip
    run = made.run(tmp_path / "run", classes=names, ipc=1, evaluations={k: e | {"images": 10} for k, e in told.items()})
    text = said(page([run]))
    assert "LRS label-robust score 0.254" in text
    assert "the set, random images: 5 students, 1 000 epochs each; the whole set: 1 student, 100 epochs" in text
    assert "the one student of the whole set has no spread" in text
    assert "datadam evaluate RUN --augment none --epochs" not in text
    assert "datadam evaluate RUN --augment none" in text
    interval = re.search(r"LRS label-robust score 0\.254 (0\.\d{3}) – (0\.\d{3})", text)
    assert interval
    assert float(interval[1]) < 0.254 < float(interval[2])
    (run / "evaluations" / "b.json").unlink()
    assert "LRS label-robust" not in said(page([run])), "computed when the page is made"
    folder = tmp_path / "many"
    made.run(folder / "0", classes=names, ipc=1)
    made.run(folder / "1", classes=names, ipc=1)
    shutil.copytree(run / "evaluations", folder / "evaluations")
    (folder / "evaluations" / "b.json").write_text(json.dumps(told["b"] | {"images": 10}))
    assert "Scores of DD-Ranking, many LRS label-robust score 0.254" in said(page([folder]))


def test_the_confusion_matrix_has_rows_of_shares(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    counts = [[30, 10, 0], [0, 50, 0], [5, 20, 25]]
    own = made.evaluation("distilled", 0.7, classes, confusion=counts, per_class=[0.75, 1.0, 0.5])
    html = page([made.run(tmp_path / "run", evaluations={"a": own})])
    titles = [str(tag["title"]).replace("\u202f", " ") for tag in Reader(html).all("td") if "title" in tag]
    assert len(titles) == 9
    assert "cat taken for dog: 25.0 %" in titles
    assert "ship taken for dog: 40.0 %" in titles
    assert "Commonest mistakes: ship as dog, 40" in html


def test_a_class_without_test_images_has_no_accuracy(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    counts = [[30, 10, 0], [0, 0, 0], [5, 20, 25]]
    own = made.evaluation("distilled", 0.7, classes, confusion=counts, per_class=[0.75, None, 0.5])
    cells = Reader(page([made.run(tmp_path / "run", evaluations={"a": own})])).said("td")
    shares = [cell.replace("\u202f", " ") for cell in cells if "%" in cell or cell == "–"]
    assert [share for share in shares if share in ("75.0 %", "–", "50.0 %")] == ["75.0 %", "–", "50.0 %"]


def test_many_classes_are_told_by_their_mistakes(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = tuple(f"class {number}" for number in range(40))
    own = made.evaluation("distilled", 0.4, classes)
    html = page([made.run(tmp_path / "run", classes=classes, evaluations={"a": own})])
    assert "Commonest mistakes" in html
    assert 'class="confusion' not in html


def test_the_worst_images_still_give_a_page_below_five_megabytes(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.full(tmp_path / "run", snapshots=tuple(range(0, 150, 10)))
    noise = 3 * torch.randn(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    save_file({"images": noise, "labels": torch.arange(10).repeat_interleave(10)}, folder / "distilled.safetensors")
    for file in (folder / "snapshots").iterdir():
        save_file({"images": noise}, file)
    html = page([folder])
    assert len(html.encode()) < 5_000_000
    assert 5 < len(frames(html)) <= 13


@pytest.mark.parametrize(("classes", "ipc", "shape"), [(100, 20, (3, 32, 32)), (4, 5, (3, 300, 200)), (500, 1, (1, 64, 64))])
def test_large_runs_are_shown_in_part_and_say_so(
    made: SimpleNamespace, tmp_path: Path, classes: int, ipc: int, shape: tuple[int, int, int]
) -> None:
    names = tuple(f"class {number}" for number in range(classes))
    html = page([made.run(tmp_path / "run", classes=names, ipc=ipc, shape=shape, snapshots=(0,))])
    assert len(html.encode()) < 5_000_000
    assert len(frames(html)) == 2, "the start is never given up"
    assert re.search(r"are shown\.|Shown at", html)


@pytest.mark.parametrize(("room", "shown"), [(20, 16), (16, 16), (9, 8), (7, 7), (1, 1), (30, 30)])
def test_where_images_are_left_out_no_row_is_ragged(made: SimpleNamespace, tmp_path: Path, room: int, shown: int) -> None:
    run = read(made.run(tmp_path / "run", classes=("a", "b"), ipc=30, shape=(3, 64, 64)))
    found = gallery(run, None, 2 * room * 3 * 64 * 64)
    assert [len(numbers) for _, numbers in found.tiles] == [shown, shown]


def test_several_runs_stand_side_by_side(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    for number, mean in enumerate((0.6, 0.7)):
        made.run(tmp_path / "dm" / str(number), evaluations={"a": made.evaluation("distilled", mean, classes, mean=mean)})
    both = made.evaluation("distilled", 0.65, classes, mean=0.65, accuracies=[[0.6], [0.7]], sets=2)
    made.run(tmp_path / "shared", evaluations={"both": both})
    shutil.move(tmp_path / "shared" / "evaluations", tmp_path / "dm" / "evaluations")
    other = made.run(tmp_path / "other", kind="coreset")
    read = Reader(page([tmp_path / "dm", other]))
    assert "3 sets of images, side by side" in read.said("h1")
    assert read.said("a") == ["dm/0", "dm/1", "other"]
    assert "not evaluated" in read.said("td")
    assert {"dm/0", "dm/1", "dm"} <= set(read.said("text"))
    assert "cifar10, chosen to 2 images per class" in read.said("h2")


def test_the_same_files_give_the_same_page(made: SimpleNamespace, tmp_path: Path) -> None:
    told = {"a": made.evaluation("distilled", 0.6, ("cat", "dog", "ship"))}
    folder = made.run(tmp_path / "run", evaluations=told, metrics=made.metrics(50), snapshots=(0,))
    assert page([folder]) == page([folder])


def test_nothing_to_report_on_is_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        page([])
    with pytest.raises(ArtifactError):
        page([tmp_path])


def test_pictures_and_readme_need_neither_matplotlib_nor_jinja2() -> None:
    code = (
        "import sys; sys.modules.update(matplotlib=None, jinja2=None, sklearn=None, scipy=None)\n"
        "import numpy as np, datadam.report as report\n"
        "report.preview(np.zeros((2, 1, 8, 8)), ('a', 'b'), (1, 1))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_set_that_is_not_better_than_random_images_says_so_with_counts_of_few_test_images(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    classes = ("cat", "dog", "ship")
    few = [[10, 0, 0], [0, 5, 0], [0, 5, 0]]  # of five students: two, one and one test image
    bar = made.evaluation("random", 0.5, classes, protocol=USUAL)
    for about, said in ((0.4, True), (0.7, False)):
        own = made.evaluation("distilled", about, classes, protocol=USUAL, confusion=few, per_class=[1.0, 1.0, 0.0])
        run = made.run(tmp_path / str(about), classes=classes, evaluations={"own": own, "random": bar})
        html = page([run])
        assert ("not better than random real images: " in html) is said
        assert "% of 4" in html
        assert "66.7\u202f% balanced over classes" in html
        assert "cat (2 test images)" in html
        assert "dog (1 test image)" in html
        assert bool(verdicts(read(run).card, [own, bar])) is said
