"A kill at any moment leaves the previous state or the new one, whole."
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
import pytest
from textgen import Receipt, TextGen, TextGenError, TokenDataset
from textgen.core import recover
from textgen.generation.files import receipt_path, write_samples
from textgen.models.weights import model_hash
from textgen.text.codec import Codec
from textgen.text.tokenizer import save_tokenizer

# ---- what is saved: how to make it, in another process; and how to tell which state is there
def _model(source, path):
    tg = TextGen(source["model"], device="cpu")
    return lambda: tg.save(path)


def _tokenizer(source, path):
    tok = Codec(source["tokenizer"]).tokenizer
    return lambda: save_tokenizer(tok, path)


def _cache(source, path):
    data = TokenDataset.load(source["cache"])
    return lambda: data.save(path, source["compress"])


def _samples(source, path):
    out = TextGen(source["model"], device="cpu").generate("The", n=3, max_new_tokens=9, seed=source["seed"])
    return lambda: write_samples(out, path)


def _model_state(path):
    "The hash of the weights; the receipt and the tokenizer in the folder must be theirs."
    tg = TextGen(path, device="cpu")
    assert (
        tg.receipt["model"]["sha256"] == model_hash(tg.model)
        and tg.receipt["tokenizer"]["sha256"] == tg.codec.fingerprint
    )
    return model_hash(tg.model)
def _tokenizer_state(path): return Codec(path).fingerprint
def _cache_state(path):
    data = TokenDataset.load(path)
    assert data.check()
    return len(data.tokens)


def _samples_state(path):
    assert len(Receipt.load(receipt_path(path))["samples"]) == 3
    return path.read_bytes()


KINDS = dict(
    model=(_model, _model_state),
    tokenizer=(_tokenizer, _tokenizer_state),
    cache=(_cache, _cache_state),
    samples=(_samples, _samples_state),
)
kinds = pytest.mark.parametrize("kind", KINDS)

@pytest.fixture(scope="module")
def sources(model_folder, other_folder, tok_folder, cache, tok, tmp_path_factory):
    "Two of everything."
    from textgen import train_tokenizer
    d = tmp_path_factory.mktemp("sources")
    train_tokenizer(texts=["a b c "*99], vocab_size=260, save=d/"tok")
    TokenDataset.from_texts(["another text"]*99, tok).save(d/"c")
    return (dict(model=model_folder, tokenizer=tok_folder, cache=cache, compress="zstd", seed=1),
            dict(model=other_folder, tokenizer=d/"tok", cache=d/"c", compress=None, seed=2))


# ---- killed at every step
EVENTS = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.scandir",
    "os.listdir",
    "os.chmod",
    "os.utime",
    "shutil.rmtree",
    "shutil.copytree",
}


def _save_and_die(kind, source, path, step):
    "Save, and be killed just before the `step`-th thing that is done to a file in the folder of `path`."
    save, steps = KINDS[kind][0](source, path), itertools.count(1)
    def hook(event, args):
        if event in EVENTS and any(str(path.parent) in str(a) for a in args) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    save()

def _killed_at(spare, kind, source, path, step):
    "Whether a save was killed at this step; False where it ended before."
    p = spare.Process(target=_save_and_die, args=(kind, source, path, step))
    p.start()
    p.join()
    assert p.exitcode in (0, -signal.SIGKILL)
    return p.exitcode!=0

def _every_step(spare, sources, kind, folder, stride=1, check=lambda path: None):
    "Kill at every `stride`-th step of the second save; the states that were found, and how often there was a kill."
    seen, state, path = [], KINDS[kind][1], folder/"it"
    for step in itertools.count(1, stride):
        for o in list(folder.iterdir()): shutil.rmtree(o) if o.is_dir() else o.unlink()
        KINDS[kind][0](sources[0], path)()
        killed = _killed_at(spare, kind, sources[1], path, step)
        seen.append(state(path))
        check(path)
        if not killed: return seen, step//stride

@kinds
def test_killed_at_many_steps(spare, sources, kind, tmp_path):
    _killed_everywhere(spare, sources, kind, tmp_path, dict(model=17, tokenizer=5, cache=1, samples=4)[kind])


@pytest.mark.slow
@kinds
def test_killed_at_every_step(spare, sources, kind, tmp_path): _killed_everywhere(spare, sources, kind, tmp_path, 1)

def _killed_everywhere(spare, sources, kind, folder, stride):
    seen, kills = _every_step(spare, sources, kind, folder, stride)
    old, new = seen[0], seen[-1]
    assert kills>=3 and old!=new
    assert set(seen)=={old, new} and seen==sorted(seen, key=lambda s: s==new)  # old until some step, new from there on

@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_text_and_receipt_belong_together(spare, sources, tmp_path, stride):
    "Whenever the kill comes, the receipt beside a text speaks of this text."
    def pair(path):
        bill = Receipt.load(receipt_path(path))
        c = Codec(sources[0]["model"])
        assert all(c.decode(s["tokens"], partial=True) in path.read_text() for s in bill["samples"])
    _every_step(spare, sources, "samples", tmp_path, stride, check=pair)


# ---- killed at a random moment
def _save_for_ever(kind, sources, path, pipe):
    saves = [KINDS[kind][0](s, path) for s in sources]
    for k,save in enumerate(itertools.cycle(saves)):
        save()
        if k==1: pipe.send("saved twice")

def _random_kills(spare, sources, kind, folder, n):
    state, path, rng = KINDS[kind][1], folder/"it", random.Random(n)
    good = set()
    for s in sources:
        KINDS[kind][0](s, path)()
        good.add(state(path))
    for _ in range(n):
        ours, theirs = spare.Pipe()
        p = spare.Process(target=_save_for_ever, args=(kind, sources, path, theirs))
        p.start()
        ours.recv()
        time.sleep(rng.uniform(0, 0.1))
        p.kill()
        p.join()
        assert state(path) in good
    return path

@kinds
def test_killed_at_random(spare, sources, kind, tmp_path):
    "Three times; what the dead left lying about does not trouble the next save."
    path = _random_kills(spare, sources, kind, tmp_path, 3)
    KINDS[kind][0](sources[1], path)()
    again = KINDS[kind][1](path)
    assert again==(KINDS[kind][0](sources[1], tmp_path/"fresh")(), KINDS[kind][1](tmp_path/"fresh"))[1]

@pytest.mark.slow
@kinds
def test_killed_at_random_often(spare, sources, kind, tmp_path): _random_kills(spare, sources, kind, tmp_path, 20)


# ---- what else is in the folder
def _notes(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "logs").mkdir()
    (folder / "logs" / "day 1.txt").write_text("it rained")
    (folder / ".hidden").write_text("too")
    (folder.parent / "far").mkdir()
    (folder.parent / "far" / "large.txt").write_text("large")
    (folder / "link").symlink_to(folder.parent / "far")
    (folder/"broken").symlink_to("nowhere")

def _has_notes(folder):
    assert [(folder / n).read_text() for n in ("notes.txt", "logs/day 1.txt", ".hidden", "link/large.txt")] == [
        "mine",
        "it rained",
        "too",
        "large",
    ]
    assert (folder/"broken").is_symlink()

def test_notes_survive(sources, tmp_path):
    "Through saves of another model, and through training into the folder."
    shutil.copytree(sources[0]["model"], tmp_path/"m")
    _notes(tmp_path/"m")
    for k in (1, 0, 1):
        _model(sources[k], tmp_path / "m")()
        _has_notes(tmp_path / "m")
    tg = TextGen(tmp_path/"m", device="cpu")
    tg.train(sources[0]["cache"], steps=4, batch_size=1, save_every=2, sample_every=0, save_to=tmp_path/"m")
    _has_notes(tmp_path / "m")
    assert Receipt.load(tmp_path / "m" / "textgen.json")["steps"] == 4


def test_a_link_stays_a_link(sources, tmp_path):
    "What it points to may be huge and lie on another disk."
    shutil.copytree(sources[0]["model"], tmp_path / "m")
    _notes(tmp_path / "m")
    _model(sources[1], tmp_path/"m")()
    assert (tmp_path/"m"/"link").is_symlink()

def test_notes_survive_kills(spare, sources, tmp_path):
    shutil.copytree(sources[0]["model"], tmp_path / "m")
    _notes(tmp_path / "m")
    for step in range(1, 400, 40):
        _killed_at(spare, "model", sources[step // 40 % 2], tmp_path / "m", step)
        _has_notes(tmp_path / "m")


def test_old_weights_do_not_stay(sources, tmp_path):
    "Shards, a pickle and an adapter of an earlier model would be loaded in place of the new weights."
    shutil.copytree(sources[0]["model"], tmp_path/"m")
    for n in (
        "model-00001-of-00002.safetensors",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "pytorch_model-00001-of-00002.bin",
        "adapter_model.safetensors",
        "adapter_config.json",
    ):
        (tmp_path / "m" / n).write_text("old")
    (tmp_path / "m" / "model.safetensors.index.json").write_text(
        json.dumps(dict(metadata={}, weight_map={"transformer.wte.weight": "model-00001-of-00002.safetensors"}))
    )
    _model(sources[1], tmp_path/"m")()
    assert _model_state(tmp_path/"m")==_model_state(sources[1]["model"])
    assert [p.name for p in (tmp_path/"m").iterdir() if p.read_bytes()==b"old"]==[]

def test_a_saved_folder_through_a_link(sources, tmp_path):
    "A link to a folder stays one; the folder behind it is replaced."
    shutil.copytree(sources[0]["model"], tmp_path / "real")
    (tmp_path / "m").symlink_to("real")
    _model(sources[1], tmp_path/"m")()
    assert (tmp_path/"m").is_symlink() and _model_state(tmp_path/"real")==_model_state(sources[1]["model"])

def test_a_saved_file_through_a_link(sources, tmp_path):
    "The same holds for files."
    (tmp_path / "real").write_text("old")
    (tmp_path / "c").symlink_to("real")
    _cache(sources[0], tmp_path/"c")()
    assert (tmp_path/"c").is_symlink() and _cache_state(tmp_path/"real")==_cache_state(sources[0]["cache"])

def test_saved_where_one_stands(sources, tmp_path, monkeypatch):
    "`save('.')`: afterwards the current folder still is one, with the model in it; or it is refused."
    shutil.copytree(sources[0]["model"], tmp_path / "m")
    monkeypatch.chdir(tmp_path / "m")
    try: _model(sources[1], ".")()
    except TextGenError: return
    assert os.path.exists("config.json") and os.getcwd()==str(tmp_path/"m")


# ---- where folders cannot be swapped in one step
@pytest.fixture
def between(sources, tmp_path):
    "The moment between the two renames: the old folder is aside, the new one not yet there."
    shutil.copytree(sources[0]["model"], tmp_path / ".m.previous")
    shutil.copytree(sources[1]["model"], tmp_path / ".m.tmp-1-1")
    return tmp_path/"m"

def test_recovered_by_loading(between, sources): assert _model_state(between)==_model_state(sources[0]["model"])
def test_recovered_by_saving(between, sources):
    _model(sources[1], between)()
    assert _model_state(between) == _model_state(sources[1]["model"])


def test_recovered_by_name(between):
    assert recover(between) == between and between.is_dir() and not (between.parent / ".m.previous").exists()


@pytest.mark.parametrize(
    "command",
    [("info", "{}"), ("generate", "{}", "--max-new-tokens", 2), ("generate", "{}/", "--max-new-tokens", 2)],
    ids=str,
)
def test_recovered_by_commands(between, cli, command):
    assert cli(*(str(a).format(between) for a in command)).code == 0


def test_a_stale_previous_is_not_preferred(sources, tmp_path):
    "Killed after the second rename: the new one is there, and is what counts."
    shutil.copytree(sources[0]["model"], tmp_path / ".m.previous")
    shutil.copytree(sources[1]["model"], tmp_path / "m")
    assert _model_state(tmp_path/"m")==_model_state(sources[1]["model"])
    _model(sources[0], tmp_path/"m")()
    assert _model_state(tmp_path/"m")==_model_state(sources[0]["model"]) and not (tmp_path/".m.previous").exists()
