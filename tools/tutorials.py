"Run every tutorial and explanation from the first cell to the last, in a folder of its own: `make tutorials`."

import sys
import tempfile
import time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent


def main():
    names = sys.argv[1:] or sorted(
        [*(ROOT / "nbs/tutorials").glob("*.ipynb"), *(ROOT / "nbs/explanations").glob("*.ipynb")]
    )
    failed = []
    for name in map(Path, names):
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as d:
            try:
                NotebookClient(
                    nbformat.read(name, as_version=4),
                    timeout=900,
                    kernel_name="python3",
                    resources={"metadata": {"path": d}},
                ).execute()
            except CellExecutionError as e:
                failed.append(name.name)
                print(e, file=sys.stderr)
        print(
            f"{name.name}: {'FAILED after' if name.name in failed else 'ran in'} {time.monotonic() - start:.0f} s",
            flush=True,
        )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
