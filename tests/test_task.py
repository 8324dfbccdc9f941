"Tasks: what is drawn, how often, and that it depends on seed and place alone."

import csv
from collections import Counter
import numpy as np
import pytest
from hypothesis import given, strategies as st
from textgen import Mixture, Task, TaskError, TokenDataset
from textgen.text.corpus import bundled
from textgen.text.table import rows
from textgen.tasks.preprocess import (
    Draws,
    concat_and_chunk,
    fields,
    filter_length,
    lm,
    noise_mask,
    prefix,
    prefix_lm,
    preprocessor,
    span_corruption,
    split_tokens,
)
from textgen.tasks.column import join
from textgen.tasks.example import all_steps
from textgen.tasks.mixture import as_task, open_tasks
from textgen.tasks.task import list_tasks
from textgen.text.codec import Codec


@pytest.fixture(scope="module")
def codec(tok):
    return Codec(tok)


@pytest.fixture(scope="module")
def unigram():
    "Another kind of tokenizer, on bytes too."
    from textgen.text.tokenizer import train_tokenizer

    return Codec(train_tokenizer(bundled("poems"), vocab_size=500, kind="unigram"))


def doc(n, first=0):
    return dict(text=np.arange(first, first + n))


def chi2(counts):
    "How far counts are from even, in standard deviations of the chi-square statistic."
    counts = np.asarray(counts, float)
    mean, df = counts.mean(), len(counts) - 1
    return (((counts - mean) ** 2 / mean).sum() - df) / (2 * df) ** 0.5


# ---- preprocessors
@given(
    n=st.integers(1, 60),
    length=st.integers(2, 70),
    p_min=st.integers(0, 5),
    seed=st.integers(0, 2**64 - 1),
    begin=st.booleans(),
)
def test_prefix_lm_is_a_split_of_the_text(n, length, p_min, seed, begin):
    (e,) = prefix_lm(length=length, p_min=p_min, begin=begin)(doc(n), Draws(seed, 1))
    whole = np.concatenate([e["input"], e["target"]])
    assert np.array_equal(whole, np.arange(whole[0], whole[0] + len(whole))) and len(whole) <= length
    assert e["ends"] == (whole[-1] == n - 1) and len(e["target"]) >= 1
    assert len(e["input"]) >= min(p_min, len(whole) - 1)
    if begin or n <= length:
        assert whole[0] == 0


@pytest.mark.parametrize("n, p_min", [(2, 1), (11, 1), (100, 1), (11, 0), (40, 7)])
def test_the_split_is_uniform(n, p_min):
    "From p_min to L-1, both among them."
    counts = Counter(len(prefix_lm(p_min=p_min)(doc(n), Draws(5, k))[0]["input"]) for k in range(400 * (n - p_min)))
    assert set(counts) == set(range(p_min, n))
    assert n - p_min == 1 or chi2(list(counts.values())) < 4


DRAWS = 8_000  # examples of which tokens are counted


@pytest.mark.parametrize("step", [prefix_lm(length=8), lm(length=8), span_corruption(length=8)], ids=repr)
def test_every_token_of_a_collection_is_equally_likely(step, codec):
    "In documents of very different lengths."
    lengths = [3, 8, 9, 40, 200]
    data = TokenDataset(
        np.concatenate([np.append(np.arange(n) + i * 1000 + 5, codec.end) for i, n in enumerate(lengths)]),
        np.cumsum([0, *(n + 1 for n in lengths)]),
        codec,
    )
    if step.f.__name__ == "span_corruption":
        codec.sentinels = [*range(90_000, 90_100)]
    task, seen = Task("t", data, step).open(codec), Counter()
    for k in range(DRAWS):
        e = task.draw(3, k)
        seen.update(i for i in [*e["input"].tolist(), *e["target"].tolist()] if i < 90_000)
    seen.pop(codec.end, None)
    assert len(seen) == sum(lengths)
    weight = np.array([(n + 7) / 8 if n > 8 else 1 for n in lengths])
    slack = 5 / np.sqrt(DRAWS * weight / weight.sum()) + (
        0.05 if step.f.__name__ == "span_corruption" else 0
    )  # which redraws segments of one token
    for i, n in enumerate(lengths):
        assert abs(np.mean([seen[i * 1000 + 5 + j] for j in range(n)]) * weight.sum() / DRAWS - 1) < slack[i]
    codec.sentinels = []


@given(n=st.integers(2, 600), density=st.floats(0.01, 0.99), mean=st.floats(1, 20), seed=st.integers(0, 2**32))
def test_span_corruption_loses_nothing(n, density, mean, seed):
    (e,) = span_corruption(density, mean, length=1000)(doc(n), Draws(seed, 1))
    at = np.flatnonzero(e["target"] < 0)
    spans = dict(zip(e["target"][at].tolist(), np.split(e["target"], at[1:])))
    back = [j for i in e["input"].tolist() for j in (spans[i][1:].tolist() if i < 0 else [i])]
    assert back == list(range(n))
    assert e["target"][at].tolist() == list(range(-2, -2 - len(at), -1))
    noise = min(max(round(n * density), 1), n - 1)
    assert (e["target"] >= 0).sum() == noise


def test_all_partitions_are_equally_likely():
    "5 tokens kept and 3 cut, in 2 spans: 4 times 2 masks."
    masks = Counter(noise_mask(8, 3 / 8, 1.5, Draws(0, k)).tobytes() for k in range(8000))
    assert len(masks) == 8 and chi2(list(masks.values())) < 4


@given(n=st.integers(0, 300), length=st.integers(1, 80), low=st.integers(1, 80), seed=st.integers(0, 2**32))
def test_split_tokens_gives_all(n, length, low, seed):
    got = split_tokens(length, min_length=min(low, length))(doc(n), Draws(seed, 1))
    assert [i for e in got for i in e["text"].tolist()] == list(range(n))
    assert [e["ends"] for e in got] == [False] * (len(got) - 1) + [True] * bool(got)
    sizes = {len(e["text"]) for e in got[:-1]}
    assert len(sizes) < 2 and all(min(low, length) <= s <= length for s in sizes)


def test_concat_and_chunk_reads_a_stream(codec):
    "Each document whole between two ends, but for the first and the last."
    texts = ["one", "two words", "and three words"]
    task = Task("t", texts, concat_and_chunk(length=40)).open(codec, "causal")
    for k in range(50):
        e = task.draw(0, k)
        assert len(e["target"]) <= 40 and e["target"].tolist().count(codec.end) >= 1
        parts = codec.decode([codec.encode("|")[0] if i == codec.end else i for i in e["target"]]).split("|")
        assert (
            set(parts[1:-1]) <= set(texts)
            and any(t.endswith(parts[0]) for t in texts)
            and any(t.startswith(parts[-1]) for t in texts)
        )


@pytest.mark.parametrize(
    "bad, words",
    [
        (lambda: prefix_lm(length=1.5), "length must be a whole number, at least 2, got 1.5"),
        (lambda: prefix_lm(512, -1), "p_min must be"),
        (lambda: span_corruption(density=1.0), "density must be a number above 0 and below 1, got 1.0"),
        (lambda: lm(min=1), "unexpected keyword"),
        (lambda: split_tokens(8, min_length=0), "min_length must be"),
        (lambda: prefix(), "missing a required argument: 'text'"),
    ],
)
def test_options_are_checked_when_they_are_written(bad, words):
    with pytest.raises(TaskError, match=words):
        bad()


# ---- ids that a prompt would have
@pytest.mark.parametrize("which", ["codec", "unigram"])
def test_joined_ids_are_those_of_the_text(which, request):
    c = request.getfixturevalue(which)
    for _, r in rows(bundled("news")):
        parts = tuple(np.array(c.encode(r[k])) for k in ("category", "headline"))
        text = f"news: {r['category']}: {r['headline']}"
        ids = join(c, ("news: ", (parts[0], ": ", parts[1])))
        assert c.decode(ids) == text
        assert ids.tolist() == c.encode(text) or which == "unigram"


@given(a=st.text(max_size=40), b=st.text(max_size=40), c=st.text(max_size=40))
def test_joined_text_is_the_text(codec, a, b, c):
    ids = lambda t: np.array(codec.encode(t.encode("utf-8", "replace").decode()), np.int64)
    a, b, c = (t.encode("utf-8", "replace").decode() for t in (a, b, c))
    assert codec.decode(join(codec, (ids(a), b, ids(c)))) == a + b + c
    assert codec.decode(join(codec, (a, (ids(b), ids(c))))) == a + b + c


# ---- folders and tables
ARTICLES = 2000


@pytest.fixture(scope="module")
def articles(tmp_path_factory):
    "2,000 articles, as a folder with a subfolder for each category, and as a CSV."
    d = tmp_path_factory.mktemp("articles")
    body = [r["body"] for _, r in rows(bundled("news"))]
    made = [
        (("sport", "arts", "local")[i % 3], f"Headline, number {i}", f'{body[i % len(body)][:300]}\n\nEnd of "{i}".')
        for i in range(ARTICLES)
    ]
    with open(d / "news.csv", "w", newline="") as f:
        csv.writer(f).writerows([("category", "title", "content"), *made])
    for i, (c, t, b) in enumerate(made):
        (d / "articles" / c).mkdir(parents=True, exist_ok=True)
        (d / "articles" / c / f"{i}.txt").write_text(f"{t}\n\n{b}")
    return d, made


@pytest.mark.parametrize("source, to", [("articles", "text"), ("news.csv", "content")])
def test_two_thousand_articles_in_one_line(articles, codec, source, to):
    d, made = articles
    task = Task("news", d / source, fields("category", "title", to=to)).open(codec)
    assert len(task) == ARTICLES
    want = {f"{c}: {t}": b for c, t, b in made}
    got = {codec.decode(e["input"]): codec.decode(e["target"]) for e in task.every()}
    assert got == want


def test_documents_without_a_field_stay_in_step(codec):
    table = [
        dict(title="a", text="1"),
        dict(title="", text="2"),
        dict(title=None, text=""),
        dict(text="4"),
        dict(title="e", text="5"),
    ]
    task = Task("t", table, fields("title")).open(codec)
    assert [(codec.decode(e["input"]), codec.decode(e["target"])) for e in task.every()] == [
        ("a", "1"),
        ("", "2"),
        ("", "4"),
        ("e", "5"),
    ]


def test_frames_and_iterators(codec):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(dict(title=["a", None, "c"], year=[1, 2, 3], text=["x", "y", "z"]))
    for source in (frame, iter(frame.to_dict("records"))):
        task = Task("t", source, fields("year", "title", sep=" "))
        for _ in range(2):
            assert [codec.decode(e["input"]) for e in task.open(codec).every()] == ["1 a", "2", "3 c"]
        assert len(task.open(codec, split="train")) == 3


def test_a_path_is_a_task(codec, tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.txt").write_text("three")
    whole = {codec.decode(np.concatenate([e["input"], e["target"]])) for e in as_task(tmp_path).open(codec).every()}
    assert whole == {"one\ntwo", "three"}
    assert (
        as_task([tmp_path / "a.txt", tmp_path / "b.txt"]).open(codec).n == 2
        and as_task(str(tmp_path / "*.txt")).open(codec).n == 2
    )
    lines = Task("t", tmp_path / "a.txt", by="line").open(codec)
    assert len(lines) == 2
    cached = TokenDataset.from_files(tmp_path, codec.tokenizer, save=tmp_path / "c.tokens").path
    assert as_task(cached).open(codec).n == 2 and as_task([cached, cached]).open(codec).n == 4


def test_where_text_alone_is_read_of_a_folder_it_is_the_whole_document(articles, codec):
    text = Task("t", articles[0] / "articles").open(codec)
    e = text.draw(0, 0)
    assert text.n >= ARTICLES and codec.decode(np.concatenate([e["input"], e["target"]])).startswith("Headline, number")


# ---- drawing
def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("source", ["poems", "news", bundled("poems")], ids=str)
def test_an_example_is_a_function_of_seed_and_place(source, codec):
    a, b = (
        as_task(source).open(codec, **({} if isinstance(source, str) else {}))
        if isinstance(source, str)
        else Task("t", source).open(codec)
        for _ in range(2)
    )
    later = [b.draw(7, 3, k) for k in range(40)][::-1]
    for k in reversed(range(40)):
        assert same(a.draw(7, 3, k), later[39 - k])
    assert not all(same(a.draw(7, 3, k), a.draw(8, 3, k)) for k in range(5))


def test_another_process_draws_the_same(python):
    "Whatever the order of its sets is."
    code = """
import sys
from textgen import Task, Mixture, train_tokenizer
from textgen.text.corpus import bundled
from textgen.text.codec import Codec
from textgen.tasks.reading import Reading
from textgen.tasks.batch import make_source
from textgen.core import sha256
tok = train_tokenizer(bundled("poems"), vocab_size=300)
own = Task("own", "news", lambda e, d: [dict(input=e["headline"], target=e["body"])])
s = make_source("seq2seq", Mixture(["poems", "news", own]), Codec(tok), Reading(batch_size=2))
batches = sha256(b"".join(v.tobytes() for k in range(3) for v in s[k].values()))
print(s.identity(), [d["sha256"] for d in s.describe()], batches, "torch" in sys.modules)"""
    import os

    seen = set()
    for seed in ("1", "2"):
        os.environ["PYTHONHASHSEED"] = seed
        try:
            seen.add(python(code))
        finally:
            del os.environ["PYTHONHASHSEED"]
    assert len(seen) == 1 and seen.pop().split()[-1] == "False"


def test_a_preprocessor_that_drops_is_redrawn(codec):
    "What is left is drawn evenly, and never anything else."
    texts = [str(i) for i in range(10)]
    kept = Task("t", texts, [lambda e, d: [e] if int(codec.decode(e["text"])) % 3 == 0 else [], lm()]).open(codec)
    counts = Counter(codec.decode(kept.draw(1, k)["target"]) for k in range(4000))
    assert set(counts) == {"0", "3", "6", "9"} and chi2(list(counts.values())) < 4


def test_a_task_that_drops_keeps_its_share(codec):
    few = Task("few", [str(i) for i in range(50)], [lambda e, d: [e] if codec.decode(e["text"]) == "7" else []])
    opened = open_tasks(Mixture([few, Task("all", ["x"])], "equal"), codec)
    assert 920 < np.bincount(opened.draw(2000, 0, 0)[1])[0] < 1080


def test_several_examples_of_a_document_are_equally_likely(codec):
    task = Task("t", ["a"], lambda e, d: [dict(input=str(i), target="b") for i in range(5)]).open(codec)
    counts = Counter(codec.decode(task.draw(0, k)["input"]) for k in range(3000))
    assert len(counts) == 5 and chi2(list(counts.values())) < 4


def test_own_preprocessor_with_options(codec):
    @preprocessor(makes=True, reads=lambda word: ("text",), rules=dict())
    def starts_with(example, draws, word):
        return [dict(input=word, target=example["text"])]

    task = Task("t", ["a", "b"], starts_with("go "))
    assert "starts_with('go ')" in repr(task) and codec.decode(task.open(codec).draw(0)["input"]) == "go "


def test_order_of_steps(codec):
    steps = all_steps([filter_length(3), prefix("a: "), filter_length(max=9)], "seq2seq", length=16)
    assert [s.f.__name__ for s in steps] == ["filter_length", "prefix_lm", "prefix", "filter_length"]


# ---- mixtures
@given(
    n=st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
    cap=st.one_of(st.none(), st.integers(1, 10**5)),
    t=st.floats(0.5, 50),
)
def test_proportional_rates(n, cap, t):
    m = Mixture([Task(f"t{i}", ["x"]) for i in range(len(n))], cap=cap, temperature=t)
    want = np.array([min(v, cap or v) ** (1 / t) for v in n])
    assert np.allclose(m.shares(n, None), want / want.sum())


@pytest.mark.parametrize(
    "rates, want",
    [
        ([1, 2, 5], [1 / 8, 2 / 8, 5 / 8]),
        ("equal", [1 / 3] * 3),
        (dict(c=1, a=1, b=2), [1 / 4, 2 / 4, 1 / 4]),
        ("proportional", [1 / 6, 2 / 6, 3 / 6]),
    ],
)
def test_drawn_as_often_as_said(rates, want, codec):
    tasks = [Task(n, ["x"] * k) for n, k in zip("abc", (10, 20, 30))]
    opened = open_tasks(Mixture(tasks, rates), codec)
    assert opened.names == ["a", "b", "c"] and np.allclose(opened.shares, want)
    counts = np.bincount(np.concatenate([opened.draw(1000, 4, k)[1] for k in range(6)]))
    assert (abs(counts - 6000 * np.array(want)) < 4 * (6000 * np.array(want)) ** 0.5).all()


def test_nested_mixtures(codec):
    a, b, c, d = (Task(n, ["x"] * k) for n, k in zip("abcd", (10, 30, 60, 100)))
    inner = Mixture([b, c], [3, 1])
    assert np.allclose(open_tasks(Mixture([a, inner, d]), codec).shares, [0.05, 0.45 * 0.75, 0.45 * 0.25, 0.5])
    assert np.allclose(
        open_tasks(Mixture([Mixture([Mixture([a, b], "equal"), c], "equal"), d], "equal"), codec).shares,
        [1 / 8, 1 / 8, 1 / 4, 1 / 2],
    )
    shared = open_tasks(Mixture([a, Mixture([a, b], "equal")], "equal"), codec)
    assert shared.names == ["a", "b"] and np.allclose(shared.shares, [3 / 4, 1 / 4])


def test_rates_by_token(codec):
    short, long = Task("short", ["ab"] * 100, lm()), Task("long", ["word " * 200] * 100, lm())
    for rates in ([1, 3], "equal"):
        opened = open_tasks(Mixture([short, long], rates, by="token"), codec)
        made, which = opened.draw(20_000, 0, 0)
        n = np.array([len(e["target"]) + 1 for e in made])
        assert abs(n[which == 0].sum() / n.sum() - (0.25 if rates != "equal" else 0.5)) < 0.03


# ---- the registry
def test_names(codec):
    task = Task.register(Task("verses of a test", ["a"]))
    with pytest.raises(
        TaskError,
        match="there is a task 'verses of a test' already; choose another name, or register it with replace=True",
    ):
        Task.register(Task("verses of a test", ["b"]))
    assert Task.get("verses of a test") is task and as_task("verses of a test") is task
    assert Task.register(Task("verses of a test", ["b"]), replace=True) is Task.get("verses of a test")
    both = Task.register(Mixture(["poems", task], name="both of a test"))
    assert Task.get("both of a test") is both and open_tasks("both of a test", codec).names == [
        "poems",
        "verses of a test",
    ]
    with pytest.raises(TaskError, match="unknown task 'verse of a test'; did you mean 'verses of a test'"):
        Task.get("verse of a test")
    with pytest.raises(TaskError, match="has no name; write Mixture"):
        Task.register(Mixture(["poems"]))
    with pytest.raises(TaskError, match="only a Task or a Mixture can be registered, got str"):
        Task.register("poems")


def test_a_file_of_tasks(tmp_path):
    f = tmp_path / "mine.py"
    f.write_text(
        "from textgen import Task, Mixture\nlim = Task('limericks', ['There was'])\n"
        "Task.register(Task('odes of a file', ['O wind']))\nmix = Mixture([lim, 'odes of a file'])\n"
    )
    assert (
        Task.get(f"{f}:lim").name == "limericks"
        and Task.get(f"{f}:odes of a file").name == "odes of a file"
        and isinstance(Task.get(f"{f}:mix"), Mixture)
    )
    assert Task.get(f"{f}:lim") is Task.get(f"{f}:lim")
    f.write_text("from textgen import Task\nTask.register(Task('odes of a file', ['O west wind']))\n")
    assert Task.get(f"{f}:odes of a file").source == ["O west wind"]
    with pytest.raises(TaskError, match="mine.py: which task. Write .*mine.py:NAME"):
        Task.get(str(f))
    with pytest.raises(TaskError, match="unknown task in .*'lim'; there are: odes of a file"):
        Task.get(f"{f}:lim")


@pytest.mark.parametrize(
    "text, words",
    [
        ("def f(:\n", "line 1: SyntaxError"),
        ("x = 1\nimport nothing_like_this\n", "line 2: ModuleNotFoundError: No module named 'nothing_like_this'"),
        (
            "from textgen import Task\n\nTask.register(Task('poems', ['a']))\n",
            "line 3: TaskError: there is a task 'poems' already",
        ),
        ("a = 5\n", "unknown task in .*'a'; there are: none"),
    ],
)
def test_a_file_with_mistakes(tmp_path, text, words):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(TaskError, match=words):
        Task.get(f"{tmp_path}/bad.py:a")
    assert {t for t in ("poems", "news")} <= {*map(lambda t: t[0], list_tasks())}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Task("", "poems"), "the name of a task is a text"),
        (lambda: Task("a", None), "no text in None"),
        (lambda: Task("a", "no such thing"), "no text in 'no such thing'"),
        (lambda: Task("a", "poems", splits=1.5), "a split is a share"),
        (lambda: Task("a", "poems", splits=dict(x=0.6, y=0.5)), "together below 1"),
        (lambda: Mixture([]), "at least one task"),
        (lambda: Mixture(["poems"], [0]), "rates must be 1 numbers above 0"),
        (lambda: Mixture(["poems"], "proportinal"), "did you mean 'proportional'"),
        (lambda: Mixture(["poems"], temperature=0), "above 0"),
        (lambda: Mixture(["poem"]), "did you mean 'poems'"),
        (lambda: Mixture(["poems"], by="word"), "unknown by 'word'"),
    ],
)
def test_what_cannot_be(make, words):
    with pytest.raises(TaskError, match=words):
        make()


def test_other_errors_of_a_source(codec, tmp_path):
    from textgen import CorpusError

    with pytest.raises(CorpusError, match="there is no such file or folder"):
        Task("a", "poms.txt").open(codec)
    with pytest.raises(TaskError, match="empty; there is no text to read"):
        Task("a", [], fields("title")).open(codec)
    (tmp_path / "a.csv").write_text("title,body\na,b\n")
    with pytest.raises(CorpusError, match="which column holds the text.*'title', 'body'"):
        Task("a", tmp_path / "a.csv").open(codec)
    with pytest.raises(TaskError, match="unknown field of .*'text'; there are: body, title"):
        Task("a", tmp_path / "a.csv", fields("title")).open(codec)
    with pytest.raises(TaskError, match="3 documents are too few for the splits"):
        Task("a", ["a", "b", "c"], splits=dict(x=0.3, y=0.3, z=0.3)).open(codec)


# ---- splits
def test_splits_share_no_document(codec):
    texts = [f"text number {i}" for i in range(200)]
    task = Task("t", texts, lm(), splits=dict(validation=0.1, test=0.05))
    parts = {
        s: {codec.decode(e["target"]) for e in task.open(codec, split=s).every()}
        for s in ("train", "validation", "test")
    }
    assert [len(p) for p in parts.values()] == [170, 20, 10] and set.union(*parts.values()) == set(texts)
    drawn = {codec.decode(task.open(codec).draw(0, k)["target"]) for k in range(500)}
    assert drawn <= parts["train"]
