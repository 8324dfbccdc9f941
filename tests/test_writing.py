"""Writing: streams that are stopped, what comes next by another path, selections, the panel as a person drives it."""
import asyncio
import gc
import json
import threading
import time
import weakref
import pytest
import torch
from textgen import GenerateError, ModelError, Receipt, TextGen, TokenDataset
from textgen.generation.samples import Sample
from textgen.panels.card import Ask, Card
from textgen.panels.generate import GeneratePanel
from textgen.panels.results import Selection, places, places_html

HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> [a](javascript:alert(3)) \x1b[31mred\x1b[0m &amp;"


@pytest.fixture(scope="module")
def t5(tok):
    "A small model with an input."
    return TextGen.new("t5-mini", tok, seed=1, context=64, device="cpu")


@pytest.fixture
def panel(tg, tmp_path, monkeypatch):
    "A panel on the tiny model, with short texts, in an empty folder."
    monkeypatch.chdir(tmp_path)
    made = GeneratePanel(tg)
    made.fields.prompt.value = "The sea"
    made.fields.settings["max_new_tokens"].value = 10
    made.fields.seed.value, made.fields.new_seed.value = "3", False
    return made


def written(panel):
    "Press the button, and wait."
    panel.go.click()
    panel.wait()
    return panel.cards[0]


# ---- streams
def test_another_thread_stops_a_stream(tg):
    stream, read = tg.stream("The", seed=1, max_new_tokens=10**6, min_new_tokens=10**6-1, temperature=1.5), []
    reader = threading.Thread(target=lambda: read.extend(stream))
    reader.start()
    while not stream._progress.row or len(stream._progress.row.ids)<20: time.sleep(.001)
    stream.close()
    seen = len(stream._progress.row.ids)
    reader.join(10)
    assert not reader.is_alive() and stream.sample.finish_reason=="closed"
    assert len(stream.sample.tokens)<=seen+1  # the token that was being drawn
    assert stream.sample.text.startswith("".join(read)) and list(stream)==[]
    assert stream.samples.receipt["samples"][0]["tokens"]==stream.sample.tokens


def test_a_stream_left_early_is_closed_and_freed(tg):
    for _ in tg.stream("The", seed=1): break
    stream = tg.stream("The", seed=1)
    for _ in stream: break
    assert stream._pieces.gi_frame is None  # nothing of the text's state is held
    held = tg.stream("The", seed=1)
    next(held)
    pieces = weakref.ref(held._pieces)
    gc.disable()  # counting references is enough
    try:
        del held
        assert pieces() is None
    finally: gc.enable()


def test_a_stream_closed_before_it_began(tg):
    stream = tg.stream("The")
    stream.close()
    assert list(stream)==[]
    with pytest.raises(GenerateError, match="never begun"): stream.samples


def test_a_stream_is_that_sample_of_several(tg, t5):
    for model in (tg, t5):
        several = model.generate("The sea", n=3, seed=5, max_new_tokens=12, temperature=1.)
        for i in range(3):
            stream = model.stream("The sea", index=i, seed=5, max_new_tokens=12, temperature=1.)
            assert "".join(stream)==several[i].text and stream.sample.tokens==several[i].tokens
            assert stream.sample.index==i


# ---- what comes next
def test_next_tokens_after_some_are_those_of_transformers(tg, t5):
    "The reference is one forward pass of the plain model, with a softmax over all its rows that have a token."
    after = tg.generate("The sea", seed=2, max_new_tokens=6)[0].tokens
    ids = torch.tensor([tg.codec.prompt_ids("The sea")+after])
    want = tg.model(ids).logits[0, -1, :len(tg.codec)].double().softmax(-1)
    found = tg.next_tokens("The sea", k=4, after=after)
    assert [o.id for o in found]==want.topk(4).indices.tolist()
    assert [o.probability for o in found]==pytest.approx(want.topk(4).values.tolist(), abs=1e-5)
    after = [5, 9, 7]
    source = torch.tensor([t5.tokenizer("The sea").input_ids])
    start = torch.tensor([[t5.model.config.decoder_start_token_id, *after]])
    want = t5.model(input_ids=source, decoder_input_ids=start).logits[0, -1, :len(t5.codec)].double().softmax(-1)
    found = t5.next_tokens("The sea", k=4, after=after)
    assert [o.probability for o in found]==pytest.approx(want.topk(4).values.tolist(), abs=1e-5)


def test_places_are_next_tokens(tg, t5):
    for model in (tg, t5):
        sample = model.generate("The sea", seed=2, max_new_tokens=8)[0]
        found = places(model, sample, k=3)
        assert len(found)==len(sample.tokens) or model is tg
        for i in (0, len(found)-1):
            same = model.next_tokens("The sea", k=3, after=sample.tokens[:i])
            assert [o.id for o in found[i].likeliest]==[o.id for o in same]
            every = {o.id: o.probability for o in model.next_tokens("The sea", k=10**4, after=sample.tokens[:i])}
            assert found[i].probability==pytest.approx(every[sample.tokens[i]], abs=1e-5)
    long = tg.generate("The sea", seed=2, max_new_tokens=100, min_new_tokens=90)[0]
    assert len(places(tg, long))==tg.context-len(tg.codec.prompt_ids("The sea"))


# ---- selections
def test_a_selection_of_several_calls(tg, tmp_path):
    a, b = tg.generate("The sea", n=3, seed=1, max_new_tokens=5), tg.generate("A", seed=2, max_new_tokens=5)
    a[1].discard()
    kept = Selection().add(a).add(b, text=HOSTILE)
    receipt = Receipt.load(f"{kept.save(tmp_path/'k.jsonl')}.receipt.json")
    found = [(r["call"], r["sample"], r["edited"]) for r in receipt["samples"]]
    assert found==[(0, 0, False), (0, 2, False), (1, 0, True)]
    rows = [json.loads(line) for line in (tmp_path/"k.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows]==[0, 1, 2] and rows[2]["text"]==HOSTILE
    assert receipt["calls"][0]["samples"]==[o for o in a.receipt["samples"] if o["index"]!=1]
    data = TokenDataset.from_files(kept.save_documents(tmp_path/"d.jsonl"), tg.tokenizer)
    assert len(data)==3 and kept.documents()[2]=="A"+HOSTILE


def test_samples_are_trained_on(tg, model_folder, tmp_path):
    "The texts with their prompts, those that were saved and loaded again too; discarded ones are left out."
    out = tg.generate("The sea", n=4, seed=1, max_new_tokens=40)
    out[1].discard()
    again = type(out).load(out.save(tmp_path/"a.jsonl"))
    hashes = set()
    for texts in (out, again, [str(s) for s in out if s.index!=1]):
        learner = TextGen(model_folder, device="cpu")
        learner.train(texts, steps=1, batch_size=2, window=16, sample_every=0)
        [data] = learner.receipt["data"]
        hashes.add(data["sha256"])
        assert data["documents"]==3
    assert len(hashes)==1


# ---- the panel
def test_the_lines_of_python_do_the_same(panel, model_folder):
    panel.use(str(model_folder))
    panel.fields.settings["n"].value = 2
    panel.fields.settings["temperature"].value = 1.2
    panel.fields.prompt.value = "It's \"the\"\nsea"
    first = written(panel)
    first.mark("keep")
    panel.cards[1].mark("keep")
    panel.cards[1].edit()
    panel.cards[1].editor.value = HOSTILE
    panel.cards[1].edit()
    scope = {}
    exec(panel.code(), scope)
    assert [s.text for s in scope["out"]]==[first.written.text, panel.cards[1].written.sample.text]
    assert scope["kept"].documents()==panel.selection().documents()
    assert [r["edited"] for r in Receipt.load("kept.jsonl.receipt.json")["samples"]]==[False, True]


def test_a_stopped_text_is_kept_and_is_the_same_in_python(panel, tg):
    panel.fields.settings["max_new_tokens"].value = 10**6
    panel.fields.settings["n"].value = 5
    panel.fields.settings["temperature"].value = 1.5
    panel.write()
    while not panel.cards or not panel.cards[0].written.text.strip(): time.sleep(.001)
    panel.halt.click()
    panel.wait()
    assert len(panel.cards)<=2 and panel.halt.disabled and not panel.go.disabled
    card = panel.cards[0]
    card.mark("keep")
    scope = dict(tg=tg)
    exec(panel.code().split("out\n")[0].replace("out =", "call = lambda: "), scope)
    line = [o for o in panel.code().splitlines() if o.startswith("kept.add")][0]
    exec(f"from textgen.panels.results import Selection\nkept = Selection()\n{line}", scope)
    assert scope["kept"].chosen[0].sample.tokens==card.written.sample.tokens


def test_hostile_words_stay_text(panel):
    panel.fields.prompt.value = HOSTILE
    card = written(panel)
    card.mark("keep")
    card.edit()
    card.editor.value = HOSTILE
    card.edit()
    panel.keeping.path.value = "<img src=x onerror=alert(4)>.jsonl"
    panel.save_kept()
    panel.wait()
    card.written.sample.text = HOSTILE
    panel.toggle_places(card)
    panel.wait()
    for shown in (panel.static(), card.view.value, panel.messages.value, panel.code_view.value, card.written.html()):
        assert not any(o in shown for o in ("<script>alert", "<img", "\x1b")), shown
    assert "[a](javascript:alert(3))" in card.view.value
    found = places(panel.textgen(), panel.textgen().generate("The sea", seed=1, max_new_tokens=5)[0])
    assert found and "<script>" not in places_html(Sample("<script>", "<script>", [], 0., "end", 0), found)


def test_errors_are_one_line_with_a_folded_traceback(panel, tmp_path):
    panel.keeping.path.value = "none.jsonl"
    panel.keeping.save.click()
    with pytest.raises(GenerateError, match="keep a text first"): panel.wait()
    assert panel.messages.value.count("tg-error")==1 and "<details><summary>" in panel.messages.value
    written(panel).mark("keep")
    (tmp_path/"file").touch()
    panel.keeping.path.value = "file/kept.jsonl"
    panel.keeping.save.click()
    with pytest.raises((GenerateError, OSError)): panel.wait()
    assert panel.said[-1][0]=="error" and "\n" not in panel.said[-1][1] and not panel.busy
    panel.fields.seed.value = "<b>"
    panel.go.click()
    assert "seed must be" in panel.said[-1][1] and not panel.busy and "# the seed must be" in panel.code_view.value
    broken = GeneratePanel("no/such folder")
    broken.write()
    with pytest.raises(ModelError): broken.wait()
    assert broken.said[-1][0]=="error" and broken.cards==[]


def test_go_on_and_again(panel, t5):
    first = written(panel)
    first.edit()
    first.editor.value = " was wide"
    first.edit()
    first.buttons["go_on"].click()
    panel.wait()
    assert [c.written.ask.prompt for c in panel.cards]==["The sea", "The sea was wide"]
    first.buttons["again"].click()
    panel.wait()
    assert panel.cards[1].written.ask.options["seed"]!=3
    panel.use(t5)
    card = written(panel)
    card.buttons["go_on"].click()
    panel.wait()
    assert panel.cards[1].written.sample.tokens[:10]==card.written.sample.tokens  # the same text, longer
    assert len(panel.cards[1].written.sample.tokens)==20


def test_nothing_is_overwritten(panel, tmp_path):
    (tmp_path/"kept.jsonl").write_text("mine")
    written(panel).mark("keep")
    for _ in range(2):
        panel.keeping.save.click()
        panel.wait()
    panel.keeping.train.click()
    panel.wait()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names==["kept-2.jsonl", "kept-2.jsonl.receipt.json", "kept-documents.jsonl", "kept.jsonl"]
    assert (tmp_path/"kept.jsonl").read_text()=="mine"


def test_two_panels_write_at_once(panel, tg):
    other = GeneratePanel(tg)
    other.fields.prompt.value, other.fields.seed.value, other.fields.new_seed.value = "A", "4", False
    other.fields.settings["max_new_tokens"].value = 10
    panel.write()
    other.write()
    panel.wait()
    other.wait()
    assert panel.cards[0].written.text==tg.generate("The sea", max_new_tokens=10, seed=3)[0].text
    assert other.cards[0].written.text==tg.generate("A", max_new_tokens=10, seed=4)[0].text


def test_a_panel_waits_in_the_event_loop(panel):
    async def write():
        panel.write()
        await panel
        return panel.cards[0].written.text
    assert asyncio.run(write())


def test_a_new_seed_is_shown(panel):
    panel.fields.new_seed.value = True
    card = written(panel)
    assert panel.fields.seed.value==str(card.written.ask.options["seed"])!="3"
    assert f"seed={panel.fields.seed.value}" in panel.code()
    assert f"seed {panel.fields.seed.value}" in panel.static()


def test_a_card_alone():
    card = Card(Ask("a", dict(seed=1)))
    for name in ("again", "go_on", "places"): card.buttons[name].click()  # nobody is there
    assert "writing" in card.view.value
