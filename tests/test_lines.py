"Lines that are read as one text have the ids that each has by itself."

import json
import random

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from textgen.array import parted
from textgen.text import codec as room
from textgen.text.builder import Builder
from textgen.text.codec import Codec
from textgen.text.corpus import SEP, Piece, bundled, joined
from textgen.text.tokenizer import line_breaks_of, train_tokenizer

BITS = ["a", "The", "it's", "'s", "!", "...", "12", "3", "é", "字", "🙂", "\x01", "_", "-", "\ufffd", "<|endoftext|>"]
BLANKS = [" ", "  ", "\t", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u200b"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    "Of a tokenizer that knows no blanks behind a line break, and of one that has learned such tokens."
    plain = train_tokenizer(bundled("poems"), vocab_size=400)
    file = tmp_path_factory.mktemp("indented") / "some.txt"
    file.write_text("\n".join(f"a{i}\n    b\n        c" for i in range(500)), encoding="utf-8")
    indented = train_tokenizer(file, vocab_size=300)
    return plain, indented


def _fast(tok):
    "A codec whose fast engine is there already, not only from a megabyte on."
    codec = Codec(tok)
    assert codec.engine.name == "gigatoken"
    return codec


def _line(rng):
    return "".join(rng.choice(rng.choice((BITS, BLANKS))) for _ in range(rng.randrange(0, 9)))


def _built(codec, pieces):
    "The ids and starts of documents, and the builder."
    b = Builder(codec)
    b.add_all(Piece(SEP.join(lines), "x") for lines in pieces)
    b.finish()
    return b.tokens.array().tolist(), b.starts.array().tolist(), b


def _by_hand(codec, pieces):
    ids, starts = [], []
    for line in (line for lines in pieces for line in lines if line):
        starts.append(len(ids))
        ids += [*codec.encode(line.decode()), codec.end]
    return ids, [*starts, len(ids)]


@pytest.fixture
def one_core(monkeypatch):
    "Lines are read as one text where gigatoken has one thread."
    monkeypatch.setattr(room, "_PARALLEL", False)


@pytest.mark.parametrize("seed", range(40))
def test_ids_of_lines(tokenizers, one_core, seed):
    rng = random.Random(seed)
    pieces = [[_line(rng).encode() for _ in range(rng.randrange(1, 300))] for _ in range(3)]
    for tok in tokenizers:
        codec = _fast(tok)
        ids, starts, _ = _built(codec, pieces)
        assert (ids, starts) == _by_hand(codec, pieces)


def test_the_short_way_is_taken(tokenizers, one_core, monkeypatch):
    "Else the test above would compare nothing new."
    seen, codec = [], _fast(tokenizers[0])
    own = codec.encode_piece
    monkeypatch.setattr(codec, "encode_piece", lambda data: seen.append(data) or own(data), raising=False)
    lines = [b"The sea", b"", b"", b"", b"  and the land ", b"\tand more", b"", b"  x"]
    ids, starts, b = _built(codec, [lines])
    assert seen == [b"\n".join(lines)] and b.misses == 0
    assert (ids, starts) == _by_hand(codec, [lines])


def test_merged_breaks_are_noticed(tokenizers, one_core):
    codec = _fast(tokenizers[1])
    assert any("Ċ" in t and t.strip("Ċ") for t in codec.tokenizer.get_vocab())
    pieces = [[b"a1", b"    b", b"        c"]] * 9
    ids, starts, b = _built(codec, pieces)
    assert b.misses == 4  # and then it was not tried any more
    assert (ids, starts) == _by_hand(codec, pieces)


def test_no_end_between_lines(tokenizers, one_core):
    "A tokenizer without an end of texts: documents are told apart by their starts alone."
    codec = _fast(tokenizers[0])
    codec.end = None
    ids, starts, _ = _built(codec, [[b"The sea", b"", b" and the land"]])
    ends = [len(codec.encode(t)) for t in ("The sea", " and the land")]
    assert starts == [0, ends[0], sum(ends)] and len(ids) == sum(ends)


def test_equal_lines_have_equal_hashes(tokenizers, one_core):
    "First, in the middle and last in a piece, and in other pieces."
    _, _, b = _built(_fast(tokenizers[0]), [[b"same", b"other", b"same", b"same"], [b"same"], [b"other one", b"same"]])
    hashes = b.hashes.array().tolist()
    assert len(hashes) == 7 and len(set(hashes)) == 3 and b.info()["duplicates"] == 4


def test_other_rules(tokenizers):
    "A space in front of each document, or words cut otherwise: no line break is safe."
    fast = Codec(tokenizers[0]).fast
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
    assert joined(b"a" + SEP + b"b") == (b"a\nb", 1)
    assert joined(b"a\nb" + SEP + b"c") is None
    assert joined(b"a" * 10_000 + SEP + b"c") is None
    assert parted(np.array([1, 1, 1]), {0: 1}, 2, 0) is None
