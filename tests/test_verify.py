"""Texts that were written in every way, by every engine, are what their receipts say; forged and hostile ones are not.

The texts are written by the fastest engine there is. They are read by it and by the model itself, which shares no code
with it."""

import os
import re
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from textgen import Receipt, TextGen, VerifyError, verify
from textgen.core import uniforms
from textgen.generation.files import _layout, receipt_path, write_samples
from textgen.trust import replay, slices

PROMPTS = ["The sea", "A house by the"]
ASKED = {
    "plain": dict(),
    "filters": dict(top_k=30, top_p=0.9, min_p=0.01, temperature=1.1),
    "low": dict(temperature=0.05),
    "greedy": dict(temperature=0),
    "temperatures": dict(temperature=[0, 0.5, 1.0, 1.8]),
    "penalties": dict(repetition_penalty=1.3, no_repeat_ngram=2),
    "banned": dict(banned=["the", "e "], min_new_tokens=20),
    "stop": dict(stop=["e", "\n"]),
    "empty": dict(max_new_tokens=2, temperature=2.0),
    "batch": dict(batch_size=3, batch_invariant=True),
    "several": dict(prompt=PROMPTS),
    "long": dict(max_new_tokens=150, min_new_tokens=150),
    "schema": dict(schema="[a-z ]{5,30}\\."),
}
QUICK = ("plain", "filters", "greedy", "stop", "several", "long")


@pytest.fixture(scope="module", params=["causal", "seq2seq"])
def model(request, tok, tiny):
    if request.param == "causal":
        return tiny(tok, seed=2)
    return TextGen.new("t5-mini", tok, seed=2, device="cpu", context=64)


def written(model, folder, name="a.txt", prompt="The sea", **asked):
    asked = dict(n=4, seed=11, max_new_tokens=40) | asked
    return write_samples(model.generate(prompt, **asked), folder / name)


def forged(path, change=lambda content: None, body=None):
    "Another file beside this one: its receipt changed, or its texts."
    receipt = deepcopy(Receipt.load(receipt_path(path)))
    change(receipt.content)
    copy = path.with_name(f"forged-{path.name}")
    copy.write_bytes(path.read_bytes() if body is None else body)
    receipt.save(receipt_path(copy))
    return copy


def with_ids(path, model, k, change):
    "A file in which the ids of text `k` were changed, in text and receipt alike."
    samples = model.generate("The sea", n=4, seed=11, max_new_tokens=40)
    some = list(samples)
    tokens = change(list(some[k].tokens))
    text = model.codec.decode([*model.codec.prompt_ids("The sea"), *tokens], partial=True)
    if model.kind == "causal":
        text = text[len("The sea") :]
    else:
        text = model.codec.decode(tokens, partial=True)
    some[k] = replace(some[k], tokens=tokens, text=text)
    return forged(path, lambda c: c["samples"][k].update(tokens=tokens), _layout(some, path)[0].encode())


@pytest.mark.parametrize("name", [pytest.param(o, marks=[] if o in QUICK else pytest.mark.slow) for o in ASKED])
def test_honest_texts_are_verified(model, tmp_path, name):
    model.save(tmp_path / "model")
    for ending, by in (("a.txt", model), ("a.jsonl", tmp_path / "model")):
        verdict = verify(written(model, tmp_path, ending, **ASKED[name]), by)
        assert verdict.ok, verdict
        assert {s.precision for s in verdict.samples} == {"float32"} and verdict.bound < 0.05
        assert len(verdict.samples) == (8 if name == "several" else 4)


@pytest.mark.parametrize("name", [pytest.param(o, marks=[] if o == "plain" else pytest.mark.slow) for o in ASKED])
def test_no_changed_setting_passes(model, tmp_path, name):
    "Another seed, temperature or prompt; one sample in another's place."
    if name in ("greedy", "low", "temperatures"):
        pytest.skip("the seed decides little")
    path = written(model, tmp_path, **ASKED[name])

    def seed(content):
        content["seed"] = content["settings"]["seed"] = 12

    def shifted(content):
        for sample in content["samples"]:
            sample["index"] = (sample["index"] + 1) % len(content["samples"])

    def attempt(content):
        content["samples"][0]["attempt"] = 3

    for change in (seed, shifted, attempt):
        assert verify(forged(path, change), model).status == "altered", change


def test_changed_texts(model, tmp_path):
    path = written(model, tmp_path)
    body = path.read_bytes()
    text = Receipt.load(receipt_path(path))
    for wrong in (body.replace(b"e", b"x", 1), body[:-9], body + b"\n", body.replace(b"The sea", b"The lake", 1), b""):
        assert verify(forged(path, body=wrong), model).status == "altered"
    assert len(text["samples"]) == 4


def exchanged(k, ids):
    return [*ids[:k], (ids[k] + 5) % 300 + 20, *ids[k + 1 :]]


def left_out(k, ids):
    return [*ids[:k], *ids[k + 1 :]]


def doubled(k, ids):
    return [*ids[: k + 1], *ids[k:]]


def test_rewritten_ids(model, tmp_path):
    "One token exchanged, left out or added; the text follows."
    path = written(model, tmp_path)
    assert verify(with_ids(path, model, 1, lambda ids: ids), model).ok
    for k in (0, 7, 20):
        for change in (exchanged, left_out, doubled):
            assert verify(with_ids(path, model, 1, partial(change, k)), model).status == "altered"


def test_the_numbers_are_not_read_from_the_receipt(model, tmp_path):
    "Whatever a receipt brings along besides its fields is not looked at."
    path = written(model, tmp_path)
    numbers = uniforms(40, "generate", 11, 0, 0, 0).tolist()
    assert verify(forged(path, lambda c: c.update(uniforms=numbers)), model).ok

    def forge(content):
        content["seed"] = content["settings"]["seed"] = 12
        content["uniforms"] = content["samples"][0]["uniforms"] = numbers

    assert verify(forged(path, forge), model).status == "altered"


def test_other_models(model, tmp_path, tok, tiny):
    path = written(model, tmp_path)
    same_shape = tiny(tok, seed=3)
    assert verify(path, same_shape).status == "other model"
    model.save(tmp_path / "model")
    assert verify(path, tmp_path / "model").ok
    assert verify(path).ok  # found beside the file
    other = verify(forged(path, lambda c: c["model"].update(sha256="0" * 64)))
    assert other.status == "cannot tell" and "name it" in other.reason


def test_fewer_texts_than_were_asked_for(model, tmp_path):
    "The good ones may be kept; each is still what it is."
    samples = model.generate("The sea", n=4, seed=11, max_new_tokens=40)
    path = write_samples(samples, tmp_path / "a.txt")
    some = [samples[1], samples[3]]
    kept = forged(path, lambda c: c.update(samples=[c["samples"][k] for k in (1, 3)]), _layout(some, path)[0].encode())
    verdict = verify(kept, model)
    assert verdict.ok and "4 were asked for" in verdict.reason


def test_a_stopped_text_claims_no_end(model, tmp_path):
    "A text that was stopped is the model's as far as it goes; one that says it copied must have been asked for so."
    stream = model.stream("The sea", seed=11, max_new_tokens=40, temperature=1.5)
    for _ in range(3): next(stream)
    stream.close()
    assert stream.sample.finish_reason == "closed" and len(stream.sample.tokens) < 40
    path = write_samples(stream.samples, tmp_path / "s.txt")
    verdict = verify(path, model)
    assert verdict.ok and "1 stopped while being written" in verdict.reason

    def copied(content):
        content["samples"][0]["finish_reason"] = "copied"

    assert verify(forged(path, copied), model).status == "altered"
    whole = written(model, tmp_path, temperature=1.5)
    assert "stopped" not in verify(whole, model).reason


def test_beams_cannot_be_told(model, tmp_path):
    path = written(model, tmp_path, n=2, num_beams=3, max_new_tokens=8)
    assert verify(path, model).status == "cannot tell"
    assert verify(forged(path, body=b"The sea is mine\n"), model).status == "altered"


def test_a_forced_text_has_no_bits(model, tmp_path):
    "The seed has nothing to decide: that is said."
    pytest.importorskip("llguidance")
    path = written(model, tmp_path, n=1, schema=["only this"])
    verdict = verify(path, model)
    assert verdict.ok and verdict.bits < 1 and "bits of the seed" in verdict.reason


# ---- precisions and instruction sets
@pytest.mark.parametrize("how", [dict(dtype="bfloat16"), dict(quantize="int8")], ids=str)
def test_coarser_numbers(model, tmp_path, how):
    model.save(tmp_path / "model")
    coarse = TextGen(tmp_path / "model", device="cpu", **how)
    path = written(coarse, tmp_path)
    for judge in (coarse, tmp_path / "model"):
        verdict = verify(path, judge)
        assert verdict.status in ("verified", "cannot tell")
        assert not [s for s in verdict.samples if s.status == "altered"]

    def seed(content):
        content["seed"] = content["settings"]["seed"] = 12

    assert verify(forged(path, seed), coarse).status == "altered"


WRITE = """
import sys
from textgen import TextGen
tg = TextGen(sys.argv[1], device="cpu")
print(tg.engine.name)
tg.generate_to_file(sys.argv[2], "The sea", n=4, seed=5, max_new_tokens=40)"""


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512", "avx512-vnni", "none"])
def test_any_instruction_set(tok, tmp_path, isa):
    "What one instruction set wrote, the plain engine of this process reads."
    TextGen.new("mini", tok, seed=2).save(tmp_path / "model")
    env = dict(os.environ, TEXTGEN_ISA=isa)
    command = [sys.executable, "-c", WRITE, tmp_path / "model", tmp_path / "a.txt"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode and "ISA" in done.stderr:
        pytest.skip("this machine has no such instructions")
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "a.txt", tmp_path / "model").ok


# ---- hostile receipts
def hostile(path):
    "Name -> the text of a receipt that somebody made."
    good = Receipt.load(receipt_path(path))

    def changed(**content):
        return Receipt("generation", good.content | content).to_json()

    sample = good["samples"][0]
    return {
        "cut": receipt_path(path).read_text()[:200],
        "empty": "",
        "foreign": '{"name": "package", "version": 3}',
        "a list": "[1, 2]",
        "deep": "[" * 200_000,
        "nan": receipt_path(path).read_text().replace('"temperature": 0.7', '"temperature": NaN'),
        "no samples": changed(samples=[]),
        "ids are words": changed(samples=[sample | dict(tokens=["a"])]),
        "a negative id": changed(samples=[sample | dict(tokens=[-1])]),
        "true as an index": changed(samples=[sample | dict(index=True)]),
        "a wrong seed": changed(seed=-1),
        "no hash": changed(model=dict(sha256=3)),
        "prompts of numbers": changed(prompts=[1]),
        "unknown setting": changed(settings=good["settings"] | dict(magic=1)),
        "a bad expression": changed(settings=good["settings"] | dict(schema="[")),
        "settings of another kind": changed(settings=good["settings"] | dict(top_k="many")),
        "a training": Receipt.load(receipt_path(path)).to_json().replace('"generation"', '"training"'),
    }


def test_hostile_receipts_give_one_line(tok, tiny, tmp_path):
    model = tiny(tok, seed=2)
    path = written(model, tmp_path)
    for name, text in hostile(path).items():
        (tmp_path / "h.txt").write_bytes(path.read_bytes())
        (tmp_path / "h.txt.receipt.json").write_text(text)
        with pytest.raises(VerifyError) as e:
            verify(tmp_path / "h.txt", model)
        assert "\n" not in str(e.value) and len(str(e.value)) < 600, name


def test_huge_and_climbing_receipts(tok, tiny, tmp_path, monkeypatch):
    "A million tokens end at the first; a path is no way out; ten million numbers are not drawn."
    model = tiny(tok, seed=2)
    path = written(model, tmp_path)
    million = np.random.default_rng(0).integers(5, 300, 1_000_000).tolist()

    def huge(content):
        content["settings"]["max_new_tokens"] = 1_000_000
        content["samples"] = [content["samples"][0] | dict(tokens=million, finish_reason="length")]

    passes = []
    monkeypatch.setattr(replay, "scores", lambda *a, f=replay.scores: passes.append(1) or f(*a))
    assert verify(forged(path, huge), model).status == "altered"
    assert len(passes) < 3

    def climbing(content):
        content["model"] = dict(sha256="0" * 64, found="../../../../etc/passwd")

    assert verify(forged(path, climbing)).status == "cannot tell"

    def long(content):
        content["settings"]["max_new_tokens"] = 10**7

    assert verify(forged(path, long), model).status == "altered"  # it did not reach its length


def test_the_command_line(cli, tok, tiny, tmp_path):
    model = tiny(tok, seed=2)
    model.save(tmp_path / "model")
    path = written(model, tmp_path)
    assert cli("verify", path, "--model", tmp_path / "model").code == 0
    assert cli("verify", forged(path, body=b"x"), "--model", tmp_path / "model").code == 3
    tiny(tok, seed=3).save(tmp_path / "other")
    assert cli("verify", path, "--model", tmp_path / "other").code == 4
    said = cli("verify", forged(path, lambda c: c["model"].update(sha256="0")))
    assert said.code == 5 and len(said.out.strip().splitlines()) == 1
    (tmp_path / "a.txt.receipt.json").write_text("{")
    said = cli("verify", path)
    assert said.code == 1 and re.match("textgen: .*not a receipt", said.err) and len(said.err.splitlines()) == 1


# ---- the arithmetic, against a count by force
def test_slices_are_those_of_a_sum_in_python():
    "Slices of a small distribution, by a loop over its tokens."
    g = torch.Generator().manual_seed(0)
    for _ in range(30):
        x = torch.randn(1, 9, generator=g) * 2
        weights = [float(w) for w in torch.exp(x[0].double())]
        whole = sum(weights)
        for token in range(9):
            low, high = sum(weights[:token]) / whole, sum(weights[: token + 1]) / whole
            found = slices.slices(x, torch.tensor([token]), slices.Filters(), torch.zeros(1, 1).double())
            assert found.low.sigmoid().item() == pytest.approx(low, abs=1e-6)
            assert found.high.sigmoid().item() == pytest.approx(high, abs=1e-6)
