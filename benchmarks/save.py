"""What a save costs: against the steps between two of them, and against the model's own format.

    python benchmarks/save.py [--repeat 5]

A run saves model, receipt and the state to resume from every 500 steps. Its share is a save's time by that of 500
steps: `mini` at the defaults (8×256), GPT-2 124M with steps as short as 1×128. "Weights only" is `resume_state=False`
against `save_pretrained` of model and tokenizer into a new folder; both write to the same disk, in turns. Ours flushes
to the disk, so that a power cut leaves a whole model, and hashes the weights for the receipt; `save_pretrained` does
neither,
so it is measured as it is, and with its files flushed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import RESULTS, Record, machine
from train import config, tokenizer

SHAPES = dict(mini=(8, 256, 1000, 30), gpt2=(1, 128, 50257, 6))  # rows, tokens in a row, vocabulary, steps

PARTS = ("a step", "a save", "weights only", "save_pretrained", "save_pretrained, flushed", "memory added by a save")


def peak():
    "The largest resident set so far, in MB, and begin anew (Linux only)."
    lines = dict(o.split(":") for o in open("/proc/self/status").read().splitlines() if ":" in o)
    Path("/proc/self/clear_refs").write_text("5")
    return int(lines["VmHWM"].split()[0])/1e3

def flush(file):
    "Wait until a file is on the disk."
    with open(file, "rb") as f: os.fsync(f.fileno())

def run(shape, repeat):
    "Milliseconds of steps, of saves with and without state, of save_pretrained; MB a save adds."
    import numpy as np
    from textgen import TextGen, TokenDataset
    from textgen.training import trainer
    from textgen.training.callback import NoView, pl
    from textgen.text.codec import Codec
    rows, window, vocab, steps = SHAPES[shape]
    tok, times, saves, plain, flushed, only, extra = tokenizer(vocab), [], [], [], [], [], []
    data = TokenDataset(
        np.random.default_rng(0).integers(0, vocab, 200_000).astype(np.uint16),
        np.array([0, 200_000], np.uint64),
        Codec(tok),
        {},
    )
    tg, old = TextGen.new(config(shape), tok), trainer.Session.save
    def timed(f, into):
        start = time.perf_counter()
        f()
        into.append(time.perf_counter() - start)

    def save(self, step):
        before = peak()
        for k in range(repeat if step == steps else 0):
            self.settings.resume_state, self.saved = True, None
            timed(lambda: old(self, step), saves)
            if not k: extra.append(max(0, peak()-before))
            self.settings.resume_state, self.saved, place = False, None, Path(d)/f"plain{k}"
            timed(lambda: old(self, step), only)
            timed(lambda p=place: (tg.model.save_pretrained(p), tok.save_pretrained(p)), plain)
            timed(lambda p=place: [flush(o) for o in p.iterdir()], flushed)
    trainer.Session.save = save
    class Clock(pl.Callback):
        def on_train_batch_end(self, *args): times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as d:
        tg.train(
            data,
            steps=steps,
            batch_size=rows,
            window=window,
            sample_every=0,
            save_to=Path(d) / "m",
            view=NoView(),
            callbacks=(Clock(),),
        )
    times = [b-a for a, b in zip(times, times[1:])]
    seconds = (times[len(times) // 3 :], saves, only, plain, [a + b for a, b in zip(plain, flushed)])
    return [[1e3 * x for x in o] for o in seconds] + [extra]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--repeat", type=int, default=5)
    a.add_argument("--one")
    args = a.parse_args()
    if args.one: return print(json.dumps(run(args.one, args.repeat)))
    lines, found = [], Record("save", "What a save costs", better="less")
    for shape, (rows, window, *_) in SHAPES.items():
        p = subprocess.run(
            [sys.executable, __file__, "--one", shape, "--repeat", str(args.repeat)], capture_output=True, text=True
        )
        if p.returncode: sys.exit(p.stderr)
        got = json.loads(p.stdout.splitlines()[-1])
        for what, values in zip(PARTS, got):
            work, by = ("weights only", what) if what.startswith("save_pretrained") else (what, "textgen")
            found.add(f"{shape}, {rows}×{window}: {work}", by, "MB" if "memory" in what else "ms", values)
        step, save, only, plain, flushed, more = map(statistics.median, got)
        lines.append(
            f"| {shape}, {rows}×{window} | {step:,.0f} | {save:,.0f} | {100 * save / (500 * step):.2f}% | "
            f"{only:,.0f} | {plain:,.0f} | {flushed:,.0f} | {more:,.0f} |"
        )
    head = (
        "| | ms a step | ms a save | its share, every 500 steps | ms, weights only | ms, save_pretrained | ms, "
        "flushed | MB a save adds to the peak |\n|---|---|---|---|---|---|---|---|"
    )
    text = "\n".join([head, *lines])
    found.save()
    (RESULTS/"save.md").write_text(f"# What a save costs\n\n{machine()}\n\n{text}\n")
    print(text)


if __name__ == "__main__": main()
