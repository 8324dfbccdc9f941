"""The table of rooms in nbs/index.ipynb and the sidebar in _quarto.yml, from the notebooks' own first lines: `make
readme`.

A room's first cell says `# Name` and `> what it is for`; its number says where it stands. So a room that is split,
renamed or added needs
no work by hand. `tools/check.py` fails where this would change something.
"""

import json
import re
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- rooms: written by tools/rooms.py -->", "<!-- end of rooms -->"
SIDEBAR, AFTER = "      # rooms: written by tools/rooms.py\n", "format:\n"


@dataclass
class Room:
    "A notebook that makes a module."

    path: str  # from nbs/
    title: str
    purpose: str

    @property
    def wing(self):
        "The folder; at the top, what the other rooms stand on, and what stands before them."
        folder = Path(self.path).parent.as_posix()
        return folder if folder != "." else "ground" if Path(self.path).name < "10" else "faces"

    @property
    def module(self):
        "The name of the module: `text.corpus` for text/10_corpus.ipynb."
        return re.sub(r"\d\d_", "", self.path).removesuffix(".ipynb").replace("/", ".")


def read_room(path, root):
    "Title and purpose, from a notebook's first cell."
    source = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    found = re.match(r"# (.+)\n+> (.+)", source)
    if not found:
        sys.exit(f"{path}: the first cell must be `# Name`, a blank line and `> one line of purpose`")
    return Room(path.relative_to(root / "nbs").as_posix(), *found.groups())


def rooms(root=ROOT):
    "All rooms, in the order of their numbers."
    found = [p for p in (root / "nbs").rglob("[0-9][0-9]_*.ipynb") if p.parent.name != "tutorials"]
    return [read_room(p, root) for p in sorted(found, key=lambda p: p.name)]


def table(found):
    "A Markdown table: wing, room, purpose."
    lines = ["| wing | room | holds |", "|---|---|---|"]
    for wing, inside in groupby(found, lambda r: r.wing):
        for i, r in enumerate(inside):
            lines.append(
                f"| {'' if i else wing} | [`{r.module}`]({r.path}) | {r.purpose.rstrip('.').replace('|', '&#124;')} |"
            )
    return "\n".join(lines)


def sidebar(found):
    "The sections of the sidebar, as YAML."
    lines = []
    for wing, inside in groupby(found, lambda r: r.wing):
        paths = ", ".join(f'"{r.path}"' for r in inside)
        lines.append(f"      - section: {wing.capitalize()}\n        contents: [{paths}]\n")
    return "".join(lines)


def replaced(text, begin, end, new, where):
    "A text with what stands between two marks replaced."
    if text.count(begin) != 1 or end not in text.split(begin)[1]:
        sys.exit(f"{where}: the marks {begin.strip()!r} and {end.strip()!r} are gone")
    before, rest = text.split(begin)
    return before + begin + new + end + rest.split(end, 1)[1]


def update_index(found, root):
    "Write the table into the index, in the form that nbdev_clean gives a notebook."
    path = root / "nbs" / "index.ipynb"
    nb = json.loads(path.read_text(encoding="utf-8"))
    for cell in nb["cells"]:
        source = "".join(cell["source"])
        if BEGIN in source:
            folded = f"<details>\n<summary>All rooms, a line each</summary>\n\n{table(found)}\n\n</details>"
            cell["source"] = replaced(source, BEGIN, END, f"\n\n{folded}\n\n", path).splitlines(keepends=True)
    path.write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def update_sidebar(found, root):
    "Write the sections into the sidebar."
    path = root / "_quarto.yml"
    text = replaced(path.read_text(encoding="utf-8"), SIDEBAR, AFTER, sidebar(found), path)
    path.write_text(text, encoding="utf-8", newline="\n")


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    found = rooms(root)
    update_index(found, root)
    update_sidebar(found, root)


if __name__ == "__main__":
    main()
