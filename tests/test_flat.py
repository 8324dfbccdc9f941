"Reading takes the same memory whatever the bytes are and however many they are."

import gzip
import sys
from itertools import product
import pytest
import zstandard
from textgen.text import corpus
from textgen.text.corpus import SEP, pieces
from textgen.text.dataset import TokenDataset

LIMIT = 150  # MB above what importing takes; a piece and what is made of it
SIZE = 96  # MB: far more than the limit allows to hold several times

BLOCKS = {
    "Chinese prose": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张" * 50,
    "Chinese without marks": "".join(map(chr, range(0x4E00, 0x5200))),
    "numbers": "".join(f"{i * 7919 % 10007},{i * 31 % 997}\n" for i in range(999)),
    "NULs": "\0" * 9999,
    "one letter": "a" * 9999,
    "blanks": " " * 9999,
    "newlines": "\n" * 9999,
    "emoji": "🦆🐧" * 999,
    "signs": "./!?" * 999,
    "words": "the cat sat. " * 999,
}

PEAK = """
import resource, sys
from textgen.text.corpus import pieces
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = sum(len(p.data) for p in pieces(sys.argv[1], by=sys.argv[2]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before)//1024, n)
"""

EMPTY = [(kind, by) for kind in ("newlines", "blanks") for by in ("line", "***")]  # nothing is left to measure


@pytest.fixture
def peak(python):
    "Megabytes that reading a file takes, and the bytes that were read."
    return lambda path, by: tuple(map(int, python(PEAK, path, by).split()))


def _fill(f, block, size):
    for _ in range(size // len(block)):
        f.write(block)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kB")
@pytest.mark.parametrize("kind,by", [o for o in product(BLOCKS, ["file", "line", "***"]) if o not in EMPTY])
def test_any_bytes(peak, tmp_path, kind, by):
    with open(tmp_path / "a.txt", "wb") as f:
        _fill(f, BLOCKS[kind].encode(), SIZE << 20)
    used, n = peak(tmp_path / "a.txt", by)
    assert used < LIMIT and n > (SIZE - 1) << 20


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kB")
@pytest.mark.parametrize("ext", ["gz", "zst"])
def test_a_bomb(peak, tmp_path, ext):
    "A few kilobytes that unpack to 300 MB of NULs."
    path, zeros = tmp_path / f"a.txt.{ext}", bytes(1 << 20)
    with gzip.open(path, "wb", 6) if ext == "gz" else zstandard.open(path, "wb") as f:
        for _ in range(300):
            f.write(zeros)
    used, n = peak(path, "file")
    assert used < LIMIT and n == 300 << 20 and path.stat().st_size < 1 << 20


@pytest.fixture
def small(monkeypatch):
    "Pieces of 4,000 bytes, read 500 at a time."
    monkeypatch.setattr(corpus, "PIECE_BYTES", 4000)
    monkeypatch.setattr(corpus.read_chunks, "__defaults__", ("utf-8", True, 500))


@pytest.mark.parametrize("by", ["file", "line", "paragraph", "***", "<|endoftext|>"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_long_documents_are_whole(kind, by, tmp_path, small, monkeypatch):
    "Short and long documents one after the other: the same as when each file is one piece."
    delimiter = dict(file="\n", line="\n", paragraph="\n\n").get(by, by)
    body = BLOCKS[kind].replace("\n", ";")
    texts = ["short", body * 3, "x", "y" * 3999, body, "end"]
    (tmp_path / "a.txt").write_text(delimiter.join(texts), encoding="utf-8")
    docs = [d.text for d in corpus.documents(tmp_path / "a.txt", by=by)]
    assert docs == ([delimiter.join(texts)] if by == "file" else [t for t in texts if t.strip(" \n")])
    assert max(len(p.data) for p in pieces(tmp_path / "a.txt", by=by)) < 9000


def test_ids_of_long_documents(tok, tmp_path, small):
    "Cut inside or not, the documents come back as they were."
    texts = ["one", BLOCKS["Chinese prose"] * 9, "two words", "1234 " * 3000, "three"]
    (tmp_path / "a.txt").write_text("\n".join(texts), encoding="utf-8")
    data = TokenDataset.from_files(tmp_path / "a.txt", tok, by="line")
    assert [data.decode(data[i]) for i in range(len(data))] == texts


def test_no_character_is_cut(tmp_path, small):
    (tmp_path / "a.txt").write_text("é🦆字" * 5000, encoding="utf-8")
    found = list(pieces(tmp_path / "a.txt"))
    assert (
        len(found) > 5
        and "".join(p.data.decode() for p in found) == "é🦆字" * 5000
        and SEP not in b"".join(p.data for p in found)
    )
