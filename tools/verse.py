"""The texts that the bundled model learns from: English poems and Shakespeare, a tenth of the poems held out.

Used by `tools/model.py`, which trains the model, and `benchmarks/verse.py`, which chooses how.
"""

import hashlib
import json
import re
from pathlib import Path

_NUMBER = re.compile(r"[ \t]+\d+[ \t]*$", re.M)  # of every fifth line, as books print them
_BLANKS = re.compile(r"[ \t]+$", re.M)
_LINE = 25  # characters of a line that two poems do not share by chance
_SPEECHES = 2500  # characters of a document of speeches


def _clean(text):
    "A poem without the numbers of its lines, blanks at their ends, and more than one empty line."
    text = _BLANKS.sub("", _NUMBER.sub("", text.replace("\t", "    ")))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def is_held_out(poem):
    "Whether a poem is never learned from: one in ten, by author and title."
    key = f"{poem['author']}|{poem['title']}"
    return int(hashlib.sha1(key.encode()).hexdigest(), 16) % 10 == 0


def _lines(text):
    "The lines of a text that are long enough to tell it from others."
    return {line.strip() for line in text.split("\n") if len(line.strip()) > _LINE}


def _without_copies(learned, held_out):
    "The poems that share no more than two lines with those held out: many poems are there twice, under other titles."
    known = set().union(*map(_lines, held_out))
    return [text for text in learned if len(_lines(text) & known) <= 2]


def poems(data):
    "(poems to learn from, poems held out), each a text that begins with its title; no poem is in both."
    learned, held_out = [], []
    for line in (Path(data) / "poems.jsonl").open(encoding="utf-8"):
        poem = json.loads(line)
        text = f"{poem['title'].strip()}\n\n{_clean(poem['text'])}"
        (held_out if is_held_out(poem) else learned).append(text)
    return _without_copies(learned, held_out), held_out


def plays(data):
    "Shakespeare's plays in documents of some speeches."
    documents, size = [[]], 0
    for speech in (Path(data) / "tinyshakespeare.txt").read_text(encoding="utf-8").strip("\n").split("\n\n"):
        if size > _SPEECHES:
            documents.append([])
            size = 0
        documents[-1].append(speech)
        size += len(speech)
    return ["\n\n".join(o) for o in documents]
