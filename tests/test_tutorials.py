"The tool that runs tutorials trains less than they say, and changes nothing else."
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]/"tools"))
import tutorials  # noqa: E402

SHRUNK = {
    "run = tg.train(data, steps=600, lr=0.1)": "run = tg.train(data, steps=6, lr=0.1)",
    "tg.train(data, steps=3)": "tg.train(data, steps=3)",
    "steps = 1_000": "steps = 6",
    "tg.train(data, epochs=2.5)": "tg.train(data, steps=6)",
    "dict(steps=5, epochs=1)": "dict(steps=5, epochs=1)",
    "textgen train a.txt --steps 1000": "textgen train a.txt --steps 6",
    "tg.train(data, steps=60)  # whole": "tg.train(data, steps=60)  # whole",
    "run.steps, tokens, max_steps=50": "run.steps, tokens, max_steps=50",
    "a = 1\nb(steps=75)": "a = 1\nb(steps=6)",
}


@pytest.mark.parametrize("source", SHRUNK)
def test_steps_shrink(source):
    assert tutorials.shrunk(source) == SHRUNK[source]
