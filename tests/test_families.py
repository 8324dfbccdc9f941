"""Tokenizers laid out as those of current families: encoded, trained with, written with, lossless or not, each as
plain transformers does it."""

from collections import Counter
import numpy as np
import pytest
from textgen import Mixture, Task, TextGen, TokenDataset
from textgen.training.callback import NoView
from textgen.text.corpus import SEP
from textgen.core import TokenizerError
from textgen.text.codec import NONCHARACTERS, Codec, _Gigatoken, _Tokenizers
from textgen.text.lossless import lossless
from textgen.text.tokenizer import PROBE
from families import FAMILIES, poems, write_family
from test_tokenizer import _mixed, _random_texts

HARD = [
    "a",
    " a",
    "  a b ",
    "▁a ▁▁ ⇧␛",
    "▁",
    " ▁",
    "\n",
    "\n\n a\n\n\n\nb\n",
    "a\tb\t\tc    d         e",
    "1 12 123 1234567 3.14",
    "I'll we've DON'T",
    "e\u0301 ﬁ ½ 日本語 🍜🍜 \u200d",
    "a``b''c",
    "<0x41> <table> x</table>",
    "def f(x):\n    return x\n\tpass",
    "a .b ,c !d n't",
]
FAST = {"gpt2", "roberta", "llama2", "tinyllama", "llama3"}  # what gigatoken encodes; the others may fall back


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    "A function that gives the folder of a family, written once."
    root, made = tmp_path_factory.mktemp("families"), {}
    return lambda name: (
        made.setdefault(name, None) or made.__setitem__(name, write_family(name, root / name)) or made[name]
    )


@pytest.fixture(params=FAMILIES)
def folder(request, families):
    return families(request.param)


@pytest.fixture
def plain(folder):
    return _plain(folder)


@pytest.fixture(autouse=True)
def the_fast_engine_at_once(monkeypatch):
    "Short texts, too, are encoded by the engine that long ones get."
    monkeypatch.setattr("textgen.text.codec._WORTH", -1)


def _plain(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _ids(plain, texts):
    return [plain(t, add_special_tokens=False).input_ids for t in texts]


def _back(plain, ids):
    return [plain.decode(i, skip_special_tokens=True) for i in ids]


def _held(data):
    return [data[i].tolist() for i in range(len(data))]


def _model(folder, kind):
    "A tiny random model for a tokenizer."
    from transformers import GPT2Config, T5Config

    codec = Codec(folder)
    if kind == "seq2seq":
        return TextGen.new(
            T5Config(
                vocab_size=len(codec),
                d_model=32,
                d_kv=16,
                d_ff=32,
                num_layers=1,
                num_heads=2,
                pad_token_id=0,
                eos_token_id=codec.end,
                decoder_start_token_id=0,
            ),
            codec.tokenizer,
            device="cpu",
        )
    return TextGen.new(
        GPT2Config(
            vocab_size=len(codec),
            n_layer=1,
            n_head=2,
            n_embd=32,
            n_positions=64,
            bos_token_id=codec.begin,
            eos_token_id=codec.end,
        ),
        codec.tokenizer,
        device="cpu",
    )


class Notes(NoView):
    "A view that keeps what is said."

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said += [text] * ("tokenizer" in text)


def _train(tg, data, **kwargs):
    "Two steps; what was said of the tokenizer."
    view = Notes()
    tg.train(data, steps=2, batch_size=2, window=32, sample_every=0, seed=1, view=view, **kwargs)
    return " ".join(view.said)


def _written(folder, plain):
    """Texts written by the model of a folder, and what plain transformers makes of their ids: what they add to the
    prompt."""
    tg = TextGen(folder, device="cpu")
    out = tg.generate("The sea", n=2, max_new_tokens=20, seed=3)
    prompt = tg.codec.prompt_ids("The sea") if tg.kind == "causal" else []
    before, *whole = _back(plain, [prompt, *(prompt + list(s.tokens) for s in out)])
    assert all(w.startswith(before) for w in whole)
    return [s.text.rstrip("\ufffd") for s in out], [
        w[len(before) :].rstrip("\ufffd") for w in whole
    ]  # unfinished characters are not shown


def _kind(folder):
    return "seq2seq" if folder.name == "t5" else "causal"


# ---- encode
TEXTS = [*poems()[:20], *HARD, PROBE, _mixed(5_000)]


def test_texts(folder, plain):
    want, codec, texts = _ids(plain, TEXTS), Codec(folder), TEXTS
    assert [codec.encode(t) for t in texts] == want and [o.tolist() for o in codec.encode_batch(texts)] == want
    data = TokenDataset.from_texts(texts, folder)
    assert _held(data) == want and [data.decode(i) for i in want] == _back(plain, want)


@pytest.mark.parametrize("by", ["file", "line", "paragraph"])
def test_files(folder, plain, tmp_path, by):
    text = "\n\n".join(poems()[:20]) + "\n\n  two words \n\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    parts = dict(file=[text], line=text.split("\n"), paragraph=text.split("\n\n"))[by]
    data = TokenDataset.from_files(tmp_path / "a.txt", folder, by=by, save=tmp_path / "a.tokens")
    from textgen.text.corpus import documents

    parts = [d.text for d in documents(tmp_path / "a.txt", by)]
    assert _held(data) == _held(TokenDataset.load(tmp_path / "a.tokens")) == _ids(plain, parts)


def test_rows(folder, plain, tmp_path):
    (tmp_path / "a.csv").write_text('text\n"one, two"\n" three  four"\n', encoding="utf-8")
    assert _held(TokenDataset.from_files(tmp_path / "a.csv", folder, column="text")) == _ids(
        plain, ["one, two", " three  four"]
    )


def test_the_engine_is_the_fast_one_where_it_is_right(folder):
    pytest.importorskip("gigatoken")
    codec = Codec(folder)
    assert codec.engine.name == "gigatoken" or folder.name not in FAST


def test_random_texts_at_once(folder):
    "Whatever engine there is gives what `tokenizers` gives."
    codec = Codec(folder)
    data = SEP.join(t.encode() for t in [*_random_texts(1500), _mixed(20_000)])
    for a, b in zip(codec.encode_piece(data), _Tokenizers(codec)(data)):
        assert np.array_equal(a, b)


def test_a_text_that_holds_separators(families):
    "The fast engine takes another separator, or leaves the piece to `tokenizers`."
    pytest.importorskip("gigatoken")
    codec = Codec(families("llama2"))
    first, every = NONCHARACTERS[0].decode(), "".join(o.decode() for o in NONCHARACTERS)
    for t in (f"a{first}b", f"{first}", f"a{every} b"):
        assert _held(TokenDataset.from_texts([t, "x"], codec)) == [codec.encode(t), codec.encode("x")]
    with pytest.raises(ValueError, match="every separator"):
        codec.engine.encode(every.encode())


class Panic(BaseException):
    "What a panic in Rust looks like."


Panic.__name__ = "PanicException"


@pytest.mark.parametrize("error", [ValueError, RuntimeError, TypeError, Panic])
@pytest.mark.parametrize("where", ["__init__", "_takes", "encode"])
def test_an_engine_that_fails_is_not_used(families, monkeypatch, where, error):
    def fails(*args):
        raise error("no")

    monkeypatch.setattr(_Gigatoken, where, fails)
    codec = Codec(families("llama2"))
    want = [codec.encode(t) for t in HARD]
    assert _held(TokenDataset.from_texts(HARD, codec)) == want and codec.engine.name == "tokenizers"


@pytest.mark.parametrize("error", [ValueError, Panic])
def test_a_piece_on_which_the_engine_fails_is_encoded_all_the_same(families, monkeypatch, error):
    pytest.importorskip("gigatoken")
    codec = Codec(families("llama2"))
    assert codec.engine.name == "gigatoken"

    def fails(*args):
        raise error("no")

    monkeypatch.setattr(codec.engine, "batch", fails)
    assert _held(TokenDataset.from_texts(HARD, codec)) == [codec.encode(t) for t in HARD]


def test_an_interrupt_is_no_refusal(families, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_Gigatoken, "__init__", stopped)
    with pytest.raises(KeyboardInterrupt):
        Codec(families("llama2")).engine


# ---- train and write
def test_train_and_write_as_it_is(folder, plain, tmp_path):
    "Data encoded with the tokenizer as it is leaves it so; the saved folder is read by plain transformers."
    tg = _model(folder, _kind(folder))
    data = TokenDataset.from_texts(poems()[:20], tg.tokenizer)
    said = _train(tg, data, save_to=tmp_path / "m")
    assert len(tg.codec) == len(Codec(folder)) and ("can lose text" in said) == (not tg.codec.lossless)
    again = _plain(tmp_path / "m")
    assert _ids(again, TEXTS) == _ids(plain, TEXTS)
    ours, theirs = _written(tmp_path / "m", again)
    assert ours == theirs


def test_train_and_write_adapted(folder, tmp_path):
    "Text itself adapts the tokenizer where that can be; what is said of it is true of plain transformers."
    (tmp_path / "a.txt").write_text("\n\n".join(poems()[:20]), encoding="utf-8")
    before, tg = Codec(folder), _model(folder, _kind(folder))
    said = _train(tg, tmp_path / "a.txt", by="stream", save_to=tmp_path / "m")
    again = _plain(tmp_path / "m")
    texts = [*poems()[:10], PROBE, *HARD]
    ids = _ids(again, texts)
    assert ids == [tg.codec.encode(t) for t in texts] and _back(again, ids) == [tg.codec.decode(i) for i in ids]
    whole = [t for t, b in zip(texts, _back(again, ids)) if t == b]
    assert ("keeps newlines, spaces and every character" in said) == (len(tg.codec) > len(before))
    if tg.codec.lossless:
        assert whole == texts
    else:
        assert "lose" in said and "0 new pieces" not in said and len(whole) < len(texts)
    assert before.lossless == (not said)
    ours, theirs = _written(tmp_path / "m", again)
    assert ours == theirs


def test_lossless_or_a_reason(folder):
    "What `lossless` gives keeps every text, keeps the old ids, or is the same tokenizer, whose weakness is named."
    old = Codec(folder)
    try:
        new = Codec(lossless(old.tokenizer))
    except TokenizerError as e:
        assert "loses" in str(e) and not old.lossless
        return
    if new.tokenizer is old.tokenizer:
        assert old.lossless or "'▁'" in old.weakness()
    else:
        assert [t for t in TEXTS if new.decode(new.encode(t)) != t] == [] and new.tokenizer.convert_ids_to_tokens(
            range(len(old))
        ) == old.tokenizer.convert_ids_to_tokens(range(len(old)))


# ---- what is lost is counted
def _lost(plain, texts):
    "By hand: lost characters, changed documents."
    back = _back(plain, _ids(plain, texts))
    return sum((Counter(a) - Counter(b)).total() for a, b in zip(texts, back)), sum(a != b for a, b in zip(texts, back))


def test_describe_counts_what_does_not_come_back(folder, plain, tmp_path):
    texts = ["The sea,\nthe  sea.", "a ▁ b", "naïve e\u0301", "x", "THE ﬁsh", " front", "tail ", "1 ½ 日"]
    figures = TokenDataset.from_texts(texts, folder, save=tmp_path / "a.tokens").describe()
    lost, changed = _lost(plain, texts)
    assert (
        (figures["characters_lost"], figures.get("documents_changed", 0)) == (lost, changed)
        or Codec(folder).lossless
        and not lost
    )
    assert TokenDataset.load(tmp_path / "a.tokens").describe() == figures and ("what_is_lost" in figures) == (
        changed > 0
    )


def test_what_is_lost_is_counted_across_pieces(families, tmp_path, monkeypatch):
    "A document that is read in pieces is one changed document, and no blank is lost where it was cut."
    import textgen.text.corpus as corpus

    text = "the sea and\nthe land " * 3000
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(corpus.read_chunks, "__defaults__", ("utf-8", True, 5_000))
    monkeypatch.setattr(corpus, "PIECE_BYTES", 5_000)
    for name in ("t5", "llama2", "mistral"):
        figures = TokenDataset.from_files(tmp_path / "a.txt", families(name)).describe()
        whole = Codec(families(name)).lost(text).total()
        assert abs(figures["characters_lost"] - whole) <= 1 and figures.get("documents_changed", 0) == (whole > 0)


@pytest.mark.parametrize(
    "pieces,lost,changed",
    [
        ([("the sea", True), (" the land", False)], 0, 0),
        ([("the\nsea", True), (" the land", True), ("", False)], 1, 1),
        ([("the", True), (" sea\n\na\xffb\nc", False), ("x\ny", False)], 4, 3),
        ([("a\xffb\nb", True), (" c\nc", True), (" d", False)], 2, 1),
        ([("a\nb", True)], 1, 1),
    ],
)
def test_what_is_lost_in_pieces(families, pieces, lost, changed):
    from textgen.text.builder import Losses

    losses = Losses(Codec(families("t5")))
    for text, more in pieces:
        losses.add([o for o in text.encode("latin1").split(SEP) if o], more)
    figures = losses.figures()
    assert (figures["characters"], figures["documents"]) == (lost, changed)


def test_the_terminal_says_what_is_lost(families, cli, tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo", encoding="utf-8")
    said = cli("encode", tmp_path / "a.txt", "--tokenizer", families("t5"), "--out", tmp_path / "a.tokens")
    assert said.code == 0 and r"'\n' 1 times" in said.out
    assert (
        "lost"
        not in cli("encode", tmp_path / "a.txt", "--tokenizer", families("gpt2"), "--out", tmp_path / "a.tokens").out
    )


# ---- a cache by its path is the same as the object
@pytest.mark.parametrize("given", ["path", "str", "list", "task", "mixture", "object", "validation"])
def test_a_cache_of_a_lossy_tokenizer_trains_in_every_form(families, tmp_path, given):
    folder = families("t5")
    data = TokenDataset.from_texts(poems()[:20], folder, save=tmp_path / "a.tokens")
    path = tmp_path / "a.tokens"
    form = dict(
        path=lambda: path,
        str=lambda: str(path),
        list=lambda: [path, path],
        task=lambda: Task("a", path),
        object=lambda: data,
        mixture=lambda: Mixture([Task("a", path), Task("b", str(path))]),
        validation=lambda: Task("c", data, splits=dict(validation=path)),
    )[given]()
    tg = _model(folder, "seq2seq")
    said = _train(tg, form)
    assert tg.codec.fingerprint == data.fingerprint and "can lose text" in said and "adapt()" in said


def test_a_cache_of_a_lossy_tokenizer_trains_the_same_by_path_and_as_object(families, tmp_path):
    folder = families("t5")
    data = TokenDataset.from_texts(poems()[:20], folder, save=tmp_path / "a.tokens")
    losses = []
    for form in (data, tmp_path / "a.tokens"):
        tg = _model(folder, "seq2seq")
        losses.append(tg.train(form, steps=2, batch_size=2, window=32, sample_every=0, seed=1, view=NoView()).losses)
    assert losses[0] == losses[1]
