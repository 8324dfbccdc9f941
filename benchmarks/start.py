"""Seconds from the start of a process until the first text of the bundled model can be read.

    python benchmarks/start.py [--repeat 7]

`textgen generate`, with no model and no prompt, beside the same folder in plain transformers (`pipeline` of two lines)
and beside `import torch` alone, which both need; they take turns. What is timed is the first byte on standard output,
and the end of the process. The bytecode of the package is made before, as `pip install` does.
"""

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from record import RESULTS, Record, here, machine

import textgen

PACKAGE = Path(textgen.__file__).parent
PLAIN = """
from transformers import pipeline
write = pipeline("text-generation", {folder!r}, device="cpu")
print(write("The", max_new_tokens=100, do_sample=True, temperature=.7)[0]["generated_text"])
"""
RUNS = {
    "textgen generate": ["-m", "textgen", "generate"],
    "transformers, two lines": ["-c", PLAIN.format(folder=str(PACKAGE / "bundled" / "model"))],
    "import torch": ["-c", "import torch; print('there')"],
}


def once(arguments):
    "Seconds to the first byte and to the end of a Python process."
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | dict(HF_HUB_OFFLINE="1")
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    process.stdout.read(1)
    first = time.perf_counter() - begin
    process.stdout.read()
    if process.wait(): sys.exit(f"failed: {arguments}")
    return first, time.perf_counter() - begin


def keep(times, name):
    "Write every repetition down; two seconds are wanted for the first text."
    record = Record(name, "From the start of a process to the first text", better="less")
    for by, both in times.items():
        wanted = 2 if by.startswith("textgen") else None
        record.add("the first text can be read", by, "s", [first for first, _ in both], wanted=wanted)
        record.add("the process has ended", by, "s", [end for _, end in both])
    record.save()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--repeat", type=int, default=7)
    args = a.parse_args()
    compileall.compile_dir(PACKAGE, quiet=2)
    times = {name: [] for name in RUNS}
    for _ in range(args.repeat + 1):
        for name, arguments in RUNS.items(): times[name].append(once(arguments))
    times = {name: t[1:] for name, t in times.items()}  # the first of each finds nothing in memory
    rows = [
        f"| {name} | {statistics.median(f for f, _ in t):.2f} ({min(t)[0]:.2f} to {max(t)[0]:.2f}) | "
        f"{statistics.median(e for _, e in t):.2f} |"
        for name, t in times.items()
    ]
    table = "\n".join(["| | seconds to the first text | to the end |", "|---|---|---|", *rows])
    keep(times, here("start"))
    (RESULTS / f"{here('start')}.md").write_text(
        f"# Start\n\n{machine()}; {args.repeat} rounds, the median (and the range).\n\n{table}\n"
    )
    print(table)


if __name__ == "__main__": main()
