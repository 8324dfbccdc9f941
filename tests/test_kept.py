"A codec is handed out again while its tokenizer is the same, and never after a change of it."

import json
import os

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from textgen.text import codec as room
from textgen.text.codec import SEP, Codec, _Tokenizers, kept_codec
from textgen.text.tokenizer import without_added
from textgen.text.corpus import bundled
from textgen.text.dataset import TokenDataset
from textgen.text.tokenizer import fingerprint, save_tokenizer, train_tokenizer


@pytest.fixture
def tok():
    return train_tokenizer(bundled("poems"), vocab_size=500)


def _other_model(tok):
    "Another vocabulary of the same size."
    other = train_tokenizer(bundled("news"), column="body", vocab_size=500)
    tok.backend_tokenizer.model = other.backend_tokenizer.model


def _longer(tok):
    "The same tokens, with the last two in each other's place."
    spec = json.loads(tok.backend_tokenizer.to_str())["model"]
    vocab = dict(spec["vocab"])
    a, b = sorted(vocab, key=vocab.__getitem__)[-2:]
    vocab[a], vocab[b] = vocab[b], vocab[a]
    tok.backend_tokenizer.model = models.BPE(vocab, [tuple(pair) for pair in spec["merges"]])


CHANGES = dict(
    token=lambda tok: tok.add_tokens("sea"),
    special=lambda tok: tok.add_special_tokens(dict(pad_token="<pad>")),
    role=lambda tok: setattr(tok, "pad_token", "a"),
    normalizer=lambda tok: setattr(tok.backend_tokenizer, "normalizer", normalizers.Lowercase()),
    split=lambda tok: setattr(tok.backend_tokenizer, "pre_tokenizer", pre_tokenizers.ByteLevel(use_regex=False)),
    model=_other_model,
    places=_longer,
    dropout=lambda tok: setattr(tok.backend_tokenizer.model, "dropout", 0.9),
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tokenizer_gets_another_codec(tok, change):
    first = kept_codec(tok)
    assert kept_codec(tok) is first
    CHANGES[change](tok)
    assert kept_codec(tok) is not first


def test_ids_after_a_change_are_those_of_the_new_model(tok):
    text = "The sea and the land were one."
    before = TokenDataset.from_texts([text], tok)
    _other_model(tok)
    after = TokenDataset.from_texts([text], tok)
    assert after[0].tolist() == Codec(tok).encode(text) != before[0].tolist()


def test_files_that_are_written_again(tok, tmp_path):
    folder = save_tokenizer(tok, tmp_path / "tok")
    first = kept_codec(folder)
    stamps = {f: f.stat() for f in folder.iterdir()}
    assert kept_codec(str(folder)) is first
    save_tokenizer(train_tokenizer(bundled("news"), column="body", vocab_size=500), folder)
    for f, s in stamps.items():
        os.utime(f, ns=(s.st_atime_ns, s.st_mtime_ns))
    again = kept_codec(folder)
    assert again is not first and again.fingerprint == fingerprint(Codec(folder).tokenizer) != first.fingerprint


def test_a_model_beside_it_names_another_end(tok, tmp_path):
    folder = save_tokenizer(tok, tmp_path / "tok")
    assert kept_codec(folder).ends == (0,)
    (folder / "config.json").write_text('{"eos_token_id": [7]}')
    assert kept_codec(folder).ends == (0, 7)


def test_no_more_than_a_few_are_kept(tok, tmp_path):
    for i in range(room._KEPT + 3):
        kept_codec(save_tokenizer(tok, tmp_path / f"tok{i}"))
    assert len(room._kept) == room._KEPT


def test_the_engine_comes_with_the_text(tok, monkeypatch):
    pytest.importorskip("gigatoken")
    monkeypatch.setattr(room, "_WORTH", 10_000)
    poems = SEP.join(bundled("poems").read_bytes()[:6000].split(b"\n"))
    codec = Codec(tok)
    names = []
    for _ in range(3):
        ids, starts = codec.encode_piece(poems)
        names.append(codec.current.name)
        want = _Tokenizers(codec)(poems)
        assert np.array_equal(ids, want[0]) and np.array_equal(starts, want[1])
    assert names == ["tokenizers", "gigatoken", "gigatoken"]


def test_the_json_for_the_engine_lacks_added_tokens_alone(tok):
    tok.add_tokens(["]", '"]', "sea"])
    fast = Codec(tok).fast
    want = json.loads(fast.to_str()) | dict(added_tokens=[])
    assert json.loads(without_added(fast)) == want
    padded = Tokenizer.from_str(fast.to_str())
    padded.enable_padding()
    assert json.loads(without_added(padded)) == json.loads(padded.to_str()) | dict(added_tokens=[])


def _plain_fingerprint(text):
    "As it is defined: the JSON of what decides, its keys in order."
    import hashlib

    spec = json.loads(text)
    kept = {k: spec.get(k) for k in ("normalizer", "pre_tokenizer", "model", "decoder", "added_tokens")}
    ordered = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(ordered.encode()).hexdigest()


ODD = ['"', *"\\/\x00\x01\x1f\x7f\b\f\n\r\t\u2028\ufeffé🍜\uffff"]


def test_merges_that_are_not_read_again_give_the_same_fingerprint(tok, given):
    pairs = [(a, b) for a in ODD for b in [*ODD, "merges", '"merges":[', "]}}"]]
    tokens = [*ODD, "merges", '"merges":[', "]}}", *(a + b for a, b in pairs)]
    vocab = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    hard = [Tokenizer(models.BPE(vocab, pairs)), Tokenizer(models.BPE(vocab, []))]
    hard += [Tokenizer(models.WordLevel(vocab, unk_token='"')), Tokenizer(models.Unigram([(t, -1e-7) for t in vocab]))]
    hard[0].normalizer = normalizers.Replace('"merges":[', "]}}")
    hard[1].add_tokens(['"merges":[', '"merges":[]'])
    for inner in [*hard, tok.backend_tokenizer]:
        assert fingerprint(inner.to_str()) == _plain_fingerprint(inner.to_str())
        assert fingerprint(inner.to_str(pretty=True)) == _plain_fingerprint(inner.to_str())
    gpt2 = Codec(given("gpt2"))
    assert gpt2.fingerprint == fingerprint(gpt2.tokenizer) == _plain_fingerprint(gpt2.spec)
