"""Is what is committed what its notebooks make, and is the site whole?

In a copy of the repository: notebooks are cleaned, the package is exported, the table of rooms, the sidebar and
README.md are made again. Nothing may change. Then the notebooks are processed for the site there, which runs their
exported cells and their import cells, and `tools/pages.py` looks at what came of it.
"""

import ast
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pages

ROOT = Path(__file__).parent.parent
HOW = {
    "nbs": "run: make export, make readme",
    "textgen": "run: make export (a module edited by hand is carried back by nbdev_update)",
    "README.md": "run: make readme",
    "_quarto.yml": "run: make readme",
}
NOT_COPIED = (".venv*", ".git", "_docs", "_proc", "build", "dist", "*.egg-info", "demo-model")
NOT_COMPARED = {"__pycache__", ".ipynb_checkpoints"}


def files(root, top):
    "The files under `top`, which may be one itself."
    found = [root / top] if (root / top).is_file() else (root / top).rglob("*")
    kept = [p for p in found if p.is_file() and not p.is_symlink()]
    return [p.relative_to(root) for p in kept if not NOT_COMPARED & {*p.parts}]


def same(a, b):
    "Whether both files are there and hold the same."
    return a.exists() and b.exists() and filecmp.cmp(a, b, shallow=False)


def changed(a, b, top):
    "Files under `top` that differ between the two trees, or are in one only."
    return [p for p in sorted({*files(a, top), *files(b, top)}) if not same(a / p, b / p)]


def nbdev(name):
    "A command of nbdev, run by this Python: on every system, whether its scripts are on the path or not."
    return [sys.executable, "-c", f"import sys; from nbdev.cli import {name} as f; sys.argv = [{name!r}]; f()"]


def remake(copy):
    "Make again what is made."
    tools = ROOT / "tools"
    commands = [
        nbdev("nbdev_clean"),
        nbdev("nbdev_export"),
        [sys.executable, tools / "stubs.py", copy],
        [sys.executable, tools / "rooms.py", copy],
        [sys.executable, tools / "readme.py", copy],
    ]
    for command in commands:
        r = subprocess.run([*map(str, command)], cwd=copy, capture_output=True, text=True)
        if r.returncode:
            sys.exit(f"{' '.join(map(str, command[1:]))} failed:\n{r.stdout}{r.stderr}")


def in_step():
    "Whether making everything again changes nothing."
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d) / "copy"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
        remake(copy)
        if found := mixed(copy):
            sys.exit(
                "cells that hold an import and other code, give the import a cell of its own:\n" + "\n".join(found)
            )
        process(copy)
        found = pages.problems(copy, copy / "_proc")
        wrong = {top: out for top in HOW if (out := changed(ROOT, copy, top))}
    for line in found:
        print(line, file=sys.stderr)
    for top, out in wrong.items():
        print(f"not what the notebooks make: {', '.join(map(str, out))}; {HOW[top]}", file=sys.stderr)
    if not wrong and not found:
        print(
            "notebooks clean, export changes nothing; stubs for editors, README.md, table of rooms and sidebar in step;"
            " processed for the site, where every link leads somewhere"
        )
    return not wrong and not found


def code_cells(path):
    "The code of each cell that nbdev would not run for the site unless it held an import."
    for c in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(c["source"])
        if c["cell_type"] == "code" and not text.startswith("#| export") and "nbdev_export()" not in text:
            yield text


def is_mixed(text):
    "Whether a cell holds an import and something else."
    tree = ast.parse(text)
    imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    return bool(imports) and not all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)


def mixed(root):
    """The cells of the library's notebooks that hold an import and other code: nbdev runs them for the site, without
    the cells before."""
    rooms = [
        p
        for p in sorted((root / "nbs").rglob("[0-9][0-9]_*.ipynb"))
        if p.parent.name not in ("tutorials", "explanations")
    ]
    return [f"{p.name}: {text.splitlines()[-1]}" for p in rooms for text in code_cells(p) if is_mixed(text)]


# In one process that ends at once: on the way out each shell of IPython, one a notebook, would collect all garbage,
# which takes three times as long as the work.
PROCESS = "import os, sys; from nbdev.serve import proc_nbs; proc_nbs(n_workers=0); sys.stdout.flush(); os._exit(0)"


def process(copy):
    """Process the notebooks as `nbdev_proc_nbs` does.

    Not by that command: where there is no Quarto it tries to install it as root, and puts the folder it runs in into
    the environment.
    """
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(copy))
    r = subprocess.run([sys.executable, "-c", PROCESS], cwd=copy, capture_output=True, text=True, env=env)
    if r.returncode:
        sys.exit(f"the notebooks cannot be processed for the site:\n{r.stdout[-3000:]}{r.stderr[-3000:]}")


def main():
    sys.exit(not in_step())


if __name__ == "__main__":
    main()
