"""What leaves a machine tells nobody how its folders are named: every byte of every file that is written is searched.

A training is saved, carried on, exported, generated from and pushed. Then the names of the folders in which text,
tokenizer, model and library lie are looked for in the files, in what archives and caches hold, and in what the Hub got.
"""

import gzip
import json
import os
import shutil
import zipfile
from pathlib import Path

import msgpack
import pytest
from test_hub import server  # noqa: F401  (a fixture)

import textgen
from textgen import ModelError, Receipt, TextGen, TokenDataset, train_tokenizer
from textgen.info import describe_path
from textgen.text.cache import CacheFile
from textgen.training.callback import NoView

SECRET = "ada-and-her-secrets"  # above everything
HIDDEN = "inner-folder"  # in which each of them lies
QUIET = dict(steps=2, batch_size=2, seed=1, window=16, sample_every=0, view=NoView())


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A folder that must not be named; temporary files lie in it as well."
    folder = tmp_path / SECRET / HIDDEN
    (folder / "tmp").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (folder / "letters.txt").write_text("The sea is calm tonight.\n" * 200, encoding="utf-8")
    return folder


def names():
    "What must not be written: folders of this test, of the user, and of the library."
    home = str(Path.home())
    own = str(Path(textgen.__file__).parents[1])
    site = str(Path(pytest.__file__).parents[1])
    return [SECRET, HIDDEN, own, site, *([home] if len(home) > 5 else [])]


def contents(path):
    "The bytes of a file, and of what is packed in it."
    raw = path.read_bytes()
    found = [raw]
    if raw[:2] == b"\x1f\x8b":
        found.append(gzip.decompress(raw))
    if raw[:2] == b"PK":
        with zipfile.ZipFile(path) as z:
            found += [z.read(name) for name in z.namelist()]
    if path.suffix == ".tokens":
        file = CacheFile(path)
        found += [msgpack.packb([file.header, file.info])]
        found += [b"".join(file.payloads(part["name"])) for part in file.parts]
    return found


def tells(raw):
    "The names that some bytes hold, as they are, in UTF-16, and as JSON or a URL writes a path."
    return [n for n in names() if any(n.encode(code) in raw for code in ("utf-8", "utf-16-le"))]


def check(*paths):
    "No file tells a name; how many were searched."
    files = [f for p in paths for f in ([p] if p.is_file() else sorted(p.rglob("*"))) if f.is_file()]
    told = {f.name: tells(raw) for f in files for raw in contents(f) if tells(raw)}
    assert not told, told
    return len(files)


def test_the_search_finds_what_it_looks_for(place):
    "Else all the others would pass for nothing."
    path = place / "x"
    for made in (str(place).encode(), gzip.compress(str(place).encode()), str(Path(textgen.__file__)).encode()):
        path.write_bytes(made)
        with pytest.raises(AssertionError):
            check(path)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_model_its_texts_and_its_caches(kind, place, tiny, monkeypatch):
    text = place / "letters.txt"
    tok = train_tokenizer(text, vocab_size=300, save=place / "tok")
    data = TokenDataset.from_files(text, place / "tok", save=place / "a.tokens")
    data.save(place / "b.tokens", compress="gzip")
    data.save(place / "c.tokens", compress=None)
    TokenDataset.merge([data, TokenDataset.load(place / "b.tokens")]).save(place / "d.tokens")
    tg = tiny(tok) if kind == "gpt2" else TextGen.new("t5-mini", place / "tok", device="cpu")
    tg.train(text, save_to=place / "m", save_every=1, keep=2, **QUIET)
    again = TextGen(place / "m", device="cpu")
    again.train(place / "a.tokens", save_to=place / "m", validation=0.1, resume="force", **QUIET | dict(steps=3))
    further = TextGen(place / "m", device="cpu")
    further.train([place / "a.tokens", place / "b.tokens"], save_to=place / "n", **QUIET)
    further.generate_to_file(place / "out.txt", n=2, max_new_tokens=3, seed=1)
    further.generate_to_file(place / "out.jsonl", n=2, max_new_tokens=3, seed=1)
    made = [p for p in place.iterdir() if p.name not in ("tmp", "letters.txt")]
    assert check(*made) > 30
    base, data = further.receipt["model"]["base"], further.receipt["data"]
    assert base["found"] == "./m" and len(base["sha256"]) == 64
    assert {name for part in data for name, _ in part["sources"]} == {"letters.txt"}
    back = TokenDataset.load(place / "a.tokens")
    assert back.info["sources"] == [["letters.txt", 1]] and back.decode(back[0]).startswith("The sea")
    facts = describe_path(place / "n")
    assert facts["trained_from"].startswith("./m (") and "letters.txt: 1 documents" in facts["data"]


@pytest.mark.parametrize("to", [pytest.param("onnx", marks=pytest.mark.slow), "gguf"])
def test_an_export(to, place, tiny):
    for name in ("gguf",) if to == "gguf" else ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    tok = train_tokenizer(place / "letters.txt", vocab_size=300, save=place / "tok")
    tg = tiny(tok)
    tg.train(place / "letters.txt", save_to=place / "m", **QUIET)
    folder = TextGen(place / "m", device="cpu").export(place / "out", to=to)
    assert check(folder) > 4
    assert Receipt.load(folder / "export.json")["model"]["found"] == "./m"


def test_what_the_hub_gets(place, tiny, server):  # noqa: F811
    tok = train_tokenizer(place / "letters.txt", vocab_size=300, save=place / "tok")
    tiny(tok).train(place / "letters.txt", save_to=place / "m", **QUIET)
    tg = TextGen(place / "m", device="cpu")
    tg.push_to_hub("me/m", data=place / "letters.txt", held_out=place / "letters.txt")
    sent = server.repos["me/m"].files
    assert "textgen.json" in sent and not {name: tells(raw) for name, (raw, _) in sent.items() if tells(raw)}
    assert b"letters.txt" in sent["textgen.json"][0] and not any(tells(b) for b in server.blobs.values())


def test_an_adapter(place, tiny):
    "It is found beside its base and from the folder that holds the base; elsewhere it is said what is missing."
    pytest.importorskip("peft")
    tok = train_tokenizer(place / "letters.txt", vocab_size=300, save=place / "tok")
    tiny(tok).train(place / "letters.txt", save_to=place / "m", **QUIET)
    tg = TextGen(place / "m", device="cpu")
    lora = dict(r=2, target_modules="all-linear")
    tg.train(place / "letters.txt", save_to=place / "adapter", lora=lora, **QUIET)
    want = tg.generate("The", max_new_tokens=5, seed=1)[0].tokens
    assert check(place / "adapter") > 4
    assert json.loads((place / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == "./m"
    back = TextGen(place / "adapter", device="cpu")
    assert back.generate("The", max_new_tokens=5, seed=1)[0].tokens == want
    assert describe_path(place / "adapter")["works_here"] == "yes"
    back.train(place / "letters.txt", save_to=place / "adapter", lora=lora, resume=True, **QUIET | dict(steps=3))
    assert check(place / "adapter") > 4


def test_an_adapter_far_from_its_base(place, tiny, capsys, monkeypatch):
    pytest.importorskip("peft")
    from textgen.models.adapter import add_lora

    tok = train_tokenizer(place / "letters.txt", vocab_size=300)
    tiny(tok).save(place / "m")
    tg = TextGen(place / "m", device="cpu")
    add_lora(tg.model, dict(r=2, target_modules="all-linear"), base=str(place / "m"))
    far = place / "far" / "adapter"
    tg.save(far)
    assert "names its base 'm'; to load it, have the folder of that name beside it" in capsys.readouterr().err
    with pytest.raises(ModelError, match="the folder of its base, 'm', is neither beside it nor in the working"):
        TextGen(far, device="cpu")
    assert "its base ./m is not here" in describe_path(far)["works_here"]
    monkeypatch.chdir(place)
    assert TextGen(far, device="cpu").model.peft_config
    shutil.copytree(place / "m", place / "far" / "m")
    monkeypatch.chdir("/")
    assert TextGen(far, device="cpu").model.peft_config


def test_receipts_of_before(place, tiny):
    "Paths in them are read as names, and are gone when the model is saved again."
    tok = train_tokenizer(place / "letters.txt", vocab_size=300)
    tiny(tok).train(place / "letters.txt", save_to=place / "m", **QUIET)
    file = place / "m" / "textgen.json"
    old = json.loads(file.read_text())
    old["model"]["base"] = dict(sha256="ab" * 32, found=f"{place}/base", steps=2)
    old["data"][0]["sources"] = [[f"{place}/letters.txt", 1], [r"C:\Users\ada\b.txt", 2]]
    file.write_text(json.dumps(old))
    tg = TextGen(place / "m", device="cpu")
    assert tg.receipt["model"]["base"]["found"] == "./base"
    assert tg.receipt["data"][0]["sources"] == [["letters.txt", 1], ["b.txt", 2]]
    tg.save(place / "m")
    assert check(place / "m") > 4


def test_the_model_in_the_box(place, monkeypatch):
    "It has the same name on every machine."
    monkeypatch.chdir(place)
    tg = TextGen(device="cpu")
    path = tg.generate_to_file("out.txt", n=1, max_new_tokens=3, seed=1)
    assert Receipt.load(f"{path}.receipt.json")["model"]["found"] == "textgen/bundled/model"
    TokenDataset.from_files("letters.txt", tg.tokenizer, save="a.tokens")
    assert check(place / "out.txt", place / "out.txt.receipt.json", place / "a.tokens") == 3
    assert os.path.isdir(textgen.receipt.find_place("textgen/bundled/model"))
