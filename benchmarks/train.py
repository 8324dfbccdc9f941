"""A training step on a CPU, against transformers' Trainer; and what Lightning adds to one.

    python benchmarks/train.py [mini gpt2 lightning] [--repeat 3]

Every measurement is a process of its own; the figure is the median step after the first ones (compiling excluded), the memory the largest resident set. The order of the peers changes
from repetition to repetition. Trainer "at its best" is bf16 and torch.compile with the fused AdamW; its defaults are what it does when nothing is said.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from main_job import RESULTS, machine

SHAPES = dict(mini=(32, 64, 40), gpt2=(4, 256, 7))  # rows, tokens in a row, steps
VOCAB = dict(mini=1000, gpt2=50257)
WHO = {"textgen": dict(optimizer="adamw"), "textgen, Muon": dict(optimizer="muon"), "textgen, compiled": dict(optimizer="adamw", compile=True),
       "Trainer, defaults": {}, "Trainer, bf16": dict(bf16=True, optim="adamw_torch_fused"), "Trainer, at its best": dict(bf16=True, torch_compile=True, optim="adamw_torch_fused")}


class Source:
    "Rows of random tokens."
    def __init__(self, rows, window, vocab, seed=0):
        import numpy as np
        self.rng, self.size, self.vocab = np.random.default_rng(seed), (rows, window), vocab
    def batch(self): return self.rng.integers(0, self.vocab, self.size)

def config(shape):
    from transformers import GPT2Config
    size = dict(mini=dict(n_layer=4, n_head=4, n_embd=128, n_positions=256), gpt2=dict(n_layer=12, n_head=12, n_embd=768, n_positions=1024))[shape]
    return GPT2Config(vocab_size=VOCAB[shape], resid_pdrop=0., embd_pdrop=0., attn_pdrop=0., bos_token_id=None, eos_token_id=None, **size)

def tokenizer(n):
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.WordLevel({str(i): i for i in range(n)}, unk_token="0"))
    t.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=t)


# ---- ours
def textgen(shape, kw):
    "Seconds of each step of `TextGen.train`."
    import numpy as np
    import pytorch_lightning as pl
    from textgen import TextGen, TokenDataset
    from textgen.callback import NoView
    from textgen.tokenizer import Codec
    rows, window, steps = SHAPES[shape]
    tok, times = tokenizer(VOCAB[shape]), []
    data = TokenDataset(np.random.default_rng(0).integers(0, VOCAB[shape], 200_000).astype(np.uint16), np.array([0, 200_000], np.uint64), Codec(tok), {})
    class Clock(pl.Callback):
        def on_train_batch_end(self, *args): times.append(time.perf_counter())
    tg = TextGen.new(config(shape), tok)
    tg.train(data, steps=steps, batch_size=rows, window=window, lr=1e-4, sample_every=0, view=NoView(), callbacks=(Clock(),), **kw)
    return [b-a for a, b in zip(times, times[1:])]

def bare(shape, kw):
    "Seconds of each step of the same module without Lightning."
    import torch
    from textgen.model import wrap
    from textgen.module import Plan, fast_cpu, make_optimizer
    from textgen.trainer import pick_precision
    from transformers import AutoModelForCausalLM
    from torch.nn.utils import clip_grad_norm_
    rows, window, steps = SHAPES[shape]
    model, low = AutoModelForCausalLM.from_config(config(shape)).train(), pick_precision(torch.device("cpu")) == "bf16"
    wrapped, opt, source, times = wrap(model), make_optimizer(model, Plan(1e-4, steps, optimizer="adamw")), Source(rows, window+1, VOCAB[shape]), []
    with fast_cpu(model, window, low):
        for _ in range(steps):
            ids = torch.from_numpy(source.batch())
            with torch.autocast("cpu", torch.bfloat16, enabled=low): loss = wrapped.loss(dict(input_ids=ids[:, :-1], labels=ids[:, 1:]))
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.)
            opt.step(); opt.zero_grad()
            times.append(time.perf_counter())
    return [b-a for a, b in zip(times, times[1:])]


# ---- theirs
def trainer(shape, kw):
    "Seconds of each step of transformers' Trainer."
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
    rows, window, steps = SHAPES[shape]
    ids, times = torch.from_numpy(Source(rows*steps, window, VOCAB[shape]).batch()), []
    data = [dict(input_ids=o, labels=o) for o in ids]
    class Clock(TrainerCallback):
        def on_step_end(self, *args, **kwargs): times.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as d:
        args = TrainingArguments(d, per_device_train_batch_size=rows, max_steps=steps, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True, **kw)
        Trainer(AutoModelForCausalLM.from_config(config(shape)), args, train_dataset=data, callbacks=[Clock()]).train()
    return [b-a for a, b in zip(times, times[1:])]


def one(who, shape):
    "(milliseconds a step, peak MB) in a process of its own."
    p = subprocess.run([sys.executable, __file__, "--one", who, "--shape", shape], capture_output=True, text=True)
    if p.returncode: sys.exit(p.stderr)
    return json.loads(p.stdout.splitlines()[-1])

def alone(who, shape):
    "Measure in this process."
    f, kw = (bare, {}) if who == "bare" else (textgen if who.startswith("textgen") else trainer, WHO[who])
    times = f(shape, kw)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(json.dumps([1e3*statistics.median(times[len(times)//3:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/unit]))

def table(shape, names, repeat):
    "Medians, side by side."
    got = {n: [] for n in names}
    for k in range(repeat):
        for n in names[k % len(names):]+names[:k % len(names)]: got[n].append(one(n, shape))
    rows, window, _ = SHAPES[shape]
    ms, mb = ({n: statistics.median(o[i] for o in v) for n, v in got.items()} for i in (0, 1))
    lines = [f"| {n} | {ms[n]:,.0f} | {rows*window/ms[n]*1e3:,.0f} | {mb[n]:,.0f} |" for n in names]
    return "\n".join([f"## {shape}, {rows}×{window} tokens\n", "| | ms a step | tokens/s | peak MB |", "|---|---|---|---|", *lines]), ms, mb

def compared(shape, repeat):
    text, ms, mb = table(shape, [n for n in WHO if shape == "mini" or n in ("textgen", "Trainer, defaults", "Trainer, at its best")], repeat)
    best = min(v for n, v in ms.items() if n in ("textgen", "textgen, compiled"))
    ratio = {n: ms[n]/best for n in ("Trainer, defaults", "Trainer, at its best")}
    return f"{text}\n\n{ratio['Trainer, defaults']:.2f}× as fast as Trainer's defaults, {ratio['Trainer, at its best']:.2f}× as its best; {mb['textgen']/mb['Trainer, at its best']:.2f}× the memory of its best."

def lightning(repeat):
    text, ms, _ = table("mini", ["textgen", "bare"], max(repeat, 5))
    return f"{text.replace('## mini', '## Lightning: mini')}\n\nLightning, callbacks and batches add {100*(ms['textgen']/ms['bare']-1):.1f}% to the step of a bare loop."

def main():
    a = argparse.ArgumentParser()
    a.add_argument("what", nargs="*"); a.add_argument("--repeat", type=int, default=3); a.add_argument("--one"); a.add_argument("--shape")
    args = a.parse_args()
    if args.one: return alone(args.one, args.shape)
    RESULTS.mkdir(exist_ok=True)
    for what in args.what or ["mini", "gpt2", "lightning"]:
        text = lightning(args.repeat) if what == "lightning" else compared(what, args.repeat)
        (RESULTS/f"train_{what}.md").write_text(f"# Training on a CPU: {what}\n\n{machine()}\n\n{text.replace('## ', '**', 1).replace(' tokens', ' tokens**', 1)}\n")
        print(text, flush=True)


if __name__ == "__main__": main()
