"Runs that are killed, resumed, stopped and starved, in processes of their own."

import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from types import SimpleNamespace
import pytest
from textgen import Receipt, TextGen, TextGenError
from textgen.training.callback import Control, NoView
from textgen.training.checkpoint import ARITHMETIC, STATE_FORMAT
from textgen.core import TrainError
from textgen.models.weights import model_hash

SETTINGS = dict(batch_size=2, accumulate=2, save_every=4, sample_every=0, seed=3, precision="fp32", validation=0.05)


# ---- the loss that is shown
@pytest.mark.slow  # that the orders of the epochs differ is in test_batch.py
@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_of_the_batches_is_that_of_the_text(tok, seed):
    "Forty epochs: with windows in nearly the same order each time, batches end 0.4 to 0.6 below the text."
    from transformers import GPT2Config
    from textgen import TokenDataset
    from textgen.text.corpus import bundled, documents

    data = TokenDataset.from_texts([d.text for d in list(documents(bundled("poems")))[:4]], tok)
    config = GPT2Config(
        vocab_size=len(tok),
        n_layer=2,
        n_head=2,
        n_embd=64,
        n_positions=64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
    )
    tg = TextGen.new(config, tok, seed=seed, device="cpu")
    steps = 40 * len(data.tokens) // (2 * 64)
    run = tg.train(data, steps=steps, batch_size=2, window=64, seed=seed, sample_every=0, view=NoView())
    last = run.losses[-steps // 10 :]
    assert abs(sum(last) / len(last) - tg.evaluate(data, window=64).loss) < 0.06


# ---- fp16
@pytest.fixture
def norms(monkeypatch):
    "The length of each step's gradient, as the runs measure it."
    from textgen.training.module import TrainModule

    clip, found = TrainModule._clip, []

    def noted(self):
        norm = clip(self)
        found.append(float(norm))
        return norm

    monkeypatch.setattr(TrainModule, "_clip", noted)
    return found


def _in_float16():
    "Lightning's precision of a GPU, on the CPU."
    import torch
    from pytorch_lightning.plugins import MixedPrecision

    return dict(precision=None, plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))])


@pytest.mark.parametrize("chunk", [1, 1 << 24])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_gradients_that_lightning_has_scaled(tiny, tok, data, optimizer, chunk, norms, monkeypatch):
    "Clipped as those of float32 are: what most free GPUs train with; also where logits come in chunks."
    monkeypatch.setattr("textgen.training.losses.CHUNK", chunk)
    ask = dict(SETTINGS, validation=0, save_every=0, accumulate=1, steps=8, clip=0.5, optimizer=optimizer)
    runs = [tiny(tok).train(data, view=NoView(), **ask, **more) for more in ({}, dict(trainer=_in_float16()))]
    losses, half = (run.losses for run in runs)
    assert losses[0] - losses[-1] > 0.02 and len(norms) == 16 and min(norms) > 0.5  # every gradient is too long
    assert losses == pytest.approx(half, abs=0.02) and norms[:8] == pytest.approx(norms[8:], rel=0.05)


# ---- killed and resumed
def _data(kind, cache):
    "What is trained on."
    from textgen import Mixture

    return dict(windows=cache, task="poems", mixture=Mixture(["poems", "news"], rates="equal"))[kind]


def _train(tok_folder, kind, cache, folder, pipe, **kw):
    "One attempt: from the last save to the end, unless it is killed."
    import pytorch_lightning as pl
    from transformers import GPT2Config
    from textgen.text.pretrained import load_tokenizer

    class Began(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, k):
            if k == 0:
                pipe.send("began")

    tok = load_tokenizer(tok_folder)
    tg = TextGen.new(
        GPT2Config(
            vocab_size=len(tok),
            n_layer=2,
            n_head=2,
            n_embd=32,
            n_positions=64,
            bos_token_id=tok.bos_token_id,
            eos_token_id=tok.eos_token_id,
        ),
        tok,
        seed=1,
        device="cpu",
    )
    run = tg.train(_data(kind, cache), save_to=folder, view=NoView(), callbacks=(Began(),), **{**SETTINGS, **kw})
    pipe.send((run.losses, run.validation, model_hash(tg.model)))


def _attempt(spare, *args, kill=None, **kw):
    "The result of an attempt, or None where it was killed `kill` seconds after its first step."
    ours, theirs = spare.Pipe()
    p = spare.Process(target=_train, args=(*args, theirs), kwargs=kw)
    p.start()
    theirs.close()
    try:
        said = ours.recv()
        if said == "began" and kill is not None:
            time.sleep(kill)
            p.kill()
        if said == "began":
            said = ours.recv()
    except EOFError:
        said = None
    p.join()
    assert p.exitcode in (0, -signal.SIGKILL)
    return said


def _killed(spare, tok_folder, kind, cache, folder, n, steps):
    """Killed at `n` random moments, it ends as if it had never been; dropout is on. There are as many steps as the
    kills leave no time for."""
    rng, kills = random.Random(n), 0
    whole = _attempt(spare, tok_folder, kind, cache, folder / "whole", steps=steps)
    while (
        got := _attempt(
            spare,
            tok_folder,
            kind,
            cache,
            folder / "cut",
            steps=steps,
            resume=True,
            kill=rng.uniform(0, 0.3) if kills < n else None,
        )
    ) is None:
        kills += 1
    assert kills == n and len(got[0]) == steps
    assert got == whole
    assert (
        Receipt.load(folder / "cut" / "textgen.json")["model"]["sha256"]
        == whole[2]
        == model_hash(TextGen(folder / "cut", device="cpu").model)
    )
    assert [
        o.name for o in (folder / "cut").parent.iterdir() if "tmp" in o.name
    ] == []  # what the dead left is swept away


KINDS = ["windows", "task", "mixture"]


@pytest.mark.parametrize("kind", KINDS[:1])
def test_killed_three_times(spare, tok_folder, cache, tmp_path, kind):
    _killed(spare, tok_folder, kind, cache, tmp_path, 3, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_twenty_times(spare, tok_folder, cache, tmp_path, kind):
    _killed(spare, tok_folder, kind, cache, tmp_path, 20, 240)


# ---- resumed by other means
def test_resumed_from_the_terminal(apart, cli, tok_folder, cache, tmp_path):
    """The same command with --resume goes on, in another process; without a save it begins; something changed is
    refused, and --force takes it."""
    args = [
        "train",
        cache,
        "--new",
        "mini",
        "--tokenizer",
        tok_folder,
        "--out",
        tmp_path / "m",
        "--batch-size",
        1,
        "--sample-every",
        0,
        "--window",
        16,
        "--resume",
    ]
    first = apart(*args, "--steps", 3)
    assert first.code == 0 and "from the beginning" in first.err
    again = cli(*args, "--steps", 3)
    assert again.code == 0 and "resumed after step 3 of 3" in again.err
    other = cli(*args, "--steps", 3, "--lr", 0.001)
    assert other.code == 1 and "lr was 0.01, now 0.001" in other.err and "Traceback" not in other.err
    more = cli(*args, "--steps", 5, "--force")
    assert more.code == 0 and Receipt.load(tmp_path / "m" / "textgen.json")["steps"] == 5


def test_resumed_where_weights_are_cast_twice(tiny, tok, data, tmp_path, monkeypatch):
    """What training does for large models in bfloat16 on a CPU, here for a tiny one: cut and resumed it gives the
    same bits, and the losses of the plain way nearly."""
    from textgen.training import cpu, losses

    def run(folder, **kw):
        tg = tiny(tok)
        return tg.train(
            data,
            **{
                **dict(
                    steps=6,
                    batch_size=2,
                    accumulate=2,
                    window=16,
                    save_every=2,
                    sample_every=0,
                    precision="bf16",
                    compile=False,
                    save_to=folder,
                    view=NoView(),
                ),
                **kw,
            },
        ), model_hash(tg.model)

    plain, _ = run(tmp_path / "plain")
    monkeypatch.setattr(cpu, "RECOMPUTE", 1)
    monkeypatch.setattr(losses, "CHUNK", 1)
    used, old = [], losses._TiedLoss.forward
    monkeypatch.setattr(losses._TiedLoss, "forward", staticmethod(lambda *args: (used.append(1), old(*args))[1]))
    whole, hash = run(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", callbacks=(_crash_after(4),))
    again, cut = run(tmp_path / "cut", resume=True)
    assert (again.losses, cut) == (whole.losses, hash) and len(used) == 2 * (6 + 5 + 2)
    assert max(abs(a - b) for a, b in zip(whole.losses, plain.losses)) < 0.02


def test_a_damaged_state_is_said_to_be_one(tiny, tok, data, tmp_path):
    tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path / "m", sample_every=0, view=NoView())
    (tmp_path / "m" / "resume" / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(TrainError, match="cannot be read.*start again without resume"):
        tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path / "m", sample_every=0, resume=True, view=NoView())


def test_no_state_when_not_wanted(tiny, tok, data, tmp_path):
    tiny(tok).train(
        data, steps=2, batch_size=1, save_to=tmp_path / "m", sample_every=0, resume_state=False, view=NoView()
    )
    assert not (tmp_path / "m" / "resume").exists()


def test_the_state_stays_behind(tiny, tok, data, tmp_path):
    """A model that is saved elsewhere takes no training state along; one that is saved anew leaves none that is not
    its own."""
    tg = tiny(tok)
    tg.train(data, steps=2, batch_size=1, save_to=tmp_path / "m", sample_every=0, view=NoView())
    tg.save(tmp_path / "n")
    tg.save(tmp_path / "m")
    assert not (tmp_path / "n" / "resume").exists() and not (tmp_path / "m" / "resume").exists()


# What the version before `windows=` wrote into state.json, from a run of it.
BEFORE_WINDOWS = dict(
    state="identity start now scratch base seconds seen validation rows scaler step tensors sum",
    identity="lr steps optimizer schedule warmup weight_decay clip seed precision compile batch_size accumulate window "
    "by freeze lora checkpointing validation tokenizer data model devices torch arithmetic",
)


def _as_before(state, **identity):
    "A state as an older version would have written it, with other values in its identity."
    names = {k: v.split() for k, v in BEFORE_WINDOWS.items()}
    state = {k: state[k] for k in names["state"] if k != "sum"}
    state["identity"] = {k: state["identity"][k] for k in names["identity"]} | identity
    return state | dict(sum=hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest())


@pytest.fixture
def states(tiny, tok, data, tmp_path):
    "A function that resumes a run of three steps, with its state changed; and what six steps without a stop give."
    s = dict(batch_size=2, sample_every=0, schedule="constant", warmup=0, compile=False, view=NoView())
    whole = tiny(tok).train(data, steps=6, windows="document", **s).losses
    tiny(tok).train(data, steps=3, windows="document", save_to=tmp_path / "m", **s)
    file = tmp_path / "m" / "resume" / "state.json"
    saved = json.loads(file.read_text())

    def resumed(change, **kw):
        file.write_text(json.dumps(change(saved)))
        how = dict(s, steps=6, save_to=tmp_path / "m", resume=True, windows="document") | kw
        return tiny(tok).train(data, **how).losses

    return resumed, whole


@pytest.mark.parametrize("named", [dict(), dict(windows="stream", by="document")], ids=["windows", "by"])
def test_a_state_of_before_windows_had_a_name(states, named):
    "It is opened, and the steps are those of a run that was never stopped, by either name."
    resumed, whole = states
    assert resumed(_as_before, **named) == whole


def test_a_state_of_another_version_is_refused(states):
    "In the words of today, and with what can be done."
    resumed, _ = states
    with pytest.raises(TrainError, match="windows was stream, now document; give what was given then"):
        resumed(lambda state: _as_before(state, by="stream"))
    with pytest.raises(TrainError, match="by an older version of textgen.*start again without resume"):
        resumed(lambda state: _as_before(state, arithmetic=ARITHMETIC - 1))
    with pytest.raises(TrainError, match="by a newer version of textgen"):
        resumed(lambda state: _as_before(state, arithmetic=ARITHMETIC + 1))
    newer = lambda state: {k: v for k, v in state.items() if k != "sum"} | dict(format=STATE_FORMAT + 1)
    with pytest.raises(TrainError, match="its format is 2, and this textgen reads 1: update textgen"):
        resumed(newer)
    older = resumed(lambda state: _as_before(state, arithmetic=ARITHMETIC - 1), resume="force")
    assert len(older) == 6  # the user says so


# ---- what goes wrong on the way
def _nan_after(k):
    import pytorch_lightning as pl

    class Spoil(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, i):
            if i == k:
                next(module.net.parameters()).data.fill_(float("nan"))

    return Spoil()


def test_nan_stops(tiny, tok, data, tmp_path):
    "With the step and the learning rate; the last good save is kept, and can be resumed."
    s = dict(steps=8, batch_size=2, save_every=2, save_to=tmp_path / "m", sample_every=0, view=NoView())
    with pytest.raises(TrainError, match=r"loss became nan at step 6 \(learning rate 0.00\d+\).*lr=0.003"):
        tiny(tok).train(data, callbacks=(_nan_after(5),), **s)
    assert Receipt.load(tmp_path / "m" / "textgen.json")["steps"] == 4
    assert len(tiny(tok).train(data, resume=True, **s).losses) == 8


class _Limit:
    "A view that fills the disk after so many updates: no file may grow beyond some bytes from then on."

    def __init__(self, after, size):
        self.after, self.size, self.notes, self.warnings = after, size, [], []

    def start(self, steps, first):
        pass

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        self.warnings.append(text)

    def update(self, step, *args):
        import resource

        if step >= self.after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))

    def held_out(self, *args):
        pass

    def sample(self, *args):
        pass

    def end(self):
        pass


def _on_full_disk(tok_folder, cache, folder, pipe):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from transformers import GPT2Config
    from textgen.text.pretrained import load_tokenizer

    tok, view = load_tokenizer(tok_folder), _Limit(4, 10_000)
    tg = TextGen.new(GPT2Config(vocab_size=len(tok), n_layer=2, n_head=2, n_embd=32, n_positions=64), tok, device="cpu")
    try:
        tg.train(cache, steps=8, batch_size=1, save_every=2, sample_every=0, save_to=folder, view=view)
    except TextGenError as e:
        pipe.send((str(e), view.notes, view.warnings, tg.receipt["steps"], tg.found))


def test_full_disk_keeps_the_previous_save(spare, tok_folder, cache, tmp_path):
    ours, theirs = spare.Pipe()
    p = spare.Process(target=_on_full_disk, args=(tok_folder, cache, tmp_path / "m", theirs))
    p.start()
    error, notes, warnings, steps, found = ours.recv()
    p.join()
    assert "the trained model is in memory" in error and (steps, found) == (8, None)
    assert len(warnings) == 3 and all("the next save tries again" in n for n in warnings)
    assert not any("next save" in n for n in notes)
    assert TextGen(tmp_path / "m", device="cpu").receipt["steps"] == 2


def test_ctrl_c_saves(spare, tok_folder, cache, tmp_path):
    "The first one ends the run after the step, saved and returned."
    ours, theirs = spare.Pipe()
    p = spare.Process(
        target=_train,
        args=(tok_folder, "windows", cache, tmp_path / "m", theirs),
        kwargs=dict(steps=10**6, save_every=0),
    )
    p.start()
    assert ours.recv() == "began"
    time.sleep(0.3)
    os.kill(p.pid, signal.SIGINT)
    losses, _, hash = ours.recv()
    p.join()
    r = Receipt.load(tmp_path / "m" / "textgen.json")
    assert p.exitcode == 0 and 0 < len(losses) < 10**6 and (r["steps"], r["model"]["sha256"]) == (len(losses), hash)


# ---- from another thread
def test_pause_and_stop(tiny, tok, data):
    control, seen = Control(), []

    class View(NoView):
        def update(self, step, *args):
            seen.append(step)

    t = threading.Thread(
        target=lambda: seen.append(
            tiny(tok).train(data, steps=10**6, batch_size=1, sample_every=0, view=View(), control=control)
        )
    )
    t.start()
    while not seen:
        time.sleep(0.01)
    control.pause()
    time.sleep(0.5)
    a = len(seen)
    time.sleep(0.6)
    assert len(seen) == a and t.is_alive()
    control.go_on()
    time.sleep(0.6)
    assert len(seen) > a
    control.stop()
    t.join(10)
    assert not t.is_alive() and seen[-1].stopped


# ---- with Lightning's own means
def test_loggers_and_trainer_arguments(tiny, tok, data, tmp_path):
    run = tiny(tok).train(
        data,
        steps=20,
        batch_size=1,
        sample_every=0,
        save_to=tmp_path / "m",
        loggers="csv",
        trainer=dict(log_every_n_steps=5),
        view=NoView(),
    )
    table = next((tmp_path / "m-logs").rglob("metrics.csv")).read_text()
    assert "loss" in table and "lr" in table and "grad_norm" in table and len(table.splitlines()) == 5
    with pytest.raises(TrainError, match="Lightning cannot train so"):
        tiny(tok).train(data, steps=1, trainer=dict(no_such_thing=1), view=NoView())
    assert len(run.losses) == 20


def test_the_receipt_tells_what_was_decided(tiny, tok, data, tmp_path):
    tiny(tok).train(data, steps=2, batch_size=1, save_to=tmp_path / "m", sample_every=0, view=NoView())
    s = json.loads((tmp_path / "m" / "textgen.json").read_text())["settings"]
    assert (s["optimizer"], s["schedule"], s["lr"], s["weight_decay"]) == ("muon", "linear", 0.01, 0.1) and s[
        "precision"
    ] in ("fp32", "bf16")


# ---- several processes
SCRIPT = """
import json,os,sys
from textgen import TextGen
from textgen.models.weights import model_hash
def main():
    folder, cache, tok, kw = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    from transformers import GPT2Config
    from textgen.text.pretrained import load_tokenizer
    tok = load_tokenizer(tok)
    size = dict(vocab_size=len(tok), n_layer=2, n_head=2, n_embd=32, n_positions=64)
    config = GPT2Config(**size, resid_pdrop=0., embd_pdrop=0., attn_pdrop=0.)
    tg = TextGen.new(config, tok, seed=1, device="cpu")
    run = tg.train(cache, steps=6, save_every=3, sample_every=3, seed=3, precision="fp32", save_to=folder, **kw)
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0)))==0: print("LOSSES", json.dumps(run.losses))
if __name__=="__main__": main()
"""


def _run(tmp_path, name, cache, tok_folder, launcher=(), start=None, **kw):
    "Losses of the script above, and all it printed."
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {
        k: v
        for k, v in os.environ.items()
        if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    }
    words = [str(tmp_path / "script.py"), str(tmp_path / name), str(cache), str(tok_folder), json.dumps(kw)]
    if start:
        p = start(*words, cwd=tmp_path)
        code, out, err = p.code, p.out, p.err
    else:
        p = subprocess.run(
            [sys.executable, *launcher, *words], capture_output=True, text=True, env=env, timeout=240
        )
        code, out, err = p.returncode, p.stdout, p.stderr
    assert code == 0, err[-3000:]
    lines = [line for line in out.splitlines() if line.startswith("LOSSES")]
    assert len(lines) == 1
    return json.loads(lines[0][7:]), out + err


@pytest.fixture(scope="module")
def alone(cache, tok_folder, tmp_path_factory):
    "Losses and folder of the script above, run in this process."
    d = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as m, redirect_stdout(io.StringIO()) as said:
        m.setattr(sys, "argv", ["", *map(str, (d / "m", cache, tok_folder)), json.dumps(dict(batch_size=8))])
        exec(SCRIPT, dict(__name__="__main__"))
    return json.loads(said.getvalue().partition("LOSSES")[2]), d / "m"


def _same(alone, losses, folder):
    assert max(abs(a - b) for a, b in zip(losses, alone[0])) < 1e-5 and len(losses) == 6
    a, b = (TextGen(f, device="cpu") for f in (alone[1], folder))
    assert max((p - q).abs().max().item() for p, q in zip(a.model.parameters(), b.model.parameters())) < 1e-3
    assert sorted(o.name for o in folder.iterdir()) == sorted(o.name for o in alone[1].iterdir())


WAYS = dict(ddp=dict(devices=2, strategy="ddp"), fsdp=dict(devices=2, strategy="fsdp"))


@pytest.fixture(scope="module", params=["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def pair(request, apart, cache, tok_folder, tmp_path_factory):
    """What two processes made, of which the first starts the second: how they were told to, the losses, all they
    printed, and the folder."""
    d, kw = tmp_path_factory.mktemp("pair"), dict(batch_size=2, accumulate=2, **WAYS[request.param])
    losses, said = _run(d, "m", cache, tok_folder, start=apart, **kw)
    return SimpleNamespace(kw=kw, losses=losses, said=said, folder=d / "m")


def test_two_processes_are_as_one(alone, pair):
    "Half the batch each: the same losses, the same folder; one of them speaks and writes."
    _same(alone, pair.losses, pair.folder)
    assert pair.said.count("6 steps of 8") == 1 and pair.said.count("step 3 ") == 1


@pytest.mark.slow
def test_torchrun(alone, cache, tok_folder, tmp_path):
    losses, said = _run(
        tmp_path,
        "m",
        cache,
        tok_folder,
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        batch_size=4,
    )
    _same(alone, losses, tmp_path / "m")
    assert said.count("6 steps of 8") == 1


@pytest.mark.slow
def test_srun(alone, cache, tok_folder, tmp_path):
    "Two processes with the variables that `srun` gives those of two machines."
    (tmp_path / "script.py").write_text(SCRIPT)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    step = dict(SLURM_STEP_NUM_TASKS="2", SLURM_STEP_NUM_NODES="2", SLURM_NTASKS="2", SLURM_NTASKS_PER_NODE="1")
    job = dict(SLURM_NNODES="2", SLURM_JOB_ID="7", SLURM_JOB_NAME="a", SLURM_NODELIST="localhost", SLURM_LOCALID="0")
    env = os.environ | step | job | dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, OMP_NUM_THREADS="1")
    words = ["script.py", str(tmp_path / "m"), str(cache), str(tok_folder), json.dumps(dict(batch_size=4))]
    running = [
        subprocess.Popen(
            [sys.executable, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=env | dict(SLURM_PROCID=str(k), SLURM_NODEID=str(k)))
        for k in range(2)
    ]
    said = [p.communicate(timeout=240) for p in running]
    assert [p.returncode for p in running] == [0, 0], said
    _same(alone, json.loads(said[0][0].partition("LOSSES")[2].splitlines()[0]), tmp_path / "m")
    assert "".join(err for _, err in said).count("6 steps of 8") == 1


def test_two_processes_resume(pair, cache, tok_folder, tmp_path):
    "What two processes saved, two go on with."
    shutil.copytree(pair.folder, tmp_path / "m")
    again, said = _run(tmp_path, "m", cache, tok_folder, resume=True, **pair.kw)
    assert again == pair.losses and "resumed after step 6" in said


# ---- adapters
def test_lora(tiny, tok, data, tmp_path):
    "It trains, is saved as an adapter, resumed exactly, loaded, and merged."
    tiny(tok).save(tmp_path / "base")

    def tuned(folder, **kw):
        tg = TextGen(tmp_path / "base", device="cpu")
        run = tg.train(
            data,
            **{
                **dict(
                    steps=6,
                    batch_size=2,
                    save_every=2,
                    sample_every=0,
                    precision="fp32",
                    lora=4,
                    save_to=folder,
                    view=NoView(),
                ),
                **kw,
            },
        )
        return tg, run

    whole, run = tuned(tmp_path / "a")
    assert (tmp_path / "a" / "adapter_model.safetensors").exists() and not (
        tmp_path / "a" / "model.safetensors"
    ).exists()
    with pytest.raises(RuntimeError, match="power cut"):
        tuned(tmp_path / "b", callbacks=(_crash_after(4),))
    cut, again = tuned(tmp_path / "b", resume=True)
    assert again.losses == run.losses and model_hash(cut.model) == model_hash(whole.model)
    loaded = TextGen(tmp_path / "a", device="cpu")
    text = whole.generate_one(max_new_tokens=20, seed=1, temperature=0)
    assert loaded.generate_one(max_new_tokens=20, seed=1, temperature=0) == text
    with pytest.raises(TrainError, match="tg.merge"):
        loaded.train(data, steps=1, view=NoView())
    loaded.merge().save(tmp_path / "merged")
    assert TextGen(tmp_path / "merged", device="cpu").generate_one(max_new_tokens=20, seed=1, temperature=0) == text
    with pytest.raises(TrainError, match="save this one first"):
        tiny(tok).train(data, steps=1, lora=4, save_to=tmp_path / "c", view=NoView())


def _crash_after(k):
    import pytorch_lightning as pl

    class Crash(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, i):
            if i == k:
                raise RuntimeError("power cut")

    return Crash()


def _peak(tok_folder, cache, pipe, kw):
    import resource
    from transformers import GPT2Config
    from textgen.text.pretrained import load_tokenizer

    tok = load_tokenizer(tok_folder)
    tg = TextGen.new(
        GPT2Config(
            vocab_size=len(tok),
            n_layer=6,
            n_head=6,
            n_embd=384,
            n_positions=64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        tok,
        device="cpu",
    )
    tg.train(
        cache,
        steps=3,
        batch_size=1,
        window=16,
        sample_every=0,
        precision="fp32",
        optimizer="adamw",
        view=NoView(),
        **kw,
    )
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def test_lora_takes_less_memory(spare, tok_folder, cache):
    "10.8 million weights: gradients and AdamW's memory of them are 130 MB."

    def peak(**kw):
        ours, theirs = spare.Pipe()
        p = spare.Process(target=_peak, args=(tok_folder, cache, theirs, kw))
        p.start()
        got = ours.recv()
        p.join()
        return got

    assert peak(lora=4) < peak() - 80e6


def test_numbers_follow_the_instructions_that_torch_may_use():
    code = "import torch; from textgen.training.report import pick_precision as p; print(p(torch.device('cpu')))"
    env = os.environ | dict(ATEN_CPU_CAPABILITY="avx2")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fp32"
