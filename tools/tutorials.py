"""Run every tutorial and explanation from the first cell to the last, in a folder of its own: `make tutorials`.

With fewer steps than the page shows: `steps=600` becomes `steps=6`, so that all of them take minutes together. What is
stored on the page comes from `tools/outputs.py`, which changes nothing. A number that has to stay stands in a line with
the comment `# whole`.
"""

import re
import sys
import tempfile
import time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent
STEPS = 6  # of a training
ASKED = re.compile(r"((?:\bsteps\s*=\s*|--steps[ =]))(\d[\d_]*)")
EPOCHS = re.compile(r"\bepochs\s*=\s*[\d.]+")


def shrunk_line(line):
    "A line of code that trains less."
    if "# whole" in line:
        return line
    line = ASKED.sub(lambda m: f"{m[1]}{min(int(m[2].replace('_', '')), STEPS)}", line)
    return EPOCHS.sub(f"steps={STEPS}", line)


def shrunk(source):
    "A cell that trains less."
    return "\n".join(map(shrunk_line, source.split("\n")))


def run(path):
    "Run one; the error that it ends with, or None."
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = "" if "#| eval: false" in cell.source else shrunk(cell.source)
    with tempfile.TemporaryDirectory() as d:
        client = NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": d}})
        try:
            client.execute()
        except CellExecutionError as e:
            return e


def main():
    names = sys.argv[1:] or sorted(
        [*(ROOT / "nbs/tutorials").glob("*.ipynb"), *(ROOT / "nbs/explanations").glob("*.ipynb")]
    )
    failed, begun = [], time.monotonic()
    for name in map(Path, names):
        start = time.monotonic()
        if error := run(name):
            failed.append(name.name)
            print(error, file=sys.stderr)
        took = f"{time.monotonic() - start:.0f} s"
        print(f"{name.name}: {'FAILED after' if error else 'ran in'} {took}", flush=True)
    print(f"{len(names)} pages in {(time.monotonic() - begun) / 60:.1f} min, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
