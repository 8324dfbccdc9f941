"""Colab: what installing replaces there, the forms of its notebooks, a run that a disconnect ended, the way to a TPU.

`data/colab.json` lists what Colab ships, by its kinds of machine: `all` is what they have in common. It is made of the
public repository that it names, at the commit that it names.
"""

import json
import os
import re
import signal
import sys
import threading
import time
import zipfile
from configparser import ConfigParser
from importlib.metadata import requires, version
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/"tools"))
import tutorials  # noqa: E402

NOTEBOOKS = sorted((ROOT/"nbs/tutorials").glob("colab_*.ipynb"))
SHIPPED = json.loads((ROOT/"tests/data/colab.json").read_text())
KEPT = ("torch", "numpy", "transformers", "ipywidgets")


# ---- installing
def shipped(kind):
    "What a kind of Colab's machines has: name -> version."
    return {**SHIPPED["all"], **SHIPPED[kind]}

def asked():
    "What our wheel requires, with the extra for LoRA, which the notebooks install."
    cfg = ConfigParser(delimiters=["="])
    cfg.read(ROOT/"settings.ini", encoding="utf-8")
    return (cfg["DEFAULT"]["requirements"]+" "+cfg["DEFAULT"]["lora_requirements"]).split()

def is_meant(requirement, extras):
    "Whether a requirement holds on Colab's machine, for one of some extras."
    where = dict(
        python_version=".".join(SHIPPED["python"].split(".")[:2]),
        python_full_version=SHIPPED["python"],
        sys_platform="linux",
        platform_system="Linux",
        platform_machine="x86_64",
        os_name="posix",
    )
    return not requirement.marker or any(requirement.marker.evaluate({**where, "extra": o}) for o in extras)

def resolve(requirements, have):
    """What pip would do where `have` is installed: the names of what is new, and of what would be replaced.

    pip leaves alone what meets all requirements. What is new is taken as it is installed here, with what it requires.
    """
    new, replaced, seen = set(), {}, set()
    todo = [(Requirement(o), ("",)) for o in requirements]
    while todo:
        o, extras = todo.pop()
        name = canonicalize_name(o.name)
        if str(o) in seen or not is_meant(o, extras): continue
        seen.add(str(o))
        if name in have:
            if have[name] and not o.specifier.contains(have[name], prereleases=True): replaced[name] = str(o)
            if not o.extras: continue
        else:
            new.add(name)
            assert o.specifier.contains(version(name), prereleases=True), (o, version(name))
        todo += [(Requirement(r), ("", *o.extras)) for r in requires(name) or ()]
    return new, replaced

@pytest.mark.parametrize("kind", ["cpu", "gpu", "tpu"])
def test_installing_replaces_nothing(kind):
    have = shipped(kind)
    assert {*KEPT} <= {*have} and re.fullmatch(r"\d{4}-\d\d-\d\d", SHIPPED["date"])
    new, replaced = resolve(asked(), have)
    assert not replaced
    assert {"gigatoken", "pytorch-lightning"} <= new and not new & {*KEPT}

def test_a_replacement_would_be_seen():
    _, replaced = resolve([*asked(), "ipywidgets>=8", "numpy<2"], shipped("gpu"))
    assert {*replaced} == {"ipywidgets", "numpy"}

def notebook(path): return nbformat.read(path, as_version=4)

def cell_with(nb, text):
    (found,) = [c.source for c in nb.cells if c.cell_type=="code" and text in c.source]
    return found

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_install_cell_keeps_what_colab_ships(path, tmp_path, monkeypatch):
    "Where textgen is missing the cell pins the four packages at what is installed; where it is not, it does nothing."
    monkeypatch.chdir(tmp_path)
    source = re.sub(r"^( *)%pip (.*)$", r"\1ran.append('''\2''')", cell_with(notebook(path), "%pip"), flags=re.M)
    ran = []
    exec(source, dict(ran=ran))
    assert ran==[] and not Path("keep.txt").exists()
    exec(source.replace('find_spec("textgen")', 'find_spec("no_textgen")'), dict(ran=ran))
    assert Path("keep.txt").read_text().splitlines()==[f"{name}=={version(name)}" for name in KEPT]
    assert len(ran)==1 and re.fullmatch(r'install -q -c keep.txt "textgen-nb(\[lora\])? @ git\+https://[^ ]*"', ran[0])


# ---- what a notebook shows
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_can_be_opened_and_filled(path):
    from textgen.colab import badge
    nb = notebook(path)
    assert badge(path.relative_to(ROOT)) in nb.cells[1].source
    for text in ("find_hardware()", "work_in(", "download(MODEL_NAME)", "push_to_hub(HUB_NAME", "resume=True"):
        cell_with(nb, text)
    code = "\n".join(c.source for c in nb.cells if c.cell_type=="code")
    assert "wait()" not in code and "textgen.widgets" in code
    tutorials.fill(nb, {name: "x" for name in tutorials.SMALL[path.stem]})
    assert {*tutorials.fields(nb).values()} >= {"'x'"}
    assert path.stat().st_size<100_000

def test_a_field_that_is_not_there():
    with pytest.raises(SystemExit, match="no such field: STEP; there are: "):
        tutorials.fill(notebook(NOTEBOOKS[0]), dict(STEP=1))


# ---- a person's Colab
PLAYED = """
import os, shutil
from pathlib import Path
class drive:
    @staticmethod
    def mount(place): Path(place, "MyDrive").mkdir(parents=True, exist_ok=True)
class files:
    @staticmethod
    def download(path): shutil.copy(path, os.environ["TEXTGEN_TEST_BROWSER"])
    @staticmethod
    def upload():
        sent = {p.name: p.read_bytes() for p in Path(os.environ["TEXTGEN_TEST_BROWSER"]).glob("*.txt")}
        for name, content in sent.items(): Path(name).write_bytes(content)
        return sent
"""
AT_FIRST = """
import sys
sys.path.insert(0, {played!r})
import google.colab, textgen.colab
textgen.colab._DRIVE = {drive!r}
"""


class Person:
    "Somebody with a Drive, a browser, and a machine of Colab that is a new one each time."
    def __init__(self, place):
        self.place, self.machines = place, 0
        self.drive, self.browser, self.played = place/"drive", place/"browser", place/"played"
        self.browser.mkdir(parents=True)
        (self.played/"google/colab").mkdir(parents=True)
        (self.played/"google/colab/__init__.py").write_text(PLAYED)

    @property
    def folder(self):
        "What is on the Drive."
        return self.drive/"MyDrive"/"textgen"

    def machine(self, path, values, again=()):
        self.machines += 1
        (here := self.place/f"machine-{self.machines}").mkdir()
        first = AT_FIRST.format(played=str(self.played), drive=str(self.drive))
        return Machine(path, values, here, first, again, dict(TEXTGEN_TEST_BROWSER=str(self.browser)))


class Machine:
    """One machine of Colab: a kernel in a folder that runs a notebook from its first cell to its last, and then, when
    what was begun has ended, the cells with some texts again."""
    def __init__(self, path, values, place, first="", again=(), env=()):
        self.nb, self.env = notebook(path), os.environ | dict(env)
        tutorials.fill(self.nb, values)
        self.nb.cells.insert(0, nbformat.v4.new_code_cell(first))
        self.nb.cells += [nbformat.v4.new_code_cell(cell_with(self.nb, text)) for text in again]
        where = {"metadata": {"path": str(place)}}
        self.client = NotebookClient(self.nb, timeout=600, kernel_name="python3", resources=where)
    def run(self):
        self.client.execute(env=self.env)
        return "".join(map(str, (c.get("outputs") for c in self.nb.cells)))
    def kill(self): os.kill(self.client.km.provisioner.pid, signal.SIGKILL)


# ---- a disconnect
def steps_saved(folder):
    "How many steps the last save has; 0 where there is none."
    try: return json.loads((folder/"textgen.json").read_text())["steps"]
    except OSError: return 0

def weights(folder):
    "The files with weights, by name."
    return {o.name: o.read_bytes() for o in folder.glob("*.safetensors")}

RUNS = { # notebook, fields of its form, folder of the model
    "panel": ("colab_from_scratch", dict(PANEL_STEPS=60), "my-model"),
    "code": ("colab_from_scratch", dict(START=False, IN_CODE=True, STEPS=60, SAVE_EVERY=10), "my-model-in-code"),
    "lora": ("colab_gpu", dict(
        MODEL="@gpt2", METHOD="lora", START=False, IN_CODE=True, EPOCHS=0.4, SAVE_EVERY=10, WINDOW=64, BATCH=4,
    ), "my-gpt2-in-code"),
    "tasks": ("colab_t5", dict(STEPS=60, SAVE_EVERY=10, WINDOW=64), "poems-and-news"),
}

@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_disconnect_changes_nothing(name, tmp_path):
    """Killed in the middle of the training and run again on another machine, a notebook ends with the weights of an
    undisturbed run; run once more, it takes the model as it is."""
    notebook_name, values, model = RUNS[name]
    made = tutorials.models(tmp_path)
    values = {k: made.get(v, v) for k, v in values.items()}
    path = ROOT/"nbs/tutorials"/f"{notebook_name}.ipynb"
    calm, other = Person(tmp_path/"calm"), Person(tmp_path/"other")
    calm.machine(path, values).run()
    machine, folder = other.machine(path, values), other.folder/model
    seen = []
    def disconnect():
        while not 20<=steps_saved(folder): time.sleep(.02)
        machine.kill()
        seen.append(True)
    threading.Thread(target=disconnect, daemon=True).start()
    with pytest.raises(DeadKernelError): machine.run()
    assert seen and 20<=steps_saved(folder)<steps_saved(calm.folder/model)
    assert "resumed after step" in other.machine(path, values).run()
    assert steps_saved(folder)==steps_saved(calm.folder/model)
    assert weights(folder) and weights(folder)==weights(calm.folder/model)
    if name in ("panel", "tasks"): assert "holds a trained model" in other.machine(path, values).run()
    assert weights(folder)==weights(calm.folder/model)


# ---- the model leaves
@pytest.fixture
def hub(monkeypatch):
    "A Hub on loopback, for the kernels that are started."
    from hubserver import Hub
    hub = Hub()
    off = dict(HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1")
    for name, value in dict(off, HF_ENDPOINT=hub.url, HF_TOKEN="hf_mine").items(): monkeypatch.setenv(name, value)
    yield hub
    hub.close()

KEEP = "#@title Download, publish"

def test_every_notebook_lets_the_model_go_in_the_same_way():
    assert len(NOTEBOOKS)==4 and len({cell_with(notebook(path), KEEP) for path in NOTEBOOKS})==1

@pytest.mark.slow
@pytest.mark.parametrize("name", ["colab_from_scratch", "colab_t5"])
def test_the_model_is_downloaded_and_published(name, hub, tmp_path):
    "While it is trained the cell says so; run again afterwards, it sends the zip file and pushes to the Hub."
    person, path = Person(tmp_path/"a"), ROOT/"nbs/tutorials"/f"{name}.ipynb"
    steps = {"colab_t5": dict(STEPS=60)}.get(name, dict(PANEL_STEPS=60))
    values = tutorials.small(name, tmp_path) | steps | dict(IN_CODE=False, DOWNLOAD=True, HUB_NAME="me/mine")
    said = person.machine(path, values, again=[KEEP]).run()
    assert said.count("not trained yet: run this cell again")==1 and f"{hub.url}/me/mine" in said
    (zipped,) = person.browser.iterdir()
    with zipfile.ZipFile(zipped) as z: z.extractall(tmp_path/"zip")
    (folder,) = (tmp_path/"zip").iterdir()
    assert zipped.name==f"{folder.name}.zip" and not (folder/"resume").exists()
    sent = hub.repos["me/mine"].files
    for kept in (folder, person.folder/folder.name):
        assert weights(kept)=={"model.safetensors": sent["model.safetensors"][0]}
    from transformers import AutoConfig
    assert AutoConfig.from_pretrained(folder).model_type in ("gpt2", "t5")


# ---- Run all
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_run_all_stops_at_the_panels_button(path, tmp_path):
    """Every cell of "Run all" has ended while the panel still trains, so its Stop button is heard: it ends a run of a
    hundred thousand steps."""
    person, long = Person(tmp_path/"a"), 100_000
    fields = {"colab_t5": dict(STEPS=long)}.get(path.stem, dict(PANEL_STEPS=long))
    asked = {k: v for k, v in tutorials.small(path.stem, tmp_path).items() if k not in ("DOWNLOAD", "STEPS")}
    machine = person.machine(path, asked | fields | dict(IN_CODE=False))
    machine.nb.cells.insert(-1, nbformat.v4.new_code_cell(STOP))
    assert "heard" in machine.run()
    (folder,) = [o.parent for o in person.folder.glob("*/textgen.json")]
    assert 1<=steps_saved(folder)<long

STOP = """
import asyncio
while panel.busy and not panel.view.step: await asyncio.sleep(.1)
print("heard" if panel.busy else panel.error)
panel.stop_button.click()
"""


# ---- TPU
STAND_IN = {
    "torch_xla/__init__.py": "",
    "torch_xla/core/__init__.py": "",
    "torch_xla/_internal/__init__.py": "",
    "torch_xla/_internal/tpu.py": "def num_available_devices(): return 1\n",
    "torch_xla/runtime.py": "def device_type(): return 'TPU'\n",
    "torch_xla/core/xla_model.py": (
        "import torch\nsteps = []\n"
        "def xla_device(n=None): return torch.device('cpu')\n"
        "def reduce_gradients(optimizer): pass\n"
        "def mark_step(): steps.append(1)\n"
    ),
    "torch_xla-2.9.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch_xla\nVersion: 2.9.0\n",
}
TRAIN = """
import os, sys
os.environ["USE_TORCH_XLA"] = "0"  # transformers would ask the stand-in for more
sys.path.insert(0, sys.argv[1])
from textgen import TextGen, TokenDataset, bundled, train_tokenizer
from textgen.training.callback import NoView
tok = train_tokenizer(bundled("poems"), vocab_size=400)
data = TokenDataset.from_files(bundled("poems"), tok)
def losses(data, preset, **how):
    tg = TextGen.new(preset, tok, context=64, device="cpu")
    return tg.train(data, steps=3, batch_size=2, window=64, sample_every=0, view=NoView(), **how).losses
for data, preset in ((data, "mini"), (["poems"], "t5-mini")):
    there, here = losses(data, preset, device="xla"), losses(data, preset, device="cpu", precision="fp32")
    assert len(there)==3 and (there==here or preset=="t5-mini"), (there, here)
from torch_xla.core import xla_model
assert len(xla_model.steps)==6, xla_model.steps
"""

def test_the_way_to_a_tpu(tmp_path, python):
    "Through Lightning's strategy for a TPU, its driver played by the processor, a run has the losses of any other."
    for name, text in STAND_IN.items():
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).write_text(text)
    python(TRAIN, tmp_path)
