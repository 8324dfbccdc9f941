"The fast engine gives the ids of the tokenizers library: on hard strings, on every code point, on much real text."
import sysconfig
from itertools import islice
from pathlib import Path
import pytest
from textgen.text.corpus import SEP
from textgen.text.dataset import TokenDataset
from textgen.text.codec import Codec, _Tokenizers
from textgen.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def gpt2(given): return Codec(given("gpt2"))

@pytest.fixture(scope="module", params=["gpt2", "own"])
def fast(request):
    "A codec that gigatoken encodes: GPT-2's, and one of 1,000 learned here."
    c = (
        request.getfixturevalue("gpt2")
        if request.param == "gpt2"
        else Codec(train_tokenizer(Path(__file__).parents[1] / "textgen" / "bundled" / "poems.jsonl"))
    )
    assert c.engine.name=="gigatoken"
    return c

def same(codec, docs):
    "Both engines, document by document."
    data = SEP.join(o.encode() for o in docs if o)
    ids, starts = codec.engine(data)
    want, at = _Tokenizers(codec)(data)
    assert starts.tolist()==at.tolist() and (ids==want).all()


def test_naughty_strings(fast, given): same(fast, given("naughty_strings.txt").read_text(encoding="utf-8").split("\n"))

@pytest.mark.parametrize("every", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_every_code_point(fast, every):
    "Alone among its neighbours; every fifth also between letters, and before a blank."
    points = [chr(i) for i in range(0, 0x110000, every) if not 0xd800<=i<0xe000]
    for form, step in (("{}", 1), ("a{}b", 5), ("{} ", 5)):
        some = points[::step]
        same(fast, ["".join(form.format(c) for c in some[i:i+1000]) for i in range(0, len(some), 1000)])

def test_specials_inside_text(fast):
    same(fast, [f"a{t}b {t}" for t in fast.tokenizer.get_vocab() if "|" in t] + ["<|endoftext|>" * 9])


def _sources():
    "Real text: what Python's own library and this environment are written in."
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for p in sorted(Path(folder).rglob("*.py")):
            try: yield p.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError): pass

@pytest.mark.slow
def test_fifty_megabytes_of_mixed_text(gpt2, given):
    import json
    poems = [json.loads(o)["text"] for o in given("poems.jsonl").open(encoding="utf-8")]
    docs, size = [*poems, given("tinyshakespeare.txt").read_text()], 0
    for t in islice(_sources(), 100_000):
        docs.append(t)
        size += len(t)
        if size>46e6: break
    assert sum(len(o.encode()) for o in docs)>50e6
    for i in range(0, len(docs), 500): same(gpt2, docs[i:i+500])

@pytest.mark.parametrize("by", ["file", "line", "paragraph"])
def test_pieces_do_not_change_ids(gpt2, tmp_path, monkeypatch, by):
    "A file read in small chunks gives what it gives whole."
    import textgen.text.corpus as corpus
    text = "".join(islice(_sources(), 30))[:400_000]
    (tmp_path/"a.txt").write_text(text, encoding="utf-8")
    whole = TokenDataset.from_files(tmp_path/"a.txt", gpt2, by=by)
    monkeypatch.setattr(corpus, "PIECE_BYTES", 5_000)
    monkeypatch.setattr(corpus.read_chunks, "__defaults__", ("utf-8", True, 5_000))
    cut = TokenDataset.from_files(tmp_path/"a.txt", gpt2, by=by)
    assert (
        (whole.tokens == cut.tokens).all()
        and (whole.starts == cut.starts).all()
        and whole.info["characters"] == cut.info["characters"]
    )
