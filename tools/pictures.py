"""The pictures on the first page: `python tools/pictures.py`, which runs what they show.

`nbs/images/terminal.svg` is a session in a terminal, with the words that the commands really print;
`nbs/images/loss.png` the curve of the training in README's first example. `nbs/images/panel.png` is no work of this
script: it is a screenshot of `TrainPanel(steps=60, validation=0.1, sample_every=20)` in JupyterLab, after a run.
"""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "nbs" / "images"
SESSION = (
    'textgen generate --prompt "The Sea" --seed 42',
    'textgen generate --prompt "The Sea" --seed 42 -n 20 --out sea.txt',
)
WIDTH = 88


def printed(command, folder):
    "What a command prints."
    words = command.replace("textgen", f'"{sys.executable}" -m textgen', 1)
    env = os.environ | dict(COLUMNS=str(WIDTH), HF_HUB_OFFLINE="1", PYTHONPATH=str(ROOT))
    done = subprocess.run(words, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=True)
    last = done.stderr.replace("\r", "\n").strip().splitlines()[-1:]
    return "\n".join([*last, done.stdout.rstrip()] if not done.stdout.startswith("The") else [done.stdout.rstrip()])


def terminal(folder):
    "A session, as a picture of a terminal."
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True)
    for command in SESSION:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(printed(command, folder)), end="\n\n")
    console.save_svg(str(IMAGES / "terminal.svg"), title="textgen")


def loss(folder):
    "The curve of the first example of README."
    from textgen import TextGen, bundled
    from textgen.training.callback import NoView

    run = TextGen().train(
        bundled("poems"), template="{title}\n\n{text}", steps=30, validation=0.1, sample_every=0, view=NoView()
    )
    run.to_png(IMAGES / "loss.png")
    return run


def main():
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as d:
        terminal(Path(d))
        print(loss(Path(d)))


if __name__ == "__main__":
    main()
