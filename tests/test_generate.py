"Generation beyond one text: filters, batches, streams, files that were stopped, many processes; causal and seq2seq."

import io
import json
import os
import random
import shutil
import time
from contextlib import redirect_stderr
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from textgen import GenerateError, TextGen
from textgen.core import uniforms
from textgen.generation.engine import faster
from textgen.generation.files import Journal, generate_file, read_prompts
from textgen.generation.generate import generate, next_tokens, stream
from textgen.generation.loop import Writer
from textgen.generation.sampling import choose, draw, filtered, probabilities
from textgen.settings import GenerateSettings
from textgen.text.codec import Codec


@pytest.fixture(scope="module")
def t5(tok):
    "A tiny random T5 with a byte-level vocabulary, behind the four methods."
    from transformers import AutoModelForSeq2SeqLM, T5Config
    from textgen.models.build import seeded
    from textgen.models.seq2seq import wrap

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
    m = tg.wrapped if request.param == "causal" else t5

    def run(prompt="The sea", **kw):
        return generate(
            m, tg.codec, prompt, GenerateSettings(**{**dict(seed=1, temperature=1.0, max_new_tokens=40), **kw})
        )

    run.model, run.codec = m, tg.codec
    return run


# ---- the draw
FILTERS = dict(
    plain=(1.0,), cold=(0.6,), top_k=(1.0, 7), top_p=(1.0, 0, 0.8), min_p=(1.0, 0, 1.0, 0.05), all=(0.8, 12, 0.9, 0.02)
)


def _exceeded(df, z=4.753):
    "What a chi-square of `df` degrees exceeds once in a million (Wilson and Hilferty 1931)."
    return df * (1 - 2 / (9 * df) + z * (2 / (9 * df)) ** 0.5) ** 3


@pytest.mark.parametrize("ask", FILTERS.values(), ids=FILTERS)
def test_the_draw_follows_the_distribution(ask, n=30_000):
    "Pearson's statistic of 30,000 draws is below what one of a million honest runs exceeds; fast way and obvious way."
    x = torch.randn(1, 30, generator=torch.Generator().manual_seed(1)) * 1.5
    p, u = probabilities(filtered(x, *ask))[0].numpy(), torch.from_numpy(uniforms(n, "generate", 5))
    for seen in (choose(x.expand(n, -1), u, *ask), draw(filtered(x, *ask).expand(n, -1), u)):
        seen = np.bincount(seen, minlength=30)
        assert not seen[p == 0].any()
        want = n * p[p > 0]
        assert ((seen[p > 0] - want) ** 2 / want).sum() < _exceeded((p > 0).sum() - 1)


def test_no_global_random_state(write):
    def state():
        return random.getstate()[1], np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before, first = state(), [s.text for s in write(n=3, stop="e")]
    assert state() == before
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert [s.text for s in write(n=3, stop="e")] == first


# ---- batches
def _exact(out):
    return [(s.tokens, s.logprob) for s in out]


@pytest.fixture(scope="module")
def bundled():
    return TextGen(device="cpu")


def _ask(tg, n, **kw):
    return _exact(tg.generate("The sea", n=n, seed=3, temperature=1.0, max_new_tokens=30, **kw))


def test_a_trained_model_writes_the_same_in_any_batch(bundled, monkeypatch):
    "100 samples of the bundled model, bit for bit: for any n and batch_size, with refilling and without."
    many = _ask(bundled, 100, batch_invariant=True)
    assert _ask(bundled, 10, batch_invariant=True) == many[:10]
    assert _ask(bundled, 40, batch_size=3, batch_invariant=True) == many[:40]
    monkeypatch.setattr(Writer, "refill", lambda self, rows: None)
    assert _ask(bundled, 100, batch_invariant=True) == many


@pytest.mark.slow
def test_a_thousand(bundled):
    assert _ask(bundled, 1000, batch_invariant=True)[:200] == _ask(bundled, 200, batch_invariant=True)


@pytest.mark.parametrize("engine", ["native", "fused", "plain"])
def test_rows_that_end_at_once_leave_the_context_to_the_next(tok, tiny, engine):
    "Texts of one length, more than rows, in a context that holds one and a half of them: each as alone."
    plain = tiny(tok, seed=2).wrapped
    model = plain if engine == "plain" else faster(plain, native=engine == "native")
    codec, ask = Codec(tok), dict(n=7, seed=1, temperature=1.0, max_new_tokens=40, min_new_tokens=40)
    together = generate(model, codec, "The sea", GenerateSettings(batch_size=3, **ask))
    alone = generate(plain, codec, "The sea", GenerateSettings(batch_size=1, **ask))
    assert [s.tokens for s in together] == [s.tokens for s in alone]


def test_rows_are_given_on(write):
    "Texts of very different lengths: in 3 rows as alone."
    assert [s.text for s in write(n=9, batch_size=3, stop=[" "], max_new_tokens=20)] == [
        s.text for s in write(n=9, batch_size=1, stop=[" "], max_new_tokens=20)
    ]


# ---- control
def test_stop_strings_across_tokens(write):
    "A stop string of two tokens ends a text and is no part of it."
    whole = write(n=6, nonempty=False)
    word = next(s.text[3:6] for s in whole if len(s.text) > 12 and "�" not in s.text[3:6])
    for s, w in zip(write(n=6, stop=[word, "never there"], nonempty=False), whole):
        assert s.text == w.text.split(word)[0] and s.finish_reason == ("stop" if word in w.text else w.finish_reason)


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
    from textgen.models.decoder import draw_steps
    from textgen.text.codec import Codec

    codec = Codec(tok)
    ids = codec.encode("a🍜é👩‍👩‍👧b")

    class At:
        "A state that knows how many tokens were written."

        nbytes = 0

        def __init__(self, n):
            self.length, self.logits = n, torch.zeros(1, len(codec))
            self.logits[0, [*ids, codec.end][n]] = 99.0

        def reserve(self, positions):
            return self

    class Says:
        device, context, extends_prompt = torch.device("cpu"), 100, True
        can_refill, batch_invariant, max_steps, engine = False, False, 1, "says"
        draws_filtered, model = False, SimpleNamespace(dtype=torch.float32)
        decode_steps = draw_steps

        def prefill(self, prompts, written=None):
            return At(0)

        def decode(self, tokens, state):
            return At(state.length + 1)

    assert list(stream(Says(), codec, "x", GenerateSettings(temperature=0, seed=0))) == [*"a🍜é👩\u200d👩\u200d👧b"]


def test_longer_than_the_context(write, capsys, monkeypatch):
    "The window slides, as often as needed, and that is said once."
    from textgen.generation import loop as generation

    monkeypatch.setattr(generation, "_noted", set())
    out = write(n=3, max_new_tokens=150, min_new_tokens=150)
    assert [len(s.tokens) for s in out] == [150] * 3 and capsys.readouterr().err.count("longer than") == 1
    assert [s.text for s in out] == [s.text for s in write(n=3, max_new_tokens=150, min_new_tokens=150, batch_size=2)]


def test_banned(write):
    for s in write(n=5, banned=["e", " t", "sea", "é"], max_new_tokens=60):
        assert not any(b in s.text for b in ("e", " t", "sea", "é"))


def test_repetition(write):
    flat = [s.tokens for s in write(n=3, temperature=0.2)]
    assert np.mean([len(set(s.tokens)) for s in write(n=3, temperature=0.2, repetition_penalty=1.8)]) > np.mean(
        [len(set(t)) for t in flat]
    )
    for s in write(n=3, temperature=0.2, no_repeat_ngram=1):
        assert len(set(s.tokens)) == len(s.tokens)


def test_temperatures(write):
    out = write(n=3, temperature=[0, 0.5, 1.5])
    assert [s.tokens for s in out] == [
        write(n=1, temperature=0)[0].tokens,
        write(n=3, temperature=0.5)[1].tokens,
        write(n=3, temperature=1.5)[2].tokens,
    ]


def test_log_probabilities(write):
    "The sum that one teacher-forced pass gives."
    s, ids = write(max_new_tokens=15)[0], torch.tensor([write.codec.prompt_ids("The sea")])
    with torch.inference_mode():
        x = write.model.score(ids, torch.tensor([s.tokens]))[0].log_softmax(-1)
    assert abs(x.gather(-1, torch.tensor(s.tokens)[:, None]).sum().item() - s.logprob) < 1e-3


def test_a_prompt_that_ends_in_a_blank(tg, monkeypatch, capsys):
    "It is said once that no word begins after it."
    from textgen.generation import loop

    monkeypatch.setattr(loop, "_noted", set())
    for prompt in ("The sea", "The ", ["A ", "The "]):
        tg.generate(prompt, max_new_tokens=1, seed=1)
    assert capsys.readouterr().err.count("leave the last one out") == 1


def test_next_tokens(write):
    n = next_tokens(write.model, write.codec, "The sea", 10_000)
    assert (
        abs(sum(o.probability for o in n) - 1) < 1e-9 and n[0].id == write(temperature=0, max_new_tokens=1)[0].tokens[0]
    )


def test_beams(write):
    "The likeliest of many beams is at least as likely as the greedy text."
    best = write(n=2, num_beams=5, max_new_tokens=6, min_new_tokens=6)
    assert (
        best[0].logprob >= write(temperature=0, max_new_tokens=6, min_new_tokens=6)[0].logprob - 1e-3 and len(best) == 2
    )


# ---- files
def _command(args):
    from textgen.cli import main

    with redirect_stderr(io.StringIO()):
        main(args)


def test_a_killed_run_goes_on(spare, tg, model_folder, tmp_path, tmp_path_factory, capsys):
    "Killed in the middle: the same call writes what is missing, wherever the model lies by now; the file is the same."
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
    whole = tg.generate_to_file(tmp_path / "a.txt", "The", n=400, max_new_tokens=60, seed=5).read_bytes()
    p = spare.Process(target=_command, args=(ask,))
    p.start()
    while p.is_alive() and sum(f.read_bytes().count(b"\n") for f in tmp_path.glob(".b.txt.part-*")) < 40:
        time.sleep(0.001)
    p.kill()
    p.join()
    assert not (tmp_path / "b.txt").exists() and list(tmp_path.glob(".b.txt.part-*"))
    moved = shutil.copytree(model_folder, tmp_path_factory.mktemp("moved") / "m")
    capsys.readouterr()
    again = TextGen(moved, device="cpu").generate_to_file(tmp_path / "b.txt", "The", n=400, max_new_tokens=60, seed=5)
    assert again.read_bytes() == whole and "/400 texts" not in capsys.readouterr().err
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.txt", "a.txt.receipt.json", "b.txt", "b.txt.receipt.json"]


def _begun(tg, path, **ask):
    "The journal that a kill leaves behind of a file: a real one, copied before its file was made; and that file."
    from textgen.generation import files

    kept = {}

    def keep(writer, journal):
        kept.update((part, part.read_bytes()) for part in journal.parts())
        return all_samples(writer, journal)

    with pytest.MonkeyPatch.context() as patch:
        all_samples = files._all_samples
        patch.setattr(files, "_all_samples", keep)
        tg.generate_to_file(path, **ask)
    ((part, journal),) = kept.items()
    return part, journal, path.read_bytes()


def test_every_flipped_byte_of_a_journal(tg, tmp_path, capsys):
    "What was noted is believed where it is whole; else the text is written again, and that is said."
    ask = dict(prompt="The", n=2, max_new_tokens=2, seed=5)
    part, journal, want = _begun(tg, tmp_path / "a.txt", **ask)
    assert len(journal.splitlines()) == 3 and journal[0] == 10  # an empty line, and two texts
    noted = Journal(tmp_path / "a.txt", "", seed=5)
    noted.stem = part.name[:-1]
    part.write_bytes(journal)
    rows = noted.done()
    assert list(rows) == [0, 1]
    for at in range(len(journal)):
        for flip in (1, 4, 128):
            part.write_bytes(journal[:at] + bytes([journal[at] ^ flip]) + journal[at + 1 :])
            found = noted.done()
            assert len(found) < 2 and all(rows[i] == row for i, row in found.items()), (at, flip)
            if (at + flip) % 23: continue
            assert tg.generate_to_file(tmp_path / "a.txt", **ask).read_bytes() == want, (at, flip)
            assert not part.exists()
    assert "are left out" in capsys.readouterr().err


def test_a_journal_that_cannot_be_used(tg, tmp_path, capsys):
    "Of an older version, of other work, with a folder in its place, cut, or without the seed that was drawn."
    ask = dict(prompt="The", n=3, max_new_tokens=2)
    part, journal, want = _begun(tg, tmp_path / "a.txt", **ask)
    old = b'\n{"seed": 5}\n{"index": 0, "ids": [5, 6], "logp": -3.0, "reason": "length", "attempt": 0}\n'
    part.write_bytes(old)
    with pytest.raises(GenerateError, match="begun by an older version.*or remove it"):
        tg.generate_to_file(tmp_path / "a.txt", **ask)
    assert part.read_bytes() == old
    first, second = journal.split(b"\n")[1:3]
    for damaged in (b"\n" + second + b"\n", b"\n" + first + b"\n" + second[:-3], journal[1:]):
        part.write_bytes(damaged)  # the seed that was drawn for the first file is in every line
        assert tg.generate_to_file(tmp_path / "a.txt", **ask).read_bytes() == want
    part.write_bytes(journal.replace(b'"seed": ', b'"seed":  '))
    assert tg.generate_to_file(tmp_path / "a.txt", **ask).read_bytes() != want  # a new seed, and new texts of it
    other, its, _ = _begun(tg, tmp_path / "a.txt", **ask | dict(prompt="A sea"))
    part.write_bytes(its)  # of other work: the name of the journal is part of each line's checksum
    assert b"A sea" not in tg.generate_to_file(tmp_path / "a.txt", **ask).read_bytes()
    part.mkdir()
    with pytest.raises(GenerateError, match="cannot read .* move it away"):
        tg.generate_to_file(tmp_path / "a.txt", **ask)


def test_a_stopped_beam_search_goes_on(tg, tmp_path, monkeypatch):
    "With the prompt at which it was stopped; the file is the one that no stop makes."
    from textgen.generation import files

    ask = dict(prompt=["The", "A sea", "One"], n=2, num_beams=3, max_new_tokens=5, seed=5, stop="e")
    want = "".join(f"{s}\n====================\n" for s in tg.generate(**ask))
    searched, search = [], files.beams_of

    def stopped(writer, k):
        if len(searched) == 2: raise KeyboardInterrupt
        searched.append(k)
        return search(writer, k)

    monkeypatch.setattr(files, "beams_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        tg.generate_to_file(tmp_path / "a.txt", **ask)
    assert searched == [0, 1] and not (tmp_path / "a.txt").exists()
    again = []
    monkeypatch.setattr(files, "beams_of", lambda writer, k: again.append(k) or search(writer, k))
    assert tg.generate_to_file(tmp_path / "a.txt", **ask).read_text() + "====================\n" == want
    assert again == [2] and len(list(tmp_path.iterdir())) == 2


TWO = dict(prompt=["The", "A sea"], n=15, max_new_tokens=20, seed=5)


def _share(folder, path, rank):
    os.environ.update(RANK=str(rank), WORLD_SIZE="3")
    with redirect_stderr(io.StringIO()):
        TextGen(folder, device="cpu").generate_to_file(path, **TWO)


def test_several_processes_write_one_file(spare, tg, model_folder, tmp_path):
    "As torchrun starts them."
    whole = tg.generate_to_file(tmp_path / "a.jsonl", **TWO).read_bytes()
    ps = [spare.Process(target=_share, args=(model_folder, tmp_path / "b.jsonl", r)) for r in range(3)]
    for p in ps:
        p.start()
    for p in ps:
        p.join()
    assert (
        [p.exitcode for p in ps] == [0] * 3
        and (tmp_path / "b.jsonl").read_bytes() == whole
        and len(list(tmp_path.iterdir())) == 4
    )


def test_several_processes_need_a_seed(tg, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GenerateError, match="a name and a seed"):
        tg.generate_to_file(tmp_path / "a.txt", n=2)


def test_files_of_both_kinds(write, tmp_path):
    a = generate_file(
        write.model,
        write.codec,
        tmp_path / "a.jsonl",
        ["The", "sea"],
        GenerateSettings(n=3, seed=1, max_new_tokens=9, stop="e"),
    )
    assert [json.loads(o)["prompt"] for o in a.read_text().splitlines()] == ["The"] * 3 + ["sea"] * 3


def test_prompts_on_the_command_line(cli, model_folder, tmp_path):
    (tmp_path / "p.txt").write_text("The sea\nA house\n")
    rows = [
        json.loads(o)
        for o in cli(
            "generate", model_folder, "--prompts", tmp_path / "p.txt", "-n", 2, "--json", "--max-new-tokens", 5
        ).out.splitlines()
    ]
    assert [r["prompt"] for r in rows] == ["The sea"] * 2 + ["A house"] * 2
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
    said = cli("generate", model_folder, "--prompts", tmp_path / "none.txt")
    assert said.code == 1 and "none.txt" in said.err
    assert cli("generate", model_folder, "--prompt", r"\\nabla", "--max-new-tokens", 1, "--json").out.startswith(
        '{"index": 0, "prompt": "\\\\nabla"'
    )


def test_prompt_files_that_are_none(tmp_path):
    (tmp_path / "e.txt").write_text("\n \n")
    (tmp_path / "b.jsonl").write_text("{\n")
    with pytest.raises(GenerateError, match="no prompts"):
        read_prompts(tmp_path / "e.txt")
    with pytest.raises(GenerateError, match="line 1: not JSON"):
        read_prompts(tmp_path / "b.jsonl")


# ---- ends, and rows that no token belongs to
def _decoder(tok, size, **config):
    "A tiny random GPT-2 with a vocabulary of `size`, behind the interface."
    from transformers import GPT2Config, GPT2LMHeadModel
    from textgen.models.build import seeded
    from textgen.models.seq2seq import wrap

    small = dict(n_embd=32, n_layer=2, n_head=4, n_positions=48, bos_token_id=0, eos_token_id=0)
    with seeded(0):
        return wrap(GPT2LMHeadModel(GPT2Config(vocab_size=size, **(small | config))).eval())


def _engines(decoder):
    "Every engine that there is for a decoder here."
    from textgen.generation.engine import faster

    found = [decoder, faster(decoder, native=False), faster(decoder)]
    return list({engine.engine: engine for engine in found}.values())


HARD = dict(
    plain={},
    banned=dict(banned=["e"]),
    penalty=dict(repetition_penalty=1.3),
    top_k=dict(top_k=450),
    greedy=dict(temperature=0),
    beams=dict(n=2, num_beams=3),
)


@pytest.mark.parametrize("ask", HARD.values(), ids=HARD)
def test_rows_without_a_token_are_never_drawn(tok, ask):
    "A vocabulary that was rounded up: 512 rows for 400 tokens, and the rows without a token are the likeliest."
    from textgen.text.codec import Codec

    codec, decoder = Codec(tok), _decoder(tok, 512, tie_word_embeddings=False)
    with torch.no_grad():
        decoder.model.lm_head.weight[len(codec) :] *= 3
    for engine in _engines(decoder):
        out = generate(
            engine,
            codec,
            "The sea",
            GenerateSettings(**{**dict(n=6, seed=1, temperature=1.0, max_new_tokens=20), **ask}),
        )
        assert max(i for s in out for i in s.tokens) < len(codec), engine.engine
        assert max(o.id for o in next_tokens(engine, codec, "The sea", 600)) < len(codec)


def test_rows_without_a_token_and_a_schema(tok):
    pytest.importorskip("llguidance")
    from textgen.generation.rules import Guide
    from textgen.text.codec import Codec

    codec, decoder = Codec(tok), _decoder(tok, 512)
    schema = "[a-z]{3,9}"
    out = generate(decoder, codec, "The sea", GenerateSettings(n=5, seed=1, schema=schema), guide=Guide(codec, schema))
    assert all(s.finish_reason == "end" and s.text.isalpha() for s in out)


@pytest.mark.parametrize("ask", [dict(), dict(stop="zz"), dict(temperature=0), dict(n=2, num_beams=3)], ids=str)
def test_every_end_ends_a_text(tok, ask):
    "A second end token of the folder ends a text, in every engine; none comes before `min_new_tokens`."
    from textgen.text.codec import Codec

    codec = Codec(tok, ends=[70])
    assert codec.ends == (codec.end, 70)
    for engine in _engines(_decoder(tok, len(codec))):
        base = dict(n=8, seed=3, temperature=1.0, max_new_tokens=40)
        out = generate(engine, codec, "The sea", GenerateSettings(**{**base, **ask}))
        for s in out:
            ended = [i for i in s.tokens if i in codec.ends]
            assert ended == s.tokens[-1:] if s.finish_reason == "end" else not ended
        late = generate(engine, codec, "The sea", GenerateSettings(**{**base, **ask, "min_new_tokens": 30}))
        assert not any(i in codec.ends for s in late for i in s.tokens[:29])


def test_the_second_end_comes(tok):
    "A model that writes its second end soon."
    from textgen.text.codec import Codec

    codec, decoder = Codec(tok, ends=[70]), _decoder(tok, 400, tie_word_embeddings=False)
    with torch.no_grad():
        decoder.model.lm_head.weight[70] = decoder.model.lm_head.weight.mean(0) * 0
    for engine in _engines(decoder):
        out = generate(
            engine, codec, "The sea", GenerateSettings(n=200, seed=3, temperature=1.5, max_new_tokens=30, batch_size=20)
        )
        found = [s for s in out if s.tokens[-1] == 70]
        assert found and all(s.finish_reason == "end" and s.tokens.count(70) == 1 for s in found)


# ---- what a folder's generation settings decide
def _with_config(decoder, **kw):
    "A decoder whose model has these generation settings."
    from transformers import GenerationConfig

    decoder.model.generation_config = GenerationConfig(**kw)
    return decoder


@pytest.mark.parametrize("beams", [1, 3])
def test_taste_of_a_folder_is_left_alone(tok, beams):
    "Length penalty, bad words, a forced end and what breaks transformers' beam search change nothing."
    from textgen.text.codec import Codec

    codec, ask = Codec(tok), GenerateSettings(n=1, seed=1, num_beams=beams, max_new_tokens=12)
    plain = generate(_decoder(tok, 400), codec, "The sea", ask)
    bad = [[i] for i in plain[0].tokens]
    taste = dict(
        length_penalty=-9.0,
        bad_words_ids=bad,
        forced_eos_token_id=codec.end,
        repetition_penalty=1.9,
        no_repeat_ngram_size=1,
        return_dict_in_generate=True,
        stop_strings=["e"],
        exponential_decay_length_penalty=(2, 5.0),
    )
    out = generate(_with_config(_decoder(tok, 400), **taste), codec, "The sea", ask)
    assert out[0].tokens == plain[0].tokens and "generation_config" not in out.receipt.content


@pytest.mark.parametrize("beams", [1, 3])
def test_tokens_that_a_folder_suppresses(tok, beams):
    from textgen.text.codec import Codec

    codec, ask = Codec(tok), GenerateSettings(n=1, seed=1, temperature=1.0, num_beams=beams, max_new_tokens=12)
    plain = generate(_decoder(tok, 400), codec, "The sea", ask)[0].tokens
    out = generate(_with_config(_decoder(tok, 400), suppress_tokens=plain[1:]), codec, "The sea", ask)
    assert not {*out[0].tokens} & {*plain[1:]}
    assert out.receipt["generation_config"] == dict(suppress_tokens=plain[1:])
    begin = generate(_with_config(_decoder(tok, 400), begin_suppress_tokens=plain[:1]), codec, "The sea", ask)
    assert begin[0].tokens[0] != plain[0]


@pytest.mark.parametrize("beams", [1, 3])
def test_the_first_token_that_a_folder_forces(tok, beams):
    from transformers import AutoModelForSeq2SeqLM, T5Config
    from textgen.models.build import seeded
    from textgen.models.seq2seq import wrap
    from textgen.text.codec import Codec

    size = dict(d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0)
    with seeded(0):
        decoder = wrap(AutoModelForSeq2SeqLM.from_config(T5Config(vocab_size=len(tok), **size)).eval())
    _with_config(decoder, forced_bos_token_id=77, decoder_start_token_id=0)
    out = generate(decoder, Codec(tok), "The sea", GenerateSettings(n=2, seed=1, num_beams=beams, max_new_tokens=5))
    assert [s.tokens[0] for s in out] == [77] * 2 and out.receipt["generation_config"] == dict(forced_bos_token_id=77)


def _bart(tok):
    "A tiny random BART of 32 positions."
    from transformers import BartConfig, BartForConditionalGeneration
    from textgen.models.build import seeded
    from textgen.models.seq2seq import wrap

    size = dict(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
    )
    config = BartConfig(
        vocab_size=len(tok), max_position_embeddings=32, decoder_start_token_id=2, forced_eos_token_id=None, **size
    )
    with seeded(0):
        return wrap(BartForConditionalGeneration(config).eval())


def test_beams_beyond_the_context_are_refused(tok):
    from textgen.text.codec import Codec

    decoder, codec = _bart(tok), Codec(tok)
    with pytest.raises(GenerateError, match="beyond the context of 32 tokens"):
        generate(decoder, codec, "The sea", GenerateSettings(num_beams=3, max_new_tokens=33, min_new_tokens=33))
    out = generate(decoder, codec, "The sea", GenerateSettings(num_beams=3, max_new_tokens=32, min_new_tokens=32))
    assert len(out[0].tokens) == 32


def test_the_log_probability_of_a_beam_after_a_long_prompt(tok):
    "A prompt that is cut: what the beams were given is what the tokens are scored with."
    from textgen.text.codec import Codec

    decoder, codec, prompt = _bart(tok), Codec(tok), "The sea and the house. " * 20
    best = generate(decoder, codec, prompt, GenerateSettings(num_beams=3, max_new_tokens=9))[0]
    ids = torch.tensor([codec.input_ids(prompt)[-32:]])
    with torch.inference_mode():
        x = decoder.score(ids, torch.tensor([best.tokens]))[0].log_softmax(-1)
    assert abs(x.gather(-1, torch.tensor(best.tokens)[:, None]).sum().item() - best.logprob) < 1e-3


# ---- rows
def test_an_empty_text_is_tried_again_with_its_own_prompt(tok):
    "Empty texts of several prompts in one batch: each attempt continues its own prompt."
    from textgen.text.codec import Codec

    codec, decoder = Codec(tok), _decoder(tok, 400, tie_word_embeddings=False)
    with torch.no_grad():
        decoder.model.lm_head.weight[codec.end] = 0
    prompts = ["The sea", "A house", "I", "Once"]
    ask = dict(n=12, seed=4, temperature=1.7, max_new_tokens=6)
    together = generate(decoder, codec, prompts, GenerateSettings(batch_size=10, **ask))
    assert any(s.attempt for s in together)
    alone = generate(decoder, codec, prompts, GenerateSettings(batch_size=1, **ask))
    assert [(s.tokens, s.attempt) for s in together] == [(s.tokens, s.attempt) for s in alone]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_prompt_files_with_a_mark(tmp_path, encoding):
    "As Windows saves them."
    (tmp_path / "p.txt").write_bytes("The sea\r\nÄ house\r\n".encode(encoding))
    (tmp_path / "p.jsonl").write_bytes('{"prompt": "Ä"}\r\n"b"\r\n'.encode(encoding))
    assert read_prompts(tmp_path / "p.txt") == ["The sea", "Ä house"]
    assert read_prompts(tmp_path / "p.jsonl") == ["Ä", "b"]
