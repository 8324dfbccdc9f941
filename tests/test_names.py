"A typing error in the name of a model or tokenizer is answered in a second, before torch is imported."

import subprocess
import sys
import pytest

COMMANDS = {
    "generate": "generate gtp2",
    "to a file": "generate gtp2 --out a.txt",
    "quantized": "generate gtp2 --quantize int8",
    "fine-tune": "train a.txt --model gtp2 --steps 1 --out m",
    "tokenizer": "train a.txt --new mini --tokenizer gtp2 --steps 1 --out m",
    "encode": "encode a.txt --tokenizer gtp2 --out a.tokens",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("offline", [False, True], ids=["no network", "offline"])
def test_no_torch_is_imported(command, offline, tmp_path, monkeypatch, hub):
    if not offline:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    (tmp_path / "a.txt").write_text("the sea is calm tonight, " * 60)
    words = [sys.executable, "-X", "importtime", "-m", "textgen", *COMMANDS[command].split()]
    p = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = [line for line in p.stderr.splitlines() if not line.startswith("import time:")]
    assert p.returncode == 1 and len(said) == 1 and "did you mean 'gpt2'?" in said[0], said
    imported = {line.rsplit(" ", 1)[-1] for line in p.stderr.splitlines()}
    assert "numpy" in imported and not imported & {"torch", "transformers"} and not [*tmp_path.glob("m*")]


def test_a_model_that_was_downloaded_is_not_asked_for(monkeypatch, tmp_path):
    from textgen import TextGenError
    from textgen.hub import check_on_hub

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(TextGenError, match="HF_HUB_OFFLINE is set"):
        check_on_hub("someone/something")
    snapshot = tmp_path / "models--someone--something" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    check_on_hub("someone/something", "tokenizer")
    with pytest.raises(TextGenError, match="HF_HUB_OFFLINE is set"):
        check_on_hub("someone/something")  # a download that broke off before the weights
    (snapshot / "model.safetensors").touch()
    check_on_hub("someone/something")
