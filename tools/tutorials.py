"""Run every tutorial and explanation from the first cell to the last, in a folder of its own: `make tutorials`.

With fewer steps than the page shows: `steps=600` becomes `steps=6`, so that all of them take minutes together. What is
stored on the page comes from `tools/outputs.py`, which changes nothing. A number that has to stay stands in a line with
the comment `# whole`.

A notebook for Colab has a form: lines such as `STEPS = 300 #@param {type: "integer"}`. Its fields are filled with
values that make the run small (`SMALL`), and the name of a model on the Hub becomes a folder that is made on the spot.
`--set NAME=VALUE` fills a field by hand. A panel that still trains at the end of the notebook is waited for.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent
STEPS = 6  # of a training
ASKED = re.compile(r"((?:\bsteps\s*=\s*|--steps[ =]))(\d[\d_]*)")
EPOCHS = re.compile(r"\bepochs\s*=\s*[\d.]+")
FIELD = re.compile(r"^(\w+) = (.*?)( *#@param.*)$", re.M)

# Fields of forms: small runs. A value that begins with @ is a model, see `models`.
SMALL = {
    "colab_from_scratch": dict(STEPS=6, IN_CODE=True, DOWNLOAD=True, PANEL_STEPS=4, N=4),
    "colab_gpu": dict(MODEL="@gpt2", METHOD="lora", PANEL_STEPS=4, IN_CODE=True, EPOCHS=0.02, WINDOW=64, BATCH=2),
    "colab_t5": dict(MODEL="@t5", STEPS=6, WINDOW=64, BATCH=2, IN_CODE=True, DOWNLOAD=True),
    "colab_tpu": dict(SIZE="mini", BATCH=2, PANEL_STEPS=4, IN_CODE=True, STEPS=6, WINDOW=64, DOWNLOAD=True),
}
# The same for the outputs that are stored: real runs, on a computer without GPU and network.
BUNDLED = str(ROOT / "textgen" / "bundled" / "model")
STORED = {
    "colab_from_scratch": dict(IN_CODE=True),
    "colab_gpu": dict(MODEL=BUNDLED, IN_CODE=True),
    "colab_tpu": dict(SIZE="mini", BATCH=8, IN_CODE=True),
}

# The last cell of a notebook with a form: what was begun in the background is waited for, and its error is the run's.
FINISH = """
import threading
_panels = [o for o in list(globals().values()) if type(o).__name__ in ("TrainPanel", "TaskPanel")]
for _panel in _panels:
    if _panel.thread: _panel.thread.join()
    if _panel.error: raise _panel.error
for _thread in threading.enumerate():  # nothing comes where no panel has trained
    if _thread.name == "textgen-waits" and any(_panel.trained for _panel in _panels): _thread.join(60)
"""


def shrunk_line(line):
    "A line of code that trains less."
    if "# whole" in line:
        return line
    if not ASKED.search(line):
        return EPOCHS.sub(f"steps={STEPS}", line)
    return ASKED.sub(lambda m: f"{m[1]}{min(int(m[2].replace('_', '')), STEPS)}", line)


def shrunk(source):
    "A cell that trains less."
    return "\n".join(map(shrunk_line, source.split("\n")))


def code_cells(nb):
    "The cells with code."
    return [c for c in nb.cells if c.cell_type == "code"]


def fields(nb):
    "The fields of a notebook's forms: name -> value, as it is written."
    return {m[1]: m[2] for c in code_cells(nb) for m in FIELD.finditer(c.source)}


def filled(values):
    "What fills a field: a function of its match."
    return lambda m: f"{m[1]} = {values[m[1]]!r}{m[3]}" if m[1] in values else m[0]


def fill(nb, values):
    "Fill fields of a notebook's forms, and let it end when what it began has ended."
    known = fields(nb)
    if unknown := {*values} - {*known}:
        sys.exit(f"no such field: {', '.join(sorted(unknown))}; there are: {', '.join(known) or 'none'}")
    for c in code_cells(nb):
        c.source = FIELD.sub(filled(values), c.source)
    if known:
        nb.cells.append(nbformat.v4.new_code_cell(FINISH))


def models(folder):
    "Small models with random weights, one of each kind, as folders: name -> path."
    from textgen import TextGen, bundled, train_tokenizer

    tokenizer = train_tokenizer(bundled("poems"), vocab_size=400)
    made = {"@gpt2": TextGen.new("mini", tokenizer, context=128), "@t5": TextGen.new("t5-mini", tokenizer)}
    return {name: str(tg.save(folder / name[1:])) for name, tg in made.items()}


def small(name, folder):
    "The values that make a notebook small, with its models in a folder."
    values = SMALL.get(name, {})
    if not any(str(v).startswith("@") for v in values.values()):
        return values
    made = models(folder)
    return {k: made.get(v, v) for k, v in values.items()}


def run(path, given):
    "Run one; the error that it ends with, or None."
    nb = nbformat.read(path, as_version=4)
    for cell in code_cells(nb):
        cell.source = "" if "#| eval: false" in cell.source else shrunk(cell.source)
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as d:
        fill(nb, small(path.stem, Path(made)) | given)
        client = NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": d}})
        try:
            client.execute()
        except CellExecutionError as e:
            return e


def parsed(text):
    "A field and its value, from NAME=VALUE: JSON where it is that, else text."
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main():
    parser = argparse.ArgumentParser(description="Run tutorials and explanations.")
    parser.add_argument("names", nargs="*", type=Path)
    parser.add_argument("--set", action="append", default=[], type=parsed, metavar="NAME=VALUE")
    asked = parser.parse_args()
    every = [*(ROOT / "nbs/tutorials").glob("*.ipynb"), *(ROOT / "nbs/explanations").glob("*.ipynb")]
    names = asked.names or sorted(every)
    failed, begun = [], time.monotonic()
    for name in names:
        start = time.monotonic()
        if error := run(name, dict(asked.set)):
            failed.append(name.name)
            print(error, file=sys.stderr)
        took = f"{time.monotonic() - start:.0f} s"
        print(f"{name.name}: {'FAILED after' if error else 'ran in'} {took}", flush=True)
    print(f"{len(names)} pages in {(time.monotonic() - begun) / 60:.1f} min, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
