"ipywidgets 7.7.1, which Colab brings: uploads and tooltips have other names there. Run with it on the path: slow."

import os
import subprocess
import sys
from pathlib import Path
import pytest

SCRIPT = """
import asyncio, ipywidgets
from textgen.panels.source import UPLOAD
from textgen.widgets import Studio
assert ipywidgets.__version__ == "7.7.1"
s = Studio(steps=2, window=16, batch_size=2)
s.data.source.menu.value = UPLOAD
one = {"metadata": {"name": "own.txt", "type": "", "size": 9, "lastModified": 0}, "content": b"The sea is calm\\n" * 40}
s.data.source.upload.set_trait("value", {"own.txt": one})
s.data.wait()
assert s.train.handed.reading == {"by": "line"}, s.data.said
assert "reads the text" in s.train.start.steps.description_tooltip or s.train.start.typed
s.train.train().wait()
assert s.generate.model is s.train.trained and s.train.run.steps == 2
print(sorted(s._repr_mimebundle_()))
"""


@pytest.mark.slow
def test_the_panels_with_colabs_own(tmp_path):
    "The version is fetched by pip, beside the environment."
    place = tmp_path / "old"
    packages = ["ipywidgets==7.7.1", "ipython_genutils"]
    fetch = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), *packages]
    subprocess.run(fetch, check=True)
    path = os.pathsep.join([str(place), str(Path(__file__).parent.parent)])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "application/vnd.jupyter.widget-view+json" in done.stdout
