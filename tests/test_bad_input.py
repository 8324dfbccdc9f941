"Whatever is handed over, the answer is one clear line and everything is as it was."
import gzip
import json
import shutil
from pathlib import Path
import pytest
import zstandard

TRAIN = "train {} --new mini --tokenizer TOK --out m --overwrite --steps 1 --batch-size 1 --sample-every 0"

@pytest.fixture
def place(tmp_path, monkeypatch, tok_folder, model_folder, cache):
    "A folder with a tokenizer, a cache, a model, an earlier output of each kind, and notes of the user's."
    monkeypatch.chdir(tmp_path)
    for name, of in dict(TOK=tok_folder, MODEL=model_folder, m=model_folder, t=tok_folder).items():
        shutil.copytree(of, name)
    for name in ("CACHE", "c.tokens"): shutil.copy(cache, name)
    Path("a.txt").write_text("an earlier text\n")
    Path("a.txt.receipt.json").write_text("{}")
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    Path("good.txt").write_text("The sea, the sea.\n"*400)
    return tmp_path

@pytest.fixture
def refused(place, cli, snapshot):
    "Runs a command that must fail: exit code, one line that says `words`, nothing changed, nothing left behind."
    def run(command, *words, code=1):
        before = snapshot(place)
        said = cli(*command.split(" ")) if isinstance(command, str) else cli(*command)
        assert said.code==code, said
        assert "Traceback" not in said.err and not [w for w in words if w not in said.err], said.err
        if code==1: assert said.err.startswith("textgen: ") and said.err.count("\n")==1 and len(said.err)<1000, said.err
        after = snapshot(place)
        assert not set(before)^set(after) and before==after
    return run


# ---- text
READERS = ("tokenizer {} --out t", "encode {} --tokenizer TOK --out c.tokens", TRAIN)
reading = pytest.mark.parametrize("command", READERS, ids=["tokenizer", "encode", "train"])

def _write(name, raw):
    Path(name).write_bytes(raw)
    return name


@reading
@pytest.mark.parametrize("raw", [b"", b" \n\t\n  \n", b"\xef\xbb\xbf"], ids=["empty", "blank", "only a mark"])
def test_nothing_in_it(refused, command, raw): refused(command.format(_write("e.txt", raw)), "e.txt: empty")

@reading
def test_missing_file(refused, command):
    refused(command.format("goood.txt"), "goood.txt: there is no such file", "good.txt")


@reading
def test_missing_name(refused, command):
    "An empty name (an unset variable in a script) is not the current folder."
    refused(command.format("").split(" "))

@reading
def test_a_name_too_long(refused, command):
    refused([o if o != "{}" else "To be or not to be. " * 40 for o in command.split(" ")], "no such file")


@reading
def test_no_match(refused, command): refused(command.format("*.poem"), "no file matches")

@reading
def test_folder_without_text(refused, command):
    Path("none").mkdir()
    refused(command.format("none"), "no text in this folder")


@reading
def test_bytes_that_are_not_utf8(refused, command):
    refused(
        command.format(_write("l.txt", "Zoë".encode("latin-1"))), "l.txt", "0xeb", "offset 2", "--encoding 'latin-1'"
    )


def test_bytes_that_are_not_utf8_after_a_mark(refused):
    "The offset is that in the file, mark included."
    refused("encode "+_write("l.txt", b"\xef\xbb\xbfZo\xeb")+" --tokenizer TOK --out c.tokens", "0xeb", "offset 5")

def test_half_a_utf16_character(refused):
    "The encoding that is named is the one that was tried."
    refused("encode "+_write("l.txt", b"\xff\xfea\0b")+" --tokenizer TOK --out c.tokens", "not utf-16")

def test_unknown_encoding(refused):
    refused("encode good.txt --tokenizer TOK --out c.tokens --encoding utf-88", "unknown encoding 'utf-88'")


def test_a_lone_surrogate(refused):
    "JSON can write what no UTF-8 file can hold."
    refused("encode "+_write("s.jsonl", b'{"text": "a\\ud800b"}\n')+" --tokenizer TOK --out c.tokens", "surrogate")

def test_a_lone_surrogate_in_training(refused):
    refused("tokenizer " + _write("s.jsonl", b'{"text": "a\\ud800b"}\n') + " --out t", "surrogate")


@pytest.mark.parametrize("command", READERS[:2], ids=["tokenizer", "encode"])
def test_unknown_column(refused, command):
    refused(
        command.format(_write("t.csv", b"title,body\na,b\n")) + " --column text", "no column 'text'", "'title', 'body'"
    )


def test_column_of_a_text(refused):
    refused("encode good.txt --tokenizer TOK --out c.tokens --column text", "good.txt", "for tables")


def test_which_column(refused):
    refused("encode " + _write("t.csv", b"title,body\na,b\n") + " --tokenizer TOK --out c.tokens", "'title', 'body'")


def test_template_column(refused):
    refused(
        "encode " + _write("t.csv", b"title,body\na,b\n") + " --tokenizer TOK --out c.tokens --template {titel}",
        "line 2",
        "titel",
        "'title', 'body'",
    )


def test_template_syntax(refused):
    refused(
        "encode " + _write("t.csv", b"title,body\na,b\n") + " --tokenizer TOK --out c.tokens --template {title",
        "template",
    )


def test_ragged_csv(refused):
    refused(
        "encode " + _write("t.csv", b"title,body\na,b\na,b,c\n") + " --tokenizer TOK --out c.tokens --column body",
        "line 3",
    )


def test_unclosed_quote(refused):
    refused("encode " + _write("t.csv", b'text\n"never closed\nab\n') + " --tokenizer TOK --out c.tokens", "quote")


def test_not_json(refused):
    refused("encode " + _write("t.jsonl", b'{"text": "a"}\n{"text"\n') + " --tokenizer TOK --out c.tokens", "line 2")


def test_nested_json(refused):
    refused("encode " + _write("t.jsonl", b"[" * 100_000) + " --tokenizer TOK --out c.tokens", "line 1")


def test_not_text_in_json(refused):
    refused("encode " + _write("t.jsonl", b'{"text": 3}\n') + " --tokenizer TOK --out c.tokens", "line 1", "int")


def test_unknown_by(refused):
    refused("encode good.txt --tokenizer TOK --out c.tokens --by lines", "did you mean 'line'")


def test_by_row_of_text(refused): refused("encode good.txt --tokenizer TOK --out c.tokens --by row", "tables")

LONG = b"".join(b"%d bottles of %d\n" % (i, i*i) for i in range(20000))
def _packed(ext, raw=LONG):
    return gzip.compress(raw, mtime=0) if ext == "gz" else zstandard.ZstdCompressor(write_checksum=True).compress(raw)


@pytest.mark.parametrize("ext", ["gz", "zst"])
def test_truncated_packed_text(refused, ext):
    "Half of a compressed file is an error, not half of a corpus."
    refused("encode "+_write(f"p.txt.{ext}", _packed(ext)[:-1000])+" --tokenizer TOK --out c.tokens", f"p.txt.{ext}")

@pytest.mark.parametrize("ext", ["gz", "zst"])
@pytest.mark.parametrize("at", [60, 2000, -20, -2])
def test_damaged_packed_text(refused, ext, at):
    raw = bytearray(_packed(ext))
    raw[at] ^= 0xFF
    refused("encode "+_write(f"p.txt.{ext}", raw)+" --tokenizer TOK --out c.tokens", f"p.txt.{ext}")

@pytest.mark.parametrize("ext", ["gz", "zst"])
def test_not_packed_at_all(refused, ext):
    refused("encode " + _write(f"p.txt.{ext}", b"plain text") + " --tokenizer TOK --out c.tokens", f"p.txt.{ext}")


@pytest.mark.parametrize("ext", ["gz", "zst"])
def test_packed_in_two_parts(place, cli, ext):
    "What `cat a.gz b.gz` gives is read to its end."
    assert (
        "2 documents"
        in cli(
            "encode",
            _write(f"p.txt.{ext}", _packed(ext, b"one\n") + _packed(ext, b"two\n")),
            "--by",
            "line",
            "--tokenizer",
            "TOK",
            "--out",
            "p.tokens",
        ).out
    )


# ---- tokenizers
def test_tokenizer_missing(refused): refused("encode good.txt --tokenizer toks --out c.tokens", "toks")
def test_tokenizer_of_nothing(refused):
    refused("encode good.txt --tokenizer full --out c.tokens", "no tokenizer in this folder")


def test_tokenizer_of_text(refused):
    refused("encode good.txt --tokenizer good.txt --out c.tokens", "good.txt: not a tokenizer")


def test_tokenizer_cut(refused):
    p = Path("TOK/tokenizer.json")
    p.write_bytes(p.read_bytes()[:-100])
    refused("encode good.txt --tokenizer TOK --out c.tokens", "TOK: not a tokenizer")
@pytest.mark.parametrize("size", ["256", "0", "-1", "99999999"])
def test_vocab_size(refused, size): refused(f"tokenizer good.txt --out t --vocab-size {size}", "from 257", size)
def test_kind_of_tokenizer(refused): refused("tokenizer good.txt --out t --kind bep", "did you mean 'bpe'")
def test_tokenizer_into_a_model(refused):
    "Another tokenizer would make the model in that folder useless."
    refused("tokenizer good.txt --out MODEL --vocab-size 300", "MODEL")


# ---- caches
@pytest.mark.parametrize(
    "command",
    ["train CACHE --model MODEL --out m --overwrite", TRAIN.format("CACHE"), "info CACHE"],
    ids=["fine-tune", "new", "info"],
)
@pytest.mark.parametrize("keep", [5000, -1])
def test_truncated_cache(refused, command, keep):
    Path("CACHE").write_bytes(Path("CACHE").read_bytes()[:keep])
    refused(command, "CACHE", "cut short", "encode the text again")


def test_damaged_cache(refused):
    raw = bytearray(Path("CACHE").read_bytes())
    raw[9000] ^= 1
    Path("CACHE").write_bytes(raw)
    refused(TRAIN.format("CACHE"), "CACHE: damaged")

def test_foreign_cache(refused): refused(TRAIN.format(_write("x.tokens", b"PK\3\4\xff\xfe and so on")), "x.tokens")
def test_info_of_a_foreign_file(refused): refused("info "+_write("x.tokens", b"PK\3\4\xff\xfe and so on"), "x.tokens")

def test_cache_of_another_tokenizer(refused, cli):
    cli("tokenizer", "good.txt", "--out", "other", "--vocab-size", 260)
    refused(TRAIN.format("CACHE").replace("TOK", "other"), "CACHE was encoded with tokenizer", "encode the text again")

def test_two_caches(place, cli):
    "Several caches of one tokenizer are merged."
    shutil.copy("CACHE", "CACHE2")
    assert cli(*TRAIN.format("CACHE CACHE2").split()).code==0

def test_two_caches_of_two_tokenizers(refused, cli):
    cli("tokenizer", "good.txt", "--out", "other", "--vocab-size", 260)
    cli("encode", "good.txt", "--tokenizer", "other", "--out", "CACHE2")
    refused(TRAIN.format("CACHE CACHE2"), "encoded with tokenizer")

def test_a_cache_and_a_text(refused): refused(TRAIN.format("CACHE good.txt"), "cache")

def test_a_text_that_speaks_of_caches(place, cli):
    "A text is not a cache because it names one in its first line."
    Path("x.txt").write_text("About textgen tokens: a cache.\n"*200)
    assert cli(*TRAIN.format("x.txt").split(), "--window", 16).code==0

def test_compression(refused):
    refused("encode good.txt --tokenizer TOK --out c.tokens --compress zst", "did you mean 'zstd'")


# ---- models
@pytest.fixture(params=["generate MODEL --out a.txt", "train CACHE --model MODEL --out m --overwrite"],
                ids=["generate", "train"])
def using(request): return request.param

def test_folder_without_a_model(refused, using):
    refused(using.replace("MODEL", "full"), "full: no model in this folder", "notes.txt")


def test_model_missing(refused, using): refused(using.replace("MODEL", "modle"), "modle", "no such folder")
def test_model_is_a_file(refused, using): refused(using.replace("MODEL", "good.txt"), "good.txt: a file")

def _change(name, f):
    p = Path("MODEL") / name
    p.write_bytes(f(p.read_bytes()))


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -1])
def test_cut_weights(refused, using, keep):
    _change("model.safetensors", lambda b: b[:keep])
    refused(using, "MODEL")


def test_no_weights(refused, using):
    Path("MODEL/model.safetensors").unlink()
    refused(using, "MODEL: no weights")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_broken_json(refused, name, raw):
    _change(name, lambda b: raw)
    refused("generate MODEL --out a.txt", "MODEL")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "textgen.json"])
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_info_of_broken_json(place, cli, name, raw):
    "`info` of a folder in which something is broken tells what it can, or one line."
    _change(name, lambda b: raw)
    said = cli("info", "MODEL")
    assert said.code in (0, 1) and said.err.count("\n")==said.code, said

def _weights(f):
    from safetensors.torch import load_file, save_file
    save_file(f(load_file("MODEL/model.safetensors")), "MODEL/model.safetensors", metadata={"format": "pt"})

@pytest.mark.parametrize("name", ["h.1.mlp", "wte", "ln_f.bias"])
def test_missing_weights(refused, name):
    "Weights that are not in the file are an error: random ones in their place would write gibberish without a word."
    _weights(lambda w: {k:v for k,v in w.items() if name not in k})
    refused("generate MODEL --out a.txt", "MODEL", name)

def test_weights_of_another_model(refused):
    _weights(lambda w: {f"other.{k}": v for k, v in w.items()})
    refused("generate MODEL --out a.txt", "MODEL")


def test_weights_that_are_no_numbers(refused):
    _weights(lambda w: {k: v * float("nan") for k, v in w.items()})
    refused("generate MODEL --out a.txt")


def test_more_layers_than_weights(refused):
    _change("config.json", lambda b: json.dumps(json.loads(b)|dict(n_layer=3)).encode())
    refused("generate MODEL --out a.txt", "MODEL")


def test_fewer_layers_than_weights(refused):
    "A model that is cut off would write badly for no visible reason."
    _change("config.json", lambda b: json.dumps(json.loads(b)|dict(n_layer=1)).encode())
    refused("generate MODEL --out a.txt", "MODEL", "more layers than config.json describes")

def test_code_in_a_model_does_not_run(refused):
    _change(
        "config.json",
        lambda b: json.dumps(
            json.loads(b) | dict(model_type="evil", auto_map=dict(AutoConfig="evil.C", AutoModelForCausalLM="evil.M"))
        ).encode(),
    )
    Path("MODEL/evil.py").write_text("open('ran', 'w')")
    refused("generate MODEL --out a.txt", "MODEL")

def test_code_in_a_tokenizer_does_not_run(refused, monkeypatch):
    "Not even where somebody types y ahead."
    Path("MODEL/tokenizer.json").unlink()
    Path("MODEL/tokenizer_config.json").write_text(
        json.dumps(dict(tokenizer_class="Evil", auto_map=dict(AutoTokenizer=["evil.Evil", None])))
    )
    Path("MODEL/evil.py").write_text("open('ran', 'w')\nclass Evil: pass")
    monkeypatch.setattr("builtins.input", lambda *args: "y")
    refused("generate MODEL --out a.txt", "MODEL")


# ---- settings
def test_unknown_preset(refused): refused(TRAIN.format("good.txt").replace("mini", "minni"), "did you mean 'mini'")
@pytest.mark.parametrize(
    "option,words",
    [
        ("--steps 0", "--steps must be"),
        ("--batch-size 0", "--batch-size must be"),
        ("--lr 0", "--lr must be"),
        ("--lr nan", "--lr must be"),
        ("--seed -1", "--seed must be"),
        ("--seed 18446744073709551616", "--seed must be"),
        ("--window 0", "--window must be"),
        ("--window 300", "context of 256"),
        ("--save-every -1", "--save-every must be"),
    ],
)
def test_train_settings(refused, option, words):
    refused(f"{TRAIN.replace(' --steps 1', '').replace(' --batch-size 1', '').format('CACHE')} {option}", words)


@pytest.mark.parametrize(
    "option,words",
    [
        ("-n 0", "-n must be"),
        ("--temperature -1", "--temperature must be"),
        ("--temperature nan", "--temperature must be"),
        ("--temperature inf", "--temperature must be"),
        ("--top-p 0", "--top-p must be"),
        ("--top-p 1.1", "--top-p must be"),
        ("--top-k -1", "--top-k must be"),
        ("--seed -1", "--seed must be"),
        ("--max-new-tokens 0", "--max-new-tokens must be"),
        ("--min-new-tokens 9 --max-new-tokens 8", "--min-new-tokens (9) is above --max-new-tokens"),
        ("--batch-size 0", "--batch-size must be"),
        ("--device cdua", "unknown device"),
        ("--device tpu", "device"),
    ],
)
def test_generate_settings(refused, option, words):
    refused(f"generate MODEL --out a.txt {option}", words)


def test_a_temperature_next_to_zero(cli, model_folder):
    "It is as good as 0, down to the smallest number there is."
    zero = cli("generate", model_folder, "--max-new-tokens", 5, "--temperature", 0).out
    assert {
        cli("generate", model_folder, "--max-new-tokens", 5, "--temperature", t).out for t in (1e-10, 1e-40, 5e-324)
    } == {zero}


def test_a_text_shorter_than_a_window(refused):
    Path("short.txt").write_text("only a few words")
    refused(TRAIN.format("short.txt"), "one window needs 257", "give more text, or pass --window ")

@pytest.mark.parametrize(
    "command",
    [
        "trian good.txt",
        "",
        "train good.txt --out m --new mini --tokenizer TOK --stesp 3",
        "generate MODEL --temprature 1",
        "encode good.txt --out c.tokens",
        "train good.txt --steps many --out m",
        "generate MODEL -n 1.5",
        "train good.txt --out m",
        "train CACHE --new mini --model MODEL --out m",
        "tokenizer --out t",
        "info",
    ],
)
def test_wrong_usage(refused, command):
    refused(command.split(), code=2)


def test_debug_shows_the_traceback(place, cli):
    from textgen import CorpusError
    with pytest.raises(CorpusError, match="nothing.txt"): cli("tokenizer", "nothing.txt", "--out", "t", "--debug")


# ---- places to write to
@pytest.mark.parametrize(
    "command",
    ["tokenizer good.txt --out {}", "train good.txt --new mini --tokenizer TOK --steps 1 --batch-size 1 --out {}"],
    ids=["tokenizer", "train"],
)
class TestFolder:
    "Where a folder cannot be written, that is said before any work is done."

    def test_is_not_empty_and_not_ours(self, refused, command):
        refused(command.format("full"), "full: not empty")

    def test_is_a_file(self, refused, command):
        refused(command.format("good.txt"), "good.txt")

    def test_is_in_a_file(self, refused, command):
        refused(command.format("good.txt/x"), "cannot write", "good.txt")

    def test_cannot_be(self, refused, command):
        refused(command.format("/proc/x/y"), "/proc/x/y", "cannot write")


@pytest.mark.parametrize(
    "command", ["encode good.txt --tokenizer TOK --out {}", "generate MODEL --out {}"], ids=["encode", "generate"]
)
class TestFile:
    "Where a file cannot be written, that is said before any work is done."

    def test_is_a_folder(self, refused, command):
        refused(command.format("full"), "full: it is a folder")

    def test_is_in_a_file(self, refused, command):
        refused(command.format("good.txt/x"), "cannot write", "good.txt")

    def test_cannot_be(self, refused, command):
        refused(command.format("/proc/x"), "/proc/x", "cannot write")


def test_cache_over_its_own_text(refused):
    "The text that was read is not replaced by its own cache."
    refused("encode good.txt --tokenizer TOK --out good.txt", "good.txt")

def test_receipt_is_in_the_way(refused):
    Path("b.txt.receipt.json").mkdir()
    refused("generate MODEL --out b.txt", "b.txt.receipt.json")

@pytest.mark.parametrize(
    "command,limit",
    [
        ("encode good.txt --tokenizer TOK --out c.tokens --compress none", 1),
        ("encode good.txt --tokenizer TOK --out c.tokens --compress none", 5000),
        ("tokenizer good.txt --out t --vocab-size 300", 1),
        ("tokenizer good.txt --out t --vocab-size 300", 3000),
        ("train CACHE --model MODEL --out m --overwrite --steps 1 --batch-size 1 --sample-every 0", 20_000),
        ("train CACHE --model MODEL --out m --overwrite --steps 1 --batch-size 1 --sample-every 0", 200),
        ("generate MODEL --seed 1 --out a.txt --max-new-tokens 200 -n 9", 200),
        ("generate MODEL --seed 1 --out a.txt --max-new-tokens 4", 300),
    ],
    ids=["cache", "ids", "tokenizer", "vocabulary", "weights", "configuration", "text", "receipt"],
)
def test_full_disk(place, on_full_disk, snapshot, command, limit):
    "No file may be longer than `limit`: what was there stays, no part of the new lies about, and one line says why."
    before = snapshot(place)
    said = on_full_disk(*command.split(), cwd=place, limit=limit)
    errors = [line for line in said.err.splitlines() if not line.startswith(("training", "generating", "note:"))]
    assert (
        said.code == 1
        and len(errors) == 1
        and errors[0].startswith("textgen: cannot write ")
        and "free some space" in errors[0]
    ), said.err
    assert {
        k: v for k, v in snapshot(place).items() if ".part-" not in k
    } == before  # finished texts are kept, to go on from
