"""The notebook of examples/ runs from top to bottom, in a kernel of its own, and is kept without what it has shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "first_steps.ipynb"
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
for few, fewer in (('"iterations": 60', '"iterations": 2'), ("epochs(100)", "epochs(2)"), ("students=2", "students=1")):
    assert any(few in cell.source for cell in notebook.cells), few
    for cell in notebook.cells:
        cell.source = cell.source.replace(few, fewer)
client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": "."}})
client.create_kernel_manager().transport = "ipc"  # which nobody else can listen to
client.execute()
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        print(output.get("text", ""), *output.get("data", ()))
"""


def test_the_notebook_runs(tmp_path: Path) -> None:
    command, alone = [sys.executable, "-c", EXECUTE, str(NOTEBOOK)], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "iteration 2 of 2" in done.stdout
    assert "image/png" in done.stdout
    assert re.findall(r"(\w+), 10 images", done.stdout) == ["random", "distilled"]
    assert (tmp_path / "runs" / "first-steps" / "preview.png").exists()


def test_it_is_kept_without_outputs_and_its_links_lead_somewhere() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    words = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert all((NOTEBOOK.parent / link).exists() for link in re.findall(r"\]\(([^)\s]+)\)", words))
