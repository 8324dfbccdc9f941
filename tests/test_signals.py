"Ctrl-C and SIGTERM at any moment: a line, the usual exit code, no traceback, and what was learned is saved."

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
slow = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    "Start `python -m textgen …`; it is killed at the end of the test."
    running = []

    def run(*args):
        command = [sys.executable, "-m", "textgen", *map(str, args)]
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(subprocess.Popen(command, cwd=tmp_path, **pipes))
        return running[-1]

    yield run
    for p in running:
        p.kill()
        p.wait()


LONG = ("--steps", 100_000, "--batch-size", 1, "--window", 16, "--sample-every", 1, "--out", "m")


def told(p, number):
    "Send a signal to an `Apart`, wait for its end, and return its exit code and errors."
    os.kill(p.pid, number)
    p.end()
    assert "Traceback" not in p.err and "Exception ignored" not in p.err, p.err
    return p.code, p.err


@pytest.fixture
def training(start, cache, model_folder):
    "A training whose first step is done."

    def run(*more):
        p = start("train", cache, "--model", model_folder, *LONG, *more)
        next(line for line in p.stdout if "step 1 " in line)
        return p

    return run


def ended(p, patience=60):
    "Exit code and words of a process that has been told to end."
    out, err = p.communicate(timeout=patience)
    assert "Traceback" not in err and "Exception ignored" not in err, err
    return p.returncode, out, err


def steps_saved(folder):
    return json.loads((folder / "textgen.json").read_text())["steps"]


def _saved(folder):
    "Whether a run of `LONG` that was stopped has saved what it learned."
    return 1 <= steps_saved(folder / "m") < 100_000 and (folder / "m" / "model.safetensors").exists()


def test_a_training_saves_and_says_so(start_apart, cache, model_folder, tmp_path):
    p = start_apart("train", cache, "--model", model_folder, *LONG, cwd=tmp_path)
    while p.code is None and "step 1 " not in p.out:
        time.sleep(0.02)
    got, err = told(p, signal.SIGINT)
    assert got == 130 and "after this step" in err, err
    assert _saved(tmp_path)


@slow
@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_in_a_new_python_saves_and_says_so(number, code, training, tmp_path):
    p = training()
    p.send_signal(number)
    got, out, err = ended(p)
    assert got == code and "after this step" in err, err
    assert _saved(tmp_path)


def test_a_training_that_was_terminated_is_resumed(start_apart, cli, cache, model_folder, tmp_path):
    p = start_apart("train", cache, "--model", model_folder, *LONG, cwd=tmp_path)
    while p.code is None and "step 1 " not in p.out:
        time.sleep(0.02)
    assert told(p, signal.SIGTERM)[0] == 143
    n = steps_saved(tmp_path / "m")
    words = [str(n + 1) if w == 100_000 else w for w in LONG]
    again = cli("train", cache, "--model", model_folder, *words[:-1], tmp_path / "m", "--resume")
    assert again.code in (0, 1) and ("resumed after step" in again.err or "steps was 100000" in again.err), again.err


def test_ctrl_c_twice(training):
    "At once, and not with the code of an error."
    p = training()
    p.send_signal(signal.SIGINT)
    p.send_signal(signal.SIGINT)
    assert ended(p)[0] == 130


def ready(p):
    "Wait until the interpreter has started: until then no program of Python's can say anything."
    status = Path(f"/proc/{p.pid}/status")
    while status.exists() and p.poll() is None:
        caught = int(status.read_text().split("SigCgt:")[1].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    time.sleep(0.3)


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", [0, 0.6, *(pytest.param(t, marks=slow) for t in (0.1, 0.3, 1.0, 1.5, 2.5))])
def test_in_the_first_seconds(after, number, code, start, cache, model_folder, tmp_path):
    "While modules are imported and the model is loaded."
    p = start("train", cache, "--model", model_folder, *LONG)
    ready(p)
    time.sleep(after)
    p.send_signal(number)
    got, _, err = ended(p)
    assert got == code and err.strip(), err


WORDS = 300_000


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=slow)])
def test_a_tokenizer_stops_at_once(number, code, start_apart, tmp_path):
    "Its training is one call into compiled code that takes a minute."
    words = np.random.default_rng(0).integers(ord("a"), ord("k"), (WORDS, 61), dtype=np.uint8)
    words[:, -1] = ord(" ")
    (tmp_path / "a.txt").write_bytes(words.tobytes())
    p = start_apart("tokenizer", "a.txt", "--vocab-size", 50_000, "--out", "tok", cwd=tmp_path)
    time.sleep(2.5)
    assert p.code is None, "the test needs a longer text"
    began = time.monotonic()
    got, err = told(p, number)
    assert got == code and time.monotonic() - began < 5 and "textgen: " in err
    assert not (tmp_path / "tok").exists()


def test_generation_keeps_what_it_has(start_apart, model_folder, tmp_path):
    ask = ("-n", 100_000, "--max-new-tokens", 60, "--seed", 1, "--out", "a.txt")
    p = start_apart("generate", model_folder, *ask, cwd=tmp_path)
    while p.code is None and not any(tmp_path.iterdir()):
        time.sleep(0.05)
    code, err = told(p, signal.SIGINT)
    assert code == 130 and err.endswith("textgen: stopped\n") and not (tmp_path / "a.txt").exists()
