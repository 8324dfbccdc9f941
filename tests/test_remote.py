"Saving to addresses and loading from them: a kill at any moment leaves the old, the new, or a clear error."

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from textgen import CacheError, GenerateError, ModelError, TextGen, TextGenError, TokenDataset, TrainError
from textgen import train_tokenizer
from textgen.remote import MANIFEST, fetch_file, fetch_folder, send_files, send_folder
from textgen.text.cache import is_cache
from textgen.text.codec import Codec
from textgen.training.callback import NoView

SHORT = dict(batch_size=2, sample_every=0, seed=3, view=NoView(), device="cpu")


def empty():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
    "An empty bucket, and a cache of its own."
    monkeypatch.setenv("TEXTGEN_CACHE", str(tmp_path / "cache"))
    empty()
    yield fsspec.filesystem("memory")
    empty()


# ---- kills
class Killed(BaseException):
    "The process is gone: nothing that comes after it is done, either."


class Mortal(MemoryFileSystem):
    "The memory, until its process is killed at an operation; `half` of the bytes of that one are still written."

    protocol = "mortal"
    cachable = False
    left, half = 10**9, False

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("mortal://", "memory://"))

    def _step(self, path=None, data=b""):
        Mortal.left -= 1
        if Mortal.left >= 0:
            return
        if Mortal.left == -1 and Mortal.half and path:
            MemoryFileSystem.pipe_file(self, path, data[: len(data) // 2])
        raise Killed

    def put_file(self, local, path, **kwargs):
        with open(local, "rb") as f:
            data = f.read()
        self._step(path, data)
        MemoryFileSystem.pipe_file(self, path, data)

    def pipe_file(self, path, data, **kwargs):
        self._step(path, data)
        MemoryFileSystem.pipe_file(self, path, data)

    def cp_file(self, a, b, **kwargs):
        self._step(b, self.store[self._strip_protocol(a)].getvalue())
        super().cp_file(a, b, **kwargs)

    def mv(self, a, b, **kwargs):
        self.cp_file(a, b)
        self.rm_file(a)

    def rm_file(self, path):
        self._step()
        MemoryFileSystem.rm_file(self, path)

    def rm(self, path, **kwargs):
        self._step()
        super().rm(path, **kwargs)


fsspec.register_implementation("mortal", Mortal, clobber=True)


def _written(folder, word):
    "A folder of files that all say the same; the second version lacks one and has another."
    for name in ("config.json", "model.safetensors", "resume/state.json", f"only-{word}.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{word} in {name}, {word * 20}")
    return folder


def _read(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("half", [False, True], ids=["whole", "half"])
def test_a_kill_at_every_operation(half, tmp_path, bucket):
    old, new = _written(tmp_path / "a", "old"), _written(tmp_path / "b", "new")
    allowed, seen = [_read(old), _read(new)], []
    for k in range(1000):
        empty()
        send_folder(old, "memory://m")
        Mortal.left, Mortal.half = k, half
        try:
            send_folder(new, "mortal://m")
        except Killed:
            pass
        finished = Mortal.left >= 0
        Mortal.left = 10**9
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        try:
            found = allowed.index(_read(fetch_folder("memory://m")))
        except TextGenError as e:
            assert half and "is damaged; save the folder again" in str(e)
            found = None
        seen.append(found)
        send_folder(new, "memory://m") if found is not None else None
        if finished:
            break
    assert finished and seen.count(0) >= 4 and seen.count(1) >= 4
    assert seen.count(None) == (2 if half else 0)  # while the list itself is written
    if not half:
        assert seen == sorted(seen)


@pytest.mark.parametrize("half", [False, True], ids=["whole", "half"])
def test_a_kill_while_files_are_sent(half, tmp_path, bucket, data):
    "A cache that is cut is refused, and what is there before stays as long as the new one is on its way."
    data.save("memory://m/a.tokens")
    before = bucket.cat("/m/a.tokens")
    whole = data.split(0.5)[0].save(tmp_path / "b.tokens")
    for k in range(4):
        bucket.pipe_file("/m/a.tokens", before)
        Mortal.left, Mortal.half = k, half
        try:
            send_files({whole: "mortal://m/a.tokens"})
        except Killed:
            pass
        Mortal.left = 10**9
        try:
            found = len(TokenDataset.load("memory://m/a.tokens").tokens)
            assert found in (len(data.tokens), len(TokenDataset.load(whole).tokens))
        except CacheError as e:
            assert half and k == 1 and "memory://m/a.tokens" in str(e)


def test_what_was_given_up_is_removed(tmp_path, bucket):
    "The folder of a save that was killed goes with the next one, when it is a day old."
    folder = _written(tmp_path / "a", "old")
    send_folder(folder, "memory://m")
    long_ago, now = f".textgen-{int(time.time()) - 90_000}-ab", f".textgen-{int(time.time()) - 60}-cd"
    for stage in (long_ago, now):
        bucket.pipe_file(f"/m/{stage}/config.json", b"{}")
    send_folder(folder, "memory://m")
    names = {p.split("/")[2] for p in bucket.find("/m")}
    assert long_ago not in names and now in names and MANIFEST in names


ALTERNATE = """
import sys
from pathlib import Path
from textgen.remote import send_folder
a, b = map(Path, sys.argv[1:3])
while True:
    for o in (a, b):
        send_folder(o, sys.argv[3])
        print(".", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_a_real_kill(tmp_path):
    "A process that saves one folder after the other to a disk by its address is killed at any moment."
    folders = [_written(tmp_path / word, word) for word in ("old", "new")]
    for i in range(30):
        for f in folders:
            (f / f"more-{i}.txt").write_text(f"{f.name} {i}")
    allowed, address = [_read(f) for f in folders], f"file://{tmp_path}/there/m"
    draw = random.Random(0)
    for _ in range(4):
        p = subprocess.Popen([sys.executable, "-c", ALTERNATE, *map(str, folders), address], stdout=subprocess.PIPE)
        p.stdout.readline()
        time.sleep(draw.random() / 5)
        p.send_signal(signal.SIGKILL)
        p.wait()
        p.stdout.close()
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        try:
            assert _read(fetch_folder(address)) in allowed
        except TextGenError as e:
            assert "is damaged; save the folder again" in str(e)
            (tmp_path / "there" / "m" / MANIFEST).unlink()
            shutil.rmtree(tmp_path / "there")


# ---- models
def test_a_model(tg, bucket, tmp_path):
    "Saved, loaded, and the same; plain transformers loads what lies there."
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found, receipt = tg.found, tg.receipt
    try:
        assert tg.save("memory://models/m/") == "memory://models/m/"
    finally:
        tg.found = found
    back = TextGen("memory://models/m", device="cpu")
    ask = dict(n=2, max_new_tokens=12, seed=5)
    texts = [s.text for s in tg.generate("The sea", **ask)]
    assert [s.text for s in back.generate("The sea", **ask)] == texts
    assert (back.found, back.receipt, back.codec.fingerprint) == ("memory://models/m", receipt, tg.codec.fingerprint)
    assert Codec("memory://models/m").ends == tg.codec.ends
    bucket.get("/models/m/", str(tmp_path / "plain"), recursive=True)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    ids = AutoTokenizer.from_pretrained(tmp_path / "plain")("The sea", return_tensors="pt").input_ids
    assert plain.generate(ids, do_sample=False, max_new_tokens=5).tolist()[0][ids.shape[1] :] == (
        back.generate("The sea", temperature=0, max_new_tokens=5)[0].tokens
    )


def test_training_goes_on_where_it_was(tiny, tok, data, tmp_path):
    "Half a run there, and the rest after a resumption: the losses and the weights of a run here."
    from textgen.models.weights import model_hash

    straight, half, rest = tiny(tok, 1), tiny(tok, 1), tiny(tok, 1)
    how = dict(SHORT, schedule="constant", warmup=1)
    half.train(data, steps=2, save_to="memory://m", **how)
    losses = straight.train(data, steps=4, save_to=tmp_path / "c", **how).losses
    run = rest.train(data, steps=4, save_to="memory://m", resume=True, **how)
    assert run.losses == losses and run.folder == "memory://m" and rest.found == "memory://m"
    assert model_hash(TextGen("memory://m", device="cpu").model) == model_hash(straight.model)


def test_nothing_to_resume(tiny, tok, data):
    run = tiny(tok).train(data, steps=1, save_to="memory://new", resume=True, **SHORT)
    assert run.steps == 1 and TextGen("memory://new", device="cpu").receipt["steps"] == 1


def test_another_model_is_not_replaced(tiny, tok, data, bucket):
    tiny(tok).save("memory://m")
    with pytest.raises(ModelError, match="memory://m holds another model"):
        tiny(tok, 1).train(data, steps=1, save_to="memory://m", **SHORT)
    TextGen("memory://m", device="cpu").train(data, steps=1, save_to="memory://m", **SHORT)
    with pytest.raises(TrainError, match="keep=2 keeps earlier saves beside a folder .* leave out keep="):
        tiny(tok).train(data, steps=1, save_to="memory://n", keep=2, **SHORT)
    bucket.pipe_file("/letters/a.txt", b"dear")
    with pytest.raises(ModelError, match="not empty, and without"):
        tiny(tok).save("memory://letters")
    with pytest.raises(TextGenError, match="not empty, and without"):
        train_tokenizer(texts=["the sea " * 90], vocab_size=260, save="memory://letters")
    assert bucket.find("/letters") == ["/letters/a.txt"]


@pytest.mark.parametrize("damage", ["cut", "gone", "no list"])
def test_half_a_model_is_none(damage, tg, bucket):
    tg.found, found = tg.found, tg.found
    tg.save("memory://m")
    tg.found = found
    weights = "/m/model.safetensors"
    if damage == "cut":
        bucket.pipe_file(weights, bucket.cat(weights)[:-100])
    else:
        bucket.rm_file(weights if damage == "gone" else f"/m/{MANIFEST}")
    says = "no folder that is whole" if damage == "no list" else "model.safetensors is not as textgen-files.json says"
    with pytest.raises(ModelError, match=says):
        TextGen("memory://m", device="cpu")


# ---- data and texts
def test_data(data, tok, tiny, bucket, tmp_path):
    address = "memory://data/poems.tokens"
    for compress in ("zstd", None):
        assert data.save(address, compress=compress) == address
        back = TokenDataset.load(address)
        assert (back.tokens == data.tokens).all() and back.fingerprint == data.fingerprint and back.check()
    assert is_cache(address) and not is_cache("memory://data/none.tokens") and not is_cache("memory://data")
    one, other = tiny(tok, 1), tiny(tok, 1)
    assert one.train(address, steps=2, **SHORT).losses == other.train(data, steps=2, **SHORT).losses
    (tmp_path / "a.txt").write_text("the sea, the sea " * 50)
    made = TokenDataset.from_files(tmp_path / "a.txt", tok, save="memory://data/a.tokens")
    assert (TokenDataset.load("memory://data/a.tokens").tokens == made.tokens).all()
    bucket.pipe_file("/data/poems.tokens", bucket.cat("/data/poems.tokens")[:-10])
    with pytest.raises(CacheError, match="memory://data/poems.tokens: .* it was cut short"):
        TokenDataset.load(address)
    bucket.pipe_file("/data/letter", b"dear")
    with pytest.raises(CacheError, match="memory://data/letter is there already"):
        TokenDataset.from_files(tmp_path / "a.txt", tok, save="memory://data/letter")


def test_a_tokenizer(tok, bucket):
    made = train_tokenizer(texts=["the sea is calm tonight " * 90], vocab_size=270, save="memory://tok")
    back = Codec("memory://tok")
    assert back.fingerprint == Codec(made).fingerprint == Codec("memory://tok/tokenizer.json").fingerprint
    assert back.tokenizer.name_or_path == "memory://tok"
    data = TokenDataset.from_texts(["the sea"], "memory://tok", save="memory://a.tokens")
    assert TokenDataset.load("memory://a.tokens").decode(data.tokens[:-1]) == "the sea"


def test_texts(tg, tmp_path, bucket):
    ask = dict(n=5, max_new_tokens=8, seed=2)
    here = tg.generate_to_file(tmp_path / "a.jsonl", "The", **ask)
    assert tg.generate_to_file("memory://out/a.jsonl", "The", **ask) == "memory://out/a.jsonl"
    assert bucket.cat("/out/a.jsonl") == here.read_bytes()
    receipts = bucket.cat("/out/a.jsonl.receipt.json"), (tmp_path / "a.jsonl.receipt.json").read_bytes()
    assert json.loads(receipts[0]) == json.loads(receipts[1])
    tg.generate_to_file("memory://out/a.jsonl", "A", **ask)
    assert bucket.cat("/out/a.jsonl") != here.read_bytes()


def test_texts_go_on(tg, tmp_path, monkeypatch, bucket):
    "What was written before a kill is not written again."
    import textgen.generation.files as files

    ask, noted = dict(n=6, max_new_tokens=8, seed=2), []
    real = files._note_row

    def stop_after_three(*args):
        noted.append(args)
        if len(noted) == 4:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(files, "_note_row", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        tg.generate_to_file("memory://out/b.txt", "The", **ask)
    assert not bucket.exists("/out/b.txt")
    tg.generate_to_file("memory://out/b.txt", "The", **ask)
    assert len(noted) == 7  # three, the one that was stopped, three
    assert bucket.cat("/out/b.txt") == tg.generate_to_file(tmp_path / "b.txt", "The", **ask).read_bytes()


def test_texts_that_cannot_be_sent_are_not_lost(tg, bucket):
    def fail(self, *args, **kwargs):
        raise OSError("the line is dead")

    with pytest.MonkeyPatch.context() as m:
        m.setattr(MemoryFileSystem, "put_file", fail)
        with pytest.raises(GenerateError, match="cannot be written .the line is dead.; the texts are in") as e:
            tg.generate_to_file("memory://out/c.txt", "The", n=2, max_new_tokens=4, seed=1)
    assert Path(str(e.value).split("the texts are in ")[1]).read_text().startswith("The")


# ---- names from outside
@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_a_name_that_leads_out_is_refused(name, bucket, tmp_path):
    listed = dict(at="", files={name: dict(size=4, sha256="0")})
    bucket.pipe_file(f"/m/{MANIFEST}", json.dumps(listed).encode())
    with pytest.raises(TextGenError, match="is damaged; save the folder again"):
        fetch_folder("memory://m")
    bucket.pipe_file(f"/m/{MANIFEST}", json.dumps(dict(at=name, files={})).encode())
    with pytest.raises(TextGenError, match="is damaged; save the folder again"):
        fetch_folder("memory://m")
    assert not [*tmp_path.rglob("evil")]


BAD_LISTS = ["[]", "{}", '{"at": "", "files": 3}', '{"at": "", "files": {"a": 1}}', "nonsense", ""]


@pytest.mark.parametrize("listed", BAD_LISTS)
def test_a_list_that_is_none(listed, bucket):
    bucket.pipe_file(f"/m/{MANIFEST}", listed.encode())
    with pytest.raises(TextGenError, match="is damaged; save the folder again"):
        fetch_folder("memory://m")


def test_a_file_that_ends_too_early(bucket, monkeypatch):
    bucket.pipe_file("/a.txt", b"the sea")
    monkeypatch.setattr(MemoryFileSystem, "get_file", lambda self, a, b, **kw: open(b, "wb").write(b"the"))
    with pytest.raises(TextGenError, match="ends too early, it should have 7 bytes"):
        fetch_file("memory://a.txt")
    monkeypatch.undo()


# ---- the command line
def test_commands(cli, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the sea is calm tonight, " * 60)
    steps = [
        "tokenizer a.txt --vocab-size 260 --out memory://tok",
        "encode a.txt --tokenizer memory://tok --out memory://a.tokens",
        "train memory://a.tokens --new mini --tokenizer memory://tok --steps 1 --batch-size 1 --window 16 --out memory://m",
        "train memory://a.tokens --model memory://m --steps 1 --batch-size 1 --window 16 --out memory://m",
        "generate memory://m --max-new-tokens 3 --seed 1",
        "generate memory://m --max-new-tokens 3 --seed 1 -n 2 --out memory://texts.txt",
        "info memory://m",
    ]
    for step in steps:
        said = cli(*step.split())
        assert said.code in (0, None), (step, said.err)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["a.txt"]
    missing = cli("generate", "memory://none", "--max-new-tokens", 3)
    assert missing.code == 1 and missing.err.count("\n") == 1 and "no folder that is whole" in missing.err
