"""How the code and the notebooks read, as numbers.

    python tools/style.py                   every room that is over what it is allowed, and why; exit code 1 if there
    is one
    python tools/style.py NAME …            the problems of the notebooks and modules whose path contains NAME
    python tools/style.py --rooms           a table of all rooms
    python tools/style.py --update          lower the allowances to what is found today (--force: raise them, too)

`make lint` runs the first. The limits are the constants below. What is over a limit today stands, as a number of
problems for each file, in `tools/style_allowed.json`. An allowance only shrinks, and a file that is not named there is
allowed nothing. When the file is empty it can be deleted.

How it counts:

- *AST nodes* are all nodes that `ast.walk` gives for a function, signature, docstring and contexts (`Load`, `Store`)
included. *Lines*
  are the function's lines that are not blank. So blank padding does not help, and the numbers of other projects can be
  compared.
- A function that stands on one line (`def __len__(self): return len(self.tokens)`) is measured by its statement alone:
others write it
  in two lines, and the name and the parameters say nothing about how dense it is. The mean over all functions has no
  such exception.
- A line of a signature with docments counts half a line of its cell. Cells that hold nothing but imports count as no
exported lines.
- A public name is *shown* if a cell of the same notebook that a reader sees and that is not exported uses it.
- The functions of a command line are its interface: a function with `@app.command` may have as many parameters as the
command has options.
"""

import argparse
import ast
import io
import json
import math
import re
import sys
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

import ratchet

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
MOST_ASSIGNED = 3  # names that one statement gives to values that are written out
LEAST_PROSE = 3  # words of prose for an exported line

# Calls that end a cell for what they do, not for a value that a reader expects to see.
QUIET = ("test_", "expect_", "nbdev_export", "display", "print", "show")
QUIET_METHODS = set(
    "append extend update clear close shutdown join exec chdir mkdir touch unlink rmtree write_text write_bytes".split()
)

DEF = (ast.FunctionDef, ast.AsyncFunctionDef)


# ---- notebooks
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
        "Not on the page."
        return any(d.startswith(("hide", "default_exp")) for d in self.directives)

    @property
    def idle(self):
        "On the page, but never run."
        return any(d.startswith("eval: false") for d in self.directives)

    @property
    def tree(self):
        "The syntax tree; an empty one for magics."
        try:
            return ast.parse(self.source)
        except SyntaxError:
            return ast.parse("")

    @property
    def imports(self):
        "Whether the cell holds nothing but imports."
        body = self.tree.body
        return bool(body) and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in body)

    @property
    def demonstration(self):
        "Whether the cell shows something of what was exported before it."
        return (
            self.kind == "code" and not self.exported and not self.hidden and bool(self.tree.body) and not self.imports
        )

    @property
    def first_line(self):
        return self.source.strip().splitlines()[0][:60]


@dataclass
class Room:
    "A notebook and what was counted in it."

    path: Path
    cells: list
    problems: list = field(default_factory=list)
    exported: float = 0
    words: int = 0
    lengths: list = field(default_factory=list)

    @property
    def name(self):
        return self.path.relative_to(ROOT).as_posix()


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


def room_paths(root=ROOT):
    "The notebooks that make the package, in the order of their numbers."
    found = [p for p in (root / "nbs").rglob("[0-9][0-9]_*.ipynb") if p.parent.name != "tutorials"]
    return sorted((p for p in found if "_proc" not in p.parts), key=lambda p: p.name)


def page_paths(root=ROOT):
    "The notebooks that only teach."
    return [
        root / "nbs" / "index.ipynb",
        *sorted((root / "nbs" / "tutorials").glob("*.ipynb")),
        *sorted((root / "nbs" / "explanations").glob("*.ipynb")),
    ]


# ---- functions
def inner(node):
    "The functions, classes and blocks directly inside a node."
    return [n for n in ast.iter_child_nodes(node) if isinstance(n, (ast.stmt, ast.ExceptHandler))]


def functions(tree):
    "The outermost functions and methods of a module."
    for node in inner(tree):
        if isinstance(node, DEF):
            yield node
        else:
            yield from functions(node)


def every_function(tree):
    "All functions, those inside functions too."
    return [n for n in ast.walk(tree) if isinstance(n, DEF)]


def size(node):
    "Number of AST nodes."
    return sum(1 for _ in ast.walk(node))


def extent(node, lines):
    "Lines of a function that are not blank."
    return sum(1 for o in lines[node.lineno - 1 : node.end_lineno] if o.strip())


def density(node, lines):
    "AST nodes a line; of a function on one line, those of its statement."
    if node.lineno == node.end_lineno:
        return sum(size(o) for o in node.body)
    return size(node) / extent(node, lines)


def is_command(node):
    "Whether a function is a command of a command line."
    called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return any(isinstance(d, ast.Attribute) and d.attr in ("command", "callback") for d in called)


def parameters(node):
    "Number of parameters, `self` and `cls` left out."
    args = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return sum(a.arg not in ("self", "cls") for a in args)


def signature_lines(node):
    "Lines of a signature that is spread over several; 0 for one on a single line."
    n = node.body[0].lineno - node.lineno
    return n if n > 1 else 0


def semicolons(source):
    "Lines on which a second statement follows a semicolon."
    found = []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return found
    for this, after in zip(tokens, tokens[1:], strict=False):
        if this.string == ";" and after.type not in (tokenize.NEWLINE, tokenize.COMMENT):
            found.append(this.start[0])
    return found


def packed(tree):
    "Statements that give many names to values that are written out side by side."
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        if any(isinstance(t, ast.Tuple) and len(t.elts) > MOST_ASSIGNED for t in node.targets):
            yield node


def swallowed(tree):
    "Handlers that take any exception and answer with nothing."
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        broad = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
        last = node.body[-1]
        empty = (
            isinstance(last, ast.Pass)
            or isinstance(last, ast.Return)
            and getattr(last.value, "value", None) is None
            and isinstance(last.value, (ast.Constant, type(None)))
        )
        if broad and empty and len(node.body) == 1:
            yield node


# ---- what a notebook is asked
def cell_length(cell):
    "Lines of a cell that are not blank; those of a signature with comments count half."
    lines = [o for o in cell.source.splitlines() if o.strip()]
    return len(lines) - sum(signature_lines(f) for f in functions(cell.tree)) / 2


def returns_something(cell):
    "Whether the last line of a cell is a value that a reader expects to see."
    body = cell.tree.body
    if not body or cell.source.rstrip().endswith(";"):
        return False
    last = body[-1]
    if not isinstance(last, ast.Expr) or isinstance(last.value, ast.Constant):
        return False
    if not isinstance(last.value, ast.Call):
        return True
    called = last.value.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return not name.startswith(QUIET) and name not in QUIET_METHODS


def assigned(target):
    "The names in the target of an assignment."
    return [n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def public_names(tree):
    "The public functions, classes and constants that a cell defines, patched methods among them."
    for node in inner(tree):
        names = []
        if isinstance(node, (*DEF, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [n for t in node.targets for n in assigned(t)]
        elif isinstance(node, ast.AnnAssign):
            names = assigned(node.target)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            names = list(public_names(node))
        yield from (n for n in names if not n.startswith("_"))


def used_names(tree):
    "Every identifier in a cell."
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.name


def words(text):
    "Words of prose; a program in the prose is no prose."
    return len(re.findall(r"\w[\w'’-]*", re.sub(r"```.*?```", "", text, flags=re.S)))


def count_exported(room):
    "Lengths of the exported cells, and of the room."
    for cell in room.cells:
        if not cell.exported or cell.imports or not cell.tree.body:
            continue
        n = cell_length(cell)
        room.lengths.append(n)
        if n > MOST_CELL:
            room.problems.append(f"an exported cell has {n:g} lines (at most {MOST_CELL}): {cell.first_line}")
    room.exported = sum(room.lengths)
    long = sum(n > LONG_CELL for n in room.lengths)
    if long > max(1, len(room.lengths) / 10):
        room.problems.append(
            f"{long} of {len(room.lengths)} exported cells have more than {LONG_CELL} lines (at most one in ten)"
        )
    if room.exported > MOST_ROOM:
        room.problems.append(f"{room.exported:g} exported lines (at most {MOST_ROOM}); split it")


def count_silence(room):
    "How many exported lines stand in a row without a demonstration."
    silent = worst = 0
    for cell in room.cells:
        if cell.demonstration:
            silent = 0
        elif cell.exported and not cell.imports:
            silent += cell_length(cell)
        worst = max(worst, silent)
    if worst > MOST_SILENT:
        room.problems.append(f"{worst:g} exported lines in a row show nothing (at most {MOST_SILENT})")


def count_prose(room):
    "Words of prose for an exported line."
    room.words = sum(words(c.source) for c in room.cells if c.kind == "markdown")
    if room.words < LEAST_PROSE * room.exported:
        room.problems.append(
            f"{room.words / room.exported:.1f} words of prose for an exported line (at least {LEAST_PROSE})"
        )


def check_lines(room):
    "Lines that are too long, and statements that share a line."
    for cell in room.cells:
        if cell.kind != "code":
            continue
        wide = sum(len(o) > MOST_WIDTH for o in cell.source.splitlines())
        if wide:
            room.problems.append(f"{wide} lines over {MOST_WIDTH} characters: {cell.first_line}")
        several = 0 if cell.hidden else len(semicolons(cell.source))
        if several:
            room.problems.append(f"{several} lines of several statements: {cell.first_line}")


def quoted_words(tree):
    "The words in the strings of a cell: a command is shown where its command line is."
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {w for t in texts for w in re.split(r"[^\w-]+", t)}


def commands(tree):
    "The names of the functions of a cell that are commands of a command line."
    return {n.name for n in functions(tree) if is_command(n)}


def check_shown(room):
    "Public names that no cell shows."
    shown = [c.tree for c in room.cells if c.demonstration]
    seen = {n for t in shown for n in used_names(t)}
    typed = {w for t in shown for w in quoted_words(t)} & {
        n for c in room.cells if c.exported for n in commands(c.tree)
    }
    defined = [n for c in room.cells if c.exported for n in public_names(c.tree)]
    room.problems += [f"{n} is shown in no cell" for n in dict.fromkeys(defined) if n not in seen | typed]


def check_outputs(room):
    "Demonstrations whose value is not stored."
    for cell in room.cells:
        if not cell.demonstration or cell.idle or cell.outputs or not returns_something(cell):
            continue
        room.problems.append(f"no output is stored: {cell.source.strip().splitlines()[-1][:70]}")


def check_imports(room):
    "Import cells that do something else too: nbdev runs them to make the page."
    for cell in room.cells:
        if cell.kind != "code" or cell.hidden or cell.imports:
            continue
        if any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in cell.tree.body):
            room.problems.append(f"imports and other code in one cell: {cell.first_line}")


def check_room(path):
    "A room of the package, with its problems."
    room = read_room(path)
    for check in (count_exported, count_silence, count_prose, check_lines, check_shown, check_outputs, check_imports):
        check(room)
    return room


def check_page(path):
    "A tutorial or an explanation: only its lines are measured."
    room = read_room(path)
    check_lines(room)
    return room


# ---- what a module is asked
@dataclass
class Module:
    "An exported module and what was counted in it."

    name: str
    problems: list
    nodes: int
    lines: int


def check_function(node, lines):
    "Problems of one function, in words."
    n = size(node)
    if n > MOST_NODES:
        yield f"{n} AST nodes (at most {MOST_NODES})"
    dense = density(node, lines)
    if dense > MOST_DENSITY:
        yield f"{dense:.1f} AST nodes a line (at most {MOST_DENSITY})"


def module_problems(tree, lines):
    "Problems of a module: (line, what)."
    for f in every_function(tree):
        yield from ((f.lineno, f"{f.name}: {o}") for o in check_function(f, lines))
    for f in every_function(tree):
        n = parameters(f)
        if n > MOST_PARAMETERS and not is_command(f):
            yield f.lineno, f"{f.name}: {n} parameters (at most {MOST_PARAMETERS})"
    for node in packed(tree):
        yield node.lineno, f"more than {MOST_ASSIGNED} names in one assignment"
    for node in swallowed(tree):
        yield node.lineno, "any exception is swallowed here; name the exception, or say what went wrong"


def check_module(path, root=ROOT):
    "A module, with its problems."
    text = path.read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    outer = list(functions(tree))
    problems = [f"line {line}: {what}" for line, what in sorted(module_problems(tree, lines))]
    return Module(
        path.relative_to(root).as_posix(), problems, sum(map(size, outer)), sum(extent(f, lines) for f in outer)
    )


def module_paths(root=ROOT):
    "The modules that are made from notebooks, and the few written by hand."
    return [p for p in sorted((root / "textgen").rglob("*.py")) if p.name != "_modidx.py"]


# ---- all together
@dataclass
class Sum:
    "A figure of the whole project and its limit."

    value: float
    limit: float
    most: bool = True  # a limit from above, or from below

    def beyond(self, other):
        "Whether the value is on the wrong side of a number."
        return self.value > other if self.most else self.value < other

    def better(self, a, b):
        "The stricter of two numbers."
        return min(a, b) if self.most else max(a, b)

    @property
    def bound(self):
        return "at most" if self.most else "at least"

    @property
    def ratchet(self):
        "The value with one decimal, rounded to the lenient side."
        return (math.ceil if self.most else math.floor)(round(self.value * 10, 6)) / 10


def measure_sums(rooms, modules):
    "The figures of the whole project."
    lengths = [n for r in rooms for n in r.lengths]
    return {
        "AST nodes a line, inside functions": Sum(
            sum(m.nodes for m in modules) / max(sum(m.lines for m in modules), 1), MEAN_DENSITY
        ),
        "exported cells over 15 lines, %": Sum(100 * sum(n > LONG_CELL for n in lengths) / max(len(lengths), 1), 10),
        "words of prose for an exported line": Sum(
            sum(r.words for r in rooms) / max(sum(lengths), 1), LEAST_PROSE, most=False
        ),
    }


def measure():
    "Rooms, the problems of every file, and the figures of the whole."
    rooms = [check_room(p) for p in room_paths()]
    modules = [check_module(p) for p in module_paths()]
    pages = [check_page(p) for p in page_paths()]
    problems = {o.name: o.problems for o in (*rooms, *modules, *pages)}
    return rooms, problems, measure_sums(rooms, modules)


# ---- what is still allowed
def lowered_sums(sums, allowed, force=False):
    "The figures that are beyond their limits, as lenient as today and no more lenient than before."
    new = {}
    for what, o in sums.items():
        best = o.ratchet if force else o.better(o.ratchet, allowed.get(what, o.limit))
        if o.better(best, o.limit) != best:
            new[what] = best
    return new


def over_sums(sums, allowed):
    "In words, the figures that are worse than allowed."
    for what, o in sums.items():
        limit = allowed.get(what, o.limit)
        if o.beyond(limit):
            yield f"{what}: {o.value:.2f} ({o.bound} {limit:g})"


def counted(problems):
    "The number of problems of each file."
    return {k: len(v) for k, v in problems.items()}


def update(problems, sums, force=False):
    "Write the allowances."
    ratchet.write("files", ratchet.lowered(counted(problems), ratchet.read("files"), force))
    ratchet.write("sums", lowered_sums(sums, ratchet.read("sums"), force))


def verdict(problems, sums):
    "Print what is over, and whether an allowance can be lowered; returns whether all is well."
    files, figures = ratchet.read("files"), ratchet.read("sums")
    wrong = [*ratchet.over(problems, files), *over_sums(sums, figures)]
    lower = ratchet.lowered(counted(problems), files) != files or lowered_sums(sums, figures) != figures
    return ratchet.verdict("style", wrong, sum(map(len, problems.values())), lower)


# ---- the command line
def print_rooms(rooms, problems):
    "A line a room."
    for r in rooms:
        long = sum(n > LONG_CELL for n in r.lengths)
        print(
            f"{r.name:42} {r.exported:5.0f} lines  {long:3} of {len(r.lengths):3} cells long  "
            f"{r.words / max(r.exported, 1):4.1f} words a line  {len(problems[r.name]):3} problems"
        )


def print_sums(sums):
    "The figures of the whole, with their limits."
    for what, o in sums.items():
        print(f"{what}: {o.value:.1f} ({o.bound} {o.limit:g})")


def print_named(problems, names):
    "The problems of some files; returns how many there are."
    found = [f"{k}: {p}" for k, v in problems.items() if any(n in k for n in names) for p in v]
    for line in found:
        print(line)
    return len(found)


def arguments():
    "What is asked for."
    parser = argparse.ArgumentParser(description="How the code and the notebooks read, as numbers.")
    parser.add_argument("names", nargs="*", help="list the problems of files whose path contains one of these")
    parser.add_argument("--rooms", action="store_true", help="a table of all rooms")
    parser.add_argument("--update", action="store_true", help="lower the allowances to what is found today")
    parser.add_argument("--force", action="store_true", help="with --update: raise them, too")
    return parser.parse_args()


def main():
    asked = arguments()
    rooms, problems, sums = measure()
    if asked.rooms:
        print_rooms(rooms, problems)
    if asked.update:
        update(problems, sums, asked.force)
    if asked.names:
        found = print_named(problems, asked.names)
        print_sums(sums)
        sys.exit(bool(found))
    if asked.rooms:
        print_sums(sums)
    sys.exit(not verdict(problems, sums))


if __name__ == "__main__":
    main()
