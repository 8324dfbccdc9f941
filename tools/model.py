"""Make the bundled model, the one `TextGen()` opens: `python tools/model.py --data DIR`.

DIR holds `poems.jsonl` and `tinyshakespeare.txt`. A tenth of the poems is held out (`tools/verse.py` says which).
Shape and recipe are those that `benchmarks/verse.py` found to be best for an hour of two cores; they take about that
long. A run that was stopped goes on from its last save in `--work`. The weights are stored in bfloat16: the model is
half as large and predicts the held-out poems as well.
"""

import argparse
import copy
import sys
from pathlib import Path

import torch
import textgen
from textgen import TextGen, TokenDataset, train_tokenizer
from textgen.models.folder import save_model
from textgen.models.weights import model_hash
from transformers import LlamaConfig

sys.path.insert(0, str(Path(__file__).parent))
import verse  # noqa: E402

BUNDLED = Path(textgen.__file__).parent / "bundled" / "model"
VOCABULARY = 4096
SHAPE = dict(
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=6,
    hidden_size=192,
    intermediate_size=512,
    max_position_embeddings=256,
    tie_word_embeddings=True,
)
STEPS = 3200  # of 16 windows of 256 tokens: each text is read about six times


def data_of(folder, tok=None):
    "(tokenizer, what is learned from, what is held out)."
    poems, held_out = verse.poems(folder)
    plays = verse.plays(folder)
    tok = tok or train_tokenizer(texts=[*poems, *plays], vocab_size=VOCABULARY)
    learned = TokenDataset.from_texts([*poems, *plays], tok)
    learned.info["sources"] = [["poems.jsonl", len(poems)], ["tinyshakespeare.txt", len(plays)]]
    return tok, learned, TokenDataset.from_texts(held_out, tok)


def rounded(model):
    "Weights that bfloat16 can hold, in place: so the hash is that of what the stored folder loads as."
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(torch.bfloat16).float())


def store(tg, folder):
    "Save in half the bytes, with the receipt of the training."
    content = tg.receipt.content
    content["model"] = content["model"] | dict(sha256=model_hash(tg.model))
    return save_model(copy.deepcopy(tg.model).to(torch.bfloat16), tg.codec, folder, tg.receipt)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True, help="folder with poems.jsonl and tinyshakespeare.txt")
    a.add_argument("--out", default=BUNDLED, help="where the model goes")
    a.add_argument("--work", default="build/model", help="where the run is saved, and goes on when it was stopped")
    a.add_argument("--steps", type=int, default=STEPS)
    args = a.parse_args()
    tok, learned, held_out = data_of(args.data)
    config = LlamaConfig(**SHAPE, vocab_size=len(tok), bos_token_id=0, eos_token_id=0)
    tg = TextGen.new(config, tok, seed=0)
    print(tg, learned, held_out, sep="\n", flush=True)
    resume = Path(args.work, "model.safetensors").exists()
    print(tg.train(learned, steps=args.steps, batch_size=16, window=256, precision="fp32", save_to=args.work,
                   overwrite=True, resume=resume))
    exact = tg.evaluate(held_out, batch_size=16)
    rounded(tg.model)
    stored = tg.evaluate(held_out, batch_size=16)
    print(f"held-out poems: {exact.bits_per_character:.4f} bits per character, "
          f"{stored.bits_per_character:.4f} in bfloat16")
    print(store(tg, args.out))
    print(TextGen(args.out).generate("", n=3, seed=42))


if __name__ == "__main__":
    main()
