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


def test_a_setter_stands_behind_its_property():
    getter = "@patch(as_prop=True)\ndef size(self:A): return self.n"
    setter = "@patch(set_prop=True)\ndef size(self:A, n): self.n = n"
    names = {}
    exec(patched.gathered(f"class A: pass\n\n{getter}\n\n{setter}\n")[0], names)
    a = names["A"]()
    a.size = 3
    assert a.size == a.n == 3


def test_a_class_grows_in_another_module(tmp_path):
    "A method that a later module patches is seen where the class is."
    package = tmp_path/"pack"
    package.mkdir()
    (package/"__init__.py").write_text("")
    (package/"early.py").write_text("class A:\n    n = 1\n")
    make = "@patch(cls_method=True)\ndef make(cls:A): return cls()"
    size = "@patch(as_prop=True)\ndef size(self:A)->int: return self.n"
    (package/"late.py").write_text(f"from .early import A\n\n{make}\n\n{size}\n")
    patched.write_package(package, tmp_path/"out"/"pack")
    out = tmp_path/"out"/"pack"
    assert "from pack.late import _guest_make as make" in (out/"early.py").read_text()
    late = (out/"late.py").read_text()
    assert "@classmethod\ndef _guest_make(cls: type[A])" in late and "@property\ndef _guest_size(self:A)" in late


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


# ---- what is imported from textgen is there
ROOT = Path(__file__).parents[1]


def programs():
    "The source of every test, benchmark, tool and notebook cell."
    for folder in ("tests", "benchmarks", "tools"):
        for p in sorted((ROOT/folder).glob("*.py")): yield p.name, p.read_text(encoding="utf-8")
    for p in sorted((ROOT/"nbs").rglob("*.ipynb")):
        cells = json.loads(p.read_text(encoding="utf-8"))["cells"]
        for c in cells:
            if c["cell_type"] == "code": yield p.name, "".join(c["source"])


def parsed(source):
    "A syntax tree; an empty one for a cell with magics."
    try: return ast.parse(source)
    except SyntaxError: return ast.parse("")


def test_names_come_from_this_tree():
    "An older install beside it must not lend modules that are gone here: `from textgen import trainer`."
    import textgen
    package = ROOT/"textgen"
    modules = {p.stem for p in package.iterdir() if p.suffix == ".py" or p.is_dir()}
    known = modules | {*textgen.__all__} | {"__version__"}
    asked = [(name, a.name) for name, source in programs() for n in ast.walk(parsed(source))
             if isinstance(n, ast.ImportFrom) and n.module == "textgen" and not n.level for a in n.names]
    assert len(asked) > 50 and [o for o in asked if o[1] not in known] == []
