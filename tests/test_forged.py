"A cache with right checksums that makes no sense is refused with `CacheError`, and never with a raw error."

from itertools import product
import numpy as np
import pytest
from textgen import CacheError, TokenDataset
from textgen.text import cache
from textgen.text.cache import COMPRESSION, CacheWriter
from textgen.text.tokenizer import tokenizer_to_json


def _forge(path, data, compress, tokens=None, starts=None, parts=None, info=None, spec=None, header=None, finish=None):
    "A cache of `data` with some of its parts replaced; every checksum is right."
    tokens = np.asarray(data.tokens[:]) if tokens is None else tokens
    starts = np.asarray(data.starts[:]) if starts is None else starts
    spec = tokenizer_to_json(data.tokenizer).encode() if spec is None else spec
    fields = dict(
        found="",
        dtype="uint16",
        n_tokens=len(data.tokens),
        n_documents=len(data),
        tokenizer=data.fingerprint,
        vocab_size=data.vocab_size,
        end=data.end,
        codec=None,
    )
    with path.open("wb") as f:
        w = CacheWriter(f, compress)
        for name, raw in dict(tokens=tokens.tobytes(), documents=starts.tobytes(), tokenizer=spec).items():
            w.part(name, len(raw), [raw])
        if parts:
            w.parts = parts(w.parts)
        if finish:
            finish(w)
        w.finish(
            data.info if info is None else info, **{k: v for k, v in (fields | (header or {})).items() if v != "absent"}
        )
    return path


def _use(path):
    "What is done with a cache."
    data = TokenDataset.load(path)
    np.asarray(data.tokens[:])
    np.asarray(data.starts[:])
    data.describe(context=16, batch_size=2)
    repr(data)
    [data.decode(data[i]) for i in range(len(data))]
    data.split(0.5)
    TokenDataset.merge([data, data]).describe()
    data.check_tokenizer(data.codec)


def _part(name, **change):
    "Change the entry of a part in the index."
    return dict(parts=lambda parts: [p | change if p["name"] == name else p for p in parts])


def _ids(*ids):
    return dict(
        tokens=np.array(ids, "<u2"),
        starts=np.array([0, len(ids)], "<u8"),
        header=dict(n_tokens=len(ids), n_documents=1),
    )


def _starts(*starts):
    return dict(starts=np.array(starts, "<u8"), header=dict(n_documents=len(starts) - 1))


def _header(**fields):
    return dict(header=fields)


def _info(**fields):
    return dict(info=fields)


def _raw(f):
    return dict(finish=f)


class _Header:
    "Write other places into the header."

    def __init__(self, **places):
        self.places = places

    def __call__(self, writer):
        whole = writer._write_header
        writer._write_header = lambda fields: whole(fields | self.places)


FORGED = {
    "an id beyond the vocabulary": _ids(1, 2, 60_000),
    "all ids beyond it": _ids(*[65_535] * 9),
    "a vocabulary of nothing": _header(vocab_size=0),
    "a small vocabulary": _header(vocab_size=3),
    "a vocabulary too large": _header(vocab_size=10**9),
    "a word as vocabulary": _header(vocab_size="x"),
    "a negative vocabulary": _header(vocab_size=-5),
    "an end beyond it": _header(end=70_000),
    "a word as end": _header(end="x"),
    "more tokens than there are": _header(n_tokens=10**9),
    "fewer": _header(n_tokens=1),
    "a word as number": _header(n_tokens="many"),
    "no number": _header(n_tokens="absent"),
    "more documents": _header(n_documents=10**6),
    "a fraction of documents": _header(n_documents=1.5),
    "no such type": _header(dtype="uint99"),
    "a type of objects": _header(dtype="O"),
    "floats": _header(dtype="float16"),
    "signed": _header(dtype="int16"),
    "a type of none": _header(dtype=None),
    "no tokenizer": _header(tokenizer="absent"),
    "another tokenizer": _header(tokenizer="f" * 64),
    "a number as tokenizer": _header(tokenizer=3),
    "places beyond the tokens": _starts(0, 10**9),
    "places that fall": _starts(0, 50, 20, 10**3),
    "places from the middle": _starts(5, 9),
    "huge places": _starts(0, 2**63, 2**64 - 1),
    "no places": _starts(),
    "part after the end": _part("tokens", start=10**9),
    "part before the header": _part("tokens", start=0),
    "a negative start": _part("tokens", start=-64),
    "a word as start": _part("documents", start="x"),
    "a huge size": _part("tokens", size=2**60, stored=2**60),
    "no size": _part("tokens", size=None),
    "size and stored differ": _part("documents", size=3),
    "a size too small": _part("tokens", size=2),
    "odd bytes": _part("tokens", size=7, stored=7),
    "overlapping": _part("documents", start=4160),
    "no parts": dict(parts=lambda parts: []),
    "parts in a word": dict(parts=lambda parts: "tokens"),
    "numbers as parts": dict(parts=lambda parts: [1, 2, 3]),
    "parts without names": dict(parts=lambda parts: [{"start": 1}]),
    "twice the tokens": dict(parts=lambda parts: [*parts, parts[0]]),
    "without documents": dict(parts=lambda parts: [p for p in parts if p["name"] != "documents"]),
    "no tokenizer's text": dict(spec=b"{}"),
    "a broken tokenizer": dict(spec=b"\xff\xfe{"),
    "info is a list": dict(info=[1, 2]),
    "info is a word": dict(info="x"),
    "figures are words": _info(characters="many"),
    "a negative figure": _info(duplicates=-1),
    "sources of nothing": _info(sources=3),
    "sources of numbers": _info(sources=[[1, 2]]),
    "sources too long": _info(sources=[["a", 1, 2]]),
    "lost is a number": _info(lost=3),
    "lost of nothing": _info(lost={}),
    "lost kinds": _info(lost=dict(characters=1, documents=1, compared=1, kinds=[3])),
    "groups beyond": _info(groups=[[0, 10**9, 1.0]]),
    "groups of words": _info(groups=[["a", "b", "c"]]),
    "groups of nothing": _info(groups=7),
    "an index elsewhere": _raw(_Header(index=dict(start=10**12, size=10, crc=0))),
    "an index of a word": _raw(_Header(index="x")),
    "no sums": _raw(_Header(checks=None)),
    "sums elsewhere": _raw(_Header(checks=dict(end=1, start=2, crc=0))),
    "a version in words": _raw(_Header(version="x")),
    "a size in words": _raw(_Header(size="x")),
    "no such compression": _raw(_Header(compress="lzma")),
    "another compression": _raw(_Header(compress="gzip")),
}


@pytest.fixture(scope="module")
def few(tok):
    return TokenDataset.from_texts(["The sea, the sea.", "A hill", "and rain again"], tok)


@pytest.mark.parametrize(
    "compress,kind", [o for o in product(COMPRESSION, FORGED) if o != ("gzip", "another compression")]
)
@pytest.mark.parametrize("large", [False, True])
def test_forged(few, tmp_path, monkeypatch, kind, compress, large):
    if large:
        monkeypatch.setattr(cache, "CHECK_AT_LOAD", 0)
    path = _forge(tmp_path / "a.tokens", few, compress, **FORGED[kind])
    with pytest.raises(CacheError):
        _use(path)


@pytest.mark.parametrize("compress", COMPRESSION)
@pytest.mark.parametrize("large", [False, True])
def test_a_true_one(few, tmp_path, monkeypatch, compress, large):
    "What the forger writes without a change is read."
    if large:
        monkeypatch.setattr(cache, "CHECK_AT_LOAD", 0)
    _use(_forge(tmp_path / "a.tokens", few, compress))
