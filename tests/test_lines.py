"Lines that are read as one text have the ids that each has by itself."

import json
import random

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from textgen.text.codec import SEP, Codec, _Gigatoken, _Tokenizers
from textgen.text.corpus import bundled, joined, parted
from textgen.text.tokenizer import line_breaks_of, train_tokenizer

BITS = ["a", "The", "it's", "'s", "!", "...", "12", "3", "é", "字", "🙂", "\x01", "_", "-", "\ufffd", "<|endoftext|>"]
BLANKS = [" ", "  ", "\t", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u200b"]


@pytest.fixture(scope="module")
def codecs(tmp_path_factory):
    "Of a tokenizer that knows no blanks behind a line break, and of one that has learned such tokens."
    plain = train_tokenizer(bundled("poems"), vocab_size=400)
    file = tmp_path_factory.mktemp("indented") / "some.txt"
    file.write_text("\n".join(f"a{i}\n    b\n        c" for i in range(500)), encoding="utf-8")
    indented = train_tokenizer(file, vocab_size=300)
    return Codec(plain), Codec(indented)


def _line(rng):
    return "".join(rng.choice(rng.choice((BITS, BLANKS))) for _ in range(rng.randrange(0, 9)))


@pytest.mark.parametrize("seed", range(40))
def test_ids_of_lines(codecs, seed):
    rng = random.Random(seed)
    piece = SEP.join(_line(rng).encode() for _ in range(300))
    for codec in codecs:
        ids, starts = _Gigatoken(codec).encode(piece)
        wanted, where = _Tokenizers(codec)(piece)
        assert np.array_equal(ids, wanted) and np.array_equal(starts, where)


def test_the_short_way_is_taken(codecs):
    "Else the test above would compare nothing new."
    engine = _Gigatoken(codecs[0])
    lines = SEP.join([b"The sea", b"", b"", b"", b"  and the land ", b"\tand more", b"", b"  x"])
    found = engine._by_lines(lines)
    assert found is not None and engine.misses == 0
    assert [a.tolist() for a in found] == [a.tolist() for a in _Tokenizers(codecs[0])(lines)]


def test_merged_breaks_are_noticed(codecs):
    codec = codecs[1]
    assert any("Ċ" in t and t.strip("Ċ") for t in codec.tokenizer.get_vocab())
    engine = _Gigatoken(codec)
    lines = SEP.join([b"a1", b"    b", b"        c"])
    assert engine._by_lines(lines) is None and engine.misses == 1
    assert engine.encode(lines)[0].tolist() == _Tokenizers(codec)(lines)[0].tolist()


def test_after_some_misses_it_is_not_tried(codecs, monkeypatch):
    engine = _Gigatoken(codecs[1])
    for _ in range(9): assert engine._by_lines(SEP.join([b"a1", b"    b"])) is None
    assert engine.misses == 4


def test_other_rules(codecs):
    "A space in front of each document, or words cut otherwise: no line break is safe."
    fast = codecs[0].fast
    assert line_breaks_of(fast)[fast.token_to_id("Ċ")] == 1
    for rules in (
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    ):
        other = type(fast).from_str(fast.to_str())
        other.pre_tokenizer = rules
        assert line_breaks_of(other) == {}
    spec = json.loads(fast.to_str()) | dict(normalizer=dict(type="Lowercase"))
    assert line_breaks_of(type(fast).from_str(json.dumps(spec))) == {}


def test_joined():
    assert joined(b"a" + SEP + b"b") == b"a\nb"
    assert joined(b"a\nb" + SEP + b"c") is None
    assert joined(b"a" * 10_000 + SEP + b"c") is None
    assert parted(np.array([1, 1, 1]), {0: 1}, 2) is None
