"""Where something is written: a device, a pipe, or an address that cannot be written is refused in one line, by every
writer, before any work."""

import os
from pathlib import Path
import pytest
from textgen import GenerateError, Receipt, TextGen, TextGenError, TokenDataset, train_tokenizer
from textgen.core import atomic_folder, atomic_path, check_place
from textgen.training.callback import NoView
from textgen.training.evaluate import Run

READ_ONLY = "it can only be read"
ADDRESSES = {
    "https://example.org/x": READ_ONLY,
    "simplecache::s3://bucket/x": READ_ONLY,
    "zip://a.txt::file:///tmp/b.zip": READ_ONLY,
    "FILE:///tmp/x": "cannot be reached",
    "nonsense://bucket/x": "cannot be reached",
    "file:///proc/none/x": "cannot be written",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    "An empty working directory with a text."
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the sea is calm tonight, " * 60)
    return tmp_path


COMMANDS = {
    "tokenizer": "tokenizer a.txt --vocab-size 260 --out",
    "encode": "encode a.txt --tokenizer {tok} --out",
    "train": "train a.txt --new mini --tokenizer {tok} --steps 1 --out",
    "fine-tune": "train a.txt --model {model} --steps 1 --out",
    "generate": "generate {model} --max-new-tokens 2 --out",
    "generate jsonl": "generate {model} --max-new-tokens 2 --seed 1 --out",
    "demo": "demo --steps 1 --out",
}


@pytest.mark.parametrize("out", ADDRESSES)
@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, out, place, cli, model_folder, tok_folder):
    words = COMMANDS[command].format(tok=tok_folder, model=model_folder).split()
    said = cli(*words, out + ".jsonl" * ("jsonl" in command))
    assert said.code == 1 and said.err.count("\n") == 1 and out[:3] in said.err and ADDRESSES[out] in said.err, said
    assert not said.out and [p.name for p in place.iterdir()] == ["a.txt"]


WRITERS = {
    "train_tokenizer": lambda out, o: train_tokenizer("a.txt", vocab_size=260, save=out),
    "from_files": lambda out, o: TokenDataset.from_files("a.txt", o.tok, save=out),
    "from_texts": lambda out, o: TokenDataset.from_texts(["a", "b"], o.tok, save=out),
    "data.save": lambda out, o: o.data.save(out),
    "tg.save": lambda out, o: o.tg.save(out),
    "tg.train": lambda out, o: TextGen(o.model).train(o.data, steps=1, save_to=out, view=NoView()),
    "generate_to_file": lambda out, o: o.tg.generate_to_file(out, n=1, max_new_tokens=2),
}
ONLY_HERE = {
    "to_csv": lambda out, o: Run([1.0], 1, 1.0, 1.0).to_csv(out),
    "to_png": lambda out, o: Run([1.0], 1, 1.0, 1.0).to_png(out),
    "receipt": lambda out, o: Receipt("training", {}).save(out),
}


@pytest.fixture
def given(tg, tok, data, model_folder):
    from types import SimpleNamespace

    return SimpleNamespace(tg=tg, tok=tok, data=data, model=model_folder)


@pytest.mark.parametrize("out", ADDRESSES)
@pytest.mark.parametrize("writer", WRITERS)
def test_python(writer, out, place, given):
    with pytest.raises(TextGenError, match=ADDRESSES[out]):
        WRITERS[writer](out, given)
    assert [p.name for p in place.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("writer", {**WRITERS, **ONLY_HERE})
def test_a_path_is_no_address(writer, place, given):
    "Python makes one slash of the two."
    with pytest.raises(TextGenError, match="cannot write to the address memory:/x"):
        {**WRITERS, **ONLY_HERE}[writer](Path("memory://x"), given)
    assert [p.name for p in place.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("writer", ONLY_HERE)
def test_what_is_written_here_only(writer, place, given):
    with pytest.raises(TextGenError, match="cannot write to the address memory://x"):
        ONLY_HERE[writer]("memory://x", given)


@pytest.mark.parametrize("name", ["a:b", "notes: x/y", "C:/x", "a::b", "x:y/z", "s3/bucket", "a.b://"[:-2]])
def test_names_that_are_none(name, place):
    "A colon alone makes no address."
    check_place(place / name)
    with atomic_path(place / "dir" / name.replace("/", "_")) as tmp:
        tmp.touch()


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_left_alone(command, place, cli, model_folder, tok_folder):
    "Said before any work; what is there stays what it is."
    os.mkfifo("pipe")
    said = cli(*COMMANDS[command].format(tok=tok_folder, model=model_folder).split(), "pipe")
    assert said.code == 1 and "it is a device or a pipe" in said.err and not said.out, said
    assert (place / "pipe").is_fifo() and len([*place.iterdir()]) == 2


@pytest.mark.skipif(os.name != "posix", reason="devices with names")
def test_a_device_is_left_alone(tg):
    with pytest.raises(GenerateError, match="/dev/null: it is a device or a pipe"):
        tg.generate_to_file("/dev/null", n=1, max_new_tokens=2)
    for write in (atomic_path, atomic_folder):
        with pytest.raises(TextGenError, match="it is a device or a pipe"):
            with write("/dev/null"):
                pass
    assert not os.path.isfile("/dev/null")


def test_a_link_is_followed(place):
    "What would be written is the file behind the link, so that is what is tried."
    (place / "link").symlink_to(place / "a.txt" / "inside")
    with pytest.raises(TextGenError, match="Not a directory"):
        check_place("link")
