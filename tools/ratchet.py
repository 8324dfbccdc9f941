"""What is over a limit and allowed for now: numbers in `tools/style_allowed.json` that only shrink.

A section holds a number for each file. A file that is not named there is allowed nothing, so a new room starts clean,
and a room that is
split or renamed does not take its allowance along. When nothing is left, the file is deleted.
"""

import json
import sys
from pathlib import Path

ALLOWED = Path(__file__).parent / "style_allowed.json"


def read(section, path=ALLOWED):
    "The numbers of a section; none where there is no such file."
    return json.loads(path.read_text(encoding="utf-8")).get(section, {}) if path.exists() else {}


def write(section, numbers, path=ALLOWED):
    "Replace a section; a file without sections goes."
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    new = {k: v for k, v in sorted((old | {section: numbers}).items()) if v}
    if new:
        path.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8", newline="\n")
    else:
        path.unlink(missing_ok=True)


def lowered(found, allowed, force=False):
    "The numbers after what is found today: never higher than before, unless forced."
    new = {k: n if force else min(n, allowed.get(k, 0)) for k, n in sorted(found.items())}
    return {k: n for k, n in new.items() if n}


def over(problems, allowed):
    "In words, the files with more problems than they are allowed, each with all its problems."
    for name, found in sorted(problems.items()):
        most = allowed.get(name, 0)
        if len(found) <= most:
            continue
        yield f"{name}: {len(found)} problems, {most} allowed"
        yield from (f"  {p}" for p in found)


def verdict(what, wrong, left, lower):
    "Say what is over, what is still allowed, and whether that can be lowered; returns whether all is well."
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(
            f"{what}: nothing is over its allowance ({left} problems are still allowed)"
            if left
            else f"{what}: no problems"
        )
    if lower:
        print(f"{what}: allowances can be lowered: python tools/{what}.py --update")
    return not wrong
