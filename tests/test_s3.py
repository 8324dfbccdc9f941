"""Addresses of S3, against a server of moto's on this machine: what is written there comes back, and slips are said.

moto and s3fs are other people's programs: where one is absent, these tests are skipped, with a word.
"""

import json

import pytest

from textgen import CorpusError, ModelError, TextGen, TextGenError, TokenDataset, train_tokenizer
from textgen.info import describe_path
from textgen.remote import first_bytes, remote_files
from textgen.text.cache import is_cache
from textgen.training.callback import NoView

pytestmark = pytest.mark.slow
SHORT = dict(steps=4, save_every=2, batch_size=2, window=16, sample_every=0, seed=1, view=NoView())


@pytest.fixture(scope="module")
def shelf():
    "A bucket, as s3fs sees it."
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3,server]'")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install s3fs")
    with pytest.MonkeyPatch.context() as m:
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        host, port = running.get_host_and_port()
        keys = dict(AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_DEFAULT_REGION="us-east-1")
        for name, value in dict(keys, AWS_ENDPOINT_URL=f"http://{host}:{port}").items():
            m.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        fs = s3fs.S3FileSystem()
        fs.mkdir("shelf")
        fs.pipe("shelf/texts/a.txt", b"The sea is calm tonight.\n" * 300)
        yield fs
        running.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def cached(shelf):
    train_tokenizer("s3://shelf/texts/a.txt", vocab_size=270, save="s3://shelf/tok")
    return TokenDataset.from_files("s3://shelf/texts/a.txt", "s3://shelf/tok", save="s3://shelf/a.tokens")


def test_a_cache_and_its_tokenizer(shelf, cached):
    back = TokenDataset.load("s3://shelf/a.tokens")
    assert (back.tokens == cached.tokens).all() and back.check() and back.header["found"] == "s3://shelf/tok"
    assert back.decode(back[0]).startswith("The sea") and back.info["sources"] == [["s3://shelf/texts/a.txt", 1]]
    assert first_bytes("s3://shelf/texts/a.txt", 7) == b"The sea"
    assert is_cache("s3://shelf/a.tokens") and not is_cache("s3://shelf/texts/a.txt")
    back.save("s3://shelf/a.tokens", compress=None)
    assert (TokenDataset.load("s3://shelf/a.tokens").tokens == cached.tokens).all()
    assert describe_path("s3://shelf/tok")["kind"] == "tokenizer"


def test_a_training_goes_on(shelf, cached, tmp_path):
    "Saved there, resumed from there by another object, and as a training to a folder here would be."
    tg = TextGen.new("mini", "s3://shelf/tok", device="cpu")
    tg.train("s3://shelf/a.tokens", save_to="s3://shelf/m", **SHORT)
    names = set(remote_files("s3://shelf/m"))
    assert {"config.json", "model.safetensors", "textgen.json", "resume/state.json"} <= names
    assert not [path for path in shelf.find("shelf/m") if ".textgen-" in path]
    back = TextGen("s3://shelf/m", device="cpu")
    assert (back.receipt["model"], back.found) == (tg.receipt["model"], "s3://shelf/m")
    run = back.train("s3://shelf/a.tokens", save_to="s3://shelf/m", resume=True, **SHORT | dict(steps=6))
    here = TextGen.new("mini", "s3://shelf/tok", device="cpu")
    here.train(cached, save_to=tmp_path / "m", **SHORT)
    same = here.train(cached, save_to=tmp_path / "m", resume=True, **SHORT | dict(steps=6))
    assert run.losses == same.losses and len(run.losses) == 6
    assert TextGen("s3://shelf/m", device="cpu").receipt["steps"] == 6
    with pytest.raises(ModelError, match="holds another model"):
        TextGen.new("mini", "s3://shelf/tok").train(cached, save_to="s3://shelf/m", **SHORT)


@pytest.mark.parametrize("name", ["out.txt", "deep/er/out.jsonl"])
def test_texts_and_their_receipt(name, shelf, cached, tmp_path):
    tg = TextGen.new("mini", "s3://shelf/tok", device="cpu")
    tg.save("s3://shelf/new/model")
    ask = dict(n=3, max_new_tokens=4, seed=1)
    assert tg.generate_to_file(f"s3://shelf/{name}", **ask) == f"s3://shelf/{name}"
    here = tg.generate_to_file(tmp_path / name.rpartition("/")[2], **ask)
    assert shelf.cat(f"shelf/{name}") == here.read_bytes()
    receipt = json.loads(shelf.cat(f"shelf/{name}.receipt.json"))
    assert receipt["model"]["found"] == "s3://shelf/new/model"
    assert describe_path(f"s3://shelf/{name}")["matches_receipt"] == "yes"


def test_slips(shelf, cached):
    "A bucket that is none is not made; what somebody else has written stays."
    tg = TextGen.new("mini", "s3://shelf/tok", device="cpu")
    with pytest.raises(ModelError, match="s3://none/m.*cannot be written|s3://none/m"):
        tg.save("s3://none/m")
    with pytest.raises(TextGenError, match="s3://none/a.tokens"):
        TokenDataset.from_files("s3://shelf/texts/a.txt", "s3://shelf/tok", save="s3://none/a.tokens")
    assert shelf.ls("") == ["shelf"]
    with pytest.raises(ModelError, match="no folder that is whole"):
        TextGen("s3://shelf/none")
    shelf.pipe("shelf/own/notes.txt", b"mine")
    with pytest.raises(ModelError, match="not empty, and without"):
        tg.save("s3://shelf/own")
    with pytest.raises(TextGenError, match="textgen did not write it"):
        TokenDataset.from_files("s3://shelf/texts/a.txt", "s3://shelf/tok", save="s3://shelf/texts/a.txt")
    with pytest.raises(CorpusError, match="s3://shelf/nothing.txt"):
        TokenDataset.from_files("s3://shelf/nothing.txt", "s3://shelf/tok")
