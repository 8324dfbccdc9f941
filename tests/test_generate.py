"Generation beyond one text: filters, batches, streams, files that were stopped, many processes; causal and seq2seq."
import io
import json
import os
import random
import time
from contextlib import redirect_stderr
import numpy as np
import pytest
import torch
from textgen import GenerateError, TextGen
from textgen.core import uniforms
from textgen.generation.files import generate_file, read_prompts
from textgen.generation.generate import generate, next_tokens, stream
from textgen.generation.loop import Writer
from textgen.generation.sampling import choose, draw, filtered, probabilities
from textgen.settings import GenerateSettings


@pytest.fixture(scope="module")
def t5(tok):
    "A tiny random T5 with a byte-level vocabulary, behind the four methods."
    from transformers import AutoModelForSeq2SeqLM, T5Config
    from textgen.models.model import seeded, wrap

    with seeded(0):
        return wrap(
            AutoModelForSeq2SeqLM.from_config(
                T5Config(
                    vocab_size=len(tok),
                    d_model=32,
                    d_kv=8,
                    d_ff=64,
                    num_layers=1,
                    num_heads=2,
                    decoder_start_token_id=0,
                    n_positions=48,
                )
            ).eval()
        )


@pytest.fixture(params=["causal", "seq2seq"])
def write(request, tg, t5):
    "A function that generates, for each kind of model."
    m = tg.wrapped if request.param=="causal" else t5

    def run(prompt="The sea", **kw):
        return generate(
            m, tg.codec, prompt, GenerateSettings(**{**dict(seed=1, temperature=1.0, max_new_tokens=40), **kw})
        )

    run.model, run.codec = m, tg.codec
    return run


# ---- the draw
FILTERS = dict(plain=(1.,), cold=(.6,), top_k=(1., 7), top_p=(1., 0, .8), min_p=(1., 0, 1., .05), all=(.8, 12, .9, .02))

def _exceeded(df, z=4.753):
    "What a chi-square of `df` degrees exceeds once in a million (Wilson and Hilferty 1931)."
    return df*(1-2/(9*df)+z*(2/(9*df))**.5)**3

@pytest.mark.parametrize("ask", FILTERS.values(), ids=FILTERS)
def test_the_draw_follows_the_distribution(ask, n=100_000):
    "Pearson's statistic of 100,000 draws is below what one of a million honest runs exceeds; fast way and obvious way."
    x = torch.randn(1, 30, generator=torch.Generator().manual_seed(1))*1.5
    p, u = probabilities(filtered(x, *ask))[0].numpy(), torch.from_numpy(uniforms(n, "generate", 5))
    for seen in (choose(x.expand(n, -1), u, *ask), draw(filtered(x, *ask).expand(n, -1), u)):
        seen = np.bincount(seen, minlength=30)
        assert not seen[p==0].any()
        want = n*p[p>0]
        assert ((seen[p>0]-want)**2/want).sum()<_exceeded((p>0).sum()-1)

def test_no_global_random_state(write):
    def state(): return random.getstate()[1], np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    before, first = state(), [s.text for s in write(n=3, stop="e")]
    assert state()==before
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert [s.text for s in write(n=3, stop="e")]==first


# ---- batches
def _exact(out): return [(s.tokens, s.logprob) for s in out]

@pytest.fixture(scope="module")
def bundled(): return TextGen(device="cpu")

def _ask(tg, n, **kw): return _exact(tg.generate("The sea", n=n, seed=3, temperature=1., max_new_tokens=30, **kw))

def test_a_trained_model_writes_the_same_in_any_batch(bundled, monkeypatch):
    "200 samples of the bundled model, bit for bit: for any n and batch_size, with refilling and without."
    many = _ask(bundled, 200, batch_invariant=True)
    assert _ask(bundled, 10, batch_invariant=True)==many[:10]
    assert _ask(bundled, 70, batch_size=3, batch_invariant=True)==many[:70]
    monkeypatch.setattr(Writer, "refill", lambda self: None)
    assert _ask(bundled, 200, batch_invariant=True)==many

@pytest.mark.slow
def test_a_thousand(bundled):
    assert _ask(bundled, 1000, batch_invariant=True)[:200] == _ask(bundled, 200, batch_invariant=True)


def test_rows_are_given_on(write):
    "Texts of very different lengths: in 3 rows as alone."
    assert [s.text for s in write(n=9, batch_size=3, stop=[" "], max_new_tokens=20)] == [
        s.text for s in write(n=9, batch_size=1, stop=[" "], max_new_tokens=20)
    ]


# ---- control
def test_stop_strings_across_tokens(write):
    "A stop string of two tokens ends a text and is no part of it."
    whole = write(n=6, nonempty=False)
    word = next(s.text[3:6] for s in whole if len(s.text)>12 and "�" not in s.text[3:6])
    for s,w in zip(write(n=6, stop=[word, "never there"], nonempty=False), whole):
        assert s.text==w.text.split(word)[0] and s.finish_reason==("stop" if word in w.text else w.finish_reason)

@pytest.mark.parametrize(
    "ask", [dict(), dict(stop=["th", "e "]), dict(temperature=1.6, max_new_tokens=90), dict(temperature=0)], ids=str
)
def test_streams(write, ask):
    "What is streamed is what is generated, in whole characters."
    s = GenerateSettings(**{**dict(seed=2, temperature=1.0, max_new_tokens=40), **ask})
    pieces = list(stream(write.model, write.codec, "The sea", s))
    assert "".join(pieces) == generate(write.model, write.codec, "The sea", s)[0].text and all(pieces)


def test_a_stream_has_no_half_characters(tok):
    "A model that writes emoji, byte by byte."
    from textgen.models.model import PlainState
    from textgen.text.codec import Codec

    codec = Codec(tok)
    ids = codec.encode("a🍜é👩‍👩‍👧b")

    class Says:
        device, context, extends_prompt = torch.device("cpu"), 100, True
        def prefill(self, prompts, written=None): return self.at(0)

        def at(self, k):
            x = torch.zeros(1, len(codec))
            x[0, [*ids, codec.end][k]] = 99.0
            s = PlainState(x, self, k)
            return s

        def decode(self, tokens, state): return self.at(state.length+1)
        def reorder_cache(self, rows): pass
    assert list(stream(Says(), codec, "x", GenerateSettings(temperature=0, seed=0)))==[*"a🍜é👩\u200d👩\u200d👧b"]

def test_longer_than_the_context(write, capsys, monkeypatch):
    "The window slides, as often as needed, and that is said once."
    from textgen.generation import loop as generation
    monkeypatch.setattr(generation, "_said", set())
    out = write(n=3, max_new_tokens=300, min_new_tokens=300)
    assert [len(s.tokens) for s in out]==[300]*3 and capsys.readouterr().err.count("longer than")==1
    assert [s.text for s in out]==[s.text for s in write(n=3, max_new_tokens=300, min_new_tokens=300, batch_size=2)]

def test_banned(write):
    for s in write(n=5, banned=["e", " t", "sea", "é"], max_new_tokens=60):
        assert not any(b in s.text for b in ("e", " t", "sea", "é"))


def test_repetition(write):
    flat = [s.tokens for s in write(n=3, temperature=.2)]
    assert np.mean([len(set(s.tokens)) for s in write(n=3, temperature=0.2, repetition_penalty=1.8)]) > np.mean(
        [len(set(t)) for t in flat]
    )
    for s in write(n=3, temperature=.2, no_repeat_ngram=1): assert len(set(s.tokens))==len(s.tokens)

def test_temperatures(write):
    out = write(n=3, temperature=[0, .5, 1.5])
    assert [s.tokens for s in out] == [
        write(n=1, temperature=0)[0].tokens,
        write(n=3, temperature=0.5)[1].tokens,
        write(n=3, temperature=1.5)[2].tokens,
    ]


def test_log_probabilities(write):
    "The sum that one teacher-forced pass gives."
    s, ids = write(max_new_tokens=15)[0], torch.tensor([write.codec.prompt_ids("The sea")])
    with torch.inference_mode(): x = write.model.score(ids, torch.tensor([s.tokens]))[0].log_softmax(-1)
    assert abs(x.gather(-1, torch.tensor(s.tokens)[:,None]).sum().item()-s.logprob)<1e-3

def test_next_tokens(write):
    n = next_tokens(write.model, write.codec, "The sea", 10_000)
    assert abs(sum(o.probability for o in n)-1)<1e-9 and n[0].id==write(temperature=0, max_new_tokens=1)[0].tokens[0]

def test_beams(write):
    "The likeliest of many beams is at least as likely as the greedy text."
    best = write(n=2, num_beams=5, max_new_tokens=6, min_new_tokens=6)
    assert best[0].logprob>=write(temperature=0, max_new_tokens=6, min_new_tokens=6)[0].logprob-1e-3 and len(best)==2


# ---- files
def _command(args):
    from textgen.cli import main
    with redirect_stderr(io.StringIO()): main(args)

def test_a_killed_run_goes_on(spare, tg, model_folder, tmp_path):
    "Killed in the middle: the same command writes what is missing, and the file is the same as without the kill."
    ask = [
        "generate",
        str(model_folder),
        "--prompt",
        "The",
        "-n",
        "400",
        "--max-new-tokens",
        "60",
        "--seed",
        "5",
        "--out",
        str(tmp_path / "b.txt"),
    ]
    whole = tg.generate_to_file(tmp_path/"a.txt", "The", n=400, max_new_tokens=60, seed=5).read_bytes()
    p = spare.Process(target=_command, args=(ask,))
    p.start()
    while p.is_alive() and sum(f.read_bytes().count(b"\n") for f in tmp_path.glob(".b.txt.part-*"))<40: time.sleep(.001)
    p.kill()
    p.join()
    assert not (tmp_path/"b.txt").exists() and list(tmp_path.glob(".b.txt.part-*"))
    assert tg.generate_to_file(tmp_path/"b.txt", "The", n=400, max_new_tokens=60, seed=5).read_bytes()==whole
    assert sorted(f.name for f in tmp_path.iterdir())==["a.txt", "a.txt.receipt.json", "b.txt", "b.txt.receipt.json"]

TWO = dict(prompt=["The", "A sea"], n=15, max_new_tokens=20, seed=5)
def _share(folder, path, rank):
    os.environ.update(RANK=str(rank), WORLD_SIZE="3")
    with redirect_stderr(io.StringIO()): TextGen(folder, device="cpu").generate_to_file(path, **TWO)

def test_several_processes_write_one_file(spare, tg, model_folder, tmp_path):
    "As torchrun starts them."
    whole = tg.generate_to_file(tmp_path/"a.jsonl", **TWO).read_bytes()
    ps = [spare.Process(target=_share, args=(model_folder, tmp_path/"b.jsonl", r)) for r in range(3)]
    for p in ps: p.start()
    for p in ps: p.join()
    assert (
        [p.exitcode for p in ps] == [0] * 3
        and (tmp_path / "b.jsonl").read_bytes() == whole
        and len(list(tmp_path.iterdir())) == 4
    )


def test_several_processes_need_a_seed(tg, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GenerateError, match="a name and a seed"): tg.generate_to_file(tmp_path/"a.txt", n=2)

def test_files_of_both_kinds(write, tmp_path):
    a = generate_file(
        write.model,
        write.codec,
        tmp_path / "a.jsonl",
        ["The", "sea"],
        GenerateSettings(n=3, seed=1, max_new_tokens=9, stop="e"),
    )
    assert [json.loads(o)["prompt"] for o in a.read_text().splitlines()]==["The"]*3+["sea"]*3

def test_prompts_on_the_command_line(cli, model_folder, tmp_path):
    (tmp_path/"p.txt").write_text("The sea\nA house\n")
    rows = [
        json.loads(o)
        for o in cli(
            "generate", model_folder, "--prompts", tmp_path / "p.txt", "-n", 2, "--json", "--max-new-tokens", 5
        ).out.splitlines()
    ]
    assert [r["prompt"] for r in rows]==["The sea"]*2+["A house"]*2
    assert (
        cli(
            "generate",
            model_folder,
            "--prompts",
            tmp_path / "p.txt",
            "--out",
            tmp_path / "o.txt",
            "--max-new-tokens",
            5,
            "--stop",
            "e",
            "--stop",
            "\\n",
        ).code
        == 0
    )
    said = cli("generate", model_folder, "--prompts", tmp_path/"none.txt")
    assert said.code==1 and "none.txt" in said.err
    assert cli("generate", model_folder, "--prompt", r"\\nabla", "--max-new-tokens", 1, "--json").out.startswith(
        '{"index": 0, "prompt": "\\\\nabla"'
    )


def test_prompt_files_that_are_none(tmp_path):
    (tmp_path / "e.txt").write_text("\n \n")
    (tmp_path / "b.jsonl").write_text("{\n")
    with pytest.raises(GenerateError, match="no prompts"): read_prompts(tmp_path/"e.txt")
    with pytest.raises(GenerateError, match="line 1: not JSON"): read_prompts(tmp_path/"b.jsonl")
