"""What `verify` finds, what it lets through, and how long it takes.

    python benchmarks/verify.py                 the table, on the bundled model, and the times (about half an hour)
    python benchmarks/verify.py --texts 50      the same with fewer texts
    python benchmarks/verify.py --only times    the times alone, to be run where nothing else runs; `--only table`

Writes results/verify.json and results/verify.md. Texts have 100 tokens and are drawn at temperature 0.7 from the whole
vocabulary. Each forged text is checked by `verify` like any other: the receipt and the file are in order, except for
what was forged. `ids` is the cleverest of them: one token of the text was exchanged for another whole word, in the text
and in the ids of the receipt alike, so that nothing but the seed speaks against it.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from record import RESULTS, Record, machine
from transformers import GPT2Config

from textgen import TextGen, verify
from textgen.core import sha256
from textgen.generation.files import _layout, receipt_path, write_samples
from textgen.generation.loop import Writer
from textgen.models.weights import model_hash
from textgen.trust import verify as room
from textgen.trust.replay import replay
from textgen.trust.slices import TOLERANCE

TOKENS = 100
ASK = dict(max_new_tokens=TOKENS, min_new_tokens=TOKENS, temperature=0.7)
PLACES = (5, 10, 25, 50, 100)  # tokens after which a changed setting is looked for
CHANGES = {
    "temperature 0.7 for 0.71": dict(temperature=0.71),
    "temperature 0.7 for 0.75": dict(temperature=0.75),
    "temperature 0.7 for 0.8": dict(temperature=0.8),
    "temperature 0.7 for 1": dict(temperature=1.0),
    "top-p 0.95 for none": dict(top_p=0.95),
    "top-k 100 for none": dict(top_k=100),
    "min-p 0.02 for none": dict(min_p=0.02),
    "repetition penalty 1.05 for none": dict(repetition_penalty=1.05),
}


# ---- forging
def one_token_words(tg):
    "Tokens that are a blank and a word."
    texts = {i: tg.codec.decode([0, i]) for i in range(len(tg.codec))}
    return {i: t for i, t in texts.items() if t.startswith(" ") and t[1:].isalpha() and len(t) > 3}


def words_at(sample, words):
    "Places of tokens that are a whole word, with a blank behind it."
    ids = sample.tokens
    return [k for k in range(len(ids) - 1) if ids[k] in words and ids[k + 1] in words]


def changed_word(text, rng):
    words = text.split(" ")
    at = rng.randrange(len(words))
    words[at] = "moonlight" if words[at] != "moonlight" else "sunlight"
    return " ".join(words)


def changed_character(text, rng):
    at = rng.randrange(len(text))
    return text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]


def cut_sentence(text, rng):
    "The text without what stands between two of its line ends or full stops, else without its second half."
    ends = [i + 1 for i, c in enumerate(text) if c in ".\n;,"]
    if len(ends) < 2:
        return text[: len(text) // 2]
    at = rng.randrange(len(ends) - 1)
    return text[: ends[at]] + text[ends[at + 1] :]


def other_ids(tg, sample, words, rng):
    "A sample with one word exchanged, in its text and in its ids; None where it has no such word."
    places = words_at(sample, words)
    if not places:
        return None
    at = rng.choice(places)
    new = rng.choice([i for i in words if i != sample.tokens[at]])
    tokens = [*sample.tokens[:at], new, *sample.tokens[at + 1 :]]
    return replace(sample, tokens=tokens, text=tg.codec.decode([*tg.codec.prompt_ids(""), *tokens], partial=True))


class Forger:
    "Writes files and their receipts, with something wrong in them, and asks `verify`."

    def __init__(self, tg, samples, folder):
        self.tg, self.samples, self.folder = tg, samples, Path(folder)
        self.receipt = samples.receipt

    def check(self, samples, texts=None, **changes):
        "What is said of each of some samples; `texts` in place of their own."
        path = self.folder / "a.txt"
        shown = samples if texts is None else [replace(s, text=t) for s, t in zip(samples, texts)]
        body, layout = _layout(shown, path)
        receipt = deepcopy(self.receipt)
        content = receipt.content
        content["samples"] = [dict(index=s.index, tokens=s.tokens, finish_reason=s.finish_reason) for s in samples]
        content["settings"] |= changes.pop("settings", {})
        content |= changes
        content["file"] = dict(name=path.name, **layout, sha256=sha256(body))
        path.write_bytes(body.encode())
        receipt.save(receipt_path(path))
        return verify(path, self.tg).samples

    def theirs(self, share):
        "The same with another model, whose hash stands in the receipt."
        other = Forger(disturbed(self.tg, share), self.samples, self.folder)
        other.receipt.content["model"]["sha256"] = model_hash(other.tg.model)
        return other


def forgeries(forger, rng):
    "Name of a forgery -> a function of some samples that gives what is said of them."
    tg, words, seed = forger.tg, one_token_words(forger.tg), forger.samples.seed + 1

    def text(change):
        return lambda some: forger.check(some, [change(s.text, rng) for s in some])

    def swapped(some):
        texts = [s.text for s in some]
        texts[::2], texts[1::2] = texts[1::2], texts[::2]
        return forger.check(some, texts)

    def ids(some):
        changed = [other_ids(tg, s, words, rng) for s in some]
        return forger.check([s for s in changed if s])

    return {
        "honest": forger.check,
        "one word changed": text(changed_word),
        "one character changed": text(changed_character),
        "two texts swapped": swapped,
        "a sentence cut": text(cut_sentence),
        "another seed": lambda some: forger.check(some, seed=seed, settings=dict(seed=seed)),
        "another model of the same shape, and its hash": forger.theirs(0.1).check,
        "the model with 1% of noise, and its hash": forger.theirs(0.01).check,
        "ids rewritten to match a changed word": ids,
    }


def disturbed(tg, share):
    "A model with noise in its weights."
    model, g = deepcopy(tg.model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=g).to(p.dtype) * p.float().std().to(p.dtype) * share
    other = TextGen(model, tg.tokenizer, device="cpu")
    other.quantize = tg.quantize
    return other


# ---- the table
FILE = 100  # texts in a file


def counted(checked):
    "How many passed, and what was said of those."
    passed = [s for s in checked if s.status == "verified"]
    return dict(
        texts=len(checked),
        verified=len(passed),
        mean_bound=statistics.mean(s.bound for s in passed) if passed else None,
        largest_bound=max((s.bound for s in passed), default=None),
        least_bits=min((s.bits for s in passed), default=None),
        places_with_others=sum(s.others for s in passed),
        tokens=sum(s.tokens for s in passed),
        wide=sum(s.precision != "float32" for s in passed),
    )


def detected(tg, samples, precision):
    "Changed setting -> share of texts in which it is found within so many tokens."
    found = {}
    read = room.reader(tg.wrapped, precision)
    for name, change in CHANGES.items():
        writer = Writer(read, tg.codec, "", replace(samples.settings, **change))
        texts = replay(writer, list(samples), precision)
        at = [t.best.at if t.best.at is not None else TOKENS for t in texts]
        found[name] = {n: sum(a < n for a in at) / len(at) for n in PLACES}
    return found


def furthest(tg, samples, precision):
    "How far logits had to be off, as a share of the largest, for all honest texts to fit; and how many fit exactly."
    writer = Writer(room.reader(tg.wrapped, precision), tg.codec, "", samples.settings)
    texts = replay(writer, list(samples), precision)
    return dict(
        share=max(t.fits[-1].furthest for t in texts),
        allowed=TOLERANCE[precision],
        exact=sum(t.fits[0].fits for t in texts),
        engine=tg.engine.name,
        read_by=room.reader(tg.wrapped, precision).engine,
    )


def table(name, n, how, precision, in_int8=True):
    "One column: texts made in one precision."
    print(f"\n{name}", flush=True)
    tg = TextGen(device="cpu", **how)
    if not in_int8:
        room._in_int8 = lambda decoder, version: decoder
    samples = tg.generate("", n=n, seed=1, **ASK)
    files = [list(samples)[i : i + FILE] for i in range(0, n, FILE)]
    rows, rng = {}, random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        for kind, forge in forgeries(Forger(tg, samples, folder), rng).items():
            start = time.time()
            rows[kind] = counted([one for some in files for one in forge(some)])
            taken = f"{time.time() - start:.0f} s"
            print(f"  {kind}: {rows[kind]['verified']} of {rows[kind]['texts']} ({taken})", flush=True)
    if precision == "float32" or not in_int8:
        rows["changed settings"] = detected(tg, samples, precision)
    return dict(forgeries=rows, distance=furthest(tg, samples, precision))


COLUMNS = {
    "float32": (dict(), "float32", True),
    "bfloat16": (dict(dtype="bfloat16"), "bfloat16", True),
    "int8": (dict(quantize="int8"), "int8", True),
    "int8, read in float32": (dict(quantize="int8"), "int8", False),
}


# ---- times
def timed(f):
    start = time.perf_counter()
    result = f()
    return time.perf_counter() - start, result


def one_round(tg, n, seed, folder):
    "Seconds to write `n` texts and to verify them."
    made, samples = timed(lambda: tg.generate("The sea", n=n, seed=seed, **ASK))
    path = write_samples(samples, folder / f"{n}-{seed}.txt")
    checked, verdict = timed(lambda: verify(path, tg))
    assert verdict.ok, verdict
    return made, checked


def arithmetic():
    "Multiplications and additions a second that this machine reaches in a product of matrices, float32."
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return max(2 * 1024**3 / timed(lambda: a @ b)[0] for _ in range(20))


def least(model, n, rate):
    "Seconds that the multiplications of a pass over `n` texts take at least."
    weights = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "wpe" not in name)
    return 2 * weights * n * TOKENS / rate


def times(rounds):
    "Seconds to write and to verify 1 and 32 texts of 100 tokens, on the shape of GPT-2 with random weights."
    found, rate = {}, arithmetic()
    tg = TextGen.new(GPT2Config(), TextGen().tokenizer, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        for n in (1, 32):
            pairs = [one_round(tg, n, k, Path(folder)) for k in range(rounds + 1)]  # the first is to warm up
            made, checked = [list(o) for o in zip(*pairs[1:])]
            ratio = statistics.median(made) / statistics.median(checked)
            least_s = least(tg.model, n, rate)
            found[n] = dict(write=made, verify=checked, ratio=ratio, least=least_s, engine=tg.engine.name)
            print(n, found[n], flush=True)
    return found


# ---- writing it down
def percent(x):
    return f"{x:.1%}" if x is not None else ""


def small(x):
    if x is None:
        return ""
    return "0" if x == 0 else f"1 in {1 / x:,.0f}" if x < 0.1 else percent(x)


def table_page(data):
    "The table as Markdown."
    columns = data["table"]
    names = list(columns)
    head = f"| texts of {TOKENS} tokens that are verified | " + " | ".join(names) + " |\n"
    lines = [head + "|---" * (len(names) + 1) + "|"]
    kinds = [k for k in columns[names[0]]["forgeries"] if k != "changed settings"]
    for kind in kinds:
        cells = [columns[c]["forgeries"][kind] for c in names]
        lines.append(f"| {kind} | " + " | ".join(f"{o['verified']:,} of {o['texts']:,}" for o in cells) + " |")
    honest = [columns[c]["forgeries"]["honest"] for c in names]
    rows = {
        "bound: a text with one token changed passes, on average": [small(o["mean_bound"]) for o in honest],
        "the same, of the worst text": [small(o["largest_bound"]) for o in honest],
        "places at which some other token would pass": [
            small(o["places_with_others"] / o["tokens"]) if o["tokens"] else "" for o in honest
        ],
        "honest texts that needed the wider tolerance": [f"{o['wide']:,}" for o in honest],
        "least bits of the seed behind a text": [f"{o['least_bits'] or 0:.0f}" for o in honest],
        "furthest a logit had to be off, of the largest": [f"{columns[c]['distance']['share']:.1e}" for c in names],
        "allowed": [f"{columns[c]['distance']['allowed']:.1e}" for c in names],
        "written by": [columns[c]["distance"]["engine"] for c in names],
        "read by": [columns[c]["distance"]["read_by"] for c in names],
    }
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return "\n".join(lines)


def settings_page(data):
    "In how many texts a changed setting is found."
    parts = []
    for name, column in data["table"].items():
        found = column["forgeries"].get("changed settings")
        if not found:
            continue
        lines = [f"### {name}", "", "| the receipt says | " + " | ".join(f"{n} tokens" for n in PLACES) + " |"]
        lines.append("|---" * (len(PLACES) + 1) + "|")
        for change, rates in found.items():
            values = [rates.get(n, rates.get(str(n))) for n in PLACES]
            lines.append(f"| {change} | " + " | ".join(map(percent, values)) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def times_page(data):
    "Times as Markdown."
    head = "| texts of 100 tokens | write | verify | faster | the multiplications alone | engine |"
    lines = [head, "|---|---|---|---|---|---|"]
    for n, o in data["times"].items():
        write, check = statistics.median(o["write"]), statistics.median(o["verify"])
        times = f"{write:.2f} s | {check:.2f} s | {o['ratio']:.1f}×"
        lines.append(f"| {n} | {times} | {o['least']:.2f} s | {o['engine']} |")
    return "\n".join(lines)


def page(data):
    parts = [
        "# Verification",
        f"{data['machine']}; {data['texts']:,} texts of the bundled model, temperature 0.7, the whole vocabulary.",
    ]
    if "table" in data:
        parts += [table_page(data), "## A changed setting: in how many texts it is found", settings_page(data)]
    if "times" in data:
        parts += ["## Times, on the shape of GPT-2 (124M) with random weights", times_page(data)]
    return "\n\n".join(parts) + "\n"


def with_times(data, found):
    "A record with the times, as every benchmark keeps them."
    for n, o in data.get("times", {}).items():
        found.add(f"{n} texts", "written", "s", o["write"])
        found.add(f"{n} texts", "verified", "s", o["verify"], limit=o["least"])
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--texts", type=int, default=1000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", choices=["table", "times"])
    p.add_argument("--out", type=Path, default=RESULTS)
    asked = p.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "verify.json"
    data = json.loads(path.read_text())["found"] if path.exists() else {}
    data |= dict(machine=machine())
    found = Record("verify", "Verification", better="less", note=f"{TOKENS} tokens a text, on the shape of GPT-2")
    keep = room._in_int8
    if asked.only != "times":
        data["texts"], data["table"] = asked.texts, {}
        for name, (how, precision, in_int8) in COLUMNS.items():
            data["table"][name] = table(name, asked.texts, how, precision, in_int8)
            room._in_int8 = keep
    data.setdefault("texts", asked.texts)
    if asked.only != "table":
        data["times"] = times(asked.rounds)
    path.write_text(json.dumps(with_times(data, found).content() | dict(found=data), indent=1) + "\n")
    (asked.out / "verify.md").write_text(page(data))


if __name__ == "__main__":
    main()
