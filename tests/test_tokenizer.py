"Text in is text out, for every text there is."

import json
import random
import shutil
from contextlib import nullcontext
from functools import cache
import pytest
from hypothesis import example, given as texts_given, strategies as st
from conftest import DATA
from material import write_gpt2
from textgen import TextGenError, TokenDataset, load_tokenizer, train_tokenizer
from textgen.text import corpus, tokenizer
from textgen.text.codec import Codec
from textgen.text.tokenizer import END, fingerprint, save_tokenizer, tokenizer_from_json, tokenizer_to_json

HARD = [
    "",
    " ",
    "\n",
    "\t \n\n  ",
    "\r\n",
    "a\rb",
    "\0",
    "\x7f\x1b[31m",
    "\ufeffa",
    "\u200b\u00a0\u2028\u2029\x85",
    "ﬁ e\u0301 é Å Å",
    "İıſß",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪",
    "\u202eabc",
    "\ufffd",
    "\ufffd\ufffd🍜",
    "\uffff\U0010ffff\ue000",
    "Ġ Ċ ĉ Ã © ▁ ##a",
    "<0x41> <0xzz>",
    "<unk></s>[PAD]<|im_end|>",
    END,
    END * 3,
    f"a{END}b {END}\n",
    "<|endoftext",
    "|>",
]


@pytest.fixture(scope="module")
def gpt2(given):
    return given("gpt2/vocab.json").parent


@pytest.fixture(scope="module")
def gpt2_codec(gpt2):
    return Codec(gpt2)


@pytest.fixture(scope="module")
def unigram():
    from textgen.text.corpus import bundled

    return train_tokenizer(bundled("poems"), vocab_size=600, kind="unigram")


@pytest.fixture(scope="module")
def narrow():
    "A tokenizer that has seen nothing but a's: every other text is bytes to it."
    return train_tokenizer(texts=["a" * 50], vocab_size=300)


@pytest.fixture(scope="module", params=["tok", "unigram", "narrow"])
def own(request):
    return Codec(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def naughty(given):
    return [line for line in given("naughty_strings.txt").read_text(encoding="utf-8").split("\n") if line]


@cache
def _mixed(n):
    "About `n` bytes of text from every plane of Unicode, without surrogates, always the same."
    x, out, size = 1, [], 0
    while size < n:
        x = x * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
        c = (x >> 20) % (0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000)[(x >> 61) % 6]
        c = chr(c) if not 0xD800 <= c < 0xE000 else "\n"
        out.append(c)
        size += len(c.encode())
    return "".join(out)


def _in_bulk(codec, texts):
    "The ids of many texts, as a dataset holds them."
    data = TokenDataset.from_texts(texts, codec.tokenizer)
    return [data[i].tolist() for i in range(len(data))]


# ---- GPT-2's own vocabulary
def test_hello_world(tmp_path):
    "The ids are counted by hand: 256 bytes, then one token a merge, in order, then the end."
    merges = [
        ("Ġ", "w"),
        ("o", "r"),
        ("l", "d"),
        ("Ġw", "or"),
        ("Ġwor", "ld"),
        ("H", "e"),
        ("l", "l"),
        ("He", "ll"),
        ("Hell", "o"),
    ]
    folder = write_gpt2(tmp_path / "gpt2", merges)
    for source in (str(folder), (folder / "vocab.json", folder / "merges.txt")):
        assert Codec(load_tokenizer(source)).encode("Hello world!") == [264, 260, 0]
    assert load_tokenizer(folder).eos_token_id == 265
    if (DATA / "gpt2").exists():
        assert Codec(DATA / "gpt2").encode("Hello world") == [15496, 995]  # GPT-2's own vocabulary


def test_naughty_strings(gpt2_codec, naughty):
    assert len(naughty) >= 500 and [s for s in naughty if gpt2_codec.decode(gpt2_codec.encode(s)) != s] == []


def test_naughty_strings_in_a_cache(gpt2, naughty):
    data = TokenDataset.from_texts(naughty, load_tokenizer(gpt2))
    assert [data.decode(data[i]) for i in range(len(data))] == [s for s in naughty if s]


def test_a_megabyte_of_mixed_scripts(gpt2_codec):
    text = _mixed(1_000_000)
    assert gpt2_codec.decode(gpt2_codec.encode(text)) == text and len(set(text)) > 50_000


def test_same_ids_as_plain_tokenizers(gpt2, gpt2_codec, naughty):
    "The reference is made here by hand, from the tokenizers library alone."
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    plain = Tokenizer(models.BPE.from_file(str(gpt2 / "vocab.json"), str(gpt2 / "merges.txt")))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    texts = [*naughty, *HARD, _mixed(200_000)]
    ref = [e.ids for e in plain.encode_batch(texts)]
    assert [gpt2_codec.encode(t) for t in texts] == ref
    assert _in_bulk(gpt2_codec, texts) == [ids for t, ids in zip(texts, ref) if t]


# ---- our own
@texts_given(st.text())
def test_any_text(own, text):
    assert own.decode(own.encode(text)) == text


@pytest.mark.parametrize("text", HARD, ids=ascii)
def test_hard_text(own, text):
    assert own.decode(own.encode(text)) == text


def test_mixed_scripts(own):
    text = _mixed(100_000)
    assert own.decode(own.encode(text)) == text


def test_naughty_strings_with_our_own(own, naughty):
    assert [s for s in naughty if own.decode(own.encode(s)) != s] == []


@texts_given(st.lists(st.text(min_size=1), min_size=1))
def test_many_at_once_are_encoded_like_each_alone(own, texts):
    assert _in_bulk(own, texts) == [own.encode(t) for t in texts]


def _random_texts(n):
    "Short texts of characters that tokenizers stumble over, always the same."
    rng = random.Random(0)
    pool = (
        [*map(chr, range(128))] * 3
        + [chr(c) for c in range(0x80, 0x2100)]
        + [*map(chr, range(0x300, 0x370))] * 2
        + list("'sStTdDmMrRvVlL \u200d\ufeff\u3000\x85\u2028🍜\U0010ffff") * 20
    )
    return ["".join(rng.choices(pool, k=rng.randint(1, 60))) for _ in range(n)]


def test_random_texts_at_once(own):
    texts = _random_texts(4000)
    assert _in_bulk(own, texts) == [own.encode(t) for t in texts]


def test_random_texts_at_once_with_gpt2(gpt2_codec):
    test_random_texts_at_once(gpt2_codec)


def _as_a_file(codec, path, n):
    "A file of `n` times the same hard text, and its ids as a dataset holds them, and as they are."
    text = (_mixed(20_000) + "The sea, the sea.\n\n  Oh dear " + END + " \n" * 9 + "a" * 3000 + " b" * 3000) * n
    path.write_text(text, encoding="utf-8", newline="")
    data = TokenDataset.from_files(path, codec.tokenizer)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert len(data) == 1 and data.decode(data[0]) == text
    return data[0].tolist(), codec.encode(text)


def test_a_file_is_encoded_like_its_text(own, tmp_path, monkeypatch):
    "Read in chunks and encoded in pieces, on all cores: the ids are those of the whole text."
    monkeypatch.setattr(corpus, "PIECE_BYTES", 50_000)
    ids, ref = _as_a_file(own, tmp_path / "a.txt", 10)
    assert ids == ref


@pytest.mark.slow
def test_a_long_file_is_encoded_like_its_text(own, tmp_path):
    "Longer than any chunk."
    ids, ref = _as_a_file(own, tmp_path / "a.txt", 800)
    assert (tmp_path / "a.txt").stat().st_size > 17_000_000 and ids == ref


@texts_given(st.text(), st.text())
def test_end_cannot_be_forged(own, before, after):
    ids = own.encode(before + END + after)
    assert own.end is not None and own.end not in ids and own.decode(ids) == before + END + after
    assert own.decode([own.end, *own.encode(before), own.end]) == before


def test_end_cannot_be_forged_with_gpt2(gpt2_codec):
    assert all(50256 not in gpt2_codec.encode(t) and gpt2_codec.decode(gpt2_codec.encode(t)) == t for t in HARD)


def test_end_cannot_be_forged_by_training_on_it():
    "The thirteen characters, learned as often as one likes, are still text."
    for kind in ("bpe", "unigram"):
        c = Codec(train_tokenizer(texts=[END * 200, f"a {END} b" * 200], vocab_size=400, kind=kind))
        assert c.end not in c.encode(END) and c.decode(c.encode(END)) == END


@texts_given(st.text(min_size=1), st.data())
@example("\ufffd\ufffd🍜", None).via("two signs that mean themselves, then a character of four bytes")
def test_unfinished_characters(own, text, data):
    "Of the first k tokens all complete characters are shown, and no more."
    ids, alphabet = own.encode(text), own.tokenizer.convert_ids_to_tokens
    for k in range(len(ids) + 1) if data is None else [data.draw(st.integers(0, len(ids)))]:
        n = sum(len(t) for t in alphabet(ids[:k]))  # byte-level: one sign, one byte
        assert own.decode(ids[:k], partial=True) == text.encode()[:n].decode("utf-8", "ignore"), (k, n)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("texts", [[], [""], ["a"], [" "], ["\0"], ["ab" * 3000]], ids=repr)
def test_next_to_nothing_to_learn_from(kind, texts):
    "A tokenizer of the bytes alone, or one clear error."
    try:
        c = Codec(train_tokenizer(texts=texts, kind=kind))
    except TextGenError:
        return
    assert len(c) >= 257 and c.decode(c.encode("Zoë 🍜")) == "Zoë 🍜"


@pytest.mark.parametrize("texts", [[3], [None], [b"abc"], ["a\ud800"]], ids=repr)
def test_only_text_is_learned_from(texts):
    with pytest.raises(TextGenError):
        train_tokenizer(texts=texts)


def test_training_again_gives_the_same(tok):
    from textgen.text.corpus import bundled

    assert fingerprint(train_tokenizer(bundled("poems"), vocab_size=400)) == fingerprint(tok)


# ---- much text
def _learned(texts, size):
    "What `tokenizers` learns."
    return fingerprint(tokenizer._wrap(tokenizer._from_texts(texts, size, "bpe")))


@pytest.fixture
def much(monkeypatch):
    "As if a little were much; returns the poems, and a list of whether gigatoken was believed."
    pytest.importorskip("gigatoken")
    from textgen.text.corpus import bundled, documents

    believed, big = [], tokenizer._big_bpe

    def seen(*args):
        believed.append(big(*args))
        return believed[-1]

    monkeypatch.setattr(tokenizer, "_BIG", 50_000)
    monkeypatch.setattr(tokenizer, "_big_bpe", seen)
    return [d.text for d in documents(bundled("poems"), column="text")], believed


def test_much_text(much, capfd):
    texts, believed = much
    assert (
        fingerprint(train_tokenizer(texts=texts, vocab_size=2000)) == _learned(texts, 2000) and believed[0] is not None
    )
    assert capfd.readouterr() == ("", "")


def test_much_text_of_every_kind(much, given):
    "Real text in documents that are large, or empty, and hard ones between."
    from textgen.text.corpus import documents

    texts, believed = much
    plays = given("tinyshakespeare.txt").read_text(encoding="utf-8")
    texts = [
        *texts,
        "",
        plays,
        "",
        "",
        *HARD,
        _mixed(100_000),
        *(d.text for d in documents(given("poems.jsonl"), column="text")),
    ]
    assert (
        sum(map(len, texts)) > tokenizer._BIG
        and fingerprint(train_tokenizer(texts=texts, vocab_size=4000)) == _learned(texts, 4000)
        and believed[0] is not None
    )


def test_not_much_in_much_text(much):
    "Nothing is left to merge: gigatoken would go on."
    _, believed = much
    texts = ["ab cd " * 200] * 100
    assert fingerprint(train_tokenizer(texts=texts, vocab_size=600)) == _learned(texts, 600) and believed == [None]


@pytest.mark.parametrize(
    "merges", [lambda *_: [("a", "b")], lambda *_: [("Ġ", "t")] * 143, None], ids=["other", "others", "not there"]
)
def test_gigatoken_that_is_wrong_is_not_used(much, monkeypatch, merges):
    texts, believed = much

    def gone(*_):
        raise FileNotFoundError("no such program")

    monkeypatch.setattr(tokenizer, "_merges", merges or gone)
    assert fingerprint(train_tokenizer(texts=texts, vocab_size=400)) == _learned(texts, 400) and believed == [None]


def test_no_room_for_a_copy(much, monkeypatch):
    texts, _ = much
    monkeypatch.setattr(tokenizer.tempfile, "TemporaryDirectory", lambda: nullcontext("/dev/full"))
    with pytest.raises(TextGenError, match="TMPDIR"):
        train_tokenizer(texts=texts)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentinels(much, kind):
    texts, _ = much
    c = Codec(
        train_tokenizer(texts=texts[:20] if kind == "unigram" else texts, vocab_size=400, kind=kind, sentinels=10)
    )
    names = [c.tokenizer.convert_ids_to_tokens(i) for i in c.sentinels]
    assert names == [f"<extra_id_{i}>" for i in range(10)] and len(c) <= 400 and c.end not in c.sentinels
    assert not {*c.encode("".join(names))} & {*c.sentinels} and c.decode([*c.encode("a"), *c.sentinels]) == "a"
    assert (
        c.tokenizer("x <extra_id_3>").input_ids[-1] == c.sentinels[3]
        and Codec(tokenizer_from_json(tokenizer_to_json(c.tokenizer))).sentinels == c.sentinels
    )


@pytest.mark.parametrize("n", [-1, 144, 1.5, True, "3"], ids=repr)
def test_sentinels_must_fit(n):
    with pytest.raises(TextGenError, match="sentinels"):
        train_tokenizer(texts=["a"], vocab_size=400, sentinels=n)


# ---- on its way through files and other libraries
@pytest.fixture(scope="module", params=["tok", "unigram"])
def saved(request, tmp_path_factory):
    "A tokenizer and the folder it was saved to."
    tok = request.getfixturevalue(request.param)
    return Codec(tok), save_tokenizer(tok, tmp_path_factory.mktemp("saved") / "t")


def test_through_plain_transformers(saved):
    "Same ids, same text; END as text only where one says so, as everywhere in transformers."
    from transformers import AutoTokenizer

    c, folder = saved
    plain = AutoTokenizer.from_pretrained(folder)
    for t in [*HARD, _mixed(20_000)]:
        ids = plain(t, split_special_tokens=True).input_ids
        assert ids == c.encode(t) and plain.decode(ids) == t
    assert plain(END).input_ids == [c.end] and (plain.eos_token, plain.bos_token, len(plain)) == (END, END, len(c))


def test_through_every_form(saved):
    c, folder = saved
    forms = [
        load_tokenizer(folder),
        load_tokenizer(folder / "tokenizer.json"),
        load_tokenizer(str(folder)),
        tokenizer_from_json(tokenizer_to_json(c.tokenizer)),
        TokenDataset.load(TokenDataset.from_texts(["a"], c.tokenizer).save(folder.parent / "a.tokens")).tokenizer,
    ]
    for o in map(Codec, forms):
        assert (o.fingerprint, o.end, o.begin, len(o), [o.encode(t) for t in HARD]) == (
            c.fingerprint,
            c.end,
            c.begin,
            len(c),
            [c.encode(t) for t in HARD],
        )


def test_fingerprint_is_what_decides_ids(saved, tmp_path):
    "Other key order, padding or truncation: the same; another merge or token: another."
    c, folder = saved
    spec = json.loads((folder / "tokenizer.json").read_text())

    def of(spec):
        (tmp_path / "t.json").write_text(json.dumps(spec))
        return Codec(tmp_path / "t.json")

    assert of(dict(reversed(spec.items()))).fingerprint == c.fingerprint
    padded = of(spec | dict(truncation=dict(direction="Right", max_length=3, strategy="LongestFirst", stride=0)))
    assert padded.fingerprint == c.fingerprint and padded.encode("a longer text than that") == c.encode(
        "a longer text than that"
    )
    spec["normalizer"] = dict(type="Lowercase")
    assert of(spec).fingerprint != c.fingerprint


def _old(folder):
    "What transformers 4 left beside a tokenizer; transformers 5 still believes it."
    (folder / "special_tokens_map.json").write_text('{"eos_token": "zzz", "bos_token": "zzz"}')
    (folder / "added_tokens.json").write_text('{"zzz": 400}')
    (folder / "notes.txt").write_text("mine")


def test_a_tokenizer_is_replaced_whole(tok, unigram, tmp_path):
    "Nothing of the one before changes the new one; other files stay."
    save_tokenizer(unigram, tmp_path / "t")
    _old(tmp_path / "t")
    save_tokenizer(tok, tmp_path / "t")
    back = Codec(tmp_path / "t")
    assert (back.fingerprint, len(back), back.tokenizer.eos_token) == (fingerprint(tok), len(tok), END) and (
        tmp_path / "t" / "notes.txt"
    ).exists()


def test_the_tokenizer_of_a_model_is_replaced_whole(tg, tiny, unigram, tmp_path):
    from textgen import TextGen

    tiny(unigram).save(tmp_path / "m")
    _old(tmp_path / "m")
    tg.save(tmp_path / "m")
    back = TextGen(tmp_path / "m", device="cpu")
    assert (back.codec.fingerprint, back.tokenizer.eos_token) == (tg.codec.fingerprint, END) and (
        tmp_path / "m" / "notes.txt"
    ).exists()


def test_the_revision_is_that_of_the_tokenizer_too(hub, model_folder):
    "A Hub model of an earlier revision comes with the tokenizer of that revision."
    from textgen import TextGen

    repo = hub / "models--me--m"
    for name, sha in (("main", "a" * 40), ("old", "b" * 40)):
        shutil.copytree(model_folder, repo / "snapshots" / sha)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / name).write_text(sha)
    file = repo / "snapshots" / ("b" * 40) / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(normalizer=dict(type="Lowercase"))))
    found = [TextGen("me/m", revision=r, device="cpu").codec.fingerprint for r in (None, "old")]
    assert found == [Codec(model_folder).fingerprint, Codec(file.parent).fingerprint] and found[0] != found[1]
