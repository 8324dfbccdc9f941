"""A training step on a CPU, against transformers' Trainer; and what Lightning adds to one.

    python benchmarks/train.py [mini gpt2 lora lightning] [--repeat 3]

Every measurement is a process of its own; the figure is the median step after the first ones (compiling excluded), the
memory the largest resident set. The order of the peers changes
from repetition to repetition. What Lightning adds is too little to be seen between processes: there a step of
`TextGen.train` and one of a bare loop take turns in one process. Trainer is compared at its best: compiled, with the
fused AdamW, in bf16 or float32, whichever is faster here; its defaults are what it does when nothing is said.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from record import RESULTS, Record, here, machine

FASTER = 1.5  # asked for: times as fast as Trainer at its best, `mini`
SHAPES = dict(mini=(32, 64, 40), gpt2=(4, 256, 7))  # rows, tokens in a row, steps
VOCAB = dict(mini=1000, gpt2=50257)
WHO = {
    "textgen": dict(optimizer="adamw"),
    "textgen, Muon": dict(optimizer="muon"),
    "textgen, compiled": dict(optimizer="adamw", compile=True),
    "textgen, LoRA of rank 8": dict(optimizer="adamw", lora=8),
    "Trainer, defaults": {},
    "Trainer, bf16": dict(bf16=True, optim="adamw_torch_fused"),
    "Trainer, compiled": dict(torch_compile=True, optim="adamw_torch_fused"),
    "Trainer, compiled, bf16": dict(bf16=True, torch_compile=True, optim="adamw_torch_fused"),
}


class Source:
    "Rows of random tokens."
    def __init__(self, rows, window, vocab, seed=0):
        import numpy as np
        self.rng, self.size, self.vocab = np.random.default_rng(seed), (rows, window), vocab
    def batch(self): return self.rng.integers(0, self.vocab, self.size)

def config(shape):
    from transformers import GPT2Config

    size = dict(
        mini=dict(n_layer=4, n_head=4, n_embd=128, n_positions=256),
        gpt2=dict(n_layer=12, n_head=12, n_embd=768, n_positions=1024),
    )[shape]
    return GPT2Config(
        vocab_size=VOCAB[shape],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        **size,
    )


def tokenizer(n):
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.WordLevel({str(i): i for i in range(n)}, unk_token="0"))
    t.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=t)


# ---- ours
def textgen(shape, kw, steps=None, callbacks=()):
    "Seconds of each step of `TextGen.train`."
    import numpy as np
    import pytorch_lightning as pl
    from textgen import TextGen, TokenDataset
    from textgen.training.callback import NoView
    from textgen.text.codec import Codec
    rows, window, steps = (*SHAPES[shape][:2], steps or SHAPES[shape][2])
    tok, times = tokenizer(VOCAB[shape]), []
    data = TokenDataset(
        np.random.default_rng(0).integers(0, VOCAB[shape], 200_000).astype(np.uint16),
        np.array([0, 200_000], np.uint64),
        Codec(tok),
        {},
    )

    class Clock(pl.Callback):
        def on_train_batch_end(self, *args): times.append(time.perf_counter())
    tg = TextGen.new(config(shape), tok)
    tg.train(
        data,
        steps=steps,
        batch_size=rows,
        window=window,
        lr=1e-4,
        sample_every=0,
        view=NoView(),
        callbacks=(Clock(), *callbacks),
        **kw,
    )
    return [b-a for a, b in zip(times, times[1:])]

class Bare:
    "The same step without Lightning."
    def __init__(self, shape):
        from textgen.models.seq2seq import wrap
        from textgen.training.optim import Plan, make_optimizer
        from textgen.training.report import pick_precision
        from transformers import AutoModelForCausalLM
        import torch
        rows, window, _ = SHAPES[shape]
        self.model, self.low, self.window = (
            AutoModelForCausalLM.from_config(config(shape)).train(),
            pick_precision(torch.device("cpu")) == "bf16",
            window,
        )
        self.wrapped, self.opt, self.source = (
            wrap(self.model),
            make_optimizer(self.model, Plan(1e-4, 1, optimizer="adamw")),
            Source(rows, window + 1, VOCAB[shape]),
        )
        self.loss = self.wrapped.loss

    def step(self):
        import torch
        from torch.nn.utils import clip_grad_norm_
        ids = torch.from_numpy(self.source.batch())
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            loss = self.loss(dict(input_ids=ids[:, :-1], labels=ids[:, 1:]))
        loss.backward()
        clip_grad_norm_(self.model.parameters(), 1.)
        self.opt.step()
        self.opt.zero_grad()


def turns(shape, steps=200):
    "Seconds of steps of `TextGen.train` and of a bare loop, in turns."
    from textgen.training.cpu import fast_cpu
    from textgen.training.lightning import pl
    from textgen.training.losses import loss_of
    bare, times = Bare(shape), []
    class Turn(pl.Callback):
        def on_train_start(self, *args): self.start = time.perf_counter()
        def on_train_batch_end(self, *args):
            end = time.perf_counter()
            bare.step()
            times.append((end - self.start, time.perf_counter() - end))
            self.start = time.perf_counter()

    with fast_cpu(bare.model, bare.window, bare.low) as tie:
        bare.loss = loss_of(bare.wrapped, tie)
        textgen(shape, dict(optimizer="adamw"), steps, [Turn()])
    return times[20:]

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
        args = TrainingArguments(
            d,
            per_device_train_batch_size=rows,
            max_steps=steps,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            **kw,
        )
        Trainer(AutoModelForCausalLM.from_config(config(shape)), args, train_dataset=data, callbacks=[Clock()]).train()
    return [b-a for a, b in zip(times, times[1:])]


def one(who, shape):
    "(milliseconds a step, peak MB) in a process of its own."
    p = subprocess.run([sys.executable, __file__, "--one", who, "--shape", shape], capture_output=True, text=True)
    if p.returncode: sys.exit(p.stderr)
    return json.loads(p.stdout.splitlines()[-1])

def alone(who, shape):
    "Measure in this process."
    if who == "turns": return print(json.dumps(turns(shape)))
    f, kw = textgen if who.startswith("textgen") else trainer, WHO[who]
    times = f(shape, kw)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(
        json.dumps(
            [
                1e3 * statistics.median(times[len(times) // 3 :]),
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
            ]
        )
    )


def table(shape, names, repeat, found):
    "Medians, side by side; each process's figures go into the record."
    got = {n: [] for n in names}
    for k in range(repeat):
        for n in names[k % len(names):]+names[:k % len(names)]: got[n].append(one(n, shape))
    rows, window, _ = SHAPES[shape]
    peers = [statistics.median(ms for ms, _ in runs) for n, runs in got.items() if n.startswith("Trainer")]
    asked = min(peers) / FASTER if peers and shape == "mini" else None
    for n, runs in got.items():
        wanted = asked if n == "textgen" else None
        found.add(f"{shape}, {rows}×{window} tokens, a step", n, "ms", [ms for ms, _ in runs], wanted=wanted)
        found.add(f"{shape}, {rows}×{window} tokens, memory", n, "MB", [mb for _, mb in runs])
    ms, mb = ({n: statistics.median(o[i] for o in v) for n, v in got.items()} for i in (0, 1))
    lines = [f"| {n} | {ms[n]:,.0f} | {rows*window/ms[n]*1e3:,.0f} | {mb[n]:,.0f} |" for n in names]
    return (
        "\n".join(
            [
                f"## {shape}, {rows}×{window} tokens\n",
                "| | ms a step | tokens/s | peak MB |",
                "|---|---|---|---|",
                *lines,
            ]
        ),
        ms,
        mb,
    )


def has_bf16():
    "Whether this processor multiplies in bf16; where torch imitates it, it is slower, and compiled it may not run."
    import torch
    from textgen.training.report import pick_precision
    return pick_precision(torch.device("cpu")) == "bf16"

def compared(shape, repeat, found):
    text, ms, mb = table(
        shape,
        [
            n
            for n in WHO
            if (shape == "mini" and "LoRA" not in n) or n in ("textgen", "Trainer, defaults", "Trainer, compiled, bf16")
            if "bf16" not in n or has_bf16()
        ],
        repeat,
        found,
    )
    best = min(v for n, v in ms.items() if n in ("textgen", "textgen, compiled"))
    peer = min((n for n in ms if n.startswith("Trainer")), key=ms.get)
    return (
        f"{text}\n\n{ms['Trainer, defaults'] / best:.2f}× as fast as Trainer's defaults, {ms[peer] / best:.2f}× as "
        f"Trainer at its best ({peer.partition(', ')[2]}); {mb['textgen'] / mb[peer]:.2f}× the memory of its best."
    )


def lightning(repeat, found):
    pairs = [p for _ in range(repeat) for p in one("turns", "mini")]
    found.add("mini, 32×64 tokens, a step", "textgen", "ms", [1e3 * a for a, _ in pairs])
    found.add("mini, 32×64 tokens, a step", "a bare loop", "ms", [1e3 * b for _, b in pairs])
    ours, bare, added = (
        1e3 * statistics.median(o) for o in ([a for a, _ in pairs], [b for _, b in pairs], [a - b for a, b in pairs])
    )
    table = (
        f"| | ms |\n|---|---|\n| step of textgen | {ours:.1f} |\n| step of a bare loop | {bare:.1f} |\n| what one "
        f"takes more than the bare one after it | {added:.1f} |"
    )
    return (
        f"## mini, 32×64 tokens, {len(pairs)} pairs of steps in {repeat} processes; medians\n\n{table}\n\nLightning, "
        f"callbacks and batches add {100 * added / bare:.1f}% to the step of a bare loop."
    )


def lora(repeat, found):
    text, _, mb = table("gpt2", ["textgen", "textgen, LoRA of rank 8"], repeat, found)
    return (
        f"{text}\n\nA LoRA run's peak is {mb['textgen'] - mb['textgen, LoRA of rank 8']:,.0f} MB below that of a "
        f"full one."
    )


def main():
    a = argparse.ArgumentParser()
    a.add_argument("what", nargs="*")
    a.add_argument("--repeat", type=int, default=3)
    a.add_argument("--one")
    a.add_argument("--shape")
    args = a.parse_args()
    if args.one: return alone(args.one, args.shape)
    RESULTS.mkdir(exist_ok=True)
    for what in args.what or ["mini", "gpt2", "lora", "lightning"]:
        found = Record(here(f"train_{what}"), f"Training on a CPU: {what}", better="less")
        text = (
            dict(lightning=lightning, lora=lora)[what](args.repeat, found)
            if what in ("lightning", "lora")
            else compared(what, args.repeat, found)
        )
        found.save()
        (RESULTS / f"{here(f'train_{what}')}.md").write_text(
            f"# Training on a CPU: {what}\n\n{machine()}\n\n"
            f"{text.replace('## ', '**', 1).replace(' tokens', ' tokens**', 1)}\n"
        )
        print(text, flush=True)


if __name__ == "__main__": main()
