"Every receipt we write fits the published schema, of every kind; older ones are read; a chain is followed."

import json
from pathlib import Path

import jsonschema
import pytest

import textgen
from test_copying import dataset
from textgen import Receipt, TextGen
from textgen.generation.files import receipt_path
from textgen.panels.results import Selection
from textgen.receipt import ancestors

BUNDLED = Path(textgen.__file__).parent / "bundled"
SCHEMA = json.loads((BUNDLED / "receipt.schema.json").read_text())


def check(path):
    "What a receipt holds, if it fits the schema."
    body = json.loads(Path(path).read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(body)
    return body


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_an_older_receipt_is_read():
    body = check(BUNDLED / "model" / "textgen.json")
    assert body["version"] == 1 and Receipt.load(BUNDLED / "model" / "textgen.json")["steps"] == body["steps"]


ASKED = [dict(), dict(n=2, temperature=[0, 1.0]), dict(num_beams=2), dict(stop=["e"])]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_generation(tiny, tok, tmp_path, asked):
    tg = tiny(tok)
    for prompt in ("The sea", ["a", "b"]):
        for name in ("a.txt", "a.jsonl"):
            path = tg.generate_to_file(tmp_path / name, prompt, **dict(n=1, max_new_tokens=6, seed=1) | asked)
            assert check(receipt_path(path))["version"] == 2


def test_what_is_no_receipt_does_not_fit(tiny, tok, tmp_path):
    path = tiny(tok).generate_to_file(tmp_path / "a.txt", n=1, max_new_tokens=6, seed=1)
    body = json.loads(receipt_path(path).read_text())
    for wrong in (dict(seed=-1), dict(samples=[dict(index=0)]), dict(model=dict(sha256="x")), dict(kind="letter")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate(body | wrong)


def test_texts_that_copied_or_were_stopped(tiny, tok, tmp_path):
    "Their finish reasons and what they were compared with are in the schema."
    tg = tiny(tok)
    asked = dict(max_new_tokens=20, seed=1, temperature=0)
    data = dataset([tg.generate("The sea", **asked)[0].tokens], tg.codec, True)
    out = tg.generate("The sea", novel_only=1, data=data, **asked)
    body = check(out.receipt.save(tmp_path / "copied.json"))
    assert body["novelty"]["longest"] == 1 and "copied" in {o["finish_reason"] for o in body["samples"]}
    stream = tg.stream("The sea", max_new_tokens=20, seed=1)
    with stream:
        next(stream)
        stream.close()
    body = check(stream.samples.receipt.save(tmp_path / "closed.json"))
    assert [o["finish_reason"] for o in body["samples"]] == ["closed"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({k: v for k, v in body.items() if k != "model"})


def test_a_selection(tiny, tok, tmp_path):
    "Texts of two calls, one of them edited."
    tg = tiny(tok)
    chosen = Selection().add(tg.generate("The sea", n=2, max_new_tokens=5, seed=1))
    chosen.add(tg.generate("A", max_new_tokens=5, seed=2), text=" word")
    body = check(receipt_path(chosen.save(tmp_path / "chosen.jsonl")))
    assert (body["kind"], [o["edited"] for o in body["samples"]]) == ("selection", [False, False, True])


@pytest.mark.slow
def test_an_export(tiny, tok, tmp_path):
    tg = tiny(tok)
    tg.export(tmp_path / "out", to="onnx")
    assert check(tmp_path / "out" / "export.json")["kind"] == "export"


def test_a_chain_of_trainings(tiny, tok, data, tmp_path):
    "Trained, trained further, with an adapter, merged: each says from what."
    tg, hashes = tiny(tok), []
    for k in range(2):
        tg.train(data, steps=1, save_to=tmp_path / f"m{k}", resume_state=False, sample_every=0)
        hashes.append(check(tmp_path / f"m{k}" / "textgen.json")["model"]["sha256"])
        tg = TextGen(tmp_path / f"m{k}", device="cpu")
    tg.train(data, steps=1, lora=2, sample_every=0)
    adapted = tg.receipt["model"]["sha256"]
    tg.merge()
    tg.save(tmp_path / "merged")
    body = check(tmp_path / "merged" / "textgen.json")
    assert body["model"]["merged"] == adapted != body["model"]["sha256"]
    assert [o["sha256"] for o in ancestors(Receipt.load(tmp_path / "merged" / "textgen.json"))] == hashes[::-1]
    assert body["hardware"]["cores"]
