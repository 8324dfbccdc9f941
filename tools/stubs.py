"""What editors read: `textgen/__init__.pyi`, made from the public names of the package.

`python tools/stubs.py [FOLDER]`.

The package imports its names when they are first used, and its classes grow by `@patch`; an editor that only reads
sees neither. The stub holds each public class with all its methods, their parameters and what these mean. Signatures
are those that Python gives at run time, so options that are taken over from a settings class stand there, too.
"""

import ast
import enum
import importlib
import inspect
import re
import sys
import textwrap
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """"Written by tools/stubs.py from the public names of the package; run: make export."
# ruff: noqa
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

__version__: str
"""
SIMPLE = {"int", "float", "str", "bool", "bytes", "list", "dict", "set", "tuple", "Path", "Any"}
SPECIAL = set("__init__ __len__ __getitem__ __iter__ __str__ __eq__ __call__ __enter__ __exit__ __contains__".split())


def public_names():
    "The public names of the package, and the modules in which they live."
    import textgen

    return dict(textgen._names)


def type_name(annotation, public):
    "A type as the stub writes it; empty where it says nothing that an editor understands."
    if annotation is inspect.Parameter.empty or annotation is None:
        return ""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if name in SIMPLE or name in public:
        return name
    if name == "Tensor":
        return "torch.Tensor"
    return "np.ndarray" if name == "ndarray" else ""


def default_text(value):
    "A default as the stub writes it."
    plain = isinstance(value, (int, float, str, bool, bytes, type(None))) and not isinstance(value, enum.Enum)
    if isinstance(value, tuple):
        plain = all(isinstance(v, (int, float, str)) for v in value)
    return repr(value) if plain else "..."


def parameter_text(p, public):
    "A parameter with type and default."
    kind = "" if p.name in ("self", "cls") else type_name(p.annotation, public)
    if kind and p.default is None:
        kind += " | None"
    name = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
    if kind:
        name += f": {kind}"
    if p.default is p.empty:
        return name
    return f"{name} = {default_text(p.default)}" if kind else f"{name}={default_text(p.default)}"


def parameters_text(signature, public):
    "All parameters of a function."
    out, star = [], False
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            star = True
        if p.kind is p.KEYWORD_ONLY and not star:
            out.append("*")
            star = True
        out.append(parameter_text(p, public))
    return ", ".join(out)


def meanings(f):
    "What each parameter means, where its docment says so; options that are delegated have theirs in the settings."
    from textgen.settings import _meanings

    try:
        found = _meanings(f)
    except (AttributeError, TypeError, OSError, SyntaxError):
        return {}
    return {name: text for name, text in found.items() if name not in ("self", "cls")}


def docstring(f, indent):
    "The docstring with a line for each parameter."
    text = re.split(r"(?:^|\n\n)Parameters\n---", inspect.cleandoc(f.__doc__ or ""))[0]
    lines = text.splitlines() or [""]
    if notes := meanings(f):
        lines += ["", *(f"{name}: {note}" for name, note in notes.items())]
    body = "\n".join(indent + o if o else "" for o in lines).strip().replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return f'{indent}"""{body}\n{indent}"""' if len(lines) > 1 else f'{indent}"""{body} """'


def function_text(name, f, public, indent="", decorator=""):
    "A function or method."
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return ""
    back = type_name(signature.return_annotation, public)
    head = f"{indent}def {name}({parameters_text(signature, public)})" + (f" -> {back}" if back else "")
    head = f"{indent}{decorator}\n{head}" if decorator else head
    return f"{head}:\n{docstring(f, indent + '    ')}\n{indent}    ...\n"


def field_lines(cls, public):
    "The fields of a dataclass."
    for o in fields(cls):
        kind = type_name(o.type, public) or "Any"
        bare = o.default is MISSING and o.default_factory is MISSING
        yield f"    {o.name}: {kind}" + ("" if bare else " = ...")


def attributes(cls, public):
    "The public attributes that a constructor makes."
    if "__init__" not in vars(cls) or is_dataclass(cls):
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__)))
    stored = (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
    names = dict.fromkeys(n.attr for n in stored if getattr(n.value, "id", "") == "self")
    for name in names:
        is_member = hasattr(vars(cls).get(name), "__get__")  # a method or property, which stands below
        if is_shown(name) and not is_member:
            yield f"    {name}: Any"


def member_text(name, value, public):
    "What stands in a class under a name."
    if isinstance(value, property):
        f = value.fget
        back = type_name(inspect.signature(f).return_annotation, public)
        arrow = f" -> {back}" if back else ""
        return f"    @property\n    def {name}(self){arrow}:\n{docstring(f, ' ' * 8)}\n        ...\n"
    if isinstance(value, staticmethod):
        return function_text(name, value.__func__, public, "    ", "@staticmethod")
    bound = value.__get__(None, object) if hasattr(value, "__get__") else value
    if inspect.ismethod(bound):
        return function_text(name, bound.__func__, public, "    ", "@classmethod")
    return function_text(name, value, public, "    ") if inspect.isfunction(value) else ""


def is_shown(name):
    return name in SPECIAL or not name.startswith("_")


def class_text(name, cls, public):
    "A class with all its methods."
    bases = [
        b.__name__ for b in cls.__bases__ if b is not object and (b.__name__ in public or b.__module__ == "builtins")
    ]
    head = f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"
    doc = inspect.cleandoc(cls.__doc__ or "") if cls.__doc__ and not cls.__doc__.startswith(name + "(") else ""
    lines = [head, docstring(type("_", (), {"__doc__": doc}), "    ")]
    made = set()
    if is_dataclass(cls):
        made = {"__init__", "__eq__"}
        lines += ["    # fields", *field_lines(cls, public)]
    lines += attributes(cls, public)
    members = {k: v for k, v in vars(cls).items() if is_shown(k) and k not in made}
    lines += filter(None, (member_text(k, v, public) for k, v in members.items()))
    return "\n".join(lines) + "\n"


def stub():
    "The text of `textgen/__init__.pyi`."
    public, out = public_names(), [HEAD]
    for name, home in public.items():
        value = getattr(importlib.import_module(f"textgen.{home}"), name)
        out.append(class_text(name, value, public) if inspect.isclass(value) else function_text(name, value, public))
    out.append(f"__all__ = {sorted(public)!r}\n")
    return "\n".join(out)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT)
    sys.path.insert(0, str(root))
    (root / "textgen/__init__.pyi").write_text(stub(), encoding="utf-8")


if __name__ == "__main__":
    main()
