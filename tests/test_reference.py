"The API reference is complete: every public name says what it is, and what each of its parameters means."
import inspect
import json
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import textgen
from fastcore.docments import docments
from textgen.settings import ReadSettings, helps

NAMES = [(n, getattr(textgen, n)) for n in textgen.__all__]
GIVEN = {"self", "cls"}  # by Python


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
        if not f.__doc__ and not any(o.__doc__ for o in before): found.append(f"{name}.{method}: no docstring")
        if callable(f): found += [f"{name}.{method}({p}): not explained" for p in silent(f, before)]
    return found


def has_parameters(cls):
    "Whether a class is made with parameters of its own."
    return is_dataclass(cls) or getattr(cls.__init__, "__module__", "").startswith("textgen")


@pytest.mark.parametrize("name,value", NAMES, ids=[n for n, _ in NAMES])
def test_every_public_name_is_explained(name, value):
    assert wrong(name, value) == []


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
