"The figures in benchmarks/results are whole, those carried over are those of the tables, and charts are made of them."
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]/"benchmarks"
sys.path.insert(0, str(HERE))
import charts  # noqa: E402
import convert  # noqa: E402
import record  # noqa: E402

NAMES = charts.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_result_says_where_and_how(name):
    content = charts.load(name)
    assert {"machine", "date", "versions", "command", "seconds", "measurements"} <= content.keys()
    rows = content["measurements"]
    assert rows and all(o["repetitions"] and o["better"] in ("more", "less") for o in rows)
    assert len({(o["what"], o["by"]) for o in rows}) == len(rows)
    assert charts.where(content).count(";") == 4


@pytest.mark.parametrize("name", [n for n in NAMES if "carried_over" in charts.load(n)])
def test_what_was_carried_over_is_what_the_table_says(name):
    assert charts.load(name) == json.loads(json.dumps(convert.carried_over(name)))
    text = (record.RESULTS/f"{name}.md").read_text(encoding="utf-8").replace(",", "")
    for row in charts.load(name)["measurements"]:
        value = row["repetitions"][0]
        assert any(f"{value:{form}}" in text for form in (".0f", "g", ".1f", ".2f", ".3f", ".4f")), row


def test_a_record_is_written_whole(tmp_path):
    found = record.Record("sea", "The sea")
    found.add("swim", "textgen", "m/s", [1.0, 2.0, 4.0], limit=5, wanted=3)
    found.add("swim", "a fish", "m/s", [9.0])
    assert found.save(tmp_path) == tmp_path/"sea.json" and len(list(tmp_path.iterdir())) == 1
    content = charts.load("sea", tmp_path)
    assert content["date"] and content["command"] and content["machine"]["cores"] and content["versions"]["torch"]
    assert content["measurements"][0]["repetitions"] == [1.0, 2.0, 4.0] and "3 runs" in charts.where(content)
    told = charts.misses(tmp_path).splitlines()
    short = "| sea: swim | textgen: 2 m/s | asked for: 3 m/s |"
    assert told[2:] == ["| sea: swim | textgen: 2 m/s | a fish: 9 m/s |", short]
    assert len(charts.draw(content).axes) == 1
    later = record.Record("sea", "The sea")
    later.add("dive", "textgen", "m", [3.0])
    assert [o["what"] for o in later.merge(tmp_path).measurements] == ["dive", "swim", "swim"]
