"README.md from nbs/index.ipynb, by nbconvert: `make readme`."

import re
import sys
from pathlib import Path
import nbformat
from nbconvert import MarkdownExporter
from rooms import BEGIN, END

ROOT = Path(__file__).parent.parent
ROOMS = "[The list of all rooms](index.ipynb) has a line for each."  # in the place of the table, which is the site's


def readme(root=ROOT):
    "The text that README.md should have."
    nb = nbformat.read(root / "nbs" / "index.ipynb", as_version=4)
    nb.cells = [c for c in nb.cells if c.cell_type != "raw" and not c.source.startswith("#| hide")]
    for c in nb.cells:
        if c.cell_type == "code":
            c.source = "\n".join(o for o in c.source.splitlines() if not o.startswith("#|"))
            for o in c.outputs:  # GitHub takes styles away, and the lines of a poem would run together
                if "text/plain" in o.get("data", {}): o.data.pop("text/html", None)
    nb.metadata["language_info"] = {"name": "python"}  # fences say what is in them
    body, _ = MarkdownExporter().from_notebook_node(nb)
    body = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", ROOMS, body, flags=re.S)
    body = re.sub(r"\]\((?!https?:|#)([^)]+\.ipynb)\)", r"](nbs/\1)", body)  # on the site these are beside the page
    body = body.replace("](images/", "](nbs/images/")
    body = re.sub(r"\n{3,}", "\n\n", body)
    return "<!-- made from nbs/index.ipynb by `make readme`; edit that -->\n\n" + body.strip() + "\n"


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    (root / "README.md").write_text(readme(root), encoding="utf-8", newline="\n")
