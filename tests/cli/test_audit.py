"""`datadam audit`, and DD-Ranking's scores in `datadam show`: tables to read, a file to keep, clear refusals."""

import json
import shutil
from inspect import signature
from pathlib import Path

import pytest
from cli.conftest import QUICK, TINY, write_pictures

import datadam
from datadam.cli.audit import audit as verb
from datadam.cli.audit import score_lines, text_of
from datadam.evaluation.ddranking import scores
from datadam.privacy.auditing import EPOCHS

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--students", "2", "--references", "2", "--epochs", "2", "--samples", "20")


def test_an_audit_is_told_and_kept(cli, run: Path) -> None:
    outcome = cli("audit", run, *SHORT)
    assert outcome.code == 0, outcome.err
    for words in ("nearest real image", "likelihood ratio", "start images of the set", "random real", "class, worst first",
                  "6 of 6 start images are training images", "LRS", f"datadam evaluate {run}"):  # fmt: skip
        assert words in outcome.out
    assert "6 networks of 2 epochs are trained" in outcome.err  # told before the work
    kept = json.loads((run / "audit.json").read_text())
    assert (kept["format"], kept["run"]["images"], kept["membership"]["own_kind"]) == ("datadam-audit/1", 6, "start")
    assert kept["settings"]["training"]["epochs"] == 2
    assert (run / "audit.safetensors").exists()
    again = cli("audit", run, *SHORT, "--json").json
    for key in ("memorisation", "membership", "balance", "settings", "run"):
        assert again[key] == kept[key]
    assert cli("audit", run, *SHORT, "--seed", 1, "--json").json["membership"] != kept["membership"]


def test_the_run_says_where_its_data_lie_now_and_how_it_is_judged(cli, run: Path, pictures: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(pictures, tmp_path / "moved")
    told = cli("audit", run, *SHORT, "--root", moved, "--net", "mlp", "--protocol", "paper", "--augment", "none", "--json").json
    assert (told["run"]["net"], told["settings"]["training"]["name"]) == ("mlp", "paper")
    assert told["settings"]["training"]["augment"] == "none"


def test_a_run_begun_anew_has_no_audit_of_the_old_images(cli, run: Path, pictures: Path) -> None:
    assert cli("audit", run, *SHORT).code == 0
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--out", run, "--overwrite").code == 0
    assert not (run / "audit.json").exists()
    assert not (run / "audit.safetensors").exists()


def test_without_start_images_the_rest_is_audited(cli, run: Path) -> None:
    shutil.rmtree(run / "snapshots")
    outcome = cli("audit", run, *SHORT)
    assert outcome.code == 0
    assert "note: no start images are kept" in outcome.out
    assert "start images of the set" not in outcome.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--students", 0), "students is 0"),
        (("--references", 1), "references is 1"),
        (("--epochs", 0), "epochs is 0"),
        (("--samples", 2), "samples is 2"),
        (("--workers", 0), "workers is 0"),
        (("--net", "convnt3"), "Did you mean 'convnet3'"),
        (("--net", "mlp,convnet1"), "one kind of network"),
        (("--protocol", "honst"), "Did you mean 'honest'"),
        (("--precision", "half"), "precision is 'half'"),
    ],
)
def test_wrong_options_are_refused(refused, run: Path, options, words: str) -> None:
    assert words in refused("audit", run, *options)
    assert not (run / "audit.json").exists()


def test_bad_runs_are_refused_and_nothing_is_written(cli, refused, run: Path, pictures: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused("audit", tmp_path / "absent")
    (run / "snapshots/00000000.safetensors").write_bytes(b"no")
    assert "00000000.safetensors" in refused("audit", run, *SHORT)
    other = write_pictures(tmp_path / "other", side=8, train=11)
    (run / "snapshots/00000000.safetensors").unlink()
    assert "is not what the run was made from" in refused("audit", run, *SHORT, "--root", other)
    assert "gone" in refused("audit", run, *SHORT, "--root", tmp_path / "gone")
    single = write_pictures(tmp_path / "single", train=1)
    assert cli("distill", single, "--ipc", 1, *TINY, "--out", tmp_path / "of single").code == 0
    assert "has 1 training images, and the set 1 a class" in refused("audit", tmp_path / "of single", *SHORT)
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--repeats", 2, "--out", tmp_path / "many").code == 0
    assert f"audit one of them, such as {tmp_path / 'many' / '0'}" in refused("audit", tmp_path / "many", *SHORT)
    assert not [*tmp_path.rglob("audit.*")]


def test_scores_are_shown_once_their_evaluations_are_there(cli, run: Path, pictures: Path) -> None:
    assert "LRS" not in cli("show", run).out
    assert cli("evaluate", run, *QUICK).code == 0
    commands = [line.strip() for line in cli("show", run).out.splitlines() if line.strip().startswith("datadam baseline")]
    assert commands[0] == f"datadam baseline {pictures} --ipc 2 --beside {run} --epochs 2"
    shown = cli("show", run, "--json").json["scores"]
    assert (shown["lrs"], shown["ars"]) == (None, None)
    for command in shown["missing"]:
        words = command.split()[1:]
        assert cli(*words, *QUICK[: 2 if "--epochs" in words else 4]).code == 0, command
    shown = cli("show", run, "--json").json["scores"]
    assert shown["missing"] == []
    assert 0 < shown["lrs"] < 1
    assert 0 < shown["ars"] < 1
    assert f"LRS {shown['lrs']:.4f}" in cli("show", run).out


def test_the_command_and_the_library_have_the_same_settings() -> None:
    ours, theirs = signature(verb).parameters, signature(datadam.audit).parameters
    assert all(ours[name].default == theirs[name].default for name in ("students", "references", "samples", "seed", "precision"))
    assert ours["epochs"].default == EPOCHS


def interval(rate: dict[str, float], scale: int, digits: int) -> str:
    value, low, high = (f"{scale * rate[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} .. {high})"


@pytest.mark.parametrize("file", sorted((ROOT / "results/audit").glob("*.json")), ids=lambda file: file.stem)
def test_the_document_says_what_was_measured(file: Path) -> None:
    found, text = json.loads(file.read_text()), (ROOT / "docs/audit.md").read_text()
    pixels, attacks = found["memorisation"]["pixels"], found["membership"]
    cells = [
        file.stem,
        str(found["memorisation"]["copies"]),
        interval(pixels["relatively_nearer"]["5"], 100, 1),
        *(interval(attacks[group]["own"]["ratio"]["auc"], 1, 3) for group in ("distilled", "random")),
        *(interval(attacks[group]["training"]["ratio"]["auc"], 1, 3) for group in ("distilled", "random")),
        f"{found['seconds'] / 60:.0f} min",
    ]
    assert f"| {' | '.join(cells)} |" in text
    assert f"`{found['command']}`" in text
    if file.stem == "cifar10-ipc10-256":  # quoted whole, down to the scores
        told, _, _ = text_of(Path(file.stem), found).partition("\n\nfor all of DD-Ranking's")
        assert f"```\n{told}\n```" in text


def test_the_scores_in_the_document_follow_from_the_evaluations_kept() -> None:
    kept = ROOT / "results/audit/mnist-narrow-scores"
    card = json.loads((kept / "card.json").read_text())
    evaluations = [json.loads(file.read_text()) for file in sorted((kept / "evaluations").glob("*.json"))]
    told, text = json.loads((kept / "scores.json").read_text()), (ROOT / "docs/audit.md").read_text()
    again = json.loads(json.dumps(scores(card, evaluations, "mnist-narrow").to_json()))
    intervals = {name: pytest.approx(ends, rel=1e-9) for name, ends in told["scores"]["intervals"].items()}
    assert again == told["scores"] | {"intervals": intervals}  # the quantile of Student's t was then summed up by ourselves
    assert again["missing"] == []
    assert f"```sh\n{chr(10).join(told['commands'])}\n```" in text
    assert f"```\n{chr(10).join(score_lines(again))}\n```" in text


def test_scores_are_printed_with_their_intervals_and_what_they_come_from(cli, run: Path, pictures: Path) -> None:
    several = ("--students", "2", "--epochs", "2")
    for augment in ((), ("--augment", "none")):
        assert cli("evaluate", run, *several, *augment).code == 0
        assert cli("baseline", pictures, "--ipc", 2, "--beside", run, *several, *augment).code == 0
    assert cli("baseline", pictures, "--whole", "--beside", run, "--epochs", "1").code == 0
    shown = cli("show", run, "--json").json["scores"]
    out = cli("show", run).out
    for name in ("lrs", "ars", "ior", "hlr"):
        low, high = shown["intervals"][name]
        assert low <= shown[name] <= high
        assert f"{name.upper()} {shown[name]:.4f} ({low:.4f} .. {high:.4f})" in out
    assert "2 students, 2 epochs each; the whole set: 1 student, 1 epoch" in out
    assert "the one student of the whole set has no spread" in out
