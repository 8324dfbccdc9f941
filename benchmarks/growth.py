"""Time and memory of encoding against size, from 1 MB to 4 GB: `python benchmarks/growth.py TEXT --gpt2 FOLDER`.

Each size is the text's beginning, or the text over and over; each run is a process of its own, through
`benchmarks/encode.py`.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from record import Record, machine

HERE = Path(__file__).parent
SIZES = (1, 4, 16, 64, 200, 400, 1000, 4000) # MB


def write(path, text, size):
    "`size` bytes of text."
    with open(path, "wb") as out, open(text, "rb") as f:
        while size > 0:
            block = f.read(min(size, 1 << 24))
            if not block:
                f.seek(0)
                continue
            out.write(block)
            size -= len(block)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("text")
    a.add_argument("--gpt2")
    a.add_argument("--repeat", type=int, default=3)
    args, rows = a.parse_args(), []
    found = Record("growth", "Encoding against size", better="less")
    with tempfile.TemporaryDirectory() as d:
        for mb in SIZES:
            write(f"{d}/text.txt", args.text, mb*1_000_000)
            for how in ("textgen", "textgen_lines"):
                runs = []
                for _ in range(args.repeat if mb <= 400 else 1):
                    r = subprocess.run(
                        [sys.executable, HERE / "encode.py", f"{d}/text.txt", "--gpt2", args.gpt2, "--run", how],
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    runs.append(json.loads(r.stdout.splitlines()[-1]))
                work = f"{'one document' if how == 'textgen' else 'a line each'}, {mb:,} MB"
                found.add(work, "textgen", "s", [o["seconds"] for o in runs])
                found.add(f"{work}, memory", "textgen", "MB", [o["mb"] for o in runs])
                runs.sort(key=lambda o: o["seconds"])
                mid = runs[len(runs)//2]
                rows.append(
                    dict(
                        documents="one" if how == "textgen" else "lines",
                        mb=mb,
                        seconds=round(mid["seconds"], 3),
                        mb_per_s=round(mb / mid["seconds"]),
                        peak_mb=round(max(o["mb"] for o in runs)),
                    )
                )
                print(rows[-1], flush=True)
    found.save()
    with open(HERE/"results"/"growth.csv", "w", newline="") as f:
        w = csv.DictWriter(f, rows[0])
        w.writeheader()
        w.writerows(rows)
    table = "\n".join(
        [
            "| " + " | ".join(rows[0]) + " |",
            "|---" * len(rows[0]) + "|",
            *("| " + " | ".join(f"{v:,}" if isinstance(v, int) else str(v) for v in r.values()) + " |" for r in rows),
        ]
    )
    (HERE / "results" / "growth.md").write_text(
        f"# Encoding against size\n\n`benchmarks/growth.py`: file to cache, GPT-2's vocabulary, one document or one "
        f"a line; peak resident memory of the process, about 195 MB of it before the first byte is read. "
        f"{machine()}.\n\n{table}\n"
    )


if __name__ == "__main__": main()
