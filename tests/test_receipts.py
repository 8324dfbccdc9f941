"Every receipt we write fits the published schema, of every kind; older ones are read; a chain is followed."

import json
from pathlib import Path

import jsonschema
import pytest

import textgen
from textgen import Receipt, TextGen
from textgen.generation.files import receipt_path
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
