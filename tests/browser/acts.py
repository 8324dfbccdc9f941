"What several tests do and look at."

import json
import re
import subprocess
import time
from conftest import KERNEL, ROOT
from playwright.sync_api import expect

WILD = ["<script>window.hit=1</script>", "<img src=x onerror='window.hit=1'>", "[a](javascript:alert(1))"]
WILD.append("\x1b[31mred")


def texts(page):
    "What the live panels of a page say."
    return page.page.locator(".tg-panel").all_inner_texts()


def says(page, words):
    "Wait until a live panel says something."
    expect(page.page.locator(".tg-panel").filter(has_text=words).first).to_be_visible(timeout=120_000)


def alert(page, words):
    "Wait until a live panel shows an error."
    expect(page.page.locator(".tg-panel [role=alert]:visible").filter(has_text=words)).to_be_visible(timeout=120_000)


def steps_done(page):
    "How far the run is, by the bar."
    bar = page.page.locator(".tg-panel:visible [role=progressbar]").first
    return int(bar.get_attribute("aria-valuenow", timeout=120_000))


def wait_for_step(page, step):
    "Until the run is so far."
    for _ in range(600):
        if page.page.locator(".tg-panel:visible [role=progressbar]").count() and steps_done(page) >= step:
            return
        time.sleep(0.2)
    raise AssertionError(f"step {step} did not come: {texts(page)}")


def no_hit(page):
    "Nothing of what was shown was run."
    assert page.page.evaluate("window.hit === undefined") and not page.dialogs


def fill(page, **fields):
    "Fill in fields by their names, as a person does who leaves each with the tab key."
    for name, value in fields.items():
        page.field(name.replace("_", " ")).fill(str(value))
        page.field(name.replace("_", " ")).press("Tab")


def choose_file(page, *files):
    "Choose files for the button that uploads."
    with page.page.expect_file_chooser() as chooser:
        page.page.locator(".tg-panel button:visible").filter(has_text="Upload").click()
    kind = "text/plain"
    chooser.value.set_files([dict(name=name, mimeType=kind, buffer=content.encode()) for name, content in files])


def open_code(page):
    "Unfold the lines of Python, and copy them."
    page.page.get_by_text("The same in Python").locator("visible=true").first.click()
    copy = page.page.get_by_role("button", name=re.compile("Cop")).locator("visible=true").first
    copy.click()
    return page.page.evaluate("navigator.clipboard.readText()")


def run_code(lab, code):
    "Run lines of Python beside the notebooks, in a process of their own."
    env = dict(PYTHONPATH=str(ROOT), PATH="/usr/bin:/bin", OMP_NUM_THREADS="1")
    done = subprocess.run([KERNEL, "-c", code], cwd=lab.work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def verified(lab, name):
    "The exit code of `textgen verify`, and what it says."
    env = dict(PYTHONPATH=str(ROOT), PATH="/usr/bin:/bin", OMP_NUM_THREADS="1")
    command = [KERNEL, "-m", "textgen", "verify", name]
    done = subprocess.run(command, cwd=lab.work, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def lines_of(file):
    "The records of JSON lines."
    return [json.loads(line) for line in file.read_text().splitlines()]
