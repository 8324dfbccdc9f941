"A document is read as begin + text + end; an empty prompt starts from the same begin; every token is measured once."

import numpy as np
import pytest
import torch
from textgen import Mixture, Task, TextGen, TokenDataset, TrainError
from textgen.tasks.batch import eval_batches, make_source
from textgen.tasks.reading import BY, Reading
from textgen.tasks.window import Windows
from textgen.training.callback import NoView
from textgen.tasks.preprocess import concat_and_chunk, fields, lm, prefix_lm, split_tokens
from textgen.text.codec import Codec

FIRST = "Lo"
WORDS = "the sea and a wave of light under stone goes home again while winter rain".split()
LINES = [f"{FIRST}, {' '.join(np.random.default_rng(k).choice(WORDS, 4 + k % 9))}." for k in range(60)]


# ---- tokenizers
def _own(tok, **special):
    "A copy of a tokenizer, with special tokens of its own."
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tok.backend_tokenizer.to_str()), **special)


def _template(tok, single):
    from tokenizers.processors import TemplateProcessing

    names = [o for o in single.split() if o != "$A"]
    tok.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, special_tokens=[(n, tok.convert_tokens_to_ids(n)) for n in names]
    )
    return tok


@pytest.fixture(scope="module")
def codecs(tok):
    """GPT-2-like (one token ends and begins), Llama-like (its template puts <s> before), Llama without a template,
    two ids before a text, neither begin nor end."""
    end = tok.eos_token

    def llama():
        return _own(tok, bos_token="<s>", eos_token=end)

    return {
        k: Codec(t)
        for k, t in dict(
            gpt2=tok,
            llama=_template(llama(), "<s> $A"),
            folder=llama(),
            two=_template(_own(tok, bos_token="<s>", eos_token=end, additional_special_tokens=["<en>"]), "<s> <en> $A"),
            none=_own(tok),
        ).items()
    }


kinds = pytest.mark.parametrize("name", ["gpt2", "llama", "folder", "two", "none"])


def test_what_begins_a_text(codecs):
    got = {k: c.begin_ids for k, c in codecs.items()}
    end = codecs["gpt2"].end
    assert got == dict(gpt2=[end], llama=[400], folder=[400], two=[400, 401], none=[]) and codecs["llama"].end == end
    for k in ("gpt2", "llama", "folder", "two"):
        assert codecs[k].prompt_ids("") == got[k]


# ---- rows, against a list made by hand
def _documents(codec, data):
    return [
        [*codec.begin_ids, *data[i].tolist(), *([] if codec.end is None else [codec.end])] for i in range(len(data))
    ]


def _ring(codec, data):
    "The stream by hand: what begins a text is put in where the end does not begin it."
    drop = len(codec.begin_ids) if codec.begin_ids == [codec.end] else 0
    return [i for d in _documents(codec, data) for i in d[drop:]]


def _starts_of(ring, row):
    return [a for a in range(len(ring)) if [ring[(a + k) % len(ring)] for k in range(len(row))] == row]


@kinds
def test_rows_of_the_stream(codecs, name):
    codec = codecs[name]
    data = TokenDataset.from_texts(LINES[:7], codec.tokenizer)
    ring = _ring(codec, data)
    windows = Windows(data, 12, 8)
    assert len(windows.stream) == len(ring)
    for k in range(20):
        for row in windows[k].tolist():
            assert _starts_of(ring, row)
    labels = make_source("causal", data, codec, Reading(window=12))[0]
    for read, said in zip(labels["input_ids"].tolist(), labels["labels"].tolist()):
        put_in = codec.begin_ids if codec.begin_ids != [codec.end] else []
        assert [i if i not in put_in else -100 for i in read[1:]] == said[:-1]


@kinds
@pytest.mark.parametrize("by", ["document", "row"])
def test_rows_of_documents(codecs, name, by):
    codec = codecs[name]
    data = TokenDataset.from_texts(LINES[:7], codec.tokenizer)
    documents, n = _documents(codec, data), len(codec.begin_ids)
    for k in range(20):
        for row in Windows(data, 40, 4, seed=k, by=by)[k].tolist():
            mine = [d for d in documents if row[: len(d)] == d]
            assert len(mine) == 1
            rest = row[len(mine[0]) :]
            if by == "row":
                assert set(rest) <= {-1}
            else:
                assert any(
                    row[len(mine[0]) :][:6] == (d + d)[n if codec.begin_ids == [codec.end] else 0 :][:6]
                    for d in documents
                )
    b = make_source("causal", data, codec, Reading(window=40, by=by))[0]
    asked = b["labels"][:, : max(n, 1)] != -100
    assert asked[:, -1].all() and not asked[:, :-1].any()  # the first token of a text, and nothing before it


def test_every_token_is_equally_likely(codecs):
    codec = codecs["llama"]
    data = TokenDataset.from_texts(["a", "be", "see the sea", "on"], codec.tokenizer)
    source = make_source("causal", data, codec, Reading(batch_size=100, window=3))
    seen = np.bincount(
        np.concatenate([source[k]["labels"][source[k]["labels"] >= 0] for k in range(300)]), minlength=len(codec) + 1
    )
    want = np.bincount(data.tokens, minlength=len(seen))
    share = seen[want > 0] / want[want > 0]
    assert seen[want == 0].sum() == 0 and abs(share / share.mean() - 1).max() < 0.05


def test_merged_data_keeps_its_shares(codecs):
    codec = codecs["llama"]
    a, b = (TokenDataset.from_texts(t, codec.tokenizer) for t in (["a" * 30] * 40, ["b" * 60] * 3))
    both = TokenDataset.merge([a, b], weights=[1, 3])
    windows = Windows(both, 4, 2000, seed=5)
    assert windows.groups == [[0, len(a.tokens) + 40, 0.25], [len(a.tokens) + 40, len(both.tokens) + 43, 0.75]]
    assert 0.7 < np.isin(windows[0], b.tokens[:5]).any(1).mean() < 0.8
    rows = Windows(both, 20, 2000, by="row")[0]
    assert (rows[:, 0] == 400).all() and 0.7 < (rows[:, 1] == b.tokens[0]).mean() < 0.8


def test_what_a_row_holds_is_part_of_what_a_run_is(codecs):
    def identity(what, name):
        return make_source("causal", what(codecs[name]), codecs[name], Reading(window=16)).identity()

    for what in (lambda c: TokenDataset.from_texts(LINES, c.tokenizer), lambda c: Mixture([Task("t", LINES)])):
        assert len({identity(what, n) for n in ("gpt2", "llama", "two")}) == 3


# ---- tasks of a causal model
def _row(codec, task, **kw):
    source = make_source("causal", task, codec, Reading(batch_size=1, **kw))
    for k in range(60):
        b = source[k]
        yield b["input_ids"][0].tolist(), b["labels"][0].tolist()


@kinds
def test_only_a_beginning_is_read_after_begin(codecs, name):
    codec = codecs[name]
    text = codec.encode(" ".join(LINES))
    begins, middles = 0, 0
    for read, said in _row(codec, Task("t", [" ".join(LINES)], lm(length=16)), window=32):
        whole = read + [said[-1]]
        n = len(codec.begin_ids)
        if n and whole[:n] == codec.begin_ids and whole[n:] == text[: len(whole) - n]:
            begins += 1
            continue
        middles += 1
        assert not n or whole[0] not in codec.begin_ids
        tail = [i for i in whole if i != codec.end]
        assert any(text[a : a + len(tail)] == tail for a in range(len(text)))
    assert middles > 20


def test_inputs_are_read_as_prompts_are(codecs):
    rows = [dict(title="The sea", text="goes out")]
    from textgen.tasks.preprocess import fields

    for codec in codecs.values():
        b = make_source("causal", Task("t", rows, fields("title")), codec, Reading(batch_size=1))[0]
        asked = codec.prompt_ids("The sea")
        assert b["input_ids"][0].tolist()[: len(asked)] == asked and (b["labels"][0][: len(asked)] == -100).all()


def test_joined_documents_begin_inside_a_row(codecs):
    codec = codecs["llama"]
    for read, said in _row(codec, Task("t", ["a", "bc", "def"] * 10, concat_and_chunk(length=24)), window=24):
        after = [j + 1 for j, i in enumerate(read[:-1]) if i == codec.end]
        assert after and all(read[j] == 400 and said[j - 1] == -100 and said[j] != -100 for j in after)


# ---- every token once
def _said(kind, what, codec, **kw):
    got = np.concatenate([b["labels"][b["labels"] >= 0] for b in eval_batches(kind, what, codec, Reading(**kw))])
    return np.sort(got).tolist()


def _all_of(codec, texts):
    return sorted(i for t in texts for i in [*codec.encode(t), *([] if codec.end is None else [codec.end])])


@pytest.mark.parametrize("name", ["gpt2", "llama", "folder", "two"])
@pytest.mark.parametrize("window", [8, 11, 64, 500])
@pytest.mark.parametrize("by", BY)
def test_all_tokens_of_a_text(codecs, name, window, by):
    codec = codecs[name]
    data = TokenDataset.from_texts(LINES[:12], codec.tokenizer)
    assert _said("causal", data, codec, window=window, by=by) == _all_of(codec, LINES[:12])
    both = TokenDataset.merge([data, TokenDataset.from_texts(LINES[12:14], codec.tokenizer)], weights="equal")
    assert _said("causal", both, codec, window=window, by=by) == _all_of(codec, LINES[:14])


@pytest.mark.parametrize("name", ["gpt2", "llama", "two"])
@pytest.mark.parametrize(
    "steps",
    [
        [],
        [lm(length=8)],
        [split_tokens(length=6)],
        [split_tokens(length=9, min_length=3)],
        [concat_and_chunk(length=10)],
    ],
    ids=str,
)
def test_all_tokens_of_a_task(codecs, name, steps):
    "Also where all documents weigh alike: one document, equal ones, merged ones with equal shares."
    codec = codecs[name]
    for texts in (LINES[:9], [" ".join(LINES)], [LINES[0]] * 5, ["a", "ab" * 20]):
        assert _said("causal", Task("t", texts, steps), codec, window=12) == _all_of(codec, texts)
    merged = TokenDataset.merge(
        [TokenDataset.from_texts(t, codec.tokenizer) for t in (LINES[:3], [" ".join(LINES)])], weights="equal"
    )
    assert _said("causal", Task("t", merged, steps), codec, window=12) == _all_of(codec, [*LINES[:3], " ".join(LINES)])
    mixed = Mixture([Task("a", LINES[:9], steps), Task("b", [" ".join(LINES)], steps)], "equal")
    assert _said("causal", mixed, codec, window=12) == _all_of(codec, [*LINES[:9], " ".join(LINES)])


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("steps", [[], [prefix_lm(length=7)]], ids=str)
def test_all_tokens_are_read_or_said_by_a_seq2seq_model(codecs, name, steps):
    codec = codecs[name]
    put = [] if name == "gpt2" else [400]
    for texts in (LINES[:9], [" ".join(LINES)]):
        found = []
        for b in eval_batches("seq2seq", Task("t", texts, steps), codec, Reading(window=12)):
            for i, m, l in zip(b["input_ids"], b["attention_mask"], b["labels"]):
                found += [o for o in [*i[m == 1].tolist(), *l[l >= 0].tolist()] if o not in put]
        assert sorted(found) == _all_of(codec, texts)


# ---- models
def _model(codec, kind, **kw):
    from transformers import GPT2Config, LlamaConfig

    shared = dict(vocab_size=402, bos_token_id=codec.begin, eos_token_id=codec.end)
    config = (
        GPT2Config(
            **shared, n_layer=2, n_head=2, n_embd=64, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
        )
        if kind == "gpt2"
        else LlamaConfig(
            **shared,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            hidden_size=64,
            intermediate_size=128,
            max_position_embeddings=64,
        )
    )
    return TextGen.new(config, codec.tokenizer, seed=0, device="cpu", **kw)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("name", ["gpt2", "llama", "folder"])
def test_an_empty_prompt_begins_as_the_documents_do(codecs, name, by):
    codec = codecs[name]
    tg = _model(codec, name)
    tg.train(
        TokenDataset.from_texts(LINES, codec.tokenizer),
        steps=60,
        batch_size=8,
        window=24,
        by=by,
        lr=1e-2,
        sample_every=0,
        view=NoView(),
    )
    said = [o.text for o in tg.generate("", n=40, max_new_tokens=4, seed=1)]
    assert sum(t.startswith(FIRST) for t in said) >= 37


def test_an_empty_prompt_of_a_mixture(codecs):
    "Segments from the middle of long documents do not teach that texts begin there."
    codec = codecs["llama"]
    tg = _model(codec, "llama")
    long = [FIRST + ", " + " ".join(np.random.default_rng(k).choice(WORDS, 60)) + "." for k in range(20)]
    tg.train(
        Mixture([Task("a", long, lm(length=24)), Task("b", LINES)]),
        steps=60,
        batch_size=8,
        window=24,
        lr=1e-2,
        sample_every=0,
        view=NoView(),
    )
    said = [o.text for o in tg.generate("", n=40, max_new_tokens=4, seed=1)]
    assert sum(t.startswith(FIRST) for t in said) >= 37


def _plain_loss(tg, codec, documents, window, by):
    "Mean loss of all tokens but begins, with transformers alone; context is what lies in the window."
    model = tg.model.eval()
    drop = 1 if codec.begin_ids == [codec.end] else 0
    parts = documents if by != "stream" else [documents[0][:drop] + [i for d in documents for i in d[drop:]]]
    nats = n = 0
    for part in parts:
        for a in range(0, len(part) - 1, window):
            row = torch.tensor([part[a : a + window + 1]])
            with torch.no_grad():
                each = torch.nn.functional.cross_entropy(
                    model(row[:, :-1]).logits[0].float(), row[0, 1:], reduction="none"
                )
            keep = torch.tensor([bool(drop) or i not in codec.begin_ids for i in row[0, 1:].tolist()])
            nats, n = nats + each[keep].sum().item(), n + int(keep.sum())
    return nats / n, n


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_evaluate_is_a_plain_loop_over_the_whole_text(codecs, name, by):
    codec = codecs[name]
    tg = _model(codec, name)
    texts = [*LINES[:7], " ".join(LINES[7:20])]
    data = TokenDataset.from_texts(texts, codec.tokenizer)
    want, n = _plain_loss(tg, codec, _documents(codec, data), 24, by)
    got = tg.evaluate(data, window=24, by=by)
    assert n == got.tokens == len(data.tokens) and abs(got.loss - want) < 1e-4
    task = tg.evaluate(Mixture([Task("a", texts[:7]), Task("b", texts[7:])], "equal"), window=24)
    assert task.tokens == n
    if by == "row":
        assert abs(task.loss - want) < 1e-2  # where a part begins differs by the begin token alone


def test_an_old_cache_trains_as_a_new_one(codecs, tmp_path):
    """A cache holds text and end, and nothing of what begins a text; one written by hand as ever was trains to the
    same weights."""
    codec = codecs["llama"]
    tokens, starts = [], [0]
    for t in LINES:
        tokens += [*codec.encode(t), codec.end]
        starts.append(len(tokens))
    old = TokenDataset(np.array(tokens, np.uint16), np.array(starts, np.uint64), codec)
    old.save(tmp_path / "old.tokens")
    TokenDataset.from_texts(LINES, codec.tokenizer, save=tmp_path / "new.tokens")
    assert TokenDataset.load(tmp_path / "new.tokens").tokens.tolist() == tokens
    runs = [
        _model(codec, "llama")
        .train(tmp_path / f"{n}.tokens", steps=5, batch_size=4, window=24, sample_every=0, view=NoView())
        .losses
        for n in ("old", "new")
    ]
    assert runs[0] == runs[1]


def test_validation_measures_all_that_is_held_out(codecs):
    "All of it; and of more than it may take, batches from everywhere."
    from textgen.training.evaluate import some_batches

    codec = codecs["llama"]
    data = TokenDataset.from_texts(LINES, codec.tokenizer)

    def batches():
        return eval_batches("causal", data, codec, Reading(window=24, validation=0.5))

    def count(found):
        return sum(int((b["labels"] != -100).sum()) for b in found)

    assert count(some_batches(batches(), 100_000)) == len(data.split(0.5)[1].tokens)
    each = [dict(labels=np.full((1, 10), k)) for k in range(1000)]
    kept = [int(b["labels"][0, 0]) for b in some_batches(iter(each), 500)]
    assert 25 <= len(kept) <= 50 and len(set(np.diff(kept))) == 1 and kept[-1] > 900


def test_a_decoder_is_trained_with_what_it_starts_from(codecs):
    """BART's labels are <s> text </s>, as transformers makes them; T5's text </s>; the decoder reads its start token
    first."""
    from transformers import BartConfig, BartForConditionalGeneration

    bart = Codec(
        _template(
            _own(codecs["gpt2"].tokenizer, bos_token="<s>", eos_token=codecs["gpt2"].tokenizer.eos_token),
            f"<s> $A {codecs['gpt2'].tokenizer.eos_token}",
        )
    )
    b = make_source("seq2seq", Task("t", LINES), bart, Reading(batch_size=4))[0]
    for i, m, l in zip(b["input_ids"], b["attention_mask"], b["labels"]):
        assert i[0] == bart.begin and i[m == 1][-1] == bart.end and l[0] == bart.begin and l[l >= 0][-1] == bart.end
        assert l[l >= 0].tolist() == bart.tokenizer(bart.decode(l[l >= 0])).input_ids
    net = BartForConditionalGeneration(
        BartConfig(
            vocab_size=402,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_position_embeddings=64,
            bos_token_id=bart.begin,
            eos_token_id=bart.end,
            pad_token_id=1,
            decoder_start_token_id=bart.end,
            forced_bos_token_id=bart.begin,
            forced_eos_token_id=None,
            dropout=0.0,
        )
    ).eval()
    from textgen.models.seq2seq import wrap

    batch = {k: torch.from_numpy(b[k]) for k in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        assert abs(wrap(net).loss(batch) - net(**batch).loss) < 1e-5


def test_a_tokenizer_that_begins_nothing_trains(codecs, tmp_path):
    "Samples go on from the text's first tokens; a seq2seq model, whose inputs may be empty, says so at the start."

    class Keeps(NoView):
        def sample(self, step, samples):
            prompts.append(samples[0].prompt)

    prompts, tok = [], codecs["none"].tokenizer
    (tmp_path/"a.txt").write_text("the sea is calm tonight\n"*40)
    short = dict(by="line", steps=2, batch_size=2, window=16, sample_every=1, view=Keeps())
    TextGen.new("mini", tok, context=32, device="cpu").train(tmp_path/"a.txt", **short)
    assert len(prompts)==2 and all(p and "the sea is calm tonight".startswith(p) for p in prompts)
    with pytest.raises(TrainError, match="no token that begins or ends a text"):
        TextGen.new("t5-mini", tok, device="cpu").train(tmp_path/"a.txt", **short)
    pairs = Task("pairs", [dict(q="the sea", a="is calm")]*20, [fields("q", to="a")])
    TextGen.new("t5-mini", tok, device="cpu").train(pairs, **short | dict(by=None))
    TextGen.new("mini", tok, context=32, device="cpu").train(pairs, **short | dict(by=None))
    assert prompts[2:]==["the sea"]*2 + ["the sea\n"]*2
