"What is read is the text, of every kind of file and table, or it is refused in one line."

import datetime
import decimal
import json
import math
import numpy as np
import pandas as pd
import pytest
from textgen import CorpusError, TokenDataset, TrainError
from textgen.text.corpus import documents
from textgen.text.table import is_null, records, row_texts, rows, table_texts


# ---- cells that hold nothing
NULLS = dict(
    none=None,
    nan=math.nan,
    numpy=np.float32("nan"),
    na=pd.NA,
    nat=pd.NaT,
    date=np.datetime64("NaT"),
    decimal=decimal.Decimal("NaN"),
    signalling=decimal.Decimal("sNaN"),
)
nulls = pytest.mark.parametrize("null", NULLS.values(), ids=NULLS)
TEMPLATE = "{title}\n\n{text}"


def _texts(source, **kw):
    return [d.text for d in documents(source, **kw)]


@nulls
def test_a_null_is_an_empty_text(null):
    "In a column, in a template, in dictionaries and frames; no word such as None comes of it."
    rows = [
        dict(title=null, text="one"),
        dict(title="T", text=null),
        dict(title=null, text=null),
        dict(title="T", text="two"),
    ]
    wanted = ["one", "T", "", "T\n\ntwo"]
    assert is_null(null) and list(row_texts(enumerate(rows), template=TEMPLATE)) == wanted
    frame = pd.DataFrame(rows, dtype=object)
    assert list(row_texts(records(frame), template=TEMPLATE)) == wanted
    assert list(row_texts(records(frame), column="text")) == ["one", "", "", "two"]


@nulls
def test_a_null_in_a_dataset(tok, null):
    data = TokenDataset.from_texts([dict(title=null, text="one"), dict(title=null, text=null)], tok, template=TEMPLATE)
    assert [data.decode(data[i]) for i in range(len(data))] == ["one"]


def _write(tmp_path, kind, rows):
    "A table of a kind; a None in it is null, or nothing at all where the kind has no null."
    frame, path = pd.DataFrame(rows), tmp_path / f"a.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


KINDS = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_nulls_of_every_kind_of_table(tmp_path, kind):
    rows = [
        dict(title=None, text="one", notes=None),
        dict(title="T", text="two", notes=None),
        dict(title="T", text=None, notes="n"),
    ]
    path = _write(tmp_path, kind, rows)
    assert _texts(path, template=TEMPLATE + "\n\n{notes}") == ["one", "T\n\ntwo", "T\n\nn"]
    assert list(table_texts(path, "text")) == ["one", "two", ""]


def test_nan_in_json(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": NaN}\n{"text": "b"}\n')
    assert _texts(tmp_path / "a.jsonl") == ["b"]


@pytest.mark.parametrize(
    "template,row,wanted",
    [
        ("{a}\n{b}\n{c}", dict(a="1", b=None, c="3"), "1\n3"),
        ("{a}\n\n{b}\n\n{c}", dict(a="1", b=None, c="3"), "1\n\n3"),
        ("{a}\n\n\n{b}\n{c}", dict(a="1", b="", c="3"), "1\n\n\n3"),
        ("{a} {b}\n{c}", dict(a=None, b=None, c="3"), "3"),
        ("{a} {b}\n{c}", dict(a=None, b="2", c="3"), " 2\n3"),
        ("Title: {a}\n{b}", dict(a=None, b="2"), "Title: \n2"),
        (
            "{a!r}\n{b:>9}\n{c:.2f}\n{d[x]}\n{d[y][0]}\n{e}",
            dict(a=None, b=pd.NA, c=math.nan, d=dict(x=None, y=[None]), e="5"),
            "5",
        ),
        ("{a[x]}{a.x}|", dict(a=None), "|"),
        ("{{{a}}}\n{b}", dict(a=None, b="2"), "{}\n2"),
        ("\n{a}\n\n{b}\n", dict(a="1", b="2"), "\n1\n\n2\n"),
        ("{a}", dict(a="one\n\n\ntwo"), "one\n\n\ntwo"),
    ],
    ids=str,
)
def test_lines_that_an_empty_field_leaves(template, row, wanted):
    assert list(row_texts([(1, row)], template=template)) == [wanted]


def test_values_that_are_no_nulls():
    "A zero, a word that looks like a null, a date."
    row = dict(a=0, b="None", c="nan", d=datetime.date(2020, 1, 2), e=False)
    assert list(row_texts([(1, row)], template="{a} {b} {c} {d} {e}")) == ["0 None nan 2020-01-02 False"]


def test_nulls_in_a_task(tok):
    "The fields of a task follow the same rule."
    from textgen.tasks.column import encode_columns
    from textgen.text.codec import Codec

    rows = [dict(a=null, text="one") for null in NULLS.values()]
    columns = encode_columns(rows, Codec(tok))
    assert sorted(columns) == ["a", "text"] and columns["a"].lengths().tolist() == [0] * len(NULLS)


# ---- columns of one name
def _frame(*names):
    return pd.DataFrame([["a"] * len(names)], columns=names)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet", "frame"])
def test_two_columns_of_one_name(tmp_path, kind, monkeypatch):
    path = tmp_path / f"a.{kind}"
    if kind == "frame":
        path = _frame("text", "id", "text")
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"]), path)
    elif kind in ("csv", "tsv"):
        _frame("text", "id", "text").to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    else:
        path.write_text('{"text": "a", "text": "b"}' if kind == "jsonl" else '[{"text": "a", "text": "b"}]')
    with pytest.raises(CorpusError, match="two columns are named 'text'"):
        _texts(path)


def test_columns_without_a_name(tmp_path):
    "What a spreadsheet leaves at the right."
    (tmp_path / "a.csv").write_text("text,,\none,,\n")
    assert _texts(tmp_path / "a.csv") == ["one"] and next(rows(tmp_path / "a.csv"))[1] == dict(text="one")


# ---- quotes
def _tsv(tmp_path, *fields, head="id\ttext"):
    path = tmp_path / "a.tsv"
    path.write_text("".join(line + "\n" for line in [head, *(f"{i}\t{f}" for i, f in enumerate(fields))]))
    return path


OPEN = ('"To be', 'or not to be"', '"That is', 'the question"')


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_fields_that_begin_with_a_quote(tmp_path, name):
    "Four rows never become two: refused, or as many as there are."
    path = _tsv(tmp_path, *OPEN).rename(tmp_path / name)
    with pytest.raises(CorpusError, match="line 3?2?: a field begins with a quote.*pass quoting='none'"):
        _texts(path)
    assert _texts(path, quoting="none") == list(OPEN) == _texts(path, quoting=3)
    assert len(_texts(path, quoting="minimal")) == 2


def test_a_tsv_of_one_column_with_open_quotes(tmp_path):
    (tmp_path / "a.tsv").write_text("text\n" + "".join(f"{o}\n" for o in OPEN))
    with pytest.raises(CorpusError, match="quoting="):
        _texts(tmp_path / "a.tsv")
    assert _texts(tmp_path / "a.tsv", quoting="none") == list(OPEN)


@pytest.mark.parametrize("fields", [('"Well" she said',), ('"never closed',), ('""doubled""',)], ids=str)
def test_quotes_that_are_none(tmp_path, fields):
    with pytest.raises(CorpusError, match="quoting='none'"):
        _texts(_tsv(tmp_path, *fields))
    assert _texts(_tsv(tmp_path, *fields), quoting="none") == list(fields)


@pytest.mark.parametrize("sep", [",", "\t", ";", "|"])
def test_what_pandas_writes(tmp_path, sep):
    "Quotes, newlines, tabs and delimiters in a text."
    texts = ['He said "no"', "two\nlines", "a\ttab", "a,b;c|d", '"all"', "", 'one"\n"two']
    path = tmp_path / ("a.tsv" if sep == "\t" else "a.csv")
    pd.DataFrame(dict(id=range(len(texts)), text=texts)).to_csv(path, index=False, sep=sep)
    assert _texts(path) == [t for t in texts if t] == _texts(path, quoting="minimal")


@pytest.mark.parametrize("quoting", ["non", 9, "", True])
def test_unknown_quoting(tmp_path, quoting):
    path = _tsv(tmp_path, "a")
    with pytest.raises(CorpusError, match="unknown quoting"):
        _texts(path, quoting=quoting)
    with pytest.raises(CorpusError, match="unknown quoting"):
        next(rows(path, quoting=quoting))


# ---- line ends
LINES = "one\r\ntwo\rthree\n"


@pytest.mark.parametrize(
    "kind", ["jsonl", "json", "ndjson", "parquet", "csv", "tsv", "frame", "dicts", "strings in jsonl", "txt"]
)
def test_one_kind_of_line_end(tmp_path, kind):
    "A newline, from every kind of source; `newlines=False` keeps what is there."
    path, row = tmp_path / f"a.{kind}", dict(id=1, text=LINES)
    frame = pd.DataFrame([row])
    if kind == "dicts":
        assert [list(row_texts(records([row], newlines=n))) for n in (True, False)] == [["one\ntwo\nthree\n"], [LINES]]
        return
    if kind == "frame":
        path = frame
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    elif kind == "txt":
        path.write_bytes(LINES.encode())
    elif kind == "strings in jsonl":
        path = tmp_path / "b.jsonl"
        path.write_text(json.dumps(LINES))
    else:
        path.write_text(json.dumps([row] if kind == "json" else row))
    assert _texts(path) == ["one\ntwo\nthree\n"]
    kept = _texts(path, newlines=False)
    assert kept == [LINES]


def test_strings_of_python_are_kept(tok):
    "Text in is text out."
    data = TokenDataset.from_texts([LINES], tok)
    assert data.decode(data[0]) == LINES


@pytest.mark.parametrize("quoting,wanted", [("none", ['"a', 'b"', "c"]), ("minimal", ["a\n2|b", "c"])])
def test_bars_between_columns_are_read_as_tabs_are(tmp_path, quoting, wanted):
    "Where a quote may begin a text or stand around it, nothing is joined without being asked for."
    (tmp_path / "a.csv").write_text('id|text\n1|"a\n2|b"\n3|c\n')
    with pytest.raises(CorpusError, match="line 2: a field begins with a quote.*quoting='none'"):
        _texts(tmp_path / "a.csv", column="text")
    assert _texts(tmp_path / "a.csv", column="text", quoting=quoting) == wanted


def test_a_window_beyond_the_context(tg, data):
    "Evaluation refuses it as training does."
    for call in (tg.evaluate, tg.train):
        with pytest.raises(TrainError, match="window=9999 is longer than the model's context"):
            call(data, window=9999)
