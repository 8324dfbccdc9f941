"Every view has every method, and no note is lost in any of them."

import contextlib
import importlib
import io
import pytest
from textgen import TrainError
from textgen.training.callback import LineView, NotebookView, NoView, View, check_view
from datetime import UTC


def _views(cls=View):
    for c in cls.__subclasses__():
        if c.__module__.startswith("textgen."):
            yield c
        yield from _views(c)


METHODS = {k for k, v in vars(View).items() if callable(v)}


def test_the_methods_of_a_view():
    assert METHODS == {"start", "note", "warn", "update", "held_out", "sample", "end"}


def test_all_views_derive_from_one():
    "Whatever is called a view in the package, that of the panel among them."
    import textgen
    import pkgutil

    named = set()
    for m in pkgutil.walk_packages(textgen.__path__, "textgen."):
        if not m.name.endswith("__main__"):
            named |= {
                v
                for k, v in vars(importlib.import_module(m.name)).items()
                if k.endswith("View") and not k.startswith("_") and isinstance(v, type)
            }
    assert {v.__name__ for v in named} >= {"View", "NoView", "LineView", "NotebookView", "RunView"} and all(
        issubclass(v, View) for v in named
    )
    assert named - {View} == {*_views()}


class Text(str):
    prompt = ""
    text = property(str)


class Samples(list):
    def _repr_html_(self):
        return "".join(self)


@pytest.fixture
def panel():
    return importlib.import_module("textgen.widgets").TrainPanel()


@pytest.fixture
def make(panel):
    from textgen.panels.train import RunView

    views = panel.views = []
    return {
        "View": View,
        "NoView": NoView,
        "LineView": LineView,
        "NotebookView": NotebookView,
        "RunView": lambda: views.append(RunView(panel.note)) or views[-1],
    }


@pytest.mark.parametrize("name", ["View", "NoView", "LineView", "NotebookView", "RunView"])
def test_a_run_in_a_view(name, make, panel):
    "Notes before the start, between the steps, at the end; by-task losses; samples."
    view = check_view(make[name]())
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        view.note("before the first step")
        view.start(4, 0)
        view.update(1, [3.0], 3.0, 100.0)
        view.warn("the disk is full")
        view.update(4, [2.0, 2.5, 2.1], 2.5, 100.0, {"poems": 2.0, "news": 3.0})
        view.held_out(4, 2.25)
        view.sample(4, Samples([Text("The sea is calm")]))
        view.end()
        view.note("after the last")
    said = out.getvalue() + err.getvalue() + panel.messages.value
    assert all(
        (words in said) == (name != "NoView")
        for words in ("before the first step", "the disk is full", "after the last")
    )
    if name == "RunView":
        assert (
            "poems</i> 2.00" in panel.views[0].figures.value
            and "The sea is calm" in panel.views[0].samples.value
            and "held out 2.25" in panel.views[0].curve.value
            and panel.messages.value.count("tg-note") == 2
            and panel.said[1] == ("warning", "the disk is full", "")
            and "Warning: the disk is full" in panel.messages.value
        )
    if name == "LineView":
        assert "step 4" in said and "The sea is calm" in said


def test_a_view_that_lacks_a_method(tiny, tok, data):
    "Said before the first step."

    class Half:
        def start(self, steps, first):
            pass

        def update(self, *args):
            raise AssertionError("a step was computed")

    with pytest.raises(
        TrainError, match="view= lacks end, held_out, note, sample, warn; derive it from textgen.training.callback.View"
    ):
        tiny(tok).train(data, steps=2, view=Half())


def test_a_view_of_ones_own(tiny, tok, data):
    "It has only what it wants to show; notes come to standard error."
    seen = []

    class Mine(View):
        def update(self, step, losses, *args):
            seen.extend(losses)

    with contextlib.redirect_stderr(io.StringIO()) as err:
        run = tiny(tok).train(data, steps=3, batch_size=1, window=16, sample_every=1, view=Mine())
    assert seen == run.losses and "training: 3 steps of 1×16 tokens" in err.getvalue()


def test_the_panel_shows_what_is_odd(tmp_path, monkeypatch):
    "Warnings before the first step, and a save that failed."
    from textgen.widgets import TrainPanel

    monkeypatch.chdir(tmp_path)
    panel = TrainPanel(steps=2, batch_size=1, window=16, lr=5.0, sample_every=0, save_to="")
    panel.train().wait()
    assert "2 steps of 1×16 tokens" in panel.messages.value and "lr=5 is unusual here" in panel.messages.value
    panel.train().wait()
    assert panel.messages.value.count("2 steps of 1×16") == 1


def test_the_panel_shows_that_the_disk_is_full(tmp_path, monkeypatch):
    from textgen import ModelError
    from textgen.training import trainer
    from textgen.widgets import TrainPanel

    monkeypatch.chdir(tmp_path)

    def full(*args, **kwargs):
        raise ModelError("cannot write <m>: No space left on device")

    monkeypatch.setattr(trainer, "save_model", full)
    panel = TrainPanel(steps=2, batch_size=1, window=16, save_every=1, sample_every=0, save_to="m")
    with pytest.raises(ModelError, match="the trained model is in memory"):
        panel.train().wait()
    assert "cannot write &lt;m&gt;: No space left on device; training goes on" in panel.messages.value
    assert "panel.textgen.save(" in panel.messages.value and panel.textgen.receipt["steps"] == 2


def test_an_upload_replaces_no_file(tmp_path, monkeypatch):
    "Neither a file of its name, nor a link, nor one that the browser names with a folder; the same bytes are one file."
    from datetime import datetime
    from textgen.panels.source import UPLOAD
    from textgen.widgets import TrainPanel

    monkeypatch.chdir(tmp_path)
    (tmp_path / "poems.txt").write_bytes(b"mine")
    (tmp_path / "link.txt").symlink_to("elsewhere.txt")
    panel = TrainPanel()
    panel.source.menu.value = UPLOAD

    said = []

    def upload(name, content):
        when = datetime.now(UTC)
        one = dict(name=name, type="text/plain", size=len(content), content=content, last_modified=when)
        panel.source.upload.value = [one]
        text, notes = panel.source.text()
        said.extend(notes)
        return str(text.source)

    assert upload("poems.txt", b"theirs") == "poems-2.txt"
    assert upload("../poems.txt", b"others") == "poems-3.txt"
    assert upload("C:\\texts\\poems.txt", b"theirs") == "poems-2.txt"
    assert upload("link.txt", b"theirs") == "link-2.txt" and not (tmp_path / "elsewhere.txt").exists()
    assert upload("..", b"theirs") == "upload.txt"
    assert (tmp_path / "poems.txt").read_bytes() == b"mine" and "poems-2.txt" in " ".join(said)


@pytest.mark.parametrize("tasks", [None, {"a {long} name of a task": 2.0, "another\x1b[2J": 3.0}])
def test_the_line_in_80_columns(tasks):
    "Steps, loss, tokens a second and the time that is left stand before the bar, whatever follows it."

    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    with contextlib.redirect_stderr(screen):
        view = LineView()
        view.start(10_000, 0)
        view.bar.bar.dynamic_ncols = None
        view.bar.bar.ncols = 80
        for step in (1, 5_000):
            view.update(step, [2.3456], 2.4, 123_456.0, tasks)
            view.bar.bar.refresh()
        view.end()
    line = screen.getvalue().replace("\n", "\r").rstrip("\r").split("\r")[-1]
    before, bar, _ = line.split("|", 2)
    assert len(line) <= 80 and before.startswith("training: 5000/10000 steps, loss 2.346, 123,456 tokens/s, ")
    assert before.endswith(" left ") and len(bar) >= 1 and "\x1b[2J" not in screen.getvalue()
