"What a training in the panel may start from, and how; what it says where it cannot; going on after the kernel died."

import shutil
import subprocess
import sys
import pytest
from textgen import ModelError, TextGen
from textgen.models.adapter import has_adapter
from textgen.training.trainer import Session
from textgen.widgets import TrainPanel

SMALL = dict(steps=2, batch_size=1, window=16, sample_every=0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    "An empty folder to work in."
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(**settings):
    panel = TrainPanel(**SMALL | settings)
    panel.train().wait()
    return panel


def same(a, b):
    "Whether two models have the same weights."
    theirs = b.model.state_dict()
    return all((v == theirs[name]).all() for name, v in a.model.state_dict().items())


def run_code(panel, folder):
    "What the lines of the panel make, in another folder."
    scope = {}
    exec(panel.code().replace(f"save_to={panel.save_to.value!r}", f"save_to={folder!r}"), scope)
    return scope["tg"]


def test_a_folder(place, model_folder):
    shutil.copytree(model_folder, "own")
    panel = trained(model="own", save_to="m")
    assert panel.start.name.value == "own" and not same(panel.textgen, TextGen("own"))
    assert panel.textgen.receipt["model"]["base"]["found"] == "./own"
    assert same(panel.textgen, run_code(panel, "again")) and same(panel.textgen, TextGen("m"))


def test_a_hub_id(place, model_folder):
    "A folder that is called like one, and one that is nowhere."
    shutil.copytree(model_folder, "me/base")
    assert trained(model="me/base", save_to="m").textgen.receipt["model"]["base"]["found"] == "./base"
    panel = TrainPanel(**SMALL, model="me/nowhere", save_to="n")
    with pytest.raises(ModelError):
        panel.train().wait()
    (error,) = [o for o in panel.said if o[0] == "error"]
    assert "me/nowhere" in error[1] and "\n" not in error[1] and "Traceback" in error[2]
    assert panel.messages.value.count("<details>") == 1 and not (place / "n").exists()
    panel.start.name.value = ""
    assert "write the folder or Hub id" in panel.train().messages.value and not panel.busy


def test_a_t5(place):
    panel = trained(preset="t5-mini", vocab_size=300, save_to="m")
    assert panel.textgen.kind == "seq2seq" and panel.run.steps == 2
    assert "new texts" in panel.parts()[2] and TextGen("m").kind == "seq2seq"
    assert same(panel.textgen, run_code(panel, "again"))


def test_lora(place, model_folder):
    "Small matrices beside the weights, which stay; the lines of Python do the same."
    pytest.importorskip("peft")
    shutil.copytree(model_folder, "own")
    panel = TrainPanel(**SMALL, model="own", save_to="m")
    full = panel.start.lr.value
    panel.start.how.value = "LoRA"
    panel.train().wait()
    assert has_adapter(panel.textgen.model) and "lora=True" in panel.code()
    assert (place / "m" / "adapter_config.json").exists() and not (place / "m" / "model.safetensors").exists()
    assert same(panel.textgen, run_code(panel, "again"))
    panel.start.menu.value = "new: mini"
    assert full != panel.start.lr.value


def test_lora_without_peft(place, model_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    panel = TrainPanel(**SMALL, model=str(model_folder), save_to="m", lora=True)
    with pytest.raises(ModelError, match=r"pip install 'textgen-nb\[lora\]'"):
        panel.train().wait()
    assert panel.said[-1][1].startswith("LoRA needs the package peft") and "Traceback" in panel.said[-1][2]


def test_a_save_that_fails_on_the_way_is_a_warning(place, model_folder, monkeypatch):
    "The run goes on, and the next save is whole."
    write, failed = Session._write, []

    def once(self, remembered):
        if not failed:
            failed.append(len(self.watch.losses))
            raise ModelError("m: the disk is full")
        write(self, remembered)

    monkeypatch.setattr(Session, "_write", once)
    panel = trained(model=str(model_folder), save_to="m", steps=4, save_every=2)
    said = "m: the disk is full; training goes on, and the next save tries again"
    assert failed == [2] and [text for kind, text, _ in panel.said if kind == "warning"] == [said]
    assert f"Warning: {said}" in panel.messages.value and f"Warning: {said}" in panel.static()
    assert panel.run.steps == 4 and TextGen("m").receipt["steps"] == 4


KILLED = """
import os, signal, textgen.training.callback as c
from textgen.widgets import TrainPanel
small = dict(batch_size=1, window=16, save_every=2, sample_every=0)
panel = TrainPanel(**small, steps=6, model="own", save_to="m", lora={lora})
seen = panel.view.update
def update(step, *args, **kwargs):
    seen(step, *args, **kwargs)
    if step>=3: os.kill(os.getpid(), signal.SIGKILL)
panel.view.update = update
panel.train().wait()
"""


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True])
def test_after_a_kill(place, model_folder, lora):
    "The kernel dies in the middle; a new panel goes on, with the choices of before; the weights are as undisturbed."
    shutil.copytree(model_folder, "own")
    done = subprocess.run([sys.executable, "-c", KILLED.format(lora=lora)], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    panel = TrainPanel(save_to="m")
    assert panel.offer.layout.display == "" and "of 6" in panel.found.value
    panel.again.click()
    panel.wait()
    assert panel.run.steps == 6 and panel.unfinished is None
    whole = trained(steps=6, model="own", save_to="whole", save_every=2, lora=lora)
    assert same(panel.textgen, whole.textgen)
