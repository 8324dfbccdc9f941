"""Make the bundled model, the one `TextGen()` opens: `make model`.

A `mini` trained on both bundled collections. Dropout, because the text is small: without it the model knows the poems
by heart after 500 steps.
"""

from pathlib import Path
import textgen
from textgen import TextGen, TokenDataset, bundled, train_tokenizer
from textgen.text.table import table_texts
from textgen.models.build import make_config
from textgen.text.codec import Codec


def main():
    texts = [
        *table_texts(bundled("poems"), template="{title}\n\n{text}"),
        *table_texts(bundled("news"), template="{headline}\n\n{body}"),
    ]
    tokenizer = train_tokenizer(texts=texts, vocab_size=1000)
    data = TokenDataset.from_texts(texts, tokenizer)
    data.info["sources"] = [["bundled poems and news", len(texts)]]
    config = make_config("mini", Codec(tokenizer))
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.1
    tg = TextGen.new(config, tokenizer)
    run = tg.train(data, steps=1200, sample_every=300)
    print(run)
    print(tg.generate("", n=3, seed=42))
    tg.save(Path(textgen.__file__).parent / "bundled" / "model")


if __name__ == "__main__":
    main()
