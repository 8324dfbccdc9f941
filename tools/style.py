"""How the code and the notebooks read, as numbers: `python tools/style.py [--rooms] [name …]`.

`tools/check.py` fails on what is over a limit. Names of notebooks or modules narrow what is listed.
"""
import ast
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_NODES = 150  # AST nodes in a function
MOST_DENSITY = 15  # AST nodes a line, in one function
MEAN_DENSITY = 10  # AST nodes a line, over all functions
MOST_WIDTH = 120  # characters in a line of code
LONG_CELL = 15  # lines; at most one exported cell in ten has more
MOST_CELL = 40  # lines in an exported cell
MOST_SILENT = 60  # exported lines in a row without a demonstration
MOST_ROOM = 400  # exported lines in a notebook
MOST_PARAMETERS = 8
LEAST_PROSE = 3  # words of prose for an exported line
QUIET_CALLS = ("test_", "expect_", "nbdev_export", "display", "print", "show")  # calls whose value is not what a cell is for


@dataclass
class Cell:
    "A cell of a notebook, with its directives taken apart from its source."
    kind: str
    source: str
    directives: list
    outputs: list

    @property
    def exported(self):
        return any(d.startswith("export") for d in self.directives)

    @property
    def hidden(self):
        return any(d.startswith(("hide", "eval: false", "default_exp")) for d in self.directives)


@dataclass
class Room:
    "A notebook and what was counted in it."
    path: Path
    cells: list
    problems: list = field(default_factory=list)
    exported: int = 0
    words: int = 0
    lengths: list = field(default_factory=list)

    @property
    def name(self):
        return str(self.path.relative_to(ROOT))


def read_cell(raw):
    "A cell as `Cell`."
    lines = "".join(raw["source"]).splitlines()
    directives = [o[2:].strip() for o in lines if o.startswith("#|")]
    source = "\n".join(o for o in lines if not o.startswith("#|"))
    return Cell(raw["cell_type"], source, directives, raw.get("outputs", []))


def read_room(path):
    "A notebook as `Room`."
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Room(path, [read_cell(c) for c in raw["cells"]])


def rooms():
    "The notebooks that make the package."
    return [read_room(p) for p in sorted((ROOT/"nbs").rglob("[0-9][0-9]_*.ipynb")) if "tutorials" not in p.parts]


def parse(source):
    "The syntax tree of a cell; None for magics."
    try: return ast.parse(source)
    except SyntaxError: return None


def functions(tree):
    "The outermost functions and methods of a module."
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)): yield node
        elif isinstance(node, (ast.ClassDef, ast.If, ast.Try, ast.With)): yield from functions(node)


def size(node):
    "Number of AST nodes."
    return sum(1 for _ in ast.walk(node))


def extent(node, lines):
    "Lines of a function that are not blank."
    return sum(1 for o in lines[node.lineno-1:node.end_lineno] if o.strip())


def parameters(node):
    "Number of parameters, `self` and `cls` left out."
    args = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([a for a in args if a not in ("self", "cls")])


def signature_lines(node):
    "Lines of a signature that is spread over several; 0 for one on a single line."
    first = node.body[0].lineno
    n = first-node.lineno
    return n if n > 1 else 0


def cell_length(cell):
    "Lines of a cell that are not blank; those of a signature with comments count half."
    lines = [o for o in cell.source.splitlines() if o.strip()]
    tree = parse(cell.source)
    signatures = sum(signature_lines(f) for f in functions(tree)) if tree else 0
    return len(lines)-signatures/2


def is_imports(tree):
    "Whether a cell holds nothing but imports."
    return bool(tree.body) and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)


def returns_something(cell):
    "Whether the last line of a cell is a value that a reader expects to see."
    tree = parse(cell.source)
    if not tree or not tree.body or cell.source.rstrip().endswith(";"): return False
    last = tree.body[-1]
    if not isinstance(last, ast.Expr) or isinstance(last.value, ast.Constant): return False
    called = last.value
    if not isinstance(called, ast.Call): return True
    name = called.func.attr if isinstance(called.func, ast.Attribute) else getattr(called.func, "id", "")
    return not name.startswith(QUIET_CALLS) and name not in ("append", "extend", "update", "clear", "close", "shutdown", "join")


def public_names(cell):
    "The public functions, classes and constants that an exported cell defines."
    tree = parse(cell.source)
    for node in tree.body if tree else ():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)): names = [node.name]
        elif isinstance(node, ast.Assign): names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name): names = [node.target.id]
        else: names = []
        yield from (n for n in names if not n.startswith("_"))


def used_names(cell):
    "Every identifier in a cell."
    tree = parse(cell.source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Name): yield node.id
        elif isinstance(node, ast.Attribute): yield node.attr
        elif isinstance(node, ast.keyword) and node.arg: yield node.arg
        elif isinstance(node, ast.alias): yield node.name


def count_cells(room):
    "Exported lines, lengths of cells, and how long nothing is shown."
    silent = worst = 0
    for cell in room.cells:
        if cell.kind == "markdown": room.words += len(re.findall(r"\w[\w'’-]*", cell.source)); continue
        tree = parse(cell.source)
        if cell.exported and tree and not is_imports(tree):
            n = cell_length(cell)
            room.lengths.append(n)
            room.exported += n
            silent += n
            if n > MOST_CELL: room.problems.append(f"an exported cell has {n:g} lines (at most {MOST_CELL}): {cell.source.strip().splitlines()[0][:60]}")
        elif not cell.exported and not cell.hidden and tree and tree.body and not is_imports(tree): silent = 0
        worst = max(worst, silent)
    if worst > MOST_SILENT: room.problems.append(f"{worst:g} exported lines in a row show nothing (at most {MOST_SILENT})")
    if room.exported > MOST_ROOM: room.problems.append(f"{room.exported:g} exported lines (at most {MOST_ROOM})")


def check_demonstrations(room):
    "Values that are not stored, names that are never shown."
    shown = {n for c in room.cells if c.kind == "code" and not c.exported for n in used_names(c)}
    for cell in room.cells:
        if cell.kind != "code": continue
        wide = sum(len(o) > MOST_WIDTH for o in cell.source.splitlines())
        if wide: room.problems.append(f"{wide} lines over {MOST_WIDTH} characters: {cell.source.strip().splitlines()[0][:60]}")
        if cell.exported:
            room.problems += [f"{n} is shown in no cell" for n in public_names(cell) if n not in shown]
        elif not cell.hidden and not cell.outputs and returns_something(cell):
            room.problems.append(f"no output is stored: {cell.source.strip().splitlines()[-1][:70]}")


def check_room(room):
    "Everything that is counted in a notebook."
    count_cells(room)
    check_demonstrations(room)
    return room


def check_module(path):
    "Problems of a module, and its nodes and lines inside functions."
    text = path.read_text(encoding="utf-8")
    lines, problems, nodes, extents = text.splitlines(), [], 0, 0
    name = path.relative_to(ROOT)
    for f in functions(ast.parse(text)):
        n, k = size(f), extent(f, lines)
        nodes, extents = nodes+n, extents+k
        if n > MOST_NODES: problems.append(f"{name}:{f.lineno} {f.name}: {n} AST nodes (at most {MOST_NODES})")
        if n > MOST_DENSITY*k: problems.append(f"{name}:{f.lineno} {f.name}: {n/k:.0f} AST nodes a line (at most {MOST_DENSITY})")
        if parameters(f) > MOST_PARAMETERS and path.stem != "cli":
            problems.append(f"{name}:{f.lineno} {f.name}: {parameters(f)} parameters (at most {MOST_PARAMETERS})")
    return problems, nodes, extents


def modules():
    "The exported modules."
    return [p for p in sorted((ROOT/"textgen").rglob("*.py")) if p.name not in ("_modidx.py", "__init__.py")]


def measure():
    "All problems, and the sums: (problems, rows of a table)."
    all_rooms = [check_room(r) for r in rooms()]
    problems = [f"{r.name}: {p}" for r in all_rooms for p in r.problems]
    nodes = extents = 0
    for path in modules():
        found, n, k = check_module(path)
        problems += found
        nodes, extents = nodes+n, extents+k
    lengths = [n for r in all_rooms for n in r.lengths]
    sums = {
        "AST nodes a line, inside functions": (nodes/max(extents, 1), MEAN_DENSITY, "at most"),
        "exported cells over 15 lines, %": (100*sum(n > LONG_CELL for n in lengths)/max(len(lengths), 1), 10, "at most"),
        "words of prose for an exported line": (sum(r.words for r in all_rooms)/max(sum(r.exported for r in all_rooms), 1), LEAST_PROSE, "at least"),
    }
    return problems, sums, all_rooms


def over(sums):
    "The sums that are on the wrong side of their limit, in words."
    return [f"{what}: {value:.1f} ({how} {limit})" for what, (value, limit, how) in sums.items()
            if (value > limit if how == "at most" else value < limit)]


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    problems, sums, all_rooms = measure()
    if "--rooms" in sys.argv:
        for r in all_rooms: print(f"{r.name:45} {r.exported:6.0f} lines  {r.words/max(r.exported, 1):4.1f} words a line  {len(r.problems):3} problems")
    for p in problems:
        if not names or any(n in p.split(" ")[0] for n in names): print(p)
    for what, (value, limit, how) in sums.items(): print(f"{what}: {value:.1f} ({how} {limit})")
    sys.exit(bool(problems or over(sums)))


if __name__ == "__main__": main()
