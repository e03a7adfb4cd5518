"""The readers of foreign files under atheris, which changes bytes by what they reach in the readers' code.

    pip install atheris                       # has wheels for CPython 3.11 on Linux
    python benchmarks/formats/fuzz_guided.py 120      # seconds; fuzz.py --guided does the same and keeps what came out

The first byte says which of fuzz.py's targets the others take the place of. A set or an error of datadam is well; anything else
ends the run.
"""

import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def told(seconds: int) -> dict[str, Any]:
    """Run for so long in a process of its own: version of atheris, inputs, what of the readers they reached, and any failure."""
    try:
        found = version("atheris")
    except PackageNotFoundError:
        return {"atheris": "not installed", "seconds": 0, "inputs": 0, "failure": ""}
    done = subprocess.run([sys.executable, __file__, str(seconds)], capture_output=True, text=True, check=False)
    counts = re.findall(r"#(\d+)\s+\w+\s+cov: (\d+)", done.stderr)
    inputs = re.search(r"Done (\d+) runs", done.stderr)
    return {
        "atheris": found, "seconds": seconds, "inputs": int(inputs[1]) if inputs else int(counts[-1][0]) if counts else 0,
        "branches": int(counts[-1][1]) if counts else 0, "failure": done.stderr[-3000:] if done.returncode else "",
    }  # fmt: skip


def main(seconds: int) -> None:
    """Start from the sound files; go on for so long."""
    import atheris

    with atheris.instrument_imports(include=["datadam.exchange"]):
        import datadam.exchange  # noqa: F401, before fuzz.py imports it
    import fuzz

    from datadam import machine
    from datadam.errors import InvalidInput

    versions = machine.versions()
    machine.versions = lambda: versions  # slow, and always the same
    with tempfile.TemporaryDirectory(dir=fuzz.MEMORY if fuzz.MEMORY.is_dir() else None) as top:
        real, seeds = fuzz.tiny(), Path(top) / "seeds"
        targets = fuzz.targets(real, Path(top))
        seeds.mkdir()
        for n, target in enumerate(targets):
            (seeds / str(n)).write_bytes(bytes([n]) + target.whole)

        def one(data: bytes) -> None:
            target = targets[data[0] % len(targets)] if data else targets[0]
            target.file.write_bytes(data[1:])
            try:
                fuzz.import_(target.path, target.format, real)
            except InvalidInput:
                pass
            finally:
                target.file.write_bytes(target.whole)

        options = [
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-rss_limit_mb=4096",
            "-max_len=40000",
            f"-artifact_prefix={top}/",
        ]
        atheris.Setup([sys.argv[0], *options, str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(int(sys.argv[1]))
