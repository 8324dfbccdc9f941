"What each module may import, and what importing costs."
import ast
from pathlib import Path
import pytest
import textgen

ROOT = Path(__file__).parents[1]
LIGHT = ("core", "receipt", "settings", "array", "text", "tasks")  # modules and wings that need no torch


def rooms():
    "Module -> number of its notebook: both have the same place in their folders."
    out = {}
    for path in (ROOT/"nbs").rglob("[0-9][0-9]_*.ipynb"):
        wing = path.parent.relative_to(ROOT/"nbs").parts
        if wing[:1] in (("tutorials",), ("explanations",)): continue
        number, name = path.stem.split("_", 1)
        out[".".join([*wing, name])] = int(number)
    return out

def module_of(path): return ".".join(path.relative_to(ROOT/"textgen").with_suffix("").parts)

NUMBERS = rooms()
FILES = sorted(p for p in (ROOT/"textgen").rglob("*.py") if p.stem not in ("__init__", "__main__", "_modidx"))


def absolute(node, module):
    "The module that a `from … import` names, without `textgen.`; None for another package."
    if not node.level:
        name = node.module or ""
        return "" if name=="textgen" else name.removeprefix("textgen.") if name.startswith("textgen.") else None
    base = module.split(".")[:-node.level]
    return ".".join([*base, *([node.module] if node.module else [])])

def imported(source, module, names=None):
    "The textgen modules that `source` imports, also inside functions; `names` are the package's lazy names."
    names, out = names or {}, set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            out |= {a.name.removeprefix("textgen.") for a in node.names if a.name.startswith("textgen.")}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module)
            if base is None: continue
            if base in NUMBERS: out.add(base)
            else: out |= {names.get(a.name, ".".join(filter(None, [base, a.name]))) for a in node.names}
    return out-{"__version__"}

def upward(source, module):
    "The modules that `source` imports and must not: of the same number or a higher one, or unknown."
    return {o for o in imported(source, module, textgen._names) if NUMBERS.get(o, 99)>=NUMBERS[module]}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_only_lower_numbers(file): assert upward(file.read_text(), module_of(file))==set()

def test_every_notebook_has_its_module(): assert {module_of(p) for p in FILES}==set(NUMBERS) and len(FILES)>=15

def test_every_number_once(): assert len(set(NUMBERS.values()))==len(NUMBERS)

def test_wings_stand_in_the_order_of_their_numbers():
    "A folder's numbers are neighbours: no room of another wing stands between two of one wing."
    wings = [m.rpartition(".")[0] for m in sorted(NUMBERS, key=NUMBERS.get)]
    changes = [w for k,w in enumerate(wings) if w and (k==0 or wings[k-1]!=w)]
    assert len(changes)==len(set(changes))

@pytest.mark.parametrize(
    "line",
    [
        "from ..api import TextGen",
        "from textgen.api import TextGen",
        "import textgen.api as a",
        "from .. import api",
        "from textgen import api",
        "from textgen import TextGen",
        "def f():\n    from ..api import TextGen",
        "class A:\n    def f(self):\n        import textgen.api",
    ],
)
def test_the_check_catches_an_upward_import(line):
    assert upward(f"import torch\nfrom ..core import TextGenError\n{line}", "models.model") == {"api"}


def test_the_check_lets_downward_imports_pass():
    assert (
        upward(
            "from ..core import unknown\nfrom textgen.text.corpus import documents\nfrom ..text import tokenizer\n"
            "import numpy, textgen",
            "models.model",
        )
        == set()
    )


def _loaded(python, *modules):
    "Which of the large packages are loaded after these imports, in a fresh process."
    lines = "\n".join(f"import {m}" for m in modules)
    return python(
        f"import sys\n{lines}\nprint(*(m for m in ('torch', 'transformers', 'pytorch_lightning') if m in sys.modules))"
    ).split()


def test_the_package_costs_nothing(python): assert _loaded(python, "textgen")==[]
def test_settings_and_commands_cost_nothing(python):
    assert _loaded(python, "textgen.settings", "textgen.receipt", "textgen.text.corpus", "textgen.cli") == []


def test_text_to_batches_without_torch(python):
    "A tokenizer is trained, text encoded, a cache written and read, a batch made, all without torch."
    code = """
import sys,tempfile
from textgen import train_tokenizer, TokenDataset
from textgen.text.corpus import bundled
from textgen.tasks.window import Windows
tok = train_tokenizer(bundled("poems"), vocab_size=300, save=tempfile.mkdtemp()+"/tok")
data = TokenDataset.load(TokenDataset.from_files(bundled("poems"), tok).save(tempfile.mkdtemp()+"/a.tokens"))
print(Windows(data, 8)[0].shape, "torch" in sys.modules)"""
    assert python(code).strip()=="(8, 9) False"

@pytest.mark.parametrize("file", [p for p in FILES if module_of(p).split(".")[0] in LIGHT], ids=module_of)
def test_without_torch(file):
    "No line of the module, at the top or inside a function, imports torch."
    tree = ast.parse(file.read_text())
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names] + [
        n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
    ]
    assert not {n.split(".")[0] for n in names} & {"torch", "pytorch_lightning"}

@pytest.mark.parametrize("name", textgen.__all__)
def test_name_resolves(name): assert getattr(textgen, name).__name__.split(".")[-1]==name

def test_unknown_names_and_modules():
    assert textgen.text.corpus.__name__=="textgen.text.corpus"
    with pytest.raises(AttributeError, match="no attribute 'TextGenn'"): print(textgen.TextGenn)
    with pytest.raises(ImportError): exec("from textgen import nothing_like_this")


def careless(source):
    "Lines with `assert`, or that raise a bare `Exception`."
    def bad(n):
        e = getattr(n, "exc", None)
        e = e.func if isinstance(e, ast.Call) else e
        return isinstance(n, ast.Assert) or (
            isinstance(e, ast.Name) and e.id in ("Exception", "BaseException", "AssertionError")
        )

    return [n.lineno for n in ast.walk(ast.parse(source)) if bad(n)]

@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_no_assert_and_no_bare_exception(file): assert careless(file.read_text())==[]

def test_careless_is_noticed():
    assert careless("assert x\nraise Exception('a')\nraise Exception\nraise ValueError('b')") == [1, 2, 3]
