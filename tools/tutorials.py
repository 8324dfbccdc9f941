"""Run tutorials and explanations from the first cell to the last, each in a folder of its own: `make tutorials`.

A notebook for Colab has a form: lines such as `STEPS = 300 #@param {type: "integer"}`. Here its fields are filled
with values that make it small (`SMALL`), and the name of a model on the Hub becomes a folder that is made on the spot.
`--set NAME=VALUE` fills a field by hand. A notebook whose panel still trains at the end is waited for.
"""

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
FIELD = re.compile(r"^(\w+) = (.*?)( *#@param.*)$", re.M)

# Fields of forms: small runs. A value that begins with @ is a folder with a model, see `models`.
SMALL = {
    "colab_from_scratch": dict(STEPS=6, START=True, IN_CODE=True, DOWNLOAD=True, PANEL_STEPS=4, N=4),
    "colab_gpu": dict(MODEL="@gpt2", EPOCHS=0.02, WINDOW=64, BATCH=2, METHOD="lora", DOWNLOAD=True),
    "colab_t5": dict(MODEL="@t5", STEPS=6, WINDOW=64, BATCH=2, DOWNLOAD=True),
    "colab_tpu": dict(SIZE="mini", STEPS=6, WINDOW=64, BATCH=2, DOWNLOAD=True),
}

# The same for the outputs that are stored: real runs, on a computer without GPU and network.
BUNDLED = str(ROOT / "textgen" / "bundled" / "model")
STORED = {
    "colab_from_scratch": dict(IN_CODE=True),
    "colab_gpu": dict(MODEL=BUNDLED),
    "colab_tpu": dict(SIZE="mini", BATCH=8),
}

# The last cell of every run: what a notebook began in the background is waited for, and its error is one of the run.
FINISH = """
import threading
for _panel in [o for o in list(globals().values()) if hasattr(o, "wait") and hasattr(o, "textgen")]: _panel.wait()
for _thread in threading.enumerate():
    if _thread.name == "textgen-waits": _thread.join(60)
"""


def fields(nb):
    "The fields of a notebook's forms: name -> value, as it is written."
    return {m[1]: m[2] for c in nb.cells if c.cell_type == "code" for m in FIELD.finditer(c.source)}


def fill(nb, values):
    "Fill fields of a notebook's forms."
    unknown = {*values} - {*fields(nb)}
    if unknown:
        sys.exit(f"no such field: {', '.join(sorted(unknown))}; there are: {', '.join(fields(nb)) or 'none'}")
    for c in nb.cells:
        if c.cell_type == "code":
            c.source = FIELD.sub(lambda m: f"{m[1]} = {values[m[1]]!r}{m[3]}" if m[1] in values else m[0], c.source)


def models(folder):
    "Small models with random weights, one of each kind, as folders: name -> path."
    from textgen import TextGen, bundled, train_tokenizer

    tokenizer = train_tokenizer(bundled("poems"), vocab_size=400)
    made = {"@gpt2": TextGen.new("mini", tokenizer, context=128), "@t5": TextGen.new("t5-mini", tokenizer)}
    return {name: str(tg.save(folder / name[1:])) for name, tg in made.items()}


def small(name, folder):
    "The values that make a notebook small, with its models in a folder."
    values = SMALL.get(name, {})
    if not any(isinstance(v, str) and v.startswith("@") for v in values.values()):
        return values
    made = models(folder)
    return {k: made.get(v, v) if isinstance(v, str) else v for k, v in values.items()}


def stored(name):
    "The values for a run whose outputs are stored."
    return STORED.get(name, {})


def parsed(text):
    "A value from the command line: JSON where it is that, else text."
    try:
        return json.loads(text)
    except ValueError:
        return text


def run(path, given):
    "Run a notebook; its error, or None."
    nb = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as d, tempfile.TemporaryDirectory() as work:
        fill(nb, small(path.stem, Path(d)) | given)
        if fields(nb):
            nb.cells.append(nbformat.v4.new_code_cell(FINISH))
        try:
            NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": work}}).execute()
        except CellExecutionError as e:
            return e


def main():
    arguments = sys.argv[1:]
    given = {}
    while "--set" in arguments:
        i = arguments.index("--set")
        name, _, value = arguments[i + 1].partition("=")
        given[name] = parsed(value)
        del arguments[i : i + 2]
    names = arguments or sorted(
        [*(ROOT / "nbs/tutorials").glob("*.ipynb"), *(ROOT / "nbs/explanations").glob("*.ipynb")]
    )
    failed = []
    for path in map(Path, names):
        start = time.monotonic()
        error = run(path, given)
        if error:
            failed.append(path)
            print(error, file=sys.stderr)
        print(f"{path.name}: {'FAILED after' if error else 'ran in'} {time.monotonic() - start:.0f} s", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
