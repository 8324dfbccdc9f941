"The API reference is complete: every public name says what it is, and what each of its parameters means."
import ast
import inspect
import json
import textwrap
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import textgen
from fastcore.docments import docments
from textgen import TaskError
from textgen.settings import ReadSettings, helps

NAMES = [(n, getattr(textgen, n)) for n in textgen.__all__]
GIVEN = {"self", "cls"}  # by Python
ERRORS = {n for n in textgen.__all__ if n.endswith("Error")}


def members(cls):
    "The public methods and properties that a class has of its own or from a class of ours."
    for name, value in inspect.getmembers(cls):
        home = next((c for c in cls.__mro__ if name in vars(c)), object)
        if name.startswith("_") or not home.__module__.startswith("textgen"): continue
        if callable(value) or isinstance(value, property): yield name, value


def silent(function, inherited=()):
    "The parameters of a function whose meaning is told neither there nor where it overrides another."
    parameters = inspect.signature(function).parameters.values()
    asked = [p.name for p in parameters if p.name not in GIVEN and p.kind is not p.VAR_KEYWORD]
    told = {n for f in (function, *inherited) for n, o in docments(f, full=True).items() if o and o.docment}
    return [n for n in asked if n not in told]


def inherited(cls, method):
    "The methods that one of a class overrides."
    return [vars(c)[method] for c in cls.__mro__[1:] if inspect.isfunction(vars(c).get(method))]


def described(thing):
    "What a docstring says before the meanings of parameters, which are added to it."
    return (thing.__doc__ or "").split("\n\nParameters\n")[0].strip()


def raised(function):
    "The errors that a function raises by itself."
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    thrown = [r.exc for r in ast.walk(tree) if isinstance(r, ast.Raise) and r.exc]
    return {n.id for exc in thrown for n in ast.walk(exc) if isinstance(n, ast.Name)} & ERRORS


def behind(member):
    "The function behind a property or a method."
    return getattr(member, "fget", None) or getattr(member, "__func__", member)


def unsaid_errors(name, value):
    "The errors that a public name raises by itself, and of which its docstring does not speak."
    functions = [(name, value, "")] if inspect.isfunction(value) else [
        (f"{name}.{k}", behind(getattr(value, k)), value.__doc__ if k=="__init__" else "")
        for k in vars(value) if k=="__init__" and not is_dataclass(value) or not k.startswith("_")]
    functions = [o for o in functions if inspect.isfunction(o[1])]
    return [f"{called}: {e}" for called,f,more in functions for e in raised(f) if e not in described(f)+(more or "")]


def wrong(name, value):
    "What a public name leaves unsaid."
    is_class = isinstance(value, type)
    found = [] if inspect.getdoc(value) else [f"{name}: no docstring"]
    if not is_class or has_parameters(value): found += [f"{name}({p}): not explained" for p in silent(value)]
    return found + (wrong_inside(name, value) if is_class else [])


def wrong_inside(name, cls):
    "What the methods and properties of a class leave unsaid."
    found = []
    for method, f in members(cls):
        before = inherited(cls, method)
        if not described(f) and not any(map(described, before)): found.append(f"{name}.{method}: no docstring")
        if callable(f): found += [f"{name}.{method}({p}): not explained" for p in silent(f, before)]
    return found


def has_parameters(cls):
    "Whether a class is made with parameters of its own."
    return is_dataclass(cls) or getattr(cls.__init__, "__module__", "").startswith("textgen")


@pytest.mark.parametrize("name,value", NAMES, ids=[n for n, _ in NAMES])
def test_every_public_name_is_explained(name, value):
    assert wrong(name, value) == []


@pytest.mark.parametrize("name,value", NAMES, ids=[n for n, _ in NAMES])
def test_every_error_is_spoken_of(name, value):
    assert unsaid_errors(name, value) == []


def test_an_error_that_is_not_spoken_of_is_found():
    def quiet(): raise TaskError("no")
    assert unsaid_errors("quiet", quiet) == ["quiet: TaskError"]


def test_what_is_silent_is_found():
    def said(a, # the first
             b): "A function."
    assert silent(said) == ["b"]
    def unsaid(a): pass
    assert wrong("unsaid", unsaid) == ["unsaid: no docstring", "unsaid(a): not explained"]


@pytest.mark.parametrize("settings", [textgen.TrainSettings, textgen.GenerateSettings, ReadSettings])
def test_the_page_of_settings_is_in_step(settings):
    "What the page has stored is what the class says today."
    page = Path(__file__).parents[1]/"nbs/explanations/every_setting.ipynb"
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    (cell,) = [c for c in cells if "".join(c["source"])==f"table({settings.__name__})"]
    (output,) = cell["outputs"]
    table = "".join(output["data"]["text/markdown"])
    for name,(_, default, meaning) in helps(settings).items():
        value = "" if default is None else f"`{default!r}`"
        assert f"| `{name}` | {value} | {meaning.replace('|', '&#124;')} |" in table
