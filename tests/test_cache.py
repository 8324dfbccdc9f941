"No damaged token cache is ever read as if it were whole."

import hashlib
import numpy as np
import pytest
from hypothesis import given as texts_given, strategies as st
from textgen import CacheError, TokenDataset
from textgen.text import cache
from textgen.text.cache import COMPRESSION, HEADER
from textgen.text.codec import Codec

kinds = pytest.mark.parametrize("compress", COMPRESSION)


@pytest.fixture(scope="module")
def small():
    "Three documents with a tokenizer of next to nothing, so that every byte can be tried."
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tok = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2, "<e>": 3}, unk_token="c")), eos_token="<e>"
    )
    return TokenDataset.from_texts(["a", "b", "c"], tok)


def _refused(path):
    "Whether the file is refused, with `CacheError` and nothing else."
    try:
        TokenDataset.load(path)
    except CacheError:
        return True
    return False


def _refuses(path, raw):
    path.write_bytes(raw)
    return _refused(path)


@kinds
def test_every_flipped_byte(small, compress, tmp_path):
    "One bit, another, all of them, or the byte set to zero: in header, payloads, padding and checksums."
    path, missed = small.save(tmp_path / "a", compress), []
    good = path.read_bytes()
    with path.open("r+b", buffering=0) as f:

        def put(i, b):
            f.seek(i)
            f.write(bytes([b]))

        for i, g in enumerate(good):
            for b in {g ^ 1, g ^ 0x80, g ^ 0xFF, 0} - {g}:
                put(i, b)
                if not _refused(path):
                    missed.append((i, b))
            put(i, g)
    assert missed == [] and len(good) > HEADER and TokenDataset.load(path).check()


@kinds
def test_every_truncation(small, compress, tmp_path):
    path = small.save(tmp_path / "a", compress)
    with path.open("r+b") as f:
        read = [n for n in range(path.stat().st_size - 1, -1, -1) if f.truncate(n) == n and not _refused(path)]
    assert read == []


@kinds
def test_added_bytes(small, compress, tmp_path):
    good = small.save(tmp_path / "a", compress).read_bytes()
    assert all(_refuses(tmp_path / "x", good + more) for more in (b"\0", b"\xc0", good))


@kinds
def test_blocks_in_the_wrong_place(data, compress, tmp_path):
    "Two blocks swapped, a block of zeros, a block twice: what disks and downloads do."
    good = data.save(tmp_path / "a", compress).read_bytes()
    a, b, n = 5000, 9000, 512
    swapped = good[:a] + good[b : b + n] + good[a + n : b] + good[a : a + n] + good[b + n :]
    for raw in (swapped, good[:a] + bytes(n) + good[a + n :], good[:a] + good[a - n : a] + good[a + n :]):
        assert _refuses(tmp_path / "x", raw)


def _everything(path):
    data = TokenDataset.load(path)
    return (
        np.asarray(data.tokens[:]).tolist(),
        np.asarray(data.starts[:]).tolist(),
        data.info,
        data.encode("The sea"),
        data.decode(data[1]),
        data.fingerprint,
    )


@kinds
def test_large_caches_are_checked_where_they_are_read(data, compress, tmp_path, monkeypatch):
    """Above `CHECK_AT_LOAD` the sums are compared later: damage gives `CacheError` when it is met, or is not met at
    all; and `check` finds it."""
    monkeypatch.setattr(cache, "CHECK_AT_LOAD", 0)
    path = data.save(tmp_path / "a", compress)
    good, whole, rng = path.read_bytes(), _everything(path), np.random.default_rng(0)
    for i in [
        *rng.integers(HEADER, len(good), 50),
        *rng.integers(len(good) - 12_000, len(good), 150),
    ]:  # ids, and tokenizer
        path.write_bytes(good[:i] + bytes([good[i] ^ (1 if i % 2 else 0xFF)]) + good[i + 1 :])
        try:
            assert _everything(path) == whole
        except CacheError:
            pass
        with pytest.raises(CacheError):
            TokenDataset.load(path).check()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 9000,
        b"textgen tokens " * 1000,
        b"\x8dtextgen tokens" + b"\xc0" * 9000,
        b"PK\3\4" * 3000,
        b"poem\n" * 2000,
    ],
)
def test_other_files(raw, tmp_path):
    assert _refuses(tmp_path / "x", raw)


@texts_given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any"
    assert _refuses(path, raw) and _refuses(path, raw + b"\xc0" * HEADER)


def test_folders_and_missing_files(tmp_path):
    for p in (tmp_path, tmp_path / "none", tmp_path / "none" / "none", tmp_path / ("x" * 300)):
        with pytest.raises(CacheError, match="textgen encode"):
            TokenDataset.load(p)


# ---- what goes in comes out
@kinds
@texts_given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_any_texts_come_back(tok, tmp_path_factory, compress, texts):
    path = tmp_path_factory.getbasetemp() / f"{compress}.tokens"
    back = TokenDataset.load(TokenDataset.from_texts(texts, tok).save(path, compress))
    assert [back.decode(d) for d in map(back.__getitem__, range(len(back)))] == texts
    assert (back.tokens == tok.eos_token_id).sum() == len(texts) and back.tokens[-1] == tok.eos_token_id


@texts_given(texts=st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=20))
def test_dedupe_keeps_the_first_of_each(tok, texts):
    "In order, and the count is that of what came again."
    data = TokenDataset.from_texts(texts, tok, dedupe=True)
    assert [data.decode(data[i]) for i in range(len(data))] == list(dict.fromkeys(texts))
    assert data.info["duplicates"] == len(texts) - len(set(texts))


@kinds
def test_saving_again_gives_the_same_bytes(data, compress, tmp_path):
    "A cache is a function of text and tokenizer; loading and saving does not change it."
    a = data.save(tmp_path / "a", compress)
    assert TokenDataset.load(a).save(tmp_path / "b", compress).read_bytes() == a.read_bytes()


def test_saving_over_itself(data, tmp_path):
    "The mapped file may be replaced while it is read."
    path = data.save(tmp_path / "a", None)
    mapped = TokenDataset.load(path)
    mapped.save(path, "zstd")
    assert (mapped.tokens == data.tokens).all() and (TokenDataset.load(path).tokens == data.tokens).all()


@pytest.mark.parametrize("text", [3, None, b"abc", ["a"]], ids=repr)
def test_only_text(tok, text):
    from textgen import TextGenError

    with pytest.raises(TextGenError, match=type(text).__name__):
        TokenDataset.from_texts(["a", text], tok)


def test_surrogates(tok):
    from textgen import TextGenError

    with pytest.raises(TextGenError, match="surrogate"):
        TokenDataset.from_texts(["a", "b\ud800"], tok)


# ---- several datasets as one
@texts_given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), draw=st.data())
def test_merged_ids_read_like_one_array(tok, sizes, draw):
    "Slices, single ids, lists of places, masks: what numpy would say."
    parts = [TokenDataset.from_texts([f"part {k} of text {i}" for i in range(n)], tok) for k, n in enumerate(sizes)]
    merged, whole = TokenDataset.merge(parts), np.concatenate([np.asarray(p.tokens) for p in parts])
    n = len(whole)
    place = st.integers(-n, n - 1)
    a, b, step = (
        draw.draw(st.integers(-n - 2, n + 2)),
        draw.draw(st.integers(-n - 2, n + 2)),
        draw.draw(st.sampled_from([None, 1, 2, -1, -3])),
    )
    many = draw.draw(st.lists(st.lists(place, min_size=2, max_size=2), min_size=1, max_size=5))
    assert (
        np.asarray(merged.tokens[a:b:step]).tolist() == whole[a:b:step].tolist()
        and merged.tokens[a % n] == whole[a % n]
    )
    assert np.asarray(merged.tokens[np.array(many)]).tolist() == whole[np.array(many)].tolist()
    assert [merged.decode(merged[i]) for i in range(len(merged))] == [
        p.decode(p[i]) for p in parts for i in range(len(p))
    ]


@kinds
def test_merged_and_saved(data, small, tok, compress, tmp_path):
    "Weights too."
    a, b = TokenDataset.from_texts(["a", "b"], tok), TokenDataset.from_texts(["c d"], tok)
    merged = TokenDataset.merge([a, b], weights=[np.int64(1), 0.5])
    back = TokenDataset.load(merged.save(tmp_path / "m", compress))
    assert [back.decode(back[i]) for i in range(3)] == ["a", "b", "c d"] and back.info == merged.info
    with pytest.raises(CacheError, match="encoded with tokenizer"):
        TokenDataset.merge([a, small])


@pytest.mark.parametrize(
    "weights", [[1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")], [1, "a"], "eqal", 3], ids=repr
)
def test_weights_that_are_none(data, weights):
    with pytest.raises(CacheError, match="weights"):
        TokenDataset.merge([data, data], weights)


@pytest.mark.parametrize("sets", [[], [3], ["a.tokens"], [None]], ids=repr)
def test_only_datasets_are_merged(data, sets):
    with pytest.raises(CacheError):
        TokenDataset.merge([data, *sets] if sets else [])


def test_merging_one_by_mistake(data):
    "`merge(data)` for `merge([data])`."
    with pytest.raises(CacheError):
        TokenDataset.merge(data)


@texts_given(n=st.integers(2, 40), fraction=st.floats(1e-6, 1 - 1e-6), seed=st.integers(0, 2**64 - 1))
def test_a_split_loses_nothing(tok, n, fraction, seed):
    "Every document is on one side, in order, and the same seed splits the same way."
    data = TokenDataset.from_texts([f"text {i}" for i in range(n)], tok)
    rest, held = ([x.decode(x[i]) for i in range(len(x))] for x in data.split(fraction, seed))
    assert sorted(rest + held, key=lambda t: int(t[5:])) == [f"text {i}" for i in range(n)] and rest and held
    assert [sorted(o, key=lambda t: int(t[5:])) for o in (rest, held)] == [rest, held]
    assert len(data.split(fraction, seed)[1]) == len(held)


@pytest.mark.parametrize(
    "fraction,seed",
    [(0, 0), (1, 0), (-0.1, 0), (float("nan"), 0), ("a", 0), (None, 0), (0.1, -1), (0.1, 2**64), (0.1, "a")],
    ids=repr,
)
def test_no_such_split(data, fraction, seed):
    with pytest.raises(CacheError):
        data.split(fraction, seed)


# ---- large vocabularies
def _large(n, start=0):
    "A byte-level BPE with `n` tokens, the last of which are whole words; ids above the bytes begin at `start`."
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {f"w{i}": i + start for i in range(len(vocab), n - 1)} | {"<e>": n - 1 + start}
    tok = Tokenizer(models.BPE(vocab, [], ignore_merges=True))
    tok.pre_tokenizer, tok.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        decoders.ByteLevel(),
    )
    tok.add_special_tokens(["<e>"])
    return PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<e>", bos_token="<e>")


@pytest.mark.parametrize("size,dtype", [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_above_two_bytes(size, dtype, tmp_path):
    tok, last = _large(size), f"w{size - 2}"
    back = TokenDataset.load(TokenDataset.from_texts([last, "Zoë"], tok).save(tmp_path / "a"))
    assert back.tokens.dtype == dtype and back.tokens[0] == size - 2 and back.tokens[-1] == size - 1
    assert [back.decode(back[0]), back.decode(back[1])] == [last, "Zoë"]


def test_ids_with_gaps(tmp_path):
    "Few tokens, but the highest id is above two bytes."
    tok = _large(300, start=70_000)
    back = TokenDataset.load(TokenDataset.from_texts(["w298"], tok).save(tmp_path / "a"))
    assert back.tokens.tolist() == [70_298, 70_299]


# ---- many processes
def _read(path, pipe):
    "In another process: what the mapped tokens are."
    mapped = TokenDataset.load(path)
    pipe.send((mapped.tokens.flags.owndata, hashlib.sha256(mapped.tokens).hexdigest()))
    pipe.recv()


def test_two_processes_read_one_cache(data, tmp_path, spare):
    "Both hold the same mapped file at once, and nobody can write into it."
    path, pipes = data.save(tmp_path / "a", None), [spare.Pipe() for _ in range(2)]
    readers = [spare.Process(target=_read, args=(path, theirs)) for _, theirs in pipes]
    for r in readers:
        r.start()
    assert [ours.recv() for ours, _ in pipes] == [
        (False, hashlib.sha256(np.ascontiguousarray(data.tokens)).hexdigest())
    ] * 2
    for (ours, _), r in zip(pipes, readers):
        ours.send("enough")
        r.join()
    assert [r.exitcode for r in readers] == [0, 0]
    with pytest.raises(ValueError):
        TokenDataset.load(path).tokens[0] = 1


def test_the_codec_is_not_needed_to_read_ids(small, tmp_path):
    "Any MessagePack reader gets at the ids: the first *bin* after the header."
    import msgpack

    path = small.save(tmp_path / "a", None)
    found = [o for o in msgpack.Unpacker(path.open("rb"), max_buffer_size=0) if o is not None]
    assert (
        found[0]["format"] == "textgen tokens"
        and np.frombuffer(found[2], "<u2").tolist() == [0, 3, 1, 3, 2, 3] == small.tokens.tolist()
    )
    assert Codec(small.tokenizer).fingerprint == found[0]["tokenizer"]


def test_texts_that_a_lossy_tokenizer_makes_equal_are_no_duplicates():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"the": 0, "sea": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    lossy = PreTrainedTokenizerFast(tokenizer_object=words)
    texts = ["the sea", "the  sea", "the sea", "sea"]
    assert TokenDataset.from_texts(texts, lossy).info["duplicates"] == 1
    assert TokenDataset.from_texts(texts, lossy, dedupe=True).info["duplicates"] == 1
