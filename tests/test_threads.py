"One model in many hands, and nobody's random numbers disturbed."
import json
import pickle
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import pytest
import torch
from textgen import GenerateError, TextGen, TextGenError, TokenDataset, train_tokenizer
from textgen.models.weights import model_hash
from textgen.training.callback import NoView

ASKS = [
    dict(prompt=p, seed=s, n=n, max_new_tokens=12, temperature=t)
    for s, (p, n, t) in enumerate(
        [("", 1, 0.7), ("The sea", 3, 1.0), ("a\nb", 2, 0), ("Zoë 🐟", 1, 1.3), ("The " * 90, 2, 0.7)] * 4
    )
]


def _ask(tg, k):
    out = tg.generate(**k)
    return [(s.text, s.tokens, s.logprob) for s in out], out.seed, out.receipt.to_json()


def test_threads_write_what_one_alone_writes(tg, model_folder):
    "Texts, ids, log-probabilities and receipts of 20 calls by six threads; also of a fresh `TextGen`."
    alone, fresh = [_ask(tg, k) for k in ASKS], TextGen(model_folder, device="cpu")
    for model in (tg, fresh):
        with ThreadPoolExecutor(6) as pool: assert list(pool.map(_ask, [model]*len(ASKS), ASKS))==alone

def test_threads_that_start_together(model_folder):
    "All at one barrier, with padding and truncation set: there transformers says `Already borrowed`."
    tg, ready = TextGen(model_folder, device="cpu"), threading.Barrier(8)
    tg.tokenizer.pad_token = tg.tokenizer.eos_token
    tg.tokenizer("a b", padding="max_length", truncation=True, max_length=4)

    def work(i):
        ready.wait()
        return [tg.generate("The", seed=i, max_new_tokens=3)[0].tokens for _ in range(5)]

    with ThreadPoolExecutor(8) as pool: found = list(pool.map(work, range(8)))
    assert found==[[tg.generate("The", seed=i, max_new_tokens=3)[0].tokens]*5 for i in range(8)]

def test_threads_write_files(tg, tmp_path):
    "Each its own file with its own receipt; two that write to one path leave one whole text."
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda i: tg.generate_to_file(tmp_path / f"{i}.txt", "The", n=2, max_new_tokens=5, seed=i), range(8)
            )
        )
        list(
            pool.map(
                lambda i: tg.generate_to_file(tmp_path / "same.txt", "The", n=2, max_new_tokens=5, seed=i), range(8)
            )
        )
    assert [json.loads((tmp_path/f"{i}.txt.receipt.json").read_text())["seed"] for i in range(8)]==list(range(8))
    assert (tmp_path / "same.txt").read_bytes() in {(tmp_path / f"{i}.txt").read_bytes() for i in range(8)} and len(
        list(tmp_path.iterdir())
    ) == 18


def test_files_without_a_name_do_not_meet(tg, tmp_path, monkeypatch):
    "Eight threads, one seed, no path: eight files."
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: tg.generate_to_file(prompt="The", n=1, max_new_tokens=30, seed=7), range(8)))
    assert len(set(paths))==8 and all(p.exists() for p in paths)

def test_one_dataset_in_many_threads(data):
    "Batches, documents and encoding, all at once."
    from textgen.tasks.window import Windows
    def work(k): return Windows(data, 16, 4, seed=3)[k].tolist(), data.decode(data[k]), data.encode(f"The sea {k}")
    with ThreadPoolExecutor(8) as pool: assert list(pool.map(work, range(40)))==[work(k) for k in range(40)]

def _load_in_threads(folder, pipe):
    with ThreadPoolExecutor(4) as pool: many = [pool.submit(TextGen, folder, device="cpu") for _ in range(24)]
    try: one = TextGen(folder, device="cpu").generate("a", seed=1, max_new_tokens=5)[0].text
    except Exception as e: one = repr(e)
    pipe.send(
        (
            one,
            [
                repr(e) if (e := m.exception()) else m.result().generate("a", seed=1, max_new_tokens=5)[0].text
                for m in many
            ],
        )
    )


def test_loading_in_many_threads(model_folder, tg, spare):
    "All load, and so does one more afterwards. (In a process of its own: a disturbed transformers never recovers.)"
    ours, theirs = spare.Pipe()
    p = spare.Process(target=_load_in_threads, args=(model_folder, theirs))
    p.start()
    text = tg.generate("a", seed=1, max_new_tokens=5)[0].text
    assert ours.recv()==(text, [text]*24)
    p.join()

def test_training_outside_the_main_thread(tiny, tok, data):
    "A notebook's button trains in a thread; another thread may stop it."
    from textgen.training.callback import Control
    stop, tg = Control(), tiny(tok)
    class View(NoView):
        def update(self, step, *args): stop.stop()

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            lambda: tg.train(data, steps=100_000, batch_size=1, sample_every=0, view=View(), control=stop)
        ).result()
    assert run.stopped and 1<=run.steps<100_000


# ---- the same seed
TRAIN = """
import json,sys
from transformers import GPT2Config
from textgen import TextGen
from textgen.models.weights import model_hash
from textgen.training.callback import NoView
from textgen.models.weights import model_hash
for dropout in (0., .1):
    drop = dict(resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
    shape = dict(vocab_size=400, n_layer=2, n_head=2, n_embd=32, n_positions=64)
    c = GPT2Config(**shape, bos_token_id=0, eos_token_id=0, **drop)
    tg = TextGen.new(c, sys.argv[1], seed=5, device="cpu")
    run = tg.train(sys.argv[2], steps=12, batch_size=4, seed=5, sample_every=5, view=NoView())
    out = tg.generate("The", n=3, seed=1, max_new_tokens=20)
    print(json.dumps([run.losses, model_hash(tg.model), out.receipt["samples"]]))"""


def test_same_seed_in_two_processes(apart, tok_folder, cache, capsys, monkeypatch):
    "Another one and this: every loss, the weights and the texts are equal to the last bit, with dropout too."
    monkeypatch.setattr(sys, "argv", ["", str(tok_folder), str(cache)])
    exec(TRAIN, {})
    other = apart("-c", TRAIN, tok_folder, cache)
    assert other.code == 0, other.err
    a, b = capsys.readouterr().out, other.out
    plain, dropped = map(json.loads, a.splitlines())
    assert a==b and plain!=dropped and len(plain[0])==12 and plain[0][-1]<plain[0][0]

def test_other_seed_other_losses(tiny, tok, data):
    a, b, c = (
        tiny(tok, m).train(data, steps=3, batch_size=2, seed=s, sample_every=0, view=NoView()).losses
        for m, s in ((0, 0), (1, 0), (0, 1))
    )
    assert a!=b!=c!=a

def test_samples_and_saves_do_not_change_training(tiny, tok, data, tmp_path):
    "What one looks at on the way has no influence."
    a = tiny(tok).train(data, steps=6, batch_size=2, sample_every=0, view=NoView()).losses
    assert (
        a
        == tiny(tok)
        .train(data, steps=6, batch_size=2, sample_every=1, save_every=2, save_to=tmp_path / "m", view=NoView())
        .losses
    )


def test_same_cache_from_memory_and_disk(tiny, tok, data, cache):
    a, b = (tiny(tok).train(d, steps=3, batch_size=2, sample_every=0, view=NoView()).losses for d in (data, cache))
    assert a==b


# ---- global state
def _random_state():
    import torch
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))

def _settings():
    import logging
    import os
    import signal
    import warnings
    import torch

    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled(),
        list(warnings.filters),
        logging.getLogger().level,
        logging.getLogger("pytorch_lightning").level,
        signal.getsignal(signal.SIGINT),
        os.getcwd(),
        os.environ.get("PL_GLOBAL_SEED"),
    )


@pytest.fixture(scope="module")
def uses(tiny, tok, data, model_folder, tmp_path_factory):
    "Everything one does, by name."
    d, dropout = tmp_path_factory.mktemp("uses"), tiny(tok)
    dropout.model.config.resid_pdrop = .5
    from torch.nn import Dropout
    for m in dropout.model.modules():
        if isinstance(m, Dropout): m.p = .5
    few = dict(steps=2, batch_size=1, sample_every=1, view=NoView())
    return dict(
        new=lambda: tiny(tok, 3),
        load=lambda: TextGen(model_folder, device="cpu"),
        save=lambda: TextGen(model_folder, device="cpu").save(d / "m"),
        train=lambda: tiny(tok).train(data, save_to=d / "t", overwrite=True, **few),
        dropout=lambda: dropout.train(data, **few),
        generate=lambda: TextGen(model_folder, device="cpu").generate("a", n=3, max_new_tokens=4),
        greedy=lambda: TextGen(model_folder, device="cpu").generate("a", temperature=0, max_new_tokens=4),
        tokenizer=lambda: train_tokenizer(texts=["a b c"] * 9, vocab_size=260),
        encode=lambda: TokenDataset.from_texts(["a b c"], tok),
    )


@pytest.mark.parametrize(
    "use", ["new", "load", "save", "train", "dropout", "generate", "greedy", "tokenizer", "encode"]
)
def test_global_state_is_as_before(uses, use):
    "Random numbers of Python, numpy and torch, and the settings of torch, logging, warnings and signals."
    import torch

    uses[use]()  # what the first use imports may set what it likes
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before, settings = _random_state(), _settings()
    uses[use]()
    assert _random_state() == before and _settings() == settings


def test_global_seeds_have_no_influence(tok, data, tiny):
    "Another global seed, the same weights and losses."
    import torch
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        found.append(tiny(tok).train(data, steps=2, batch_size=2, sample_every=0, view=NoView()).losses)
    assert found[0]==found[1]

def test_state_after_a_failure(tiny, tok, data):
    "An error in the middle of training leaves everything as it was, and the model usable."
    class Fails(NoView):
        def update(self, *args): raise RuntimeError("stop here")
    tg = tiny(tok)
    before, settings = _random_state(), _settings()
    with pytest.raises(RuntimeError, match="stop here"): tg.train(data, steps=2, batch_size=1, view=Fails())
    assert _random_state()==before and _settings()==settings and not tg.model.training
    assert tg.generate("a", seed=1, max_new_tokens=3)[0].tokens

def test_numpy_numbers_are_numbers(tg):
    "Settings from an array or a table are written into the receipt like others."
    out = tg.generate("a", n=np.int64(2), max_new_tokens=np.int32(3), temperature=np.float32(.5), seed=np.int64(1))
    assert json.loads(out.receipt.to_json())["settings"]["n"]==2

@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, 2**64], ids=repr)
def test_seeds_that_are_none(tg, tok, data, tiny, seed):
    with pytest.raises(GenerateError, match="seed must be"): tg.generate("a", seed=seed)
    with pytest.raises(TextGenError, match="seed must be"): tiny(tok, seed)
    with pytest.raises(TextGenError, match="seed must be"): tg.train(data, steps=1, seed=seed)


# ---- dropout
def _dropping(kind):
    "A tiny configuration of a model that drops numbers in training."
    from transformers import AutoConfig
    gpt2 = dict(n_embd=16, n_layer=2, n_head=2, n_positions=32, attn_pdrop=.2, resid_pdrop=.2, embd_pdrop=.2)
    sizes = dict(layers=1, attention_heads=2, ffn_dim=16, layerdrop=.2)
    halves = {f"{half}_{k}": v for half in ("encoder", "decoder") for k,v in sizes.items()}
    bart = dict(halves, d_model=16, max_position_embeddings=32, dropout=.2, decoder_start_token_id=0)
    more = dict(gpt2=gpt2, bart=bart)
    return AutoConfig.for_model(kind, vocab_size=400, bos_token_id=0, eos_token_id=0, pad_token_id=0, **more[kind])

def _trained(kind, tok, data, **how):
    "The losses and the hash of a short training."
    tg = TextGen.new(_dropping(kind), tok, seed=3, device="cpu")
    run = tg.train(data, steps=6, batch_size=2, window=16, sample_every=0, seed=5, view=NoView(), **how)
    return run.losses, model_hash(tg.model)

@pytest.mark.parametrize(("kind", "how"), [("gpt2", {}), ("gpt2", dict(checkpointing=True)), ("bart", {})])
def test_dropout_is_the_runs_own(kind, how, tok, data):
    "Two trainings in threads, beside one that draws, are each as alone; who draws is not disturbed."
    alone = _trained(kind, tok, data, **how)
    assert alone==_trained(kind, tok, data, **how)
    torch.manual_seed(1)
    want, drawn, stop = torch.rand(200_000), [], threading.Event()
    torch.manual_seed(1)
    def draw():
        while not stop.is_set(): drawn.append(torch.rand(7))
    user = threading.Thread(target=draw)
    user.start()
    try:
        with ThreadPoolExecutor(2) as pool: both = list(pool.map(lambda k: _trained(k, tok, data, **how), [kind]*2))
    finally:
        stop.set()
        user.join()
    assert both==[alone]*2
    mine = torch.cat(drawn[:20_000])
    assert len(mine)>700 and torch.equal(mine, want[:len(mine)])

def test_without_dropout_nothing_is_watched(tok):
    "A model that drops nothing runs without our mode; GPT-2's `summary_first_dropout` is not used."
    from textgen.training.module import _has_dropout
    assert not _has_dropout(TextGen.new("mini", tok, device="cpu").model)
    assert all(_has_dropout(TextGen.new(_dropping(kind), tok, device="cpu").model) for kind in ("gpt2", "bart"))
