"""Texts of several calls, kept in one file, are proven each by the receipt of its call.

Which of them are honest is counted by transformers and a cumulative sum alone."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch

from textgen import Receipt, TextGen, VerifyError, verify
from textgen.core import uniforms
from textgen.generation.files import receipt_path
from textgen.panels.generate import GeneratePanel
from textgen.panels.results import Chosen, Selection

CALLS = [dict(prompt="The sea", n=3, seed=5, temperature=0.8), dict(prompt="A house by", n=2, seed=9, temperature=1.2)]
ORDER = [(0, 2), (1, 0), (0, 0)]  # call, and number there


@pytest.fixture(scope="module")
def model(tok, tiny):
    return tiny(tok, seed=2)


@pytest.fixture(scope="module")
def calls(model):
    return [model.generate(max_new_tokens=20, **asked) for asked in CALLS]


@pytest.fixture
def kept(calls, tmp_path):
    "A file of three texts of two calls."

    def save(name="kept.jsonl", edited=None):
        chosen = Selection()
        for k, number in ORDER:
            chosen.chosen.append(Chosen(calls[k][number], calls[k].receipt, edited if k == 1 else None))
        assert len(chosen.receipt["calls"]) == 2
        return chosen.save(tmp_path / name)

    return save


def drawn(model, call, sample):
    "The tokens that follow from the seed of a call, each after those that were recorded before it."
    said, ids = call["settings"], sample["tokens"]
    read = torch.tensor([[*call["prompt_tokens"], *ids]])
    with torch.inference_mode():
        logits = model.model(read).logits[0, len(call["prompt_tokens"]) - 1 : -1].double()
    sums = (logits / said["temperature"]).softmax(-1).cumsum(-1).numpy()
    numbers = uniforms(len(ids), "generate", call["seed"], 0, sample["index"], 0)
    return [int(np.searchsorted(row, u, side="right")) for row, u in zip(sums, numbers)]


def honest(model, path):
    "Of each text of a file whether it is what its ids say, and whether these follow from the seed."
    receipt, found = Receipt.load(receipt_path(path)), []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, said in zip(rows, receipt["samples"]):
        call = receipt["calls"][said["call"]]
        [sample] = [o for o in call["samples"] if o["index"] == said["sample"]]
        text = model.tokenizer.decode([i for i in sample["tokens"] if i != model.tokenizer.eos_token_id])
        is_said = row["prompt"] == call["prompt"] and row["text"] == text
        found.append(is_said and drawn(model, call, sample) == sample["tokens"])
    return found


def change_receipt(path, change):
    receipt = Receipt.load(receipt_path(path))
    change(receipt.content)
    receipt.save(receipt_path(path))


def change_text(path, old, new):
    body = path.read_text()
    assert old in body
    path.write_text(body.replace(old, new, 1))


def other_seed(content):
    content["calls"][1]["seed"] = content["calls"][1]["settings"]["seed"] = 10


def other_token(content):
    ids = content["calls"][0]["samples"][0]["tokens"]
    ids[3] = (ids[3] + 1) % 300 + 20


def exchanged(content):
    "The first text is said to be the third one of its call, and the other way round."
    rows = content["samples"]
    rows[0]["sample"], rows[2]["sample"] = rows[2]["sample"], rows[0]["sample"]


CHANGES = {
    "nothing": lambda path: None,
    "a word": lambda path: change_text(path, '"text": "', '"text": "x'),
    "a prompt": lambda path: change_text(path, "A house by", "A horse by"),
    "the seed": lambda path: change_receipt(path, other_seed),
    "a token": lambda path: change_receipt(path, other_token),
    "two in each other's place": lambda path: change_receipt(path, exchanged),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_text_by_the_receipt_of_its_call(model, kept, change):
    path = kept()
    CHANGES[change](path)
    expected = honest(model, path)
    assert all(expected) == (change == "nothing") and (any(expected) or "place" in change)
    verdict = verify(path, model)
    assert [s.status == "verified" for s in verdict.samples] == expected
    assert verdict.status == ("verified" if all(expected) else "altered")
    assert [s.index for s in verdict.samples] == [0, 1, 2] and (verdict.bits > 40) == verdict.ok
    assert "\n" not in verdict.reason


def test_a_file_of_text(model, kept):
    "Not JSON: one text is another, which an edited one that holds the line between two texts does not hide."
    path = kept("kept.txt")
    assert verify(path, model).ok and verify(receipt_path(path), model).ok
    change_text(path, "A house by", "A horse by")
    assert [s.status for s in verify(path, model).samples] == ["verified", "altered", "verified"]
    path = kept("edited.txt", edited="\n" + "=" * 20 + "\n")
    verdict = verify(path, model)
    assert [s.status for s in verdict.samples] == ["verified", "altered", "verified"]
    assert "edited by a person" in verdict.reason


def test_an_edited_text_is_said_to_be_one(model, kept):
    verdict = verify(kept(edited=" mine"), model)
    assert [s.status for s in verdict.samples] == ["verified", "altered", "verified"]
    assert verdict.reason == "1 text is edited by a person" and "as its receipt says" in verdict.samples[1].reason


def test_what_is_not_there_is_named(model, kept, tok, tiny):
    path = kept()
    change_receipt(path, lambda content: content["calls"].pop())
    verdict = verify(path, model)
    assert [s.status for s in verdict.samples] == ["verified", "cannot tell", "verified"]
    assert verdict.status == "cannot tell" and "the receipt of its call" in verdict.reason
    change_text(path, '"text": "', '"text": "x')
    assert verify(path, model).status == "altered"
    change_receipt(path, lambda content: content.update(calls=[]))
    assert verify(path, model).status == "cannot tell"

    path = kept("two.jsonl")
    assert verify(path, tiny(tok, seed=3)).status == "other model"
    change_receipt(path, lambda content: content["calls"][1]["model"].update(sha256="0" * 64))
    verdict = verify(path, model)
    assert [s.status for s in verdict.samples] == ["verified", "other model", "verified"]
    assert verify(path).status == "cannot tell" and "name it" in verify(path).reason


def test_two_models_are_looked_for(model, tok, tiny, tmp_path):
    "Each text by the model that wrote it, as they lie beside the file."
    chosen = Selection()
    for name, one in (("a", model), ("b", tiny(tok, seed=3))):
        one.save(tmp_path / name)
        written = TextGen(tmp_path / name, device="cpu").generate("The sea", seed=1, max_new_tokens=20)
        chosen.add(written)
    path = chosen.save(tmp_path / "kept.jsonl")
    verdict = verify(path)
    assert verdict.ok and "calls: 2" in verdict.reason
    assert [s.status for s in verify(path, tmp_path / "a").samples] == ["verified", "other model"]


def test_the_panel_and_the_command_line(tg, model_folder, cli, tmp_path, monkeypatch):
    "Texts of two presses of the button, the second of each, kept; one of them edited then."
    monkeypatch.chdir(tmp_path)
    panel = GeneratePanel(str(model_folder))
    panel.fields.settings["max_new_tokens"].value = 20
    panel.fields.settings["n"].value = 2
    for prompt in ("The sea", "A"):
        panel.fields.prompt.value = prompt
        panel.write().wait()
        panel.cards[1].mark("keep")
    panel.save_kept()
    panel.wait()
    said = cli("verify", "kept.jsonl", "--model", model_folder)
    assert said.code == 0 and said.out.startswith("verified: ") and len(said.out.splitlines()) == 1
    assert cli("verify", "kept.jsonl", "--model", tmp_path / "none").code == 1
    card = panel.kept_cards[0]
    card.edit()
    card.editor.value = " was wide"
    card.edit()
    panel.save_kept()
    panel.wait()
    said = cli("verify", "kept.jsonl", "--model", model_folder)
    assert said.code == 3 and "a person has edited it" in said.out


def test_hostile_selections_give_one_line(model, kept):
    path = kept()
    good = Receipt.load(receipt_path(path)).content
    first = good["samples"][0]
    wrong = {
        "no texts": dict(samples=[]),
        "a word": dict(samples=["x"]),
        "out of place": dict(samples=good["samples"][1:]),
        "true as a number": dict(samples=[first | dict(call=False)]),
        "no word on editing": dict(samples=[first | dict(edited=None)]),
        "a call of words": dict(calls=["x", "y"]),
        "a call without fields": dict(calls=[{}, {}]),
        "a call in a call": dict(calls=[good, good]),
        "two seeds": dict(calls=[good["calls"][0] | dict(seed=1), good["calls"][1]]),
        "ids of words": dict(calls=[good["calls"][0] | dict(samples=[dict(index=0, tokens=["a"])]), good["calls"][1]]),
    }
    for name, content in wrong.items():
        Receipt("selection", deepcopy(good) | content).save(receipt_path(path))
        with pytest.raises(VerifyError) as e:
            verify(path, model)
        assert "\n" not in str(e.value) and len(str(e.value)) < 600, name
