"Models with an encoder, and tasks: from text in any place to a model that writes; mixtures; the terminal."

import http.server
import json
import threading
from functools import partial
from importlib.util import find_spec
import pytest
from textgen import Mixture, Task, TextGen
from textgen.training.callback import NoView

SHORT = dict(steps=3, batch_size=2, window=32, sample_every=0, seed=3, view=NoView())
SAID = dict(max_new_tokens=8, seed=5)

@pytest.fixture(scope="module")
def t5(tok):
    "A function that makes an untrained T5 of two layers, 32 wide."
    from transformers import T5Config
    def make(seed=0, **kw):
        return TextGen.new(
            T5Config(
                **{
                    **dict(
                        vocab_size=len(tok),
                        d_model=32,
                        d_kv=8,
                        d_ff=64,
                        num_layers=2,
                        num_heads=4,
                        dropout_rate=0.0,
                        decoder_start_token_id=0,
                        pad_token_id=0,
                    ),
                    **kw,
                }
            ),
            tok,
            seed=seed,
            device="cpu",
        )

    return make


def _said(tg, prompt, **kw): return [o.text for o in tg.generate(prompt, **SAID, **kw)]


# ---- text in other places
def _whole_way(t5, where, folder):
    "Trained on text there, saved, loaded: it writes the same."
    tg = t5()
    run = tg.train(where, save_to=folder, **SHORT)
    assert len(run.losses)==3 and _said(tg, "The sea")==_said(TextGen(folder, device="cpu"), "The sea")
    return run.losses

@pytest.fixture
def sonnets(tmp_path):
    "A file of text, and what is in it."
    text = "\n".join(f"The {k}th wave of the sea goes out and comes again." for k in range(60))
    (tmp_path/"sea.txt").write_text(text)
    return tmp_path/"sea.txt", text

def test_text_in_memory_and_on_a_server(t5, sonnets, tmp_path):
    "The same text trains to the same losses wherever it lies."
    import fsspec
    file, text = sonnets
    with fsspec.open("memory://shore/sea.txt", "w") as f: f.write(text)
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    places = [
        str(file),
        "memory://shore/sea.txt",
        *([f"http://127.0.0.1:{server.server_port}/sea.txt"] if find_spec("aiohttp") else []),
    ]  # which fsspec needs for http
    try:
        losses = [_whole_way(t5, p, tmp_path / f"m{k}") for k, p in enumerate(places)]
    finally:
        server.shutdown()
        server.server_close()
    assert all(o==losses[0] for o in losses)

def test_the_whole_loop(tmp_path):
    "Tokenizer, training, writing, saving, loading, with nothing at hand but text."
    from textgen import bundled, train_tokenizer
    from transformers import T5Config
    tok = train_tokenizer(bundled("poems"), vocab_size=400)
    tg = TextGen.new(
        T5Config(
            vocab_size=len(tok),
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
            pad_token_id=0,
        ),
        tok,
        device="cpu",
    )
    tg.train("poems", **SHORT)
    tg.save(tmp_path/"m")
    again = TextGen(tmp_path/"m", device="cpu")
    assert again.kind=="seq2seq" and _said(tg, "poem: Rain", n=3)==_said(again, "poem: Rain", n=3)
    assert again.train("poems", **SHORT).steps==3


# ---- folders and tables
@pytest.fixture(scope="module")
def articles(tmp_path_factory):
    "A folder with a subfolder a category and one of 2,000 articles a file; and the same as a table."
    import csv
    d, made = tmp_path_factory.mktemp("articles"), []
    for k in range(2000):
        category = ("ships", "tides", "weather", "birds")[k%4]
        made.append((category, f"Headline {k}", f"On day {k} nothing happened.\nThe harbour was quiet."))
        (d/"folder"/category).mkdir(parents=True, exist_ok=True)
        (d/"folder"/category/f"{k}.txt").write_text("\n\n".join(made[-1][1:]))
    with open(d / "articles.csv", "w", newline="") as f:
        csv.writer(f).writerows([("category", "title", "content"), *made])
    return d

def test_a_folder_is_a_task_in_a_line(t5, tok, articles):
    from textgen.tasks.preprocess import fields, prefix
    task = Task("harbour", articles/"folder", [fields("category", "title", to="text"), prefix("news: ")])
    assert t5().train(task, **SHORT).steps==3
    one = task.preview(tok, 1)[0]
    number = one["input"].rpartition(" ")[2]
    assert one["input"].startswith(f"news: {('ships', 'tides', 'weather', 'birds')[int(number)%4]}: Headline ")
    assert one["target"]==f"On day {number} nothing happened.\nThe harbour was quiet."

def test_a_table_is_a_task_in_a_line(t5, tok, articles):
    from textgen.tasks.preprocess import fields, prefix
    task = Task("harbour", articles/"articles.csv", [fields("category", "title", to="content"), prefix("news: ")])
    assert t5().train(task, **SHORT).steps==3
    one = task.preview(tok, 1)[0]
    assert one["input"].startswith("news: ") and one["target"].endswith("The harbour was quiet.")


# ---- what trains
def test_a_mixture_trains_both_kinds(t5, tiny, tok):
    mixture = Mixture(["poems", "news"], rates=[1, 2])
    for tg in (t5(), tiny(tok)):
        run = tg.train(
            mixture, **dict(SHORT, steps=24, batch_size=4)
        )  # a batch is of rows alike in length, often of one task
        assert set(run.tasks)=={"poems", "news"} and all(v for v in run.tasks.values())

def test_a_path_is_prefix_lm_with_no_further_word(t5, sonnets):
    "As the task that says so."
    from textgen.tasks.preprocess import prefix_lm

    assert (
        t5().train(sonnets[0], **SHORT).losses
        == t5().train(Task("sea", sonnets[0], prefix_lm(length=SHORT["window"])), **SHORT).losses
    )


@pytest.mark.parametrize("what", ["poems", ["poems", "news"]])
def test_the_same_run_twice(t5, what):
    first, other = t5().train(what, **SHORT).losses, t5().train(what, **dict(SHORT, seed=4)).losses
    assert first==t5().train(what, **SHORT).losses!=other

ARCH = dict(
    gated=dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    mt5=dict(model_type="mt5"),
    bart=dict(
        model_type="bart",
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        forced_eos_token_id=None,
    ),
)


@pytest.mark.parametrize("name", ARCH)
def test_other_architectures(tok, name, tmp_path):
    from transformers import AutoConfig

    kw = dict(
        model_type="t5",
        vocab_size=len(tok),
        d_model=32,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=tok.eos_token_id,
        bos_token_id=tok.bos_token_id,
    )
    if name!="bart": kw |= dict(d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    kw |= ARCH[name]
    tg = TextGen.new(AutoConfig.for_model(kw.pop("model_type"), **kw), tok, device="cpu")
    run = tg.train(["poems", "news"], save_to=tmp_path/"m", **dict(SHORT, steps=1))
    assert run.losses[0]>0 and _said(tg, "poem: The sea")==_said(TextGen(tmp_path/"m", device="cpu"), "poem: The sea")


# ---- writing
def test_writing(t5, tmp_path):
    "Seeds, streams and files are what they are for every model."
    tg = t5()
    one, many = _said(tg, "poem: The sea")[0], _said(tg, "poem: The sea", n=3)
    assert many[0]==one and tg.generate_one("poem: The sea", **SAID).endswith(one) and len(set(many))==3
    assert "".join(tg.stream("poem: The sea", **SAID))==one
    path = tg.generate_to_file(tmp_path/"a.jsonl", "poem: The sea", n=3, **SAID)
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()]==many

def test_in_the_terminal(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli(
        "train",
        "--task",
        "poems",
        "--task",
        "news",
        "--new",
        "t5-mini",
        "--out",
        "m",
        "--steps",
        3,
        "--batch-size",
        2,
        "--sample-every",
        0,
    )
    assert done.code==0 and "textgen generate m" in done.out, done.err
    ask = "generate", "m", "--prompt", "poem: The sea", "--seed", 1, "--max-new-tokens", 8
    first = cli(*ask)
    assert first.code==0 and first.out==cli(*ask).out
    assert {d["name"] for d in json.loads((tmp_path/"m"/"textgen.json").read_text())["data"]}=={"poems", "news"}


# ---- what is trained is what writes
def test_the_faster_attention_keeps_the_position_bias(t5, tok):
    "Inside `fast_cpu` a T5 says what it says outside."
    import torch
    from textgen.training.cpu import fast_cpu
    tg = t5()
    with torch.no_grad():
        for p in tg.model.parameters(): p.mul_(3 if p.dim()>1 else 1)
        ids = torch.arange(5, 45).reshape(2, 20)
        batch = dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids+50)
        want = tg.wrapped.loss(batch)
        with fast_cpu(tg.model, 32, True): assert torch.allclose(tg.wrapped.loss(batch), want, atol=1e-4)
