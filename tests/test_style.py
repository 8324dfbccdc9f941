"What tools/style.py counts, on code whose numbers were counted by hand; and allowances that only shrink."
import ast
import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1]/"tools"
sys.path.insert(0, str(TOOLS))
import ratchet  # noqa: E402
import style  # noqa: E402


def first(source):
    "The first function of a source, with the lines."
    return next(style.functions(ast.parse(source))), source.splitlines()


def test_nodes_are_those_of_the_syntax_tree():
    "def, its arguments, x, return, the operation, x and its context, +, 1."
    f, lines = first("def f(x):\n\n    return x+1\n")
    assert (style.size(f), style.extent(f, lines), style.density(f, lines)) == (9, 2, 4.5)


def test_one_line_is_measured_by_its_statement():
    f, lines = first("def f(x): return x+1\n")
    assert style.density(f, lines) == 6


def test_blank_lines_do_not_help():
    a, b = "def f(x):\n    return [x, x]\n", "def f(x):\n\n\n    return [x, x]\n"
    assert style.density(*first(a)) == style.density(*first(b))


def test_parameters_and_commands():
    f, _ = first("@app.command()\ndef train(a, b, *, c=1): pass\n")
    g, _ = first("def method(self, a, b): pass\n")
    assert (style.parameters(f), style.is_command(f), style.parameters(g), style.is_command(g)) == (3, True, 2, False)


@pytest.mark.parametrize(
    "source, lines",
    [
        ("a = 1; b = 2", [1]),
        ("a = 1\nb = ';'", []),
        ("plot();", []),
        ("plot();  # no output", []),
        ("if a: b(); c()", [1]),
    ],
)
def test_several_statements_on_a_line(source, lines):
    assert style.semicolons(source) == lines


@pytest.mark.parametrize(
    "source, n",
    [
        ("try: a()\nexcept Exception: return", 1),
        ("try: a()\nexcept Exception: return None", 1),
        ("try: a()\nexcept OSError: return None", 0),
        ("try: a()\nexcept: pass", 1),
        ("try: a()\nexcept Exception as e: raise B from e", 0),
        ("try: a()\nexcept Exception: return 1", 0),
    ],
)
def test_swallowed_exceptions(source, n):
    assert len(list(style.swallowed(ast.parse(source)))) == n


def notebook(path, *cells):
    "A notebook from (kind, source) or (kind, source, has an output)."
    def cell(kind, source, *output): return dict(cell_type=kind, source=source, outputs=[{}]*len(output))
    path.write_text(json.dumps(dict(cells=[cell(*o) for o in cells])), encoding="utf-8")
    return path


LONG = "#| export\ndef long():\n"+"    a = 1\n"*61
DOUBLE = "#| export\ndef double(x): return 2*x"


@pytest.mark.parametrize("cells, problem", [
    ([("markdown", "one two three"), ("code", DOUBLE), ("code", "double(2)", 4)], None),
    ([("markdown", "one two three"), ("code", DOUBLE), ("code", "double(2)")], "no output is stored: double(2)"),
    ([("markdown", "one two three"), ("code", DOUBLE)], "double is shown in no cell"),
    ([("markdown", "one two three"), ("code", DOUBLE), ("code", "#| hide\ndouble(2)")], "double is shown in no cell"),
    ([("markdown", "one two"), ("code", DOUBLE), ("code", "double(2)", 4)], "2.0 words of prose"),
    ([("markdown", "word "*999), ("code", LONG)], "an exported cell has 62 lines"),
    ([("markdown", "word "*999), ("code", LONG)], "62 exported lines in a row show nothing"),
    ([("code", "#| hide\n"+"a"*121)], "1 lines over 120 characters"),
    ([("code", "import os\nos.getcwd()", 1)], "imports and other code in one cell"),
    ([("code", "#| hide\nimport nbdev; nbdev.nbdev_export()")], None)])
def test_rooms(tmp_path, cells, problem):
    found = style.check_room(notebook(tmp_path/"00_a.ipynb", *cells)).problems
    assert any(problem in p for p in found) if problem else found == []


def test_a_room_that_is_too_large(tmp_path):
    cells = [("code", f"#| export\ndef f{i}():\n    return {i}") for i in range(201)]
    assert (
        "402 exported lines (at most 400); split it"
        in style.check_room(notebook(tmp_path / "00_a.ipynb", *cells)).problems
    )


def test_allowances_only_shrink():
    found = {"a": 3, "b": 1, "new": 2, "clean": 0}
    assert ratchet.lowered(found, {"a": 5, "b": 0, "gone": 9}) == {"a": 3}
    assert ratchet.lowered(found, {}, force=True) == {"a": 3, "b": 1, "new": 2}
    assert list(ratchet.over({"a": ["x"]*3, "new": ["y"]}, {"a": 3})) == ["new: 1 problems, 0 allowed", "  y"]


def test_figures_only_get_better():
    sums = {"most": style.Sum(12.34, 10), "least": style.Sum(2.58, 3, most=False), "good": style.Sum(9, 10)}
    assert style.lowered_sums(sums, {}, force=True) == {"most": 12.4, "least": 2.5}
    assert style.lowered_sums(sums, {"most": 11, "least": 2}) == {"most": 11, "least": 2.5}
    assert style.lowered_sums(sums, {}) == {}
    assert list(style.over_sums(sums, {"most": 12.4, "least": 2.5})) == []
    assert len(list(style.over_sums(sums, {}))) == 2


def test_the_file_goes_when_nothing_is_left(tmp_path):
    path = tmp_path/"allowed.json"
    ratchet.write("files", {"a": 1}, path)
    ratchet.write("types", {"b": 2}, path)
    assert ratchet.read("files", path) == {"a": 1} and ratchet.read("other", path) == {}
    ratchet.write("files", {}, path)
    assert json.loads(path.read_text()) == {"types": {"b": 2}}
    ratchet.write("types", {}, path)
    assert not path.exists()
