"What each module may import, and what importing costs."
import ast,re
from pathlib import Path
import pytest
import textgen

ROOT = Path(__file__).parents[1]
NUMBERS = {m[2]: int(m[1]) for p in (ROOT/"nbs").glob("*.ipynb") if (m := re.fullmatch(r"(\d\d)_(\w+)", p.stem))}
FILES = sorted(p for p in (ROOT/"textgen").glob("*.py") if p.stem in NUMBERS)
LIGHT = ("core", "receipt", "settings", "corpus", "tokenizer", "dataset", "batch")


def _of(name): return name.split(".")[1] if name.startswith("textgen.") else None

def imported(source, names=None):
    "The textgen modules that `source` imports, also inside functions; `names` are the lazy names of the package, with their modules."
    names, out = names or {}, set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): out |= {_of(a.name) for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = {0: node.module or "", 1: f"textgen.{node.module}" if node.module else "textgen"}.get(node.level, "")
            out |= {names.get(a.name, a.name) for a in node.names} if base=="textgen" else {_of(base)}
    return out-{None, "__version__"}

def upward(source, name): return {o for o in imported(source, textgen._names) if NUMBERS.get(o, 99)>=NUMBERS[name]}


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_imports_only_lower_numbers(file): assert upward(file.read_text(), file.stem)==set()

def test_every_notebook_has_its_module(): assert {p.stem for p in FILES}==set(NUMBERS) and len(FILES)>=15

@pytest.mark.parametrize("line", ["from .api import TextGen", "from textgen.api import TextGen", "import textgen.api as a", "from . import api",
    "from textgen import api", "from textgen import TextGen", "def f():\n    from .api import TextGen", "class A:\n    def f(self):\n        import textgen.api"])
def test_the_check_catches_an_upward_import(line):
    assert upward(f"import torch\nfrom .core import TextGenError\n{line}", "model")=={"api"}

def test_the_check_lets_downward_imports_pass():
    assert upward("from .core import unknown\nfrom textgen.corpus import documents\nimport numpy, textgen", "model")==set()


def _loaded(python, *modules):
    "Which of the large packages are loaded after these imports, in a fresh process."
    lines = "\n".join(f"import {m}" for m in modules)
    return python(f"import sys\n{lines}\nprint(*(m for m in ('torch', 'transformers', 'pytorch_lightning') if m in sys.modules))").split()

def test_the_package_costs_nothing(python): assert _loaded(python, "textgen")==[]
def test_settings_and_commands_cost_nothing(python): assert _loaded(python, "textgen.settings", "textgen.receipt", "textgen.corpus", "textgen.cli")==[]

def test_text_to_batches_without_torch(python):
    "Not only imported: a tokenizer is trained, text encoded, a cache written and read, a batch made, all without torch."
    code = """
import sys,tempfile
from textgen import train_tokenizer, TokenDataset
from textgen.corpus import bundled
from textgen.batch import Windows
tok = train_tokenizer(bundled("poems"), vocab_size=300, save=tempfile.mkdtemp()+"/tok")
data = TokenDataset.load(TokenDataset.from_files(bundled("poems"), tok).save(tempfile.mkdtemp()+"/a.tokens"))
print(Windows(data, 8)[0].shape, "torch" in sys.modules)"""
    assert python(code).strip()=="(8, 9) False"

@pytest.mark.parametrize("module", LIGHT)
def test_without_torch(module):
    "No line of the module, at the top or inside a function, imports torch."
    tree = ast.parse((ROOT/"textgen"/f"{module}.py").read_text())
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names] + [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not {n.split(".")[0] for n in names} & {"torch", "pytorch_lightning"}

@pytest.mark.parametrize("name", textgen.__all__)
def test_name_resolves(name): assert getattr(textgen, name).__name__.split(".")[-1]==name

def test_unknown_names_and_modules():
    assert textgen.corpus.__name__=="textgen.corpus"
    with pytest.raises(AttributeError, match="no attribute 'TextGenn'"): print(textgen.TextGenn)
    with pytest.raises(ImportError): exec("from textgen import nothing_like_this")


def careless(source):
    "Lines with `assert`, or that raise a bare `Exception`."
    def bad(n):
        e = getattr(n, "exc", None)
        e = e.func if isinstance(e, ast.Call) else e
        return isinstance(n, ast.Assert) or (isinstance(e, ast.Name) and e.id in ("Exception", "BaseException", "AssertionError"))
    return [n.lineno for n in ast.walk(ast.parse(source)) if bad(n)]

@pytest.mark.parametrize("file", sorted((ROOT/"textgen").glob("*.py")), ids=lambda p: p.stem)
def test_no_assert_and_no_bare_exception(file): assert careless(file.read_text())==[]

def test_careless_is_noticed(): assert careless("assert x\nraise Exception('a')\nraise Exception\nraise ValueError('b')")==[1, 2, 3]
