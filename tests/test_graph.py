"""The steps that a GPU plays back, run here without one: whatever is asked, the texts are the model's own.

What needs the GPU itself is in benchmarks/gpu_check.py.
"""

import gc
import threading
import pytest
import torch
from textgen.core import GenerateError
from textgen.generation.generate import generate, stream
from textgen.generation.graph import GraphDecoder
from textgen.generation.plans import linear_maker, read_plan
from textgen.models.build import new_model
from textgen.models.seq2seq import wrap
from textgen.settings import GenerateSettings
from textgen.text.codec import Codec

PROMPTS = ["The sea", "O", "When I consider how my light is spent, and all the stars above the water"]
WAYS = dict(
    drawn=dict(n=12),
    greedy=dict(n=2, temperature=0),
    long=dict(n=2, max_new_tokens=150, min_new_tokens=150),
    few_rows=dict(n=6, batch_size=3),
    min_tokens=dict(n=6, min_new_tokens=20),
    temperatures=dict(n=5, temperature=[0.0, 0.5, 1.0, 1.5, 0.8]),
    filters=dict(n=6, top_k=50, top_p=0.95, min_p=0.02, temperature=0.8),
    rules=dict(n=4, repetition_penalty=1.2, no_repeat_ngram=3),
    stop=dict(n=4, stop=["e"]),
    fixed=dict(n=4, batch_invariant=True, max_new_tokens=20),
)


@pytest.fixture(scope="module")
def pairs(tok):
    "Of each kind the model itself, and the decoder that plays steps back."
    codec = Codec(tok)
    linear = linear_maker(torch.float32, "cpu")
    found = {}
    for preset in ("mini", "t5-mini"):
        plain = wrap(new_model(preset, codec, seed=3))
        with torch.no_grad():
            for p in plain.model.parameters():
                p.mul_(3 if p.ndim > 1 else 1)  # or one token would be as likely as another
        found[preset] = plain, GraphDecoder(plain, read_plan(plain.model, linear))
    return codec, found


def ids(decoder, codec, prompt=PROMPTS, **settings):
    made = generate(decoder, codec, prompt, GenerateSettings(**dict(seed=5, max_new_tokens=40) | settings))
    return [(s.tokens, s.finish_reason) for s in made]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("preset", ["mini", "t5-mini"])
def test_texts_are_the_models_own(pairs, preset, way):
    codec, found = pairs
    plain, graph = found[preset]
    want, got = (ids(d, codec, **WAYS[way]) for d in (plain, graph))
    assert sum(a == b for a, b in zip(want, got)) >= 0.9 * len(want)  # rounding may turn one


def test_logprobs_are_those_of_one_pass(pairs):
    codec, found = pairs
    plain, graph = found["mini"]
    settings = GenerateSettings(seed=1, max_new_tokens=30, temperature=0.7, top_k=20)
    sample = generate(graph, codec, "The sea", settings)[0]
    with torch.inference_mode():
        scores = plain.score(torch.tensor([codec.prompt_ids("The sea")]), torch.tensor([sample.tokens]))[0]
    each = scores.log_softmax(-1)[range(len(sample.tokens)), sample.tokens]
    assert sample.logprob == pytest.approx(each.sum().item(), abs=1e-3)


def test_rows_that_no_token_belongs_to_are_not_drawn(tok):
    codec = Codec(tok)
    model = new_model("mini", codec, seed=3)
    model.resize_token_embeddings(len(codec) + 30, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[len(codec) :] *= 50
    plain = wrap(model)
    graph = GraphDecoder(plain, read_plan(model, linear_maker(torch.float32, "cpu")))
    assert max(i for tokens, _ in ids(graph, codec, n=8) for i in tokens) < len(codec)


def test_threads_and_streams_in_turn(pairs):
    "Each has a board of its own, which goes back when it is done."
    codec, found = pairs
    graph = found["mini"][1]
    alone = [ids(graph, codec, "The sea", n=4, seed=k) for k in range(3)]
    got = [None] * 3

    def run(k):
        got[k] = ids(graph, codec, "The sea", n=4, seed=k)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert got == alone
    settings = [GenerateSettings(seed=k, max_new_tokens=30) for k in range(2)]
    want = ["".join(stream(graph, codec, "The sea", s)) for s in settings]
    a, b = (stream(graph, codec, "The sea", s) for s in settings)
    texts = ["", ""]
    for one, other in zip(a, b):
        texts[0] += one
        texts[1] += other
    assert want[0].startswith(texts[0]) and want[1].startswith(texts[1]) and texts[0] and texts[1]
    del a, b
    gc.collect()
    assert 0 < len(graph.boards.free) <= 8


def test_a_model_that_is_gone_takes_its_boards_along(tok):
    import weakref

    codec = Codec(tok)
    plain = wrap(new_model("mini", codec, seed=3))
    graph = GraphDecoder(plain, read_plan(plain.model, linear_maker(torch.float32, "cpu")))
    ids(graph, codec, "The sea", n=2)
    board = weakref.ref(graph.boards.free[0])
    del graph
    assert board() is None  # at once: a GPU's memory cannot wait for the garbage collector


def test_a_model_that_gives_no_numbers_is_an_error(tok):
    "And no id beyond the vocabulary, which would end the whole process on a GPU."
    codec = Codec(tok)
    plain = wrap(new_model("mini", codec, seed=3))
    with torch.no_grad():
        plain.model.transformer.ln_f.weight.fill_(torch.nan)
    graph = GraphDecoder(plain, read_plan(plain.model, linear_maker(torch.float32, "cpu")))
    for settings in (dict(), dict(temperature=0), dict(top_k=5, top_p=0.9), dict(min_new_tokens=5)):
        with pytest.raises(GenerateError, match="not a number"):
            ids(graph, codec, "The sea", n=3, max_new_tokens=10, **settings)
