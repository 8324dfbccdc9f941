"Text survives tokenizers that lose it: T5's and AlBERT's, made lossless in their tokenizer.json."
import json
import pytest
from hypothesis import example, given as texts_given, strategies as st
from textgen import TextGenError, TokenDataset, load_tokenizer, train_tokenizer
from textgen.text.codec import Codec, is_lossless
from textgen.text.lossless import added_pieces, lossless
from textgen.text.tokenizer import PROBE, fingerprint, save_tokenizer, tokenizer_from_json, tokenizer_to_json
from material import PIECES
from test_tokenizer import HARD, _mixed, naughty  # noqa: F401

NAMES = "</s> <pad> <unk> a<extra_id_0>b <extra_id_99>[CLS] x[SEP] [MASK]<s><0x0A><0x41>"
MARKED = [
    "▁",
    "⇧",
    "␛",
    "␛e␛u␛c",
    "⇧a ⇧A ⇧ a",
    " ▁ ⇧ ␛ ",
    "▁▁ ▁",
    "␛⇧▁\n",
    "\n▁\n ▁",
    NAMES,
    "<extra_id_0>",
    "\n a\n\n  b\n \n",
    "A\nB\n\nC \nD",
    "THE END",
    "''``\"",
    "ÉéÀ",
    "\u2581\u21e7",
]
TEXTS = [*HARD, *MARKED, *(a+b+c for a in ("", " ", "\n") for b in ("\t", "x", "X", "\r") for c in ("", " ", "\n"))]


@pytest.fixture(autouse=True, scope="module")
def the_fast_engine_at_once():
    "Short texts, too, are encoded by the engine that long ones get."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textgen.text.codec._WORTH", -1)
        yield


# ---- the tokenizers
def t5_like(size=2000, sentinels=100):
    "A tokenizer like T5's: blanks become one space, NFKC, sentinels behind the vocabulary."
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import T5Tokenizer
    from textgen.text.corpus import bundled, documents
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tok.train_from_iterator(
        (d.text for f, column in (("poems", "text"), ("news", "body")) for d in documents(bundled(f), column=column)),
        trainers.UnigramTrainer(
            vocab_size=size, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    vocab = [tuple(o) for o in json.loads(tok.to_str())["model"]["vocab"]]
    t5 = T5Tokenizer([*vocab, *((f"<extra_id_{i}>", 0.) for i in reversed(range(sentinels)))], extra_ids=sentinels)
    t5.backend_tokenizer.normalizer = tok.normalizer
    return t5

@pytest.fixture(scope="module")
def t5(): return t5_like()

@pytest.fixture(scope="module")
def albert(given): return load_tokenizer(given("albert_spiece.model"))

@pytest.fixture(scope="module", params=["t5", "albert"])
def pair(request):
    "A tokenizer as it was, and made lossless."
    old = request.getfixturevalue(request.param)
    return old, lossless(old)

@pytest.fixture(scope="module")
def codec(pair): return Codec(pair[1])

@pytest.fixture(scope="module")
def folder(pair, tmp_path_factory): return save_tokenizer(pair[1], tmp_path_factory.mktemp("lossless")/"t")

@pytest.fixture(scope="module")
def plain(folder):
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(folder)

@pytest.fixture(scope="module")
def poems(given):
    texts = [json.loads(line)["text"] for line in given("poems.jsonl").read_text(encoding="utf-8").splitlines()][:5000]
    assert len(texts)==5000
    return texts[::5]

@pytest.fixture(scope="module")
def ids(codec, poems):
    "The ids of all poems, without loss."
    return [o.tolist() for o in codec.encode_batch(poems)]

def _back(tok, texts):
    "Encoded and decoded by transformers alone."
    ids = tok(texts, add_special_tokens=False, split_special_tokens=True).input_ids
    return [tok.decode(i, skip_special_tokens=True) for i in ids]


# ---- text survives
def test_it_was_lost_before(pair):
    old, _ = pair
    assert not is_lossless(old) and Codec(old).lost("a\nb\tc")["\n"]==1

@pytest.mark.slow
def test_five_thousand_poems(codec, plain, given):
    poems = [json.loads(line)["text"] for line in given("poems.jsonl").read_text(encoding="utf-8").splitlines()][:5000]
    ids = [o.tolist() for o in codec.encode_batch(poems)]
    assert [codec.decode(i) for i in ids]==poems and plain(poems, add_special_tokens=False).input_ids==ids

def test_poems(codec, plain, poems, ids):
    assert [codec.decode(i) for i in ids]==poems and codec.lost(poems).total()==0
    assert plain(poems, add_special_tokens=False).input_ids==ids and [plain.decode(i) for i in ids]==poems

def test_poems_take_few_more_tokens(pair, poems, ids):
    old, _ = pair
    before, after = sum(map(len, old(poems[:1000], add_special_tokens=False).input_ids)), sum(map(len, ids[:1000]))
    assert before<after<=1.12*before, after/before

def test_naughty_strings(codec, plain, naughty):  # noqa: F811
    assert len(naughty)>=500 and [s for s in naughty if codec.decode(codec.encode(s))!=s]==[]
    assert _back(plain, naughty)==naughty

def test_hard_texts(codec, plain):
    texts = [*TEXTS, PROBE, PROBE[::-1], PROBE.upper(), _mixed(50_000)]
    assert [t for t in texts if codec.decode(codec.encode(t))!=t]==[]
    assert _back(plain, texts)==texts

@texts_given(st.text())
@example("\n \n").via("a blank line that is not empty")
def test_any_text(codec, plain, text):
    ids = codec.encode(text)
    assert (
        codec.decode(ids) == text
        and plain(text, add_special_tokens=False, split_special_tokens=True).input_ids == ids
        and plain.decode(ids) == text
    )


@texts_given(st.text(alphabet="aAbZ \n\t\r▁⇧␛euc</s>,.é🍜\u3000\ufffd", max_size=40))
def test_any_text_of_what_is_difficult(codec, text):
    ids = codec.encode(text)
    assert codec.decode(ids)==text
    shown = [codec.decode(ids[:k], partial=True) for k in range(len(ids)+1)]
    assert shown[-1]==text and all(text.startswith(a) and b.startswith(a) for a,b in zip(shown, shown[1:]))

@texts_given(st.text(max_size=60))
def test_a_growing_text_never_takes_anything_back(codec, text):
    "No half character, no half-finished marker: what is shown is the beginning of what will be."
    ids = codec.encode(text)
    shown = [codec.decode(ids[:k], partial=True) for k in range(len(ids)+1)]
    assert shown[-1]==text and all(b.startswith(a) for a,b in zip(shown, shown[1:]))

def test_growing_hard_texts(codec, naughty):  # noqa: F811
    for t in [*TEXTS, *(s[:200] for s in naughty)]:
        test_a_growing_text_never_takes_anything_back.hypothesis.inner_test(codec, t)


@texts_given(st.data())
def test_any_ids_have_a_text(codec, data):
    "What an untrained model writes: markers where none belongs, bytes that are no character."
    ids = data.draw(st.lists(st.integers(0, len(codec)-1), max_size=30))
    text = codec.decode(ids)
    assert codec.decode(codec.encode(text))==text and isinstance(codec.decode(ids, partial=True), str)


# ---- ids and marks stay
def test_old_ids_stay(pair):
    old, new = pair
    assert new.convert_ids_to_tokens(range(len(old)))==old.convert_ids_to_tokens(range(len(old)))
    for k in (
        "eos_token_id",
        "pad_token_id",
        "unk_token_id",
        "bos_token_id",
        "cls_token_id",
        "sep_token_id",
        "mask_token_id",
    ):
        assert getattr(new, k) == getattr(old, k), k
    a, b = Codec(old), Codec(new)
    assert (a.end, a.begin, a.pad, a.prefix, a.suffix, a.sentinels) == (
        b.end,
        b.begin,
        b.pad,
        b.prefix,
        b.suffix,
        b.sentinels,
    )
    assert a.fingerprint!=b.fingerprint and sorted(new.get_vocab().values())==list(range(len(new)))
    assert {*old.all_special_ids}=={*new.all_special_ids} and old.model_input_names==new.model_input_names

def test_marks_of_t5(t5):
    c = Codec(lossless(t5))
    assert (c.prefix, c.suffix, c.pad, c.end)==([], [1], 0, 1) and c.sentinels==[len(t5)-1-i for i in range(100)]
    assert (
        c.tokenizer("The <extra_id_0> sea").input_ids[-1] == 1
        and c.sentinels[0] in c.tokenizer("The <extra_id_0> sea").input_ids
    )


def test_marks_of_albert(albert): assert (Codec(albert).prefix, Codec(albert).suffix)==([2], [3])

def test_no_control_token_from_text(codec):
    assert not {*codec.encode(NAMES*3)} & {*codec.tokenizer.all_special_ids}
    assert codec.decode([*codec.encode("a\n"), codec.end])=="a\n"

def test_new_rows_start_from_old_ones(pair):
    old, new = pair
    rows = added_pieces(old, new)
    assert list(rows) == list(range(len(old), len(new))) and all(
        o and all(0 <= i < len(old) for i in o) for o in rows.values()
    )
    assert rows[new.convert_tokens_to_ids(",\n")] == [old.convert_tokens_to_ids(",")] and rows[
        new.convert_tokens_to_ids("\n")
    ] == [old.convert_tokens_to_ids("▁")]
    assert rows[new.convert_tokens_to_ids("<0xE2>")]==[old.unk_token_id]

def test_twice_is_once(pair):
    _, new = pair
    assert lossless(new) is new and is_lossless(new)

def test_a_token_beyond_the_vocabulary_keeps_its_id():
    t = t5_like(500, 3)
    t.add_tokens(["|NL|"])
    new = lossless(t)
    c = Codec(new)
    assert new.convert_tokens_to_ids("|NL|") == len(t) - 1 and new.convert_ids_to_tokens(
        range(len(t))
    ) == t.convert_ids_to_tokens(range(len(t)))
    for text in ("a |NL| b", "a|NL|b", "|NL|\n|NL|", " |NL|  |NL| "):
        assert c.decode(c.encode(text)) == text and len(t) - 1 in c.encode(text)


def test_what_is_lossless_already_is_left_alone(tok, given):
    for t in (
        tok,
        train_tokenizer(texts=["a b" * 9], kind="unigram", vocab_size=270),
        load_tokenizer(given("gpt2/vocab.json").parent),
    ):
        assert lossless(t) is t


def _llama():
    "A byte-fallback BPE as Llama's."
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    vocab = (
        {"<unk>": 0, "<s>": 1, "</s>": 2}
        | {f"<0x{i:02X}>": 3 + i for i in range(256)}
        | {c: 259 + i for i, c in enumerate("▁abcdef")}
        | {"▁a": 266}
    )
    t = Tokenizer(models.BPE(vocab, [("▁", "a")], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", unk_token="<unk>")

def test_byte_fallback_bpe_is_left_alone():
    "Llama's loses the sign ▁ and nothing else."
    t = _llama()
    c = Codec(t)
    assert lossless(t) is t and not is_lossless(t) and c.lost("▁")=={"▁":1} and c.lost("a\n  b 🍜 X").total()==0

@texts_given(st.text(max_size=30))
def test_byte_fallback_bpe_grows(text):
    c, text = Codec(_llama()), text.replace("▁", "")
    ids = c.encode(text)
    shown = [c.decode(ids[:k], partial=True) for k in range(len(ids)+1)]
    assert shown[-1]==text and all(b.startswith(a) for a,b in zip(shown, shown[1:]))

def test_what_cannot_be_adapted_says_so(tok):
    spec = json.loads(tok.backend_tokenizer.to_str()) | dict(normalizer=dict(type="Lowercase"))
    with pytest.raises(TextGenError, match="train_tokenizer"):
        lossless(tokenizer_from_json(json.dumps(dict(tokenizer=spec, special={}))))


# ---- through files
def test_through_every_form(codec, folder):
    forms = [
        load_tokenizer(folder),
        load_tokenizer(folder / "tokenizer.json"),
        tokenizer_from_json(tokenizer_to_json(codec.tokenizer)),
        TokenDataset.load(TokenDataset.from_texts(["a"], codec.tokenizer).save(folder.parent / "a.tokens")).tokenizer,
    ]
    for o in map(Codec, forms):
        assert (o.fingerprint, o.end, o.suffix, o.sentinels, o.lossless) == (
            codec.fingerprint,
            codec.end,
            codec.suffix,
            codec.sentinels,
            True,
        )
        assert [o.encode(t) for t in TEXTS]==[codec.encode(t) for t in TEXTS]

@pytest.mark.parametrize("kind", ["t5", "bart", "albert", "mt5"])
def test_beside_a_model(codec, pair, tmp_path, kind):
    "A config.json that names a family whose class rebuilds itself."
    from transformers import AutoConfig, AutoTokenizer
    pair[1].save_pretrained(tmp_path)
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    plain = AutoTokenizer.from_pretrained(tmp_path)
    assert (
        _back(plain, TEXTS) == TEXTS
        and plain("a\nb").input_ids == pair[1]("a\nb").input_ids
        and Codec(load_tokenizer(tmp_path)).fingerprint == codec.fingerprint
    )


def test_in_a_dataset(codec, tmp_path):
    texts = [t for t in TEXTS if t]
    data = TokenDataset.from_texts(texts, codec.tokenizer)
    assert [data.decode(data[i]) for i in range(len(data))]==texts and codec.engine.name=="tokenizers"
    text = ("The sea,\n\n\tthe  Sea. é🍜▁\n"*50)*20
    (tmp_path/"a.txt").write_text(text, encoding="utf-8")
    whole = TokenDataset.from_files(tmp_path/"a.txt", codec.tokenizer)
    assert whole.decode(whole[0])==text and whole[0].tolist()==codec.encode(text)

def test_a_long_document_is_cut_without_a_trace(codec, poems, tmp_path):
    text = "\n\n".join(poems[:1400])+"\n\n  "+PROBE*10+_mixed(200_000)+"\n"
    assert len(text)>1_200_000 and codec.rest and not codec.splittable
    (tmp_path/"a.txt").write_text(text, encoding="utf-8", newline="")
    data = TokenDataset.from_files(tmp_path/"a.txt", codec.tokenizer)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert data[0].tolist()==codec.encode(text) and data.decode(data[0])==text

def test_a_sentencepiece_file(given, tmp_path):
    import shutil
    model = given("albert_spiece.model")
    shutil.copy(model, tmp_path/"spiece.model")
    a, b = load_tokenizer(model), load_tokenizer(tmp_path)
    assert (
        fingerprint(a) == fingerprint(b)
        and len(a) in (30000, PIECES)
        and a.tokenize("The Séa\nsaid") == ["▁the", "▁sea", "▁said"]
    )
    (tmp_path/"tokenizer_config.json").write_text('{"do_lower_case": false, "keep_accents": true}')
    assert load_tokenizer(tmp_path).tokenize("The sea")!=a.tokenize("The sea")
    (tmp_path/"cut.model").write_bytes(model.read_bytes()[:-1])
    with pytest.raises(TextGenError, match="not a SentencePiece"): load_tokenizer(tmp_path/"cut.model")
    (tmp_path/"empty.model").write_bytes(b"")
    with pytest.raises(TextGenError, match="not a SentencePiece"): load_tokenizer(tmp_path/"empty.model")
