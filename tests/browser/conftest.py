"""A JupyterLab on loopback with a browser before it: `make test-browser`.

The server and Playwright live in `.venv-browser`, the kernel is the Python of the project. Nothing here is imported by
the other tests, whose environment has neither. Screenshots are kept in `tests/browser/shots` to be looked at.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
SHOTS = Path(__file__).parent / "shots"
KERNEL = os.environ.get("TEXTGEN_KERNEL", str(ROOT / ".venv" / "bin" / "python"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
expect.set_options(timeout=60_000)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def kernel_spec(folder):
    "The kernel of the project as the only one, with the working tree on its path."
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    argv = [KERNEL, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = dict(argv=argv, display_name="textgen", language="python", env=dict(PYTHONPATH=path, OMP_NUM_THREADS="1"))
    (place / "kernel.json").write_text(json.dumps(spec))


class Lab:
    "A running JupyterLab."

    def __init__(self, folder):
        self.work = folder / "work"
        self.work.mkdir()
        kernel_spec(folder / "data")
        self.port, self.token = free_port(), secrets.token_hex(8)
        env = os.environ | {
            "JUPYTER_PATH": str(folder / "data"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        }
        options = ["--no-browser", "--ip=127.0.0.1", f"--port={self.port}", f"--IdentityProvider.token={self.token}"]
        options += ["--allow-root", f"--ServerApp.root_dir={self.work}"]
        options += ["--KernelSpecManager.ensure_native_kernel=False"]
        options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
        command = [sys.executable, "-m", "jupyterlab", *options]
        self.log = (folder / "lab.log").open("w")
        self.process = subprocess.Popen(command, env=env, cwd=self.work, stdout=self.log, stderr=self.log)
        self.wait()

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"

    def wait(self):
        "Until the server answers."
        for _ in range(600):
            try:
                return urllib.request.urlopen(self.url("api/status"), timeout=2).close()
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not start; see {self.log.name}")

    def settings(self, theme):
        "The theme of the next page that is opened."
        place = self.work.parent / "settings" / "@jupyterlab" / "apputils-extension"
        place.mkdir(parents=True, exist_ok=True)
        (place / "themes.jupyterlab-settings").write_text(json.dumps(dict(theme=theme)))
        quiet = dict(fetchNews="false", checkForUpdates=False)
        (place / "notification.jupyterlab-settings").write_text(json.dumps(quiet))

    def notebook(self, name, *cells):
        "A notebook of cells of code."
        made = [
            dict(cell_type="code", id=f"c{k}", metadata={}, source=c, outputs=[], execution_count=None)
            for k, c in enumerate(cells)
        ]
        meta = dict(kernelspec=dict(name="python3", display_name="textgen", language="python"))
        nb = dict(cells=made, metadata=meta, nbformat=4, nbformat_minor=5)
        (self.work / name).write_text(json.dumps(nb))
        return name

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("lab"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


SMALL = "import os\nos.chdir({place!r})\n"
LIMIT = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))\n"


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of a megabyte, and the lines that go there.

    To mount one, one has to be root; for others no file becomes larger than a megabyte, which fails in the same places.
    """
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    is_mounted = shutil.which("mount") and not subprocess.run(mount, capture_output=True).returncode
    yield place, SMALL.format(place=str(place)) + ("" if is_mounted else LIMIT)
    if is_mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


class Page:
    "A notebook in the browser."

    def __init__(self, lab, browser, name, theme="JupyterLab Light", width=1200, height=1000):
        lab.settings(theme)
        self.lab, self.name = lab, name
        context = browser.new_context(viewport=dict(width=width, height=height))
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = context.new_page()
        self.dialogs = []
        self.page.set_default_timeout(60_000)
        self.page.on("dialog", self.answer)
        self.open()

    def answer(self, dialog):
        "Leave the page where it asks whether to; note any other dialog, which nothing should open."
        if dialog.type == "beforeunload":
            return dialog.accept()
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def open(self):
        "Open the notebook, and wait until its kernel is there."
        self.page.goto(self.lab.url(f"doc/tree/{self.name}"))
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        idle = self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        idle.first.wait_for(timeout=90_000, state="attached")

    def run(self, cell=0):
        "Run a cell, by the button of the toolbar."
        there = self.page.locator(".jp-Notebook .jp-Cell").nth(cell)
        prompt = there.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        select = self.page.locator(".jp-Dialog button.jp-mod-accept")
        for _ in range(30):  # a kernel that is still connecting lets the first press pass, or asks for itself
            if select.count():
                select.click()
            there.locator(".jp-InputArea-editor").click()
            self.page.locator('[data-jp-item-name="run"]').click()
            self.page.wait_for_timeout(1500)
            if prompt.inner_text() not in (before, "[ ]:"):
                return
        raise AssertionError(f"cell {cell} does not run")

    def run_all(self):
        "Run all cells, by the menu."
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def wait_for(self, file):
        "Until a file is there."
        for _ in range(300):
            if file.exists():
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"{file} did not come")

    def button(self, name, n=0):
        exactly = re.compile(rf"^\W*{re.escape(name)}\W*$")
        return self.page.locator(".tg-panel button:visible").filter(has_text=exactly).nth(n)

    def field(self, label, n=0):
        return self.page.locator(".tg-panel").get_by_label(label, exact=True).nth(n)

    def shot(self, name):
        "A screenshot that is looked at."
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def close(self):
        self.page.context.close()


@pytest.fixture
def opened(lab, browser, request):
    "Opens notebooks, and closes them."
    pages = []

    def make(name, *cells, **kwargs):
        if cells:
            lab.notebook(name, *cells)
        pages.append(Page(lab, browser, name, **kwargs))
        return pages[-1]

    yield make
    for k, page in enumerate(pages):
        page.shot(f"last-{request.node.name}-{k}".replace("/", ""))
        page.close()
