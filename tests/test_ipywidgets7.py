"What Colab brings, ipywidgets 7.7.1 and ipykernel 6.17.1: other names, one queue. Run with them on the path: slow."

import os
import subprocess
import sys
import time
from pathlib import Path
import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = """
import asyncio, ipywidgets
from textgen.panels.source import UPLOAD
from textgen.widgets import Studio
assert ipywidgets.__version__ == "7.7.1"
s = Studio(steps=2, window=16, batch_size=2)
s.data.source.menu.value = UPLOAD
one = {"metadata": {"name": "own.txt", "type": "", "size": 9, "lastModified": 0}, "content": b"The sea is calm\\n" * 40}
s.data.source.upload.set_trait("value", {"own.txt": one})
s.data.wait()
assert s.train.handed.reading == {"by": "line"}, s.data.said
assert "reads the text" in s.train.start.steps.description_tooltip or s.train.start.typed
s.train.train().wait()
assert s.generate.model is s.train.trained and s.train.run.steps == 2
print(sorted(s._repr_mimebundle_()))
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    "The environment of a process that finds the old versions first; pip fetches them."
    place = tmp_path_factory.mktemp("old")
    packages = ["ipywidgets==7.7.1", "ipython_genutils", "ipykernel==6.17.1"]
    fetch = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), *packages]
    subprocess.run(fetch, check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}


@pytest.mark.slow
def test_the_panels_with_colabs_own(tmp_path, old):
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=old, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "application/vnd.jupyter.widget-view+json" in done.stdout


PANEL = """
import ipykernel
from textgen.widgets import TrainPanel
assert ipykernel.__version__ == EXPECTED
panel = TrainPanel(steps=100_000, window=16, batch_size=1, sample_every=0, save_to=None)
print(panel.stop_button.comm.comm_id)
"""
WAIT = "panel.train()\nprint('waiting')\n(await panel).run.stopped"


class Client:
    "A notebook before a kernel, as far as a test needs one."

    def __init__(self, manager):
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def message(self, of, kind, seconds=60):
        "The next message of a kind that came of a request."
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.client.get_iopub_msg(timeout=seconds)
            if got["parent_header"].get("msg_id") != of:
                continue
            assert got["msg_type"] != "error", got["content"]["evalue"]
            if got["msg_type"] == kind:
                return got["content"]
        raise AssertionError(f"no {kind} came")

    def press(self, comm):
        "Press a button."
        data = dict(method="custom", content=dict(event="click"))
        self.client.shell_channel.send(self.client.session.msg("comm_msg", dict(comm_id=comm, data=data)))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["6.17.1", None])
def test_stop_is_heard_while_cells_wait(tmp_path, old, version):
    "In \"Run all\", with Colab's kernel and with ours: the cell ends, its output is its own, and the next one runs."
    import ipykernel
    from jupyter_client import KernelManager
    from jupyter_client.kernelspec import KernelSpec

    manager = KernelManager()
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=argv, language="python", display_name="")
    env = old if version else os.environ | {"PYTHONPATH": str(ROOT)}
    manager.start_kernel(env=env, cwd=str(tmp_path))
    try:
        notebook = Client(manager)
        expected = PANEL.replace("EXPECTED", repr(version or ipykernel.__version__))
        comm = notebook.message(notebook.client.execute(expected), "stream")["text"].strip()
        waits, after = notebook.client.execute(WAIT), notebook.client.execute("panel.run.steps<100_000")
        notebook.message(waits, "stream")
        time.sleep(1)
        notebook.press(comm)
        assert notebook.message(waits, "execute_result")["data"]["text/plain"] == "True"
        assert notebook.message(after, "execute_result")["data"]["text/plain"] == "True"
    finally:
        manager.shutdown_kernel(now=True)
