"Adapters that peft made load as peft itself loads them, and damaged folders say what is wrong."

import json
import shutil
import warnings
import pytest
import torch
from transformers import AutoModelForCausalLM

from textgen import ModelError, TextGen
from textgen.models.folder import load_model

peft = pytest.importorskip("peft")
IDS = torch.tensor([[5, 6, 7, 8]])
KINDS = dict(
    plain=({}, None),
    whole=(dict(modules_to_save=["lm_head", "embed_tokens"]), None),
    norm=(dict(modules_to_save=["norm"]), None),
    rows=(dict(trainable_token_indices=[1, 2, 5]), None),
    embedding=(dict(target_modules=["q_proj", "embed_tokens"]), None),
    dora=(dict(use_dora=True), None),
    resized=({}, 410),
    resized_whole=(dict(modules_to_save=["lm_head", "embed_tokens"]), 410),
    tied=(dict(modules_to_save=["embed_tokens", "lm_head"]), None),
    tied_rows=(dict(trainable_token_indices=[1, 2, 5]), None),
)

@pytest.fixture(scope="module")
def folder(tok, tmp_path_factory):
    "Two bases, with and without an output layer of its own, and a function that makes an adapter for one."
    from transformers import LlamaConfig
    d = tmp_path_factory.mktemp("adapters")
    shape = dict(vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                 max_position_embeddings=32)
    for name in ("base", "tied"):
        config = LlamaConfig(**shape, tie_word_embeddings=name=="tied")
        TextGen.new(config, tok, seed=1, device="cpu").save(d/name)
    def make(kind):
        settings, rows = KINDS[kind]
        base = AutoModelForCausalLM.from_pretrained(d/("tied" if "tied" in kind else "base"))
        if rows: base.resize_token_embeddings(rows)
        model = peft.get_peft_model(base, peft.LoraConfig(r=2, **settings))
        torch.manual_seed(1)
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad: p.add_(torch.randn_like(p)*.1)
        model.save_pretrained(d/kind/"adapter")
        tok.save_pretrained(d/kind/"adapter")
        return d/kind/"adapter"
    return make

def _theirs(path):
    "The logits of the adapter as peft loads it; a base gets the rows that its user has to give it."
    config = json.loads((path/"adapter_config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    rows = KINDS[path.parent.name][1]
    if rows: base.resize_token_embeddings(rows)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(base, path).eval()(IDS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_as_peft_loads_it(kind, folder, tmp_path):
    "Logits, loaded, saved again, merged, and merged and saved; and it writes."
    path = folder(kind)
    want = _theirs(path)
    def same(model):
        with torch.no_grad(): torch.testing.assert_close(model(IDS).logits, want, atol=2e-5, rtol=1e-5)
    same(load_model(path, device="cpu"))
    tg = TextGen(path, device="cpu")
    same(tg.model)
    first = tg.generate("The", seed=1, max_new_tokens=4)[0].tokens
    assert TextGen(path, device="cpu").generate("The", seed=1, max_new_tokens=4)[0].tokens==first
    if kind=="resized_whole":  # transformers finds the embedding twice in it
        with pytest.raises(ModelError, match="merge it first"): tg.save(tmp_path/"again")
    else:
        tg.save(tmp_path/"again")
        with pytest.raises(ModelError, match="is neither beside it nor in the working directory"):
            load_model(tmp_path/"again", device="cpu")
        name = "tied" if "tied" in kind else "base"
        shutil.copytree(path.parents[1]/name, tmp_path/name)
        same(load_model(tmp_path/"again", device="cpu"))
    tg.merge()
    same(tg.model)
    tg.save(tmp_path/"merged")
    same(load_model(tmp_path/"merged", device="cpu"))
    same(AutoModelForCausalLM.from_pretrained(tmp_path/"merged"))


def _spoil(path, name, change):
    file = path/name
    file.write_bytes(change(file.read_bytes()))

def _config(path, **more):
    file = path/"adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text())|more))

WEIGHTS = "adapter_model.safetensors"
DAMAGE = dict(
    config_cut=lambda p: _spoil(p, "adapter_config.json", lambda b: b[:20]),
    config_empty=lambda p: _spoil(p, "adapter_config.json", lambda b: b""),
    config_a_list=lambda p: _spoil(p, "adapter_config.json", lambda b: b"[1]"),
    config_binary=lambda p: _spoil(p, "adapter_config.json", lambda b: b"\xff\xfe\x00"),
    no_kind=lambda p: _config(p, peft_type=None),
    another_kind=lambda p: _config(p, peft_type="NOTHING"),
    no_base=lambda p: _config(p, base_model_name_or_path=None),
    base_a_number=lambda p: _config(p, base_model_name_or_path=3),
    base_gone=lambda p: _config(p, base_model_name_or_path="/no/such/base"),
    rank=lambda p: _config(p, r=5),
    rank_a_word=lambda p: _config(p, r="many"),
    targets=lambda p: _config(p, target_modules=["nothing_like_it"]),
    fewer_targets=lambda p: _config(p, target_modules=["q_proj"]),
    no_weights=lambda p: (p/WEIGHTS).unlink(),
    weights_cut=lambda p: _spoil(p, WEIGHTS, lambda b: b[:len(b)//2]),
    weights_empty=lambda p: _spoil(p, WEIGHTS, lambda b: b""),
    weights_a_text=lambda p: _spoil(p, WEIGHTS, lambda b: b"these are no weights"),
)

@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders(damage, folder, tmp_path):
    "One clear line, which names the folder."
    path = shutil.copytree(folder("plain"), tmp_path/"adapter")
    DAMAGE[damage](path)
    with pytest.raises(ModelError, match="adapter") as caught: load_model(path, device="cpu")
    said = str(caught.value)
    assert str(path) in said and "\n" not in said and "above report" not in said

def test_prompts_are_no_weights(folder, tmp_path):
    "An adapter that adds to the input is refused."
    base = json.loads((folder("plain")/"adapter_config.json").read_text())["base_model_name_or_path"]
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="PROMPT_TUNING adds to the input"): load_model(tmp_path, device="cpu")
