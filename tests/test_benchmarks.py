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


def test_every_result_is_on_the_page():
    page = json.loads((HERE.parent/"nbs/explanations/benchmarks.ipynb").read_text(encoding="utf-8"))
    code = "".join("".join(c["source"]) for c in page["cells"] if c["cell_type"] == "code")
    missing = [n for n in NAMES if f'"{charts.base(n)}"' not in code]
    assert not missing, f"benchmarks/results/{missing[0]}.json is not on the page: draw it in benchmarks.ipynb"


def test_each_kind_of_machine_has_its_charts(tmp_path):
    for name in ("sea", "sea_avx2", "sea_level"):
        found = record.Record(name, "The sea")
        found.add("swim", "textgen", "m/s", [1.0])
        found.save(tmp_path)
    assert [charts.base(n) for n in charts.names(tmp_path)] == ["sea", "sea", "sea_level"]
    for name, kind in (("sea", "AVX512"), ("sea_avx2", "AVX2")):
        content = charts.load(name, tmp_path)
        content["machine"]["instruction_set"] = kind
        (tmp_path/f"{name}.json").write_text(json.dumps(content))
    titles = [ax.get_title(loc="left") for ax in charts.draw_each("sea", folder=tmp_path).axes]
    assert [o.split(",")[0] for o in titles] == ["AVX512", "AVX2"]


def test_what_everybody_does_first_is_no_competitor(tmp_path):
    found = record.Record("start", "The start", better="less")
    found.add("begun", "textgen", "s", [2.0])
    found.add("begun", "import torch", "s", [1.0])
    found.save(tmp_path)
    assert len(charts.misses(tmp_path).splitlines()) == 2


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
