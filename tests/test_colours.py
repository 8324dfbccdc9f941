"""The colours of a text: copied runs, counted by hand, and how likely each token is, counted by transformers alone."""

import math
import re
from types import SimpleNamespace
import pytest
import torch
from bs4 import BeautifulSoup
from test_hostile import CONTROL, HOSTILE, Reader

from textgen import TokenDataset
from textgen.core import printable
from textgen.generation.samples import Sample
from textgen.panels import look as style
from textgen.panels.card import Ask, ColourFields, Written
from textgen.text.codec import Codec
from textgen.text.tokenizer import train_tokenizer
from textgen.trust.copying import _COLOURS, find_copies

SENTENCES = ["the sea is calm", "a boat goes out", "never a storm"]


@pytest.fixture(scope="module")
def letters():
    "A codec with a token for each byte, so that a run is as long as it reads."
    return Codec(train_tokenizer(texts=["plain"], vocab_size=257))


def card(codec, text, documents, prompt="", tg=None, by="copied from"):
    "The HTML of a text in the panel that writes."
    fields = ColourFields(TokenDataset.from_texts(documents, codec.tokenizer))
    sample = Sample(prompt, text, codec.encode(text), 0.0, "length", 0)
    written = Written(Ask(prompt, dict(seed=1)), text, sample)
    written.colour(fields, tg or SimpleNamespace(codec=codec), by)
    return written.html()


def marks(html):
    "(colour, title, text) of what is marked: in the text, and in the line below."
    found = re.findall(r'<mark style="background:(#\w+);color:inherit" title="([^"]*)">(.*?)</mark>', html, re.S)
    n = html.split("<small>")[0].count("<mark")
    return found[:n], found[n:]


def test_runs_counted_by_hand(letters):
    "15 letters of the first document from its beginning, 12 of the second, 8 of the third from its sixth on."
    html = card(letters, "I saw: the sea is calm, and a boat goes by... a storm", SENTENCES, "Once ")
    inside, below = marks(html)
    assert [o[1:] for o in inside] == [
        ("15 tokens from document 0 at 0", "the sea is calm"),
        ("12 tokens from document 1 at 0", "a boat goes "),
        ("8 tokens from document 2 at 5", " a storm"),
    ]
    assert [(o[0], o[1], o[2]) for o in below] == [(o[0], o[2], o[1]) for o in inside]
    assert len({colour for colour, *_ in inside}) == 3
    assert "longest copied run 15, 66% of the tokens" in html and "<b>Once </b>I saw: <mark" in html  # 35 of 53


def test_nothing_and_all(letters):
    none = card(letters, "Quiet!", SENTENCES)
    assert "<mark" not in none and "longest copied run 1, 0% of the tokens" in none  # "t", "i" or "e"
    assert "the same as document 1" in card(letters, SENTENCES[1], SENTENCES)
    short = card(letters, "the sea", SENTENCES)
    assert "<mark" not in short and "longest copied run 7," in short


def test_a_file_that_changed_is_read_again(letters, tmp_path):
    "The place stays, and so does the size of what lies there; a folder gets a file more, a cache other tokens."
    (tmp_path / "folder").mkdir()
    file, cache = tmp_path / "folder" / "learned.txt", tmp_path / "learned.tokens"
    encoded = [TokenDataset.from_texts([text], letters.tokenizer) for text in SENTENCES[:2]]

    def longest(place):
        fields.path.value = str(place)
        [copied] = find_copies([SENTENCES[1]], fields.data(letters), letters)
        return copied.longest

    fields = ColourFields()
    file.write_text("xxxxxxxxxxxxxxx")
    assert longest(file) == 0 and fields.data(letters) is fields.data(letters)
    file.write_text(SENTENCES[1] + "!")
    assert longest(file) == len(SENTENCES[1]) == longest(file.parent)
    file.write_text("xxxxxxxxxxxxxxx")
    assert longest(file.parent) == 0
    (file.parent / "more.txt").write_text(SENTENCES[1])
    assert longest(file.parent) == len(SENTENCES[1])
    encoded[0].save(cache, compress=None)
    assert longest(cache) < 5
    encoded[1].save(cache, compress=None)
    assert longest(cache) == len(SENTENCES[1])


# ---- colours that can be read
TEXT = dict(light=((0, 0, 0, 0.87), (255, 255, 255)), dark=((255, 255, 255, 0.87), (17, 17, 17)))  # JupyterLab's


def over(colour, below):
    "A half transparent colour on another one."
    *rgb, alpha = colour
    return tuple(alpha * a + (1 - alpha) * b for a, b in zip(rgb, below))


def luminance(colour):
    "As WCAG 2 defines it."
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", TEXT)
@pytest.mark.parametrize("colour", _COLOURS)
def test_text_on_a_colour_can_be_read(colour, theme):
    text, page = TEXT[theme]
    rgba = [int(colour[k : k + 2], 16) for k in (1, 3, 5, 7)]
    below = over((*rgba[:3], rgba[3] / 255), page)
    assert contrast(over(text, below), below) >= 4.5


def test_no_rule_greys_what_stands_on_a_colour(letters):
    "A mark inherits its colour; from it up to the panel no rule of the stylesheet gives another one."
    html = card(letters, "I saw: the sea is calm", SENTENCES)
    page = BeautifulSoup(f'<div class="tg tg-panel"><div class="tg-card">{html}</div></div>', "html.parser")
    css = re.sub(r"/\*.*?\*/", "", style.css(), flags=re.S)
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", css)
    colouring = [name.strip() for name, body in rules if re.search(r"(^|[;\s])color\s*:", body)]
    panel, marks = page.select_one(".tg"), page.select("small mark")
    assert marks and "color: var(--tg-quiet)" in css
    for mark in marks:
        for element in [mark, *mark.parents]:
            if element is panel:
                break
            found = [name for name in colouring if element in page.select(name)]
            assert not found, (element.name, found)
    remarks = page.select_one(".tg-written > small")
    assert any(remarks in page.select(name) for name in colouring)  # that it was edited is said in grey


@pytest.mark.parametrize("by", ["copied from", "probability"])
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_texts(text, tok, tiny, by):
    "As the text, as its prompt and in the training data."
    tg = tiny(tok)
    html = card(tg.codec, text * 3, [text * 4, "plain"], text, tg, by)
    read = Reader(html)
    assert {tag for tag, _ in read.tags} <= {"div", "b", "br", "small", "mark", "span"}
    assert {name for _, names in read.tags for name in names} <= {"class", "style", "title", "tabindex"}
    assert not CONTROL.search(html)
    assert read.text.replace("\n", "").startswith(printable(text).replace("\n", ""))
    if by == "copied from":
        assert marks(html)[0]


def test_figures_by_transformers_alone(tok, tiny):
    "Perplexity and bits per character, of a text of the panel and by `tg.probabilities`."
    tg = tiny(tok)
    [sample] = tg.generate("The sea", max_new_tokens=20, seed=3)

    def nats(ids, first):
        with torch.inference_mode():
            logits = tg.model(torch.tensor([ids])).logits[0, first - 1 : -1].double()
        return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[first:]), reduction="sum").item()

    tokens = sample.tokens[: len(sample.tokens) - (sample.finish_reason == "end")]
    before = tg.codec.encode("The sea")
    written = Written(Ask("The sea", dict(seed=3)), sample.text, sample)
    written.colour(ColourFields(), tg, "probability")
    total = nats([*before, *tokens], len(before))
    bits = total / math.log(2) / len(sample.text)
    assert f"perplexity {math.exp(total / len(tokens)):,.1f}, {bits:.3f} bits" in written.html()
    assert written.html().count('class="tg-token"') == len(sample.tokens)

    found = tg.probabilities("The sea is calm")
    ids = [*tg.codec.begin_ids, *tg.codec.encode("The sea is calm")]
    first = max(len(tg.codec.begin_ids), 1)
    assert math.isclose(found.perplexity, math.exp(nats(ids, first) / (len(ids) - first)), rel_tol=1e-4)
    letters = len("The sea is calm") - len(found.unmeasured)
    assert math.isclose(found.bits_per_character, nats(ids, first) / math.log(2) / letters, rel_tol=1e-4)
