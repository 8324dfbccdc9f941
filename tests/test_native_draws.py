"""Filters, penalties, runs that may not come again and stop strings: what C draws is what Python draws.

Python's way (`Rules.choose_tokens`, one token at a time) is the other witness: it shares no line with the C code."""

import random

import pytest
import torch

from textgen import TextGen
from textgen.generation import kernels, loop, native

pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no native library is built")

USUAL = dict(top_k=40, top_p=0.9, repetition_penalty=1.1)
ASKED = [
    dict(top_k=40),
    dict(top_k=3),
    dict(top_p=0.9),
    dict(top_p=0.3),
    dict(min_p=0.05),
    dict(repetition_penalty=1.1),
    dict(repetition_penalty=0.7),
    dict(no_repeat_ngram=3),
    dict(no_repeat_ngram=1),
    dict(stop=["e", "th"]),
    dict(stop=[" sea\n", "é", "zzzz"]),
    dict(temperature=0),
    dict(temperature=0, repetition_penalty=1.3, no_repeat_ngram=2),
    dict(temperature=[0, 0.4, 1.0, 1.6, 0, 0.7, 0.7], top_p=0.8),
    dict(min_new_tokens=30, top_k=20),
    USUAL,
    dict(USUAL, stop=["\n"], no_repeat_ngram=3, min_p=0.02),
]


def in_python(monkeypatch):
    "From here on no draw is left to C."
    monkeypatch.setattr(native.NativeDecoder, "draws", frozenset())
    monkeypatch.setattr(native.NativeDecoder, "max_steps", 1)


def written(tg, prompt, **asked):
    n = 7 if isinstance(prompt, str) else 3
    asked = dict(temperature=0.8) | asked
    if n == 3 and isinstance(asked["temperature"], list):
        asked["temperature"] = asked["temperature"][:3]
    samples = tg.generate(prompt, n=n, seed=3, max_new_tokens=50, **asked)
    return [(s.tokens, s.finish_reason, s.text, pytest.approx(s.logprob, abs=1e-3)) for s in samples]


@pytest.fixture(scope="module", params=["causal", "seq2seq"])
def model(request, tok):
    if request.param == "causal":
        return TextGen.new("mini", tok, seed=2)
    return TextGen.new("t5-mini", tok, seed=2)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_c_draws_what_python_draws(model, asked, monkeypatch):
    "Ids, ends, texts and log-probabilities, for one prompt and for several."
    calls = []
    real = native.NativeDecoder._call_c
    monkeypatch.setattr(native.NativeDecoder, "_call_c", lambda *a: calls.append(1) or real(*a))
    prompts = ["The sea", ["The sea is", "A", "Oh, the"]]
    in_c = [written(model, p, **asked) for p in prompts]
    n_calls = len(calls)
    in_python(monkeypatch)
    assert [written(model, p, **asked) for p in prompts] == in_c
    assert n_calls and len(calls) == n_calls


@pytest.mark.parametrize("asked", [USUAL, dict(no_repeat_ngram=2), dict(stop=["zq"]), dict(top_p=0.5)], ids=str)
def test_where_c_leaves_the_draw_to_python(model, asked, monkeypatch):
    "In the middle of a call, with what was drawn before in the same call; numbers on a border make it so."
    real, left = loop.sample_uniforms, []

    def on_borders(*args):
        numbers = real(*args).copy()
        numbers[3::7], numbers[5::11] = 0.0, 1 - 2**-53
        return numbers

    def counted(how, logits):
        left.append(how.draw.uniforms.shape[1] - how.left - 1)
        return choose(how, logits)

    choose = native._choose
    monkeypatch.setattr(native, "_choose", counted)
    monkeypatch.setattr(loop, "sample_uniforms", on_borders)
    in_c = written(model, "The sea", **asked)
    assert max(left) >= 3
    in_python(monkeypatch)
    assert written(model, "The sea", **asked) == in_c


@pytest.mark.parametrize("asked", [dict(stop=["zq", "sea is"]), dict(USUAL, no_repeat_ngram=3)], ids=str)
def test_several_calls_and_beyond_the_context(tok, asked, monkeypatch):
    "A stop string may begin in one call and end in the next; a window slides meanwhile."
    tg = TextGen.new("mini", tok, seed=2, context=48)
    ask = dict(temperature=1.0, n=6, seed=5, max_new_tokens=200, nonempty=False, **asked)

    def write():
        return [(s.tokens, s.finish_reason, s.text) for s in tg.generate("The sea", **ask)]

    in_c = write()
    assert max(len(ids) for ids, *_ in in_c) > 100
    monkeypatch.setattr(native.NativeDecoder, "max_steps", 5)
    assert write() == in_c
    in_python(monkeypatch)
    assert write() == in_c


def test_rows_that_get_stuck(tok, monkeypatch):
    "Where no token is left in the middle of a call, the text ends there."
    tg = TextGen.new("mini", tok, seed=2)
    codec, few = tg.codec, 12
    monkeypatch.setattr(type(codec), "__len__", lambda self: few)  # tokens that may be drawn
    ask = dict(no_repeat_ngram=1, min_new_tokens=40)
    in_c = written(tg, "", **ask)
    assert all(reason == "stuck" and 5 < len(set(ids)) == len(ids) <= few for ids, reason, *_ in in_c)
    in_python(monkeypatch)
    assert written(tg, "", **ask) == in_c


@pytest.mark.parametrize("asked", [dict(), dict(USUAL, stop=["zq"]), dict(temperature=[0, 0.8, 1.5] * 10)], ids=str)
def test_several_ends_and_a_least_length(model, asked, monkeypatch):
    "Rows that are refilled, so that some may end and others not; a token at a time is never drawn in Python."
    ends = (*model.codec.ends, *range(60, 90))
    monkeypatch.setattr(model.codec, "ends", ends)
    ask = dict(n=30, seed=4, batch_size=7, max_new_tokens=40, min_new_tokens=12, temperature=1.0) | asked

    def write():
        return [(s.tokens, s.finish_reason, s.text) for s in model.generate("The sea", **ask)]

    with monkeypatch.context() as m:
        m.setattr(native, "draw_steps", None)
        in_c = write()
    in_python(monkeypatch)
    assert write() == in_c
    early = [ids for ids, reason, _ in in_c if reason == "end" and len(ids) < 40]
    assert len(early) >= 5 and all(ids[-1] in ends and not {*ids[:-1]} & {*ends} for ids in early)
    assert min(len(ids) for ids, *_ in in_c) >= 12 and len({ids[-1] for ids in early}) > 2


def native_draw(lib, logits, u, **fields):
    work, logprob = torch.empty(lib.textgen_draw_floats(len(logits))), torch.empty(1)
    t = torch.tensor([fields.pop("temperature")])
    f = dict(uniforms=torch.tensor([[u]], dtype=torch.float64), temperatures=t, steps=1, known=len(logits))
    f |= dict(penalty=1.0) | kernels.c_filters(fields.pop("filters"))
    return lib.textgen_draw(logits, len(logits), kernels.CDraw(**f | fields), 0, 0, work, logprob)


@pytest.mark.parametrize("isa", kernels._able() if kernels.built_isas() else [])
def test_any_filters_on_any_logits(isa):
    "Flat, peaked, tied, padded with minus infinity; any size of vocabulary; each instruction set."
    from textgen.generation.sampling import draw, filtered

    lib, rng, g = kernels.open_library(isa), random.Random(5), torch.Generator().manual_seed(5)
    undecided = 0
    for _ in range(300):
        n = rng.choice([1, 2, 15, 16, 17, 255, 256, 257, 1000, 5003])
        x = torch.randn(n, generator=g) * rng.choice([0.01, 1.0, 4.0, 30.0])
        if rng.random() < 0.3:
            x = (x * 2).round() / 2
        if rng.random() < 0.3:
            x[torch.rand(n, generator=g) < 0.5] = -torch.inf
            x[rng.randrange(n)] = 1.0
        k, p = rng.choice([0, 1, 2, 40, n, n + 5]), rng.choice([1.0, 0.999, 0.9, 0.5, 1e-6])
        m = rng.choice([0, 0.05, 1])
        t, u = rng.choice([0.1, 0.7, 1.0, 3.0]), rng.choice([rng.random(), rng.random(), 1 - 1e-16, 0.5])
        got = native_draw(lib, x, u, temperature=t, filters=(k, p, m))
        want = draw(filtered(x[None], t, k, p, m), torch.tensor([u], dtype=torch.float64)).item()
        undecided += got == -1 and u < 0.999
        assert got in (want, -1), (n, k, p, m, t, u)
    assert undecided < 30  # two equal tokens and top_p=0.5, for one
