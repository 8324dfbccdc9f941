"""Seconds and peak memory of each step of the main job, from the terminal.

    python benchmarks/main_job.py ../shared/data/tinyshakespeare.txt [--steps 1000] [--repeat 3]

Each command is a process of its own; its time is from start to exit, its memory the largest resident set the system
saw. Median of the repetitions.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import RESULTS, Record, machine


def measured(cmd, cwd):
    "Wall seconds and peak MB of one command."
    start = time.perf_counter()
    p = subprocess.Popen(cmd, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(p.pid, 0)
    if status: sys.exit(f"failed: {' '.join(cmd)}")
    return time.perf_counter()-start, usage.ru_maxrss/(1e6 if sys.platform == "darwin" else 1e3)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("file")
    a.add_argument("--steps", default="1000")
    a.add_argument("--repeat", type=int, default=3)
    args = a.parse_args()
    text, tg = str(Path(args.file).resolve()), [sys.executable, "-m", "textgen"]
    steps = [
        ("tokenizer", "a tokenizer of 1,000", [*tg, "tokenizer", text, "--vocab-size", "1000", "--out", "tok"]),
        ("encode", "text to token cache", [*tg, "encode", text, "--tokenizer", "tok", "--out", "a.tokens"]),
        (
            "train",
            f"`mini`, {args.steps} steps of 8×256 tokens",
            [*tg, "train", "a.tokens", "--new", "mini", "--out", "model", "--steps", args.steps],
        ),
        (
            "generate",
            "5 texts of 100 tokens, to a file",
            [*tg, "generate", "model", "--seed", "42", "-n", "5", "--prompt", "ROMEO:", "--out", "a.txt"],
        ),
    ]
    rows, found = [], Record("main_job", "The main job, each command from its start to its exit", better="less")
    with tempfile.TemporaryDirectory() as d:
        for name, what, cmd in steps:
            runs = [measured(cmd, d) for _ in range(1 if name == "train" else args.repeat)]
            found.add(f"{name}: {what}", "textgen", "s", [r[0] for r in runs])
            found.add(f"{name}: {what}, memory", "textgen", "MB", [r[1] for r in runs])
            rows.append(
                f"| `textgen {name}` | {what} | {statistics.median(r[0] for r in runs):.1f} | "
                f"{max(r[1] for r in runs):,.0f} |"
            )
    table = "\n".join(["| command | does | seconds | peak MB |", "|---|---|---|---|", *rows])
    found.save()
    (RESULTS / "main_job.md").write_text(
        f"# The main job\n\n{Path(args.file).name}, {os.path.getsize(text) / 1e6:.1f} MB; {machine()}\n\n{table}\n"
    )
    print(table)


if __name__ == "__main__": main()
