"What `tools/pages.py` finds in a site, each fault planted once; and that this site has none of them."
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]/"tools"))
import pages  # noqa: E402

ROOT = Path(__file__).parents[1]
FIRST = "# A page\n\n> What it is for."
QUARTO = "website:\n  sidebar:\n    contents:\n      - index.ipynb\n      - section: More\n        contents: more/*\n"


def cell(source, kind="markdown", **data):
    outputs = [dict(output_type="display_data", data={k.replace("_", "/"): v for k, v in data.items()})] if data else []
    return dict(cell_type=kind, source=source.splitlines(True), outputs=outputs)


def write(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=list(cells))), encoding="utf-8")


def problems(tmp_path, *cells, first=FIRST, quarto=QUARTO):
    "What is wrong with a site of two pages: the index, with these cells, and more/12_other."
    (tmp_path/"_quarto.yml").write_text(quarto)
    (tmp_path/"nbs").mkdir(exist_ok=True)
    (tmp_path/"nbs/sea.png").write_bytes(b"")
    write(tmp_path/"nbs/index.ipynb", cell(first), *cells)
    other = cell("## Of *many* `things`, 2 of them\n\n## Twice\n\n## Twice")
    write(tmp_path/"nbs/more/12_other.ipynb", cell(FIRST), other)
    return pages.problems(tmp_path)


GOOD = """A [page](more/12_other.ipynb), [headings](more/12_other.ipynb#of-many-things-2-of-them),
[the second](more/12_other.ipynb#twice-1),
[here](#here), ![the sea](sea.png), <img alt="the sea" src="sea.png">, [elsewhere](https://example.org/a.ipynb#b),
[a file](https://github.com/textgen-nb/textgen/blob/main/nbs/index.ipynb),
[on the site](https://textgen-nb.github.io/textgen/more/other.html#twice), `[no](link.ipynb)`

```
![](no picture)
```

## Here"""
FAULTS = {
    "[a](nothing.ipynb)": "a link to what is not there: nothing.ipynb",
    "[a](more/12_other.ipynb#nothing)": "a heading that is not there: more/12_other.ipynb#nothing",
    "[a](#nothing)": "a heading that is not there: #nothing",
    "[a](https://github.com/textgen-nb/textgen/blob/main/nothing.md)": "a link to what is not there: https",
    "[a](https://textgen-nb.github.io/textgen/nothing.html)": "a link to what is not there: https",
    "[![a](nothing.png)](more/12_other.ipynb)": "a link to what is not there: nothing.png",
    "![](sea.png)": "a picture without alt text: sea.png",
    "<img src=\"sea.png\">": "<img> without alt",
}


def test_nothing_is_found_where_nothing_is_wrong(tmp_path):
    marked = cell('#| fig-alt: "a curve"\nplot()', "code", image_png="AAAA")
    assert problems(tmp_path, cell(GOOD), marked, first=FIRST+"\n\n- skip_exec: true") == []


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_in_the_text(text, tmp_path):
    (line,) = problems(tmp_path, cell(f"Look: {text}"))
    assert FAULTS[text] in line and line.startswith("nbs/index.ipynb: ")


def test_links_of_the_markdown_files_at_the_top(tmp_path):
    (tmp_path/"README.md").write_text("[good](nbs/index.ipynb#here), [bad](nbs/gone.ipynb), ![](nbs/sea.png)")
    assert problems(tmp_path, cell("## Here")) == ["README.md: a picture without alt text: nbs/sea.png",
                                                  "README.md: a link to what is not there: nbs/gone.ipynb"]


def test_a_picture_that_code_draws(tmp_path):
    (line,) = problems(tmp_path, cell("x = 1\nplot()", "code", image_png="AAAA"))
    assert "fig-alt" in line and "plot()" in line
    shown = cell("plot()", "code", text_html=["<img src=x>"])
    assert problems(tmp_path, shown) == ["nbs/index.ipynb: <img> without alt: <img src=x>"]


@pytest.mark.parametrize("first", ["A page", "# A page", "# A page\n\nWhat it is for."])
def test_a_page_without_a_beginning(first, tmp_path):
    (line,) = problems(tmp_path, first=first)
    assert "one line of purpose" in line


def test_text_that_the_site_would_not_show(tmp_path):
    "nbdev makes front matter of the first cell, and shows no more of it."
    (line,) = problems(tmp_path, first=FIRST+"\n\nMore.")
    assert "give it a cell of its own" in line


def test_the_sidebar_names_every_page(tmp_path):
    lines = problems(tmp_path, quarto=QUARTO.replace("more/*", "[gone.ipynb]"))
    assert lines == ["_quarto.yml: the sidebar names gone.ipynb, which is not there",
                     "more/12_other.ipynb: not in the sidebar of _quarto.yml"]


def test_a_page_that_is_too_large(tmp_path):
    (line,) = problems(tmp_path, cell("x"*(pages.LARGEST+1)))
    assert "store smaller outputs" in line


def test_a_tutorial_has_its_button(tmp_path):
    write(tmp_path/"nbs/tutorials/a.ipynb", cell(FIRST))
    lines = problems(tmp_path, quarto=QUARTO+"      - tutorials/a.ipynb\n")
    assert len(lines) == 1 and lines[0].startswith("nbs/tutorials/a.ipynb: no button")


@pytest.mark.parametrize("front,message", [
    ("---\ntitle: A\ndescription: b\noutput-file: a.html\n---\n", ""),
    ("---\ntitle: A: b\n---\n", "no YAML"),
    ("---\ntitle: A\noutput-file: a.html\n---\n", "without description"),
    ("# A", "no front matter")])
def test_front_matter(front, message, tmp_path):
    write(tmp_path/"_proc/index.ipynb", cell(front, "raw"))
    (tmp_path/"nbs").mkdir()
    write(tmp_path/"nbs/index.ipynb", cell(FIRST))
    (tmp_path/"_quarto.yml").write_text(QUARTO)
    found = pages.problems(tmp_path, tmp_path/"_proc")
    assert [message in o for o in found] == ([True] if message else [])


def test_this_site():
    assert pages.problems(ROOT) == []
