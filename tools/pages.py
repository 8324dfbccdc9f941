"""Is the site whole? What can be told without Quarto: `python tools/pages.py [FOLDER]`.

Of every page: it has a title and one line of purpose, and its first cell holds nothing else, since nbdev makes front
matter of that cell and shows no more of it. Its links lead to pages, headings and files that are there; its pictures
have a text for those who do not see them; it is in the sidebar; it is not too large. Links and pictures of the
Markdown files at the top (README, CONTRIBUTING) are looked at, too.

With FOLDER, the notebooks that `nbdev_proc_nbs` has processed are read (`_proc`): their front matter, and the headings
that the API reference adds.
"""

import json
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import yaml

ROOT = Path(__file__).parent.parent
LARGEST = 2 << 20  # bytes of a page
GITHUB = "https://github.com/textgen-nb/textgen/"
COLAB = "https://colab.research.google.com/github/textgen-nb/textgen/"
SITE = "https://textgen-nb.github.io/textgen/"

FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.M | re.S)
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\]\([^)]*\)|\[[^\]]*\])*)\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.M)
IMG = re.compile(r"<img\b[^>]*>", re.I | re.S)
ALT = re.compile(r"\balt\s*=\s*([\"'])\s*\S.*?\1", re.S)
HREF = re.compile(r"\bhref\s*=\s*[\"']([^\"']+)[\"']")
FIRST = re.compile(r"# (?P<title>\S.*)\n+> (?P<purpose>\S.*)\n*(?P<rest>(?:.|\n)*)")
FIELD = re.compile(r"- [\w-]+: ?.+")


def prose(text):
    "Markdown without its code."
    return CODE.sub("", FENCE.sub("", text))


def identifier(heading):
    "The anchor that pandoc gives a heading (its extension `auto_identifiers`)."
    if own := re.search(r"\{[^}]*#([\w:.-]+)[^}]*\}\s*$", heading):
        return own[1]
    text = LINK.sub(lambda m: m[2], heading)
    text = re.sub(r"\\(.)", r"\1", re.sub(r"[*`]|<[^>]*>|\{[^}]*\}$", "", text)).lower()
    kept = re.sub(r"[^\w\s.-]", "", text)
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", kept.strip())) or "section"


@dataclass
class Page:
    "A notebook of the site."

    path: Path
    place: str  # from nbs/
    cells: list = field(default_factory=list)

    @classmethod
    def read(cls, path, top):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return cls(path, path.relative_to(top).as_posix(), cells)

    @cached_property
    def texts(self):
        "The Markdown of the page: its cells, and what code shows as Markdown."
        found = []
        for c in self.cells:
            if c["cell_type"] == "markdown":
                found.append("".join(c["source"]))
            found += ["".join(o) for o in shown(c, "text/markdown")]
        return found

    @cached_property
    def anchors(self):
        "What `#name` may say."
        found = set()
        for text in self.texts:
            for h in HEADING.findall(FENCE.sub("", text)):
                name = identifier(h)
                number = 1
                while name in found:
                    name, number = f"{identifier(h)}-{number}", number + 1
                found.add(name)
            found |= set(re.findall(r"\bid\s*=\s*[\"']([^\"']+)", text))
        return found


def loose(root):
    "The Markdown files at the top, which are no pages of the site: README, CONTRIBUTING, CHANGELOG."
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(root.glob("*.md"))}
    return [Page(path, path.name, [dict(cell_type="markdown", source=text)]) for path, text in texts.items()]


def shown(cell, kind):
    "The outputs of a cell that are of this kind."
    data = [o.get("data", {}) for o in cell.get("outputs", [])]
    return [o[kind] for o in data if kind in o]


def pages(root):
    "The pages in a folder of notebooks."
    found = [p for p in sorted(root.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    return [Page.read(p, root) for p in found]


def hidden(cell):
    "Whether the page leaves a cell out."
    return any(o.startswith("#| hide") for o in cell["source"][:3])


def beginning(page):
    "What is wrong with the first cell."
    found = FIRST.fullmatch("".join(page.cells[0]["source"]) if page.cells else "")
    if not found:
        return ["the first cell must be `# Title`, a blank line and `> one line of purpose`"]
    rest = [o for o in found["rest"].splitlines() if o.strip()]
    if all(FIELD.fullmatch(o) for o in rest):
        return []
    return ["the first cell holds more than title and purpose, which the site does not show: give it a cell of its own"]


def pictures(page):
    "Pictures without a text that stands for them."
    wrong = []
    for text in map(prose, page.texts):
        wrong += [
            f"a picture without alt text: {src}" for mark, alt, src in LINK.findall(text) if mark and not alt.strip()
        ]
    for c in page.cells:
        source = "".join(c["source"])
        marked = re.search(r"^#\| fig-alt: *\S", source, re.M)
        drawn = [kind for kind in ("image/png", "image/jpeg", "image/svg+xml") if shown(c, kind)]
        if drawn and not marked and not hidden(c):
            wrong.append(
                f"a picture without alt text, write `#| fig-alt: …` over: {source.strip().splitlines()[-1][:70]}"
            )
        html = ["".join(o) for o in shown(c, "text/html")]
        html += [prose(source)] if c["cell_type"] == "markdown" else []
        wrong += [f"<img> without alt: {o[:50]}" for h in html for o in IMG.findall(h) if not ALT.search(o)]
    return wrong


def links(page):
    "Where the page leads: its links and the sources of its pictures."
    found = [where for text in page.texts for _, label, where in LINK.findall(prose(text))]
    found += [
        where for text in page.texts for _, label, _ in LINK.findall(prose(text)) for *_, where in LINK.findall(label)
    ]
    return found + [where for text in page.texts for where in HREF.findall(prose(text))]


def local(where, page):
    "A link as a path from nbs/ or from the top of the repository, and its anchor; None where it leads elsewhere."
    path, _, anchor = unquote(where).partition("#")
    for begin in (f"{GITHUB}blob/main/", f"{GITHUB}tree/main/", f"{COLAB}blob/main/"):
        if path.startswith(begin):
            return "top", path.removeprefix(begin), ""
    if path.startswith(SITE):
        return "site", path.removeprefix(SITE) or "index.html", anchor
    if re.match(r"[a-z][a-z0-9+.-]*:", path) or path.startswith("attachment:"):
        return None
    return "nbs", path, anchor


def output_file(place):
    "The page of a notebook on the site: `text/12_corpus.ipynb` is `text/corpus.html`."
    return re.sub(r"(^|/)\d+[a-zA-Z0-9]*[_-]", r"\1", place).removesuffix(".ipynb") + ".html"


def broken(page, site, root):
    "Links of a page that lead nowhere."
    wrong = []
    at = {p.path.resolve(): p for p in site}
    named = {output_file(p.place): p for p in site}
    for where in links(page):
        if (found := local(where, page)) is None:
            continue
        kind, path, anchor = found
        if kind == "top":
            there, other = (root / path).exists(), None
        elif kind == "site":
            other = named.get(path)
            there = other is not None
        else:
            target = (page.path.parent / path).resolve() if path else page.path.resolve()
            other = at.get(target)
            there = other is not None or target.exists() and target.suffix != ".ipynb"
        if not there:
            wrong.append(f"a link to what is not there: {where}")
        elif anchor and other is not None and anchor not in other.anchors:
            wrong.append(f"a link to a heading that is not there: {where}")
    return wrong


def badge(page):
    "Whether the button of a tutorial opens that tutorial."
    if not page.place.startswith("tutorials/"):
        return []
    wanted = f"{COLAB}blob/main/nbs/{page.place}"
    return [] if wanted in links(page) else [f"no button “Open in Colab” that leads to {wanted}"]


def sidebar_names(contents):
    "What a sidebar names, sections included."
    if isinstance(contents, str):
        return [contents]
    found = []
    for item in contents:
        found += [item] if isinstance(item, str) else sidebar_names(item.get("contents") or item.get("href") or [])
    return found


def outside_sidebar(site, quarto):
    "Pages that the sidebar does not name, and names that are no page."
    names = sidebar_names(yaml.safe_load(quarto.read_text(encoding="utf-8"))["website"]["sidebar"]["contents"])
    places = {p.place for p in site}
    wrong = [
        f"_quarto.yml: the sidebar names {n}, which is not there" for n in names if "*" not in n and n not in places
    ]
    reached = {o for o in places for n in names if o == n or "*" in n and Path(o).match(n)}
    return wrong + [f"{o}: not in the sidebar of _quarto.yml" for o in sorted(places - reached)]


def size(page):
    "Whether the page is too large."
    bytes_ = page.path.stat().st_size
    return [f"{bytes_ / 1e6:.1f} MB, at most {LARGEST / 1e6:.1f}: store smaller outputs"] if bytes_ > LARGEST else []


def front_matter(page):
    "What is wrong with the front matter that nbdev made."
    first = page.cells[0]
    found = re.fullmatch(r"---\n(.*?)\n---\s*", "".join(first["source"]), re.S)
    if first["cell_type"] != "raw" or not found:
        return ["no front matter"]
    try:
        said = yaml.safe_load(found[1])
    except yaml.YAMLError as e:
        return [f"front matter that is no YAML: {' '.join(str(e).split())}"]
    return [f"front matter without {k}" for k in ("title", "description", "output-file") if not said.get(k)]


def problems(root=ROOT, processed=None):
    "Everything that is wrong, a line each; `processed` is where the notebooks lie as the site shows them."
    site = pages(root / "nbs")
    wrong = outside_sidebar(site, root / "_quarto.yml")
    for p in site:
        for check in (beginning, pictures, badge, size):
            wrong += [f"nbs/{p.place}: {o}" for o in check(p)]
    made = {p.place: p for p in pages(processed)} if processed else {}
    for p in site:
        if p.place in made:
            p.anchors = p.anchors | made[p.place].anchors
    for p in site:
        wrong += [f"nbs/{p.place}: {o}" for o in dict.fromkeys(broken(p, site, root))]
    for p in loose(root):
        wrong += [f"{p.place}: {o}" for o in dict.fromkeys([*pictures(p), *broken(p, site, root)])]
    for place, p in made.items():
        wrong += [f"_proc/{place}: {o}" for o in (*front_matter(p), *size(p))]
    if processed:
        wrong += [f"_proc: {place} is missing" for place in sorted({p.place for p in site} - {*made})]
    return wrong


def main():
    wrong = problems(ROOT, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print("\n".join(wrong) or "every page has a beginning, links that lead somewhere, pictures with a text")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
