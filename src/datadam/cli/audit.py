"""`datadam audit`: what a distilled set tells of the real images it was made from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, Precision, ProtocolName, Workers, progress_of
from datadam.cli.options import Device, Json, RunRoot, Seed

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 12  # classes in the table of recalls; of more, the worst


def audit(
    run: Annotated[Path, Parameter(help="run folder; of repeats, one of RUN/0, RUN/1, ...")],
    *,
    students: Annotated[int, Parameter(help="on the set, and as many on random real images")] = 3,
    references: Annotated[int, Parameter(help="networks on other random real images, at least 2")] = 4,
    epochs: Annotated[int, Parameter(help="of each, instead of the protocol's")] = 200,
    samples: Annotated[int, Parameter(help="training and test images that are asked about, at most")] = 2000,
    net: Annotated[str | None, Parameter(help="of all of them (default: the one it was made with)")] = None,
    protocol: ProtocolName | None = None,
    augment: Augment = None,
    seed: Seed = 0,
    root: RunRoot = None,
    device: Device = "auto",
    precision: Precision = "float32",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Measure what a set tells of the real images behind it.

    How near it lies to them, whether attacks on students find them, and which classes pay, each beside random real images.
    Kept in RUN/audit.json and RUN/audit.safetensors; an earlier audit is replaced. It measures, and promises nothing.
    """
    from dataclasses import replace

    from datadam import machine
    from datadam.cli.evaluate import rule_for
    from datadam.cli.evaluations import kept_evaluations
    from datadam.cli.options import check_device, check_nets, command, data_of_card, sets_of
    from datadam.cli.screen import result, say
    from datadam.errors import InvalidInput
    from datadam.evaluation.ddranking import scores
    from datadam.files.whole import require_writable
    from datadam.privacy import audit as measure
    from datadam.privacy.auditing import check
    from datadam.sets.distilled import DistilledSet
    from datadam.wording import plural

    machine.tune_allocator()
    device = check_device(device)
    folders = sets_of(run)
    if folders != [run]:
        raise InvalidInput(f"{run} holds {len(folders)} repeats; audit one of them, such as {folders[0]}")
    small = DistilledSet.load(run)
    start = _start(run)
    rule, _ = rule_for(protocol or str(small.card["recipe"].get("protocol", "honest")), None, epochs, augment, False)
    real = data_of_card(small.card, root)
    spec, *more = check_nets(net or small.card["recipe"]["net"], real)
    if more:
        raise InvalidInput(f"an audit has one kind of network, and {1 + len(more)} were named; give one")
    check(small, real, start, students, references, samples, precision, workers)
    require_writable(run, cure="the audit is kept in the run; copy it to where you may write")
    ranked = scores(small.card, [e for _, e in kept_evaluations(run)], str(run))
    networks = plural(2 * students + references, "network")
    say(f"{run.name}: {networks} of {epochs} epochs are trained; before and after, {plural(len(real.train), 'training image')} "
        "are looked through")  # fmt: skip
    with progress_of(f"audit {run.name}") as progress:
        made = measure(
            small, real, start=start, net=spec, protocol=rule, students=students, references=references, samples=samples,
            seed=seed, device=device, precision=precision, workers=workers, progress=progress, keep=run / "evaluations",
        )  # fmt: skip
    made = replace(made, found=made.found | {"scores": ranked.to_json(), "command": command()})
    made.save(run)
    result(text_of(run, made.found), {"run": str(run), **made.found}, as_json=json)


def _start(run: Path) -> "Tensor | None":
    """The first images of a run, where it kept them. Raises `ArtifactError` for a damaged file."""
    from datadam.errors import ArtifactError
    from datadam.files.whole import read_tensors

    file = run / "snapshots" / f"{0:08d}.safetensors"
    if not file.exists():
        return None
    images = read_tensors(file)[0].get("images")
    if images is None:
        raise ArtifactError(f"{file} holds no tensor 'images'; it is damaged: remove it, and the audit does without the start")
    return images


def text_of(run: Path, found: dict[str, Any]) -> str:
    """The audit as tables and plain words."""
    told = found["settings"]
    lines = [
        f"{run}: {found['run']['images']} images{_kind(found['run'])}, {found['run']['of']}, students {found['run']['net']}",
        f"{told['students']} students on the set, {told['students']} on random real images, {told['references']} references; "
        f"{told['protocol']}",
        "",
        *_memorisation(found["memorisation"]),
        "",
        *_membership(found["membership"]),
        "",
        *_balance(found["balance"], found["run"]["classes"]),
        *(["", *score_lines(found["scores"])] if found["scores"] else []),
        *(["", *(f"note: {note}" for note in found["notes"])] if found["notes"] else []),
    ]
    return "\n".join(lines)


def _kind(run: dict[str, Any]) -> str:
    """What the set is and stores, in words that follow its images."""
    from datadam.sets.kind import Kind
    from datadam.wording import size

    kind, training = Kind.of_evaluation(run), run.get("training_images", run["images"])
    parts = [f"{kind.words}{f' ({training} training images)' if training != run['images'] else ''}"]
    parts += [size(run["stored_bytes"])] if "stored_bytes" in run else []  # audits of before kinds do not say it
    return ", ".join(parts)


def _memorisation(found: dict[str, Any]) -> list[str]:
    from datadam.cli.screen import table

    rows = []
    for space in ("pixels", "features"):
        one = found[space]
        middle = one["quantiles"].index(0.5)
        for kind, near in (("distance", "nearer"), ("relative", "relatively_nearer")):
            medians = [f"{one[kind][g][middle]:.3g}" if one[kind][g] else "-" for g in ("synthetic", "start", "train", "test")]
            rows.append((space, kind, *medians, *(_percent(one[near][q]) for q in ("1", "5"))))
    head = ("nearest real image", "median", "synthetic", "start", "training", "unseen", "nearer than 1 % of unseen", "than 5 %")
    lines = [table(head, rows), f"{found['copies']} synthetic images are a training image, pixel for pixel"]
    if start := found["start"]:
        lines.append(f"{start['found']} of {start['images']} start images are training images")
        still = start["still_nearest"]
        if still["pixels"]:
            lines[-1] += (
                f"; still the nearest real one of what became of them: {_percent(still['pixels'])} by pixels, "
                f"{_percent(still['features'])} by features"
            )
    return lines


def _membership(found: dict[str, Any]) -> list[str]:
    from datadam.cli.screen import table

    own = {"start": "start images of the set", "chosen": "images of the set", None: "start images of the set"}[found["own_kind"]]
    words = {
        ("distilled", "training"): ("the set", "training images"), ("distilled", "own"): ("the set", own),
        ("random", "training"): ("random real", "other training images (control)"),
        ("random", "own"): ("random real", "those very images"),
    }  # fmt: skip
    rows = []
    for (group, side), (learned, members) in words.items():
        for name, attack in (found[group][side] or {}).items():
            if attack:
                rows.append(
                    (
                        learned, members, {"loss": "loss", "ratio": "likelihood ratio"}[name], _number(attack["auc"]),
                        _percent(attack["tpr"]), f"{attack['members']} / {attack['others']}",
                    )
                )  # fmt: skip
    head = ("students of", "members", "attack", "AUC (95 %)", "found at 1 % false alarms (95 %)", "members / test images")
    return [table(head, rows)]


def _balance(found: dict[str, Any], classes: list[str]) -> list[str]:
    from datadam.cli.screen import table

    ours, theirs = found["distilled"]["classes"], found["random"]["classes"]
    there = [k for k in range(len(classes)) if ours[k]["recall"]]
    worst = sorted(there, key=lambda k: float(ours[k]["recall"]["value"]))[:SHOWN]
    rows = [(classes[k], _percent(ours[k]["recall"]), _percent(theirs[k]["recall"])) for k in worst]
    lines = [table(("class, worst first", "recall, the set (95 %)", "random real images (95 %)"), rows)]
    for words, one in (("the set", found["distilled"]), ("random real images", found["random"])):
        gap, std = (f"{100 * one[key]:.1f}{_ends(one.get(f'{key}_interval'))}" for key in ("gap", "std"))
        lines.append(
            f"{words}: mean {100 * one['mean']:.1f} %, worst {classes[one['worst']]}, best {classes[one['best']]}, "
            f"{gap} points apart, standard deviation over classes {std}"
        )
    return lines


def _ends(ends: dict[str, float] | None) -> str:
    return f" ({100 * ends['low']:.1f} .. {100 * ends['high']:.1f})" if ends else ""


def score_lines(found: dict[str, Any]) -> list[str]:
    """DD-Ranking's scores, or what is missing for them."""
    from datadam.report.scored import evidence, interval_of

    told = []
    for name in ("lrs", "hlr", "ior", "ars"):
        if found[name] is not None:
            ends = interval_of(found, name, 4, " .. ")
            told.append(f"{name.upper()} {found[name]:.4f}" + (f" ({ends})" if ends else ""))
    lines = [f"DD-Ranking's scores, of accuracies as fractions (95 %): {', '.join(told)}"] if told else []
    if words := evidence(found):
        lines.append(f"  {words}")
    if found["missing"]:
        lines.append("for all of DD-Ranking's scores (LRS, ARS) first:")
        lines += [f"  {command}" for command in found["missing"]]
    return lines


def _percent(rate: dict[str, float]) -> str:
    return f"{100 * rate['value']:.1f} % ({100 * rate['low']:.1f} .. {100 * rate['high']:.1f})"


def _number(rate: dict[str, float]) -> str:
    return f"{rate['value']:.3f} ({rate['low']:.3f} .. {rate['high']:.3f})"
