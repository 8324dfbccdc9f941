"""Is what is committed what its notebooks make, and does it read as it should?

In a copy of the repository: notebooks are cleaned, the package is exported, the table of rooms, the sidebar and
README.md are made again. Nothing may change. Then `tools/style.py`.
"""
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import style

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
    found = [root/top] if (root/top).is_file() else (root/top).rglob("*")
    kept = [p for p in found if p.is_file() and not p.is_symlink()]
    return [p.relative_to(root) for p in kept if not NOT_COMPARED & {*p.parts}]


def same(a, b):
    "Whether both files are there and hold the same."
    return a.exists() and b.exists() and filecmp.cmp(a, b, shallow=False)


def changed(a, b, top):
    "Files under `top` that differ between the two trees, or are in one only."
    return [p for p in sorted({*files(a, top), *files(b, top)}) if not same(a/p, b/p)]


def nbdev(name):
    "A command of nbdev, run by this Python: on every system, whether its scripts are on the path or not."
    return [sys.executable, "-c", f"import sys; from nbdev.cli import {name} as f; sys.argv = [{name!r}]; f()"]


def remake(copy):
    "Make again what is made."
    tools = ROOT/"tools"
    commands = [
        nbdev("nbdev_clean"),
        nbdev("nbdev_export"),
        [sys.executable, tools/"rooms.py", copy],
        [sys.executable, tools/"readme.py", copy],
    ]
    for command in commands:
        r = subprocess.run([*map(str, command)], cwd=copy, capture_output=True, text=True)
        if r.returncode: sys.exit(f"{' '.join(map(str, command[1:]))} failed:\n{r.stdout}{r.stderr}")


def in_step():
    "Whether making everything again changes nothing."
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/"copy"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
        remake(copy)
        wrong = {top: out for top in HOW if (out := changed(ROOT, copy, top))}
    for top, out in wrong.items():
        print(f"not what the notebooks make: {', '.join(map(str, out))}; {HOW[top]}", file=sys.stderr)
    if not wrong: print("notebooks clean, export changes nothing; README.md, table of rooms and sidebar in step")
    return not wrong


def main():
    _, problems, sums = style.measure()
    good = [in_step(), style.verdict(problems, sums)]
    sys.exit(not all(good))


if __name__ == "__main__": main()
