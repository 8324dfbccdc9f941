"README.md works as it is pasted, block by block; only the numbers of steps and texts are smaller here."
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent/"README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
TEXTGEN = f'"{sys.executable}" -m textgen'


def blocks(language):
    "The blocks of README.md in a language."
    return [code for kind, code in FENCE.findall(README) if kind==language]


def smaller(code):
    "The same with few steps."
    return re.sub(r"(steps[= ])\d+", r"\g<1>3", code)


def run(command, folder, **kw):
    "Run a command in a folder; its error is shown where it fails."
    env = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=500, **kw)
    assert not done.returncode, done.stdout[-2000:]+done.stderr[-4000:]
    return done


def test_blocks_of_python(apart, tmp_path):
    code = blocks("python")
    assert len(code) == 3
    done = apart("-c", smaller("\n".join(["import matplotlib\nmatplotlib.use('agg')", *code])), cwd=tmp_path)
    assert done.code == 0 and "Traceback" not in done.err, done.err
    assert (tmp_path/"my-poems/model.safetensors").exists()


def in_bash(textgen, folder):
    "Paste the block for a terminal, with another meaning of the word `textgen`; what it prints."
    (block,) = [o for o in blocks("bash") if "textgen train" in o]
    root = Path(__file__).parent.parent
    lines = [o.replace("textgen/bundled", f"{root}/textgen/bundled") for o in block.splitlines() if "activate" not in o]
    script = "\n".join(["set -e", f"textgen() {{ {textgen}; }}", *lines])
    return run(["bash", "-c", smaller(script)], folder, stdin=subprocess.DEVNULL).stdout


@pytest.mark.skipif(os.name=="nt", reason="the blocks are for a POSIX shell")
@pytest.mark.parametrize("new", ["one Python", "a Python each"])
def test_blocks_of_a_terminal(new, apart, tmp_path):
    "Bash says what the words of each command are, and they are run one after the other; or bash runs them itself."
    if new == "a Python each":
        in_bash(f'{TEXTGEN} "$@"', tmp_path)
    else:
        commands = in_bash(r'printf "%s\0" "$@"; echo', tmp_path).splitlines()
        assert len(commands) == 3
        for words in commands:
            done = apart(*words.split("\0")[:-1], cwd=tmp_path)
            assert done.code == 0, done.err
    assert (tmp_path/"sea.txt").read_text(encoding="utf-8").strip()
    assert (tmp_path/"sea.txt.receipt.json").exists()


def test_links():
    "What README.md points at inside the repository is there."
    root = Path(__file__).parent.parent
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert len(links) > 10
    assert not [o for o in links if not (root/o).exists()]
