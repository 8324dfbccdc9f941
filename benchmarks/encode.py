"""Megabytes a second from a text file to a token cache, against peers, in one run.

    python benchmarks/encode.py TEXT --gpt2 FOLDER [--aitextgen PYTHON] [--peers PYTHON] [--repeat 3]

TEXT is UTF-8; FOLDER holds GPT-2's vocab.json and merges.txt; PYTHON is the interpreter of an environment that has the
peer (aitextgen 0.6, installed with `--no-deps` beside torch, transformers 4, fire, msgpack; datasets and tiktoken).
Imports and loading the tokenizer are not counted; reading the file, encoding and writing the cache are. Every
repetition is a process of its own, the contenders take turns.
`--make TEXT --mb 200 FOLDER…` first gathers a text of that size from the text and source files of some folders.
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

from record import RESULTS, Record, here, machine


def gather(path, mb, folders):
    "A mixed text from the .txt, .md, .rst, .jsonl and .py files in some folders."
    left, seen = mb*10**6, set()
    with open(path, "w", encoding="utf-8") as f:
        for p in sorted(
            (p for d in folders for ext in ("txt", "jsonl", "md", "rst", "py") for p in Path(d).rglob(f"*.{ext}")),
            key=lambda p: hash_of(p.name),
        ):
            try:
                text = p.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                continue
            if p.suffix == ".jsonl":
                text = "\n\n".join(json.loads(o).get("text", "") for o in text.splitlines())
            if hash(text) in seen:
                continue
            seen.add(hash(text))
            f.write(text[:left])
            left -= len(text)
            if left <= 0:
                return


def hash_of(name):
    import hashlib
    return hashlib.sha256(name.encode()).hexdigest()


# ---- the contenders: each returns a function that does the whole job
def textgen(text, gpt2, out, by="file", compress="zstd"):
    from textgen import TokenDataset
    from textgen.text.codec import Codec
    codec = Codec(gpt2)
    assert codec.engine.name
    return lambda: len(TokenDataset.from_files(text, codec, by=by, save=out, compress=compress).tokens)


def textgen_lines(text, gpt2, out): return textgen(text, gpt2, out, by="line")


def aitextgen(text, gpt2, out):
    import importlib.util
    import types

    bare = types.ModuleType("aitextgen")  # its `__init__` needs a pytorch-lightning of years ago, its data set does not
    bare.__path__ = importlib.util.find_spec("aitextgen").submodule_search_locations
    sys.modules["aitextgen"] = bare
    from aitextgen.TokenDataset import TokenDataset

    return lambda: len(
        TokenDataset(
            text,
            vocab_file=f"{gpt2}/vocab.json",
            merges_file=f"{gpt2}/merges.txt",
            save_cache=True,
            cache_destination=out,
            progress_bar_refresh_rate=1000,
        ).tokens
    )


def datasets_map(text, gpt2, out):
    import datasets
    from transformers import GPT2TokenizerFast
    datasets.disable_progress_bars()
    tok = GPT2TokenizerFast(vocab=f"{gpt2}/vocab.json", merges=f"{gpt2}/merges.txt")

    def run():
        d = datasets.load_dataset("text", data_files=text, split="train", cache_dir=out, keep_linebreaks=True)
        d = d.map(
            lambda b: {"ids": tok(b["text"]).input_ids},
            batched=True,
            batch_size=1000,
            num_proc=2,
            remove_columns=["text"],
        )
        return d.num_rows
    return run


def tiktoken(text, gpt2, out):
    import numpy as np
    import tiktoken
    table = _byte_table()
    ranks = {
        bytes(table[c] for c in t): i
        for t, i in json.load(open(f"{gpt2}/vocab.json", encoding="utf-8")).items()
        if t != "<|endoftext|>"
    }
    enc = tiktoken.Encoding(
        "gpt2",
        pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 50256},
    )

    def run():
        whole = open(text, encoding="utf-8").read()
        cuts = [0]
        while cuts[-1] < len(whole): cuts.append(i if (i := whole.find("\n", cuts[-1]+10**6)) > 0 else len(whole))
        ids = enc.encode_ordinary_batch([whole[a:b] for a, b in zip(cuts, cuts[1:])], num_threads=2)
        np.save(out, np.concatenate([np.array(o, np.uint16) for o in ids]))
        return sum(map(len, ids))
    return run


def _byte_table():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return {chr(b): b for b in keep} | {chr(256+i): b for i, b in enumerate(b for b in range(256) if b not in keep)}


SLOW = ("aitextgen", "datasets_map")
FASTER, LINES = 40, 0.6  # asked for: times aitextgen's speed; of the speed of one document, where each line is one


def head(text, mb):
    "The first megabytes of a text, as a file."
    path = f"{text}.{mb}mb"
    if not os.path.exists(path):
        with open(text, "rb") as f, open(path, "wb") as g: g.write(f.read(mb*10**6).rsplit(b"\n", 1)[0])
    return path


def one(name, text, gpt2):
    "Run one contender in this process; prints seconds, and the peak of memory in MB."
    import resource
    with tempfile.TemporaryDirectory() as d:
        job = globals()[name](text, gpt2, os.path.join(d, "out.npy" if name == "tiktoken" else "out"))
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        n = job()
        seconds = time.perf_counter()-start
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(
            json.dumps(
                dict(
                    seconds=seconds,
                    n=n,
                    mb=max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children) / 1e3,
                    base=base / 1e3,
                )
            )
        )


def main():
    a = argparse.ArgumentParser()
    a.add_argument("text")
    a.add_argument("--gpt2")
    a.add_argument("--aitextgen")
    a.add_argument("--peers")
    a.add_argument("--repeat", type=int, default=3)
    a.add_argument("--aitextgen-mb", type=int, default=20)
    a.add_argument("--run")
    a.add_argument("--make", nargs="*")
    a.add_argument("--mb", type=int, default=200)
    args = a.parse_args()
    if args.make is not None: gather(args.text, args.mb, args.make)
    if args.run: return one(args.run, args.text, args.gpt2)
    who = [("textgen", sys.executable), ("textgen_lines", sys.executable)]
    who += [("tiktoken", args.peers), ("datasets_map", args.peers)] if args.peers else []
    who += [("aitextgen", args.aitextgen)] if args.aitextgen else []
    size, runs = os.path.getsize(args.text)/1e6, {n: [] for n, _ in who}
    for i in range(args.repeat):
        for name, python in who:
            if name in SLOW and i: continue  # minutes; once
            text = args.text if name != "aitextgen" else head(args.text, args.aitextgen_mb)
            r = subprocess.run(
                [python, __file__, text, "--gpt2", args.gpt2, "--run", name], capture_output=True, text=True
            )
            if r.returncode:
                print(f"{name} failed:\n{r.stderr[-2000:]}", file=sys.stderr)
                continue
            o = json.loads(r.stdout.splitlines()[-1])
            runs[name].append(dict(o, rate=os.path.getsize(text)/1e6/o["seconds"]))
            print(name, runs[name][-1], file=sys.stderr, flush=True)
    ours, rows = statistics.median(o["rate"] for o in runs["textgen"]), []
    found = Record(here("encode"), f"File to token cache, GPT-2's vocabulary, {size:.0f} MB of text")
    wanted = {"textgen_lines": LINES * ours}
    if runs.get("aitextgen"): wanted["textgen"] = FASTER * statistics.median(o["rate"] for o in runs["aitextgen"])
    for name, _ in who:
        if not runs[name]: continue
        found.add("encode", name, "MB/s", [o["rate"] for o in runs[name]], wanted=wanted.get(name))
        found.add("memory", name, "MB", [o["mb"] for o in runs[name]], better="less")
        rate = statistics.median(o["rate"] for o in runs[name])
        rows.append(
            f"| {name} | {rate:.1f} | {ours / rate:.1f}× | {max(o['mb'] for o in runs[name]):,.0f} | "
            f"{len(runs[name])} |"
        )
    table = "\n".join(["| | MB/s | textgen is faster by | peak MB | runs |", "|---|---|---|---|---|", *rows])
    found.save()
    (RESULTS / f"{here('encode')}.md").write_text(
        f"# Encoding\n\nFile to token cache, GPT-2's vocabulary, {size:.0f} MB of mixed text (poems, plays, "
        f"documentation, source code); {machine()}. Median of the runs. aitextgen was given the first "
        f"{args.aitextgen_mb} MB: on the whole it runs out of memory.\n\n{table}\n"
    )
    print(table)


if __name__ == "__main__": main()
