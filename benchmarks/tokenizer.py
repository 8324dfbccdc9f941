"""Learning a BPE tokenizer, and encoding with one, against `tokenizers`, in one run.

    python benchmarks/tokenizer.py TEXT [--mb 100] [--repeat 3]

TEXT is UTF-8 (`benchmarks/encode.py --make` gathers one); its first megabytes are used. Both contenders are given the
same list of texts of about 8 kB, cut at line ends, and their results are
compared: same merges, same ids. Imports and reading the file are not counted; everything else is, also what textgen
does to make sure that it learns what `tokenizers` learns. Every repetition is a process of its own.
"""

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import time

from record import RESULTS, Record, machine


def texts(path, mb, size=8000):
    "The first megabytes of a file, cut into texts."
    with open(path, "rb") as f: whole = f.read(int(mb*1e6)).decode(errors="ignore")
    out, at = [], 0
    while at < len(whole):
        cut = whole.find("\n", at+size)+1 or len(whole)
        out.append(whole[at:cut])
        at = cut
    return out


# ---- the contenders: each returns a function that does the job, and gives what is compared
def train_textgen(docs):
    from textgen import train_tokenizer
    from textgen.text.tokenizer import fingerprint
    return lambda: train_tokenizer(texts=docs, vocab_size=8000), fingerprint


def train_tokenizers(docs):
    from textgen.text.tokenizer import _from_texts, _wrap, fingerprint
    return lambda: _wrap(_from_texts(docs, 8000, "bpe")), fingerprint


def _own(docs):
    from textgen import train_tokenizer
    from textgen.text.codec import Codec
    codec = Codec(train_tokenizer(texts=docs[::50], vocab_size=1000))
    return codec, codec.engine.name


def _hash(ids):
    import numpy as np
    return hashlib.sha256(np.concatenate(ids).astype(np.uint16).tobytes()).hexdigest()


def encode_textgen(docs):
    from textgen.text.corpus import SEP
    codec, _ = _own(docs)
    data = [
        SEP.join(t.encode() for t in docs[i : i + 1000]) for i in range(0, len(docs), 1000)
    ]  # pieces of 8 MB, as files are read
    return lambda: [codec.encode_piece(d)[0] for d in data], _hash


def encode_tokenizers(docs):
    codec, _ = _own(docs)
    return lambda: [e.ids for e in codec.fast.encode_batch(docs, add_special_tokens=False)], _hash


def encode_tokenizers_fast(docs):
    codec, _ = _own(docs)
    return lambda: [e.ids for e in codec.fast.encode_batch_fast(docs, add_special_tokens=False)], _hash


JOBS = {
    "train 8,000": ("train_tokenizers", "train_textgen"),
    "encode, 1,000 tokens": ("encode_tokenizers", "encode_tokenizers_fast", "encode_textgen"),
}
NAMES = {
    "train_tokenizers": "`tokenizers`",
    "train_textgen": "textgen",
    "encode_tokenizers": "`tokenizers` `encode_batch`",
    "encode_tokenizers_fast": "`tokenizers` `encode_batch_fast`",
    "encode_textgen": "textgen",
}


def one(name, path, mb):
    docs = texts(path, mb)
    job, what = globals()[name](docs)
    start = time.perf_counter()
    out = job()
    seconds = time.perf_counter()-start
    mb = max(resource.getrusage(o).ru_maxrss for o in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))/1e3
    print(json.dumps(dict(seconds=seconds, mb=mb, what=what(out))))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("text")
    a.add_argument("--mb", type=float, default=100)
    a.add_argument("--encode-mb", type=float, default=20)
    a.add_argument("--repeat", type=int, default=3)
    a.add_argument("--run")
    args = a.parse_args()
    if args.run: return one(args.run, args.text, args.mb)
    rows, found = [], Record("tokenizer", "Learning a tokenizer, and encoding with one", better="less")
    for job, who in JOBS.items():
        mb, runs = args.mb if job.startswith("train") else args.encode_mb, {n: [] for n in who}
        for _ in range(args.repeat):
            for n in who:
                r = subprocess.run(
                    [sys.executable, __file__, args.text, "--mb", str(mb), "--run", n], capture_output=True, text=True
                )
                if r.returncode: sys.exit(f"{n} failed:\n{r.stderr[-2000:]}")
                runs[n].append(json.loads(r.stdout.splitlines()[-1]))
                print(n, runs[n][-1], file=sys.stderr, flush=True)
        same = len({o["what"] for r in runs.values() for o in r}) == 1
        first = statistics.median(o["seconds"] for o in runs[who[0]])
        for n in who:
            by = NAMES[n].replace("`", "")
            found.add(f"{job}, {mb:.0f} MB", by, "s", [o["seconds"] for o in runs[n]])
            found.add(f"{job}, {mb:.0f} MB, memory", by, "MB", [o["mb"] for o in runs[n]])
            s = statistics.median(o["seconds"] for o in runs[n])
            rows.append(
                f"| {job}, {mb:.0f} MB | {NAMES[n]} | {s:.2f} | {mb / s:.1f} | {first / s:.1f}× | "
                f"{max(o['mb'] for o in runs[n]):,.0f} | {'the same' if same else '**differs**'} |"
            )
    table = "\n".join(
        ["| job | by | seconds | MB/s | faster by | peak MB | result |", "|---|---|---|---|---|---|---|", *rows]
    )
    found.save()
    (RESULTS / "tokenizer.md").write_text(
        f"# Tokenizer\n\nLearning 8,000 tokens of byte-level BPE, and encoding with 1,000 learned from the same "
        f"text: mixed text (poems, plays, documentation, source code) in documents of about 8 kB; {machine()}. "
        f"Median of {args.repeat} runs, each a process of its own. Both are given texts that are in memory "
        f"already.\n\n{table}\n"
    )
    print(table)


if __name__ == "__main__": main()
