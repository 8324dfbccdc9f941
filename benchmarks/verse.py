"""How the bundled model was chosen: bits per character of poems that no model has seen.

    python benchmarks/verse.py ngram  --data ../shared/data [--vocabulary 2048]
    python benchmarks/verse.py cost --data ../shared/data --nanogpt FOLDER
    python benchmarks/verse.py try NAME --data ../shared/data [--minutes 10] [--into FOLDER]
    python benchmarks/verse.py table [--into FOLDER]
    python benchmarks/verse.py model FOLDER --data ../shared/data
    python benchmarks/verse.py minute FOLDER [--minutes 1]

`ngram` counts runs of up to five tokens of the poems and plays that are learned from, and predicts by interpolated
Kneser-Ney. `try` trains one of `TRIES`, or nanoGPT, for as many steps as two cores do in so many minutes, by the
costs of a step that `cost` has measured; it may do so on a GPU. `model` measures a folder that `tools/model.py` made,
and how much of what it writes stands in what it has read. `minute` fine-tunes it on the bundled poems for so long, and
trains from scratch as long. All print bits per character of the held-out poems:
the information of all their tokens, the end of each text included, over the number of their characters.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import verse  # noqa: E402

from record import Record, machine  # noqa: E402


# ---- n-grams
class KneserNey:
    """Interpolated Kneser-Ney over token ids, order `n`; a discount for each order by Chen and Goodman's estimate.

    A run of tokens is one number, its digits in base `vocabulary + 1`; the last digit stands for "before the text".
    """

    def __init__(self, documents, vocabulary, n=5):
        self.n, self.base = n, vocabulary + 1
        assert self.base**n < 2**63
        counted = np.unique(np.concatenate([self._runs(o)[n - 1] for o in documents]), return_counts=True)
        self.orders = []
        for k in range(n, 0, -1):
            self.orders.insert(0, self._order(*counted))
            if k > 1:  # how many different tokens stand before each shorter run
                counted = np.unique(counted[0] % self.base ** (k - 1), return_counts=True)

    def _runs(self, ids):
        "The runs of 1 to n tokens that end at each token."
        ids = np.concatenate([np.full(self.n - 1, self.base - 1), np.asarray(ids, np.int64)])
        runs, out = 0, []
        for k in range(self.n):
            runs = runs + ids[self.n - 1 - k : len(ids) - k] * self.base**k
            out.append(runs)
        return out

    def _order(self, runs, counts):
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice) if once else 0.5
        contexts, first, kinds = np.unique(runs // self.base, return_index=True, return_counts=True)
        return runs, counts, contexts, np.add.reduceat(counts, first), kinds, discount

    @staticmethod
    def _find(sorted_keys, keys):
        "Where each key is, and whether it is there."
        at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
        return at, sorted_keys[at] == keys

    def bits(self, ids):
        "The information of all tokens of a document."
        p = np.full(len(ids), 1 / (self.base - 1))
        for (runs, counts, contexts, totals, kinds, discount), keys in zip(self.orders, self._runs(ids)):
            at, there = self._find(runs, keys)
            c = np.where(there, counts[at], 0)
            at, known = self._find(contexts, keys // self.base)
            total, rest = totals[at], discount * kinds[at]
            p = np.where(known, (np.maximum(c - discount, 0) + rest * p) / total, p)
        return -np.log2(p).sum()


def ngram(data, vocabulary):
    "Bits per character of the held-out poems, and seconds."
    from textgen import train_tokenizer
    from textgen.text.codec import Codec

    start = time.perf_counter()
    learned, held_out = verse.poems(data)
    texts = [*learned, *verse.plays(data)]
    codec = Codec(train_tokenizer(texts=texts, vocab_size=vocabulary))
    model = KneserNey([[*codec.encode(t), codec.end] for t in texts], len(codec))
    bits = sum(model.bits([*codec.encode(t), codec.end]) for t in held_out)
    return bits / sum(map(len, held_out)), time.perf_counter() - start


# ---- models
def gpt2(layers, width, dropout=0.0, context=256):
    return dict(
        model_type="gpt2",
        n_layer=layers,
        n_head=width // 32,
        n_embd=width,
        n_positions=context,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=0.0,
    )


def llama(layers, width, hidden, kind="llama", **more):
    return dict(
        model_type=kind,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        hidden_size=width,
        intermediate_size=hidden,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        **more,
    )


TRIES = {  # name: tokens of the vocabulary, shape, how it is trained
    "gpt2 5×256, 2k": (2048, gpt2(5, 256), {}),
    "gpt2 5×256, 2k, dropout 0.1": (2048, gpt2(5, 256, 0.1), {}),
    "gpt2 5×256, 1k": (1024, gpt2(5, 256), {}),
    "gpt2 4×256, 4k": (4096, gpt2(4, 256), {}),
    "gpt2 4×192, 2k": (2048, gpt2(4, 192), {}),
    "gpt2 4×128, 1k": (1024, gpt2(4, 128), {}),
    "gpt2 8×192, 2k": (2048, gpt2(8, 192), {}),
    "gpt2 3×320, 2k": (2048, gpt2(3, 320), {}),
    "llama 5×256, 2k": (2048, llama(5, 256, 704), {}),
    "qwen3 5×256, 2k": (2048, llama(5, 256, 704, "qwen3"), {}),
    "llama 5×256, 4k": (4096, llama(5, 256, 512), {}),
    "llama 4×192, 4k": (4096, llama(4, 192, 512), {}),
    "llama 8×192, 2k": (2048, llama(8, 192, 512), {}),
    "llama 5×256, 2k, 8 rows": (2048, llama(5, 256, 704), dict(batch_size=8)),
    "llama 5×256, 2k, rate 0.003": (2048, llama(5, 256, 704), dict(lr=3e-3)),
    "llama 5×256, 2k, rate 0.015": (2048, llama(5, 256, 704), dict(lr=1.5e-2)),
}
NANOGPT = "nanoGPT 5×256, 2k"  # its `train.py` with the settings of its README for small models


def _config(shape, tok):
    from transformers import AutoConfig

    return AutoConfig.for_model(**shape, vocab_size=len(tok), bos_token_id=0, eos_token_id=0)


def _texts(data):
    "(texts to learn from, poems held out)."
    learned, held_out = verse.poems(data)
    return [*learned, *verse.plays(data)], held_out


def _trained(texts, tok, shape, settings, **more):
    from textgen import TextGen, TokenDataset
    from textgen.training.callback import NoView

    tg = TextGen.new(_config(shape, tok), tok, seed=0)
    settings = dict(batch_size=16, window=256, precision="fp32", sample_every=0, seed=0) | settings | more
    return tg, tg.train(TokenDataset.from_texts(texts, tok), view=NoView(), **settings)


def cost(name, args):
    "Seconds of a step on this machine, the first ones left out."
    from textgen import train_tokenizer

    if name == NANOGPT:
        return nanogpt(args, 24)["cost"]
    vocabulary, shape, settings = TRIES[name]
    texts = _texts(args.data)[0][:2000]
    tok = train_tokenizer(texts=texts, vocab_size=vocabulary)
    seconds = [_trained(texts, tok, shape, settings, steps=k)[1].seconds for k in (3, 11)]
    return (seconds[1] - seconds[0]) / 8


def measured(tg, held_out, tok):
    "Bits per character of the held-out poems: as trained, and with weights rounded to two bytes."
    import torch

    from textgen import TokenDataset

    data, found = TokenDataset.from_texts(held_out, tok), {}
    kept = {k: v.clone() for k, v in tg.model.state_dict().items()}
    for precision in ("float32", "bfloat16", "float16"):
        tg.model.load_state_dict({k: v.to(getattr(torch, precision)).to(v.dtype) for k, v in kept.items()})
        found[precision] = tg.evaluate(data, batch_size=16).bits_per_character
    tg.model.load_state_dict(kept)
    return dict(weights=tg.model.num_parameters(), bits=found.pop("float32")) | found


def train_one(name, args, steps):
    "What one of `TRIES` comes to after so many steps, as a dictionary."
    from textgen import train_tokenizer

    vocabulary, shape, settings = TRIES[name]
    texts, held_out = _texts(args.data)
    tok = train_tokenizer(texts=texts, vocab_size=vocabulary)
    tg, run = _trained(texts, tok, shape, settings, steps=steps)
    if args.out:
        tg.save(args.out)
    return measured(tg, held_out, tok) | dict(seconds=run.seconds, sample=tg.generate_one(seed=1))


# ---- nanoGPT
def nanogpt(args, steps):
    "The same of nanoGPT's `train.py`: AdamW, its rates, rows drawn at random; measured as ours is."
    import pickle
    import re
    import subprocess
    import tempfile

    import torch

    from textgen import TextGen, TokenDataset, train_tokenizer

    texts, held_out = _texts(args.data)
    tok = train_tokenizer(texts=texts, vocab_size=2048)
    with tempfile.TemporaryDirectory() as d:
        work = Path(d)
        (work / "data/verse").mkdir(parents=True)
        for part, of in dict(train=texts, val=held_out).items():
            TokenDataset.from_texts(of, tok).tokens.astype(np.uint16).tofile(work / f"data/verse/{part}.bin")
        (work / "data/verse/meta.pkl").write_bytes(pickle.dumps(dict(vocab_size=len(tok))))
        for f in ("model.py", "train.py", "configurator.py"):
            (work / f).write_text((Path(args.nanogpt) / f).read_text())
        gpu = torch.cuda.is_available()
        flags = dict(
            dataset="verse",
            device="cuda" if gpu else "cpu",
            compile=False,
            dtype="float32",
            n_layer=5,
            n_head=8,
            n_embd=256,
            block_size=256,
            batch_size=16,
            gradient_accumulation_steps=1,
            dropout=0.0,
            learning_rate=1e-3,
            min_lr=1e-4,
            beta2=0.99,
            warmup_iters=min(100, steps // 10),
            max_iters=steps,
            lr_decay_iters=steps,
            eval_interval=steps,
            eval_iters=1,
            log_interval=1,
            always_save_checkpoint=True,
            out_dir=str(work / "out"),
        )
        command = [sys.executable, "train.py", *(f"--{k}={v}" for k, v in flags.items())]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        seconds = time.perf_counter() - start
        times = [float(t) / 1e3 for t in re.findall(r"time ([\d.]+)ms", done.stdout)]
        ckpt = torch.load(work / "out/ckpt.pt", map_location="cpu", weights_only=True)
    tg = TextGen.new(_config(gpt2(5, 256) | dict(activation_function="gelu"), tok), tok, seed=0)
    state = {k.removeprefix("_orig_mod."): v for k, v in ckpt["model"].items() if not k.endswith("attn.bias")}
    conv1d = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    missing = {k for k in tg.model.state_dict() if k not in state}
    own = {k: v.t() if k.endswith(conv1d) else v for k, v in state.items()}
    own |= {k: torch.zeros_like(tg.model.state_dict()[k]) for k in missing if k.endswith("bias")}
    tg.model.load_state_dict(own)
    half = sorted(times[4:])
    return measured(tg, held_out, tok) | dict(seconds=seconds, cost=half[len(half) // 2] if half else None)


# ---- what came of it
def of_model(folder, args):
    "Bits per character of the held-out poems, and how much is copied: by the model, and by the held-out poems."
    from textgen import TextGen, TokenDataset
    from textgen.sharing.card import copying

    tg = TextGen(folder, device="cpu")
    texts, held_out = _texts(args.data)
    learned = TokenDataset.from_texts(texts, tg.tokenizer).tokens
    written = tg.generate("", n=200, max_new_tokens=200, seed=0)
    found = dict(bits=tg.evaluate(TokenDataset.from_texts(held_out, tg.tokenizer)).bits_per_character)
    found["written"] = copying([s.tokens for s in written], learned)
    found["held out"] = copying([tg.codec.encode(t)[:200] for t in held_out[:200]], learned)
    found["ended"] = sum(s.finish_reason == "end" for s in written)
    return found


def minute(folder, minutes):
    "The bundled poems, a tenth held out: bits per character after so long, from this model and from scratch."
    from textgen import TextGen, TokenDataset, bundled, train_tokenizer
    from textgen.training.callback import NoView

    poem = dict(template="{title}\n\n{text}")
    ask = dict(batch_size=8, validation=0.1, sample_every=0, seed=0, view=NoView())

    def after(make, data, steps):
        tg = make()
        start = time.perf_counter()
        run = tg.train(data, steps=steps, **ask)
        return time.perf_counter() - start, tg.evaluate(data, validation=0.1).bits_per_character, run.steps

    def best(make, tok):
        "Of runs that last at most so long: the best number of steps, since a small text is soon known by heart."
        data, rows = TokenDataset.from_files(bundled("poems"), tok, **poem), []
        rows.append((0.0, make().evaluate(data, validation=0.1).bits_per_character, 0))
        steps = 20
        while rows[-1][0] * 1.5 < minutes * 60:
            rows.append(after(make, data, steps))
            print(rows[-1], flush=True)
            steps = steps * 3 // 2
        return rows

    ours = TextGen(folder, device="cpu")
    small = train_tokenizer(bundled("poems"), vocab_size=1000, **poem)
    return dict(
        fine_tuned=best(lambda: TextGen(folder, device="cpu"), ours.tokenizer),
        scratch=best(lambda: TextGen.new("mini", small, seed=0), small),
    )


# ---- what is asked
def tokens_of(name):
    "Tokens of a step."
    how = dict(batch_size=16, window=256) | (TRIES[name][2] if name in TRIES else {})
    return how["batch_size"] * how["window"]


def table(folder):
    "The tries that lie in a folder, the best first."
    found = sorted((json.loads(o.read_text()) for o in Path(folder).glob("*.json")), key=lambda o: o["bits"])
    rows = [
        "| | weights | steps | tokens | minutes on two cores | bits per character | in bfloat16 |",
        "|" + "---|" * 7,
    ]
    for o in found:
        rows.append(
            f"| {o['name']} | {o['weights'] / 1e6:.2f} M | {o['steps']:,} | "
            f"{o['steps'] * tokens_of(o['name']) / 1e6:.1f} M | "
            f"{o['minutes']:.0f} | {o['bits']:.4f} | {o['bfloat16'] - o['bits']:+.4f} |"
        )
    return "\n".join(rows)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("what", choices=["ngram", "cost", "try", "table", "model", "minute"])
    a.add_argument("name", nargs="?")
    a.add_argument("--data", default="../shared/data")
    a.add_argument("--vocabulary", type=int, nargs="*", default=[512, 1024, 2048, 4096])
    a.add_argument("--minutes", type=float, default=10, help="of two cores; the costs say how many steps these are")
    a.add_argument("--costs", default="costs.json", help="seconds of a step, by name, as `cost` found them")
    a.add_argument("--into", default="tries", help="folder of the results")
    a.add_argument("--nanogpt", help="a clone of github.com/karpathy/nanoGPT")
    a.add_argument("--out")
    args = a.parse_args()
    if args.what == "table":
        return print(table(args.into))
    if args.what == "model":
        return print(json.dumps(of_model(args.name, args), indent=1))
    if args.what == "minute":
        return print(json.dumps(minute(args.name, args.minutes), indent=1))
    if args.what == "cost":
        found = {}
        for name in [args.name] if args.name else [*TRIES, *([NANOGPT] if args.nanogpt else [])]:
            found[name] = cost(name, args)
            print(name, found[name], flush=True)
        return Path(args.costs).write_text(json.dumps(found, indent=1))
    if args.what == "try":
        step = json.loads(Path(args.costs).read_text())[args.name]
        steps = int(args.minutes * 60 / step)
        got = nanogpt(args, steps) if args.name == NANOGPT else train_one(args.name, args, steps)
        got = dict(name=args.name, steps=steps, minutes=args.minutes, machine=machine()) | got
        Path(args.into).mkdir(exist_ok=True)
        (Path(args.into) / f"{args.name.replace(' ', '_').replace(',', '')}.json").write_text(json.dumps(got))
        return print(json.dumps(got))
    rows = ["| tokens | bits per character | seconds |", "|---|---|---|"]
    found = Record("verse_ngram", "n-grams of order 5 on held-out poems", better="less")
    for size in args.vocabulary:
        bits, seconds = ngram(args.data, size)
        rows.append(f"| {size:,} | {bits:.3f} | {seconds:.0f} |")
        found.add(f"{size:,} tokens", "Kneser-Ney", "bits per character", [bits])
        print(rows[-1], flush=True)
    found.save()
    print("\n".join([f"n-grams of order 5, interpolated Kneser-Ney; {machine()}", "", *rows]))


if __name__ == "__main__":
    main()
