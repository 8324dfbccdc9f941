"""The native engine under AddressSanitizer and UndefinedBehaviorSanitizer.

`python tools/sanitize.py [pytest's arguments]`. In a copy of the package the libraries are made again with both, and
the tests that use C run with them: a number read or written outside a tensor, or an operation that C leaves undefined,
ends the run. Where the compiler has no sanitizer this says so and ends well.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "csrc"))
import variants  # noqa: E402

FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TESTS = [f"tests/test_{name}.py" for name in ("native", "fast", "cpu", "block", "native_loss")]
ROOMS = ["nbs/generation/39_kernels.ipynb", "nbs/generation/44_native.ipynb"]
# one number beyond a tensor's end: if this passes, the run above it says nothing
WRONG = """
import torch
from textgen.generation.kernels import CNorm, library
library().textgen_norm(CNorm(weight=torch.ones(16), size=32), torch.ones(1, 32), 1, torch.empty(1, 32))
"""


def library(cc, *names):
    "The path of the first of these libraries that the compiler has, or None."
    for name in names:
        path = subprocess.run([*cc, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        if os.path.isabs(path) and os.path.exists(path):
            return path
    return None


def runtime():
    """What has to be loaded before Python is; None where the compiler has no sanitizer.

    The C++ library too: AddressSanitizer looks for its exceptions when it starts, and torch and matplotlib throw them
    later.
    """
    try:
        cc = variants.compiler()
    except variants.CannotBuild:
        return None
    asan = library(cc, "libasan.so", "libclang_rt.asan.so", f"libclang_rt.asan-{platform.machine()}.so")
    return asan and " ".join(filter(None, [asan, library(cc, "libstdc++.so.6")]))


def sanitized(folder, isas):
    "A copy of the package whose libraries are made with the sanitizers."
    shutil.copytree(ROOT / "textgen", folder / "textgen", ignore=shutil.ignore_patterns("_native", "__pycache__"))
    for isa in isas:
        variants.build(isa, folder / "textgen" / "_native", FLAGS)


def able():
    "The variants that this processor can run."
    from textgen.generation.kernels import ISAS, open_library

    probe = open_library("generic")
    return [isa for isa in ISAS if isa in variants.variants() and probe.textgen_cpu_supports(isa.encode())]


def checked(command, env, reports):
    "Run a command; what the sanitizers report goes to files, since pytest would swallow it."
    own = dict(env, ASAN_OPTIONS=f"{env['ASAN_OPTIONS']}:log_path={reports}/report")
    code = subprocess.run([*map(str, command)], env=own, cwd=ROOT).returncode
    for p in sorted(reports.glob("report*")):
        print(p.read_text(errors="replace")[:4000], file=sys.stderr)
    if code:
        sys.exit(f"textgen: {' '.join(map(str, command))} failed under the sanitizers (exit code {code})")


def run(folder, isas, preload, arguments):
    env = dict(
        os.environ,
        PYTHONPATH=str(folder),
        LD_PRELOAD=preload,
        PYTHONMALLOC="malloc",
        OMP_NUM_THREADS="2",
        ASAN_OPTIONS="detect_leaks=0:exitcode=99",
        UBSAN_OPTIONS="print_stacktrace=1",
    )
    wrong = subprocess.run([sys.executable, "-c", WRONG], env=env, cwd=folder, capture_output=True, text=True)
    if "heap-buffer-overflow" not in wrong.stderr:
        sys.exit(f"the sanitizer does not see a number beyond a tensor's end:\n{wrong.stderr[-2000:]}")
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
    for isa in isas:
        print(f"{isa}: with AddressSanitizer and UndefinedBehaviorSanitizer", flush=True)
        own = dict(env, TEXTGEN_ISA=isa)
        checked([*pytest, *(arguments or TESTS)], own, folder)
        for room in ROOMS:
            checked([Path(sys.executable).parent / "nbdev_test", "--path", room, "--n_workers", "0"], own, folder)


def main():
    preload = runtime()
    if not preload:
        return print("textgen: skipped: the C compiler here has no AddressSanitizer, or there is no compiler")
    with tempfile.TemporaryDirectory() as d:
        isas = able()
        sanitized(Path(d), isas)
        run(Path(d), isas, preload, sys.argv[1:])


if __name__ == "__main__":
    main()
