"Batches: a function of seed and step, little filled up, and models of both kinds learn from them."

import threading
from collections import Counter
from types import SimpleNamespace
import numpy as np
import pytest
from hypothesis import given, strategies as st
from textgen import Mixture, Task, TokenDataset
from textgen.tasks.batch import SOURCES, eval_batches, make_source
from textgen.tasks.pairs import ROWS, causal_row, seq2seq_row
from textgen.tasks.reading import BY, Reading
from textgen.tasks.window import Windows
from textgen.text.corpus import bundled
from textgen.tasks.preprocess import concat_and_chunk, fields, prefix_lm, span_corruption
from textgen.tasks.mixture import open_tasks
from textgen.text.codec import Codec

kinds = pytest.mark.parametrize("kind", SOURCES)


@pytest.fixture(scope="module")
def codec(tok):
    return Codec(tok)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def inputs(b):
    return [r[m == 1].tolist() for r, m in zip(b["input_ids"], b["attention_mask"])]


def targets(b):
    return [r[r >= 0].tolist() for r in b["labels"]]


# ---- a function of seed and step
@kinds
@pytest.mark.parametrize("what", ["text", "poems", "mixture"])
def test_any_order_any_number_of_times(kind, what, data, codec):
    what = dict(
        text=data, poems="poems", mixture=Mixture(["poems", Task("verse", data, prefix_lm(length=32))], "equal")
    )[what]
    make = lambda seed=3: make_source(kind, what, codec, Reading(batch_size=4, seed=seed, window=64))
    a, b = make(), make()
    ahead = [a[k] for k in range(600)]
    for k in (599, 3, 300, 256, 255, 3, 0):
        assert same(b[k], ahead[k])
    assert not same(make(4)[0], ahead[0]) and len({x["labels"].tobytes() for x in ahead}) > 300


def test_from_several_threads(codec):
    source, want = make_source("seq2seq", "poems", codec, Reading(batch_size=4)), {}
    for k in range(0, 1024, 128):  # each in another epoch
        want[k] = source[k]
    wrong = []

    def go(shift):
        for k in [*want][shift:] + [*want][:shift]:
            if not same(source[k], want[k]):
                wrong.append(k)

    threads = [threading.Thread(target=go, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_two_epochs_split_the_same_text_elsewhere(data, codec):
    "One document; all it gives are two parts of it, at as many places as there are."
    text = "The sea is wide, the sea is deep."
    source = make_source("seq2seq", Task("t", [text]), codec, Reading(batch_size=1))
    n = len(codec.encode(text))
    seen = Counter(len(inputs(source[k])[0]) for k in range(600))
    for k in range(100):
        assert inputs(source[k])[0] + targets(source[k])[0] == [*codec.encode(text), codec.end]
    assert set(seen) == set(range(1, n))


# ---- epochs
class Stream:
    "Tokens that are their own places, and no token with which a text begins."

    codec, end = SimpleNamespace(begin_ids=[]), None

    def __init__(self, n, docs=1, groups=None):
        self.tokens, self.info = np.arange(n), dict(groups=groups) if groups else {}
        self.starts = np.linspace(0, n, docs + 1).astype(int)

    def __len__(self):
        return len(self.starts) - 1


def test_an_epoch_shows_every_token_and_every_begin():
    w = Windows(Stream(1000, docs=50), 64, 7, seed=3, begin=[1000])
    flat = np.concatenate([w[k] for k in range(-(-3 * w.cells // 7))])
    assert w.cells == -(-1050 // 64)
    for e in range(3):
        seen = np.bincount(flat[e * w.cells : (e + 1) * w.cells, 1:].ravel(), minlength=1001)
        assert seen.min() >= 1 and seen[1000] >= 50 and seen.sum() < 1050 + 64


@pytest.mark.parametrize("n, window, rows", [(40, 8, 3), (41, 8, 3), (1000, 64, 7), (9, 8, 5), (65, 64, 130)])
def test_an_epoch_shows_every_token(n, window, rows):
    "Whatever the number of rows: an epoch may end within a batch."
    w = Windows(Stream(n), window, rows, seed=3)
    flat = np.concatenate([w[k] for k in range(-(-3 * w.cells // rows))])
    for e in range(3):
        seen = np.bincount(flat[e * w.cells : (e + 1) * w.cells, 1:].ravel(), minlength=n)
        assert seen.min() >= 1 and seen.sum() < n + window


@pytest.mark.parametrize("n, window", [(40, 8), (41, 8), (103, 16)])
def test_every_token_is_equally_likely(n, window):
    rows, steps = 50, 400
    w = Windows(Stream(n), window, rows, seed=1)
    seen = np.bincount(np.concatenate([w[k][:, 1:].ravel() for k in range(steps)]), minlength=n)
    assert abs(seen / (steps * rows * window / n) - 1).max() < 0.02


@pytest.mark.parametrize("by", ["document", "row"])
def test_an_epoch_shows_every_document_once(by):
    w = Windows(Stream(300, docs=30), 8, 7, seed=2, by=by)
    first = np.concatenate([w[k][:, 0] for k in range(60)])
    for e in range(10):
        assert sorted(first[e * 30 : (e + 1) * 30]) == list(range(0, 300, 10))


def test_epochs_have_orders_and_offsets_of_their_own():
    w = Windows(Stream(64_000), 64, 1000, seed=0)
    a, b = w[0][:, 0], w[1][:, 0]
    assert (
        a[0] % 64 != b[0] % 64 and abs(np.corrcoef(np.argsort(a), np.argsort(b))[0, 1]) < 0.15
    )  # standard deviation 0.03


@pytest.mark.parametrize("by", BY)
def test_shares_of_merged_texts_hold_in_every_epoch(by):
    w = Windows(Stream(1000, docs=100, groups=[(0, 900, 0.5), (900, 1000, 0.5)]), 8, 5, seed=4, by=by)
    flat = np.concatenate([w[k][:, 0] for k in range(4 * w.cells // 5 + 1)])
    for e in range(4):
        assert abs((flat[e * w.cells : (e + 1) * w.cells] >= 900).sum() - w.cells / 2) <= 1


def test_tasks_come_in_no_order_that_repeats(codec):
    "A superbatch draws anew: where a document stood in one says nothing about the next."
    opened = open_tasks(Task("t", [f"{i} is a number" for i in range(200)]), codec)
    place = [
        {codec.decode([*e["input"], *e["target"]]): k for k, e in enumerate(opened.draw(200, 0, s)[0])}
        for s in range(2)
    ]
    both = [(place[0][t], place[1][t]) for t in place[0] if t in place[1]]
    assert len(both) > 60 and abs(np.corrcoef(np.array(both).T)[0, 1]) < 0.35


# ---- rows
examples = st.builds(
    lambda i, t, ends, b: dict(
        input=np.array(i, np.int64), target=np.array(t, np.int64), ends=ends, between=np.array(b, np.int64)
    ),
    st.lists(st.integers(5, 90), max_size=30),
    st.lists(st.integers(100, 190), min_size=1, max_size=30),
    st.booleans(),
    st.lists(st.just(200), max_size=2),
)


@given(e=examples, most=st.integers(4, 40))
def test_seq2seq_rows(codec, e, most):
    r = seq2seq_row(e, codec, most, most, marks=([1], [2]))
    assert (
        r["input_ids"].tolist() == [1, *e["input"].tolist()[: most - 2], 2]
        and len(r["attention_mask"]) == len(r["input_ids"]) <= most
    )
    whole = e["target"].tolist() + [codec.end] * e["ends"]
    assert r["labels"].tolist() == whole[:most]  # an end of text only where the document ends, and all of it is there


@given(e=examples, most=st.integers(4, 80), loss=st.sampled_from(["target", "all"]))
def test_causal_rows(codec, e, most, loss):
    r = causal_row(e, codec, most, most, loss, ([], []))
    assert len(r["input_ids"]) == len(r["labels"]) <= most
    said = r["labels"][r["labels"] != -100].tolist()
    assert said and np.array_equal(
        r["input_ids"][1:][r["labels"][:-1] != -100], r["labels"][:-1][r["labels"][:-1] != -100]
    )
    whole = e["target"].tolist() + [codec.end] * e["ends"]
    if loss == "target":
        assert said == whole[: len(said)]
    fits = len(e["input"]) + len(e["between"]) + len(whole) <= most
    if fits:
        assert said[-len(whole) :] == whole


def test_an_input_begins_and_ends_as_the_tokenizer_says(codec):
    "T5 was never trained on an input without its end."
    from tokenizers.processors import TemplateProcessing

    marked = Codec(
        codec.tokenizer.__class__(
            tokenizer_object=codec.tokenizer.backend_tokenizer.__class__.from_str(
                codec.tokenizer.backend_tokenizer.to_str()
            ),
            eos_token=codec.tokenizer.eos_token,
        )
    )
    marked.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {marked.tokenizer.eos_token}", special_tokens=[(marked.tokenizer.eos_token, marked.end)]
    )
    for ids in inputs(make_source("seq2seq", "poems", marked, Reading(batch_size=4))[0]):
        assert ids[-1] == marked.end and marked.decode(ids).startswith("poem: ")


def test_for_a_causal_model_the_prompt_is_what_a_person_types(codec):
    "Ids read before the first that counts: those of the prompt, and the line break."
    source = make_source("causal", "poems", codec, Reading(batch_size=4))
    for k in range(8):
        b = source[k]
        for ids, said in zip(b["input_ids"], b["labels"]):
            text = codec.decode(ids[: int((said != -100).argmax()) + 1])
            assert (
                text.startswith("poem: ")
                and text.endswith("\n")
                and ids[: int((said != -100).argmax())].tolist() == codec.encode(text[:-1])
            )


# ---- what is filled up
@kinds
@pytest.mark.parametrize("what", ["poems", "news", ["poems", "news"]], ids=str)
@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_less_than_a_tenth_is_filled_up(kind, what, size, codec):
    source = make_source(kind, what, codec, Reading(batch_size=size))
    assert source.padding() < 0.1
    if kind == "seq2seq":
        batches = [source[k] for k in range(64)]
        real = sum(len(x) for b in batches for x in [*inputs(b), *targets(b)])
        assert 1 - real / sum(b[n].size for b in batches for n in ("input_ids", "labels")) < 0.1


def test_poems_split_at_random(data, codec):
    for size in (4, 8, 16, 32):
        assert make_source("seq2seq", data, codec, Reading(batch_size=size)).padding() < 0.1


@kinds
@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_shapes(kind, n, data, codec):
    source = make_source(
        kind, Mixture(["poems", Task("verse", data)]), codec, Reading(batch_size=2, window=256, shapes=n)
    )
    seen = {tuple(v.shape for v in source[k].values()) for k in range(1200)}
    assert len(seen) <= n


def test_batches_of_like_rows_come_in_no_order(codec):
    "Not the short ones first: the widths of neighbours in time have nothing to do with each other."
    source = make_source("seq2seq", "poems", codec)
    widths = np.array([source[k]["labels"].shape[1] for k in range(1024)])
    assert abs(np.corrcoef(widths[:-1], widths[1:])[0, 1]) < 0.1  # standard deviation 0.031


def test_a_batch_is_not_one_poem_many_times(data, codec):
    "Of 116 poems, those of one length are mostly copies: a batch of eight should hold nearly eight."
    for what, most in (("poems", 0.25), (["poems", "news"], 0.15), (Task("verse", data), 0.05)):
        source = make_source("seq2seq", what, codec)
        rows = [
            [(tuple(i), tuple(t)) for i, t in zip(inputs(b), targets(b))]
            for b in (source[k] for k in range(source.many))
        ]
        assert np.mean([1 - len(set(r)) / len(r) for r in rows]) < most


def test_a_poem_meets_others_over_the_epochs(codec):
    source, met = make_source("seq2seq", "poems", codec), {}
    for k in range(4 * source.many):
        rows = [tuple(t) for t in targets(source[k])]
        for r in rows:
            met.setdefault(r, set()).update(rows)
    assert np.median([len(m) - 1 for m in met.values()]) > 15


# ---- mixtures
def test_every_row_knows_its_task(codec):
    source = make_source("seq2seq", Mixture(["poems", "news"], [1, 2]), codec, Reading(batch_size=6))
    for k in range(100):
        b = source[k]
        assert [source.names[t] for t in b["task"]] == [
            codec.decode(i).split(":")[0].replace("poem", "poems") for i in inputs(b)
        ]
    share = np.mean([source[k]["task"].mean() for k in range(source.many)])
    assert 0.62 < share < 0.71


def test_a_list_of_paths_is_one_text_and_of_names_a_mixture(data, codec):
    assert make_source("seq2seq", [bundled("poems")], codec).names == ["poems"]
    assert make_source("seq2seq", [data, data], codec).names == ["text"]
    assert make_source("causal", [data, data], codec, Reading(window=32)).names == ("text",)
    assert make_source("causal", ["news", data], codec).names == ["news", "text"]


# ---- to judge by
@kinds
@pytest.mark.parametrize("what", ["text", "poems", "both"])
def test_held_out_documents_are_not_trained_on(kind, what, codec):
    texts = [f"{i:04d} is a number" for i in range(120)]
    data = TokenDataset.from_texts(texts, codec.tokenizer)
    what = dict(
        text=data,
        poems=Task("a", [dict(title="t", text=t) for t in texts], fields("title")),
        both=[Task("b", texts[:60]), Task("c", texts[60:])],
    )[what]
    kw = dict(batch_size=4, window=24, validation=0.1, by="row")

    def numbers(batches):
        return (
            {codec.decode(r[r >= 0]) for b in batches for r in b["labels"]}
            if kind == "causal"
            else {codec.decode(i + t) for b in batches for i, t in zip(inputs(b), targets(b))}
        )

    source = make_source(kind, what, codec, Reading(**kw))
    train = numbers(source[k] for k in range(300))
    held = numbers(eval_batches(kind, what, codec, Reading(**kw)))
    assert len(held) == 12 and len(train) > 100 and not train & held


@kinds
def test_every_document_counts_once(kind, data, codec):
    n = sum(
        int((b["labels"] >= 0).sum())
        for b in eval_batches(
            kind,
            Task("t", data, lambda e, d: [dict(input=e["text"][:1], target=e["text"][1:])]),
            codec,
            Reading(window=2048),
        )
    )
    assert n == len(data.tokens) - len(data)  # all but the first token of each, and its end


# ---- models
def _learns(kind, model, what, codec, steps):
    import torch

    source, losses = make_source(kind, what, codec, Reading(batch_size=8, window=64)), []
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for k in range(steps):
        b = {n: torch.from_numpy(v) for n, v in source[k].items() if n != "task"}
        labels = b.pop("labels")
        logits = (
            model(**b).logits
            if kind == "causal"
            else model(
                **b, decoder_input_ids=torch.cat([labels.new_zeros((8, 1)), labels[:, :-1].clamp(min=0)], 1)
            ).logits
        )
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses


@kinds
@pytest.mark.parametrize("what", ["poems", "spans", "text"])
def test_models_learn_and_a_run_repeats(kind, what, tiny, data, codec):
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    codec.sentinels = [*range(300, 330)]  # any ids will do
    what = dict(poems="poems", spans=Task("s", data, span_corruption(length=48)), text=data)[what]

    def run(steps=60):
        torch.manual_seed(0)
        model = (
            tiny(codec.tokenizer).model
            if kind == "causal"
            else T5ForConditionalGeneration(
                T5Config(
                    vocab_size=len(codec),
                    d_model=32,
                    d_kv=16,
                    d_ff=64,
                    num_layers=2,
                    num_heads=2,
                    dropout_rate=0.0,
                    decoder_start_token_id=0,
                )
            )
        )
        return _learns(kind, model.train(), what, codec, steps)

    losses = run()
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.5 and run(8) == losses[:8]
    codec.sentinels = []


def test_streams_of_short_texts(codec):
    source = make_source(
        "causal", Task("t", ["a", "bc", "def"] * 10, concat_and_chunk(length=64)), codec, Reading(window=64)
    )
    assert source.padding() < 0.03 and ROWS.keys() == SOURCES.keys()


@pytest.mark.parametrize("n, said", [(1, "stretches of the only document"), (2, "1 of 2 documents"),
                                     (3, "1 of 3 documents"), (40, "4 of 40 documents")])
def test_what_is_held_out_is_said(tok, codec, n, said):
    "Each token is on one side, and the words tell the numbers; few documents come with advice."
    texts = [f"{i} " * (60 + i) for i in range(n)]
    data = TokenDataset.from_texts(texts, tok)
    reading = Reading(window=16, validation=0.1)
    source = make_source("causal", data, codec, reading)
    batches = eval_batches("causal", data, codec, reading)
    counted = sum(int((b["labels"] != -100).sum()) for b in batches)
    more = n == 1  # the end of the document stands on both sides
    assert counted + len(source.data.tokens) == len(data.tokens) + more
    assert f"held out: {said}, {counted:,} tokens ({counted / len(data.tokens):.0%} of the text)" in source.held_out
    assert ("documents are held out whole" in source.held_out) == (n in (2, 3))
    train, held = data.split(0.1)
    for side in (train, held):
        for i in range(len(side)): assert n == 1 or side.decode(side[i]) in texts
    assert make_source("causal", data, codec, Reading(window=16)).held_out is None
