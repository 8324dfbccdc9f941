"A file that is given as data is read as text and never run; only `--task FILE.py:NAME` and `Task.get` run one."

import pytest
from textgen import CorpusError, Mixture, Task, TaskError, TokenDataset, train_tokenizer
from textgen.training.callback import NoView

WORDS = "# the moon is a word of this file, and the sea is another one\n"
SCRIPT = f"""{WORDS * 40}
from pathlib import Path
from textgen import Task
Path("trace").touch()
mine = Task("mine", ["the moon over the sea, "*40])
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    "A script that leaves a trace in the working directory when it runs."
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "a.txt").write_text("the sea is calm tonight, " * 40)
    yield "script.py"


def left(folder):
    return (folder / "trace").exists()


SETTINGS = dict(steps=1, batch_size=1, window=16, sample_every=0, view=NoView())


def test_the_script_leaves_a_trace_when_it_runs(script, tmp_path):
    "Without this the tests below could not fail."
    assert Task.get("script.py:mine").name == "mine" and left(tmp_path)


DATA = {
    "a name": lambda s: s,
    "a path": lambda s: s.absolute(),
    "one in a list": lambda s: [s],
    "a list": lambda s: [s, "a.txt"],
    "beside a task": lambda s: ["poems", s],
    "a pattern": lambda s: "*.py",
    "a task": lambda s: Task("t", s),
    "a mixture": lambda s: Mixture([s, "poems"]),
}


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
@pytest.mark.parametrize("how", DATA)
def test_data_is_read(how, kind, script, tmp_path, tiny, tok):
    from pathlib import Path
    from textgen import TextGen

    tg = tiny(tok) if kind == "causal" else TextGen.new("t5-mini", tok, device="cpu")
    data = DATA[how](Path(script) if how == "a path" else script)
    run = tg.train(data, **SETTINGS)
    assert run.steps == 1 and tg.evaluate(data, window=64).tokens > 20 and not left(tmp_path)


def test_held_out_text_is_read(script, tmp_path, tiny, tok):
    tg = tiny(tok)
    tg.train([script, "a.txt"], validation=0.5, **SETTINGS)
    tg.train(Task("t", "a.txt", splits=dict(validation=script)), **SETTINGS)
    assert tg.evaluate(Task("t", "a.txt", splits=dict(validation=script))).tokens > 20 and not left(tmp_path)


def test_the_text_of_a_script(script, tmp_path, tok):
    "It is what is in the file, byte for byte."
    assert list(Task("t", script).texts()) == [SCRIPT]
    data = TokenDataset.from_files(script, tok)
    assert data.decode(data[0]) == SCRIPT and len(train_tokenizer(script, vocab_size=300)) and not left(tmp_path)


@pytest.mark.parametrize(
    "data", ["script.py:mine", ["script.py:mine"], ["a.txt", "script.py:mine"], ["poems", "script.py:mine"]], ids=str
)
def test_a_task_in_a_file_is_no_data(data, script, tmp_path, tiny, tok):
    "A string of that form is refused with the way that runs it, by training and evaluation alike."
    for give in (lambda: tiny(tok).train(data, **SETTINGS), lambda: tiny(tok).evaluate(data), lambda: Mixture(data)):
        with pytest.raises(
            TaskError, match=r"only read, never run; .*Task.get\('script.py:mine'\), or --task script.py:mine"
        ):
            give()
    assert not left(tmp_path)


def test_texts_that_look_like_it(script, tmp_path, tok):
    "Texts are texts, where the file they seem to name is not there."
    assert list(Task("t", ["see main.py:it works", "two"]).texts()) == ["see main.py:it works", "two"]
    with pytest.raises(TaskError, match="unknown task 'main.py:it'"):
        Mixture("main.py:it")
    with pytest.raises((TaskError, CorpusError), match="unknown task 'main.py'"):
        Mixture("main.py")


def test_in_the_terminal(script, tmp_path, cli, model_folder):
    options = "--steps", 1, "--batch-size", 1, "--window", 16, "--sample-every", 0, "--out", "m", "--overwrite"
    for data in ([script], ["*.py"], [script, "a.txt"], [script, "--task", "poems"]):
        said = cli("train", *data, "--model", model_folder, *options)
        assert said.code == 0 and not left(tmp_path), said.err
    assert cli("train", script, "--new", "mini", "--tokenizer", model_folder, *options).code == 0 and not left(tmp_path)
    assert (
        cli("encode", script, "--tokenizer", model_folder, "--out", "s.tokens").code == 0
        and cli("info", script).code == 0
        and not left(tmp_path)
    )
    said = cli("train", "script.py:mine", "--model", model_folder, *options)
    assert said.code == 1 and "--task script.py:mine" in said.err and not left(tmp_path)
    said = cli("train", "--task", script, "--model", model_folder, *options)
    assert said.code == 1 and "which task? Write script.py:NAME" in said.err and not left(tmp_path)


def test_a_task_in_a_file_is_run_when_asked_for(script, tmp_path, cli, model_folder):
    said = cli(
        "train",
        "--task",
        "script.py:mine",
        "--model",
        model_folder,
        "--steps",
        1,
        "--batch-size",
        1,
        "--window",
        16,
        "--sample-every",
        0,
        "--out",
        "m",
    )
    assert said.code == 0 and left(tmp_path), said.err


def test_tasks_of_a_file_are_listed(script, tmp_path, cli):
    said = cli("tasks", script)
    assert said.code == 0 and left(tmp_path) and "script.py:mine  list in memory" in said.out


def test_help_says_so(cli):
    import re

    flat = lambda text: re.sub(r"\s+", " ", text)
    said = flat(cli("train", "--help").out)
    assert "which runs that file" in said and "read and never run" in said
    assert "it is run" in flat(cli("tasks", "--help").out)
