"""A task's identity: it differs where a function differs in anything, and is the same in every process where nothing
does."""

import subprocess
import sys
import pytest
from textgen import Task
from textgen.codehash import code_hash

MODULE = """
import functools,operator,random,re
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
import numpy as np
from helpers import scale, LIMIT
import helpers
from textgen.tasks.preprocess import fields, prefix, preprocessor

RATE = %(rate)s
TABLE = {"a": [1, 2], "b": (3, %(rate)s)}
WORDS = {"alpha", "beta", "gamma", "delta", "w%(rate)s"}

class Kind(Enum): A, B = 1, 2

class P:
    factor = 3
    def __init__(self, n): self.n, self.words = n, {"x", "y", "z", str(n)}
    def __call__(self, example, draws): return [dict(example, n=self.n*self.factor)]
    def method(self, example, draws): return [example]*self.n

class Child(P):
    def __init__(self, n): super().__init__(n)

class Slots:
    __slots__ = ("n",)
    def __init__(self, n): self.n = n
    def __call__(self, example, draws): return [example]*self.n

@dataclass(frozen=True)
class D:
    n:int = 1
    names:tuple = ("a", "b")
    more:dict = field(default_factory=lambda: {"k": 1})
    def __call__(self, example, draws): return [dict(example, n=self.n)]

def reads_constant(example, draws): return [dict(example, n=RATE)]
def reads_table(example, draws): return [dict(example, n=TABLE)]
def reads_set(example, draws): return [example] if example["a"] in WORDS else []
def has_set(example, draws): return [example] if example["a"] in {"one", "two", "three", "four"} else []
def helper(x): return x*RATE
def deep(x): return helper(x)
def reads_helper(example, draws): return [dict(example, n=deep(1))]
def reads_import(example, draws): return [dict(example, n=scale(1))]
def reads_imported_constant(example, draws): return [dict(example, n=LIMIT)]
def reads_attribute(example, draws): return [dict(example, n=helpers.scale(1))]
def imports_inside(example, draws):
    import helpers as h
    return [dict(example, n=h.scale(1))]
def recursive(example, draws): return recursive(example, draws) if RATE>5 else [example]
def even(n): return n==0 or odd(n-1)
def odd(n): return n!=0 and even(n-1)
def mutual(example, draws): return [example] if even(4) else []
def with_text(text): return lambda example, draws: [dict(example, text=text)]
def default(n=1): return eval(f"lambda e, d, n={n}: [e]*n")
def kwdefault(n=1): return eval(f"lambda e, d, *, n={n}: [e]*n")
def attribute(n):
    def f(example, draws): return [example]*f.n
    f.n = n
    return f
def wrapped(n):
    def inner(example, draws): return [example]*n
    @functools.wraps(inner)
    def outer(*args): return inner(*args)
    return outer
@preprocessor()
def repeated(example, draws, n=1, rate=RATE): return [example]*n
def cached(n):
    @functools.lru_cache(maxsize=n)
    def f(example, draws): return [example]
    return f
def nested(n): return eval(f"lambda e, d: [(lambda x: x+{n})(1) for _ in e]")
def named(n): return eval(f"lambda e, d: e.{n}()")
def plain(e, d): return [e]

MADE = dict(
    state=P(1), child=Child(1), slots=Slots(1), dataclass=D(), method=P(1).method, partial=partial(plain, d=1),
    closure=with_text("a"), default=default(), kwdefault=kwdefault(), attribute=attribute(1), wrapped=wrapped(1),
    step=repeated(2), own=prefix("a: "), cached=cached(1), nested=nested(1), named=named("lower"),
    builtin=str.lower, bound="a".join, getter=operator.itemgetter(1, 2), pattern=re.compile("a+").sub,
    array=with_text(np.arange(5)), floats=with_text(np.float32(1)), enum=with_text(Kind.A),
    frozen=with_text(frozenset("abcdef")), random=with_text(random.Random(1)),
    generator=with_text(np.random.default_rng(3)), lambdas=[lambda e, d: [e], len],
    **{f.__name__: f for f in (
        reads_constant, reads_table, reads_set, has_set, reads_helper, reads_import,
        reads_imported_constant, reads_attribute, imports_inside, recursive, mutual
    )})
"""
HELPERS = """
# a comment
LIMIT = %(limit)s
def scale(x):
    "A helper in another file."
    return x*%(limit)s
"""
ASK = """
import json,sys; sys.path[:0] = sys.argv[1:2]
from steps import MADE
from textgen.codehash import code_hash
print(json.dumps({k: code_hash(v) for k,v in MADE.items()}))
"""


def hashes(folder, rate=1, limit=5, seed="0", before=""):
    "The hashes of all steps of the module, in a process of its own."
    import json
    import os

    folder.mkdir(exist_ok=True)
    (folder / "steps.py").write_text(before + MODULE % dict(rate=rate))
    (folder / "helpers.py").write_text(before + HELPERS % dict(limit=limit))
    p = subprocess.run(
        [sys.executable, "-B", "-c", ASK, folder],
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONHASHSEED=seed),
    )
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return hashes(tmp_path_factory.mktemp("first"))


def test_the_same_in_every_process(first, tmp_path):
    """Other order of sets, other addresses, other folder, other line numbers; only the text of a file imported inside
    a function has them."""
    assert hashes(tmp_path / "second", seed="12345") == first
    moved = hashes(tmp_path / "third", seed="7", before="# a comment\n\n\n")
    assert {k for k in first if moved[k] != first[k]} == {"imports_inside"}


def test_no_two_are_the_same(first):
    assert len(set(first.values())) == len(first)


def test_what_is_read_from_the_module(first, tmp_path):
    other = hashes(tmp_path / "m", rate=2)
    assert {k for k in first if other[k] != first[k]} == {
        "reads_constant",
        "reads_table",
        "reads_set",
        "reads_helper",
        "recursive",
        "step",
    }


def test_what_is_read_from_another_module(first, tmp_path):
    other = hashes(tmp_path / "m", limit=6)
    assert {k for k in first if other[k] != first[k]} == {
        "reads_import",
        "reads_imported_constant",
        "reads_attribute",
        "imports_inside",
    }


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    import importlib

    folder = tmp_path_factory.mktemp("steps")
    (folder / "own_steps.py").write_text((MODULE % dict(rate=1)).replace("helpers", "own_helpers"))
    (folder / "own_helpers.py").write_text(HELPERS % dict(limit=5))
    sys.path.insert(0, str(folder))
    yield importlib.import_module("own_steps")
    sys.path.remove(str(folder))


PAIRS = {
    "state": lambda m, n: m.P(n),
    "state of a subclass": lambda m, n: m.Child(n),
    "slots": lambda m, n: m.Slots(n),
    "dataclass": lambda m, n: m.D(n),
    "dataclass, dict": lambda m, n: m.D(more={"k": n}),
    "bound method": lambda m, n: m.P(n).method,
    "partial": lambda m, n: m.partial(m.plain, n),
    "partial, keyword": lambda m, n: m.partial(m.plain, d=n),
    "partial of": lambda m, n: m.partial(m.with_text(n), d=1),
    "closure": lambda m, n: m.with_text(str(n)),
    "closure, list": lambda m, n: m.with_text([1, [n]]),
    "closure, set": lambda m, n: m.with_text({"a", "b", str(n)}),
    "closure, array": lambda m, n: m.with_text(m.np.array([1, n])),
    "closure, object array": lambda m, n: m.with_text(m.np.array(["a", n], object)),
    "closure, function": lambda m, n: m.with_text(m.with_text(n)),
    "default": lambda m, n: m.default(n),
    "keyword default": lambda m, n: m.kwdefault(n),
    "attribute": lambda m, n: m.attribute(n),
    "wraps": lambda m, n: m.wrapped(n),
    "options of a step": lambda m, n: m.repeated(n),
    "inner constant": lambda m, n: m.nested(n),
    "cache": lambda m, n: m.cached(n),
    "random": lambda m, n: m.with_text(m.random.Random(n)),
    "pattern": lambda m, n: m.re.compile(f"a{n}").sub,
    "pattern, flags": lambda m, n: m.with_text(m.re.compile("a", [0, m.re.I, m.re.M][n])),
    "enum": lambda m, n: m.with_text(m.Kind(n)),
    "getter": lambda m, n: m.operator.itemgetter(n),
    "bound builtin": lambda m, n: str(n).join,
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_differ(name, steps):
    "Made twice they are equal; with another value they are not."
    make = PAIRS[name]
    assert code_hash(make(steps, 1)) == code_hash(make(steps, 1)) != code_hash(make(steps, 2))


ONE = lambda s: s.lower()


@pytest.mark.parametrize(
    "a, b",
    [
        (str.lower, str.upper),
        (ONE, lambda s: s.upper()),
        (lambda s: 1, lambda s: 1.0),
        (lambda s: 1, lambda s: True),
        (lambda s: 0.0, lambda s: -0.0),
        (lambda s: b"a", lambda s: "a"),
        (lambda s: s in {1, 2}, lambda s: s in {1, 3}),
        (lambda s: [t.lower() for t in s], lambda s: [t.upper() for t in s]),
        (lambda s: (yield 1), lambda s: 1),
        (lambda s, t: 1, lambda t, s: 1),
        (lambda *s: 1, lambda s: 1),
        (lambda s: len(s), lambda s: sum(s)),
        (len, sum),
        (str.lower, bytes.lower),
        ([1, 2], [2, 1]),
        ([1, 2], (1, 2)),
        ({1: 2}, {2: 1}),
        ("1", 1),
        (None, "None"),
        ([[1], 2], [[1, 2]]),
        ([], ()),
        (set(), frozenset()),
    ],
)
def test_values_that_differ(a, b):
    assert code_hash(a) != code_hash(b)


def test_values_that_contain_themselves():
    a, b, c = [1], [1], [2]
    for o in (a, b, c):
        o.append(o)
    assert code_hash(a) == code_hash(b) != code_hash(c)


def test_a_set_in_any_order():
    "Also of values that are no text."
    values = [(k, f"v{k}", frozenset({k, "x"})) for k in range(50)]
    assert code_hash(set(values)) == code_hash(set(reversed(values))) != code_hash(set(values[1:]))


def test_many_functions_that_call_each_other():
    "Each is taken once, so it takes no longer for a web than for a line."
    space = {"__name__": "web", "__file__": "/web.py"}
    for k in range(40):
        exec(f"def f{k}(x): return [{', '.join(f'f{i}(x)' for i in range(40))}]", space)
    was = code_hash(space["f0"])
    exec("def f39(x): return 1", space)
    assert code_hash(space["f0"]) != was


def test_what_cannot_be_told():
    "A lock counts by its class; what is nested without end is refused with a word."
    import threading
    from textgen import TaskError

    assert code_hash(threading.Lock()) == code_hash(threading.Lock())
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TaskError, match="nested too deeply"):
        code_hash(deep)


def test_tensors():
    import torch

    a = torch.arange(4.0)
    assert (
        code_hash(a) == code_hash(a.clone()) != code_hash(a.bfloat16())
        and len({code_hash(o) for o in (a, a + 1, a.reshape(2, 2), torch.tensor(1), torch.tensor(1.0), a.bfloat16())})
        == 6
    )


# ---- what it is for
def identity(steps, codec):
    return Task("t", ["some words", "more words"], steps).open(codec).identity()


@pytest.mark.parametrize("name", ["state", "closure", "partial", "options of a step", "default", "bound method"])
def test_the_identity_of_a_task(name, steps, tok):
    from textgen.text.codec import Codec

    codec, make = Codec(tok), PAIRS[name]
    assert identity(make(steps, 1), codec) == identity(make(steps, 1), codec) != identity(make(steps, 2), codec)
    assert identity(str.lower, codec) != identity(str.upper, codec)


def test_a_changed_preprocessor_is_not_resumed(steps, tok, tiny, tmp_path):
    from textgen import TrainError
    from textgen.training.callback import NoView

    settings = dict(batch_size=1, window=16, sample_every=0, save_to=tmp_path / "m", view=NoView())

    def task(n):
        return Task("t", ["the sea " * 20, "the moon " * 20], lambda e, d, keep=steps.P(n): [e] * min(keep.n, 1))

    tiny(tok).train(task(1), steps=1, **settings)
    with pytest.raises(TrainError, match="saved by another run: data was"):
        tiny(tok).train(task(2), steps=2, resume=True, **settings)
    assert tiny(tok).train(task(2), steps=2, resume="force", **settings).steps == 2


def test_steps_of_this_package_are_what_they_were(tok):
    "A run with these, saved by an older version, is still resumed: the text that stands for them has not changed."
    from textgen.tasks.example import _code
    from textgen.tasks.preprocess import fields, prefix, prefix_lm

    assert [_code(s) for s in (fields("title", to="text"), prefix("poem: "), prefix_lm(length=8))] == [
        "fields('title', to='text')",
        "prefix('poem: ')",
        "prefix_lm(length=8)",
    ]
