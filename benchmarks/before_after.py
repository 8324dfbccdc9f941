"""Is a change slower? The same work with two checkouts of textgen, in turn, in one run.

    python benchmarks/before_after.py OLD NEW [--repeat 5] [--only generate] [--out benchmarks/results/before_after.md]

OLD and NEW are folders of this repository (`git worktree add OLD COMMIT`), each with its native engine built
(`python setup.py build_ext --inplace`), where it has one. Each measurement is a process of its own that warms up and
then measures; old and new take turns, so that a busy machine meets both. The table shows medians and their ratio.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from record import Record, machine

COMMON = """
import json, sys, time, tempfile, torch
from pathlib import Path
from textgen import TextGen, TokenDataset, train_tokenizer, bundled
folder = Path(tempfile.mkdtemp())
def timed(f):
    began = time.perf_counter()
    f()
    return time.perf_counter()-began
texts = ["\\n\\n".join((o["title"], o["text"])) for o in map(json.loads, open(str(bundled("poems")), encoding="utf-8"))]
(folder/"a.txt").write_text("\\n\\n".join(texts), encoding="utf-8")
tok = train_tokenizer(folder/"a.txt", vocab_size=1000)
"""
GENERATE = """
tg = TextGen.new("{preset}", tok, seed=1, device="cpu")
ask = dict(n={n}, max_new_tokens=100, min_new_tokens=100, seed=1, temperature=.8)
tg.generate("The sea", **ask)
seconds = min(timed(lambda: tg.generate("The sea", **ask)) for _ in range(3))
print(json.dumps({n}*100/seconds))
"""
TRAIN = """
tg = TextGen.new("{preset}", tok, seed=1, device="cpu")
data = TokenDataset.from_files(folder/"a.txt", tok)
ask = dict(batch_size={rows}, window=64, sample_every=0, seed=0)
tg.train(data, steps=10, **ask)
run = tg.train(data, steps=120, **ask)
print(json.dumps(run.tokens_per_second))
"""
ENCODE = """
much = folder/"much.txt"
much.write_text((folder/"a.txt").read_text(encoding="utf-8")*400, encoding="utf-8")
TokenDataset.from_files(folder/"a.txt", tok)
seconds = min(timed(lambda: TokenDataset.from_files(much, tok, save=folder/"b.tokens")) for _ in range(3))
print(json.dumps(much.stat().st_size/1e6/seconds))
"""
WORK = {
    "generate mini, n=1 (tokens/s)": GENERATE.format(preset="mini", n=1),
    "generate mini, n=32 (tokens/s)": GENERATE.format(preset="mini", n=32),
    "generate t5-mini, n=8 (tokens/s)": GENERATE.format(preset="t5-mini", n=8),
    "train mini, 32 x 64 (tokens/s)": TRAIN.format(preset="mini", rows=32),
    "train t5-mini, 8 x 64 (tokens/s)": TRAIN.format(preset="t5-mini", rows=8),
    "encode, 1,000 BPE tokens (MB/s)": ENCODE,
}


def measured(checkout, code):
    "What one process says that uses this checkout."
    env = os.environ | {"PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", COMMON+code]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    if done.returncode: sys.exit(f"{checkout}: {done.stderr[-3000:]}")
    return float(done.stdout.splitlines()[-1])


def compared(old, new, code, repeat):
    "The figures of both, taken in turn: (old, new)."
    found = {old: [], new: []}
    for i in range(repeat):
        for checkout in ((old, new), (new, old))[i%2]: found[checkout].append(measured(checkout, code))
    return found[old], found[new]


def row(name, old, new):
    "A line of the table."
    a, b = statistics.median(old), statistics.median(new)
    spread = f"{min(n/o for o, n in zip(old, new)):.2f}-{max(n/o for o, n in zip(old, new)):.2f}"
    return f"| {name} | {a:,.0f} | {b:,.0f} | {b/a:.2f} | {spread} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = Record("before_after", "Two commits side by side")
    lines = [f"{machine()}; medians of {asked.repeat} processes each, in turn.", ""]
    lines += ["| work | before | after | after/before | least and most in a pair |", "|---|---:|---:|---:|---:|"]
    for name, code in WORK.items():
        if asked.only not in name: continue
        old, new = compared(asked.old.resolve(), asked.new.resolve(), code, asked.repeat)
        what, _, unit = name.rstrip(")").rpartition(" (")
        found.add(what, "before", unit, old)
        found.add(what, "after", unit, new)
        lines.append(row(name, old, new))
        print(lines[-1], flush=True)
    found.save()
    if asked.out: asked.out.write_text("\n".join(lines)+"\n", encoding="utf-8")


if __name__ == "__main__": main()
