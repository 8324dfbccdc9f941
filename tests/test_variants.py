"The tests whose variants wait for `make test-all` are there."

import re
from pathlib import Path
import variants

FILES = {p.name: p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py")}


def test_every_name_is_known():
    tests = {name for text in FILES.values() for name in re.findall(r"^def (test_\w+)", text, re.M)}
    assert not variants.unknown(tests, FILES.keys())


def test_some_wait_and_some_do_not():
    test = "test_greedy_is_transformers_own", "test_architectures.py"
    assert variants.waits(*test, "qwen3") and not variants.waits(*test, "t5")
    assert variants.waits("test_files", "test_families.py", "phi3-line")
    assert not variants.waits("test_files", "test_families.py", "t5-line")
