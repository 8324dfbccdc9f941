"""The model in the box: small, a plain transformers folder, offline, and what its receipt says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import textgen
from textgen import TextGen

FOLDER = Path(textgen.__file__).parent / "bundled" / "model"
SHARED = Path(__file__).parents[2] / "shared" / "data"
TOOLS = str(Path(__file__).parents[1] / "tools")


@pytest.fixture(scope="module")
def tg():
    return TextGen(device="cpu")


def test_it_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10e6


def test_plain_transformers_writes_the_same(tg, apart):
    "Greedy tokens of the folder, which stores bfloat16, by transformers alone; and by the terminal, which reads files."
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    tok = AutoTokenizer.from_pretrained(FOLDER)
    ids = torch.tensor([tok("The sea", add_special_tokens=False).input_ids])
    out = model.generate(ids, do_sample=False, max_new_tokens=40, attention_mask=torch.ones_like(ids))
    [sample] = tg.generate("The sea", temperature=0, max_new_tokens=40)
    assert sample.tokens == out[0, ids.shape[1] :].tolist()
    command = ["generate", "--prompt", "The sea", "--temperature", "0", "--max-new-tokens", "40", "--json"]
    done = apart(*command)
    assert json.loads(done.out)["text"].endswith(tok.decode(sample.tokens)), done.out + done.err
    assert json.loads((FOLDER / "config.json").read_text())["dtype"] == "bfloat16"


def test_texts_name_the_model_of_the_receipt(tg):
    written = tg.generate("", max_new_tokens=5, seed=0)
    assert written.receipt["model"]["sha256"] == tg.receipt["model"]["sha256"]
    sources = [source for part in tg.receipt["data"] for source in part["sources"]]
    assert [name for name, _ in sources] == ["poems.jsonl", "tinyshakespeare.txt"]


def test_it_writes_verse(tg):
    "A title, an empty line, lines of verse, stanzas; most poems end by themselves."
    written = tg.generate("", n=20, max_new_tokens=400, seed=1)
    texts = [str(s) for s in written]
    titled = [t for t in texts if len(t.split("\n\n", 1)) == 2 and 0 < len(t.split("\n\n", 1)[0]) < 80]
    lines = [line for t in texts for line in t.split("\n") if line.strip()]
    assert len(titled) >= 10
    assert 15 < sum(map(len, lines)) / len(lines) < 60
    assert sum(t.count("\n\n") >= 2 for t in texts) >= 5
    assert sum(s.finish_reason == "end" for s in written) >= 8


def test_a_prompt_is_continued(tg):
    [sample] = tg.generate("The Lighthouse\n\n", max_new_tokens=40, seed=3)
    assert str(sample).startswith("The Lighthouse\n\n") and sample.text.strip()


def test_offline_and_without_a_name(tmp_path):
    "No network, no cache, no arguments: a text all the same."
    env = os.environ | dict(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path), https_proxy="http://127.0.0.1:9")
    command = [sys.executable, "-m", "textgen", "generate", "--seed", "1", "--max-new-tokens", "30"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 20


# ---- the texts it was made from
@pytest.fixture(scope="module")
def verse():
    sys.path.insert(0, TOOLS)
    import verse

    yield verse
    sys.path.remove(TOOLS)


def test_a_tenth_is_held_out_by_author_and_title(verse):
    poems = [dict(author=f"author {k}", title=f"title {k % 7}") for k in range(2000)]
    held = [verse.is_held_out(o) for o in poems]
    assert 140 < sum(held) < 260
    assert held == [verse.is_held_out(dict(o, text="other")) for o in poems]


@pytest.mark.skipif(not (SHARED / "poems.jsonl").exists(), reason="the poems are not here")
def test_nothing_held_out_is_learned(verse):
    learned, held_out = verse.poems(SHARED)
    assert len(held_out) > 400 and len(learned) > 4000
    known = set(learned)
    assert not any(text in known for text in held_out)
    shared = set().union(*(verse._lines(t) for t in held_out))
    assert all(len(verse._lines(t) & shared) <= 2 for t in learned)
