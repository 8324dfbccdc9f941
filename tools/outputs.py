"""Run notebooks and store what they show: `python tools/outputs.py nbs/training/60_trainer.ipynb …`.

Cells marked `#| eval: false` are left as they are. Widgets and standard error are not stored: neither says anything to
a reader of the page. The form of a notebook for Colab is filled for the run (`tutorials.STORED`) and stays as it was.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
import nbformat
from nbclient import NotebookClient

import tutorials


def shown(o):
    "Whether an output is for the reader."
    return o.get("name") != "stderr" and "application/vnd.jupyter.widget-view+json" not in o.get("data", {})


def run(path):
    nb = nbformat.read(path, as_version=4)
    written = {c.id: c.source for c in nb.cells}
    skipped = {c.id for c in nb.cells if c.cell_type == "code" and "#| eval: false" in c.source}
    for c in nb.cells:
        if c.id in skipped:
            c.source = ""
    tutorials.fill(nb, tutorials.STORED.get(path.stem, {}))
    with (
        tempfile.TemporaryDirectory() as d
    ):  # tutorials write files; the library's own notebooks export, and do that from their place
        place = d if path.parent.name in ("tutorials", "explanations") else path.parent
        NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(place)}}).execute()
    nb.metadata.pop("widgets", None)
    nb.cells = [c for c in nb.cells if c.id in written]
    for c in nb.cells:
        c.source = written[c.id]
        if c.cell_type == "code":
            c.outputs = [o for o in c.outputs if shown(o)]
    nbformat.write(nb, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name).resolve())
        print(name, flush=True)
    subprocess.run([str(Path(sys.executable).parent / "nbdev_clean")], check=True)
