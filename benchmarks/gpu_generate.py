"""What generation does on a GPU; `gpu.py` calls it.

GPT-2 124M in bf16: one text of 200 tokens, against transformers' `generate` as it is and with a static cache and
torch.compile; and many texts of varying length, against `generate` in its best batch and
`generate_batch` (continuous batching). The weights are random, but for the row of the end-of-text token, which is
turned so that about one token in a hundred ends a text. All draw from the whole vocabulary: transformers would take
the 50 likeliest where nothing is said, of which the end is one, and so most of its texts would have a token or two. So
tokens are counted, not texts.
"""

import statistics
import sys
import time

BEGIN = 5  # what each text continues: the end of a text would ask for another one at once
FULL = dict(config={}, new=200, repeat=3, many=4096, peers=2048, batches=(256, 512, 1024, 2048), continuous=128)
SMALL = dict(n_layer=2, n_head=2, n_embd=64, vocab_size=500)
TINY = dict(config=SMALL, new=8, repeat=1, many=8, peers=8, batches=(4,), continuous=8)


def sync():
    import torch
    if torch.cuda.is_available(): torch.cuda.synchronize()

def seconds(run, repeat):
    "The median time of a call, after one to warm up."
    run()
    out = []
    for _ in range(repeat):
        sync()
        start = time.perf_counter()
        run()
        sync()
        out.append(time.perf_counter() - start)
    return statistics.median(out)

def model(size):
    "A GPT-2 whose texts end after about a hundred tokens."
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(0)
    config = GPT2Config(**size["config"])
    config.bos_token_id = config.eos_token_id = end = config.vocab_size-1
    m = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        way = torch.nn.functional.normalize(torch.randn(config.n_embd), dim=0)
        m.transformer.ln_f.bias.copy_(3*way)
        usual = torch.logsumexp(m(torch.arange(8)[None]).logits[0, -1, :end], 0)
        m.transformer.wte.weight[end] = way*((usual-4.6)/3)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return m.to(device, torch.bfloat16), end, device

def ours(m, end):
    "A `TextGen` of the model."
    from textgen import TextGen
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.WordLevel({str(i): i for i in range(end+1)}, unk_token="0"))
    t.decoder = decoders.Fuse()
    return TextGen(
        m, PreTrainedTokenizerFast(tokenizer_object=t, eos_token=str(end), bos_token=str(BEGIN)), device=m.device.type
    )


def single(size):
    "Tokens per second of one text."
    import torch
    m, end, device = model(size)
    ids, new = torch.tensor([[BEGIN]], device=device), size["new"]
    kw = dict(
        do_sample=True,
        top_k=0,
        max_new_tokens=new,
        min_new_tokens=new,
        attention_mask=torch.ones_like(ids),
        pad_token_id=end,
    )
    tg = ours(m, end)
    runs = {
        "textgen": lambda: tg.generate(str(BEGIN), max_new_tokens=new, min_new_tokens=new, temperature=1.0, seed=1),
        "transformers": lambda: m.generate(ids, **kw),
        "transformers, static cache, compiled": lambda: m.generate(ids, cache_implementation="static", **kw),
    }
    if device == "cpu": runs.popitem()
    found = {}
    for k, f in runs.items():
        found[k] = new/seconds(f, size["repeat"])
        print(found, file=sys.stderr, flush=True)
    return found

def rate(run, texts):
    "Tokens a second of `run(texts)`, which says how many it wrote, after a few to warm up."
    run(min(texts, 64))
    sync()
    start = time.perf_counter()
    tokens = run(texts)
    sync()
    return tokens / (time.perf_counter() - start)

def written(ids, end):
    "How many tokens texts have, with the end that some of them have."
    inside = ids != end
    return int(inside.sum() + (~inside).any(1).sum())

def static(m, end, new, n, b):
    "`n` texts by `generate`, `b` at once; each batch lasts as long as its longest text."
    import torch
    tokens = 0
    for i in range(0, n, b):
        ids = torch.full((min(b, n-i), 1), BEGIN, device=m.device)
        asked = dict(do_sample=True, top_k=0, max_new_tokens=new, pad_token_id=end)
        tokens += written(m.generate(ids, attention_mask=torch.ones_like(ids), **asked)[:, 1:], end)
    return tokens

def continuous(m, end, new, n):
    "`n` texts by transformers' continuous batching."
    from transformers import GenerationConfig
    how = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=new, eos_token_id=end, pad_token_id=end)
    return sum(len(o.generated_tokens) for o in m.generate_batch([[BEGIN]] * n, generation_config=how).values())

def many(size):
    "Tokens per second, where texts end where they end; transformers, which is slower, is asked for fewer."
    m, end, device = model(size)
    new, tg = size["new"], ours(m, end)
    def write(n):
        texts = tg.generate(str(BEGIN), n=n, max_new_tokens=new, temperature=1.0, seed=1)
        return sum(len(s.tokens) for s in texts)

    found = dict(textgen=rate(write, size["many"]))
    for b in size["batches"]:
        found[f"transformers, batches of {b}"] = rate(lambda n, b=b: static(m, end, new, n, b), size["peers"])
        print(found, file=sys.stderr, flush=True)
    try:
        if device == "cuda":
            run = lambda n: continuous(m, end, new, n)
            found["transformers, continuous batching"] = rate(run, size["continuous"])
    except Exception as e:  # it is young; the others' rows are worth having without it
        print(f"continuous batching failed: {e!r}", file=sys.stderr)
    few = min(256, size["many"])
    return found, write(few)/few

def table(got, unit):
    best = max(v for k, v in got.items() if not k.startswith("textgen"))
    return "\n".join(
        [
            f"| | {unit} | textgen is faster by |",
            "|---|---|---|",
            *(f"| {k} | {v:,.1f} | {got['textgen'] / v:.2f}× |" for k, v in got.items()),
            "",
            f"{got['textgen'] / best:.2f}× the fastest of the others.",
        ]
    )


def generation(size):
    "Both tables, with their targets; and their figures: (what, by, unit, value)."
    one, (several, tokens) = single(size), many(size)
    figures = [("one text", by, "tokens/s", v) for by, v in one.items()]
    figures += [(f"{size['many']:,} texts", by, "tokens/s", v) for by, v in several.items()]
    text = "\n\n".join([
        "GPT-2 124M, bf16, one text (at least 8× transformers as it is, 1.5× its static cache compiled)",
        table(one, "tokens/s"),
        f"GPT-2 124M, bf16, {size['many']:,} texts of {tokens:.0f} tokens on average (at least 6× `generate`, 1.2× its "
        "continuous batching)",
        table(several, "tokens/s"),
    ])
    return dict(text=text, figures=figures)


if __name__ == "__main__":
    print(generation(TINY if "--tiny" in sys.argv else FULL)["text"])
