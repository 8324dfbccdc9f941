"""Do the types fit together? Pyright over the package, in basic mode: `python tools/typecheck.py [--update [--force]]`.

Its settings stand in pyproject.toml. What it finds today and is allowed for now stands, as a number for each module, in
`tools/style_allowed.json`; such a number only shrinks. Names narrow what is listed: `python tools/typecheck.py
text/corpus`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import patched
import ratchet

ROOT = Path(__file__).parent.parent
NO_PYRIGHT = "pyright did not run; install it with: pip install 'pyright[nodejs]'"


def settings():
    "The settings of pyright, for a folder that holds the package alone."
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]


def run_pyright(folder):
    "What pyright finds in a folder: a list of its diagnostics."
    (folder / "pyrightconfig.json").write_text(json.dumps(settings()), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        str(folder),
    ]
    env = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # no word about newer versions: this one is pinned
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    try:
        return json.loads(done.stdout)["generalDiagnostics"]
    except (ValueError, KeyError):
        sys.exit(f"{NO_PYRIGHT}\n{done.stdout}{done.stderr}")


def in_words(diagnostic, lines):
    "A diagnostic with the line of the exported module."
    line = lines[diagnostic["range"]["start"]["line"]]
    return f"line {line}: {diagnostic['message'].splitlines()[0]} ({diagnostic.get('rule', 'syntax')})"


def problems():
    "The errors of each module, in words."
    found = {}
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d).resolve()
        origin = patched.write_package(ROOT / "textgen", folder / "textgen")
        for o in run_pyright(folder):
            path = Path(o["file"]).resolve()
            name = path.relative_to(folder).as_posix()
            if o["severity"] == "error":
                found.setdefault(name, []).append(in_words(o, origin[path]))
    return found


def arguments():
    "What is asked for."
    parser = argparse.ArgumentParser(description="Pyright over the package.")
    parser.add_argument("names", nargs="*", help="list the problems of modules whose path contains one of these")
    parser.add_argument("--update", action="store_true", help="lower the allowances to what is found today")
    parser.add_argument("--force", action="store_true", help="with --update: raise them, too")
    return parser.parse_args()


def main():
    asked = arguments()
    found = problems()
    if asked.names:
        for name, lines in found.items():
            if any(n in name for n in asked.names):
                print(*(f"{name}: {o}" for o in lines), sep="\n")
    counts, allowed = {k: len(v) for k, v in found.items()}, ratchet.read("types")
    if asked.update:
        allowed = ratchet.lowered(counts, allowed, asked.force)
        ratchet.write("types", allowed)
    wrong = [*ratchet.over(found, allowed)]
    sys.exit(not ratchet.verdict("typecheck", wrong, sum(counts.values()), ratchet.lowered(counts, allowed) != allowed))


if __name__ == "__main__":
    main()
