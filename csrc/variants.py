"""How the C is compiled: one source, a shared library for each instruction set. Used by setup.py and tools/sanitize.py.

Needs nothing but the standard library. `python csrc/variants.py` lists what would be built here.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("*.c"))

# The best last: the names of the variants and the flags of each. `generic` runs on every processor of its kind (on
# x86-64
# it is SSE2, on ARM NEON) and tells which of the others may be used. Their order of preference is
# ISAS in nbs/generation/39_kernels.ipynb.
_AVX2 = ["-mavx2", "-mfma"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
X86_64 = {"generic": [], "avx2": _AVX2, "avx512": _AVX512, "avx512-vnni": [*_AVX512, "-mavx512vnni"]}
ARM64 = {"generic": [], "neon-dot": ["-march=armv8.2-a+dotprod"]}
MACHINES = {"x86_64": X86_64, "amd64": X86_64, "aarch64": ARM64, "arm64": ARM64}

# Sums may not be reordered (no -ffast-math): a row is the same to the last bit in any batch.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fPIC",
    "-Wno-psabi",
]


class CannotBuild(Exception):
    "Why there is no library."


def variants():
    "Instruction sets that a library is made for on this kind of machine, with their flags."
    return MACHINES.get(platform.machine().lower(), {"generic": []})


def file_name(isa):
    return f"textgen-{isa}.so"


def compiler():
    "The command of a C compiler: of $CC, else the first that is found."
    if os.name == "nt":
        raise CannotBuild("on Windows it is not built: GCC does not align the stack for wide vectors there")
    for command in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if command and shutil.which(command.split()[0]):
            return command.split()
    raise CannotBuild("no C compiler (cc, gcc or clang) was found")


def _run(command):
    r = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if r.returncode == 0:
        return
    lines = (r.stderr + r.stdout).strip().splitlines() or ["no message"]
    raise CannotBuild(f"{command[0]} failed: {next((o for o in lines if 'error' in o.lower()), lines[-1])}")


def _compile(cc, isa, flags, to):
    """One shared library. OpenMP's functions are left for the loader to find in the copy that torch has loaded: a
    second one would fight with it for the cores."""
    with tempfile.TemporaryDirectory(dir=to.parent) as d:
        objects = [Path(d) / f"{source.stem}.o" for source in SOURCES]

        def one(source, o):
            _run([*cc, *FLAGS, *flags, f'-DTEXTGEN_ISA="{isa}"', "-c", source, "-o", o])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, SOURCES, objects))
        _run(
            [
                *cc,
                "-shared",
                *[f for f in flags if f.startswith("-fsanitize")],
                *objects,
                "-o",
                Path(d) / "made.so",
                "-lm",
            ]
        )
        os.replace(Path(d) / "made.so", to)


def build(isa, folder, extra=()):
    """Compile one variant into a folder, with OpenMP where the compiler has it; returns its path, or raises
    `CannotBuild`."""
    cc, to, flags = compiler(), Path(folder) / file_name(isa), [*variants()[isa], *extra]
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        _compile(cc, isa, [*flags, "-fopenmp"], to)
    except CannotBuild:
        _compile(cc, isa, flags, to)
    return to


if __name__ == "__main__":
    for isa, flags in variants().items():
        print(f"{file_name(isa)}: {' '.join(flags) or 'what every processor has'}")
