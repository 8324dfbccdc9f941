"""Names, texts and caches of others make no tag in a notebook and give no order to a terminal; a file or pipe gets
them as they are."""

import importlib
import inspect
import io
import os
import pkgutil
import re
import sys
import threading
from contextlib import suppress
from html.parser import HTMLParser
import pytest
import textgen
from textgen import Mixture, Task, TokenDataset
from textgen.core import Progress, printable, say

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</td></table><script>alert(1)</script>",
    '"><svg/onload=alert(1)>',
    "' onclick='alert(1)",
    "&lt;b&gt;",
    "\x1b]0;renamed\x07\x1b[2J\x1b[31mred",
    "\x9b31m",
    "a\rb\x08c\x7f",
    "<b>\x00</b>",
]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Reader(HTMLParser):
    "What a browser would make of HTML: its tags with their attributes, and its text."

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, sorted(k for k, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def safe(make, text, plain="plain"):
    "The HTML made with a hostile text has the tags of that with a plain one, and says the text."
    html, same = Reader(make(text)), Reader(make(plain))
    assert html.tags == same.tags and not CONTROL.search(html.text), html.tags
    assert html.text.count(printable(text)) >= same.text.count(plain) > 0


def _sample(text, prompt=""):
    from textgen.generation.samples import Sample

    return Sample(
        **{
            k: v
            for k, v in dict(text=text, prompt=prompt, tokens=[1], logprob=-1.0, finish_reason="end", index=0).items()
        }
    )


def _samples(text):
    from textgen.generation.samples import Samples
    from textgen.settings import GenerateSettings

    return Samples([_sample(text, text)], GenerateSettings(seed=1))


def _comparison(text):
    from textgen.generation.generate import Comparison

    return Comparison({0.7: _samples(text)})


def _description(text):
    from textgen.text.dataset import Description

    return Description({"engine": text, text: 5}, None)


def _probabilities(text):
    from textgen.generation.generate import NextToken, TokenProbabilities, TokenProbability

    return TokenProbabilities(text, [TokenProbability(text, 0.5, 1, [NextToken(text, 0.5, 3)], 3)])


def _copying(text):
    import numpy as np
    from textgen.text.codec import Codec
    from textgen.text.tokenizer import train_tokenizer
    from textgen.trust.copying import Copied, Report, amount_of

    codec = Codec(train_tokenizer(texts=["plain"], vocab_size=257))
    ids = codec.encode(text)
    texts = [Copied(0, ids, np.zeros(len(ids), np.int64), [])]
    return Report(texts, amount_of(texts), None, text, codec)


SHOWN = dict(
    Samples=_samples,
    Comparison=_comparison,
    Description=_description,
    TokenProbabilities=_probabilities,
    Report=_copying,
)
ELSEWHERE = {"Panel"}  # tests/test_writing.py and tests/test_views.py drive real ones


def _classes():
    for m in pkgutil.walk_packages(textgen.__path__, "textgen."):
        if not m.name.endswith("__main__"):
            yield from (
                v
                for v in vars(importlib.import_module(m.name)).values()
                if inspect.isclass(v) and v.__module__.startswith("textgen.")
            )


def test_all_that_shows_itself_as_html_is_here():
    "Whoever adds a `_repr_html_`, `_repr_markdown_` or the like adds it to the tests below."
    assert {c.__name__ for c in _classes() if any(re.fullmatch(r"_repr_[a-z]+_(bundle_)?", k) for k in vars(c))} == {
        *SHOWN,
        *ELSEWHERE,
    }


def test_one_helper_escapes():
    "The module `html` is used in the core and nowhere else."
    from pathlib import Path

    root = Path(textgen.__file__).parent
    users = {
        p.stem
        for p in root.rglob("*.py")
        if re.search(r"\bhtml\.escape|^import .*\bhtml\b|from html import", p.read_text(encoding="utf-8"), re.M)
    }
    assert users == {"core"}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("name", SHOWN)
def test_html(name, text):
    safe(lambda t: SHOWN[name](t)._repr_html_(), text)
    assert not CONTROL.search(repr(SHOWN[name](text)))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_crafted_cache(text, tok, tmp_path):
    "Its header says which engine encoded it, and that text is shown by `describe`."
    data = TokenDataset.from_texts(["one two"], tok)
    data.info["engine"] = text
    data = TokenDataset.load(data.save(tmp_path / "a.tokens"))
    assert data.info["engine"] == text
    assert {t for t, _ in Reader(data.describe()._repr_html_()).tags} == {"table", "tr", "td"} and not CONTROL.search(
        repr(data.describe())
    )


class Handle:
    "What a notebook is told to show."

    def display(self, *args, **kw):
        pass

    def update(self, data, raw):
        self.data = data


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_view_of_a_notebook(text, monkeypatch):
    "Names of tasks in its line, texts in its samples."
    import IPython.display
    from textgen.training.callback import NotebookView

    monkeypatch.setattr(IPython.display, "DisplayHandle", Handle)

    def shown(t):
        view = NotebookView()
        view.start(9, 0)
        view.update(1, [3.0], 3.0, 1.0, {t: 3.0, "b": 2.0})
        view.sample(1, _samples(t))
        view.end()
        assert not CONTROL.search(view.handle.data["text/plain"])
        return view.handle.data["text/html"]

    safe(shown, text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_panel(text):
    "A note, a task and a sample; then as the name of a file, in the messages, the code and the static copy."
    from textgen.panels.source import OWN
    from textgen.panels.train import RunView
    from textgen.widgets import TrainPanel

    def shown(t):
        panel = TrainPanel()
        view = RunView(panel.note)
        view.start(9, 0)
        view.note(t)
        view.update(1, [3.0], 3.0, 1.0, {t: 3.0, "b": 2.0})
        view.sample(1, _samples(t))
        view.show_texts(t, _samples(t))
        return "".join([*view.parts(), panel.messages.value])

    safe(shown, text)
    panel = TrainPanel()
    panel.source.menu.value, panel.source.path.value = OWN, text.replace("\x00", "")
    panel.train()
    if panel.thread:
        panel.thread.join()
    own = {"div", "details", "summary", "pre", "button"}
    assert {t for t, _ in Reader(panel.messages.value + panel.code_view.value).tags} <= own
    body = panel.static().split("</style>", 1)[1]
    assert {t for t, _ in Reader(body).tags} <= own | {"span", "i"}


@pytest.mark.parametrize("text", [t for t in HOSTILE if CONTROL.search(t)], ids=ascii)
def test_what_shows_itself_as_text(text, tok):
    from textgen.tasks.mixture import open_tasks
    from textgen.text.codec import Codec
    from textgen.training.evaluate import Evaluation, Run

    task = Task(text, ["a", "b"])
    one = Evaluation(1.0, 1.0, 1, 1)
    some = [
        task,
        Mixture([task], name=text),
        open_tasks(task, Codec(tok)),
        open_tasks(task, Codec(tok)).tasks[0],
        Run([1.0], 1, 1.0, 1.0, folder=text),
        Run([1.0], 1, 1.0, 1.0, tasks={text: [(1, 1.0)], "b": [(1, 1.0)]}),
        Evaluation(1.0, 1.0, 1, 1, tasks={text: one}, metrics={text: 1}),
    ]
    assert not [o for o in some if CONTROL.search(repr(o))]


# ---- terminals
class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_terminal_and_a_pipe(text):
    screen, pipe = Screen(), io.StringIO()
    for f in (screen, pipe):
        say(text, f)
    assert (
        pipe.getvalue() == text + "\n"
        and screen.getvalue() == printable(text) + "\n"
        and not CONTROL.search(screen.getvalue().replace("\n", ""))
    )


def test_ordinary_text_is_as_it_is():
    assert printable(t := "Zoë\tsaid\n«日本» 👩\u200d👧 שלום \u200fعربي") == t


def test_the_progress_line(monkeypatch):
    "Names beside the bar and above it; the bar's own orders stay."
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    with Progress(3, "read\x1b[2J", file=screen) as bar:
        bar.update(1, "task\x1b[31m")
        bar.update(2, "task\x1b[31m")
        bar.write("a text\x1b]0;renamed\x07")
    assert (
        "read\\x1b[2J" in screen.getvalue()
        and "task\\x1b[31m" in screen.getvalue()
        and "a text\\x1b]0;renamed\\x07" in screen.getvalue()
    )
    assert not re.search(r"\x1b\[2J|\x1b\[31m|\x07", screen.getvalue())


@pytest.fixture
def in_terminal(start_apart, tmp_path):
    "What a terminal gets from `textgen …`."
    pty = pytest.importorskip("pty")

    def run(*args):
        ours, theirs = pty.openpty()
        p, said = start_apart(*args, cwd=tmp_path, terminal=os.ttyname(theirs)), []
        reader = threading.Thread(target=_read_all, args=(ours, said))
        reader.start()
        p.end()
        os.close(theirs)
        reader.join()
        os.close(ours)
        return b"".join(said).decode()

    return run


def _read_all(number, said):
    "Read from a terminal until its other side is closed."
    with suppress(OSError):
        while piece := os.read(number, 65536):
            said.append(piece)


CLEAR = "\x1b[2J"


@pytest.fixture
def text(tmp_path):
    (tmp_path / f"name{CLEAR}.txt").write_text(f"words {CLEAR} and more words")
    return f"name{CLEAR}.txt"


def test_commands_in_a_terminal(text, tmp_path, in_terminal, apart, model_folder):
    "What a text holds, what a file is called, what a model writes, and what is wrong with a name."
    for args in (
        ("info", text),
        ("info", f"none{CLEAR}"),
        ("generate", model_folder, "--prompt", f"a{CLEAR}", "--max-new-tokens", 2, "--seed", 1),
        ("encode", text, "--tokenizer", model_folder, "--out", f"o{CLEAR}.tokens"),
    ):
        said = in_terminal(*args)
        assert "\\x1b[2J" in said and CLEAR not in said, said
        assert CLEAR in (piped := apart(*args, cwd=tmp_path)).out + piped.err
