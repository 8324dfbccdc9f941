"""The native engine for ARM: compiled here by a cross compiler, and run by an emulator. Its speed is not measured.

The same program, with the same inputs, runs on this processor and on the emulated one.
"""

import shutil
import subprocess
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
variants = SourceFileLoader("csrc_variants", str(ROOT / "csrc/variants.py")).load_module()

CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
HERE = next((o for o in ("cc", "gcc", "clang") if shutil.which(o)), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (HERE and shutil.which(CROSS) and shutil.which(EMULATOR)),
        reason=f"{CROSS} and {EMULATOR} are not installed (apt install gcc-aarch64-linux-gnu qemu-user)",
    ),
]


def results(compiler, isa, flags, folder, run):
    "What the program prints: a name and numbers a line; and what it says of the processor."
    program = folder / f"driver-{isa}"
    sources = [ROOT / "tests/arm/driver.c", *variants.SOURCES]
    subprocess.run(
        [compiler, *variants.FLAGS, *flags, "-Wno-unknown-pragmas", f'-DTEXTGEN_ISA="{isa}"', f"-I{ROOT / 'csrc'}"]
        + [*map(str, sources), "-static", "-lm", "-o", str(program)],
        check=True,
    )
    out = subprocess.run([*run, str(program)], check=True, capture_output=True, text=True)
    lines = [line.split() for line in out.stdout.splitlines()]
    return [(name, [float(o) for o in numbers]) for name, *numbers in lines], out.stderr.split()


@pytest.mark.parametrize("isa", variants.ARM64)
def test_the_same_numbers_on_arm(isa, tmp_path):
    "Drawn tokens and bytes are equal, products and norms up to rounding."
    want, _ = results(HERE, "generic", [], tmp_path, [])
    got, (named, has_dot) = results(CROSS, isa, variants.ARM64[isa], tmp_path, [EMULATOR])
    assert (named, has_dot) == (isa, "1")
    assert [name for name, _ in got] == [name for name, _ in want] and len(want) > 20
    for (name, mine), (_, theirs) in zip(got, want):
        if name in ("draw", "quantize"):
            assert mine == theirs
        else:
            assert mine == pytest.approx(theirs, rel=2e-5, abs=2e-5), name


def test_dot_products_are_used(tmp_path):
    "The variant has the instruction for which it was made, and the other has not."
    for isa, flags in variants.ARM64.items():
        out = tmp_path / f"{isa}.s"
        how = [CROSS, *variants.FLAGS, *flags, "-Wno-unknown-pragmas"]
        subprocess.run([*how, "-S", ROOT / "csrc/linear.c", "-o", out], check=True)
        assert ("sdot" in out.read_text()) == (isa == "neon-dot")
