"""How fast two busy processes are on the same processors, each against itself alone.

    python benchmarks/side_by_side.py [--seconds 12] [--repeat 3]

A training (`mini`, 32 rows of 64 tokens) and a generation (`mini`, 32 texts of 60 tokens, and of GPT-2's shape 4 of 40)
run alone, then two of each kind and one of each kind at once. `spinning` is the same without `giving_way`, as every
program with OpenMP does it: waiting threads keep the processor. The share is of the speed alone; two processes that
divide two processors evenly have a half each.
What giving way costs a process that is alone is a few hundredths, less than a machine's speed changes within a minute.
So one process works both ways by turns, a second or less each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

from record import RESULTS, Record, here, machine

PAIRS = [("train", "train"), ("write", "write"), ("train", "write"), ("train", "write_gpt2")]


def texts(preset):
    from transformers import GPT2Config

    from textgen import TextGen, train_tokenizer
    from textgen.text.corpus import bundled

    tok = train_tokenizer(bundled("poems"), vocab_size=1000)
    return TextGen.new(GPT2Config(vocab_size=1000, bos_token_id=0, eos_token_id=0) if preset == "gpt2" else preset, tok)


def train():
    "A function that trains 20 steps; returns how many."
    from textgen import TokenDataset
    from textgen.text.corpus import bundled
    from textgen.training.callback import NoView

    tg = texts("mini")
    data = TokenDataset.from_files(bundled("poems"), tg.codec)
    return lambda: tg.train(data, steps=20, window=64, batch_size=32, sample_every=0, view=NoView()) and 20


def write():
    "A function that writes 32 texts; returns how many tokens."
    tg = texts("mini")
    return lambda: tg.generate("The sea", n=32, max_new_tokens=60, min_new_tokens=60, seed=1) and 32 * 60


def write_gpt2():
    tg = texts("gpt2")
    return lambda: tg.generate("The sea", n=4, max_new_tokens=40, min_new_tokens=40, seed=1) and 4 * 40


def spin(spins):
    "Give way no more, or again."
    from textgen.generation import loop
    from textgen.threads import giving_way
    from textgen.training import trainer

    for room in (trainer, loop):
        room.giving_way = nullcontext if spins else giving_way


def by_turns(what, seconds):
    "Work a second of a process that is alone, giving way and spinning."
    run = globals()[what]()
    run()
    done, took = [0, 0], [0.0, 0.0]
    while sum(took) < 2 * seconds:
        for spins in (0, 1):
            spin(spins)
            start = time.perf_counter()
            done[spins] += run()
            took[spins] += time.perf_counter() - start
    print(json.dumps([n / s for n, s in zip(done, took)]))


def one(what, seconds, spins):
    "Work a second of a process; it begins when a line comes, so that two begin at once."
    spin(spins)
    run = globals()[what]()
    run()
    print("ready", flush=True)
    sys.stdin.readline()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += run()
    print(json.dumps(done / (time.perf_counter() - start)))


UNITS = dict(train="steps/s", write="tokens/s", write_gpt2="tokens/s")


def together(kinds, seconds, spins):
    "The speeds of processes that work at the same time."
    args = [sys.executable, __file__, "--seconds", str(seconds), *(["--spin"] if spins else [])]
    pipe = subprocess.PIPE
    running = [subprocess.Popen([*args, "--one", k], stdin=pipe, stdout=pipe, text=True) for k in kinds]
    for p in running:
        while p.stdout.readline().strip() != "ready":
            pass
    for p in running:
        p.stdin.write("\n")
        p.stdin.flush()
    return [json.loads(p.stdout.read().splitlines()[-1]) for p in running]


def alone_both_ways(kind, seconds):
    "The speeds of a process that is alone: giving way, and spinning."
    p = subprocess.run(
        [sys.executable, __file__, "--seconds", str(seconds), "--by-turns", kind], capture_output=True, text=True
    )
    if p.returncode:
        sys.exit(p.stderr)
    return json.loads(p.stdout.splitlines()[-1])


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--seconds", type=float, default=12)
    a.add_argument("--repeat", type=int, default=3)
    a.add_argument("--one")
    a.add_argument("--by-turns")
    a.add_argument("--spin", action="store_true")
    args = a.parse_args()
    if args.one:
        return one(args.one, args.seconds, args.spin)
    if args.by_turns:
        return by_turns(args.by_turns, args.seconds)
    alone, shares = {}, {}
    for _ in range(args.repeat):
        for kind in sorted({k for pair in PAIRS for k in pair}):
            for spins, speed in zip((False, True), alone_both_ways(kind, args.seconds)):
                alone.setdefault((kind, spins), []).append(speed)
                print(kind, spins, speed, file=sys.stderr, flush=True)
        for spins in (False, True):
            for pair in PAIRS:
                shares.setdefault((pair, spins), []).append(together(pair, args.seconds, spins))
                print(pair, spins, shares[pair, spins][-1], file=sys.stderr, flush=True)
    found = Record(here("side_by_side"), "Two processes on the same processors")
    way = {False: "giving way", True: "spinning"}
    best = {k: statistics.median(v) for k, v in alone.items()}
    cost = {k: statistics.median(a / b for a, b in zip(alone[k, False], alone[k, True])) for k in UNITS}
    for (kind, spins), values in alone.items():
        wanted = None if spins else 0.95 * best[kind, True]
        found.add(f"{kind}, alone", way[spins], UNITS[kind], values, wanted=wanted)
    for (pair, spins), values in shares.items():
        for k, each in enumerate(zip(*values)):
            wanted = None if spins else best[pair[k], True] / 3
            found.add(f"{pair[k]}, in {' + '.join(pair)} ({k + 1})", way[spins], UNITS[pair[k]], each, wanted=wanted)
    found.save()
    rows = ["| alone | giving way | spinning | |", "|---|---|---|---|"]
    for k, unit in UNITS.items():
        mine, theirs = best[k, False], best[k, True]
        rows.append(f"| {k} | {mine:,.1f} {unit} | {theirs:,.1f} {unit} | {cost[k]:.3f}× |")
    rows += ["", "| at once | giving way | spinning |", "|---|---|---|"]
    for pair in PAIRS:
        cells = []
        for spins in (False, True):
            each = [statistics.median(o) for o in zip(*shares[pair, spins])]
            cells.append(", ".join(f"{k} {v / best[k, True]:.2f}" for k, v in zip(pair, each)))
        rows.append(f"| {' + '.join(pair)} | {cells[0]} | {cells[1]} |")
    (RESULTS / f"{here('side_by_side')}.md").write_text(
        f"# Two processes on the same processors\n\n{machine()}. {args.repeat} rounds of {args.seconds:g} s,"
        f" the median; alone both ways by turns in one process, and the median of each round's ratio. Shares are of the"
        f" speed alone.\n\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
