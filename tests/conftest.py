"What the tests share: a tiny tokenizer, a tiny trained model, and ways to run the command line."
import os
import tempfile
# One thread: a core that somebody else uses makes every parallel region wait for it. Offline: a test needs no
# network, and sees no model of the user's.
os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_HUB_CACHE=f"{tempfile.gettempdir()}/textgen-hub-{os.getpid()}",
    TEXTGEN_CACHE=f"{tempfile.gettempdir()}/textgen-hub-{os.getpid()}/remote",
    TOKENIZERS_PARALLELISM="false",
    PYTHONIOENCODING="utf-8",
)

import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
import pytest
from hypothesis import HealthCheck, settings
import variants
from material import MAKERS

settings.register_profile(
    "textgen", deadline=None, database=None, max_examples=30, suppress_health_check=list(HealthCheck)
)
settings.load_profile("textgen")
# A shell script that runs the tests in the background has Ctrl-C ignored, and so have all processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN: signal.signal(signal.SIGINT, signal.default_int_handler)
DATA = Path(__file__).parents[2]/"shared"/"data"


@pytest.fixture(scope="session")
def hub():
    "The cache of the Hub: a folder that is empty at first, and goes with the session."
    yield Path(os.environ["HF_HUB_CACHE"])
    shutil.rmtree(os.environ["HF_HUB_CACHE"], ignore_errors=True)

# ---- files
@pytest.fixture(scope="session")
def given(tmp_path_factory):
    "A file to read, by its name: of ../shared/data where that is there, else made on the spot."
    made = tmp_path_factory.mktemp("given")
    def path(name):
        if (DATA/name).exists(): return DATA/name
        top = name.split("/")[0]
        if not (made/top).exists(): MAKERS[top](made/top)
        return made/name
    return path


# ---- what takes a second to make
@pytest.fixture(scope="session")
def tok():
    "A byte-level BPE of 400 tokens, learned from the bundled poems."
    from textgen.text.corpus import bundled
    from textgen.text.tokenizer import train_tokenizer
    return train_tokenizer(bundled("poems"), vocab_size=400)

@pytest.fixture(scope="session")
def tok_folder(tok, tmp_path_factory):
    from textgen.text.tokenizer import save_tokenizer
    return save_tokenizer(tok, tmp_path_factory.mktemp("tokenizer")/"tok")

@pytest.fixture(scope="session")
def data(tok):
    from textgen.text.corpus import bundled
    from textgen.text.dataset import TokenDataset
    return TokenDataset.from_files(bundled("poems"), tok)

@pytest.fixture(scope="session")
def cache(data, tmp_path_factory): return data.save(tmp_path_factory.mktemp("cache")/"poems.tokens")

@pytest.fixture(scope="session")
def tiny():
    "A function that makes an untrained GPT-2 of two layers, 32 wide, context 64, for a tokenizer."
    from transformers import GPT2Config
    from textgen import TextGen
    def make(tok, seed=0):
        return TextGen.new(
            GPT2Config(
                vocab_size=len(tok),
                n_layer=2,
                n_head=2,
                n_embd=32,
                n_positions=64,
                bos_token_id=tok.bos_token_id,
                eos_token_id=tok.eos_token_id,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
            ),
            tok,
            seed=seed,
            device="cpu",
        )

    return make

def _trained(tiny, tok, data, folder, seed):
    from textgen.training.callback import NoView
    tiny(tok, seed).train(data, steps=3, batch_size=2, seed=seed, save_to=folder, sample_every=0, view=NoView())
    return folder

@pytest.fixture(scope="session")
def model_folder(tiny, tok, data, tmp_path_factory):
    return _trained(tiny, tok, data, tmp_path_factory.mktemp("model") / "m", 1)


@pytest.fixture(scope="session")
def other_folder(tiny, tok, data, tmp_path_factory):
    return _trained(tiny, tok, data, tmp_path_factory.mktemp("other") / "m", 2)


@pytest.fixture(scope="session")
def tg(model_folder):
    from textgen import TextGen
    return TextGen(model_folder, device="cpu")


# ---- the command line
@pytest.fixture(scope="session")
def shell():
    "Run `python -m textgen …` as a process of its own."
    def run(*args, cwd=None):
        p = subprocess.run([sys.executable, "-m", "textgen", *map(str, args)], cwd=cwd, capture_output=True)
        return SimpleNamespace(code=p.returncode, out=p.stdout.decode(), err=p.stderr.decode(), raw=p.stdout)
    return run

@pytest.fixture(scope="session")
def python():
    "Run a piece of Python in a process of its own, with arguments in `sys.argv`; returns what it prints."
    def run(code, *args, cwd=None):
        p = subprocess.run([sys.executable, "-c", code, *map(str, args)], cwd=cwd, capture_output=True, text=True)
        assert p.returncode==0, p.stderr
        return p.stdout
    return run

def _main(args):
    "Exit code of the command line, run in this process."
    from textgen.cli import main
    try: main([str(a) for a in args])
    except SystemExit as e: return e.code or 0

@pytest.fixture
def cli(capfd):
    "Run the command line inside this process: the same, in a hundredth of the time."
    def run(*args):
        capfd.readouterr()
        code = _main(args)
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)
    return run


# ---- what must not change
@pytest.fixture(scope="session")
def snapshot():
    "Every name under a folder, hidden ones too, with the bytes of the files."

    def state(folder):
        return {
            str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(Path(folder).rglob("*"))
        }

    return state


# ---- other processes
@pytest.fixture(scope="session")
def spare():
    "`multiprocessing` whose processes fork from one that has imported everything: each starts in a moment."
    from multiprocessing import get_context
    if os.name != "posix": return get_context("spawn")
    context = get_context("forkserver")
    ours = ["textgen.api", "textgen.training.trainer"]
    others = ["transformers.models.gpt2.modeling_gpt2", "pytorch_lightning", "matplotlib.pyplot", "pytest"]
    context.set_forkserver_preload([*ours, *others, "hypothesis"])
    return context

def _apart(words, cwd, out, err):
    "`python …`, without the imports; what it says goes into files, or to a terminal."
    os.chdir(cwd)
    sys.argv = words if words[0].endswith(".py") else words[1:] if words[0] == "-c" else ["textgen", *words]
    for name, path, number in (("stdout", out, 1), ("stderr", err, 2)):
        with open(path, "wb", buffering=0) as f:
            os.dup2(f.fileno(), number)
        setattr(sys, name, open(number, "w", buffering=number == 2 or -1, encoding="utf-8", closefd=False))
    if words[0] == "-c": return exec(words[1], dict(__name__="__main__"))
    if words[0].endswith(".py"): return runpy.run_path(words[0], run_name="__main__")
    from textgen.__main__ import main
    main()

class Apart:
    "The command line in another process, from `spare`; what it has said so far can be read at any time."

    def __init__(self, spare, words, cwd, out, err):
        self.files = (out, err)
        self.process = spare.Process(target=_apart, args=([*map(str, words)], str(cwd), str(out), str(err)))
        self.process.start()
        self.pid = self.process.pid

    @property
    def out(self): return self.files[0].read_text(encoding="utf-8") if self.files[0].exists() else ""

    @property
    def err(self): return self.files[1].read_text(encoding="utf-8") if self.files[1].exists() else ""

    @property
    def raw(self): return self.files[0].read_bytes()

    @property
    def code(self): return self.process.exitcode

    def end(self, patience=60):
        "Wait for its end."
        self.process.join(patience)
        assert self.code is not None, "it does not end"
        return self

@pytest.fixture(scope="session")
def start_apart(spare, tmp_path_factory):
    "Start the command line in another process where everything is imported already; it is killed at the end."
    running, folder = [], tmp_path_factory.mktemp("apart")
    def start(*words, cwd, terminal=None):
        n = len(running)
        files = [terminal]*2 if terminal else [folder/f"{n}.out", folder/f"{n}.err"]
        running.append(Apart(spare, words, cwd, *files))
        return running[-1]
    yield start
    for o in running: o.process.kill()

@pytest.fixture(scope="session")
def apart(start_apart):
    """What `shell` does, or `python -c CODE`, or `python FILE.py`, in a tenth of the time: the process is another one,
    but no new Python."""
    return lambda *words, cwd=".": start_apart(*words, cwd=cwd).end(300)

def _run_limited(args, cwd, limit, pipe):
    import io
    import resource
    import traceback
    from contextlib import redirect_stderr, redirect_stdout

    os.chdir(cwd)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        try: code = _main(args)
        except Exception: code = traceback.print_exc()
    pipe.send((code, err.getvalue()))

@pytest.fixture
def on_full_disk(spare):
    "Run the command line where no file may have more than `limit` bytes; exit code (None: a traceback) and errors."

    if os.name != "posix": pytest.skip("this system cannot limit the size of a file")

    def run(*args, cwd, limit):
        ours, theirs = spare.Pipe()
        p = spare.Process(target=_run_limited, args=(args, cwd, limit, theirs))
        p.start()
        said = SimpleNamespace(**dict(zip(("code", "err"), ours.recv())))
        p.join()
        return said
    return run


# ---- what waits for `make test-all`
def pytest_collection_modifyitems(items):
    "Mark the variants that wait as slow."
    for item in items:
        variant = item.callspec.id if hasattr(item, "callspec") else ""
        if variants.waits(getattr(item, "originalname", item.name), item.path.name, variant):
            item.add_marker(pytest.mark.slow)
