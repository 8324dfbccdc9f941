"What an editor offers: the public names, the methods that `@patch` adds, and what their parameters mean."
import json
import subprocess
import sys
from pathlib import Path

import pytest

import textgen

jedi = pytest.importorskip("jedi")


def offered(code):
    "What Jedi completes at the end of a piece of code."
    return {o.name for o in jedi.Script(code).complete(len(code.splitlines()), len(code.splitlines()[-1]))}


def test_names_are_completed():
    assert "TextGen" in offered("from textgen import Te")
    found = offered("from textgen import T") | offered("from textgen import t")
    assert {"Task", "TokenDataset", "train_tokenizer"} <= found


def test_methods_are_completed():
    begin = "from textgen import TextGen, TokenDataset\ntg = TextGen()\n"
    assert {"train", "generate", "stream", "save", "context", "new"} <= offered(f"{begin}tg.")
    assert {"from_files", "merge", "split", "tokens"} <= offered(f"{begin}TokenDataset.")


def test_parameters_are_completed_and_explained():
    code = "from textgen import TextGen\ntg = TextGen()\ntg.train("
    (signature,) = jedi.Script(code).get_signatures(3, len("tg.train("))
    names = [p.name for p in signature.params]
    assert {"data", "steps", "batch_size", "save_to"} <= {*names}
    assert "steps: updates of the weights" in signature.docstring()


def test_help_explains():
    from textgen import TextGen
    assert "updates of the weights" in TextGen.train.__doc__ and "learning rate" in TextGen.train.__doc__
    for f in (textgen.documents, textgen.TokenDataset.from_files, textgen.train_tokenizer):  # taken over from another
        assert "\nencoding\n    of the files" in f.__doc__, f
    assert "\nmodel\n    a `TextGen`" in textgen.verify.__doc__


@pytest.mark.slow
def test_pyright_knows_the_methods(tmp_path):
    code = """
from textgen import TextGen, TokenDataset
tg = TextGen()
data = TokenDataset.from_files("a.txt", tg.tokenizer)
tg.train(data, steps=3)
tg.generate("x", n=2)
tg.nonsense()
tg.train(data, step=3)
"""
    (tmp_path/"a.py").write_text(code)
    settings = {"extraPaths": [str(Path(textgen.__file__).parent.parent)]}
    (tmp_path/"pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    command += ["--project", str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    lines = [o["range"]["start"]["line"]+1 for o in json.loads(out)["generalDiagnostics"] if o["severity"]=="error"]
    assert lines == [7, 8]
