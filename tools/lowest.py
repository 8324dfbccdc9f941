"""The lowest versions that settings.ini admits: `python tools/lowest.py [constraints | resolve | install | test]`.

`constraints` prints them as a constraints file: `torch>=2.6` becomes `torch~=2.6.0`, the lowest line with its repairs.
`resolve` asks pip whether they go together, and installs nothing. `install` makes .venv-lowest with them, `test` runs
the tests there. CI does this with Python 3.11, the lowest that is admitted; old versions have no wheels for newer ones.
"""

import os
import re
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENV = ROOT / ".venv-lowest"
EXTRAS = ("lora", "schema")


def requirements():
    "What a user installs, extras included."
    cfg = ConfigParser(delimiters=["="])
    cfg.read(ROOT / "settings.ini", encoding="utf-8")
    keys = ("requirements", *(f"{o}_requirements" for o in EXTRAS))
    return [o for k in keys for o in cfg["DEFAULT"][k].split()]


def lowest(requirement):
    "`torch>=2.6` as `torch~=2.6.0`: the first release of that line, with its repairs."
    name, version = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
    parts = version.split(".")
    return f"{name}~={'.'.join([*parts, *'00'][:3])}" if len(parts) < 3 else f"{name}=={version}"


def write_constraints(folder):
    "The constraints as a file."
    path = Path(folder) / "lowest.txt"
    path.write_text("\n".join(map(lowest, requirements())) + "\n", encoding="utf-8")
    return path


def run(*command, **kw):
    "Run a command; its failure is ours."
    r = subprocess.run([*map(str, command)], cwd=ROOT, **kw)
    if r.returncode:
        sys.exit(r.returncode)


def resolve(constraints):
    "Whether pip finds versions that go together."
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "-q",
        "-c",
        constraints,
        *requirements(),
    )
    print("the lowest versions go together")


def python():
    "The Python of the environment."
    return ENV / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(constraints):
    "Make the environment."
    if not python().exists():
        run(sys.executable, "-m", "venv", "--clear", ENV)
    pip = [python(), "-m", "pip", "install", "-q", "-c", constraints]
    # pandas and pyarrow are those that go with the lowest numpy
    run(*pip, *requirements(), "pytest", "hypothesis", "pandas<2.3", "pyarrow<18")
    run(python(), "-m", "pip", "install", "-q", "--no-deps", "-e", ".")


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else "constraints"
    if what not in ("constraints", "resolve", "install", "test"):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as d:
        constraints = write_constraints(d)
        if what == "constraints":
            print(constraints.read_text(encoding="utf-8"), end="")
        elif what == "resolve":
            resolve(constraints)
        else:
            install(constraints)
    if what == "test":
        run(python(), "-m", "pytest", "-m", "not slow")


if __name__ == "__main__":
    main()
