"""Every figure that needs a GPU, in one call.

    python benchmarks/gpu.py ../shared/data/tinyshakespeare.txt --nanogpt FOLDER [--tiny] [--parts throughput,generate]

GPT-2 124M in bf16 with a context of 1024: tokens/s, and the share of the chip's bf16 matrix rate as measured here,
against nanoGPT's `bench.py` compiled and transformers' Trainer at its best. Then
nanoGPT's 10.65 M character model to a validation loss of 1.4697. Then what generation does (`gpu_generate.py`).
`--tiny` runs the same code with tiny sizes, on a CPU too, to see that it works; its figures mean nothing and are not
kept.
Parts that were left out are marked as not run.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gpu_generate
from record import RESULTS, Record, machine
from time_to_loss import nanogpt, ours

FULL = dict(
    rows=16,
    window=1024,
    steps=60,
    repeat=3,
    matrix=8192,
    target=1.4697,
    shape=dict(n_layer=6, n_head=6, n_embd=384, n_positions=256),
    dropout=0.2,
    batch_size=64,
    char_steps=900,
    flags=[],
)
TINY = dict(
    rows=1,
    window=16,
    steps=6,
    repeat=1,
    matrix=256,
    target=9.0,
    shape=dict(n_layer=1, n_head=1, n_embd=16, n_positions=16),
    dropout=0.2,
    batch_size=2,
    char_steps=5,
    flags=[
        "--device=cpu",
        "--compile=False",
        "--dtype=float32",
        "--n_layer=1",
        "--n_head=1",
        "--n_embd=16",
        "--block_size=16",
        "--batch_size=2",
        "--max_iters=4",
        "--eval_interval=2",
    ],
)


def sync():
    import torch
    if torch.cuda.is_available(): torch.cuda.synchronize()

def matrix_rate(n):
    "Measured bf16 operations a second of a square product."
    import torch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, times = torch.randn(n, n, device=device, dtype=torch.bfloat16), []
    for _ in range(20):
        sync()
        start = time.perf_counter()
        a @ a
        sync()
        times.append(time.perf_counter() - start)
    return 2*n**3/statistics.median(times)

def operations(layers=12, width=768, vocab=50257, window=1024):
    "Operations a token costs, forward and backward, by nanoGPT's formula."
    weights = layers*12*width**2+vocab*width
    return 6*weights+12*layers*width*window


class Clock:
    "Seconds a step, over the second half."
    def __init__(self, steps): self.steps, self.k = steps, 0
    def tick(self):
        self.k += 1
        if self.k == self.steps // 2:
            sync()
            self.start = time.perf_counter()
        if self.k == self.steps:
            sync()
            self.seconds = (time.perf_counter() - self.start) / (self.steps - self.steps // 2)


def config(size):
    from transformers import GPT2Config
    return GPT2Config(resid_pdrop=0., embd_pdrop=0., attn_pdrop=0., n_positions=max(size["window"], 1024))

def textgen(size):
    "Seconds a step of `TextGen.train`."
    import numpy as np
    import pytorch_lightning as pl
    from textgen import TextGen, TokenDataset
    from textgen.training.callback import NoView
    from textgen.text.codec import Codec
    from train import tokenizer
    clock, tok = Clock(size["steps"]), tokenizer(50257)
    class Tick(pl.Callback):
        def on_train_batch_end(self, *args): clock.tick()

    data = TokenDataset(
        np.random.default_rng(0).integers(0, 50257, 10**6).astype(np.uint16),
        np.array([0, 10**6], np.uint64),
        Codec(tok),
        {},
    )
    import torch

    TextGen.new(config(size), tok).train(
        data,
        steps=size["steps"],
        batch_size=size["rows"],
        window=size["window"],
        lr=1e-4,
        optimizer="adamw",
        compile=torch.cuda.is_available(),
        sample_every=0,
        view=NoView(),
        callbacks=(Tick(),),
    )
    return clock.seconds

def trainer(size):
    "Seconds a step of transformers' Trainer at its best."
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
    clock, gpu = Clock(size["steps"]), torch.cuda.is_available()
    class Tick(TrainerCallback):
        def on_step_end(self, *args, **kwargs): clock.tick()
    ids = torch.randint(0, 50257, (size["rows"]*size["steps"], size["window"]))
    with tempfile.TemporaryDirectory() as d:
        args = TrainingArguments(
            d,
            per_device_train_batch_size=size["rows"],
            max_steps=size["steps"],
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=not gpu,
            bf16=True,
            tf32=True if gpu else None,
            torch_compile=gpu,
            optim="adamw_torch_fused",
            dataloader_num_workers=4 if gpu else 0,
            logging_steps=10**6,
        )
        Trainer(
            AutoModelForCausalLM.from_config(config(size)),
            args,
            train_dataset=[dict(input_ids=o, labels=o) for o in ids],
            callbacks=[Tick()],
        ).train()
    return clock.seconds

def bench(size, folder):
    "Seconds a step of nanoGPT's `bench.py`."
    import torch
    if not torch.cuda.is_available(): return float("nan")  # it needs CUDA
    p = subprocess.run(
        [
            sys.executable,
            "bench.py",
            f"--batch_size={size['rows']}",
            f"--block_size={size['window']}",
            "--real_data=False",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if p.returncode: sys.exit(p.stderr)
    return float(re.findall(r"time per iteration: ([\d.]+)ms", p.stdout)[-1])/1e3


def one(who, args):
    "The figure of a process of its own."
    p = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", who], capture_output=True, text=True)
    if p.returncode: sys.exit(p.stderr)
    return json.loads(p.stdout.splitlines()[-1])

def throughput(size, args):
    "The rows about tokens/s."
    seconds = {n: [] for n in ("textgen", "nanoGPT, compiled", "Trainer, at its best")}
    for _ in range(size["repeat"]):
        for n in seconds: seconds[n].append(bench(size, args.nanogpt) if n.startswith("nano") else one(n, args))
    tokens, rate = size["rows"]*size["window"], matrix_rate(size["matrix"])
    limit = rate/operations(window=size["window"])
    for n, v in seconds.items():
        args.found.add("train GPT-2 124M, bf16, context 1024", n, "tokens/s", [tokens/s for s in v], limit=limit)
    rows = {n: tokens/statistics.median(v) for n, v in seconds.items()}
    lines = [f"| {n} | {v:,.0f} | {100*v*operations(window=size['window'])/rate:.0f}% |" for n, v in rows.items()]
    ratios = (
        f"{rows['textgen'] / rows['nanoGPT, compiled']:.2f}× nanoGPT (at least 1.05), "
        f"{rows['textgen'] / rows['Trainer, at its best']:.2f}× Trainer (at least 1.3); bf16 products here: "
        f"{rate / 1e12:.0f} TFLOP/s (at least 50% of it); medians of {size['repeat']}"
    )
    return "\n".join(
        [
            "| GPT-2 124M, bf16, context 1024 | tokens/s | share of the matrix rate |",
            "|---|---|---|",
            *lines,
            "",
            ratios,
        ]
    )


def characters(size, args):
    "The rows about the time to a loss."
    text = Path(args.file).read_text()[:20_000 if args.tiny else None]
    with tempfile.TemporaryDirectory() as d: peer = nanogpt(args.nanogpt, text, Path(d), size["flags"])
    theirs = next(((s, x) for _, s, x in peer if x <= size["target"]), None)
    seconds, loss = one("characters", args)
    work = f"characters, 10.65 M weights, to {size['target']}"
    args.found.add(work, "nanoGPT", "s", [(theirs or peer[-1][1:])[0]], better="less")
    args.found.add(work, "textgen", "s", [seconds], better="less")
    said = (
        f"{seconds / theirs[0]:.2f} of nanoGPT's time (at most 0.33)"
        if theirs and loss <= size["target"]
        else "the target was not reached on both sides"
    )
    return "\n".join(
        [
            f"| characters, 10.65 M weights, to {size['target']} | seconds | loss |",
            "|---|---|---|",
            f"| nanoGPT | {(theirs or peer[-1][1:])[0]:.1f} | {(theirs or peer[-1][1:])[1]:.4f} |",
            f"| textgen | {seconds:.1f} | {loss:.4f} |",
            "",
            said,
        ]
    )


def child(args):
    "What a process of its own says."
    if args.one == "characters":
        text = Path(args.file).read_text()[: 20_000 if args.tiny else None]
        size = TINY if args.tiny else FULL
        settings = dict(steps=size["char_steps"], batch_size=size["batch_size"], lr=1e-2)
        return ours(text, settings, 0, size["shape"], size["dropout"])
    if args.one == "generate": return gpu_generate.generation(gpu_generate.TINY if args.tiny else gpu_generate.FULL)
    return textgen(args.size) if args.one == "textgen" else trainer(args.size)


def generate(size, args):
    "The rows about generation."
    got = one("generate", args)
    for what, by, unit, value in got["figures"]:
        args.found.add(f"GPT-2 124M, bf16, {what}", by, unit, [value])
    return got["text"]


PARTS = dict(throughput=throughput, characters=characters, generate=generate)


def write(found):
    "The results so far, in the order of the parts."
    import torch
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    parts = [found.get(part, f"{part}: not run") for part in PARTS]
    text = "\n\n".join([f"{name}; {machine()}", *parts])
    (RESULTS/"gpu.md").write_text(f"# On a GPU\n\n{text}\n")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("file")
    a.add_argument("--nanogpt")
    a.add_argument("--tiny", action="store_true")
    a.add_argument("--parts", default=",".join(PARTS))
    a.add_argument("--repeat", type=int)
    a.add_argument("--one")
    args = a.parse_args()
    args.size = dict(TINY if args.tiny else FULL)
    if args.repeat: args.size["repeat"] = args.repeat
    if args.one: return print(json.dumps(child(args)))
    import torch
    if not torch.cuda.is_available() and not args.tiny: sys.exit("no GPU: give --tiny to see that it works")
    found, args.found = {}, Record("gpu", "On a GPU")
    for part in args.parts.split(","):
        found[part] = PARTS[part](args.size, args)
        print(found[part], flush=True)
        if not args.tiny:
            write(found)
            args.found.save()


if __name__ == "__main__": main()
