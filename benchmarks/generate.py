"""Tokens per second of generation beside transformers and CTranslate2, each in a process of its own, taking turns.

    python benchmarks/generate.py gpt2 mini t5 quality drift file start --peers PEERPY [--work FOLDER] [--repeat 3]
    [--n 1]

The rounds of gpt2, mini and t5 are kept in the work folder; each call adds some. The table of a machine with AVX-512
is `results/generate.md`, that of others `results/generate_avx2.md`.

PEERPY is the python of an environment with `torch==2.13.0 transformers==5.23.0 ctranslate2`; without it only
transformers (from here) is compared.
The models of gpt2, mini and t5 have random weights, which cost what trained ones do; every text is as long as allowed.
quality, drift, file and start need a trained model:
`mini` is trained for 300 steps on TEXT (--text, a plain text whose paragraphs are documents) and kept in the work
folder. ONNX Runtime GenAI 0.18 has no builder for GPT-2 or T5,
and llama.cpp's Python binding no wheel; they are not compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from record import RESULTS, Record, here, machine
SHAPES = dict(gpt2=(100, (1, 32)), mini=(60, (1, 32)), t5=(100, (1, 32)))
ALONE = ["textgen float32 (no native library)", "textgen int8 (no native library)"]
RUNS = dict(
    gpt2=[
        "transformers float32",
        "transformers bfloat16",
        "ctranslate2 float32",
        "ctranslate2 int8",
        "textgen float32",
        "textgen int8",
        *ALONE,
    ],
    mini=[
        "transformers float32",
        "transformers bfloat16",
        "ctranslate2 float32",
        "ctranslate2 int8",
        "textgen float32",
        "textgen int8",
        *ALONE,
    ],
)
RUNS["t5"] = RUNS["gpt2"]
READ = 4  # tokens of a prompt; 64 for t5


def make_model(shape, folder):
    "A model with random weights and a tokenizer of words t0, t1, …"
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

    own = dict(bos_token_id=1, eos_token_id=1, pad_token_id=0)
    kw = dict(
        gpt2=dict(model_type="gpt2"),
        mini=dict(model_type="gpt2", vocab_size=1000, n_layer=4, n_head=4, n_embd=128, n_positions=256),
        t5=dict(
            model_type="t5",
            vocab_size=32128,
            d_model=512,
            d_ff=2048,
            num_layers=6,
            num_heads=8,
            decoder_start_token_id=0,
        ),
    )[shape]
    torch.manual_seed(0)
    config = AutoConfig.for_model(**kw, **own)
    (AutoModelForSeq2SeqLM if shape == "t5" else AutoModelForCausalLM).from_config(config).save_pretrained(folder)
    tok = Tokenizer(models.WordLevel({f"t{i}": i for i in range(config.vocab_size)}, unk_token="t2"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token="t1", eos_token="t1", pad_token="t0", unk_token="t2"
    ).save_pretrained(folder)


def prompt(shape):
    return [f"t{i + 5}" for i in range(64 if shape == "t5" else READ)]


def timed(run, repeat=3):
    """Seconds of a call: the median of `repeat`, or of as many as 6 seconds hold, after one to warm up. Calls of a few
    milliseconds are repeated for a second: five of them would be over before a processor is at its speed."""
    run()
    out = []
    while sum(out) < 1 or len(out) < repeat and sum(out) < 6:
        start = time.perf_counter()
        run()
        out.append(time.perf_counter() - start)
    return statistics.median(out)


def with_transformers(folder, shape, precision, n, tokens):
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    model = (
        (AutoModelForSeq2SeqLM if shape == "t5" else AutoModelForCausalLM)
        .from_pretrained(folder, dtype=getattr(torch, precision))
        .eval()
    )
    ids = torch.tensor([[int(t[1:]) for t in prompt(shape)]])
    kw = dict(
        do_sample=True,
        temperature=0.7,
        top_k=0,
        top_p=1.0,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        num_return_sequences=n,
        attention_mask=torch.ones_like(ids),
    )

    def run():
        with torch.inference_mode():
            assert model.generate(ids, **kw).shape[1] == (1 if shape == "t5" else ids.shape[1]) + tokens

    return run


def with_ctranslate2(folder, shape, precision, n, tokens):
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    there = f"{folder}.ct2"
    if not os.path.exists(there):
        TransformersConverter(folder).convert(there)

    def runs(threads):
        m = (ctranslate2.Translator if shape == "t5" else ctranslate2.Generator)(
            there, device="cpu", compute_type=precision, intra_threads=threads, inter_threads=1
        )
        how = dict(sampling_topk=0, sampling_temperature=0.7, beam_size=1)

        def write(prompts, **kw):
            if shape == "t5":
                out = [
                    h
                    for o in m.translate_batch(
                        prompts, max_decoding_length=tokens, min_decoding_length=tokens, **how, **kw
                    )
                    for h in o.hypotheses
                ]
            else:
                out = [
                    h
                    for o in m.generate_batch(
                        prompts, max_length=tokens, min_length=tokens, include_prompt_in_result=False, **how, **kw
                    )
                    for h in o.sequences_ids
                ]
            assert len(out) == n and all(len(h) == tokens for h in out)

        yield partial(write, [prompt(shape)] * n)  # each prompt read for itself
        if n > 1:
            yield partial(write, [prompt(shape)], num_hypotheses=n)  # read once for all

    return min(
        (run for threads in {1, os.cpu_count()} for run in runs(threads)), key=lambda run: timed(run, 2)
    )  # whatever is fastest here


def with_textgen(folder, shape, precision, n, tokens):
    from textgen import TextGen

    tg = TextGen(
        folder,
        device="cpu",
        dtype="bfloat16" if precision == "bfloat16" else "float32",
        quantize="int8" if precision == "int8" else None,
    )

    def run():
        assert all(
            len(s.tokens) == tokens
            for s in tg.generate(
                " ".join(prompt(shape)), n=n, max_new_tokens=tokens, min_new_tokens=tokens, temperature=0.7, seed=1
            )
        )

    return run


def one(what, work):
    "Tokens per second of one of `RUNS`, as a line of JSON."
    shape, n, tokens, name = what
    peer, precision, *how = name.split(" ", 2)
    run = globals()[f"with_{peer}"](str(work / shape), shape, precision, n, tokens)
    print(json.dumps(n * tokens / timed(run, 5)))


def limits():
    "Bytes per second that a sum reads from memory, and operations per second of a large product."
    import torch

    x, (a, b) = torch.ones(1 << 27), (torch.ones(512, 2048), torch.ones(2048, 2048))
    out = dict(bandwidth=x.numel() * 4 / timed(x.sum, 9))
    for p, f in dict(float32=torch.mm, bfloat16=torch.mm, int8=torch._int_mm).items():
        out[p] = 2 * 512 * 2048 * 2048 / timed(partial(f, a.to(getattr(torch, p)), b.to(getattr(torch, p))), 9)
    return out


def called(python, *args):
    "What a process of this file prints last, or None."
    alone = any("no native library" in str(a) for a in args)
    env = dict(os.environ, TEXTGEN_ISA="none") if alone else None
    r = subprocess.run([python, __file__, *map(str, args)], capture_output=True, text=True, env=env)
    if r.returncode:
        print(f"{args} failed:\n{r.stderr[-1500:]}", file=sys.stderr)
    return json.loads(r.stdout.splitlines()[-1]) if not r.returncode else None


def numbers(folder):
    "Numbers in the matrices that a step reads: all but the tables that are looked up and an encoder."
    from safetensors import safe_open

    with safe_open(f"{folder}/model.safetensors", "pt") as f:
        size = {k: f.get_slice(k).get_shape() for k in f.keys()}
    return sum(
        s[0] * s[1]
        for k, s in size.items()
        if len(s) == 2
        and not any(w in k for w in ("wpe", "encoder.block", "relative", "EncDecAttention.k", "EncDecAttention.v"))
    )


def measure(shape, n, args):
    "One round: each of `RUNS` once; kept with those before it."
    tokens, path = SHAPES[shape][0], args.work / "rounds.json"
    got = json.loads(path.read_text()) if path.exists() else {}
    mine = got.setdefault(f"{shape} {n}", {})
    runs = [r for r in RUNS[shape] if (args.peers or "ctranslate2" not in r) and r not in args.skip]
    for r in ["limits", *runs]:
        python = sys.executable if r == "limits" or r.startswith("textgen") or not args.peers else args.peers
        v = called(python, *(["--limits"] if r == "limits" else ["--run", shape, n, tokens, r, "--work", args.work]))
        if v:
            mine.setdefault(r, []).append(v)
        print(shape, n, r, v, file=sys.stderr, flush=True)
        path.write_text(json.dumps(got))


def speeds(shape, args, found):
    "A table: tokens per second of each, beside the fastest peer and the limit of the machine."
    tokens, batches = SHAPES[shape]
    if not (args.work / shape / "model.safetensors").exists():
        make_model(shape, args.work / shape)
    for n in args.n or batches:
        for _ in range(args.repeat):
            measure(shape, n, args)
    rows = [
        "| n | | tokens/s | of the fastest peer | of the fastest peer in float32 | share of the limit |",
        "|---|---|---|---|---|---|",
    ]
    for n in batches:
        got = json.loads((args.work / "rounds.json").read_text()).get(f"{shape} {n}", {})
        if not got:
            continue
        limits = got.pop("limits")
        limit = {k: statistics.median(o[k] for o in limits) for k in ("bandwidth", "float32", "bfloat16", "int8")}
        mid, size = {r: statistics.median(v) for r, v in got.items()}, numbers(args.work / shape)
        top, top32 = (
            max((v for r, v in mid.items() if not r.startswith("textgen") and r.endswith(p)), default=0)
            for p in ("", "float32")
        )
        for r, v in mid.items():
            p = r.split()[1]
            bound = max(size * dict(float32=4, bfloat16=2, int8=1)[p] / limit["bandwidth"], 2 * size * n / limit[p])
            found.add(f"{shape}, {n} at once", r, "tokens/s", got[r], limit=n / bound)
            rows.append(
                f"| {n} | {r} | {v:,.0f} | {v / top:.2f}× | {f'{v / top32:.2f}×' if p == 'float32' else ''} | "
                f"{v / n * bound:.0%} |"
            )
        rows.append(
            f"| {n} | *limit: {limit['bandwidth'] / 1e9:.0f} GB/s; "
            + ", ".join(f"{p} {limit[p] / 1e9:,.0f} G operations/s" for p in ("float32", "bfloat16", "int8"))
            + f"; {max(map(len, got.values()))} rounds* | | | | |"
        )
    return f"## {shape}, {len(prompt(shape))} tokens in, {tokens} out\n\n" + "\n".join(rows)


def trained(args):
    "The folder of a small trained model."
    folder = args.work / "trained"
    if not folder.exists():
        sh = [sys.executable, "-m", "textgen"]
        for cmd in (
            ["tokenizer", args.text, "--vocab-size", "1000", "--out", args.work / "tok"],
            [
                "encode",
                args.text,
                "--tokenizer",
                args.work / "tok",
                "--by",
                "paragraph",
                "--out",
                args.work / "text.tokens",
            ],
            [
                "train",
                args.work / "text.tokens",
                "--new",
                "mini",
                "--steps",
                "300",
                "--sample-every",
                "0",
                "--out",
                folder,
            ],
        ):
            subprocess.run([*map(str, [*sh, *cmd])], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def bits(args, found):
    "Bits per character of the end of the text, read a token at a time, in each precision."
    import math

    import torch
    from textgen import TextGen
    from textgen.generation.engine import faster

    text, rows = Path(args.text).read_text()[-40_000:], []
    for name, dtype, q in (("float32", "float32", None), ("bfloat16", "bfloat16", None), ("int8", "float32", "int8")):
        tg = TextGen(trained(args), device="cpu", dtype=dtype)
        ids = torch.tensor(tg.codec.encode(text))
        ids = ids[: len(ids) // 128 * 128].view(-1, 128)
        m, nats = faster(tg.wrapped, rows=len(ids), quantize=q), 0.0
        with torch.inference_mode():
            s = m.prefill(ids[:, :1])
            for k in range(1, 128):
                nats -= s.logits.log_softmax(-1).gather(1, ids[:, k : k + 1]).double().sum().item()
                if k < 127:
                    s = m.decode(ids[:, k], s)
        rows.append(
            (name, type(m).__name__, nats / math.log(2) / sum(len(tg.codec.decode(r)) for r in ids[:, 1:].tolist()))
        )
    rows += answers(args)
    for name, _, b in rows:
        model = "a trained t5-mini" if name.startswith("t5") else "a trained mini"
        found.add(f"quality of {model}", name.split(", ")[-1], "bits per character", [b], better="less")
    table = "\n".join(f"| {n} | {b:.4f} | {b / rows[n.startswith('t5') * 3][2] - 1:+.2%} |" for n, _, b in rows)
    return (
        f"## Quality\n\nBits per character of the last 40,000 characters by the same steps that generate: a trained "
        f"`mini`, and a trained `t5-mini` (64 tokens to read, the next 64 to write).\n\n| | bits per character | "
        f"against float32 |\n|---|---|---|\n{table}"
    )


def answers(args):
    "Rows as those of `bits`, of a model with an encoder."
    import math

    import torch
    from textgen import TextGen
    from textgen.generation.engine import faster

    folder, out = args.work / "trained-t5", []
    if not folder.exists():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "textgen",
                "train",
                args.text,
                "--new",
                "t5-mini",
                "--tokenizer",
                str(args.work / "tok"),
                "--window",
                "128",
                "--steps",
                "300",
                "--sample-every",
                "0",
                "--out",
                str(folder),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    for name, dtype, q in (("float32", "float32", None), ("bfloat16", "bfloat16", None), ("int8", "float32", "int8")):
        tg = TextGen(folder, device="cpu", dtype=dtype)
        ids = torch.tensor(tg.codec.encode(Path(args.text).read_text()[-40_000:]))
        ids = ids[: len(ids) // 128 * 128].view(-1, 128)
        m, nats = faster(tg.wrapped, rows=len(ids), quantize=q), 0.0
        with torch.inference_mode():
            s = m.prefill(ids[:, :64])
            for k in range(64, 128):
                nats -= s.logits.log_softmax(-1).gather(1, ids[:, k : k + 1]).double().sum().item()
                s = m.decode(ids[:, k], s)
        out.append(
            (f"t5-mini, {name}", "", nats / math.log(2) / sum(len(tg.codec.decode(r)) for r in ids[:, 64:].tolist()))
        )
    return out


def drift(args, found, n=300):
    "How many texts of a seed differ with the number of texts written at the same time."
    out = []
    for name in ("float32", "bfloat16", "int8", "float32 (no native library)", "int8 (no native library)"):
        for b in (8, 32):
            out.append(
                (name, b, called(sys.executable, "--drift", name, b, n, "--work", args.work, "--text", args.text))
            )
    for name, b, x in out:
        found.add(f"texts that differ, written 1 and {b} at a time", name, "%", [100 * x / n], better="less")
    rows = "\n".join(f"| {name} | 1 and {b} | {x} of {n:,} | {x / n:.1%} |" for name, b, x in out)
    return (
        "## The same seed in other batches\n\nTrained `mini`, texts of up to 40 tokens, written one at a time and "
        "several at a time. With `batch_invariant=True`, which `generate_to_file` uses, none differs.\n\n"
        f"| | rows at a time | texts that differ | |\n|---|---|---|---|\n{rows}"
    )


def differing(args):
    "How many of `n` texts differ."
    from textgen import TextGen

    name, b, n = args.drift
    tg = TextGen(
        args.work / "trained",
        device="cpu",
        dtype="bfloat16" if name.startswith("bfloat16") else "float32",
        quantize="int8" if name.startswith("int8") else None,
    )
    one, many = (
        [s.tokens for s in tg.generate("\n", n=int(n), max_new_tokens=40, temperature=1.0, seed=3, batch_size=k)]
        for k in (1, int(b))
    )
    return sum(x != y for x, y in zip(one, many))


def file_textgen(folder, out, n=1000, tokens=200, quantize=None):
    from textgen import TextGen

    tg = TextGen(folder, device="cpu", quantize=quantize)

    def run():
        tg.generate_to_file(out, "\n", n=n, max_new_tokens=tokens, temperature=0.7, seed=1)

    return run


def file_transformers(folder, out, n=1000, tokens=200, batch=32):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tok = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tok("\n", return_tensors="pt").input_ids

    def run():
        texts = []
        with torch.inference_mode():
            for first in range(0, n, batch):
                x = ids.expand(min(batch, n - first), -1)
                got = model.generate(
                    x,
                    attention_mask=torch.ones_like(x),
                    do_sample=True,
                    temperature=0.7,
                    top_k=0,
                    max_new_tokens=tokens,
                    pad_token_id=tok.eos_token_id,
                )
                texts += tok.batch_decode(got[:, x.shape[1] :], skip_special_tokens=True)
        Path(out).write_text("\n====================\n".join(texts))

    return run


def to_file(args, found):
    "1,000 texts to a file."
    runs = [
        ("textgen", "textgen", 0),
        ("textgen, int8", "textgen", 8),
        *((f"transformers, batches of {b}", "transformers", b) for b in (64, 128, 256)),
    ]
    got = {}
    for _ in range(args.repeat):
        for name, peer, batch in runs:
            got.setdefault(name, []).append(
                called(sys.executable, "--file", peer, batch, "--work", args.work, "--text", args.text)
            )
    for name, values in got.items():
        found.add("1,000 texts to a file", name, "s", [v for v in values if v], better="less")
    got = {name: statistics.median(v) for name, v in got.items()}
    best = min(v for k, v in got.items() if not k.startswith("textgen"))
    rows = "\n".join(f"| {k} | {v:.1f} | {best / v:.2f}× |" for k, v in got.items() if v)
    return (
        f"## 1,000 texts to a file\n\nTrained `mini`, texts end where the model ends them, at most 200 tokens.\n\n| "
        f"| seconds | of the fastest transformers |\n|---|---|---|\n{rows}"
    )


SHORTEST = (
    "import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; m, t = "
    "M.from_pretrained(sys.argv[1]), T.from_pretrained(sys.argv[1])\n"
    "print(t.decode(m.generate(**t('The', return_tensors='pt'), do_sample=True, max_new_tokens=20)[0]))"
)


def seconds(cmd):
    "Seconds that a process of Python takes."
    begin = time.perf_counter()
    subprocess.run([sys.executable, *cmd], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def start(args, found):
    "Seconds from the start of a process to its end, with one short text."
    folder, out = str(trained(args)), {}
    for _ in range(5):
        for name, cmd in (
            ("textgen generate", ["-m", "textgen", "generate", folder, "--prompt", "The", "--max-new-tokens", "20"]),
            ("transformers, two lines", ["-c", SHORTEST, folder]),
        ):
            out.setdefault(name, []).append(seconds(cmd))
    for name, values in out.items():
        found.add("process start to first text", name, "s", values, better="less")
    a, b = (statistics.median(v) for v in out.values())
    return (
        f"## Process start to first text\n\n| | seconds |\n|---|---|\n| textgen generate | {a:.2f} |\n| "
        f"transformers, two lines | {b:.2f} |\n| ratio | {a / b:.2f}× |"
    )


def write(parts):
    "Put new sections in the place of old ones of the same name."
    path = RESULTS / ("generate.md" if "AVX512" in machine() else "generate_avx2.md")
    old = path.read_text().split("\n\n## ")[1:] if path.exists() else []
    kept = {o.split("\n")[0].split(",")[0]: "## " + o.strip() for o in old} | {
        p[3:].split("\n")[0].split(",")[0]: p for p in parts
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(
        f"# Generation\n\n{machine()}. Random sampling at temperature 0.7 over the whole vocabulary, each run in a "
        f"process of its own, taking turns, through `TextGen.generate` as a user calls it; the median of the rounds, "
        f"each the median of five calls, of short ones of as many as a second holds. "
        "`of the fastest peer` is against the fastest at any precision. "
        "The limit is the larger of two times: a step's weights at the measured bandwidth, its multiplications at "
        "the measured rate.\n\n" + "\n\n".join(kept.values()) + "\n"
    )


def main():
    a = argparse.ArgumentParser()
    a.add_argument("what", nargs="*")
    a.add_argument("--peers")
    a.add_argument("--work", type=Path, default=Path("benchmark-models"))
    a.add_argument("--repeat", type=int, default=1)
    a.add_argument("--text")
    a.add_argument("--run", nargs=4)
    a.add_argument("--file", nargs=2)
    a.add_argument("--drift", nargs=3)
    a.add_argument("--limits", action="store_true")
    a.add_argument("--n", type=int, nargs="*")
    a.add_argument("--skip", nargs="*", default=[], help="rows to leave out, as 'transformers bfloat16' without bf16")
    args = a.parse_args()
    if args.limits:
        return print(json.dumps(limits()))
    if args.drift:
        return print(json.dumps(differing(args)))
    if args.run:
        return one((args.run[0], int(args.run[1]), int(args.run[2]), args.run[3]), args.work)
    if args.file:
        out = args.work / "out.txt"
        run = (
            file_textgen(args.work / "trained", out, quantize="int8" if args.file[1] == "8" else None)
            if args.file[0] == "textgen"
            else file_transformers(args.work / "trained", out, batch=int(args.file[1]))
        )
        begin = time.perf_counter()
        run()
        return print(json.dumps(time.perf_counter() - begin))
    args.work.mkdir(exist_ok=True, parents=True)
    other = dict(quality=bits, drift=drift, file=to_file, start=start)
    if other.keys() & set(args.what):
        trained(args)
    found = Record(here("generate"), "Generation on a CPU")
    parts = [speeds(w, args, found) if w in SHAPES else other[w](args, found) for w in args.what]
    found.merge().save()
    write(parts)
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
