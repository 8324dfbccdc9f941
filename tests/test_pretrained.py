"""Tokenizer folders of many families are read as `AutoTokenizer` reads them, or refused; a model's further ends are
known."""

import json
import random
import shutil
import time
import pytest
from textgen import TokenDataset, load_tokenizer, train_tokenizer
from textgen.core import TokenizerError
from textgen.text.codec import Codec
from textgen.text.tokenizer import PROBE, save_tokenizer
from families import FAMILIES, write_family

MODEL = dict(  # the `model_type` that a family's config.json names
    gpt2="gpt2",
    roberta="roberta",
    llama2="llama",
    tinyllama="llama",
    phi3="phi3",
    mistral="mistral",
    gemma="gemma",
    llama3="llama",
    qwen2="qwen2",
    phi="phi",
    gpt_neox="gpt_neox",
    deepseek="deepseek_v3",
    bloom="bloom",
    falcon="falcon",
    smollm="llama",
    sentencepiece_bpe="llama",
    t5="t5",
    xlmr="xlm-roberta",
    albert="albert",
)
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
TEXTS = ["a", " a\n b", "The sea, the sea!\n\n  two", PROBE]


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    "A function that gives the folder of a family, written once."
    root, made = tmp_path_factory.mktemp("families"), {}

    def folder(name):
        if name not in made:
            made[name] = write_family(name, root / name)
        return made[name]

    return folder


def _laid_out(folder, target, layout):
    "The same tokenizer, laid out in another way: which files a folder holds."
    target.mkdir()
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if "json" in layout:
        shutil.copy(folder / "tokenizer.json", target)
    else:
        model = spec["model"]
        merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"]) + "\n"
        (target / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
        (target / "merges.txt").write_text(merges, encoding="utf-8")
    if "settings" in layout:
        shutil.copy(folder / "tokenizer_config.json", target)
    if "config" in layout:
        (target / "config.json").write_text(json.dumps(dict(model_type=MODEL[folder.name])))
    if "added" in layout:
        vocab = spec["model"]["vocab"]
        others = [o["content"] for o in spec["added_tokens"] if o["content"] not in vocab]
        added = {t: len(vocab) + i for i, t in enumerate([*others, "<|mine|>"])}
        (target / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    return target


def _plain(folder):
    "What plain transformers reads; None where it cannot."
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception:
        return None


def _facts(tok):
    "Ids with and without what is put around a text, special tokens, added tokens, size."
    texts = [*TEXTS, "".join(f"{n} x{n}" for n in tok.get_added_vocab())]
    return (
        tok(texts).input_ids,
        tok(texts, add_special_tokens=False).input_ids,
        len(tok),
        tok.get_added_vocab(),
        {role: getattr(tok, role) for role in ROLES},
    )


PAIRS = [n for n in FAMILIES if n not in ("t5", "xlmr", "albert")]  # a BPE can be laid out in two files
LAYOUTS = [("json", "settings"), ("json", "config"), ("json", "settings", "config")]
PAIR_LAYOUTS = [("settings",), ("config",), ("settings", "config"), ("settings", "added")]


@pytest.mark.parametrize("name,layout", [(n, o) for n in FAMILIES for o in LAYOUTS])
def test_a_tokenizer_json_is_read_as_transformers_reads_it(families, tmp_path, name, layout):
    folder = _laid_out(families(name), tmp_path / "t", layout)
    assert _facts(load_tokenizer(folder)) == _facts(_plain(folder))


@pytest.mark.parametrize("name,layout", [(n, o) for n in PAIRS for o in PAIR_LAYOUTS])
def test_two_files_are_read_as_transformers_reads_them_or_refused(families, tmp_path, name, layout):
    folder = _laid_out(families(name), tmp_path / "t", layout)
    plain = _plain(folder)
    if plain is not None:
        assert _facts(load_tokenizer(folder)) == _facts(plain)
    else:
        with pytest.raises(TokenizerError, match="transformers cannot build this tokenizer .*save_pretrained"):
            load_tokenizer(folder)


def test_two_files_alone_keep_added_and_special_tokens(families, tmp_path):
    "Without settings transformers reads nothing; the two older files beside them count."
    folder = _laid_out(families("gpt2"), tmp_path / "t", ("added",))
    (folder / "special_tokens_map.json").write_text(
        json.dumps(dict(eos_token="<|mine|>", pad_token={"content": "<pad>"}))
    )
    codec = Codec(folder)
    assert codec.end == codec.tokenizer.convert_tokens_to_ids("<|mine|>") == 500 and codec.pad is not None
    (folder / "added_tokens.json").write_text('{"<|mine|>": 7000}')
    with pytest.raises(TokenizerError, match="added_tokens.json: its ids do not follow"):
        load_tokenizer(folder)


def _write_pieces(path):
    "A SentencePiece model of a few pieces, with XLM-R's control pieces."
    import struct

    def field(n, value):
        return bytes([n << 3 | 2, len(value)]) + value

    def piece(text, kind):
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", -1.0) + b"\x18" + bytes([kind]))

    pieces = [piece(*o) for o in (("<unk>", 2), ("<s>", 3), ("</s>", 3), ("▁", 1), ("▁a", 1), ("b", 1))]
    path.write_bytes(b"".join(pieces) + field(2, b"\x18\x01"))


def test_a_sentencepiece_file_of_another_family_is_not_guessed(tmp_path):
    "XLM-R's ids are not those of its file; transformers builds it with two more packages, or it is refused."
    _write_pieces(tmp_path / "sentencepiece.bpe.model")
    assert load_tokenizer(tmp_path).tokenize("a") == ["▁a"]
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    plain = _plain(tmp_path)
    if plain is not None:
        assert _facts(load_tokenizer(tmp_path)) == _facts(plain)
    else:
        with pytest.raises(TokenizerError, match="cannot build a tokenizer of xlm-roberta"):
            load_tokenizer(tmp_path)


# ---- ends
@pytest.fixture
def model(tok, tmp_path):
    "A function that gives a tokenizer's folder with a model's settings beside it."

    def folder(tokenizer=tok, **files):
        save_tokenizer(tokenizer, tmp_path / "m")
        for name, settings in files.items():
            (tmp_path / "m" / f"{name}.json").write_text(json.dumps(settings))
        return tmp_path / "m"

    return folder


def test_all_ends_of_a_folder(model, tok):
    folder = model(config=dict(eos_token_id=[399, 0]), generation_config=dict(eos_token_id=[398, 399, 70_000]))
    codec = Codec(folder)
    assert codec.ends == (0, 399, 398) and codec.end == tok.eos_token_id == 0
    assert Codec(tok).ends == (0,) and Codec(tok, ends=[5, 0]).ends == (0, 5)


@pytest.mark.parametrize("named,ends", [(7, (7,)), ([7, 8], (7, 8)), (None, ()), (70_000, ())], ids=repr)
def test_a_tokenizer_without_an_end_takes_the_configs(model, tok, tmp_path, named, ends):
    from transformers import PreTrainedTokenizerFast

    without = PreTrainedTokenizerFast(tokenizer_object=tok.backend_tokenizer)
    codec = Codec(model(without, config=dict(eos_token_id=named)))
    assert codec.ends == ends and codec.end == (ends[0] if ends else None)
    data = TokenDataset.from_texts(["a", "b"], codec, save=tmp_path / "a.tokens")
    again = TokenDataset.load(tmp_path / "a.tokens")
    assert data.end == again.end == again.codec.end == codec.end
    assert len(data.tokens) == 2 + 2 * len(ends[:1]) and again[1].tolist() == codec.encode("b")


# ---- long words
@pytest.mark.parametrize("kind,n", [("bpe", 400_000), ("unigram", 50_000)])
@pytest.mark.parametrize(
    "alphabet", ["acgt", "\n", *(pytest.param(o, marks=pytest.mark.slow) for o in ("0123456789", "a"))], ids=ascii
)
def test_a_very_long_word_is_learned_from(kind, n, alphabet):
    "It takes a second or two; BPE that joins it as one word takes many minutes."
    word = "".join(random.Random(0).choices(alphabet, k=n))
    start = time.process_time()
    codec = Codec(train_tokenizer(texts=[word], vocab_size=600, kind=kind))
    assert time.process_time() - start < 60
    assert codec.decode(codec.encode(word[:1000])) == word[:1000] and len(codec.encode(word[:1000])) < 600


def test_ordinary_text_is_learned_from_as_before(tok):
    from textgen.text.tokenizer import _cut_words
    from textgen.text.corpus import bundled, documents

    for d in documents(bundled("poems"), column="text"):
        assert list(_cut_words(d.text)) == [d.text]


# ---- a description goes nowhere
def test_a_description_does_not_ask_for_a_tokenizer_that_is_elsewhere(tok, tmp_path, monkeypatch):
    from textgen.text import pretrained

    save_tokenizer(tok, tmp_path / "tok")
    TokenDataset.from_texts(["few words"], tmp_path / "tok", save=tmp_path / "a.tokens")
    shutil.rmtree(tmp_path / "tok")
    asked = []
    real = pretrained._from_hub
    monkeypatch.setattr(pretrained, "_from_hub", lambda name, **kw: (asked.append(kw), real(name, **kw))[1])
    data = TokenDataset.load(tmp_path / "a.tokens")
    assert data.describe()["characters_lost"] == 0 and not asked
    del data.info["lost"]  # as in a cache made before losses were counted
    assert data.describe()["characters_lost"] == 0  # the cache carries the tokenizer of a folder
    assert not asked
