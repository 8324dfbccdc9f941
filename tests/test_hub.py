"A model goes to a Hub that speaks the protocol of the real one, and comes back; what breaks is taken up, or said."

import json
import os
import re
import shutil
import socket
import sys
import time
import pytest
from hubserver import Hub, Repo
from textgen import ExportError, ModelError, TextGen, TextGenError
from textgen.hub import check_on_hub, hub_folder
from textgen.sharing.card import MARK

XET = "the real Hub's store of pieces, which this server does not speak: files go the other way, by LFS"


def _point(monkeypatch, url, cache):
    "Let everything in this process ask the Hub at an address."
    from huggingface_hub import constants

    names = dict(HF_ENDPOINT=url, HF_HUB_CACHE=str(cache / "hub"), HF_HOME=str(cache), HF_TOKEN="hf_mine")
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    values = dict(ENDPOINT=url, HUGGINGFACE_CO_URL_TEMPLATE=template, HF_HUB_CACHE=str(cache / "hub"))
    for name, value in dict(values, HF_HUB_OFFLINE=False, HF_HUB_DISABLE_XET=XET != "").items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", url)
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)


@pytest.fixture
def server(monkeypatch, tmp_path):
    hub = Hub()
    _point(monkeypatch, hub.url, tmp_path / "hf")
    yield hub
    hub.close()


@pytest.fixture
def fast(monkeypatch):
    "The client's waits between tries, without the waiting."
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda s: None)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda s: None)


def _timed(f, *args, **kwargs):
    "The error of a call, which comes within ten seconds and is one line."
    began = time.monotonic()
    with pytest.raises((ExportError, ModelError)) as e:
        f(*args, **kwargs)
    assert time.monotonic() - began < 10 and "\n" not in str(e.value)
    return str(e.value)


# ---- there and back
def test_there_and_back(server, tg):
    url = tg.push_to_hub("me/poems", license="mit", prompts=["The sea"])
    repo = server.repos["me/poems"]
    assert url == f"{server.url}/me/poems" and len(repo.commits) == 2 and not repo.private
    assert {"config.json", "model.safetensors", "tokenizer.json", "textgen.json", "README.md"} <= set(repo.files)
    assert not any(name.startswith("resume") for name in repo.files)
    back = TextGen("me/poems", device="cpu")
    ask = dict(n=2, max_new_tokens=9, seed=3)
    assert [s.text for s in back.generate("The", **ask)] == [s.text for s in tg.generate("The", **ask)]
    assert (back.found, back.receipt, back.codec.fingerprint) == ("me/poems", tg.receipt, tg.codec.fingerprint)


def test_a_name_of_ones_own_and_private(server, tg):
    assert tg.push_to_hub("poems", private=True) == f"{server.url}/me/poems"
    assert server.repos["me/poems"].private
    assert TextGen("me/poems", device="cpu").found == "me/poems"


def test_again(server, tg, tiny, tok):
    "The second push replaces the first; nothing is sent twice, pages and files of other people stay."
    tg.push_to_hub("me/m")
    repo, received = server.repos["me/m"], server.received
    tg.push_to_hub("me/m")
    assert server.received - received < 100_000  # the weights are not among it
    repo.commit({"cover.png": (b"1", False), "pytorch_model.bin": (b"old", True), "README.md": (b"# Mine", False)})
    tiny(tok, 5).push_to_hub("me/m")
    assert set(repo.files) >= {"cover.png", "model.safetensors"} and "pytorch_model.bin" not in repo.files
    assert "textgen.json" not in repo.files and repo.files["README.md"][0] == b"# Mine"


def test_the_page(server, tg, data, given):
    tg.push_to_hub("me/m", license="cc-by-4.0", prompts=['"The sea": a\nb'], data=data, held_out=data.split(0.1)[1])
    page = server.repos["me/m"].files["README.md"][0].decode()
    import yaml

    head = yaml.safe_load(page.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["widget"] == [dict(text='"The sea": a\nb')]
    assert head["pipeline_tag"] == "text-generation" and "base_model" not in head and MARK in page
    receipt = tg.receipt
    assert f"{receipt['steps']} steps" in page and f"{receipt['losses'][-1]:.3f}" in page
    assert receipt["model"]["sha256"] in page and re.search(r"\d bits per character", page)
    assert "The longest run that stands there as it is has" in page and "poems.jsonl" in page


def test_the_lines_of_the_page_run(server, tg, capsys):
    "Both ways to use the model, as they stand there."
    tg.push_to_hub("me/m", prompts=["The sea"])
    page = server.repos["me/m"].files["README.md"][0].decode()
    blocks = re.findall(r"```python\n(.+?)```", page, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block.replace("max_new_tokens=100", "max_new_tokens=3"), {})
        assert capsys.readouterr().out.startswith("The sea")


def test_copying_is_counted(data):
    "A text that is a piece of the data is copied as a whole, and one of single tokens is not."
    from textgen.sharing.card import copying

    ids = data.tokens[100:160].tolist()
    assert copying([ids], data.tokens) == dict(texts=1, tokens=60, longest=60, share=1)
    apart = [i for pair in zip(ids[:20], [399] * 20) for i in pair]
    assert copying([apart], data.tokens)["share"] == 0


# ---- formats that others left there
def test_other_peoples_models(server, tmp_path, tg, tiny, tok):
    "An old pickle alone, an adapter, folders beside: what is needed comes, and nothing else."
    import torch
    from textgen.models.adapter import add_lora
    from textgen.models.folder import save_model
    from textgen.models.weights import model_hash

    old = tmp_path / "old"
    tiny(tok, 3).save(old)
    model = TextGen(old, device="cpu").model
    (old / "model.safetensors").unlink()
    torch.save(model.state_dict(), old / "pytorch_model.bin")
    (old / "onnx").mkdir()
    (old / "onnx" / "model.onnx").write_bytes(b"0" * 1000)
    server.put("gpt2-old", old)
    server.put("me/old", old)
    back = TextGen("me/old", device="cpu")
    assert model_hash(back.model) == model_hash(model) and back.receipt is None
    assert not [path for _, path in server.log if "onnx" in str(path)]
    tg.push_to_hub("me/base")
    base = TextGen("me/base", device="cpu")
    tuned = add_lora(base.model, dict(r=2, target_modules="all-linear"), base="me/base")
    save_model(tuned, base.codec, tmp_path / "adapter")
    server.put("you/adapter", tmp_path / "adapter")
    assert model_hash(TextGen("you/adapter", device="cpu").model) == model_hash(tuned)
    base.push_to_hub("me/adapter")
    page = server.repos["me/adapter"].files["README.md"][0].decode()
    assert 'base_model: "me/base"' in page and "library_name: peft" in page
    assert model_hash(TextGen("me/adapter", device="cpu").model) == model_hash(tuned)


def test_an_adapter_of_a_folder_here_is_not_pushed(server, tg, model_folder, tmp_path):
    from textgen.models.adapter import add_lora

    here = TextGen(model_folder, device="cpu")
    add_lora(here.model, dict(r=2, target_modules="all-linear"), base=str(model_folder))
    assert "merge it first: tg.merge()" in _timed(here.push_to_hub, "me/m")
    assert not server.repos


# ---- drops
def test_an_upload_that_drops(server, tg, fast):
    "The connection breaks in the middle of the weights, twice; then it is whole."
    server.breaks_put = 2
    tg.push_to_hub("me/m")
    puts = [path for method, path in server.log if method == "PUT"]
    assert len(puts) == 3 and TextGen("me/m", device="cpu").receipt == tg.receipt


def test_an_upload_that_is_given_up(server, tg, fast):
    "It stays as it was, and the next push does not send again what has arrived."
    tg.push_to_hub("me/m")
    repo = server.repos["me/m"]
    before = dict(repo.files)
    other = TextGen(tg.found, device="cpu")
    other.model.transformer.wte.weight.data += 1
    server.breaks_put = 99
    said = _timed(other.push_to_hub, "me/m")
    assert "push again: what has arrived is not sent a second time" in said and repo.files == before
    server.breaks_put = 0
    from huggingface_hub import HfApi

    real = HfApi.create_commit
    calls = []

    def lost(self, *args, **kwargs):
        calls.append(1)
        self.preupload_lfs_files(args[0], [o for o in args[1] if hasattr(o, "upload_info")])
        if len(calls) == 1:
            raise ConnectionError("the answer is lost")
        return real(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(HfApi, "create_commit", lost)
        server.log.clear()
        other.push_to_hub("me/m")
    assert len(calls) == 2 and len([o for o in server.log if o[0] == "PUT"]) == 1
    assert repo.files["model.safetensors"] != before["model.safetensors"]


@pytest.mark.parametrize("private", [None, True])
def test_a_first_push_that_is_refused(private, server, tg):
    "No empty repository is left; one that was there stays, with what is in it."
    server.refuses = 413
    said = _timed(tg.push_to_hub, "me/m", private=private)
    assert "the Hub does not take these files" in said and "storage" in said and not server.repos
    server.refuses = None
    tg.push_to_hub("me/m", private=private)
    server.repos["me/m"].commit({"config.json": (b"{}", False)})
    before = dict(server.repos["me/m"].files)
    server.refuses = 413
    assert "was made" not in _timed(tg.push_to_hub, "me/m") and server.repos["me/m"].files == before
    server.repos["me/empty"] = Repo()
    _timed(tg.push_to_hub, "me/empty")
    assert "me/empty" in server.repos  # somebody made it for something


def test_a_first_push_that_cannot_be_taken_back(server, tg):
    server.refuses, server.stays = 413, True
    said = _timed(tg.push_to_hub, "me/m")
    assert f"me/m was made and is empty till then, or delete it in {server.url}/me/m/settings" in said


def test_a_first_push_that_drops(server, tg, fast):
    "What has arrived is kept for the next, and it is said that the repository is there."
    server.breaks_put = 99
    said = _timed(tg.push_to_hub, "me/m")
    assert "push again: what has arrived is not sent a second time; me/m was made and is empty till then" in said
    assert not server.repos["me/m"].files
    server.breaks_put = 0
    tg.push_to_hub("me/m")
    assert TextGen("me/m", device="cpu").receipt == tg.receipt


def test_a_download_that_drops(server, tg, fast, monkeypatch):
    "It goes on with the byte where it broke."
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    tg.push_to_hub("me/m")
    size = len(server.repos["me/m"].files["model.safetensors"][0])
    server.breaks_get, server.sent = 1, 0
    assert TextGen("me/m", device="cpu").receipt == tg.receipt
    assert [o for o in server.log if o[0] == "RANGE"] and server.sent < 1.5 * size + 100_000


def test_a_download_that_is_given_up(server, tg, fast):
    "Nothing half-written is taken for a model, and the next call goes on."
    tg.push_to_hub("me/m")
    server.breaks_get = 99
    with pytest.raises(ModelError, match="try again, what has arrived is kept"):
        hub_folder("me/m")
    cache = os.environ["HF_HUB_CACHE"]
    assert not [name for _, _, names in os.walk(cache) for name in names if "incomplete" in name]
    server.breaks_get = 0
    assert (hub_folder("me/m") / "model.safetensors").stat().st_size > 10_000


# ---- what cannot be
@pytest.mark.parametrize("token", ["", "hf_other", "hf_wrong"])
def test_a_private_model_without_the_right_token(token, server, tg, monkeypatch, cli):
    tg.push_to_hub("me/m", private=True)
    monkeypatch.setenv("HF_TOKEN", token)
    assert "it has none of this name; a private one needs a token" in _timed(TextGen, "me/m")
    said = cli("generate", "me/m")
    assert said.code == 1 and said.err.count("\n") == 1 and "a private one needs a token" in said.err
    assert not [name for _, _, names in os.walk(os.environ["HF_HUB_CACHE"]) for name in names]


def test_pushing_without_the_right_token(server, tg, monkeypatch):
    assert "this token may not write to you/m" in _timed(tg.push_to_hub, "you/m")
    assert "the Hub does not know this token" in _timed(tg.push_to_hub, "me/m", token="hf_wrong")
    monkeypatch.delenv("HF_TOKEN")
    assert "you are not logged in to the Hub" in _timed(tg.push_to_hub, "me/m")
    assert "'a b' is no name" in _timed(tg.push_to_hub, "a b")
    assert not server.repos


def _closed():
    "An address at which nobody listens."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}"


@pytest.mark.parametrize("where", ["nobody listens", "no such name", "silence", "trouble"])
def test_no_network(where, server, tg, monkeypatch, tmp_path):
    quiet = socket.socket()
    quiet.bind(("127.0.0.1", 0))
    quiet.listen()
    silent = f"http://127.0.0.1:{quiet.getsockname()[1]}"
    urls = {"nobody listens": _closed(), "no such name": "http://hub.invalid", "silence": silent, "trouble": server.url}
    server.answer = 503
    _point(monkeypatch, urls[where], tmp_path / "hf")
    monkeypatch.setattr("textgen.hub._SECONDS", 1)
    says = "error 503; try again later" if where == "trouble" else "it cannot be reached"
    assert says in _timed(TextGen, "me/m") and says in _timed(tg.push_to_hub, "me/m")
    assert not [name for _, _, names in os.walk(tmp_path / "hf") for name in names]
    quiet.close()


def test_what_was_downloaded_is_there_without_a_network(server, tg, monkeypatch, tmp_path):
    tg.push_to_hub("me/m")
    texts = [s.text for s in TextGen("me/m", device="cpu").generate("The", max_new_tokens=5, seed=1)]
    _point(monkeypatch, _closed(), tmp_path / "hf")
    began = time.monotonic()
    back = TextGen("me/m", device="cpu")
    assert [s.text for s in back.generate("The", max_new_tokens=5, seed=1)] == texts and time.monotonic() - began < 10
    assert back.receipt == tg.receipt


def _call_on_full_disk(call, url, cache, limit, pipe):
    "In a process of its own: what a call says where no file may have more than `limit` bytes."
    import resource
    import tempfile

    with pytest.MonkeyPatch.context() as patch:
        _point(patch, url, cache)
        patch.setenv("TMPDIR", str(cache.parent / "tmp"))
        patch.setattr(tempfile, "tempdir", None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            pipe.send(f"gave: {eval(call)}")
        except TextGenError as e:
            pipe.send(f"said: {e}")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files")
@pytest.mark.parametrize("call", ["hub_folder('me/m')", "TextGen('{folder}', device='cpu').push_to_hub('me/n')"])
def test_a_full_disk(call, server, tg, model_folder, tmp_path, spare):
    "One line, and nothing half-written; nothing was made there, either."
    tg.push_to_hub("me/m")
    (tmp_path / "tmp").mkdir()
    ours, theirs = spare.Pipe()
    words = (call.format(folder=model_folder), server.url, tmp_path / "hf", 20_000, theirs)
    p = spare.Process(target=_call_on_full_disk, args=words)
    p.start()
    theirs.close()
    said = ours.recv()
    p.join(100)
    assert said.startswith("said: ") and "\n" not in said and "File too large; free some space" in said, said
    half = (".incomplete", ".safetensors")
    assert not [name for _, _, names in os.walk(tmp_path / "hf") for name in names if name.endswith(half)]
    assert not [*(tmp_path / "tmp").iterdir()] and "me/n" not in server.repos


def test_a_model_that_needs_permission_and_a_revision_that_is_none(server, tg):
    tg.push_to_hub("me/m")
    with pytest.raises(ModelError, match="it has no revision 'none'"):
        TextGen("me/m", revision="none")


# ---- a name on the command line
def test_what_looks_like_no_name_is_not_asked_for(server, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("./m", "m/", "a/b/c", "model.txt", "gs:/m"):
        said = cli("generate", name)
        assert said.code == 1 and f"no file or folder '{name}' here" in said.err, said.err
    said = cli("generate", "gtp2")
    assert said.code == 1 and "a name on the Hub has the form user/name; did you mean 'gpt2'?" in said.err
    assert not server.log
    said = cli("generate", "someone/something")
    assert said.code == 1 and "it has none of this name" in said.err and len(server.log) == 1
    check_on_hub(str(shutil.copytree(tmp_path, tmp_path / "x")))


def test_generate_from_the_hub(server, tg, cli):
    tg.push_to_hub("me/m")
    said = cli("generate", "me/m", "--prompt", "The sea", "--max-new-tokens", 3, "--json", "--seed", 1)
    assert said.code in (0, None) and json.loads(said.out.splitlines()[-1])["prompt"] == "The sea"
