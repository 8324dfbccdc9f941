"""How long an index of the training data takes, how much memory, and how long texts take to be looked up in it.

    python benchmarks/copying.py --data ../shared/data [--tokens 1e8] [--samples 1000]

The text is all poems, again and again, each time with one token in twenty replaced: runs of any length come again, as
in text from the web. A third of the samples are pieces of this text, a third pieces with changes, a third random.
Building and looking up are a process each; its memory is the largest resident set. As a check that has nothing to do
with suffixes, `copying` of the model card, which searches bytes, counts the same for texts of the bundled model.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from main_job import measured  # noqa: E402
from record import RESULTS, Record, machine  # noqa: E402

SAMPLE = 200  # tokens


def corpus(data, tokens, path):
    "A cache of so many tokens."
    from textgen import TokenDataset, train_tokenizer

    lines = (Path(data)/"poems.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    one = TokenDataset.from_texts(texts, train_tokenizer(texts=texts, vocab_size=8000))
    rng, parts, ends = np.random.default_rng(0), [], []
    first, starts = np.asarray(one.tokens), np.asarray(one.starts)[:-1].astype(np.int64)
    while sum(map(len, parts)) < tokens:
        again = first.copy()
        other = (rng.random(len(again)) < (0.05 if parts else 0)) & (again != one.end)
        again[other] = rng.integers(300, 8000, other.sum())
        ends.append(starts + sum(map(len, parts)))
        parts.append(again)
    all_tokens = np.concatenate(parts)
    borders = np.append(np.concatenate(ends), len(all_tokens)).astype(np.uint64)
    TokenDataset(all_tokens, borders, one.codec, {}).save(path)


def build(path):
    "Build the index; the process ends with it."
    from textgen import TokenDataset
    from textgen.trust.index import open_index

    open_index(TokenDataset.load(path))


def texts_of(data, n):
    "Samples: pieces of the data, pieces with changes, and random tokens."
    rng, kinds = np.random.default_rng(1), data.vocab_size
    places = rng.integers(0, len(data.tokens) - SAMPLE, n)
    ids = np.asarray(data.tokens[places[:, None] + np.arange(SAMPLE)]).astype(np.int64)
    changed = (np.arange(n) % 3 == 1)[:, None] & (rng.random(ids.shape) < 0.1)
    random = (np.arange(n) % 3 == 2)[:, None] & np.ones(ids.shape, bool)
    other = changed | random
    ids[other] = rng.integers(300, kinds, int(other.sum()))
    return [row.tolist() for row in ids]


def look_up(path, n):
    "Seconds to open data and index, for all runs of the first look, and of the second."
    from textgen import TokenDataset
    from textgen.generation.samples import Sample
    from textgen.trust.copying import find_copies
    from textgen.trust.index import Queries, open_index

    start = time.perf_counter()
    data = TokenDataset.load(path)
    index = open_index(data)
    found = dict(open=time.perf_counter() - start)
    ids = texts_of(data, n)
    for name in ("first", "again"):
        start = time.perf_counter()
        index.runs(Queries(ids, data.end))
        found[name] = time.perf_counter() - start
    samples = [Sample("", "", row, 0.0, "length", i) for i, row in enumerate(ids)]
    start = time.perf_counter()
    copies = find_copies(samples, data, data.codec)
    found["whole report"] = time.perf_counter() - start
    found["share"] = sum(c.n_copied for c in copies) / (n * SAMPLE)
    print(json.dumps(found))


def check():
    "The same texts of the bundled model, counted by suffixes and by a search of bytes."
    from textgen import TextGen, TokenDataset, bundled
    from textgen.sharing.card import copying

    tg = TextGen()
    data = TokenDataset.from_files(bundled("poems"), tg.tokenizer)
    texts = [*tg.generate("The sea", n=20, max_new_tokens=100, seed=1)]
    ids = [s.tokens for s in texts] + [data[d][:150].tolist() for d in range(0, len(data), 10)]
    ends = tg.codec.ends
    ids = [[i for i in row if i not in ends] for row in ids]
    from textgen.generation.samples import Sample
    samples = [Sample("", "", row, 0.0, "", i) for i, row in enumerate(ids)]
    one, other = tg.memorization(samples, data).facts(), copying(ids, data.tokens)
    same = all(one[k] == other[k] for k in ("texts", "tokens", "longest", "share"))
    return dict(texts=len(ids), longest=one["longest"], share=one["share"], same=same)


def table(found):
    "The results as Markdown."
    rows = [
        ("tokens", f"{found['tokens']:,}"),
        ("build the index: seconds", f"{found['build']:.0f}"),
        ("build the index: peak memory, MB", f"{found['build memory']:,.0f}"),
        ("the index: MB on disk", f"{found['size']:,.0f}"),
        ("open cache and index, checked: seconds", f"{found['open']:.2f}"),
        (f"look up {found['samples']:,} × {SAMPLE} tokens, first time: seconds", f"{found['first']:.2f}"),
        ("the same again", f"{found['again']:.2f}"),
        ("runs, sources and documents of all of them", f"{found['whole report']:.2f}"),
        ("look up: peak memory, MB", f"{found['look memory']:,.0f}"),
        ("share of their tokens in runs of 8 or more", f"{found['share']:.1%}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def keep(found, record):
    "Write the figures down, each with its unit."
    work = f"{found['tokens']:,} tokens"
    looked = f"{found['samples']:,} × {SAMPLE} tokens in {work}"
    for what, key, unit, wanted in (
        (f"build the index of {work}", "build", "s", 600),
        (f"build the index of {work}: peak memory", "build memory", "MB", 4000),
        (f"open the index of {work}, checked", "open", "s", None),
        (f"look up {looked}, first time", "first", "s", 2),
        (f"look up {looked}, again", "again", "s", 2),
        (f"runs, sources and documents of {looked}", "whole report", "s", None),
    ):
        record.add(what, "textgen", unit, [found[key]], wanted=wanted)
    record.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--tokens", type=float, default=1e8)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--part", nargs=2)
    args = parser.parse_args()
    if args.part:
        part, path = args.part
        return build(path) if part == "build" else look_up(path, args.samples)
    record = Record("copying", "An index of the training data", better="less")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/"data.tokens"
        corpus(args.data, args.tokens, path)
        me = [sys.executable, os.path.abspath(__file__), "--samples", str(args.samples), "--part"]
        found = dict(samples=args.samples)
        found["build"], found["build memory"] = measured([*me, "build", str(path)], ".")
        index = path.with_name(f"{path.name}.index")
        found["size"], found["tokens"] = index.stat().st_size / 1e6, (index.stat().st_size - 4096) // 4
        out = Path(folder)/"out.json"
        shell = " ".join([*me, "look", str(path)]) + f" > {out}"
        _, found["look memory"] = measured(["bash", "-c", "exec " + shell], ".")
        found |= json.loads(out.read_text())
    found["check"] = check()
    text = table(found)
    RESULTS.mkdir(exist_ok=True)
    keep(found, record)
    (RESULTS/"copying.md").write_text(f"# An index of the training data\n\n{text}\n\n{machine()}\n")
    print(text, found["check"], sep="\n")


if __name__ == "__main__":
    main()
