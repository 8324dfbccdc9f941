"The tools that check the house: methods gathered for pyright, the table of rooms, the lowest versions."
import ast
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]/"tools"))
import lowest  # noqa: E402
import patched  # noqa: E402
import rooms  # noqa: E402

SOURCE = '''"A module."
class A:
    "One."
    x = 1

class B: "Two."

@patch
def show(self:A, n=1)->str: return str(n)

@patch(as_prop=True)
def size(self:(A,B))->int:
    "Lines\\n  keep their numbers."
    return 1

@patch(cls_method=True)
def make(
    cls:B, # the class
    n:int, # how many
): return cls()

@patch
def strange(self:Elsewhere): return 1

def plain(self): return 2
'''


def test_patched_methods_are_gathered():
    text, origin = patched.gathered(SOURCE)
    a, b = (n for n in ast.parse(text).body if isinstance(n, ast.ClassDef))
    methods = {c.name: {m.name: ast.unparse(m.decorator_list) if m.decorator_list else "" for m in c.body
                        if isinstance(m, ast.FunctionDef)} for c in (a, b)}
    assert methods == {"A": {"show": "", "size": "property"}, "B": {"size": "property", "make": "classmethod"}}
    assert [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)] == ["strange", "plain"]
    assert len(origin) == len(text.splitlines())


def test_gathered_lines_know_where_they_came_from():
    text, origin = patched.gathered(SOURCE)
    old = SOURCE.splitlines()
    moved = {new.strip(): old[n-1].strip() for new, n in zip(text.splitlines(), origin, strict=True)}
    for line in ("x = 1", "return 1", "n:int, # how many", "def plain(self): return 2"): assert moved[line] == line
    assert moved["def show(self, n=1)->str: return str(n)"] == "def show(self:A, n=1)->str: return str(n)"


def test_a_gathered_class_works():
    "What is gathered is what fastcore patches."
    text, _ = patched.gathered(SOURCE.replace("@patch\ndef strange(self:Elsewhere): return 1", ""))
    names = {}
    exec(text, names)
    a, b = names["A"], names["B"]
    assert (a().show(3), a().size, b().size, type(b.make(1))) == ("3", 1, 1, b)


def first_cell(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=[dict(cell_type="markdown", source=text)])), encoding="utf-8")


def test_table_of_rooms(tmp_path):
    nbs = tmp_path/"nbs"
    first_cell(nbs/"80_api.ipynb", "# API\n\n> The face.")
    first_cell(nbs/"text"/"10_corpus.ipynb", "# Corpus\n\n> Files | documents.\n\nMore.")
    first_cell(nbs/"text"/"11_tokenizer.ipynb", "# Tokenizer\n\n> Numbers.")
    first_cell(nbs/"00_core.ipynb", "# Core\n\n> Errors.")
    first_cell(nbs/"tutorials"/"01_start.ipynb", "no room")
    found = rooms.rooms(tmp_path)
    assert rooms.table(found).splitlines()[2:] == [
        "| ground | [`core`](00_core.ipynb) | Errors |",
        "| text | [`text.corpus`](text/10_corpus.ipynb) | Files &#124; documents |",
        "|  | [`text.tokenizer`](text/11_tokenizer.ipynb) | Numbers |",
        "| faces | [`api`](80_api.ipynb) | The face |",
    ]
    assert (
        '      - section: Text\n        contents: ["text/10_corpus.ipynb", "text/11_tokenizer.ipynb"]\n'
        in rooms.sidebar(found)
    )


def test_a_room_without_a_purpose(tmp_path):
    first_cell(tmp_path/"nbs"/"10_corpus.ipynb", "# Corpus")
    with pytest.raises(SystemExit, match="one line of purpose"): rooms.rooms(tmp_path)


@pytest.mark.parametrize("asked, pinned", [
    ("torch>=2.6", "torch~=2.6.0"), ("transformers>=5", "transformers~=5.0.0"), ("a-b>=1.2.3", "a-b==1.2.3"),
])
def test_lowest_versions(asked, pinned): assert lowest.lowest(asked) == pinned


def test_every_requirement_has_a_lowest_version(): assert len({*map(lowest.lowest, lowest.requirements())}) >= 18
