"""Which learning rate is best, by what is trained and how: the defaults of `lr=None` come from here.

    python benchmarks/lr_sweep.py ../shared/data/tinyshakespeare.txt [--steps 150] [--modes full lora] [--size 0]

With some modes or one size, the other rows of the table stay.

Two shapes of GPT-2 (128 wide and 4 layers, 256 wide and 6) learn the bundled poems from random weights with Muon and
with AdamW; and, after 600 steps on the text that is given, by fine-tuning and by LoRA of rank 8.
The figure is the loss on a tenth of the poems that was held out, after so many steps of 16 rows of 64 tokens. One
seed: differences below 0.02 mean nothing.
"""

import argparse
import tempfile
from pathlib import Path

from record import RESULTS, Record, machine

SIZES = {
    "4 layers, 128 wide": dict(n_layer=4, n_head=4, n_embd=128),
    "6 layers, 256 wide": dict(n_layer=6, n_head=4, n_embd=256),
}
MODES = {
    "scratch": (dict(optimizer="muon"), (2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)),
    "scratch_adamw": (dict(optimizer="adamw"), (7.5e-4, 1.5e-3, 3e-3, 6e-3, 1.2e-2)),
    "full": (dict(optimizer="adamw"), (1e-4, 4e-4, 1.6e-3, 6.4e-3)),
    "lora": (dict(optimizer="adamw", lora=8), (1e-3, 4e-3, 1.6e-2, 6.4e-2)),
}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("file")
    a.add_argument("--steps", type=int, default=150)
    a.add_argument("--size", type=int)
    a.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES))
    args = a.parse_args()
    from textgen import TextGen, TokenDataset, train_tokenizer
    from textgen.training.callback import NoView
    from textgen.text.corpus import bundled, documents
    from textgen.training.report import pick_lr
    from transformers import GPT2Config
    poems = [d.text for d in documents(bundled("poems"), template="{title}\n\n{text}")]
    tok = train_tokenizer(texts=[*poems, Path(args.file).read_text()], vocab_size=1000)
    train, held = TokenDataset.from_texts(poems, tok).split(.1)
    before, table = TokenDataset.from_files(args.file, tok), RESULTS/"lr.md"
    lines = (
        {
            tuple(o.split(" | ")[:2]): o.rsplit("|", 2)[0] + "|"
            for o in table.read_text().splitlines()
            if o.startswith("| ") and " layers, " in o
        }
        if table.exists()
        else {}
    )
    found = Record("lr", "Learning rates", better="less")
    go = dict(batch_size=16, window=64, sample_every=0, view=NoView())
    with tempfile.TemporaryDirectory() as d:
        for name, shape in list(SIZES.items())[slice(args.size, None if args.size is None else args.size+1)]:
            new = lambda shape=shape: TextGen.new(
                GPT2Config(
                    vocab_size=len(tok),
                    n_positions=64,
                    resid_pdrop=0.0,
                    embd_pdrop=0.0,
                    attn_pdrop=0.0,
                    bos_token_id=tok.bos_token_id,
                    eos_token_id=tok.eos_token_id,
                    **shape,
                ),
                tok,
            )
            base, n = Path(d)/name, new().model.num_parameters()
            tg = new()
            tg.train(before, steps=4 * args.steps, **go)
            tg.save(base)
            for mode in args.modes:
                (kw, rates), losses = MODES[mode], {}
                for lr in rates:
                    tg = new() if mode.startswith("scratch") else TextGen(base, device="cpu")
                    tg.train(train, steps=args.steps, lr=lr, **go, **kw)
                    losses[lr] = tg.evaluate(held).loss
                for lr, loss in losses.items():
                    found.add(f"{mode}, {name}", f"lr {lr:g}", "nats per token", [loss])
                best = min(losses, key=losses.get)
                cells = ", ".join(
                    f"{lr:g}: {'**' if lr == best else ''}{x:.3f}{'**' if lr == best else ''}"
                    for lr, x in losses.items()
                )
                row = f"| {mode} | {name} ({n/1e6:.1f} M) | {cells} |"
                lines[tuple(row.split(" | ")[:2])] = row
                print(row, flush=True)
    found.save()
    head = f"| | shape | learning rate: loss after {args.steps} steps | default |\n|---|---|---|---|"
    lines = [
        f"{o} {pick_lr(mode.strip('| '), 1e6 * float(shape.split('(')[1].split()[0])):g} |"
        for (mode, shape), o in lines.items()
    ]
    table.write_text(
        f"# Learning rates\n\n{machine()}\n\n"
        + "\n".join([head, *lines])
        + "\n\nThe loss on held-out poems, nats per token; the best of a row is bold. One seed.\n"
    )


if __name__ == "__main__": main()
