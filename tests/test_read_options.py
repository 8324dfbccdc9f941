"Everything that takes text reads it by the words of `TokenDataset.from_files`: Python, the terminal and the panel."

import inspect
from dataclasses import fields
from datetime import UTC, datetime
import pytest
import typer
from textgen import TextGen, TokenDataset, documents, train_tokenizer
from textgen.panels.source import OWN, UPLOAD, ReadFields
from textgen.settings import ReadSettings
from textgen.widgets import DataPanel, TrainPanel

ENCODING = {"sources", "tokenizer", "dedupe", "save", "compress"}  # what is encoded, and what becomes of it
READING = [name for name in inspect.signature(TokenDataset.from_files).parameters if name not in ENCODING]
FUNCTIONS = {"where"}  # no terminal and no field can hold one
PYTHON = dict(train=TextGen.train, evaluate=TextGen.evaluate, documents=documents)
PYTHON |= dict(train_tokenizer=train_tokenizer, panel=TrainPanel, data_panel=DataPanel)


def _commands():
    "The commands of the terminal that take texts, with their options."
    from textgen.cli import app

    for name, command in typer.main.get_command(app).commands.items():
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        if name in ("tokenizer", "encode", "train"): yield name, options


@pytest.mark.parametrize("name", READING)
def test_every_word_of_from_files(name):
    "A new parameter of `from_files` fails here until all others take it."
    lacking = [where for where, f in PYTHON.items() if name not in inspect.signature(f).parameters]
    assert not lacking and name in {f.name for f in fields(ReadSettings)}
    if name in FUNCTIONS: return
    option = "--" + name.replace("_", "-")
    assert [command for command, options in _commands() if option not in options] == []
    assert name in ReadFields({}).fields


def test_defaults_are_the_same():
    given = inspect.signature(TokenDataset.from_files).parameters
    for f in (TextGen.train, TextGen.evaluate, train_tokenizer, TrainPanel, DataPanel):
        taken = inspect.signature(f).parameters
        assert [n for n in READING if taken[n].default != given[n].default] == []


# name -> (name of the file, its bytes, how it is read, its documents)
FILES = dict(
    column=("a.csv", b"id,tweet\n1,one sea\n2,two seas\n", dict(column="tweet"), ["one sea", "two seas"]),
    template=("a.jsonl", b'{"t": "T", "b": "sea"}\n', dict(template="{t}\n\n{b}"), ["T\n\nsea"]),
    quoting=("a.tsv", b'id\ttext\n1\t"Oh" he said\n2\tyes\n', dict(quoting="none"), ['"Oh" he said', "yes"]),
    encoding=("a.txt", b"Gr\xfc\xdfe", dict(encoding="latin-1"), ["Gr\u00fc\u00dfe"]),
    by=("a.txt", b"one\n---\ntwo", dict(by="\n---\n"), ["one", "two"]),
    newlines=("a.txt", b"one\r\ntwo", dict(newlines=False), ["one\r\ntwo"]),
    where=("a.txt", b"one\ntwo", dict(by="line", where=lambda text: text == "two"), ["two"]),
)


def _made(tmp_path, name):
    file, content, how, wanted = FILES[name]
    path = tmp_path / file
    path.write_bytes(content)
    return path, how, wanted


def test_there_is_a_file_for_every_word():
    assert {*FILES} == {*READING}


@pytest.mark.parametrize("name", FILES)
def test_it_reaches_the_text(name, tmp_path, tiny, tok):
    "Training, evaluation, a task with its own preprocessor and the terminal read what `from_files` reads."
    from textgen.tasks.source import as_source, read_as
    from textgen.text.codec import Codec

    path, how, wanted = _made(tmp_path, name)
    data = TokenDataset.from_files(path, tok, **how)
    assert [data.decode(data[i]) for i in range(len(data))] == wanted
    tg = tiny(tok)
    seen = read_as(as_source(path), how).dataset(Codec(tok))
    assert seen.tokens[:].tolist() == data.tokens[:].tolist()
    assert tg.evaluate(path, **how).loss == pytest.approx(tg.evaluate(data).loss, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in FILES if n not in FUNCTIONS])
def test_the_terminal(name, tmp_path, tok_folder, cli):
    path, how, wanted = _made(tmp_path, name)
    words = []
    for option, value in how.items():
        words += [f"--no-{option}"] if value is False else [f"--{option}", value.replace("\n", "\\n")]
    out = cli("encode", path, "--tokenizer", tok_folder, "--out", tmp_path / "a.tokens", *words)
    assert out.code == 0, out.err
    data = TokenDataset.load(tmp_path / "a.tokens")
    assert [data.decode(data[i]) for i in range(len(data))] == wanted


@pytest.mark.parametrize("upload", [False, True], ids=["path", "upload"])
@pytest.mark.parametrize("name", [n for n in FILES if n not in FUNCTIONS])
def test_the_fields_of_the_panel(name, upload, tmp_path, monkeypatch):
    "What is typed is what `from_files` is given, and stands in the code; a click is enough for what is ticked."
    path, how, wanted = _made(tmp_path, name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    panel = TrainPanel()
    panel.source.menu.value = UPLOAD if upload else OWN
    if upload:
        when, content = datetime.now(UTC), path.read_bytes()
        panel.source.upload.value = [dict(name=path.name, type="", size=1, content=content, last_modified=when)]
    else:
        panel.source.path.value = str(path)
    typed = panel.source.reading.fields
    for field, value in how.items():
        typed[field].value = value.replace("\n", "\\n") if isinstance(value, str) else value
        assert typed[field].layout.display != "none"
    text, _ = panel.source.text()
    assert text.reading == how and [d.text for d in documents(text.source, **text.reading)] == wanted
    panel.start.menu.value = "new: mini"
    code = panel.code()
    assert code.count(", ".join(f"{k}={v!r}" for k, v in how.items())) == 2
    compile(code, "code", "exec")


def test_fields_that_do_not_belong_to_a_file():
    "They are hidden, and what was typed into them before does not count."
    source = TrainPanel().source
    typed = source.reading.fields
    assert source.reading.box.layout.display == "none"
    source.menu.value, source.path.value = OWN, "a.csv"
    typed["column"].value, typed["quoting"].value = "tweet", "none"
    assert source.draft().reading == dict(column="tweet", quoting="none")
    source.path.value = "a.parquet"
    assert source.draft().reading == dict(column="tweet") and typed["quoting"].layout.display == "none"
    source.path.value = "a.txt"
    assert source.draft().reading == {} and typed["by"].layout.display == ""
    source.path.value = "folder"
    assert source.draft().reading == dict(column="tweet", quoting="none")
    assert source.reading.box.layout.display == ""


def test_what_is_given_in_code():
    "A field says otherwise, an empty one says nothing; a function is named in the code."
    def is_long(row): return len(row["tweet"]) > 9

    panel = TrainPanel(column="tweet", newlines=False, where=is_long, batch_size=2)
    source, typed = panel.source, panel.source.reading.fields
    source.menu.value, source.path.value = OWN, "a.csv"
    assert source.draft().reading == dict(column="tweet", newlines=False, where=is_long)
    typed["column"].value, typed["newlines"].value = "text", True
    assert source.draft().reading == dict(column="text", where=is_long)
    assert "where=is_long" in panel.code() and "batch_size=2" in panel.code()
    source.reading.given["where"] = lambda row: True
    compile(panel.code(), "code", "exec")
