"How many texts are written at the same time, and that no step is computed for texts that have ended."

import pytest
import torch

from textgen import TextGen
from textgen.generation import loop
from textgen.generation.engine import faster
from textgen.models.decoder import fitting
from textgen.text.corpus import bundled
from textgen.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module", params=["mini", "t5-mini"])
def tg(request):
    return TextGen.new(request.param, train_tokenizer(bundled("poems"), vocab_size=500))


@pytest.mark.parametrize("native", [True, False])
@torch.inference_mode()
def test_room_for_more_is_not_what_a_position_takes(tg, native):
    "A state of few positions has room for 64; the room was taken for theirs, and texts waited for each other."
    d = faster(tg.wrapped, native=native)
    one = d.prefill(torch.tensor([[5, 6, 7]]))
    c = d.plan
    position = len(c.layers) * 2 * c.kv_heads * c.head_size * 4  # bytes of float32
    assert one.nbytes == one.length * position
    assert one.reserve(200).nbytes == one.nbytes
    row = position * 100 * 2  # keys and values of a hundred tokens, and as much again for a copy
    free = 2 * 10 * (row + one.logits.shape[-1] * 40)
    assert 8 <= fitting(one, 100, free, 32) <= 14


def test_few_rows_are_computed_for_few_texts(tg, monkeypatch):
    "Five texts in four rows: the fifth is written alone."
    d, rows = type(faster(tg.wrapped)), []
    own = d.decode_steps

    def noted(self, state, *args):
        rows.append(len(state.logits))
        return own(self, state, *args)

    monkeypatch.setattr(d, "decode_steps", noted)
    kw = dict(n=5, max_new_tokens=8, min_new_tokens=8, seed=3, nonempty=False)
    found = tg.generate("the sea", batch_size=4, **kw)
    if d.__name__ == "NativeDecoder": assert rows == [4, 1]
    assert sum(rows) <= 4 * 8 + 8
    alone = tg.generate("the sea", batch_size=1, **kw)
    assert [s.tokens for s in found] == [s.tokens for s in alone]


def test_texts_that_end_at_different_times(tg):
    "Rows are given on and dropped; each text stays the one that it is alone."
    kw = dict(n=11, max_new_tokens=40, seed=5, temperature=1.5)
    texts = [[s.tokens for s in tg.generate("the sea", batch_size=n, **kw)] for n in (1, 4, 11)]
    assert texts[0] == texts[1] == texts[2]


def test_what_fits_is_asked_once(monkeypatch, tg):
    "The number of rows comes from the memory that is free."
    asked = []
    monkeypatch.setattr(loop, "fitting", lambda one, tokens, free, most: asked.append(tokens) or 3)
    assert len(tg.generate("the sea", n=7, max_new_tokens=5, seed=1)) == 7
    assert len(asked) == 1
