"""How the bundled model was chosen: bits per character of poems that no model has seen.

    python benchmarks/verse.py ngram  --data ../shared/data [--vocabulary 2048]
    python benchmarks/verse.py try NAME --data ../shared/data [--minutes 10] [--out FOLDER]

`ngram` counts runs of up to five tokens of the poems and plays that are learned from, and predicts by interpolated
Kneser-Ney. `try` trains one of `TRIES` for so many minutes. Both print bits per character of the held-out poems: the
information of all their tokens, the end of each text included, over the number of their characters.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import verse  # noqa: E402

from main_job import machine  # noqa: E402


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
def gpt2(layers, width, context=256, dropout=0.1):
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


def llama(layers, width, hidden, context=256):
    return dict(
        model_type="llama",
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        hidden_size=width,
        intermediate_size=hidden,
        max_position_embeddings=context,
        tie_word_embeddings=True,
    )


TRIES = {  # name: tokens of the vocabulary, shape, how it is trained
    "gpt2 6×192, 1k": (1024, gpt2(6, 192), {}),
    "gpt2 6×192, 2k": (2048, gpt2(6, 192), {}),
    "gpt2 6×192, 4k": (4096, gpt2(6, 192), {}),
    "gpt2 5×256, 2k": (2048, gpt2(5, 256), {}),
    "gpt2 5×256, 2k, no dropout": (2048, gpt2(5, 256, dropout=0.0), {}),
    "llama 6×192, 2k": (2048, llama(6, 192, 512), {}),
    "llama 5×256, 2k": (2048, llama(5, 256, 704), {}),
    "gpt2 5×256, 2k, lr 0.01": (2048, gpt2(5, 256), dict(lr=1e-2)),
    "gpt2 5×256, 2k, 32 rows": (2048, gpt2(5, 256), dict(batch_size=32)),
}


def _trained(texts, tok, shape, settings, **more):
    from transformers import AutoConfig

    from textgen import TextGen, TokenDataset
    from textgen.training.callback import NoView

    config = AutoConfig.for_model(**shape, vocab_size=len(tok), bos_token_id=0, eos_token_id=0)
    tg = TextGen.new(config, tok, seed=0)
    settings = dict(batch_size=16, window=128, sample_every=0, seed=0, view=NoView()) | settings | more
    return tg, tg.train(TokenDataset.from_texts(texts, tok), **settings)


def train_one(name, data, minutes, out=None):
    "What one of `TRIES` comes to in so many minutes, as a dictionary."
    from textgen import TokenDataset, train_tokenizer

    vocabulary, shape, settings = TRIES[name]
    learned, held_out = verse.poems(data)
    texts = [*learned, *verse.plays(data)]
    tok = train_tokenizer(texts=texts, vocab_size=vocabulary)
    tg, short = _trained(texts, tok, shape, settings, steps=12)
    steps = int(minutes * 60 / (short.seconds / 12))
    tg, run = _trained(texts, tok, shape, settings, steps=steps)
    found = tg.evaluate(TokenDataset.from_texts(held_out, tok), batch_size=16)
    if out:
        tg.save(out)
    return dict(
        name=name,
        weights=tg.model.num_parameters(),
        steps=steps,
        minutes=run.seconds / 60,
        bits=found.bits_per_character,
        sample=tg.generate_one(seed=1),
    )


def main():
    a = argparse.ArgumentParser()
    a.add_argument("what", choices=["ngram", "try"])
    a.add_argument("name", nargs="?", choices=list(TRIES))
    a.add_argument("--data", default="../shared/data")
    a.add_argument("--vocabulary", type=int, nargs="*", default=[512, 1024, 2048, 4096])
    a.add_argument("--minutes", type=float, default=10)
    a.add_argument("--out")
    args = a.parse_args()
    if args.what == "try":
        return print(json.dumps(train_one(args.name, args.data, args.minutes, args.out)))
    rows = ["| tokens | bits per character | seconds |", "|---|---|---|"]
    for size in args.vocabulary:
        bits, seconds = ngram(args.data, size)
        rows.append(f"| {size:,} | {bits:.3f} | {seconds:.0f} |")
        print(rows[-1], flush=True)
    print("\n".join([f"n-grams of order 5, interpolated Kneser-Ney; {machine()}", "", *rows]))


if __name__ == "__main__":
    main()
