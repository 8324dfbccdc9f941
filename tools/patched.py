"""The package as a type checker has to see it: with the methods that `@patch` adds written inside their classes.

fastcore's `@patch` lets a class grow method by method beside the prose that explains each. A type checker reads the
class
alone, so every such method would seem to be missing. `gathered` moves them, and says from which line each line came.
A class may also grow in another module than its own. Such a method becomes a function there, and its class imports it.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

KINDS = {"as_prop": "@property", "cls_method": "@classmethod", "set_prop": "@{}.setter"}


@dataclass
class Method:
    "A patched function: its classes, its lines, those of its `@patch`, and where its first parameter is annotated."

    name: str
    classes: list
    first: int
    last: int
    patch: range
    decorator: str
    annotation: tuple  # line, first and last column of what says to which class it belongs


def called(decorator):
    "The name of a decorator."
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(name, "id", getattr(name, "attr", ""))


def first_parameter(node):
    "The first parameter of a function, if it is annotated."
    args = [*node.args.posonlyargs, *node.args.args]
    return args[0] if args and args[0].annotation else None


def as_method(node):
    "A function as `Method`; None if it is not patched."
    patch, me = next((d for d in node.decorator_list if called(d) == "patch"), None), first_parameter(node)
    if not patch or not me:
        return None
    named = [k.arg for k in patch.keywords if getattr(k.value, "value", False)] if isinstance(patch, ast.Call) else []
    first = min(d.lineno for d in node.decorator_list)
    decorator = next((KINDS[k].format(node.name) for k in named if k in KINDS), "")
    classes = [n.id for n in ast.walk(me.annotation) if isinstance(n, ast.Name)]
    annotation = (me.lineno, me.col_offset + len(me.arg), me.annotation.end_col_offset)
    lines = range(patch.lineno, patch.end_lineno + 1)
    return Method(node.name, classes, first, node.end_lineno, lines, decorator, annotation)


def methods(tree):
    "The patched functions of a module."
    found = [as_method(n) for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [m for m in found if m]


def inside(method, lines):
    "The lines of a method as they stand inside its class: (text, number of the original line)."
    row, begin, end = method.annotation
    if method.decorator:
        yield "    " + method.decorator, method.first
    for n in range(method.first, method.last + 1):
        line = lines[n - 1]
        if n == row:
            line = line[:begin] + line[end:]
        if n not in method.patch:
            yield "    " + line, n


def as_guest(name):
    "What a method is called that is written outside of its class's module."
    return f"_guest_{name}"


def outside(method, lines):
    "The lines of a method that stays a function, since its class is in another module."
    row, begin, end = method.annotation
    if method.decorator:
        yield method.decorator, method.first
    for n in range(method.first, method.last + 1):
        line = lines[n - 1]
        if n == row and method.decorator == KINDS["cls_method"]:
            line = f"{line[:begin]}: type[{method.classes[0]}]{line[end:]}"
        if n not in method.patch:
            yield re.sub(rf"^(def ){method.name}\b", rf"\1{as_guest(method.name)}", line), n


def body_indented(node, lines):
    "Whether a class has a body on lines of its own, to which more can be added."
    return node.end_lineno > node.lineno and lines[node.end_lineno - 1].startswith(" ")


def split_class(line, node):
    "`class A: pass` as two lines, so that methods can follow."
    at = node.body[0].col_offset
    return [(line[:at].rstrip(), node.lineno), ("    " + line[at:], node.lineno)]


def origins(tree, module):
    "The module that each name comes from which is imported from a module beside this one."
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*module.split(".")[: -node.level], *filter(None, [node.module])])
            found |= {a.asname or a.name: base for a in node.names}
    return found


def guests_of(sources):
    "(module, class) -> the lines with which the class imports its methods from other modules."
    found = {}
    for module, source in sources.items():
        tree = ast.parse(source)
        homes = origins(tree, module)
        for m in methods(tree):
            for c in [c for c in m.classes if c in homes]:
                line = f"    from {module} import {as_guest(m.name)} as {m.name}"
                found.setdefault((homes[c], c), []).append(line)
    return found


def gathered(source, module="", guests=None):
    "A module with the patched methods inside their classes, and the original number of each line."
    lines, tree = source.splitlines(), ast.parse(source)
    at = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    all_methods, homes = methods(tree), origins(tree, module)
    moved = [m for m in all_methods if m.classes and all(c in at for c in m.classes)]
    away = {m.first: m for m in all_methods if module and len(m.classes) == 1 and m.classes[0] in homes}
    gone = {n for m in [*moved, *away.values()] for n in range(m.first, m.last + 1)}
    new = [("from __future__ import annotations", 1)]
    ends = {n.end_lineno: name for name, n in at.items()}
    for i, line in enumerate(lines, 1):
        if i in away:
            new += outside(away[i], lines)
        if i in gone or line.startswith("from __future__"):
            continue
        if i in ends and not body_indented(at[ends[i]], lines):
            new += split_class(line, at[ends[i]])
        else:
            new.append((line, i))
        for m in moved:
            if ends.get(i) in m.classes:
                new += inside(m, lines)
        if i in ends:
            new += [(o, i) for o in (guests or {}).get((module, ends[i]), [])]
    return "\n".join(o for o, _ in new) + "\n", [n for _, n in new]


def write_package(source, target):
    "Write the package with gathered methods; returns the original lines of each file."
    paths = [p for p in sorted(Path(source).rglob("*.py")) if p.name != "_modidx.py"]
    root = Path(source).parent
    names = [".".join(p.relative_to(root).with_suffix("").parts) for p in paths]
    sources = {name: p.read_text(encoding="utf-8") for name, p in zip(names, paths)}
    guests, origin = guests_of(sources), {}
    for path, (module, text) in zip(paths, sources.items()):
        there = Path(target) / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        text, origin[there.resolve()] = gathered(text, module, guests)
        there.write_text(text, encoding="utf-8")
    return origin
