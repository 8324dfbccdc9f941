"A trained model is replaced only by itself, by its own run that is resumed, or where that is said."

import pytest
from textgen import ModelError, TextGen
from textgen.training.callback import NoView

SETTINGS = dict(steps=2, batch_size=1, window=16, sample_every=0, view=NoView())
OPTIONS = "--steps", 2, "--batch-size", 1, "--window", 16, "--sample-every", 0


@pytest.fixture
def work(tiny, tok, data, tmp_path, monkeypatch):
    "A working directory with a trained model in it."
    monkeypatch.chdir(tmp_path)
    tiny(tok, seed=3).train(data, save_to="m", **SETTINGS)
    return tmp_path


COMMANDS = {
    "another model": ("train", "CACHE", "--model", "MODEL", "--out", "m", *OPTIONS),
    "a new model": ("train", "CACHE", "--new", "mini", "--out", "m", *OPTIONS),
    "demo": ("demo", "--steps", 1, "--out", "m"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_another_model_in_the_way(command, work, cli, cache, model_folder, snapshot):
    words = [dict(CACHE=cache, MODEL=model_folder).get(w, w) for w in COMMANDS[command]]
    before = snapshot(work)
    said = cli(*words)
    assert said.code == 1 and "m holds another model" in said.err and "--overwrite" in said.err, said
    assert snapshot(work) == before and not said.out
    assert cli(*words, "--overwrite").code == 0 and snapshot(work) != before


def test_in_python(work, tiny, tok, data, snapshot):
    before = snapshot(work)
    with pytest.raises(ModelError, match="m holds another model; .* overwrite=True"):
        tiny(tok).train(data, save_to="m", **SETTINGS)
    with pytest.raises(ModelError, match="m holds another model"):
        tiny(tok).train(data, save_to=work / "m", resume=False, **SETTINGS)
    assert snapshot(work) == before
    tiny(tok).train(data, save_to="m", overwrite=True, **SETTINGS)


def test_ones_own_run(work, tiny, tok, data):
    "The model that lies there is trained further, under any name of its folder, and by the object that wrote it."
    tg = TextGen("m", device="cpu")
    tg.train(data, save_to=work / "m", **SETTINGS)
    tg.train(data, save_to="m", **SETTINGS)
    new = tiny(tok)
    new.save("n")
    new.train(data, save_to="n", **SETTINGS)
    (work / "link").symlink_to("m")
    TextGen("link", device="cpu").train(data, save_to="m", **SETTINGS)


def test_resume(work, tiny, tok, data, cli, cache, model_folder):
    "A run that is taken up replaces what it saved; where there is nothing to take up, it is another model."
    more = SETTINGS | dict(steps=3)
    run = tiny(tok, seed=3).train(data, save_to="m", resume="force", **more)
    assert run.steps == 3
    tiny(tok, seed=3).train(data, save_to="bare", resume_state=False, **SETTINGS)
    with pytest.raises(ModelError, match="bare holds another model"):
        tiny(tok).train(data, save_to="bare", resume=True, **SETTINGS)


def test_the_panel(work, cli, data):
    from textgen.widgets import TrainPanel

    panel = TrainPanel(steps=1, batch_size=1, window=16, save_to="m", sample_every=0)
    panel.train()
    assert "m holds another model" in panel.messages.value and not panel.button.disabled and panel.thread is None
    panel.replace.value = True
    panel.train().wait()
    panel.replace.value = False
    assert panel.train().wait().run.steps == 1
