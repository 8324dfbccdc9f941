"""What is said to be copied is copied, and all of it is found: the index agrees with a search through everything.

The search writes ids as letters, a document as one string, and asks Python whether a run stands in it."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from textgen import TextGen
from textgen.core import CacheError
from textgen.generation.files import receipt_path, write_samples
from textgen.generation.samples import Sample
from textgen.text.corpus import bundled
from textgen.text.corpus import documents as documents_in
from textgen.text.dataset import TokenDataset, open_data
from textgen.text.tokenizer import train_tokenizer
from textgen.trust.copying import RUN, _pieces, find_copies, memorization, read_texts
from textgen.trust.index import Queries, index_path, open_index

IDS = st.integers(5, 7)  # few, so that runs are long
TEXTS = st.lists(st.lists(st.integers(5, 8), max_size=25), min_size=1, max_size=3)
DOCUMENTS = st.lists(st.lists(IDS, max_size=30), min_size=1, max_size=5)


def letters(ids):
    return "".join(map(chr, ids))


def longest_at(ids, k, documents):
    "How long the longest run is that begins at `k`, by looking for every one."
    n = 0
    while k + n < len(ids) and any(letters(ids[k : k + n + 1]) in d for d in documents):
        n += 1
    return n


def lengths_of(ids, documents):
    documents = [letters(d) for d in documents]
    return [longest_at(ids, k, documents) for k in range(len(ids))]


def n_copied(lengths):
    "Tokens in runs of `RUN` or more."
    return len({t for k, n in enumerate(lengths) if n >= RUN for t in range(k, k + n)})


def whole_runs(lengths):
    "(start, length) of the runs of `RUN` or more that are not the rest of a longer one."
    return [(k, n) for k, n in enumerate(lengths) if n >= RUN and not (k and lengths[k - 1] > n)]


def dataset(documents, codec, closed):
    "Documents of ids as a dataset; where they are not closed, no token says where one ends."
    whole = [[*d, codec.end] if closed else list(d) for d in documents]
    starts = np.cumsum([0, *map(len, whole)]).astype(np.uint64)
    data = TokenDataset(np.array(sum(whole, []), np.uint16), starts, codec)
    if not closed:
        data.header["end"] = None
    return data


def sample(ids):
    return Sample("", "", list(ids), 0.0, "length", 0)


# ---- against the search through everything
@settings(max_examples=25)
@given(DOCUMENTS, TEXTS, st.booleans())
@example([[5, 6, 5] * 5, [6, 5, 5] * 4], [[5, 6, 5] * 6, [8] + [6, 5, 5] * 3], False)
@example([[5] * 30, [5] * 9], [[5] * 25, [5] * 8], True)
@example([[]], [[]], True)
def test_like_a_search_through_everything(data, documents, texts, closed):
    learned = dataset(documents, data.codec, closed)
    found = find_copies(map(sample, texts), learned, data.codec)
    for copied, ids in zip(found, texts, strict=True):
        lengths = lengths_of(ids, documents)
        assert copied.lengths.tolist() == lengths
        assert copied.longest == max(lengths, default=0)
        assert copied.share == n_copied(lengths) / max(len(ids), 1)
        assert [(run.start, run.length) for run in copied.runs] == whole_runs(lengths)
        for run in copied.runs:
            source = documents[run.document][run.position : run.position + run.length]
            assert source == ids[run.start : run.start + run.length]
        best = copied.best
        assert (best.length if best else 0) == copied.longest
        if best:
            assert documents[best.document][best.position :][: best.length] == ids[best.start :][: best.length]
        assert (copied.document is not None) == (ids in documents and ids != [])


SOME = ["the sea ", "Überß", "\n\n", " 🐟", "e\u0301", "ﬁ", "\t", "Ž", "a", "  ", "世界", "<|endoftext|>"]
WORDS = st.sampled_from(SOME)
WRITTEN = st.lists(WORDS, max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: train_tokenizer(bundled("poems"), vocab_size=400, kind=kind) for kind in ("bpe", "unigram")}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WRITTEN.filter(len), min_size=1, max_size=4), st.lists(WRITTEN, min_size=1, max_size=3), st.data())
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_texts_of_any_letters(tokenizers, kind, documents, texts, data):
    "Texts as text, some of them parts of documents and whole ones, for tokenizers that keep every letter."
    whole = data.draw(st.sampled_from(documents))
    cut = data.draw(st.integers(0, len(whole)))
    texts = [*texts, whole, whole[cut:], whole + whole]
    learned = TokenDataset.from_texts(documents, tokenizers[kind])
    codec = learned.codec
    ids = [codec.encode(d) for d in documents]
    for copied, text in zip(find_copies(texts, learned, codec), texts, strict=True):
        own = codec.encode(text)
        assert codec.decode(own) == text
        lengths = lengths_of(own, ids)
        assert (copied.longest, copied.share) == (max(lengths, default=0), n_copied(lengths) / max(len(own), 1))
        same = copied.document
        assert documents[same] == text if same is not None else text not in documents
        shown = "".join(t for _, t in _pieces(copied, codec))
        assert shown == text


@settings(max_examples=15)
@given(DOCUMENTS, TEXTS, st.booleans())
def test_figures_of_several_texts(data, documents, texts, closed):
    report = memorization(map(sample, texts), dataset(documents, data.codec, closed), data.codec)
    lengths = [lengths_of(ids, documents) for ids in texts]
    longest = [max(o, default=0) for o in lengths]
    n = sum(map(len, texts))
    assert (report.amount.longest, report.amount.median) == (max(longest), np.median(longest))
    assert report.amount.share == sum(map(n_copied, lengths)) / max(n, 1)


@pytest.mark.parametrize("closed", [True, False])
def test_no_run_crosses_documents(data, closed):
    learned = dataset([[5, 6, 7, 8], [9, 10, 11], [], [12] * 9], data.codec, closed)
    runs = open_index(learned).runs(Queries([range(5, 13), [12] * 12], learned.end or -1))
    assert runs.lengths.tolist() == [4, 3, 2, 1, 3, 2, 1, 1, *[9] * 4, *range(8, 0, -1)]


# ---- the file
def answers(path, queries):
    found = open_index(TokenDataset.load(path)).runs(queries)
    return found.lengths.tolist()


def test_a_flipped_byte_never_lies(data, tmp_path, capfd):
    "Wherever a byte of the index is another one, the index is built again, or refused."
    learned = dataset([list(data[0])[:60], list(data[1])[:40]], data.codec, True)
    path = tmp_path / "few.tokens"
    learned.save(path)
    queries = Queries([[*data[1][10:30], 7, *data[0][5:15]]], learned.end)
    right = answers(path, queries)
    assert right == lengths_of(queries.ids.tolist(), [learned[0].tolist(), learned[1].tolist()])
    kept = index_path(TokenDataset.load(path))
    good = kept.read_bytes()
    rng = np.random.default_rng(0)
    places = {*range(24), *range(len(good) - 24, len(good)), *rng.integers(0, len(good), 60).tolist()}
    noticed = 0
    for place in sorted(places):
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        kept.write_bytes(bad)
        try:
            assert answers(path, queries) == right
            noticed += "built again" in capfd.readouterr().err
        except CacheError:
            noticed += 1
    assert noticed > len(places) / 2
    for short in (0, 10, len(good) // 2, len(good) - 1):
        kept.write_bytes(good[:short])
        assert answers(path, queries) == right


def test_an_index_of_other_data(data, tmp_path, capfd):
    "The same number of tokens under the same name: the index that lies there is not believed."
    path = tmp_path / "few.tokens"
    queries = Queries([[5, 6, 7, 8, 9, 9, 9]], data.codec.end)
    for texts in ([[5, 6, 7, 8, 9]], [[9, 9, 9, 5, 6]], [[9, 9], [9, 5]]):
        dataset(texts, data.codec, True).save(path)
        assert answers(path, queries) == lengths_of(queries.ids.tolist(), texts)
    assert capfd.readouterr().err.count("built again") == 2


# ---- texts that are new
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_novel_only(tg, data, temperature):
    "What a model wrote is the data. Asked again with the same seed it would write the same; it may copy three tokens."
    asked = dict(n=4, seed=5, max_new_tokens=30, temperature=temperature)
    first = [s.tokens for s in tg.generate("The sea", **asked)]
    documents = [*first, *(list(map(int, data[d])) for d in range(5))]
    learned = dataset(documents, tg.codec, True)
    texts = tg.generate("The sea", novel_only=3, data=learned, **asked)
    assert all(s.attempt or s.finish_reason == "copied" for s in texts)
    for s in texts:
        ids = [i for i in s.tokens if i != tg.codec.end]
        assert max(lengths_of(ids, documents), default=0) <= 3
        assert s.tokens not in first


# ---- the command
@pytest.mark.parametrize(
    "rows", [[1], [{"index": 0}], [{"index": 0, "tokens": [2**70]}], [{"index": [1], "tokens": []}]], ids=str
)
def test_a_damaged_receipt(cli, tg, cache, tmp_path, rows):
    "One line that says what is wrong, as for any damaged file."
    path = write_samples(tg.generate("The sea", seed=2, max_new_tokens=5), tmp_path / "a.jsonl")
    place = receipt_path(path)
    place.write_text(json.dumps(json.loads(place.read_text()) | dict(samples=rows)))
    said = cli("copied", path, "--data", cache)
    assert said.code == 1 and len(said.err.splitlines()) == 1 and "no token ids" in said.err
    place.unlink()
    path.write_text('{"text": "the sea", "index": [1]}\n')
    assert cli("copied", path, "--data", cache).code == 0


def test_command(cli, tg, data, cache, tmp_path):
    path = write_samples(tg.generate("The sea", n=3, seed=2, max_new_tokens=30), tmp_path / "a.jsonl")
    said = cli("copied", path, "--data", cache, "--json")
    assert said.code == 0
    facts = json.loads(said.out)
    documents = [data[d].tolist() for d in range(len(data))]
    texts = [[i for i in s.tokens if i != tg.codec.end] for s in read_texts(path)]
    lengths = [lengths_of(ids, documents) for ids in texts]
    assert (facts["texts"], facts["tokens"]) == (3, sum(map(len, texts)))
    assert facts["longest"] == max(map(max, lengths))
    assert facts["share"] == sum(map(n_copied, lengths)) / facts["tokens"]
    for known, ids, own in zip(facts["samples"], texts, lengths, strict=True):
        assert (known["longest"], known["share"]) == (max(own), n_copied(own) / len(ids))
        begins = documents[known["source"]["document"]][known["source"]["position"] :][: known["longest"]]
        assert letters(begins) in letters(ids)


def test_what_comes_along_is_known_by_its_name(cli, tg, data, cache, model_folder, tmp_path, monkeypatch):
    "The figures are those of the token cache; the tokenizer is that of the model that wrote, which is looked for."
    monkeypatch.chdir(tmp_path)
    path = write_samples(tg.generate("The sea", n=3, seed=2, max_new_tokens=30), tmp_path / "a.jsonl")
    said = cli("copied", path, "--data", "poems")
    assert said.code == 1 and "name the token cache" in said.err and len(said.err.splitlines()) == 1
    shutil.copytree(model_folder, tmp_path / "renamed")
    wanted = json.loads(cli("copied", path, "--data", cache, "--json").out)
    assert json.loads(cli("copied", path, "--data", "poems", "--json").out) == wanted
    report = tg.memorization(read_texts(path), "poems")
    assert report.facts() == {k: wanted[k] for k in report.facts()} and report.details() == wanted["samples"]
    [article, *_] = documents_in(bundled("news"), column="body")
    assert tg.memorization(["x" + article.text[100:300]], "news").texts[0].best.document == 0
    assert tg.memorization(["x" + article.text[100:300]], ["poems", "news"]).texts[0].best.document == len(data)
    (tmp_path / "poems").mkdir()
    (tmp_path / "poems" / "mine.txt").write_text("The sea")
    assert len(open_data("poems", tg.codec)) == 1  # a folder of this name comes first


def test_a_text_of_nobody_is_read_by_the_model_in_the_package(cli, tmp_path):
    [poem, *_] = documents_in(bundled("poems"))
    (tmp_path / "a.txt").write_text(poem.text)
    facts = json.loads(cli("copied", tmp_path / "a.txt", "--data", "poems", "--json").out)
    assert (facts["documents"], facts["share"], facts["tokens"]) == (1, 1.0, len(TextGen().codec.encode(poem.text)))


def test_command_on_a_poem(cli, data, cache, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(data.decode(data[7]), encoding="utf-8")
    facts = json.loads(cli("copied", path, "--data", cache, "--json").out)
    assert (facts["documents"], facts["share"], facts["longest"]) == (1, 1.0, len(data.encode(data.decode(data[7]))))
    assert "document 7 at 0" in cli("copied", path, "--data", cache).out
    missing = cli("copied", tmp_path / "none.txt", "--data", cache)
    assert missing.code and "none.txt" in missing.err
