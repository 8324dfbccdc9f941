"""Does the built wheel work where there is nothing else? `make wheel`.

Builds the source archive, and the wheel from that; installs it into an empty environment, and there, with no compiler
to be found: import time, imports, the whole job in miniature, with the native engine where one could be built, with
fastcore 2 and with fastcore 1.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_PASSED_ON = ("PYTHONPATH", "CC", "TEXTGEN_ISA", "PYTHONDONTWRITEBYTECODE")  # each Python starts from byte code
TEXT = "The sea is wide and the night is long, and the wind goes over the harbour wall.\n" * 60

IMPORT = """
import sys, time
t = time.perf_counter(); import textgen; took = time.perf_counter()-t
assert took < 0.3, f"import textgen took {took:.2f} s"
heavy = {"torch", "transformers", "pytorch_lightning", "numpy"} & set(sys.modules)
assert not heavy, f"import textgen imports {heavy}"
assert ".venv" not in textgen.__file__ and "site-packages" in textgen.__file__, textgen.__file__
print(f"import textgen: {took*1000:.1f} ms")
"""
JOB = """
import sys, textgen, fastcore
from textgen import TextGen, TokenDataset, train_tokenizer
tok = train_tokenizer("a.txt", vocab_size=300, save="tok")
data = TokenDataset.from_files("a.txt", tok, save="a.tokens")
tg = TextGen.new("mini", tok, context=32)
run = tg.train("a.tokens", steps=3, batch_size=2, sample_every=0, save_to="m", overwrite=True)
again = TextGen("m").generate("The", max_new_tokens=5, seed=1)
assert again[0].tokens == tg.generate("The", max_new_tokens=5, seed=1)[0].tokens
from textgen.generation.engine import faster
fast = faster(tg.wrapped)
assert fast.engine.split()[0] == sys.argv[1], (fast.engine, fast.why_not_faster)
assert str(TextGen().generate("", max_new_tokens=20, seed=1)).strip()
print("fastcore", fastcore.__version__, faster(tg.wrapped).engine, run)
"""


def run(*cmd, **kw):
    r = subprocess.run([*map(str, cmd)], capture_output=True, text=True, **kw)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, cmd))[:200]} failed:\n{r.stdout}{r.stderr}")
    return r.stdout.strip()


def main():
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        # by the setuptools that is here: `pip install -e .` has built in an environment of its own already
        run(sys.executable, "-m", "build", "--no-isolation", "-o", d / "dist", ROOT)
        (wheel,) = (d / "dist").glob("*.whl")
        assert wheel.name.startswith("textgen_nb-") and "-py3-none-" in wheel.name, wheel
        engine = "native" if any(name.endswith(".so") for name in zipfile.ZipFile(wheel).namelist()) else "fused"
        assert engine == "native" or not any(map(shutil.which, ("cc", "gcc", "clang"))), (
            "there is a compiler, and the wheel has no library"
        )
        run(sys.executable, "-m", "venv", d / "env")
        bin = d / "env" / ("Scripts" if os.name == "nt" else "bin")
        python = bin / "python"
        pins = [
            o
            for o in (ROOT / "constraints.txt").read_text().splitlines()
            if not re.match(r"(fastcore|execnb|ghapi|fastgit|nbdev)\b", o)
        ]
        (d / "pins.txt").write_text("\n".join(pins))
        quick = ["-q", "--disable-pip-version-check", "--no-compile"]
        pip = [python, "-m", "pip", "install", *quick, "-c", d / "pins.txt"]
        # what the import needs: nothing
        run(*pip, "--no-deps", wheel)
        env = {
            **{k: v for k, v in os.environ.items() if k not in NOT_PASSED_ON},
            "PATH": str(bin),
        }
        print(run(python, "-c", IMPORT, cwd=d, env=env))
        (d / "a.txt").write_text(TEXT)
        run(*pip, "torch")
        for fastcore in ("fastcore>=2,<3", "fastcore<2"):
            run(*pip, fastcore, wheel)
            print(run(python, "-c", IMPORT, cwd=d, env=env))
            print(run(python, "-c", JOB, engine, cwd=d, env=env).splitlines()[-1])
        ask = ["--prompt", "The", "--max-new-tokens", "5", "--seed", "1"]
        print(run(bin / "textgen", "generate", "m", *ask, cwd=d, env=env))
        print(run(bin / "textgen", "generate", "--max-new-tokens", "20", "--seed", "1", cwd=d, env=env))


if __name__ == "__main__":
    main()
