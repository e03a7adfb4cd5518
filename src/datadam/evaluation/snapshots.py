"""Sets as they were on the way: what runs keep in RUN/snapshots, as sets that can be judged."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datadam.errors import ArtifactError
from datadam.files.whole import read_tensors
from datadam.sets.distilled import DistilledSet

LEARNED = {"labels": "soft labels", "rate": "learned rate"}  # of a snapshot, beside images


def kept(sets: Sequence[DistilledSet], folders: Sequence[Path]) -> list[int]:
    """Iterations before the end whose images every set has kept in its run folder."""
    found = [
        {int(path.stem) for path in (folder / "snapshots").glob("*.safetensors") if path.stem.isdecimal()} for folder in folders
    ]
    end = min(one.card.get("iterations_done", 0) for one in sets)
    return sorted(i for i in set.intersection(*found) if i < end)


def at(sets: Sequence[DistilledSet], folders: Sequence[Path], iteration: int) -> list[DistilledSet]:
    """The sets as they were after an iteration, with the labels and the rate of that time. Raises `ArtifactError`."""
    then = []
    for one, folder in zip(sets, folders, strict=True):
        file = folder / "snapshots" / f"{iteration:08d}.safetensors"
        there = read_tensors(file)[0]
        there |= {"rate": there["rates"].mean()} if "rates" in there else {}
        wanted: dict[str, Any] = {"images": one.images} | ({"labels": one.labels} if one.soft else {})
        wanted |= {} if one.rate is None else {"rate": one.rate}
        if lacking := [LEARNED[name] for name in wanted if name not in there and name in LEARNED]:  # as earlier versions kept
            words = " and ".join(lacking)
            raise ArtifactError(f"{file} holds images without the {words} of that time; judge the end, without --snapshots")
        for name, final in wanted.items():
            if name not in there or there[name].shape != final.shape or not there[name].isfinite().all():
                raise ArtifactError(f"{file} does not hold the run's {name}; it is damaged: remove it")
        wanted = {name: there[name].float() for name in wanted}
        then.append(replace(one, **wanted))
    return then
