"""Exports, run by the engines they are for and compared with plain transformers, on 50 prompts.

onnxruntime, gguf, llama-cpp-python and transformers.js are other people's programs: where one is absent, its tests are
skipped. For transformers.js, TEXTGEN_NODE names a folder with a `node_modules` that holds it.
"""

import ast
import io
import json
import os
import runpy
import subprocess
import sys
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path
import numpy as np
import pytest
import torch
import transformers
from families import write_family
from textgen import ExportError, TextGen, bundled
from textgen.receipt import Receipt
from textgen.text.codec import Codec
from textgen.text.corpus import documents
from textgen.text.tokenizer import PROBE

NEW = 20  # tokens
SPECIAL = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0)
LLAMA = dict(
    SPECIAL,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    initializer_range=0.15,
)
T5 = dict(
    SPECIAL, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, initializer_factor=1.5
)
BART = dict(
    SPECIAL,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    max_position_embeddings=128,
    decoder_start_token_id=0,
    forced_eos_token_id=None,
    init_std=0.15,
)
STRETCHED = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
CONFIGS = dict(
    gpt2=("GPT2Config", dict(SPECIAL, n_layer=2, n_head=2, n_embd=32, n_positions=128, initializer_range=0.15)),
    llama=("LlamaConfig", LLAMA),
    tied=("LlamaConfig", dict(LLAMA, tie_word_embeddings=True, head_dim=16)),
    biased=("LlamaConfig", dict(LLAMA, attention_bias=True, mlp_bias=True)),
    padded=("LlamaConfig", dict(LLAMA, vocab_size=448)),
    stretched=("LlamaConfig", dict(LLAMA, rope_parameters=STRETCHED)),
    linear=("LlamaConfig", dict(LLAMA, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    mistral=("MistralConfig", dict(LLAMA, sliding_window=None)),
    qwen2=("Qwen2Config", LLAMA),
    qwen3=("Qwen3Config", dict(LLAMA, head_dim=16)),
    gemma2=("Gemma2Config", dict(LLAMA, head_dim=8, sliding_window=6)),
    opt=(
        "OPTConfig",
        dict(SPECIAL, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=32),
    ),
    bloom=("BloomConfig", dict(SPECIAL, hidden_size=32, n_layer=2, n_head=4)),
    t5=("T5Config", T5),
    bart=("BartConfig", BART),
)


def make(name, tok, seed=3):
    "A small model with random weights."
    kind, settings = CONFIGS[name]
    config = getattr(transformers, kind)(**dict(vocab_size=len(tok)) | settings)
    return TextGen.new(config, tok, seed=seed, device="cpu")


@pytest.fixture(scope="module")
def prompts():
    "The beginnings of 50 poems, some cut inside a word, with newlines and what else is in them."
    texts = [d.text for d in documents(bundled("poems"))]
    return [text[: 5 + 3 * i % 40] for i, text in enumerate(texts[:50])]


def greedy(model, ids, n=NEW):
    "The tokens that transformers writes, as if none ended a text."
    ids = torch.tensor([ids])
    out = model.generate(ids, max_new_tokens=n, min_new_tokens=n, do_sample=False, eos_token_id=None, pad_token_id=0)
    return out[0, 1 if model.config.is_encoder_decoder else ids.shape[1] :].tolist()


# ---- onnx
@pytest.fixture(scope="module")
def exported(tok, tmp_path_factory):
    "A function that exports a model to onnx, once."
    for name in ("onnx", "onnxscript", "onnxruntime"): pytest.importorskip(name)
    done = {}

    def export(name):
        if name not in done:
            tg = TextGen(device="cpu") if name == "bundled" else make(name, tok)
            done[name] = tg, tg.export(tmp_path_factory.mktemp(name) / "out", to="onnx")
        return done[name]

    return export


def written_by_onnx(tg, folder, precision, prompt):
    "Greedy tokens from onnxruntime."
    from textgen.sharing.onnx import OnnxModel

    ids = tg.codec.prompt_ids(prompt) if tg.kind == "causal" else tg.codec.input_ids(prompt)
    run = OnnxModel(folder, tg.kind, precision).start(np.array([ids]))
    new, written = ids if tg.kind == "causal" else [tg.wrapped.first], []
    for _ in range(NEW):
        new = [int(run.step(np.array([new]))[0, -1].argmax())]
        written += new
    return ids, written


def agreement(pairs):
    "How many token sequences are equal, and the share of tokens that are equal up to the first that is not."
    same = [next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), len(a)) for a, b in pairs]
    return sum(n == NEW for n in same), sum(same) / (len(same) * NEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundled", "gpt2", "llama", "gemma2", "opt", "bloom", "t5", "bart"])
def test_onnxruntime_writes_the_tokens_of_transformers(name, exported, prompts):
    tg, folder = exported(name)
    found = {p: [written_by_onnx(tg, folder, p, prompt) for prompt in prompts] for p in ("fp32", "int8")}
    theirs = [greedy(tg.model, ids) for ids, _ in found["fp32"]]
    assert len({tuple(o) for o in theirs}) > 5  # they do not all say the same
    assert [o for _, o in found["fp32"]] == theirs
    same, share = agreement(zip((o for _, o in found["int8"]), theirs))
    assert same > 5 and share > 0.3, (same, share)
    compared = Receipt.load(folder / "export.json")["compared"]
    assert compared["fp32"]["distance"] < 1e-4 and compared["int8"]["distance"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundled", "t5"])
def test_the_program_beside_it_needs_three_packages(name, exported, prompts):
    "It has 25 lines at most, and writes what transformers writes, with no torch."
    tg, folder = exported(name)
    source = (folder / "generate.py").read_text(encoding="utf-8")
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
    assert len(source.splitlines()) <= 25 and names == {"json", "sys", "numpy", "onnxruntime", "tokenizers"}
    absent = "import sys, runpy; sys.modules.update(torch=None, transformers=None, textgen=None)"
    code = f"{absent}; file = sys.argv.pop(); runpy.run_path(file)"
    command = [sys.executable, "-c", code, folder / "generate.py"]
    assert subprocess.run(command, capture_output=True, check=True).stdout
    for prompt in ["", *prompts[:20]]:
        out = io.StringIO()
        with redirect_stdout(out), pytest.MonkeyPatch.context() as m:
            m.setattr(sys, "argv", ["generate.py", prompt, "0"])
            runpy.run_path(str(folder / "generate.py"))
        causal = tg.kind == "causal"
        ids = torch.tensor([tg.codec.prompt_ids(prompt) if causal else tg.codec.input_ids(prompt)])
        length = dict(max_length=min(tg.context, ids.shape[1] + 100)) if causal else dict(max_length=100)
        want = tg.model.generate(ids, do_sample=False, pad_token_id=0, **length)[0].tolist()
        assert out.getvalue() == tg.codec.decode(want if causal else want[1:]) + "\n"


@pytest.mark.slow
def test_rows_of_different_lengths(exported):
    "With a mask and positions, a row that is padded on the left says what it says alone."
    from textgen.sharing.onnx import OnnxModel

    tg, folder = exported("llama")
    short, long = [5, 6, 7], [9, 8, 7, 6, 5]
    run = OnnxModel(folder, "causal", rows=2).start()
    given = run.past | dict(
        input_ids=np.array([[0, 0, *short], long]),
        attention_mask=np.array([[0, 0, 1, 1, 1], [1] * 5]),
        position_ids=np.array([[0, 0, 0, 1, 2], range(5)]),
    )
    together = run.session.run(None, given)[0][:, -1]
    with torch.inference_mode():
        alone = [tg.model(torch.tensor([ids])).logits[0, -1].numpy() for ids in (short, long)]
    assert np.abs(together - np.stack(alone)).max() < 1e-4 * np.std(alone)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundled", "t5"])
def test_transformers_js(name, exported, prompts):
    "In node, from the folder itself: the module that the page uses."
    modules = Path(os.environ.get("TEXTGEN_NODE", ""), "node_modules")
    if not (modules / "@huggingface" / "transformers").is_dir(): pytest.skip("TEXTGEN_NODE names no transformers.js")
    tg, folder = exported(name)
    if not (folder / "node_modules").exists(): (folder / "node_modules").symlink_to(modules.resolve())
    script = """
        import { load } from "./textgen.mjs";
        const write = await load(process.argv[1]), out = [];
        for (const p of JSON.parse(process.argv[2]))
          out.push((await write(p, { do_sample: false, max_new_tokens: 20, min_new_tokens: 20 })).tokens);
        console.log(JSON.stringify(out));"""
    for dtype in ("fp32", "q8"):
        command = ["node", "--input-type=module", "-e", script, dtype, json.dumps(prompts)]
        out = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        found = json.loads(out.stdout.splitlines()[-1])
        causal = tg.kind == "causal"
        for prompt, tokens in zip(prompts, found):
            ids = tg.codec.prompt_ids(prompt) if causal else tg.codec.input_ids(prompt)
            assert tokens[: len(ids) if causal else 1] == (ids if causal else [tg.wrapped.first])
            if dtype == "q8": continue
            given = dict(max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0)
            assert tokens == tg.model.generate(torch.tensor([ids]), **given)[0].tolist()


# ---- gguf
@pytest.fixture(scope="module")
def llama():
    "A function that opens a GGUF file in llama.cpp."
    pytest.importorskip("gguf")
    cpp = pytest.importorskip("llama_cpp")

    def open_file(path, **kwargs):
        return cpp.Llama(str(path), n_ctx=128, n_threads=1, verbose=False, logits_all=True, **kwargs)

    return open_file


def written_by_llama(llm, ids):
    "The logits after each token of a prompt, and greedy tokens."
    llm.reset()
    llm.eval(ids)
    logits, written = llm.scores[: len(ids)].copy(), []
    for _ in range(NEW):
        written.append(int(llm.scores[llm.n_tokens - 1].argmax()))
        llm.eval(written[-1:])
    return logits, written


MORE = ["gpt2", "tied", "biased", "padded", "stretched", "linear", "mistral", "qwen2", "qwen3"]
GGUF = ["bundled", "llama", *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]


@pytest.mark.parametrize("name", GGUF)
def test_llama_cpp_writes_the_tokens_of_transformers(name, llama, tok, prompts, tmp_path):
    tg = TextGen(device="cpu") if name == "bundled" else make(name, tok)
    folder = tg.export(tmp_path / "out", to="gguf")
    each = [tg.codec.prompt_ids(prompt) for prompt in prompts]
    theirs = [greedy(tg.model, ids) for ids in each]
    with torch.inference_mode(): want = [tg.model(torch.tensor([ids])).logits[0].numpy() for ids in each]
    for precision, most, least in (("f16", 0.02, 45 if name == "bundled" else 40), ("q8_0", 0.5, 10)):
        llm = llama(folder / f"model-{precision}.gguf")
        assert [llm.tokenize(p.encode(), add_bos=True, special=False) for p in prompts] == each
        found = [written_by_llama(llm, ids) for ids in each]
        assert max(np.abs(a - b).max() / b.std() for (a, _), b in zip(found, want)) < most
        same, share = agreement(zip((o for _, o in found), theirs))
        assert same >= least and share > 0.5, (precision, same, share)


RULES = ["gpt2", "gpt_neox", "smollm", "llama3", "qwen2"]


@pytest.mark.parametrize("name", RULES)
def test_llama_cpp_reads_a_text_as_the_tokenizer_does(name, llama, tmp_path):
    "Hard texts, in the four ways of splitting that have a name. NFC, because llama.cpp leaves normalizers out."
    tg = make_with(write_family(name, tmp_path / name))
    folder = tg.export(tmp_path / "out", to="gguf", precision="f16")
    llm = llama(folder / "model-f16.gguf", vocab_only=True)
    texts = [unicodedata.normalize("NFC", PROBE), *(d.text for d in documents(bundled("poems")))]
    for text in texts:
        text = text.replace("\0", "")
        assert llm.tokenize(text.encode(), add_bos=True, special=False) == tg.codec.prompt_ids(text)


def as_converted(folder):
    "Give a BPE every way to cut a token as a merge, as transformers does for the pieces of SentencePiece."
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    vocab, merges = spec["model"]["vocab"], []
    for token in dict.fromkeys("".join(pair) for pair in spec["model"]["merges"]):
        cuts = [[token[:i], token[i:]] for i in range(1, len(token))]
        merges += [cut for cut in cuts if cut[0] in vocab and cut[1] in vocab]
    spec["model"]["merges"] = merges
    path.write_text(json.dumps(spec))
    return folder


@pytest.mark.parametrize("name", ["llama2", "tinyllama", "mistral"])
def test_llama_cpp_reads_sentencepieces_bpe(name, llama, prompts, tmp_path):
    "Hard texts, and 50 prompts written on; a blank in front is the one difference, where Metaspace adds none."
    tg = make_with(as_converted(write_family(name, tmp_path / name)))
    llm = llama(tg.export(tmp_path / "out", to="gguf", precision="f16") / "model-f16.gguf")
    hard = [PROBE.replace("\0", ""), "two  blanks\n\n tab\t x", "é 北京 😀\u200d", "<0x0A> and </s"]
    for text in [*hard, *(d.text for d in documents(bundled("poems")))]:
        assert llm.tokenize(text.encode(), add_bos=True, special=False) == tg.codec.prompt_ids(text)
    each = [tg.codec.prompt_ids(prompt) for prompt in prompts]
    found = [written_by_llama(llm, ids) for ids in each]
    with torch.inference_mode(): want = [tg.model(torch.tensor([ids])).logits[0].numpy() for ids in each]
    assert max(np.abs(a - b).max() / b.std() for (a, _), b in zip(found, want)) < 0.02
    same, share = agreement(zip((o for _, o in found), (greedy(tg.model, ids) for ids in each)))
    assert same >= 40 and share > 0.5
    text = tg.codec.decode(found[0][1])
    assert llm.detokenize(found[0][1]).decode(errors="replace").strip() == text.strip()


def make_with(tokenizer):
    "A Llama with a tokenizer that lies in a folder."
    return make("llama", Codec(tokenizer).tokenizer)


@pytest.mark.parametrize("name", ["llama2", "mistral", "phi3", "gemma", "deepseek", "falcon", "t5", "albert"])
def test_a_tokenizer_without_a_rule_is_refused(name, tmp_path):
    "Llama 2 and Mistral are here since these were trained as merges: one for each token, not all ways to cut it."
    pytest.importorskip("gguf")
    tg = make_with(write_family(name, tmp_path / name))
    with pytest.raises(ExportError, match="llama.cpp has no rule for this tokenizer"):
        tg.export(tmp_path / "out", to="gguf")
    assert not (tmp_path / "out").exists()


def fields(path):
    "What a GGUF file says: name -> value."
    from gguf import GGUFReader

    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def test_every_end_is_in_the_file(tok, tmp_path):
    pytest.importorskip("gguf")
    tg = make("llama", tok)
    tg.codec = Codec(tok, ends=[7, 9])
    folder = tg.export(tmp_path / "out", to="gguf", precision="q8_0")
    said = fields(folder / "model-q8_0.gguf")
    ids = [said[f"tokenizer.ggml.{o}_token_id"] for o in ("eos", "eot", "eom")]
    assert ids == [0, 7, 9] and json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == ids
    assert (folder / "Modelfile").read_text().count("PARAMETER stop ") == 3
    tg.codec = Codec(tok, ends=[7, 9, 11])
    with pytest.raises(ExportError, match="4 tokens end a text; a GGUF file names three"): tg.export(folder, to="gguf")
    assert fields(folder / "model-q8_0.gguf") == said  # what was there stays


def test_an_adapter_is_merged_into_what_goes_out(tok, tmp_path):
    "The file holds the weights of the merged model; the model in use keeps its adapter."
    pytest.importorskip("peft")
    pytest.importorskip("gguf")
    from gguf import GGUFReader
    from textgen.models.adapter import add_lora, has_adapter

    tg = make("llama", tok)
    add_lora(tg.model, dict(r=2, target_modules=["down_proj"]))
    with torch.no_grad():
        for p in tg.model.parameters():
            if p.requires_grad: p.add_(0.1)
    folder = tg.export(tmp_path / "out", to="gguf", precision="f16")
    assert has_adapter(tg.model)
    tg.merge()
    want = tg.model.model.layers[0].mlp.down_proj.weight.detach().numpy()
    found = {t.name: t.data for t in GGUFReader(folder / "model-f16.gguf").tensors}["blk.0.ffn_down.weight"]
    assert np.abs(found.astype(np.float32) - want).max() < 1e-3 * np.abs(want).max()


# ---- CTranslate2, with the lines of nbs/explanations/engines.ipynb
@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundled", "llama", "t5"])
def test_ctranslate2_converts_a_folder(name, tok, prompts, tmp_path):
    ct2 = pytest.importorskip("ctranslate2")
    tg = TextGen(device="cpu") if name == "bundled" else make(name, tok)
    folder, out = tg.save(tmp_path / "model"), tmp_path / "ct2"
    ct2.converters.TransformersConverter(str(folder)).convert(str(out))
    config = json.loads((out / "config.json").read_text())
    tokens = {name: value or config["eos_token"] for name, value in config.items() if name.endswith("_token")}
    (out / "config.json").write_text(json.dumps(config | tokens))
    names = tg.tokenizer.convert_ids_to_tokens
    for prompt in prompts:
        if tg.kind == "causal":
            ids, how = tg.codec.prompt_ids(prompt), dict(max_length=NEW, min_length=NEW, end_token=[])
            engine = ct2.Generator(str(out), compute_type="float32")
            found = engine.generate_batch([names(ids)], include_prompt_in_result=False, **how)[0].sequences[0]
        else:
            ids, how = tg.codec.input_ids(prompt), dict(max_decoding_length=NEW, beam_size=1, end_token=[])
            engine = ct2.Translator(str(out), compute_type="float32")
            found = engine.translate_batch([names(ids)], **how)[0].hypotheses[0]
        assert tg.tokenizer.convert_tokens_to_ids(found) == greedy(tg.model, ids)


# ---- what users meet
def test_a_missing_package_is_named(tg, tmp_path, monkeypatch, cli, model_folder):
    for name, to in (("gguf", "gguf"), ("onnxruntime", "onnx"), ("onnx", "onnx"), ("onnxscript", "onnx")):
        with monkeypatch.context() as m:
            for other in ("onnx", "onnxscript", "onnxruntime", "gguf"):
                m.setitem(sys.modules, other, None if other == name else sys)
            said = f"an export to {to} needs the package {name}; install it with: pip install 'textgen-nb[export]'"
            with pytest.raises(ExportError) as e: tg.export(tmp_path / "out", to=to)
            assert str(e.value) == said
            assert cli("export", model_folder, "--to", to, "--out", tmp_path / "out").err == f"textgen: {said}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--to", "gguv"], "unknown format 'gguv'; did you mean 'gguf'?"),
        (["--to", "gguf", "--precision", "fp16"], "unknown precision of gguf 'fp16'; did you mean 'f16'?"),
        (["--to", "gguf", "--out", "{model}"], "not empty, and not an export; choose a new folder"),
    ],
)
def test_the_command_says_what_is_wrong(words, said, cli, model_folder, tmp_path, snapshot):
    if "--out" in words: pytest.importorskip("gguf")
    before = snapshot(model_folder)
    words = [o.format(model=model_folder) for o in words]
    if "--out" not in words: words += ["--out", tmp_path / "out"]
    done = cli("export", model_folder, *words)
    assert done.code == 1 and said in done.err and done.err.count("\n") == 1
    assert snapshot(model_folder) == before and not (tmp_path / "out").exists()


def test_the_command_exports(cli, model_folder, tmp_path):
    "The receipt names the files, the model, and where it came from; the training's receipt goes along."
    pytest.importorskip("gguf")
    done = cli("export", model_folder, "--to", "gguf", "--precision", "q8_0", "--out", tmp_path / "out")
    assert done.code == 0 and "ollama create" in done.out, done.err
    receipt = Receipt.load(tmp_path / "out" / "export.json")
    trained = Receipt.load(model_folder / "textgen.json")
    assert receipt["model"]["sha256"] == trained["model"]["sha256"]
    assert (tmp_path / "out" / "textgen.json").read_bytes() == (model_folder / "textgen.json").read_bytes()
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert set(receipt["files"]) == names - {"export.json"} and "tokenizer.json" in names


@pytest.mark.slow
def test_a_full_disk(on_full_disk, model_folder, tmp_path):
    "One clear line, and nothing half-written."
    pytest.importorskip("gguf")
    done = on_full_disk("export", model_folder, "--to", "gguf", "--out", "out", cwd=tmp_path, limit=20_000)
    assert done.code == 1 and done.err.count("\n") == 1 and "cannot write" in done.err, done.err
    assert list(tmp_path.iterdir()) == []
