"""Is what is committed what its notebooks make?

In a copy of the repository: notebooks are cleaned, the package is exported and README.md is made again. Nothing may change.
Then the notebooks are processed for the site there, which runs their exported cells and their import cells.
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

ROOT = Path(__file__).parent.parent
HOW = {"nbs": "run: make export", "textgen": "run: make export (a module edited by hand is carried back by nbdev_update)", "README.md": "run: make readme"}


def files(root, top):
    return sorted(p.relative_to(root) for p in ([root/top] if (root/top).is_file() else (root/top).rglob("*"))
                  if p.is_file() and "__pycache__" not in p.parts and ".ipynb_checkpoints" not in p.parts and not p.is_symlink())


def changed(a, b, top):
    "Files under `top` that differ between the two trees, or are in one only."
    return [p for p in sorted({*files(a, top), *files(b, top)})
            if not ((a/p).exists() and (b/p).exists() and filecmp.cmp(a/p, b/p, shallow=False))]


def code_cells(path):
    "The code of each cell that nbdev would not run for the site unless it held an import."
    for c in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(c["source"])
        if c["cell_type"] == "code" and not text.startswith("#| export") and "nbdev_export()" not in text: yield text


def is_mixed(text):
    "Whether a cell holds an import and something else."
    tree = ast.parse(text)
    imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    return bool(imports) and not all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)


def mixed(root):
    "The cells of the library's notebooks that hold an import and other code: nbdev runs them for the site, without the cells before."
    rooms = [p for p in sorted((root/"nbs").rglob("[0-9][0-9]_*.ipynb")) if p.parent.name not in ("tutorials", "explanations")]
    return [f"{p.name}: {text.splitlines()[0]}" for p in rooms for text in code_cells(p) if is_mixed(text)]


PROCESS = "from nbdev.serve import proc_nbs; proc_nbs(n_workers=2)"


def process(copy):
    """Process the notebooks as `nbdev_proc_nbs` does.

    Not by that command: where there is no Quarto it tries to install it as root, and puts the folder it runs in into the environment.
    """
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(copy))
    r = subprocess.run([sys.executable, "-c", PROCESS], cwd=copy, capture_output=True, text=True, env=env)
    if r.returncode: sys.exit(f"the notebooks cannot be processed for the site:\n{r.stdout[-3000:]}{r.stderr[-3000:]}")


def main():
    bin = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/"copy"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv*", ".git", "_docs", "_proc", "build", "dist", "*.egg-info", "demo-model"))
        for cmd in ([bin/"nbdev_clean"], [bin/"nbdev_export"], [sys.executable, ROOT/"tools/readme.py", copy]):
            r = subprocess.run([*map(str, cmd)], cwd=copy, capture_output=True, text=True)
            if r.returncode: sys.exit(f"{cmd[0]} failed:\n{r.stdout}{r.stderr}")
        if found := mixed(copy): sys.exit("cells that hold an import and other code, give the import a cell of its own:\n" + "\n".join(found))
        process(copy)
        wrong = {top: out for top in HOW if (out := changed(ROOT, copy, top))}
    for top, out in wrong.items(): print(f"not what the notebooks make: {', '.join(map(str, out))}; {HOW[top]}", file=sys.stderr)
    if not wrong: print("notebooks clean, export changes nothing, README.md in step, notebooks can be processed for the site")
    sys.exit(bool(wrong))


if __name__ == "__main__": main()
