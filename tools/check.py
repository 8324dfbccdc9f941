"""Is what is committed what its notebooks make?

In a copy of the repository: notebooks are cleaned, the package is exported and README.md is made again. Nothing may
change.
"""

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOW = {
    "nbs": "run: make export",
    "textgen": "run: make export (a module edited by hand is carried back by nbdev_update)",
    "README.md": "run: make readme",
}


def files(root, top):
    return sorted(
        p.relative_to(root)
        for p in ([root / top] if (root / top).is_file() else (root / top).rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts and ".ipynb_checkpoints" not in p.parts and not p.is_symlink()
    )


def changed(a, b, top):
    "Files under `top` that differ between the two trees, or are in one only."
    return [p for p in sorted({*files(a, top), *files(b, top)})
            if not ((a/p).exists() and (b/p).exists() and filecmp.cmp(a/p, b/p, shallow=False))]


def main():
    bin = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/"copy"
        shutil.copytree(
            ROOT,
            copy,
            symlinks=True,
            ignore=shutil.ignore_patterns(
                ".venv*", ".git", "_docs", "_proc", "build", "dist", "*.egg-info", "demo-model"
            ),
        )
        for cmd in ([bin/"nbdev_clean"], [bin/"nbdev_export"], [sys.executable, ROOT/"tools/readme.py", copy]):
            r = subprocess.run([*map(str, cmd)], cwd=copy, capture_output=True, text=True)
            if r.returncode: sys.exit(f"{cmd[0]} failed:\n{r.stdout}{r.stderr}")
        wrong = {top: out for top in HOW if (out := changed(ROOT, copy, top))}
    for top, out in wrong.items():
        print(f"not what the notebooks make: {', '.join(map(str, out))}; {HOW[top]}", file=sys.stderr)
    if not wrong: print("notebooks clean, export changes nothing, README.md in step")
    sys.exit(bool(wrong))


if __name__ == "__main__": main()
