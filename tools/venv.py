"""Make .venv and put the project into it: `python tools/venv.py [extra]`.

Written so that any Python, however old, can run it far enough to say that it is too old.
"""

import os
import subprocess
import sys


def stop(text):
    sys.stderr.write("textgen: " + text + "\n")
    sys.exit(1)


if sys.version_info < (3, 11):
    stop(
        "needs Python 3.11 or newer, this is %d.%d; name a newer one with: make PYTHON=python3.12"
        % sys.version_info[:2]
    )

here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
env = os.path.join(here, ".venv")
python = os.path.join(env, "Scripts" if os.name == "nt" else "bin", "python")
extra = "[%s]" % sys.argv[1] if len(sys.argv) > 1 else ""


def run(args, what):
    r = subprocess.run(args, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode == 0:
        return
    said = (
        [o for o in (r.stderr + r.stdout).splitlines() if "ERROR" in o or "rror:" in o]
        or (r.stderr + r.stdout).splitlines()[-1:]
        or ["no message"]
    )
    stop(
        "could not %s: %s (check the connection and the disk, then run the same command again)"
        % (what, said[0].strip())
    )


if not os.path.exists(python):
    print("setting up .venv (once; a few minutes, mostly downloading torch)", flush=True)
    run([sys.executable, "-m", "venv", "--clear", env], "make a virtual environment in .venv")
# Compiling all of these packages to byte code takes a minute of one core, and most of it is never imported: what the
# package imports is compiled below, and the rest when it is first used.
pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "-c", "constraints.txt"]
# torch first: alone, its pinned version is found wherever it lies, and nothing else can ask for another one
run(pip + ["torch"], "install torch")
run(pip + ["-e", "." + extra], "install textgen%s" % extra)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
run([python, "-c", "import textgen.api, textgen.training.trainer, textgen.widgets"], "import textgen")
libraries = os.path.join(here, "textgen", "_native")
if not (os.path.isdir(libraries) and any(o.endswith(".so") for o in os.listdir(libraries))):
    print(
        "textgen: there is no C compiler here (cc, gcc or clang), so the native engine is left out: everything works, "
        "and generates more slowly",
        flush=True,
    )
