"""What filters, penalties and stop strings cost, beside none, and beside transformers with the same settings.

    python benchmarks/generate_settings.py mini gpt2 --vocabulary TEXT [--work FOLDER] [--rounds 5] [--n 1 32]

The models of `generate.py`, in float32, with a byte-level tokenizer: GPT-2's vocab.json and merges.txt, where
--vocabulary is a folder that has them, or one learned from texts. A process for each library, in which the settings
take turns; the median of the rounds (of transformers with GPT-2 and 32 texts one round, since it takes minutes). No
stop string ever comes, so that every text is as long as allowed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from generate import RESULTS, make_model
from record import Record, here, machine

TOKENS = dict(mini=60, gpt2=40)
PROMPT = "The sea is"
ASKED = {
    "none": {},
    "top-k 40": dict(top_k=40),
    "top-p 0.9": dict(top_p=0.9),
    "min-p 0.05": dict(min_p=0.05),
    "repetition penalty 1.1": dict(repetition_penalty=1.1),
    "no-repeat 3": dict(no_repeat_ngram=3),
    "a stop string": dict(stop=["\n\nThe end of it all"]),
    "top-k, top-p, penalty": dict(top_k=40, top_p=0.9, repetition_penalty=1.1),
}


def make(shape, folder, files):
    "The model, with a tokenizer whose tokens are bytes of a text."
    from transformers import AutoConfig

    from textgen import train_tokenizer
    from textgen.text.codec import Codec

    make_model(shape, folder)
    config = AutoConfig.from_pretrained(folder)
    if Path(files[0]).is_dir():
        tok = Codec(files[0]).tokenizer
    else:
        tok = train_tokenizer(files, vocab_size=config.vocab_size)
    tok.save_pretrained(folder)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, tok.eos_token_id)
    config.save_pretrained(folder)
    (folder / "generation_config.json").unlink()


def with_textgen(folder, shape, n):
    from textgen import TextGen

    tg, k = TextGen(folder, device="cpu"), TOKENS[shape]

    def write(asked):
        found = tg.generate(PROMPT, n=n, max_new_tokens=k, min_new_tokens=k, temperature=0.7, seed=1, **asked)
        assert all(len(s.tokens) == k for s in found)

    return write


def with_transformers(folder, shape, n):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tok = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tok(PROMPT, return_tensors="pt").input_ids
    names, k = dict(no_repeat_ngram="no_repeat_ngram_size", stop="stop_strings"), TOKENS[shape]

    def write(asked):
        asked = dict(top_k=0, top_p=1.0) | {names.get(name, name): v for name, v in asked.items()}
        if "stop_strings" in asked:
            asked["tokenizer"] = tok
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=0.7,
                max_new_tokens=k,
                min_new_tokens=k,
                num_return_sequences=n,
                pad_token_id=0,
                **asked,
            )
        assert out.shape == (n, ids.shape[1] + k)

    return write


def seconds(write, asked):
    "Seconds of a call: of one that takes milliseconds the mean of as many as a fifth of a second holds."
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < 0.2:
        write(asked)
        calls += 1
    return (time.perf_counter() - start) / calls


def one(library, shape, n, rounds, work):
    "Tokens per second with each of the settings, as JSON."
    write = globals()[f"with_{library}"](str(work / shape), shape, n)
    took = {}
    for turn in range(rounds + (rounds > 1)):
        for name, asked in ASKED.items():
            took_now = seconds(write, asked)
            if turn or rounds == 1:
                took.setdefault(name, []).append(took_now)
    print(json.dumps({name: [n * TOKENS[shape] / x for x in v] for name, v in took.items()}))


def called(*args):
    out = subprocess.run([sys.executable, __file__, *map(str, args)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def table(shape, ns, args, found):
    if not (args.work / shape / "model.safetensors").exists():
        make(shape, args.work / shape, args.vocabulary)
    rows = ["| n | | textgen, tokens/s | of none | transformers | textgen is faster by |", "|---|---|---|---|---|---|"]
    for n in ns:
        few = 1 if shape == "gpt2" and n > 1 else args.rounds
        more = ["--n", n, "--work", args.work]
        ours = called(shape, "--one", "textgen", "--rounds", args.rounds, *more)
        theirs = called(shape, "--one", "transformers", "--rounds", few, *more)
        for name in ours:
            work = f"{shape}, {n} at once, {name}"
            found.add(work, "textgen", "tokens/s", ours[name])
            found.add(work, "transformers", "tokens/s", theirs[name])
        ours, theirs = ({name: statistics.median(v) for name, v in o.items()} for o in (ours, theirs))
        for name, v in ours.items():
            ratio = v / ours["none"]
            rows.append(f"| {n} | {name} | {v:,.0f} | {ratio:.2f} | {theirs[name]:,.0f} | {v / theirs[name]:.1f}× |")
            print(rows[-1], file=sys.stderr, flush=True)
    return f"## {shape}, {TOKENS[shape]} tokens out\n\n" + "\n".join(rows)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("shapes", nargs="+", choices=list(TOKENS))
    a.add_argument("--work", type=Path, default=Path("benchmark-models"))
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--n", type=int, nargs="*", default=[1, 32])
    a.add_argument("--one")
    a.add_argument("--vocabulary", nargs="*")
    args = a.parse_args()
    args.work.mkdir(exist_ok=True, parents=True)
    if args.one:
        return one(args.one, args.shapes[0], args.n[0], args.rounds, args.work)
    found = Record(here("generate_settings"), "Filters, penalties, stop strings")
    parts = [table(shape, args.n, args, found) for shape in args.shapes]
    found.merge().save()
    (RESULTS / f"{here('generate_settings')}.md").write_text(
        f"# Filters, penalties, stop strings\n\n{machine()}. float32, temperature 0.7; the median of {args.rounds} "
        "rounds in which the settings take turns.\n\n" + "\n\n".join(parts) + "\n"
    )


if __name__ == "__main__":
    main()
