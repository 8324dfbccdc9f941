"Runs that are killed, resumed, stopped and starved, in processes of their own."
import json,os,random,signal,threading,time
import pytest
from textgen import Receipt, TextGen, TextGenError
from textgen.callback import Control, NoView
from textgen.core import TrainError
from textgen.model import model_hash

SETTINGS = dict(steps=240, batch_size=2, accumulate=2, save_every=4, sample_every=0, seed=3, precision="fp32", validation=.05)

# ---- killed and resumed
def _data(kind, cache):
    "What is trained on."
    from textgen import Mixture, Task
    from textgen.task import prefix_lm
    if kind=="windows": return cache
    return "poems" if kind=="task" else Mixture(["poems", Task("lines", cache, prefix_lm(length=40))], rates=[1, 2])

def _train(tok_folder, kind, cache, folder, pipe, **kw):
    "One attempt: from the last save to the end, unless it is killed."
    import pytorch_lightning as pl
    from transformers import GPT2Config
    from textgen.tokenizer import load_tokenizer
    class Began(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, k):
            if k==0: pipe.send("began")
    tok = load_tokenizer(tok_folder)
    tg = TextGen.new(GPT2Config(vocab_size=len(tok), n_layer=2, n_head=2, n_embd=32, n_positions=64, bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id), tok, seed=1, device="cpu")
    run = tg.train(_data(kind, cache), save_to=folder, view=NoView(), callbacks=(Began(),), **{**SETTINGS, **kw})
    pipe.send((run.losses, run.validation, model_hash(tg.model)))

def _attempt(spare, *args, kill=None, **kw):
    "The result of an attempt, or None where it was killed `kill` seconds after its first step."
    ours, theirs = spare.Pipe()
    p = spare.Process(target=_train, args=(*args, theirs), kwargs=kw)
    p.start(); theirs.close()
    try:
        said = ours.recv()
        if said=="began" and kill is not None: time.sleep(kill); p.kill()
        if said=="began": said = ours.recv()
    except EOFError: said = None
    p.join()
    assert p.exitcode in (0, -signal.SIGKILL)
    return said

def _killed(spare, tok_folder, kind, cache, folder, n):
    "Killed at `n` random moments, it ends as if it had never been; dropout is on."
    rng, kills = random.Random(n), 0
    whole = _attempt(spare, tok_folder, kind, cache, folder/"whole")
    while (got := _attempt(spare, tok_folder, kind, cache, folder/"cut", resume=True, kill=rng.uniform(0, .3) if kills<n else None)) is None: kills += 1
    assert kills==n and len(got[0])==SETTINGS["steps"]
    assert got==whole
    assert Receipt.load(folder/"cut"/"textgen.json")["model"]["sha256"]==whole[2]==model_hash(TextGen(folder/"cut", device="cpu").model)
    assert [o.name for o in (folder/"cut").parent.iterdir() if "tmp" in o.name]==[]  # what the dead left is swept away

KINDS = ["windows", "task", "mixture"]
@pytest.mark.parametrize("kind", KINDS)
def test_killed_three_times(spare, tok_folder, cache, tmp_path, kind): _killed(spare, tok_folder, kind, cache, tmp_path, 3)

@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_twenty_times(spare, tok_folder, cache, tmp_path, kind): _killed(spare, tok_folder, kind, cache, tmp_path, 20)


# ---- resumed by other means
def test_resumed_from_the_terminal(shell, tok_folder, cache, tmp_path):
    "The same command with --resume goes on; without a save it begins; something changed is refused, and --force takes it."
    args = ["train", cache, "--new", "mini", "--tokenizer", tok_folder, "--out", tmp_path/"m", "--batch-size", 1, "--sample-every", 0, "--window", 16, "--resume"]
    first = shell(*args, "--steps", 3)
    assert first.code==0 and "from the beginning" in first.err
    again = shell(*args, "--steps", 3)
    assert again.code==0 and "resumed after step 3 of 3" in again.err
    other = shell(*args, "--steps", 3, "--lr", 0.001)
    assert other.code==1 and "lr was 0.01, now 0.001" in other.err and "Traceback" not in other.err
    more = shell(*args, "--steps", 5, "--force")
    assert more.code==0 and Receipt.load(tmp_path/"m"/"textgen.json")["steps"]==5

def test_a_damaged_state_is_said_to_be_one(tiny, tok, data, tmp_path):
    tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path/"m", sample_every=0, view=NoView())
    (tmp_path/"m"/"resume"/"state.safetensors").write_bytes(b"cut")
    with pytest.raises(TrainError, match="cannot be read.*start again without resume"): tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path/"m", sample_every=0, resume=True, view=NoView())

def test_no_state_when_not_wanted(tiny, tok, data, tmp_path):
    tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path/"m", sample_every=0, resume_state=False, view=NoView())
    assert not (tmp_path/"m"/"resume").exists()

def test_the_state_stays_behind(tiny, tok, data, tmp_path):
    "A model that is saved elsewhere takes no training state along; one that is saved anew leaves none that is not its own."
    tg = tiny(tok)
    tg.train(data, steps=2, batch_size=1, save_to=tmp_path/"m", sample_every=0, view=NoView())
    tg.save(tmp_path/"n"); tg.save(tmp_path/"m")
    assert not (tmp_path/"n"/"resume").exists() and not (tmp_path/"m"/"resume").exists()


# ---- what goes wrong on the way
def _nan_after(k):
    import pytorch_lightning as pl
    class Spoil(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, i):
            if i==k: next(module.net.parameters()).data.fill_(float("nan"))
    return Spoil()

def test_nan_stops(tiny, tok, data, tmp_path):
    "With the step and the learning rate; the last good save is kept, and can be resumed."
    s = dict(steps=8, batch_size=2, save_every=2, save_to=tmp_path/"m", sample_every=0, view=NoView())
    with pytest.raises(TrainError, match=r"loss became nan at step 6 \(learning rate 0.00\d+\).*lr=0.003"): tiny(tok).train(data, callbacks=(_nan_after(5),), **s)
    assert Receipt.load(tmp_path/"m"/"textgen.json")["steps"]==4
    assert len(tiny(tok).train(data, resume=True, **s).losses)==8

class _Limit:
    "A view that fills the disk after so many updates: no file may grow beyond some bytes from then on."
    def __init__(self, after, size): self.after, self.size, self.notes = after, size, []
    def start(self, steps, first): pass
    def note(self, text): self.notes.append(text)
    def update(self, step, *args):
        import resource
        if step>=self.after: resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))
    def sample(self, *args): pass
    def end(self): pass

def _on_full_disk(tok_folder, cache, folder, pipe):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from transformers import GPT2Config
    from textgen.tokenizer import load_tokenizer
    tok, view = load_tokenizer(tok_folder), _Limit(4, 10_000)
    tg = TextGen.new(GPT2Config(vocab_size=len(tok), n_layer=2, n_head=2, n_embd=32, n_positions=64), tok, device="cpu")
    try: tg.train(cache, steps=8, batch_size=1, save_every=2, sample_every=0, save_to=folder, view=view)
    except TextGenError as e: pipe.send((str(e), view.notes))

def test_full_disk_keeps_the_previous_save(spare, tok_folder, cache, tmp_path):
    ours, theirs = spare.Pipe()
    p = spare.Process(target=_on_full_disk, args=(tok_folder, cache, tmp_path/"m", theirs)); p.start()
    error, notes = ours.recv(); p.join()
    assert "the trained model is in memory" in error
    assert sum("the next save tries again" in n for n in notes)==3
    assert TextGen(tmp_path/"m", device="cpu").receipt["steps"]==2

def test_ctrl_c_saves(spare, tok_folder, cache, tmp_path):
    "The first one ends the run after the step, saved and returned."
    ours, theirs = spare.Pipe()
    p = spare.Process(target=_train, args=(tok_folder, "windows", cache, tmp_path/"m", theirs), kwargs=dict(steps=10**6, save_every=0)); p.start()
    assert ours.recv()=="began"
    time.sleep(.3); os.kill(p.pid, signal.SIGINT)
    losses, _, hash = ours.recv(); p.join()
    r = Receipt.load(tmp_path/"m"/"textgen.json")
    assert p.exitcode==0 and 0<len(losses)<10**6 and (r["steps"], r["model"]["sha256"])==(len(losses), hash)


# ---- from another thread
def test_pause_and_stop(tiny, tok, data):
    control, seen = Control(), []
    class View(NoView):
        def update(self, step, *args): seen.append(step)
    t = threading.Thread(target=lambda: seen.append(tiny(tok).train(data, steps=10**6, batch_size=1, sample_every=0, view=View(), control=control))); t.start()
    while not seen: time.sleep(.01)
    control.pause(); time.sleep(.5); a = len(seen); time.sleep(.6)
    assert len(seen)==a and t.is_alive()
    control.go_on(); time.sleep(.6)
    assert len(seen)>a
    control.stop(); t.join(10)
    assert not t.is_alive() and seen[-1].stopped


# ---- with Lightning's own means
def test_loggers_and_trainer_arguments(tiny, tok, data, tmp_path):
    run = tiny(tok).train(data, steps=20, batch_size=1, sample_every=0, save_to=tmp_path/"m", loggers="csv", trainer=dict(log_every_n_steps=5), view=NoView())
    table = next((tmp_path/"m-logs").rglob("metrics.csv")).read_text()
    assert "loss" in table and "lr" in table and "grad_norm" in table and len(table.splitlines())==5
    with pytest.raises(TrainError, match="Lightning cannot train so"): tiny(tok).train(data, steps=1, trainer=dict(no_such_thing=1), view=NoView())
    assert len(run.losses)==20

def test_the_receipt_tells_what_was_decided(tiny, tok, data, tmp_path):
    tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path/"m", sample_every=0, view=NoView())
    s = json.loads((tmp_path/"m"/"textgen.json").read_text())["settings"]
    assert (s["optimizer"], s["schedule"], s["lr"], s["weight_decay"])==("muon", "linear", 0.01, .1) and s["precision"] in ("fp32", "bf16")
