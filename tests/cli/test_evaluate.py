"""`datadam evaluate`, `baseline` and `train`: students that can be had again, kept beside their run."""

import json
from pathlib import Path
from shutil import copytree

import pytest
import torch
from cli.conftest import QUICK, TINY, write_pictures
from safetensors import safe_open
from safetensors.torch import load_file

from datadam.data import load
from datadam.sets.distilled import DistilledSet


def kept(run: Path) -> dict[str, dict[str, object]]:
    return {path.name: json.loads(path.read_text()) for path in (run / "evaluations").iterdir()}


def test_the_same_evaluation_twice_gives_the_same_accuracies(cli, run: Path) -> None:
    first, second = (cli("evaluate", run, "--students", 2, "--epochs", 2, "--json") for _ in range(2))
    assert first.code == second.code == 0
    (a,), (b,) = first.json, second.json
    assert len(a["accuracies"][0]) == 2
    assert (a["accuracies"], a["confusion"]) == (b["accuracies"], b["confusion"])
    assert (a["run"], a["net"], a["of"], a["images"]) == (str(run), "convnet1:width=4", "distilled", 6)
    assert list(kept(run).values()) == [{key: b[key] for key in b if key != "run"}]


def test_a_student_is_the_same_however_many_follow(cli, run: Path) -> None:
    one, three = (cli("evaluate", run, "--students", n, "--epochs", 2, "--json").json[0]["accuracies"][0] for n in (1, 3))
    assert one == three[:1]


def test_the_table_shows_what_is_kept_beside(cli, run: Path, pictures: Path) -> None:
    assert cli("baseline", pictures, "--ipc", 2, "--sets", 2, *QUICK, "--beside", run).code == 0
    assert cli("baseline", pictures, "--whole", "--epochs", 2, "--beside", run).code == 0
    outcome = cli("evaluate", run, "--students", 2, "--epochs", 2, "--note", "demo")
    lines = outcome.out.splitlines()
    head = ["run", "of", "images", "stored", "net", "accuracy", "95", "%", "interval", "s", "a", "student", "judged"]
    assert lines[0].split() == head
    assert [line.split()[1] for line in lines[2:5]] == ["distilled", "random", "whole"]
    assert "[demo]" in lines[2]
    assert "(students only)" in lines[2]
    assert "(sets)" in lines[3]
    assert "one student" in lines[4]
    assert [line.split()[-1] for line in lines[2:5]] == ["[1]", "[2]", "[3]"]  # each in its own words, told below
    assert lines[5].startswith("[1] honest: 2 of 20 students, 1 of 5 sets; 2 epochs")
    assert cli("evaluate", run, *QUICK, "--seed", 7).out.splitlines()[0].split() == head


def test_a_damaged_evaluation_beside_is_told_and_left_out(cli, run: Path) -> None:
    (run / "evaluations").mkdir()
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}"), ("d", '{"of": 3}')):
        (run / f"evaluations/{name}.json").write_text(text)
    outcome = cli("evaluate", run, *QUICK)
    assert outcome.code == 0
    assert outcome.err.count("is no evaluation, or damaged, and was left out") == 4


def test_snapshots_are_judged_too_and_the_end_only_once(cli, run: Path) -> None:
    told = cli("evaluate", run, *QUICK, "--snapshots", "--json").json
    assert [e["iteration"] for e in told] == [None, 0, 1, 2]  # kept at 0, 1, 2 and 3, which is the end
    assert len(kept(run)) == 4


def test_the_official_protocol_says_aloud_that_it_selects(cli, run: Path) -> None:
    outcome = cli("evaluate", run, *QUICK, "--protocol", "official")
    assert outcome.code == 0
    assert "is the best of 4 iterations" in outcome.err
    assert "SELECTED ON THE TEST SET" in outcome.err


def test_a_damaged_snapshot_is_refused(refused, run: Path) -> None:
    (run / "snapshots/00000001.safetensors").write_bytes(b"no")
    assert "00000001.safetensors" in refused("evaluate", run, *QUICK, "--snapshots")


def test_several_nets_and_runs(cli, run: Path, finished: Path, tmp_path: Path) -> None:
    other = copytree(finished, tmp_path / "other")
    outcome = cli("evaluate", run, other, run, *QUICK, "--net", "mlp:width=4, convnet1:width=4,mlp:width=4", "--json")
    assert [(Path(e["run"]).name, e["net"]) for e in outcome.json] == [
        (name, net) for name in ("run", "other") for net in ("mlp:width=4", "convnet1:width=4")
    ]
    assert outcome.err.count("reading") <= 1  # the same data are read once


def test_repeats_are_one_row_over_their_sets(cli, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "repeats"
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--repeats", 2, "--out", out).code == 0
    (e,) = cli("evaluate", out, *QUICK, "--json").json
    assert (e["sets"], e["students"], e["interval"]["over"]) == (2, 1, "sets")
    assert cli("baseline", pictures, "--ipc", 1, *QUICK, "--beside", out).code == 0
    assert sorted(str(e["of"]) for e in kept(out).values()) == ["distilled", "random"]


def test_nothing_is_trained_before_every_name_and_place_is_good(refused, run: Path, finished: Path, tmp_path: Path) -> None:
    for options, told in (
        (("--net", "convnet1:width=4,resnt18"), "Did you mean 'resnet18'"),
        (("--net", "convnet1:width=4,convnet7"), "convnet"),
        (("--protocol", "hones"), "Did you mean 'honest'"),
        (("--students", 0), "students is 0"),
        (("--epochs", 0), "epochs is 0"),
        (("--augment", "colr"), "Did you mean 'color'"),
        (("--full", "--students", 3), "give one of them"),
        (("--device", "meta"), "device 'meta' cannot be used"),
        (("--device", "cuda:99"), "here: cpu"),
    ):
        assert told in refused("evaluate", run, *options)
    for arguments, told in (
        ((run, tmp_path / "nowhere"), "does not exist"),
        ((run, tmp_path), "card.json does not exist"),
    ):
        assert told in refused("evaluate", *arguments, *QUICK)
    assert not (run / "evaluations").exists() or kept(run) == {}
    blocked = copytree(finished, tmp_path / "blocked")
    (blocked / "evaluations").write_text("a file")
    assert "copy it to where you may write" in refused("evaluate", run, blocked, *QUICK)
    assert kept(run) == {}


def test_the_data_must_be_those_of_the_run(cli, refused, run: Path, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures")
    assert cli("distill", data, "--ipc", 1, *TINY, "--out", tmp_path / "own").code == 0
    (data / "test/cat/00.png").unlink()
    assert "is not what the run was made from" in refused("evaluate", tmp_path / "own", *QUICK)
    assert "was made from other data" in refused("baseline", data, "--ipc", 1, *QUICK, "--beside", run)


def test_data_that_have_moved_are_named_again(cli, refused, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures")
    assert cli("distill", data, "--ipc", 1, *TINY, "--out", tmp_path / "run").code == 0
    data.rename(tmp_path / "elsewhere")
    assert "pictures" in refused("evaluate", tmp_path / "run", *QUICK)
    assert cli("evaluate", tmp_path / "run", *QUICK, "--root", tmp_path / "elsewhere").code == 0


def test_evaluations_asked_for_differently_do_not_replace_one_another(cli, run: Path) -> None:
    for more in ((), ("--seed", 1), ("--augment", "none"), ("--epochs", 3), ("--students", 2), ("--net", "mlp:width=4")):
        options = {"--students": 1, "--epochs": 2} | dict([more] if more else [])
        assert cli("evaluate", run, *(part for option in options.items() for part in option)).code == 0
    assert len(kept(run)) == 6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "either --ipc N random images per class or the --whole set"),
        (("--ipc", 1, "--whole"), "either --ipc N random images per class or the --whole set"),
        (("--ipc", 0), "ipc is 0"),
        (("--ipc", 11), "has only 10 training images"),
        (("--ipc", 1, "--sets", 0), "sets is 0"),
        (("--whole", "--sets", 2), "leave out --full and --sets"),
        (("--whole", "--full"), "leave out --full and --sets"),
        (("--whole", "--students", 0), "students is 0"),
        (("--whole", "--net", "convnt3"), "Did you mean 'convnet3'"),
    ],
)
def test_a_baseline_is_one_thing(refused, pictures: Path, options: tuple[object, ...], told: str) -> None:
    assert told in refused("baseline", pictures, "--epochs", 1, *options)


def test_baselines_say_what_they_judge(cli, pictures: Path) -> None:
    options = ("--net", "mlp:width=4", "--epochs", 2, "--json")
    (random,), (whole,) = (cli("baseline", pictures, *what, *options).json for what in (("--ipc", 3), ("--whole",)))
    assert (random["of"], random["images"], random["ipc"], random["students"]) == ("random", 9, 3, 5)
    assert (whole["of"], whole["images"], whole["ipc"], whole["students"]) == ("whole", 30, None, 1)
    assert whole["protocol"]["epochs"] == 2


def test_a_trained_network_is_the_first_student_and_loads_in_the_lines_told(cli, run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--net", "convnet1:norm=batch:width=8", "--epochs", 9, "--augment", "none", "--seed", 3)
    judged = cli("evaluate", run, *options, "--students", 2, "--json").json[0]
    outcome = cli("train", run, *options, "--out", "model.safetensors")
    assert outcome.code == 0
    assert f"{100 * judged['accuracies'][0][0]:.2f} %" in outcome.out.splitlines()[0]

    lines = [line.strip() for line in outcome.out.splitlines() if line.startswith("    ")]
    assert len(lines) == 4
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    real = load(json.loads((run / "card.json").read_text())["data"]["source"])
    x = DistilledSet.load(run).transform.to_network(torch.from_numpy(real.test.pixels).float() / 255)
    with torch.no_grad():
        right = names["net"](x).argmax(1) == torch.from_numpy(real.test.labels)  # type: ignore[operator]
    assert right.float().mean().item() == pytest.approx(judged["accuracies"][0][0])

    with safe_open("model.safetensors", framework="pt") as file:
        told = file.metadata()
    assert told["net"] == "convnet1:norm=batch:width=8"
    assert json.loads(told["shape"]) == [3, 8, 8]
    assert json.loads(told["classes"]) == ["cat", "dog", "ship"]
    assert json.loads(told["transform"]) == json.loads((run / "card.json").read_text())["transform"]
    assert json.loads(told["accuracy"]) == judged["accuracies"][0][0]
    assert told["run"] == str(run)


def test_a_model_of_torch_is_read_by_torch_and_other_endings_are_refused(
    cli, refused, run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--epochs", 1, "--seed", 3)
    assert cli("train", run, *options, "--out", "model.safetensors").code == 0
    outcome = cli("train", run, *options, "--out", "model.pt")
    assert outcome.code == 0
    names: dict[str, object] = {}
    exec("\n".join(line.strip() for line in outcome.out.splitlines() if line.startswith("    ")), names)
    weights, same = torch.load("model.pt", weights_only=True), load_file("model.safetensors")
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in same)
    with monkeypatch.context() as patch:
        patch.setattr("datadam.training.trainer.train", None)  # refused before any training
        assert "end the name in one of .safetensors, .pt, .pth" in refused("train", run, *options, "--out", "model.bin")
    assert not (tmp_path / "model.bin").exists()


def test_a_model_is_replaced_only_when_told(cli, refused, run: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "models" / "model.safetensors"
    assert cli("train", run, "--epochs", 1, "--out", out, "--json").json["file"] == str(out)
    before = out.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("datadam.training.trainer.train", None)  # refused before any training
        assert "--overwrite" in refused("train", run, "--epochs", 1, "--out", out)
        assert "is a folder" in refused("train", run, "--epochs", 1, "--out", out.parent)
        assert "cannot write into" in refused("train", run, "--epochs", 1, "--out", out / "below" / "a.pt")
        assert "give one" in refused("train", run, "--epochs", 1, "--net", "mlp,mlp:width=4", "--out", tmp_path / "other.pt")
        assert "Did you mean 'lenet'" in refused("train", run, "--epochs", 1, "--net", "lent", "--out", tmp_path / "other.pt")
    assert out.read_bytes() == before
    assert cli("train", run, "--epochs", 2, "--out", out, "--overwrite").code == 0
    assert out.read_bytes() != before


def test_the_precision_has_a_file_and_words_of_its_own(cli, refused, run: Path) -> None:
    for precision in ("float32", "bfloat16", "float64"):
        (told,) = cli("evaluate", run, *QUICK, "--precision", precision, "--json").json
        assert told["precision"] == precision
        assert (precision in told["words"]) == (precision != "float32")
    assert {name.removeprefix("distilled-convnet1-width4-honest2x1") for name in kept(run)} == {
        ".json", "-bfloat16.json", "-float64.json",
    }  # fmt: skip
    told = refused("evaluate", run, *QUICK, "--precision", "half")
    assert "precision is 'half'; allowed: auto, float32, float64, bfloat16" in told


def test_workers_are_at_least_one_and_the_whole_set_has_one(cli, refused, run: Path, pictures: Path) -> None:
    assert "workers is 0" in refused("evaluate", run, *QUICK, "--workers", 0)
    assert "workers is 0" in refused("baseline", pictures, "--ipc", 1, *QUICK, "--workers", 0)
    assert "leave out --workers" in refused("baseline", pictures, "--whole", *QUICK, "--workers", 2)
    assert not list(run.glob("evaluations/*.json"))
    assert cli("baseline", pictures, "--whole", *QUICK, "--workers", 1).code == 0
