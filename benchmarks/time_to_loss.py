"""Seconds until characters of tinyshakespeare are predicted with a validation loss of 1.88, against nanoGPT.

    python benchmarks/time_to_loss.py ../shared/data/tinyshakespeare.txt --nanogpt FOLDER [--repeat 3]

The model is nanoGPT's of its README for a CPU: 4 layers, 4 heads, 128 wide, context 64; the text its split (the first
nine tenths, the rest) and its vocabulary (65 characters).
nanoGPT is a clone of github.com/karpathy/nanoGPT; its `train.py` runs as it is, with the README's settings for a CPU
(and fp32, as its own default needs a GPU), in a process of its own.
The clock starts when data and imports are there and counts everything else, compiling too, but evaluation. The loss is
that of all consecutive windows of the held-out text, on both sides.
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import RESULTS, Record, here, machine

TARGET = 1.88
SHORT = dict(steps=250, batch_size=24, lr=2e-2, warmup=1)  # what is enough for the target
LONG = dict(batch_size=24, lr=2e-2, warmup=1)  # the steps are what fits into nanoGPT's time
README = [
    "--device=cpu",
    "--compile=False",
    "--eval_iters=20",
    "--log_interval=100",
    "--block_size=64",
    "--batch_size=12",
    "--n_layer=4",
    "--n_head=4",
    "--n_embd=128",
    "--max_iters=2000",
    "--lr_decay_iters=2000",
    "--dropout=0.0",
    "--dtype=float32",
]


# ---- nanoGPT
PATCHES = {  # its clock, and its measure of loss
    "# various inits": "import time as _t; _clock = _t.perf_counter(); _out = 0.\n# various inits",
    "losses = estimate_loss()": (
        "_e = _t.perf_counter(); losses = dict(train=0., val=_held()); _out += _t.perf_counter()-_e; "
        "print('HELD', iter_num, _t.perf_counter()-_clock-_out, losses['val'], flush=True)"
    ),
    "# learning rate decay scheduler": """@torch.no_grad()
def _held():
    model.eval()
    ids = torch.from_numpy(np.memmap(os.path.join(data_dir, 'val.bin'), dtype=np.uint16, mode='r').astype(np.int64))
    n = (len(ids)-1)//block_size*block_size
    x, y = ids[:n].view(-1, block_size), ids[1:n+1].view(-1, block_size)
    loss = sum(model(a, b)[1].item()*len(a) for a, b in zip(x.split(217), y.split(217)))/len(x)
    model.train()
    return loss
# learning rate decay scheduler""",
}


def nanogpt(folder, text, work, flags=README):
    "[(step, seconds, loss), …] of a run of nanoGPT."
    import numpy as np
    script = (Path(folder)/"train.py").read_text()
    for a, b in PATCHES.items():
        assert a in script, f"train.py is not the one this was written for: no {a!r}"
        script = script.replace(a, b, 1)
    chars, n = sorted(set(text)), int(0.9*len(text))
    ids, data = {c: i for i, c in enumerate(chars)}, work/"data"/"shakespeare_char"
    data.mkdir(parents=True)
    for name, part in (("train", text[:n]), ("val", text[n:])):
        np.array([ids[c] for c in part], np.uint16).tofile(data / f"{name}.bin")
    (data/"meta.pkl").write_bytes(pickle.dumps(dict(vocab_size=len(chars))))
    (work/"train.py").write_text(script)
    for f in ("model.py", "configurator.py", "config"): (work/f).symlink_to((Path(folder)/f).resolve())
    p = subprocess.run(
        [sys.executable, "train.py", "config/train_shakespeare_char.py", *flags],
        cwd=work,
        capture_output=True,
        text=True,
    )
    if p.returncode: sys.exit(p.stderr)
    return [
        (int(k), float(s), float(x))
        for k, s, x in (line.split()[1:] for line in p.stdout.splitlines() if line.startswith("HELD"))
    ]


# ---- textgen
def char_tokenizer(text):
    "nanoGPT's vocabulary: every character that occurs, in their order."
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.WordLevel({c: i for i, c in enumerate(sorted(set(text)))}, unk_token="\n"))
    t.pre_tokenizer, t.decoder = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=t)

SHAPE = dict(n_layer=4, n_head=4, n_embd=128, n_positions=64)

def held_out(tg, tokens):
    "The loss of all consecutive windows."
    import torch
    from torch.nn.functional import cross_entropy
    ids, window = torch.from_numpy(tokens.astype("int64")).to(tg.model.device), tg.context
    n = (len(ids)-1)//window*window
    x, y = ids[:n].view(-1, window), ids[1:n+1].view(-1, window)
    with torch.no_grad():
        return sum(
            cross_entropy(tg.model(input_ids=a).logits.flatten(0, 1), b.flatten()).item() * len(a)
            for a, b in zip(x.split(217), y.split(217))
        ) / len(x)


def ours(text, settings, seed, shape=SHAPE, dropout=0.):
    "(seconds, loss) of a run, through the public interface."
    from transformers import GPT2Config
    from textgen import TextGen, TokenDataset
    from textgen.training.callback import NoView
    tok, n = char_tokenizer(text), int(0.9*len(text))
    data, held = TokenDataset.from_texts([text[:n]], tok), TokenDataset.from_texts([text[n:]], tok)
    start = time.perf_counter()
    config = GPT2Config(
        vocab_size=len(tok),
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        activation_function="gelu",
        bos_token_id=None,
        eos_token_id=None,
        **shape,
    )
    tg = TextGen.new(config, tok, seed=seed)
    tg.train(data, sample_every=0, seed=seed, view=NoView(), **settings)
    return time.perf_counter()-start, held_out(tg, held.tokens)


def one(settings, file, seed):
    "A run in a process of its own."
    p = subprocess.run(
        [sys.executable, __file__, file, "--one", json.dumps(settings), "--seed", str(seed)],
        capture_output=True,
        text=True,
    )
    if p.returncode: sys.exit(p.stderr)
    return json.loads(p.stdout.splitlines()[-1])

def main():
    a = argparse.ArgumentParser()
    a.add_argument("file")
    a.add_argument("--nanogpt")
    a.add_argument("--repeat", type=int, default=3)
    a.add_argument("--one")
    a.add_argument("--seed", type=int, default=0)
    args = a.parse_args()
    text = Path(args.file).read_text()
    if args.one: return print(json.dumps(ours(text, json.loads(args.one), args.seed)))
    with tempfile.TemporaryDirectory() as d: peer = nanogpt(args.nanogpt, text, Path(d))
    reached, whole = next(((s, x) for _, s, x in peer if x <= TARGET), None), peer[-1][1]
    runs = [one(SHORT, args.file, k) for k in range(args.repeat)]
    seconds, worst = statistics.median(s for s, _ in runs), max(x for _, x in runs)
    per_step = seconds/SHORT["steps"]
    long = one(dict(LONG, steps=int(0.97*whole/per_step)), args.file, 0)
    rows = [
        f"| nanoGPT `train.py` | 2,000 × 12 | {whole:.1f} | {peer[-1][2]:.3f} | "
        f"{f'{reached[0]:.1f}' if reached else 'not reached'} |",
        f"| textgen (median of {args.repeat} seeds, worst loss) | {SHORT['steps']} × {SHORT['batch_size']} | "
        f"{seconds:.1f} | {worst:.3f} | {seconds:.1f} |"
        if worst <= TARGET
        else f"| textgen | {SHORT['steps']} × {SHORT['batch_size']} | {seconds:.1f} | {worst:.3f} | not reached |",
        f"| textgen, nanoGPT's time | {int(0.97 * whole / per_step):,} × {LONG['batch_size']} | {long[0]:.1f} | "
        f"{long[1]:.3f} | |",
    ]
    table = "\n".join(
        ["| | steps × rows of 64 | seconds | loss at the end | seconds to 1.88 |", "|---|---|---|---|---|", *rows]
    )
    said = (
        f"1/{(reached[0] if reached else whole) / seconds:.1f} of nanoGPT's time to {TARGET}; in nanoGPT's whole "
        f"time a loss lower by {peer[-1][2] - long[1]:.2f}."
    )
    found = Record(here("time_to_loss"), f"Time to a loss of {TARGET}, characters of tinyshakespeare", better="less")
    missed, theirs = ", which it did not reach: its whole run", [reached[0] if reached else whole]
    work = f"seconds to {TARGET}"
    found.add(work, "nanoGPT" if reached else f"nanoGPT{missed}", "s", theirs)
    asked = theirs[0] / (7 if "AVX512" in machine() else 5)
    found.add(work, "textgen" if worst <= TARGET else f"textgen{missed}", "s", [s for s, _ in runs], wanted=asked)
    found.add("loss in nanoGPT's time", "nanoGPT", "nats per token", [peer[-1][2]])
    found.add("loss in nanoGPT's time", "textgen", "nats per token", [long[1]])
    found.save()
    path = RESULTS / ("time_to_loss.md" if "AVX512" in machine() else "time_to_loss_avx2.md")
    path.write_text(
        f"# Time to a loss\n\nCharacters of tinyshakespeare, 4 layers, 4 heads, 128 wide, context 64; {machine()}\n\n"
        f"{table}\n\n{said}\n\n"
        f"textgen: `{', '.join(f'{k}={v}' for k, v in SHORT.items())}`, else its defaults (bf16 where the machine is "
        f"fast at it, Muon and AdamW, not compiled). The clock excludes imports and data preparation on both sides, "
        f"and evaluation.\n"
    )
    print(table, said, sep="\n\n")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
