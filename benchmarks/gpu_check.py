"""Is it right on a GPU? What the tests see on a CPU is seen again where a GPU is at hand.

    python benchmarks/gpu_check.py [--only NAME,NAME]

Each check compares with an independent way: the model itself, the same model on the CPU, the folder that was saved. A
line for each, and 1 as exit status where one is wrong. Without a GPU the same checks run on the CPU, where nothing is
recorded, to see that they work.
"""

import argparse
import sys
import tempfile
import threading
import time
import traceback

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHECKS = []


def check(run):
    "Register a check; it returns what it has found, and raises where that is wrong."
    CHECKS.append(run)
    return run


# ---- what they share
def tokenizer(size=1000):
    from textgen import bundled, train_tokenizer
    return train_tokenizer(bundled("poems"), vocab_size=size)


def configs():
    "Small models of each family that has a plan."
    from transformers import GPT2Config, LlamaConfig, Qwen3Config, T5Config
    head = dict(hidden_size=256, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4)
    several = dict(num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False)
    t5 = dict(d_model=256, d_kv=64, d_ff=512, num_layers=3, num_heads=4)
    return dict(
        gpt2=GPT2Config(n_layer=3, n_head=4, n_embd=256, n_positions=512, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0),
        llama=LlamaConfig(**head, **several),
        qwen3=Qwen3Config(**head, **several, head_dim=64),
        t5=T5Config(**t5, dropout_rate=0.0),
        t5_gated=T5Config(**t5, dropout_rate=0.0, feed_forward_proj="gated-gelu"),
    )


def made(name, seed=3):
    "A model with random weights, which are large enough for its logits to differ."
    from textgen import TextGen
    tg = TextGen.new(configs()[name], tokenizer(), seed=seed, device=DEVICE)
    with torch.no_grad():
        for p in tg.model.parameters(): p.mul_(3 if p.ndim > 1 else 1)
    return tg


def engines(tg):
    "The model itself, and the fastest engine for it."
    from textgen.generation.engine import faster
    fast = faster(tg.wrapped)
    assert DEVICE == "cpu" or fast.engine.startswith("graph"), (fast.engine, fast.why_not_faster)
    assert DEVICE == "cpu" or not fast.why_not_faster, fast.why_not_faster
    return tg.wrapped, fast


def ids(decoder, tg, prompt, **settings):
    "The ids of the texts that a decoder writes."
    from textgen.generation.generate import generate
    from textgen.settings import GenerateSettings
    made = generate(decoder, tg.codec, prompt, GenerateSettings(**dict(seed=5, max_new_tokens=60) | settings))
    return [s.tokens for s in made]


def share(a, b):
    "The share of texts that are the same."
    assert len(a) == len(b)
    return sum(x == y for x, y in zip(a, b)) / len(a)


PROMPTS = ["The sea", "O", "When I consider how my light is spent, and all the stars above the water"]
WAYS = dict(
    drawn=dict(n=40),
    greedy=dict(n=2, temperature=0),
    long=dict(n=4, max_new_tokens=300, min_new_tokens=300),
    few_rows=dict(n=40, batch_size=8),
    min_tokens=dict(n=20, min_new_tokens=20),
    temperatures=dict(n=10, temperature=[0.0, 0.5, 1.0, 1.5, 0.8]*2),
    top_k=dict(n=20, top_k=40),
    top_p=dict(n=20, top_p=0.9),
    min_p=dict(n=20, min_p=0.05),
    filters=dict(n=20, top_k=50, top_p=0.95, min_p=0.02, temperature=0.8),
    rules=dict(n=10, repetition_penalty=1.2, no_repeat_ngram=3),
    stop=dict(n=10, stop=["e"]),
)


# ---- generation
@check
def steps_as_the_model():
    "The logits of 100 steps, in float32 and bfloat16, in worst standard deviations."
    from textgen.generation.engine import distance
    found = {}
    for name in configs():
        tg = made(name)
        plain, fast = engines(tg)
        found[name] = distance(plain, fast, rows=3, steps=100)
        assert found[name] < 1e-3, found
        tg.model.to(torch.bfloat16)
        plain, fast = engines(tg)
        found[f"{name} bf16"] = distance(plain, fast, rows=3, steps=20)
        assert found[f"{name} bf16"] < 0.3, found  # a T5 scales nothing; two ways of rounding differ so far on a CPU
    return {k: f"{v:.0e}" for k, v in found.items()}


@check
def texts_as_the_model():
    "Texts of every kind of draw, with rows that are given on; rounding may turn a few."
    found = {}
    for name in ("gpt2", "llama", "t5"):
        tg = made(name)
        plain, fast = engines(tg)
        for way, settings in WAYS.items():
            found[f"{name} {way}"] = share(ids(plain, tg, PROMPTS, **settings), ids(fast, tg, PROMPTS, **settings))
    worst = min(found, key=found.get)
    assert found[worst] >= 0.9, {k: v for k, v in found.items() if v < 1}
    return f"{len(found)} ways, at worst {found[worst]:.0%} the same ({worst})"


@check
def the_same_again():
    "Twice the same call, and the same texts in twos and in fifties."
    tg = made("gpt2")
    _, fast = engines(tg)
    a = ids(fast, tg, PROMPTS, n=50)
    assert a == ids(fast, tg, PROMPTS, n=50)
    one, two = (ids(fast, tg, PROMPTS, n=50, batch_size=b, batch_invariant=True) for b in (2, 50))
    assert one == two
    return f"batch of 2 and of 50 without batch_invariant: {share(a, ids(fast, tg, PROMPTS, n=50, batch_size=2)):.0%}"


@check
def threads():
    "Four threads on one model write what each writes alone."
    tg = made("gpt2")
    _, fast = engines(tg)
    alone = [ids(fast, tg, p, n=16, seed=k) for k, p in enumerate([*PROMPTS, "A"])]
    found = [None]*4
    def run(k, prompt): found[k] = ids(fast, tg, prompt, n=16, seed=k)
    workers = [threading.Thread(target=run, args=(k, p)) for k, p in enumerate([*PROMPTS, "A"])]
    for w in workers: w.start()
    for w in workers: w.join()
    assert found == alone
    return f"{len(fast.boards.free)} boards" if DEVICE == "cuda" else "on a CPU"


@check
def streams_in_turn():
    "Two streams of one model, a piece of each in turn."
    tg = made("gpt2")
    def pieces(k): return tg.stream("The sea", seed=k, max_new_tokens=50)
    want = ["".join(pieces(k)) for k in range(2)]
    found, open_streams = ["", ""], [pieces(0), pieces(1)]
    while open_streams[0] or open_streams[1]:
        for k, s in enumerate(open_streams):
            piece = next(s, None) if s else None
            if piece is None: open_streams[k] = None
            else: found[k] += piece
    assert found == want
    return "the same"


@check
def memory_stays():
    "What is held after 30 calls of many shapes, in MB."
    tg = made("gpt2")
    held = []
    for k in range(30):
        tg.generate(PROMPTS[k % 3], n=1+k % 7*5, max_new_tokens=20+k*5 % 200, seed=k)
        held.append(torch.cuda.memory_allocated()/1e6 if DEVICE == "cuda" else 0)
    assert held[-1] < max(held[:15])*1.5+50, held
    return f"{held[0]:.0f} after the first, {max(held):.0f} at most, {held[-1]:.0f} after the last"


# ---- training
def data_of(tok):
    from textgen import TokenDataset, bundled
    return TokenDataset.from_files(bundled("poems"), tok)


def trained(name, **settings):
    "A model after some steps, and its run."
    from textgen import TextGen, bundled
    from textgen.training.callback import NoView
    tok = tokenizer()
    tg = TextGen.new(configs()[name], tok, seed=1, device=DEVICE)
    data = data_of(tok) if tg.kind == "causal" else bundled("poems")
    ask = dict(steps=40, batch_size=8, window=128, sample_every=0, seed=0, view=NoView()) | settings
    return tg, tg.train(data, **ask)


@check
def seq2seq_trains():
    "A T5 learns, and writes as its saved folder does."
    from textgen import TextGen
    with tempfile.TemporaryDirectory() as d:
        tg, run = trained("t5", save_to=f"{d}/m")
        a, b = (o.generate("The sea", n=4, seed=1, max_new_tokens=30) for o in (tg, TextGen(f"{d}/m", device=DEVICE)))
    assert [s.tokens for s in a] == [s.tokens for s in b] and run.losses[-1] < run.losses[0]-0.3, run.losses
    return f"{run.losses[0]:.2f} to {run.losses[-1]:.2f}"


@check
def training_learns():
    "The loss falls in each precision, and the weights are those of the saved folder, also on the CPU."
    from textgen import TextGen
    found = {}
    for precision in ("fp32", "bf16", "fp16") if DEVICE == "cuda" else ("fp32", "bf16"):
        with tempfile.TemporaryDirectory() as d:
            tg, run = trained("gpt2", precision=precision, save_to=f"{d}/m")
            before = tg.generate("The", n=3, seed=1, max_new_tokens=30)
            again = TextGen(f"{d}/m", device=DEVICE).generate("The", n=3, seed=1, max_new_tokens=30)
            assert [s.tokens for s in before] == [s.tokens for s in again], precision
            data = data_of(tg.tokenizer)
            ours, cpu = tg.evaluate(data), TextGen(f"{d}/m", device="cpu").evaluate(data)
            assert abs(ours.loss-cpu.loss) < 0.01, (ours, cpu)
            found[precision] = f"{run.losses[0]:.2f} to {run.losses[-1]:.2f}"
            assert run.losses[-1] < run.losses[0]-0.5, run.losses
    return found


@check
def old_weights_do_not_write():
    "Generate, train, generate: what is written is what the saved folder writes."
    from textgen import TextGen
    from textgen.training.callback import NoView
    tg, _ = trained("gpt2")
    tg.generate("The", n=3, seed=1)
    with tempfile.TemporaryDirectory() as d:
        tg.train(data_of(tg.tokenizer), steps=20, sample_every=0, view=NoView(), batch_size=8, window=128)
        new = tg.generate("The", n=3, seed=1)
        tg.save(f"{d}/m")
        want = TextGen(f"{d}/m", device=DEVICE).generate("The", n=3, seed=1)
    assert [s.tokens for s in new] == [s.tokens for s in want]
    return "the same"


@check
def dropout_is_the_runs_own():
    "With dropout: the same seed gives the same loss, and a user's random numbers are left alone."
    from textgen import TextGen
    from textgen.training.callback import NoView
    from transformers import GPT2Config
    tok = tokenizer()
    def run(drop=0.1, seed=0):
        tg = TextGen.new(GPT2Config(n_layer=2, n_head=4, n_embd=128, n_positions=128, resid_pdrop=drop), tok,
                         seed=1, device=DEVICE)
        return tg.train(data_of(tok), steps=20, batch_size=4, window=64, seed=seed, sample_every=0, view=NoView(),
                        precision="fp32").losses
    torch.manual_seed(7)
    if DEVICE == "cuda": torch.cuda.manual_seed(7)
    want = torch.rand(3, device=DEVICE)
    torch.manual_seed(7)
    if DEVICE == "cuda": torch.cuda.manual_seed(7)
    a = run()
    assert torch.equal(torch.rand(3, device=DEVICE), want)
    b = run()
    worst = max(abs(x-y) for x, y in zip(a, b))
    assert worst < 1e-3, worst
    return f"largest difference of a loss {worst:.0e}"


@check
def resumed():
    "A run that was stopped half way goes on as if it never was."
    from textgen import TextGen
    from textgen.training.callback import NoView
    whole, _ = trained("gpt2", precision="fp32")
    with tempfile.TemporaryDirectory() as d:
        tok = tokenizer()
        tg = TextGen.new(configs()["gpt2"], tok, seed=1, device=DEVICE)
        ask = dict(batch_size=8, window=128, sample_every=0, seed=0, view=NoView(), precision="fp32", steps=40)
        import pytorch_lightning as pl
        class Halt(Exception): pass
        class Stop(pl.Callback):
            def on_train_batch_end(self, trainer, module, out, batch, k):
                if k == 20: raise Halt
        try: tg.train(data_of(tok), **ask, save_to=f"{d}/m", save_every=10, callbacks=(Stop(),))
        except Halt: pass
        again = TextGen.new(configs()["gpt2"], tok, seed=1, device=DEVICE)
        again.train(data_of(tok), **ask, save_to=f"{d}/m", resume=True)
        a, b = (torch.cat([p.flatten() for p in m.model.parameters()]) for m in (whole, again))
    worst = (a-b).abs().max().item()
    assert worst < 1e-3, worst
    return f"largest difference of a weight {worst:.0e}"


@check
def compiled():
    "A compiled run has the losses of one that is not."
    if DEVICE == "cpu": return "not on a CPU"
    _, plain = trained("gpt2", precision="fp32", compile=False)
    _, fast = trained("gpt2", precision="fp32", compile=True)
    worst = max(abs(x-y) for x, y in zip(plain.losses, fast.losses))
    assert worst < 0.05, worst
    return f"largest difference of a loss {worst:.0e}"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--only", default="")
    asked = a.parse_args()
    wrong = 0
    print(torch.cuda.get_device_name() if DEVICE == "cuda" else "no GPU")
    for run in CHECKS:
        if not any(name in run.__name__ for name in asked.only.split(",")): continue
        start = time.perf_counter()
        try: said = run()
        except Exception:
            wrong += 1
            said = "WRONG\n"+traceback.format_exc()
        print(f"{run.__name__} ({time.perf_counter()-start:.1f} s): {said}", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__": main()
