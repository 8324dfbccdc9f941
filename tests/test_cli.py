"The whole job in a terminal: files in, a model, texts out, each command a process of its own."

import io
import json
import sys
from types import SimpleNamespace
import pytest


@pytest.fixture(scope="module")
def job(given, shell, apart, tmp_path_factory):
    "The folder in which tinyshakespeare became a model, and what each command said; the last from a new Python."
    d, text = tmp_path_factory.mktemp("job"), given("tinyshakespeare.txt")
    tok = apart("tokenizer", text, "--out", "tok", "--vocab-size", 500, cwd=d)
    enc = apart("encode", text, "--tokenizer", "tok", "--out", "s.tokens", cwd=d)
    tra = shell(
        "train",
        "s.tokens",
        "--new",
        "mini",
        "--out",
        "m",
        "--steps",
        30,
        "--batch-size",
        4,
        "--window",
        64,
        "--sample-every",
        20,
        cwd=d,
    )
    return SimpleNamespace(folder=d, text=text, tokenizer=tok, encode=enc, train=tra)


ASK = ("generate", "m", "--prompt", "ROMEO:", "-n", 5, "--max-new-tokens", 40)


@pytest.fixture(scope="module")
def texts(job, apart):
    "What `generate` did, by name."
    piped = apart(*ASK, "--seed", 42, cwd=job.folder)
    one = apart(*ASK, "--seed", 42, "--out", "one/a.txt", cwd=job.folder)
    return SimpleNamespace(folder=job.folder, one=one, piped=piped)


@pytest.fixture
def again(texts, cli, monkeypatch):
    "The same question once more, with other options."
    monkeypatch.chdir(texts.folder)
    return lambda *options: cli(*ASK, *options)


def _text(texts, name):
    return (texts.folder / name / "a.txt").read_bytes()


def _bill(texts, name):
    return (texts.folder / name / "a.txt.receipt.json").read_bytes()


@pytest.mark.parametrize(
    "step,says", [("tokenizer", "tok: 500 tokens"), ("encode", "s.tokens: 1 document"), ("train", "textgen generate m")]
)
def test_each_step_works(job, step, says):
    done = getattr(job, step)
    assert (done.code, says in done.out) == (0, True), done.err
    assert "Traceback" not in done.err and "Warning" not in done.err


def test_training_shows_a_sample_and_learns(job):
    "The sample stands on standard output, the progress line on standard error."
    assert "step 20" in job.train.out and "loss" in job.train.err
    losses = json.loads((job.folder / "m" / "textgen.json").read_text())["losses"]
    assert len(losses) == 30 and losses[-1] < losses[0] - 0.3


def test_no_leftovers(texts):
    made = {"tok", "s.tokens", "m", "one"}
    assert {p.name for p in texts.folder.iterdir()} == made and not list(texts.folder.rglob("*tmp-*"))


def test_same_seed_same_bytes(texts, again, tmp_path):
    "In another process: text and receipt, byte for byte."
    assert texts.one.code == 0, texts.one.err
    again("--seed", 42, "--out", tmp_path / "a.txt")
    assert (
        _text(texts, "one") == (tmp_path / "a.txt").read_bytes()
        and _bill(texts, "one") == (tmp_path / "a.txt.receipt.json").read_bytes()
    )


def test_other_seed_other_text(texts, again):
    assert again("--seed", 43).out.encode() != _text(texts, "one")


def test_without_a_seed_one_is_drawn_and_recorded(again, tmp_path):
    "Two runs differ, and the seed that was drawn writes the same text again."
    said, path = again("--out", tmp_path / "a.txt"), tmp_path / "a.txt"
    seed = json.loads((tmp_path / "a.txt.receipt.json").read_text())["seed"]
    assert (
        f"seed {seed}" in said.out and again("--seed", seed).out.encode() == path.read_bytes() != again().out.encode()
    )


def test_stdout_is_text_only(texts):
    "What a pipe gets is what a file gets; the seed stands on standard error."
    assert texts.piped.raw == _text(texts, "one") and texts.piped.out.count("ROMEO:") >= 5
    assert texts.piped.err == "seed 42\n"


def test_json_lines(texts, again):
    rows = [json.loads(line) for line in again("--seed", 42, "--json").out.split("\n")[:-1]]
    assert [r["index"] for r in rows] == list(range(5)) and {r["seed"] for r in rows} == {42}
    assert texts.piped.out == ("\n" + "=" * 20 + "\n").join(r["prompt"] + r["text"] for r in rows) + "\n"


def test_jsonl_file(cli, model_folder, tmp_path):
    "A .jsonl file holds the texts of the .txt file."
    for name in ("a.txt", "a.jsonl"):
        assert (
            cli(
                "generate",
                model_folder,
                "-n",
                3,
                "--max-new-tokens",
                9,
                "--seed",
                5,
                "--prompt",
                "The",
                "--out",
                tmp_path / name,
            ).code
            == 0
        )
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().split("\n") if line]
    assert ("\n" + "=" * 20 + "\n").join(r["prompt"] + r["text"] for r in rows) + "\n" == (
        tmp_path / "a.txt"
    ).read_text()


NO_TEXTGEN = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0]=='textgen': raise ImportError('textgen is not installed')
sys.meta_path.insert(0, Block())
try: import textgen
except ImportError: pass
else: raise SystemExit('textgen could be imported')
from transformers import AutoModelForCausalLM, AutoTokenizer
tok, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = tok("ROMEO:", return_tensors="pt")
out = model.generate(**ids, max_new_tokens=20, do_sample=False, pad_token_id=tok.eos_token_id)[0]
print(repr(tok.decode(out)), ids.input_ids.tolist()[0], tok.eos_token)
"""


def test_plain_transformers_loads_the_model(job, python):
    "No textgen installed, no word on standard error about missing or unexpected weights."
    from textgen.text.codec import Codec

    said = python(NO_TEXTGEN, job.folder / "m")
    assert (
        said.startswith(("'ROMEO:", '"ROMEO:'))
        and str(Codec(job.folder / "m").encode("ROMEO:")) in said
        and said.strip().endswith("<|endoftext|>")
    )


@pytest.mark.parametrize(
    "name,says",
    [
        ("m", "sha256"),
        ("m", "tokens_seen"),
        ("tok", "end_of_text  <|endoftext|>"),
        ("tok", "tokens  500"),
        ("s.tokens", "documents  1"),
        ("one/a.txt", "prompt  ROMEO:"),
        ("one/a.txt", "texts  5"),
        ("one/a.txt.receipt.json", "seed  42"),
        ("m/textgen.json", "steps  30"),
    ],
)
def test_info(texts, cli, name, says):
    said = cli("info", texts.folder / name)
    assert said.code == 0 and says in said.out, said


def test_info_of_a_text(job, cli):
    "What would be read from it."
    said = cli("info", job.text)
    assert said.code == 0 and "First Citizen" in said.out and "documents  1" in said.out


def test_train_text_files(job, cli, tok_folder, tmp_path):
    "Text in place of a cache is encoded on the way; two files are two documents."
    (tmp_path / "a.txt").write_text("a b c " * 90)
    (tmp_path / "b.txt").write_text("d e f " * 90)
    said = cli(
        "train",
        tmp_path / "a.txt",
        tmp_path / "b.txt",
        "--new",
        "mini",
        "--tokenizer",
        tok_folder,
        "--out",
        tmp_path / "m",
        "--steps",
        1,
        "--batch-size",
        1,
        "--window",
        16,
    )
    assert said.code == 0, said.err
    assert json.loads((tmp_path / "m" / "textgen.json").read_text())["data"][0]["documents"] == 2


def test_fine_tune(cli, model_folder, cache, tmp_path):
    from textgen import TextGen
    from textgen.training.report import pick_lr

    said = cli(
        "train",
        cache,
        "--model",
        model_folder,
        "--out",
        tmp_path / "m",
        "--steps",
        2,
        "--batch-size",
        1,
        "--sample-every",
        0,
    )
    assert said.code == 0, said.err
    bill = json.loads((tmp_path / "m" / "textgen.json").read_text())
    assert bill["model"]["scratch"] is False and bill["settings"]["lr"] == pick_lr(
        "full", TextGen(model_folder, device="cpu").model.num_parameters()
    )


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_where_to_train(device, cli, model_folder, cache, tmp_path, monkeypatch):
    "The device that is asked for is where the steps are computed."
    from textgen.training import trainer
    from textgen.models.folder import pick_device

    seen, make = [], trainer.make_trainer
    monkeypatch.setattr(
        trainer,
        "make_trainer",
        lambda s, where, device, *args: seen.append(device.type) or make(s, where, device, *args),
    )
    said = cli(
        "train",
        cache,
        "--model",
        model_folder,
        "--out",
        tmp_path / "m",
        "--steps",
        1,
        "--batch-size",
        1,
        "--sample-every",
        0,
        "--device",
        device,
    )
    assert said.code == 0 and seen == ["cpu" if device == "cpu" else pick_device().type], said.err


def test_prompt_escapes(cli, model_folder):
    r"`--prompt 'a\nb'` is two lines."
    assert cli("generate", model_folder, "--prompt", r"a\nb", "--max-new-tokens", 2, "--seed", 1).out.startswith("a\nb")


HELP = """
import sys
from textgen.__main__ import main
for command in sys.argv[1:]:
    sys.argv = ["textgen", *command.split(), "--help"]
    try: main()
    except SystemExit as e: print(e.code, 'torch' in sys.modules)
    print("NEXT")
"""
COMMANDS = ["", "tokenizer", "encode", "train", "generate", "verify", "info", "demo"]


@pytest.fixture(scope="module")
def helps(python):
    "What `--help` says, by command; all in one process."
    return dict(zip(COMMANDS, python(HELP, *COMMANDS).split("NEXT\n")))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_without_torch(helps, command):
    "Help is there in a moment: exit code 0, and no torch."
    said = helps[command]
    assert f"Usage: textgen {command}" in said and said.strip().endswith("0 False")


def test_every_setting_is_an_option(cli):
    from textgen.settings import GenerateSettings, TrainSettings

    for command, cls, but in (
        ("generate", GenerateSettings, ()),
        ("train", TrainSettings, ("callbacks", "save_to", "trainer", "control")),
    ):
        said = cli(command, "--help").out
        assert not [k for k in cls.__dataclass_fields__ if k not in but and f"--{k.replace('_', '-')}" not in said]


def test_a_closed_pipe_is_no_error(tok_folder, python):
    "`textgen … | head -1`: who reads may stop reading, and nobody complains."
    code = """
import subprocess,sys
command = [sys.executable, '-m', 'textgen', 'info', sys.argv[1]]
p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
p.stdout.close()
print(p.stderr.read().decode())"""
    assert python(code, tok_folder).strip() == ""


def test_stdout_of_another_encoding(cli, model_folder, monkeypatch):
    "A terminal or pipe that cannot hold a character (Windows: cp1252) gets a sign in its place, and no traceback."
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))
    assert cli("generate", model_folder, "--prompt", "日本 Zoë", "--max-new-tokens", 3, "--seed", 1).code == 0
    sys.stdout.flush()
    assert "Zoë" in sys.stdout.buffer.getvalue().decode("cp1252")


def test_the_name_of_a_task_given_as_a_file(cli, tmp_path, monkeypatch):
    "It is named, and how a task is trained on; a file of that name is a file; in Python the name alone is the task."
    from textgen.tasks.source import as_source

    monkeypatch.chdir(tmp_path)
    said = cli("train", "news", "--new", "mini", "--out", "m")
    assert said.code == 1 and "to train on the task of this name, write --task news" in said.err
    said = cli("train", "newz", "--new", "mini", "--out", "m")
    assert said.code == 1 and "newz: there is no such file or folder" in said.err and "--task" not in said.err
    assert as_source("news").name == "news"
    (tmp_path / "news").mkdir()
    said = cli("train", "news", "--new", "mini", "--out", "m")
    assert said.code == 1 and "--task" not in said.err


def _lines(said): return dict(line.strip().split("  ", 1) for line in said.out.splitlines() if "  " in line.strip())


def test_info_says_what_is_needed(cli, model_folder, tiny, tok, tmp_path, monkeypatch):
    "Kind, size and numbers by an independent count; whether it works here, of a model, an adapter and a cache."
    import json
    from safetensors.torch import load_file
    from textgen.models.adapter import add_lora
    from textgen.models.folder import save_model

    said = _lines(cli("info", model_folder))
    weights = load_file(model_folder / "model.safetensors")
    assert int(said["weights"]) == sum(t.numel() for t in weights.values())
    size = (model_folder / "model.safetensors").stat().st_size
    assert (said["kind"], said["precision"], int(said["bytes"]), said["works_here"]) == (
        "causal model", "float32", size, "yes")
    monkeypatch.setattr("textgen.info._memory", lambda: 1000)
    assert _lines(cli("info", model_folder))["works_here"].startswith("no: it has")
    monkeypatch.undo()
    base = tiny(tok, 4)
    base.save(tmp_path / "base")
    tuned = add_lora(base.model, dict(r=2, target_modules="all-linear"), base=tmp_path / "base")
    save_model(tuned, base.codec, tmp_path / "adapter")
    said = _lines(cli("info", tmp_path / "adapter"))
    assert (said["kind"], said["rank"], said["works_here"]) == ("LORA adapter", "2", "yes")
    (tmp_path / "base").rename(tmp_path / "gone")
    assert "is not here" in _lines(cli("info", tmp_path / "adapter"))["works_here"]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(dict(who="a", what=f"b {i}")) for i in range(3)))
    said = _lines(cli("info", tmp_path / "a.jsonl"))
    assert (said["kind"], said["rows"], said["columns"]) == ("table", "3", "who, what")
