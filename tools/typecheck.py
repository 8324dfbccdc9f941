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
from pathlib import Path

import ratchet

ROOT = Path(__file__).parent.parent


def run_pyright():
    "What pyright finds: a list of its diagnostics."
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    env = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # no word about newer versions: this one is pinned
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8")
    try:
        return json.loads(done.stdout)["generalDiagnostics"]
    except (ValueError, KeyError):
        sys.exit(f"pyright did not run; install it with: pip install 'pyright[nodejs]'\n{done.stdout}{done.stderr}")


def problems(diagnostics):
    "The errors of each module, in words."
    found = {}
    for o in diagnostics:
        if o["severity"] != "error": continue
        name = Path(o["file"]).resolve().relative_to(ROOT.resolve()).as_posix()
        message = o["message"].splitlines()[0]
        found.setdefault(name, []).append(
            f"line {o['range']['start']['line'] + 1}: {message} ({o.get('rule', 'syntax')})"
        )
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
    found = problems(run_pyright())
    if asked.names:
        for name, lines in found.items():
            if any(n in name for n in asked.names): print(*(f"{name}: {o}" for o in lines), sep="\n")
    counts, allowed = {k: len(v) for k, v in found.items()}, ratchet.read("types")
    if asked.update:
        allowed = ratchet.lowered(counts, allowed, asked.force)
        ratchet.write("types", allowed)
    wrong = [*ratchet.over(found, allowed)]
    sys.exit(not ratchet.verdict("typecheck", wrong, sum(counts.values()), ratchet.lowered(counts, allowed) != allowed))


if __name__ == "__main__": main()
