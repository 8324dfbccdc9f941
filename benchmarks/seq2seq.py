"""Tokens a second in training a model with an encoder, against transformers' Seq2SeqTrainer; making batches; padding.

    python benchmarks/seq2seq.py [--steps 4] [--repeat 3] [--threads N]

The model has t5-small's shape, 32,128 tokens and random weights, the batch 8 rows of 256 tokens in and 256 out, always
the same ones on both sides. A run has `--steps` steps, the first is
not counted; the runs of all contestants take turns in one process. A step is timed from end to end, so that everything
between two steps counts. Tokens are those of input and target.
Batches are timed over whole superbatches, since a superbatch is made when its first batch is asked for.
"""

import argparse
import statistics
import tempfile
import time

from record import RESULTS, Record, machine

ROWS, LENGTH, VOCAB = 8, 256, 32128


# ---- the same rows and the same model
def rows(n):
    "Synthetic documents: int64 [n, 512], of ids that a tokenizer of 1,000 has."
    import numpy as np
    return np.random.default_rng(0).integers(100, 1000, (n, 2*LENGTH))

def config():
    from transformers import T5Config

    return T5Config(
        vocab_size=VOCAB,
        d_model=512,
        d_kv=64,
        d_ff=2048,
        num_layers=6,
        num_heads=8,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )


# ---- the contestants: each gives (seconds, CPU seconds) of its steps
def now(): return time.perf_counter(), time.process_time()
def between(times): return [[y-x for x, y in zip(a, b)] for a, b in zip(times, times[1:])]

def ours(tok, data, steps, **settings):
    import pytorch_lightning as pl
    from textgen import Task, TextGen, TokenDataset
    from textgen.training.callback import NoView
    class Clock(pl.Callback):
        def on_train_batch_end(self, *_): times.append(now())
    times, data = [], TokenDataset.from_texts([tok.decode(r) for r in data], tok)
    task = Task(
        "halves",
        data,
        lambda example, draws: [dict(input=example["text"][:LENGTH], target=example["text"][LENGTH : 2 * LENGTH])],
    )
    TextGen.new(config(), tok, device="cpu").train(
        task,
        steps=steps,
        batch_size=ROWS,
        window=LENGTH,
        sample_every=0,
        callbacks=(Clock(),),
        view=NoView(),
        **settings,
    )
    return between(times)

def theirs(tok, data, steps, **settings):
    from transformers import AutoModelForSeq2SeqLM, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback
    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__): times.append(now())
    times = []
    examples = [
        dict(input_ids=r[:LENGTH].tolist(), attention_mask=[1] * LENGTH, labels=r[LENGTH:].tolist()) for r in data
    ]
    with tempfile.TemporaryDirectory() as d:
        args = Seq2SeqTrainingArguments(
            d,
            max_steps=steps,
            per_device_train_batch_size=ROWS,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        Seq2SeqTrainer(
            model=AutoModelForSeq2SeqLM.from_config(config()), args=args, train_dataset=examples, callbacks=[Clock()]
        ).train()
    return between(times)

CONTESTANTS = {
    "`Seq2SeqTrainer`, its defaults": (theirs, {}),
    "`Seq2SeqTrainer`, its best settings": (
        theirs,
        dict(bf16=True, use_cpu=True, dataloader_num_workers=0, optim="adamw_torch_fused"),
    ),
    "textgen, its defaults (Muon and AdamW)": (ours, {}),
    'textgen, `optimizer="adamw"`': (ours, dict(optimizer="adamw")),
}


def race(tok, steps, repeat):
    "After each round: name -> (seconds, CPU seconds) of each step so far."
    data, found = rows(64), {}
    for _ in range(repeat):
        for name, (f, settings) in CONTESTANTS.items():
            found.setdefault(name, []).extend(f(tok, data, steps, **settings))
        yield found


# ---- batches
def batches(tok, names, repeat):
    "(seconds of a batch, share of padding), over superbatches."
    from textgen.tasks.reading import Reading
    from textgen.tasks.batch import make_source
    from textgen.text.codec import Codec
    source, times = make_source("seq2seq", names, Codec(tok), Reading(batch_size=ROWS, seed=0, window=512)), []
    padding, n = source.padding(), source.many
    for s in range(1, repeat+1):
        start = time.perf_counter()
        for k in range(s*n, (s+1)*n): source[k]
        times.append((time.perf_counter()-start)/n)
    return statistics.median(times), padding

def step_of(tok, preset, names, steps):
    "Seconds of a training step, the mean of all but the first."
    import pytorch_lightning as pl
    from textgen import TextGen
    from textgen.training.callback import NoView
    class Clock(pl.Callback):
        def on_train_batch_end(self, *_): times.append(time.perf_counter())
    times = []
    TextGen.new(preset, tok, device="cpu").train(
        names, steps=steps, batch_size=ROWS, sample_every=0, callbacks=(Clock(),), view=NoView()
    )
    return (times[-1]-times[0])/(len(times)-1)


def about_batches(tok, repeat):
    "The table of making batches."
    yield from ("| tasks | batch made in | step of `t5-mini` | times faster | padding |", "|---|---|---|---|---|")
    for names in (["poems"], ["news"], ["poems", "news"]):
        s, padding = batches(tok, names, repeat)
        step = step_of(tok, "t5-mini", names, 10)
        yield f"| {', '.join(names)} | {s*1e3:.2f} ms | {step*1e3:,.0f} ms | {step/s:,.0f}× | {padding:.1%} |"

def about_training(found):
    "The table of training."
    each, (default, best, *_) = 2*ROWS*LENGTH, [s for s, _ in found.values()]
    yield from (
        "| | seconds a step | CPU seconds | tokens/s | of the defaults | of the best settings |",
        "|---|---|---|---|---|---|",
    )
    for n, (s, cpu) in found.items():
        yield f"| {n} | {s:.2f} | {cpu:.2f} | {each / s:,.0f} | {default / s:.2f}× | {best / s:.2f}× |"


def record(steps):
    "The figures of the training, each step."
    found = Record("seq2seq", f"A training step of t5-small's shape, {ROWS} rows of {LENGTH} tokens in and out", "less")
    for name, times in steps.items():
        found.add("a step", name.replace("`", ""), "s", [s for s, _ in times])
    return found


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--steps", type=int, default=4)
    a.add_argument("--repeat", type=int, default=3)
    a.add_argument("--threads", type=int)
    args = a.parse_args()
    import torch
    from textgen import bundled, train_tokenizer
    if args.threads: torch.set_num_threads(args.threads)  # with one, other work on the machine disturbs least
    tok = train_tokenizer(bundled("poems"), vocab_size=1000)
    made = "\n".join(about_batches(tok, args.repeat))
    print(made, flush=True)
    RESULTS.mkdir(exist_ok=True)
    for k, steps in enumerate(race(tok, args.steps, args.repeat), 1):
        record(steps).save()
        found = {n: [statistics.median(v) for v in zip(*x)] for n, x in steps.items()}
        table = "\n".join(about_training(found))
        print(table, flush=True)
        (RESULTS / "seq2seq.md").write_text(
            f"# Models with an encoder\n\nt5-small's shape, {ROWS} rows of {LENGTH} tokens in and {LENGTH} out, "
            f"random weights; {torch.get_num_threads()} threads on {machine()}\n\n{table}\n\n"
            f"Medians of {k * (args.steps - 1)} steps in {k} runs of each, in turns; the first step of a run does "
            f"not count. Tokens are those of input and target. Best settings: "
            '`bf16=True, use_cpu=True, dataloader_num_workers=0, optim="adamw_torch_fused"`.\n\n## Batches\n\n'
            f"{ROWS} rows of the bundled tasks, up to 512 tokens in and 512 out, a tokenizer of 1,000. Making the "
            f"superbatch of 256 batches counts; `t5-mini` is the fastest model to train.\n\n{made}\n"
        )


if __name__ == "__main__": main()
