"The panels in a browser, as a person goes through them: `make test-browser`."

import json
import re
import time
import pytest
from acts import WILD, alert, choose_file, fill, no_hit, open_code, run_code, says, steps_done, wait_for_step
from playwright.sync_api import expect

TRAIN = "from textgen.widgets import TrainPanel\n"
TRAIN += "panel = TrainPanel(steps={steps}, window=32, batch_size=2{more})\npanel"


def test_a_text_is_read(opened, lab):
    "Upload; a guess; a wrong column; the right one; an upload replaces nothing."
    (lab.work / "mail.csv").write_text("mine")
    page = opened("data.ipynb", "from textgen.widgets import DataPanel\nDataPanel()")
    page.run()
    page.button("Read").wait_for(timeout=120_000)
    page.field("Text").select_option("uploads from this computer")
    table = "id,subject,body\n" + "".join(f"{k},Re,The sea number {k % 7} is calm tonight\n" for k in range(20))
    choose_file(page, ("mail.csv", table))
    says(page, "there is another mail.csv already; the upload is mail-2.csv")
    says(page, "'body' is a guess")
    says(page, "The sea number 1 is calm tonight")
    says(page, re.compile("documents are there more than once"))
    assert (lab.work / "mail.csv").read_text() == "mine" and page.field("Column").input_value() == "body"
    page.shot("data-upload")
    fill(page, Column="boddy")
    page.button("Read").click()
    alert(page, "no column 'boddy'")
    page.page.get_by_text("details", exact=True).locator("visible=true").first.click()
    says(page, "Traceback")
    page.shot("data-error")


def test_texts_from_everywhere(opened, lab):
    "Several uploads, a folder, an address; the code reads the same."
    page = opened("where.ipynb", "from textgen.widgets import DataPanel\nDataPanel()")
    page.run()
    page.button("Read").wait_for(timeout=120_000)
    page.field("Text").select_option("uploads from this computer")
    choose_file(page, ("one.txt", "The sea is calm.\n"), ("two.txt", "The land is wide.\n"))
    says(page, "one.txt")
    says(page, "The first 2 of 2 documents")
    says(page, "The land is wide.")
    code = open_code(page)
    assert "from_files(['one.txt', 'two.txt']" in code and "2" in run_code(lab, f"{code}\nprint(len(data))")
    (lab.work / "folder").mkdir()
    for k in range(3):
        (lab.work / "folder" / f"{k}.txt").write_text(f"The {k}th text.\n")
    page.field("Text").select_option("a file, folder or address")
    fill(page, Path="folder")
    page.button("Read").click()
    says(page, "The first 3 of 3 documents")
    fill(page, Path=lab.url("files/folder/1.txt"))
    page.button("Read").click()
    says(page, "The first 1 of 1 documents")
    says(page, "The 1th text.")


def test_wrong_files(opened, lab):
    "A file that is not there, one that is no text, and one that is empty."
    (lab.work / "picture.txt").write_bytes(bytes(range(256)) * 40)
    (lab.work / "empty.txt").write_text("")
    page = opened("wrong.ipynb", "from textgen.widgets import DataPanel\nDataPanel()")
    page.run()
    page.field("Text").select_option("a file, folder or address")
    for name, words in (("nowhere.txt", "no such file"), ("empty.txt", "empty"), ("picture.txt", "picture.txt")):
        fill(page, Path=name)
        page.button("Read").click()
        alert(page, words)
    page.field("Text").select_option("uploads from this computer")
    page.button("Read").click()
    alert(page, "upload a file first")


def test_names_and_texts_stay_text(opened, lab):
    "Of a file, of what is in it, and of a task."
    name = "<img src=x onerror='window.hit=1'>.txt"
    (lab.work / name).write_text("\n".join(WILD * 6))
    cell = f"from textgen.widgets import Studio\nstudio = Studio()\nWILD = {WILD[1]!r}\nstudio"
    more = "view = studio.train.view\nview.start(4, 0)\nview.update(2, [3., 2.], 2.5, 9., {WILD: 2., 'b': 1.})\n"
    more += "from types import SimpleNamespace\nview.sample(2, [SimpleNamespace(text=WILD + 'sampled', prompt=WILD)])\n"
    page = opened("wild.ipynb", cell, more + "studio.train.note(WILD)")
    page.run()
    page.field("Text").select_option("a file, folder or address")
    fill(page, Path=name)
    page.button("Read").click()
    for words in (WILD[0], WILD[2], r"\x1b[31mred"):
        says(page, words)
    page.run(1)
    page.page.get_by_role("tab", name="Train").click()
    says(page, WILD[1])
    says(page, f"{WILD[1]}{WILD[1]}sampled")
    no_hit(page)
    page.shot("wild")


def test_a_model_is_trained(opened, lab):
    "Loss falls, samples with their step; pause, go on, stop; the code is copied; resumed after a restart."
    page = opened("train.ipynb", TRAIN.format(steps=400, more=", save_every=5, sample_every=20, validation=0.1"), "1+1")
    page.run()
    for name in ("Start from", "Train", "Steps", "Batch size", "Learning rate", "Held-out share", "Save to"):
        label = page.page.locator(".tg-panel label").filter(has_text=re.compile(f"^{name}$"))
        assert label.evaluate("o => (o.title || o.firstElementChild.title).length") > 10  # why it is as it is
    page.button("Train").click()
    says(page, "at the speed of this machine")
    says(page, "held out")
    wait_for_step(page, 22)
    says(page, "step 20")
    page.run(1)  # the notebook is free meanwhile
    expect(page.page.locator(".jp-OutputArea-output").filter(has_text=re.compile("^2$"))).to_be_visible()
    page.button("Pause").click()
    page.button("Go on").wait_for()
    time.sleep(1)
    step = steps_done(page)
    time.sleep(2)
    assert steps_done(page) == step
    page.shot("train-paused")
    page.button("Go on").click()
    wait_for_step(page, step + 5)
    page.page.keyboard.press("Control+s")  # what is not saved is gone with the page
    page.page.wait_for_timeout(3000)
    page.page.reload()  # in the middle of a run
    page.button("Stop").wait_for(timeout=120_000)
    wait_for_step(page, step + 10)
    page.button("Stop").click()
    says(page, "new texts")
    says(page, "stopped")
    copied = open_code(page)
    assert copied.startswith("from textgen import TextGen") and "tg.train(data, steps=400" in copied
    page.shot("train-stopped")
    page.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.page.locator('.lm-Menu-item[data-command="kernelmenu:restart"]').click()
    page.page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    time.sleep(3)
    page.run()
    page.button("Go on with it").click()
    says(page, "resumed after step")
    page.button("Stop").click()
    says(page, "new texts")


def test_cells_below_a_panel(opened, lab):
    "Cells below a panel wait without making Stop deaf, or say that nothing is trained."
    wait = "panel.train()\n(await panel).run.stopped"
    page = opened("all.ipynb", TRAIN.format(steps=5000, more=", save_to=None"), "panel.textgen", wait)
    page.run()
    page.button("Train").wait_for(timeout=120_000)
    page.run(1)
    expect(page.page.get_by_text("not trained yet").first).to_be_visible()
    page.run(2)
    wait_for_step(page, 3)
    page.button("Stop").click()
    says(page, "new texts")
    expect(page.page.locator(".jp-OutputArea-output").filter(has_text=re.compile("^True$"))).to_be_visible()


def test_a_full_disk(opened, lab, small_disk):
    "A disk that is full for an upload, for a model and for texts; each is one line that says so."
    place, lines = small_disk
    made = "studio = Studio(steps=2, window=16, batch_size=1, save_to='m')\nstudio"
    save = f"studio.train.textgen.save({str(lab.work / 'saved')!r})"
    page = opened("full.ipynb", lines + "from textgen.widgets import Studio\n" + made, save)
    page.run()
    page.button("Read").wait_for(timeout=120_000)
    page.field("Text").select_option("uploads from this computer")
    choose_file(page, ("large.txt", "The sea is calm tonight.\n" * 200_000))
    alert(page, re.compile("cannot write the upload large.txt: .*; free some space"))
    page.field("Text").select_option("bundled poems")
    page.page.get_by_role("tab", name="Train").click()
    page.button("Train").click()
    alert(page, re.compile("No space left|File too large|the trained model is in memory"))
    page.shot("full-disk")
    says(page, "what was learned is not lost")
    page.run(1)
    page.wait_for(lab.work / "saved" / "config.json")
    left = sorted(o.name for o in place.iterdir())
    assert left == [".m.panel.json"], left  # nothing half-written


def test_two_panels_and_no_kernel(opened, lab):
    "Two panels at once do not disturb each other; the saved notebook shows the last state without a kernel."
    cell = TRAIN.format(steps=12, more=", save_to='{0}'")
    page = opened("two.ipynb", cell.replace("{0}", "one"), cell.replace("{0}", "two").replace("panel", "other"))
    page.run(0)
    page.run(1)
    for k in (0, 1):
        page.button("Train", k).click()
    expect(page.page.locator(".tg-panel").filter(has_text="new texts")).to_have_count(2, timeout=180_000)
    page.page.keyboard.press("Control+s")
    saved = lab.work / "two.ipynb"
    for _ in range(100):
        outputs = [o for c in json.loads(saved.read_text())["cells"] for o in c["outputs"]]
        html = "".join("".join(o.get("data", {}).get("text/html", "")) for o in outputs)
        if html.count("new texts") >= 2:
            break
        time.sleep(0.3)
    assert html.count("tg-static") >= 2 and html.count("12 of 12") >= 2 and "<svg" in html
    page.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.page.locator('.lm-Menu-item[data-command="kernelmenu:shutdown"]').click()
    page.page.wait_for_timeout(2000)
    page.page.reload()
    expect(page.page.locator(".tg-static:visible")).to_have_count(2)
    expect(page.page.get_by_text("new texts").first).to_be_visible()
    for words in ("Error displaying widget", "Loading widget"):
        expect(page.page.get_by_text(words).locator("visible=true")).to_have_count(0)
    page.shot("no-kernel")


@pytest.mark.parametrize("theme, width", [("Light", 1200), ("Dark", 1200), ("Light", 390)])
def test_it_looks_well(opened, lab, theme, width):
    "Screenshots of the whole way; nothing is wider than the page."
    made = f"Studio(steps=30, window=32, validation=.1, save_to='m-{theme}{width}')"
    cell = f"from textgen.widgets import Studio\nstudio = {made}\nstudio"
    page = opened(f"look-{theme}{width}.ipynb", cell, theme=f"JupyterLab {theme}", width=width, height=1500)
    page.run()
    page.button("Read").click()
    says(page, "The first 5 of")
    page.shot(f"data-{theme}-{width}")
    page.page.get_by_role("tab", name="Train").click()
    page.button("Train").click()
    says(page, "new texts")
    page.page.get_by_text("The same in Python").locator("visible=true").first.click()
    for name in ("Train", "Write"):
        page.page.get_by_role("tab", name=name).click()
        panel = page.page.locator(".tg-panel").first
        if name == "Write":
            fill(page, Prompt="The sea", Length=40)
            page.button("Write").click()
            page.button("Probabilities").click()
            page.page.locator(".tg-card .tg-token:visible").nth(2).hover()
            says(page, "in its place:")
        panel.evaluate("o => o.scrollIntoView()")
        time.sleep(1)
        page.shot(f"{name.lower()}-{theme}-{width}")
        assert panel.evaluate("o => o.scrollWidth <= o.clientWidth + 2")
