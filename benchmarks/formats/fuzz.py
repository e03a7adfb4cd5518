"""Do the readers of foreign files withstand damaged and hostile ones?

    python benchmarks/formats/fuzz.py --inputs 100000 --guided 120 --out results/fuzz.json

Every input has a number, which is its seed: a sound file of one format, changed (bits, bytes, numbers, cuts, splices, the
records inside an archive) or made up with wrong kinds and shapes, or a short file that would fill the memory (fuzz_bombs.py), and
then imported, one of five into a run folder. It is well when a sound set comes out, and the folder holds the same, or an error of
datadam, and no folder is there. Anything else is a failure: another error, a crash of the process, more than SLOW seconds, more
than MUCH bytes of memory, a file that was not there before. Inputs run in processes of their own, so that a crash is told too.

--guided runs fuzz_guided.py for so many seconds besides: bytes that atheris chooses by what they reach in the readers.
"""

import argparse
import io
import json
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import fuzz_guided
import numpy as np
import torch
from fuzz_bombs import BOMBS, bomb
from fuzz_made import made_up
from PIL import Image

import datadam
from datadam import machine
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.exchange import export, import_
from datadam.sets.distilled import DistilledSet

MEMORY = Path("/dev/shm")  # files that are written and read again need no disk
SLOW = 10  # seconds of the processor, however busy the machine is
MUCH = 1 << 28  # bytes that an input may add to the process
TOGETHER = 10_000  # inputs of one process
KEPT = 5  # one of so many inputs is imported into a folder
SEEDS = {
    11_139: "heads of parquet columns that contradict one another: Arrow aborted the process",
    1_008_197: "letters beyond Unicode in the names of classes (.npz): numpy raised SystemError",
    1_010_660: "the same letters", 1_023_797: "the same letters", 1_024_613: "the same letters",
    1031: "rows that point to one large cell (.parquet): each was read by itself, gigabytes together",
    11_527: "one text that a pickle makes bytes of thousands of times (.pt)",
    17_415: "a view that shows one image 33206 times, in 35 sets (.pt): each was laid out by itself",
}  # fmt: skip
"""Inputs that failed once, or stand for what reading the code found; each was mended, and is a test."""
MANY = 20_000  # images of a class
ODD = (0, 1, 2, 7, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -1, -2)


@dataclass(frozen=True)
class Target:
    """A sound file: its `name`, the `format`, the folder that it lies in, the `file` to change, and what to `import`."""

    name: str
    format: str
    folder: Path
    file: Path
    path: Path
    whole: bytes


@cache
def tiny(each: int = 20) -> RealData:
    """Two classes of 3 x 8 x 8 images. Against bombs many: what may be as large as few of them fills no memory."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (2 * each, 8, 8, 3), dtype=np.uint8), np.arange(2 * each) % 2
    return datadam.load((pixels, labels, pixels, labels))


def targets(real: RealData, top: Path) -> list[Target]:
    """One or more sound files of each format, made by `export` and as others make them."""
    recipe = datadam.preset("random", real, ipc=2).change({"net": "convnet1:width=4"})
    small, white = datadam.distill(real, recipe), datadam.distill(real, recipe.change({"zca": "kornia"}))
    found: list[Target] = []

    def add(name: str, to: str, folder: Path, file: Path, path: Path) -> None:
        found.append(Target(name, to, folder, file, path, file.read_bytes()))

    for to in ("folder", "parquet", "npz", "ddranking", "mtt", "dm", "eccv24", "datadam", "kip"):
        done = export(small, to, top / to)
        note, changed = top / to / "datadam.json", done.files[0]
        add(f"{to} note", to, top / to, note, top / to)
        bare = top / f"{to}-bare"
        export(small, to, bare)
        (bare / "datadam.json").unlink()
        file = bare / changed.relative_to(top / to)
        add(to, to, bare, file, bare if to == "folder" else file)
        if to in ("ddranking", "mtt"):
            labels = file.with_name(file.name.replace("images", "labels"))
            add(f"{to} labels", to, bare, labels, file)
    white_file = export(white, "npz", top / "white").files[0]
    (top / "white" / "datadam.json").unlink()
    add("npz whitened", "npz", top / "white", white_file, white_file)
    for name, old in (("dm numpy", False), ("dm old", True)):
        file = top / name / "res_DM_CIFAR10_ConvNet_2ipc.pt"
        file.parent.mkdir()
        scores = {"ConvNet": [np.float64(0.5), np.float32(0.25), np.array([1.0, 2.0])]}
        value = {"data": [[small.images, small.labels], [small.images + 1, small.labels]], "accs_all_exps": scores}
        torch.save(value, file, _use_new_zipfile_serialization=not old)
        add(name, "dm", file.parent, file, file)
    jpeg = top / "jpeg"
    for k in range(2):
        (jpeg / f"{k}").mkdir(parents=True)
        for n in range(2):
            Image.fromarray(np.full((8, 8, 3), 50 * k + n, np.uint8)).save(jpeg / f"{k}" / f"{n}.jpg")
    add("folder jpeg", "folder", jpeg, jpeg / "0" / "0.jpg", jpeg)
    return found


def flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    """One to eight bits."""
    for place in rng.integers(0, 8 * len(data), int(rng.integers(1, 9))):
        data[place // 8] ^= 1 << int(place % 8)
    return data


def overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Bytes near the beginning, the end or anywhere, by odd ones."""
    low, high = [(0, min(128, len(data))), (max(0, len(data) - 256), len(data)), (0, len(data))][int(rng.integers(3))]
    for place in rng.integers(low, high, int(rng.integers(1, 5))):
        data[int(place)] = int(rng.choice((0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256)))))
    return data


def number(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A number of four or eight bytes, by an odd one: lengths, counts, offsets."""
    form = "<i" if rng.random() < 0.5 else "<q"
    size = struct.calcsize(form)
    place, value = int(rng.integers(0, max(1, len(data) - size))), int(rng.choice(np.array(ODD, dtype=object)))
    data[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return data


def cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Truncated anywhere, at either end."""
    place = int(rng.integers(0, len(data)))
    return data[:place] if rng.random() < 0.8 else data[place:]


def splice(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A piece of the file copied over, or into, another place."""
    start, place = int(rng.integers(0, len(data))), int(rng.integers(0, len(data)))
    piece = data[start : start + int(rng.integers(1, 65))]
    return data[:place] + piece + data[place + (len(piece) if rng.random() < 0.5 else 0) :]


def digits(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A digit of a text (a header of numpy, JSON), by another or by many."""
    places = [i for i, byte in enumerate(data[:4000]) if 0x30 <= byte <= 0x39]
    if not places:
        return flip(data, rng)
    place = int(rng.choice(places))
    new = rng.choice((b"0", b"9", b"-1", b"99999999999", b"1e999", b"NaN", b"[", b"'"))
    return data[:place] + bytearray(bytes(new)) + data[place + 1 :]


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], bytearray], ...] = (flip, overwrite, number, cut, splice, digits)


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if out:
            out = MUTATIONS[int(rng.integers(len(MUTATIONS)))](out, rng)
    return bytes(out)


def inside(data: bytes, rng: np.random.Generator) -> bytes:
    """An archive with a record changed, packed, added or left out, and put together again with the right checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as made:
        names = archive.namelist()
        heads = [n for n in names if n.endswith((".pkl", ".npy"))] or names
        victim = str(rng.choice(heads if rng.random() < 0.7 else names))
        deed = rng.random()
        for name in names:
            record = archive.read(name)
            if name == victim and deed < 0.05:
                continue
            record = changed(record, rng) if name == victim and deed < 0.9 else record
            made.writestr(zipfile.ZipInfo(name), record, zipfile.ZIP_DEFLATED if deed > 0.95 else zipfile.ZIP_STORED)
            if name == victim and 0.9 <= deed < 0.95:
                made.writestr(zipfile.ZipInfo(name + ".more"), record)
    return out.getvalue()


def make(i: int, found: list[Target]) -> tuple[Target, bytes, str]:
    """Input number i: its target, its bytes, and what was done."""
    rng = np.random.default_rng(i)
    if i % 128 == 7:  # none of the SEEDS that came before there were bombs
        name = rng.choice(BOMBS)
        target = next(one for one in found if one.name == name)
        data = bomb(target.format, rng)
        return target, data if rng.random() < 0.7 else changed(data, rng), "bomb"
    target = found[i % len(found)]
    deed = rng.random()
    if deed < 0.2:
        return target, made_up(target.file.suffix, rng), "made up"
    if deed < 0.6 and target.whole.startswith(b"PK"):
        return target, inside(target.whole, rng), "inside"
    return target, changed(target.whole, rng), "changed"


def judge(i: int, found: list[Target], real: RealData) -> tuple[str, str, str]:
    """Import input number i: the target's name, "read", "refused" or "failed", and why."""
    target, data, deed = make(i, found)
    real, out = tiny(MANY) if deed == "bomb" else real, found[0].folder.parent / "made" / "run" if i % KEPT == 0 else None
    target.file.write_bytes(data)
    before = set(target.folder.rglob("*"))
    began, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SLOW)
    try:
        with np.errstate(all="ignore"):
            sets = import_(target.path, target.format, real, out)
        bad = [one for one in sets if not torch.isfinite(one.images).all() or tuple(one.images.shape[1:]) != real.shape
               or torch.bincount(one.labels).tolist() != [one.ipc] * 2 or not torch.isfinite(one.pixels()).all()]  # fmt: skip
        outcome, why = ("failed", "the set is not sound") if bad or not sets else ("read", "")
        if out is not None and not same(sets, out):
            outcome, why = "failed", "the folder does not hold what was read"
    except InvalidInput as error:
        outcome, why = "refused", str(error)
    except Exception as error:
        outcome, why = "failed", f"{type(error).__name__}: {str(error)[:300]} {traceback.format_exc(limit=-3)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if out is not None:
        if outcome != "read" and out.parent.exists():
            outcome, why = "failed", f"{out.parent} was written, and the input was {outcome}: {why}"
        shutil.rmtree(out.parent, ignore_errors=True)
    if set(target.folder.rglob("*")) != before:
        outcome, why = "failed", "files were written"
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 > MUCH:
        outcome, why = "failed", "it took too much memory"
    if time.process_time() - began > SLOW:
        outcome, why = "failed", f"it took more than {SLOW} s"
    target.file.write_bytes(target.whole)
    return target.name, outcome, why


def same(sets: list[DistilledSet], out: Path) -> bool:
    """Whether a run folder holds these sets and no more."""
    if [path.name for path in out.parent.iterdir()] != [out.name]:
        return False
    places = [out / str(n) for n in range(len(sets))] if len(sets) > 1 else [out]
    return all(torch.equal(DistilledSet.load(place).images, one.images) for place, one in zip(places, sets, strict=True))


def worker(first: int, count: int) -> None:
    """Judge some inputs, a line of JSON each."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _late)
    machine.versions = cache(machine.versions)  # slow, and always the same
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as top:
        real = tiny()
        found = targets(real, Path(top))
        for i in {target.name: n for n, target in enumerate(found)}.values():  # what is imported late takes memory, too
            import_(found[i].path, found[i].format, real)
        for i in range(first, first + count):
            print(json.dumps([i, *judge(i, found, real)]), flush=True)


def chunk(first: int, count: int) -> list[tuple[int, str, str, str]]:
    """Judge some inputs in a process of their own; after a crash the next one goes on behind the input that did it."""
    told: list[tuple[int, str, str, str]] = []
    i, end = first, first + count
    while i < end:
        job = [sys.executable, __file__, "--worker", "--first", str(i), "--inputs", str(end - i)]
        done = subprocess.run(job, capture_output=True, text=True, check=False)
        told += [tuple(json.loads(line)) for line in done.stdout.splitlines()]
        i = told[-1][0] + 1 if told else i
        if done.returncode and i < end:
            told.append((i, "?", "failed", f"the process ended with {done.returncode}: {done.stderr[-500:]}"))
            i += 1
    return told


def _late(signum: int, frame: Any) -> None:
    raise TimeoutError("too slow")


def main() -> int:
    """Run all inputs in processes of `TOGETHER` and tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--guided", type=int, default=0, metavar="SECONDS")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.first, asked.inputs)
        return 0
    began, counts, failures = time.monotonic(), Counter[tuple[str, str]](), []
    starts = range(asked.first, asked.first + asked.inputs, TOGETHER)
    with ThreadPoolExecutor(asked.workers) as pool:
        parts = pool.map(lambda first: chunk(first, min(TOGETHER, asked.first + asked.inputs - first)), starts)
        again = (chunk(seed, 1) for seed in SEEDS if not asked.first <= seed < asked.first + asked.inputs)
        for part in chain(parts, again):
            for number_, name, outcome, why in part:
                counts[name, outcome] += 1
                if outcome == "failed":
                    failures.append({"seed": number_, "file": name, "why": why})
                    print(failures[-1], file=sys.stderr)
            print(f"{sum(counts.values())} of {asked.inputs}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    guided = fuzz_guided.told(asked.guided) if asked.guided else None
    names = sorted({name for name, _ in counts})
    told = {
        "command": f"python benchmarks/formats/fuzz.py --inputs {asked.inputs} --first {asked.first} --guided {asked.guided}",
        "inputs": sum(counts.values()), "seconds": round(time.monotonic() - began),
        "files": {name: {what: counts[name, what] for what in ("read", "refused", "failed")} for name in names},
        "failures": failures, "seeds_that_mattered": SEEDS, "guided": guided, "slow_s": SLOW, "memory_bytes": MUCH,
        "versions": machine.versions() | {"pillow": _of("pillow"), "pyarrow": _of("pyarrow")}, "commit": machine.commit(),
        "created": machine.now(),
    }  # fmt: skip
    text = json.dumps(told, indent=1) + "\n"
    if asked.out:
        asked.out.write_text(text)
    else:
        print(text)
    return 1 if failures or (guided and guided["failure"]) else 0


def _of(package: str) -> str:
    from importlib.metadata import version

    return version(package)


if __name__ == "__main__":
    sys.exit(main())
