"The panel that writes, in a browser, as a person goes through it."

import json
import re
import time
import pytest
from acts import WILD, alert, fill, lines_of, no_hit, open_code, run_code, says
from playwright.sync_api import expect

WRITE = "from textgen.widgets import GeneratePanel\npanel = GeneratePanel()\npanel"
BUSY = "import time\ntime.sleep(20)"


def cards(page):
    return page.page.locator(".tg-card:visible")


def press(card, name):
    "Press a button of a card; an icon stands before its name."
    card.locator("button").filter(has_text=re.compile(rf"^\W*{name}\W*$")).click()


def write(page, n=1):
    "Press Write, and wait for the end of so many texts."
    before = cards(page).count()
    page.button("Write").click()
    expect(cards(page)).to_have_count(before + n)
    expect(page.button("Stop")).to_be_disabled(timeout=120_000)


CONTRAST = """el => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
  const over = (a, b) => [0, 1, 2].map(k => a[k] * a[3] + b[k] * (1 - a[3]));
  const light = rgb => rgb.map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [.2126, .7152, .0722][k], 0);
  const layers = [];
  for (let e = el; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
  const below = layers.reverse().reduce((page, layer) => over(layer, page), [255, 255, 255]);
  const both = [over(parse(getComputedStyle(el).color), below), below].map(light).sort((a, b) => b - a);
  return (both[0] + .05) / (both[1] + .05);
}"""  # of the letters in an element, as WCAG 2 counts it


def begin(opened, name, *more, **how):
    page = opened(name, WRITE, *more, **how)
    page.run()
    page.button("Write").wait_for(timeout=120_000)
    return page


def test_texts_are_written_and_kept(opened, lab):
    "An empty prompt; kept ones to JSON lines and text, with their receipts; edited ones; the code writes the same."
    page = begin(opened, "write.ipynb")
    fill(page, Length=24, Texts=2)
    write(page, 2)
    prompts = cards(page).locator(".tg-text b").all_inner_texts()
    assert prompts == ["", ""] and all(len(t) > 10 for t in cards(page).locator(".tg-text").all_inner_texts())
    fill(page, Prompt="The sea", Texts=1)
    write(page)
    press(cards(page).nth(0), "Keep")
    press(cards(page).nth(1), "Keep")
    says(page, "kept 2")
    for name in ("kept.jsonl", "kept.txt"):
        fill(page, File_for_the_kept_texts=name)
        page.button("Save").click()
        says(page, f"in {name}: 2 texts, with a receipt beside the file")
    rows = lines_of(lab.work / "kept.jsonl")
    receipt = json.loads((lab.work / "kept.jsonl.receipt.json").read_text())
    assert [row["edited"] for row in receipt["samples"]] == [False, False] and len(receipt["calls"]) == 2
    assert [row["prompt"] for row in rows] == ["The sea", ""] and rows[0]["text"] in (lab.work / "kept.txt").read_text()
    assert all(row["text"].strip() in "".join(cards(page).all_inner_texts()) for row in rows)
    page.shot("write-kept")
    press(cards(page).nth(0), "Edit")
    editor = cards(page).nth(0).locator("textarea")
    expect(editor).to_have_value(rows[0]["text"])
    editor.fill(" was mine.")
    press(cards(page).nth(0), "Done")
    expect(cards(page).nth(0)).to_contain_text("edited")
    fill(page, File_for_the_kept_texts="edited.jsonl")
    page.button("Save").click()
    says(page, "in edited.jsonl: 2 texts")
    assert lines_of(lab.work / "edited.jsonl")[0]["text"] == " was mine."
    receipt = json.loads((lab.work / "edited.jsonl.receipt.json").read_text())
    assert [row["edited"] for row in receipt["samples"]] == [True, False]
    code = open_code(page)
    assert "kept.add(" in code and "kept.save('edited.jsonl')" in code
    (lab.work / "edited.jsonl").rename(lab.work / "before.jsonl")
    run_code(lab, code)
    texts = [[row["prompt"] + row["text"] for row in lines_of(lab.work / f"{o}.jsonl")] for o in ("edited", "before")]
    assert texts[0] == texts[1]


def test_a_text_streams_and_is_stopped(opened, lab):
    "It grows; Stop leaves what there is; go on from there, again with another seed, discarded and brought back."
    page = begin(opened, "stream.ipynb")
    fill(page, Prompt="The sea", Temperature=1, Length=3000, Texts=50)
    page.button("Write").click()
    cards(page).first.wait_for()
    grown = page.page.locator(".tg-cards:visible")
    lengths = []
    while len(lengths) < 30 and cards(page).count() < 40:
        lengths.append(len(grown.inner_text()))
        time.sleep(0.05)
    assert len(set(lengths)) > 5  # token by token, not all at once
    page.button("Stop").click()
    expect(page.button("Stop")).to_be_disabled()
    assert cards(page).count() < 50
    says(page, "stopped")
    fill(page, Length=12, Texts=1)
    fill(page, Temperature=-1)
    count = cards(page).count()
    page.button("Write").click()  # at once after the stop
    alert(page, "temperature")
    time.sleep(1)
    assert cards(page).count() == count
    fill(page, Temperature=1)
    page.button("Clear").click()
    expect(cards(page)).to_have_count(0)
    write(page)
    text = cards(page).first.locator(".tg-text").inner_text()
    press(cards(page).first, "Go on")
    expect(cards(page)).to_have_count(2)
    expect(cards(page).nth(1).locator(".tg-text b")).to_have_text(text.rstrip("\n"), use_inner_text=True)
    expect(page.button("Stop")).to_be_disabled()
    press(cards(page).first, "Again")
    expect(cards(page)).to_have_count(3)
    expect(page.button("Stop")).to_be_disabled()
    seeds = [o.split("seed ")[-1] for o in cards(page).all_inner_texts()]
    assert len(set(seeds)) == 3
    press(cards(page).first, "Discard")
    expect(cards(page).first).to_contain_text("discarded")
    page.shot("write-cards")
    press(cards(page).first, "Discard")
    expect(cards(page).first).not_to_contain_text("discarded")


def test_what_else_might_have_stood_there(opened):
    "The probabilities of a token, by pointing at it and by the keyboard; the same seed writes the same text."
    page = begin(opened, "places.ipynb")
    fill(page, Prompt="The sea", Length=20, Seed=7)
    page.page.get_by_label("a new seed each time").uncheck()
    write(page)
    write(page)
    a, b = (cards(page).nth(k).locator(".tg-text").inner_text() for k in (0, 1))
    assert a == b
    press(cards(page).first, "Probabilities")
    tokens = cards(page).first.locator(".tg-token")
    tokens.nth(2).hover()
    popup = tokens.nth(2).locator(".tg-popup")
    expect(popup).to_be_visible()
    expect(popup).to_contain_text("%")
    page.shot("write-places")
    page.page.mouse.move(0, 0)
    tokens.nth(1).click()
    page.page.mouse.move(0, 0)
    expect(tokens.nth(1).locator(".tg-popup")).to_be_visible()
    press(cards(page).first, "Probabilities")
    expect(cards(page).first.locator(".tg-token")).to_have_count(0)


def test_what_is_typed_is_heard_before_a_press(opened):
    "While a cell holds the kernel: a wrong temperature is refused, a right one is used."
    page = begin(opened, "order.ipynb", BUSY)
    fill(page, Length=8, Texts=1)
    write(page)
    page.run(1)
    fill(page, Temperature=-1)
    page.button("Write").click()
    alert(page, "temperature")
    assert cards(page).count() == 1
    fill(page, Temperature=0.5, Prompt="The sea")
    write(page)
    assert cards(page).first.locator(".tg-text b").inner_text() == "The sea"
    fill(page, Seed="x")
    page.page.get_by_label("a new seed each time").uncheck()
    page.button("Write").click()
    alert(page, "the seed must be a whole number")


def test_words_of_strangers_stay_text(opened, lab):
    "As a prompt, as what somebody wrote, as the name of a file."
    page = begin(opened, "wild-write.ipynb")
    words = "".join(WILD)
    fill(page, Prompt=words, Length=6)
    write(page)
    card = cards(page).first
    press(card, "Edit")
    card.locator("textarea").fill(words)
    press(card, "Done")
    press(card, "Keep")
    name = f"{WILD[1]}.jsonl"
    fill(page, File_for_the_kept_texts=name)
    page.button("Save").click()
    says(page, f"in {name}")
    assert lines_of(lab.work / name)[0]["text"] == words
    open_code(page)
    for part in WILD[:3]:
        says(page, part)
    no_hit(page)
    page.shot("wild-write")


def test_kept_texts_are_learned(opened, lab):
    "The whole way through the studio: read, train, write with what was trained, keep, read that, train on it."
    made = "Studio(steps=6, window=32, batch_size=2, save_to='studio')"
    page = opened("studio.ipynb", f"from textgen.widgets import Studio\nstudio = {made}\nstudio")
    page.run()
    page.button("Read").click()
    says(page, "The first 5 of")
    tab = lambda name: page.page.get_by_role("tab", name=name, exact=True).click()
    tab("Train")
    says(page, "poems")
    page.button("Train").click()
    says(page, "new texts")
    tab("Write")
    fill(page, Prompt="The sea", Length=40, Texts=2)
    write(page, 2)
    for k in (0, 1):
        press(cards(page).nth(k), "Keep")
    page.button("To training data").click()
    says(page, "in kept-documents.jsonl: 2 documents")
    rows = lines_of(lab.work / "kept-documents.jsonl")
    assert len(rows) == 2 and all(row["text"].startswith("The sea") for row in rows)
    tab("Data")
    says(page, "The first 2 of 2 documents")
    assert page.field("Path").input_value() == "kept-documents.jsonl"
    page.shot("studio-read-back")
    tab("Train")
    says(page, "kept-documents.jsonl")
    page.button("Train").click()
    says(page, re.compile(r"epochs of \d\d+; \d steps an epoch"))  # of two texts, not of the poems
    says(page, "new texts")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_texts_are_coloured(opened, lab, theme):
    "What was copied, beside a file that holds the text; without training data one line says what to do; probabilities."
    page = begin(opened, f"colours-{theme}.ipynb", theme=f"JupyterLab {theme}")
    fill(page, Prompt="The sea", Length=40, Seed=7)
    write(page)
    text = cards(page).first.locator(".tg-text").inner_text()
    (lab.work / "learned.txt").write_text(f"{WILD[0]} {WILD[1]}\n\n{text}\n\nAnother poem.\n", encoding="utf-8")
    menu = page.page.get_by_label("Colour by")
    menu.select_option("copied from")
    alert(page, "name it in the field 'Training data'")
    fill(page, Training_data="learned.txt")
    marks = cards(page).first.locator("mark")
    expect(marks.first).to_be_visible()
    expect(cards(page).first).to_contain_text("longest copied run")
    expect(page.page.locator(".tg-panel [role=alert]:visible")).to_have_count(0)
    page.shot(f"write-copied-{theme}")
    assert marks.count() >= 2 and all(mark.evaluate(CONTRAST) >= 4.5 for mark in marks.all())
    assert cards(page).first.locator("small").last.evaluate(CONTRAST) >= 4.5  # what is said of the text, in grey
    write(page)
    expect(cards(page).nth(1)).to_contain_text("longest copied run")
    menu.select_option("probability")
    expect(cards(page).first.locator(".tg-token").first).to_be_visible()
    expect(cards(page).first).to_contain_text("perplexity")
    page.shot(f"write-probability-{theme}")
    menu.select_option("nothing")
    expect(cards(page).first.locator(".tg-token")).to_have_count(0)
    no_hit(page)
