"""Weights that change between two calls: every engine writes with the new ones, as the saved folder does when it is
loaded fresh."""

import gc
import weakref

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, LlamaConfig, T5Config

from textgen import TextGen, TokenDataset
from textgen.training.callback import NoView
from textgen.core import GenerateError
from textgen.models.adapter import add_lora
from textgen.models.weights import model_hash, weights_version

fused = pytest.importorskip("textgen.generation.fused")
plans = pytest.importorskip("textgen.generation.plans")
rooms = pytest.importorskip("textgen.generation.engine")
native = pytest.mark.skipif(
    rooms.library() is None, reason="no native library is built: python setup.py build_ext --inplace"
)
ENGINES = [
    "plain",
    "packed",
    pytest.param("native", marks=native),
    "int8",
    pytest.param("native int8", marks=native),
    "bf16",
]
ASK = dict(n=3, seed=7, max_new_tokens=24, temperature=0.8)


@pytest.fixture
def engine(request, monkeypatch):
    "Make one engine the one that every `TextGen` takes; returns the arguments for that."
    name = request.param
    monkeypatch.setattr(plans, "_small", lambda many: 0)
    if "native" not in name:
        monkeypatch.setattr(rooms, "library", lambda: None)
    if name == "plain":
        monkeypatch.setattr(rooms, "faster", lambda model, **kw: model)
    return dict(quantize="int8" if "int8" in name else None, dtype="bfloat16" if name == "bf16" else "auto")


def new(tok, folder, kind="gpt2"):
    ids = dict(vocab_size=len(tok), bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id)
    config = dict(
        gpt2=lambda: GPT2Config(
            n_layer=2, n_head=2, n_embd=64, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ids
        ),
        llama=lambda: LlamaConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            **ids,
        ),
        t5=lambda: T5Config(
            d_model=64,
            d_kv=32,
            d_ff=96,
            num_layers=2,
            num_heads=2,
            decoder_start_token_id=0,
            pad_token_id=tok.eos_token_id,
            dropout_rate=0.0,
            **ids,
        ),
    )[kind]()
    return TextGen.new(config, tok, seed=1, device="cpu").save(folder)


def open_as(folder, engine):
    return TextGen(folder, device="cpu", **engine)


def texts(tg):
    "What a model writes; little in bfloat16, which a processor without instructions for it multiplies slowly."
    ask = ASK | dict(max_new_tokens=8) if tg.model.dtype == torch.bfloat16 else ASK
    return [(s.tokens, round(s.logprob, 3)) for s in tg.generate("The", **ask)]


def train(tg, data, **kw):
    tg.train(
        data,
        **{
            **dict(steps=4, batch_size=4, window=32, lr=3e-2, precision="fp32", sample_every=0, seed=0, view=NoView()),
            **kw,
        },
    )


def fused_step(tg, data):
    opt = torch.optim.AdamW(tg.model.parameters(), lr=3e-2, fused=True)
    ids = torch.arange(20)[None] % 90
    tg.model(input_ids=ids, labels=ids).loss.backward()
    opt.step(), opt.zero_grad()


def one_number(tg, data):
    tg.model.transformer.h[0].attn.c_attn.bias.data[131] += 8.0  # of the values; every engine keeps a copy of it


def other_storage(tg, data):
    for p in tg.model.parameters():
        p.data = p.data * 1.3 + 0.01


def by_numpy(tg, data):
    for p in tg.model.parameters():
        if p.ndim == 2:
            p.detach().view(torch.int16 if p.dtype == torch.bfloat16 else torch.int32).numpy()[:] = (
                (p.data * -1.5).view(torch.int16 if p.dtype == torch.bfloat16 else torch.int32).numpy()
            )


def loaded(tg, data):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        tg.model.load_state_dict(
            {k: v + 0.1 * torch.randn(v.shape).to(v.dtype) for k, v in tg.model.state_dict().items()}
        )


def merged(tg, data):
    train(tg, data, lora=dict(r=4, lora_alpha=64))
    tg.merge()


def foreach(tg, data):
    ps = [p.data for p in tg.model.parameters()]
    torch._foreach_mul_(ps, 1.4)


CHANGES = [train, fused_step, one_number, other_storage, by_numpy, loaded, merged, foreach]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_every_change_is_seen_by_every_engine(engine, change, tok, data, tmp_path):
    tg = open_as(new(tok, tmp_path / "a"), engine)
    old, hashed = texts(tg), model_hash(tg.model)
    list(tg.stream("The", seed=7, max_new_tokens=24)), tg.next_tokens("The")
    change(tg, data)
    got = texts(tg)
    fresh = open_as(tg.save(tmp_path / "b"), engine)
    assert got == texts(fresh) != old
    assert (
        tg.generate("The", **ASK).receipt["model"]["sha256"]
        == model_hash(fresh.model)
        == model_hash(tg.model)
        != hashed
    )
    assert list(tg.stream("The", seed=7, max_new_tokens=24)) == list(fresh.stream("The", seed=7, max_new_tokens=24))
    a, b = (
        tg.generate_to_file(tmp_path / "a.txt", "The", **ASK),
        fresh.generate_to_file(tmp_path / "b.txt", "The", **ASK),
    )
    assert a.read_text() == b.read_text()
    assert [(o.id, round(o.probability, 5)) for o in tg.next_tokens("The")] == [
        (o.id, round(o.probability, 5)) for o in fresh.next_tokens("The")
    ]
    few = TokenDataset.from_texts([data.decode(data[i]) for i in range(3)], tok)
    assert round(tg.evaluate(few).loss, 4) == round(fresh.evaluate(few).loss, 4)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("engine", ["packed", pytest.param("native", marks=native)], indirect=True)
def test_trained_weights_write_as_transformers_do(engine, kind, tok, data, tmp_path):
    tg = open_as(new(tok, tmp_path / "a", kind), engine)
    for step in range(2):
        tg.generate("The", seed=1, max_new_tokens=20)
        assert isinstance(tg.wrapped.prepared[1].popitem()[1][0], fused.FastDecoder)
        train(tg, data, steps=6)
        out = tg.generate("The sea", temperature=0, max_new_tokens=20, nonempty=False, seed=0)[0].tokens
        model = (AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM).from_pretrained(
            tg.save(tmp_path / "b")
        )
        ids = torch.tensor([(tg.codec.input_ids if kind == "t5" else tg.codec.prompt_ids)("The sea")])
        want = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)[
            0, (1 if kind == "t5" else ids.shape[1]) :
        ]
        assert out == want.tolist()


@pytest.mark.parametrize("engine", ENGINES[:3] + ["bf16"], indirect=True)
def test_an_adapter_on_and_off(engine, tok, data, tmp_path):
    tg = open_as(new(tok, tmp_path / "a"), engine)
    before = texts(tg)
    add_lora(tg.model, dict(r=4, lora_alpha=4))  # its second matrix is zero: nothing has changed yet
    assert engine["dtype"] == "bfloat16" or texts(tg) == before
    before = texts(tg)  # the model itself writes now, which in bfloat16 rounds in other places
    layers = [m for m in tg.model.modules() if hasattr(m, "lora_B")]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for m in layers:
            m.lora_B["default"].weight.data.normal_(0, 3.0)
    on = texts(tg)
    assert on != before and on == texts(open_as(tg.save(tmp_path / "b"), engine))
    tg.model.disable_adapters()
    out = tg.generate("The", **ASK)
    assert texts(tg) == before
    with pytest.raises(GenerateError, match="enable_adapters"):
        out.receipt
    tg.model.enable_adapters()
    assert texts(tg) == on
    version = weights_version(tg.model)
    layers[0].scaling["default"] *= 2
    assert weights_version(tg.model) != version


@pytest.mark.parametrize("engine", ["bf16", "int8"], indirect=True)
def test_a_faint_adapter_is_not_left_out(engine, tok, tmp_path):
    "What it adds is less than the tolerance of an engine that is not exact."
    tg = open_as(new(tok, tmp_path / "a"), dict(engine, quantize=None))
    add_lora(tg.model, dict(r=4))
    for m in tg.model.modules():
        if hasattr(m, "lora_B"):
            m.lora_B["default"].weight.data.fill_(1e-3)
    assert rooms.faster(tg.wrapped, quantize=engine["quantize"]) is tg.wrapped


def test_adapted_and_replaced_models(tok, data, tmp_path):
    tg, other = open_as(new(tok, tmp_path / "a"), {}), open_as(new(tok, tmp_path / "b", "llama"), {})
    texts(tg)
    tg.model = other.model
    assert texts(tg) == texts(other) and tg.generate("The", **ASK).receipt["model"]["sha256"] == model_hash(other.model)
    tg.model.resize_token_embeddings(len(tok) + 8)
    assert texts(tg) == texts(open_as(tg.save(tmp_path / "c"), {}))


@pytest.mark.parametrize("engine", ["packed", pytest.param("native", marks=native)], indirect=True)
def test_samples_and_held_out_loss_while_training(engine, tok, data, tmp_path):
    "What is shown at a step is what a run that ends there writes."

    class View(NoView):
        def __init__(self):
            self.seen = {}

        def sample(self, step, samples):
            self.seen[step] = samples[0].tokens

    view, tg = View(), open_as(new(tok, tmp_path / "a"), engine)
    texts(tg)  # an old engine lies ready
    train(tg, data, steps=3, sample_every=3, save_to=tmp_path / "m", schedule="constant", view=view)
    fresh = open_as(tmp_path / "m", engine)
    assert view.seen[3] == fresh.generate("", seed=3, max_new_tokens=60)[0].tokens
    assert texts(tg) == texts(fresh)
    train(
        tg, data, steps=2, resume="force", save_to=tmp_path / "m", schedule="constant"
    )  # nothing left to do: the weights are read again
    assert texts(tg) == texts(open_as(tmp_path / "m", engine))


def test_a_stream_does_not_go_on_with_other_weights(tok, data, tmp_path):
    tg = open_as(new(tok, tmp_path / "a"), {})
    late = tg.stream("The", seed=7, max_new_tokens=24)
    train(tg, data)
    assert list(late) == list(open_as(tg.save(tmp_path / "b"), {}).stream("The", seed=7, max_new_tokens=24))
    pieces = tg.stream("The", seed=7, max_new_tokens=24)
    next(pieces)
    train(tg, data)
    with pytest.raises(GenerateError, match="stream again"):
        next(pieces)
    pieces = tg.stream("The", seed=7, max_new_tokens=24)
    next(pieces)
    one_number(tg, data)
    with pytest.raises(GenerateError, match="stream again"):
        list(pieces)


def test_a_receipt_is_of_the_weights_that_wrote(tok, data, tmp_path):
    tg = open_as(new(tok, tmp_path / "a"), {})
    out = tg.generate("The", **ASK)
    value = tg.model.transformer.h[0].attn.c_attn.bias[131].item()
    one_number(tg, data)
    with pytest.raises(GenerateError, match="changed since"):
        out.receipt
    tg.model.transformer.h[0].attn.c_attn.bias.data[131] = value
    assert out.receipt["model"]["sha256"] == model_hash(tg.model)


def test_old_weights_give_their_memory_back(tok, data, tmp_path):
    tg = open_as(new(tok, tmp_path / "a"), {})
    gc.disable()
    try:
        old = [weakref.ref(rooms.faster(tg.wrapped, quantize=q)) for q in (None, "int8")]
        assert all(o() for o in old)
        one_number(tg, data)
        now = rooms.faster(tg.wrapped)
        assert not any(o() for o in old) and rooms.faster(tg.wrapped) is now
        gone = weakref.ref(now)
        del now
        tg._changing()
        assert gone() is None
    finally:
        gc.enable()


# ---- the check itself
@pytest.fixture(params=["in torch", "as fast as it can be told"])
def version_of(request):
    return weights_version if request.param == "in torch" else rooms.current_version


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (130, 64), (257, 129)])
def test_every_single_bit_counts(dtype, shape, version_of):
    m = torch.nn.Module()
    m.p = torch.nn.Parameter(torch.ones(shape).to(dtype), requires_grad=False)
    flat, seen = m.p.data.view(-1), {version_of(m)}
    n = flat.numel()
    for i in sorted({0, n // 3, n // 2, n - 1}):
        old = flat[i].item()
        flat[i] = 0
        assert version_of(m) not in seen
        flat[i] = old
        assert version_of(m) in seen


def test_lines_that_change_places(version_of):
    m = torch.nn.Linear(256, 400)
    w, version = m.weight.data, version_of(m)
    w[[3, 4]] = w[[4, 3]].clone()
    assert version_of(m) != version
    w[[3, 4]] = w[[4, 3]].clone()
    assert version_of(m) == version
    w[:, 7].neg_()  # the top bit of a number of 64 bits, once in each line
    assert version_of(m) != version


def test_slices_and_strides(version_of):
    "Weights that begin at an odd place, or do not lie in a row."
    m, big = torch.nn.Module(), torch.arange(3 * 40 * 40, dtype=torch.float32)
    m.a, m.b = (
        torch.nn.Parameter(big[1 : 1 + 40 * 40].view(40, 40)),
        torch.nn.Parameter(big[1601:3201].view(40, 40).t()),
    )
    numbers, version = big.numpy(), version_of(m)  # past torch, so that no counter tells
    for k in (1, 1600, 1601, 3200):
        numbers[k] += 1
        assert version_of(m) != version
        version = version_of(m)
    numbers[0] += 1
    numbers[3201] += 1
    assert version_of(m) == version
    m.a.data[0, 0] += 1
    assert version_of(m) != version


def test_tensors_and_groups_of_rows_that_change_places():
    "Also rows that are a power of two apart, whose numbers have few bits."
    m = torch.nn.Module()
    m.p = torch.nn.ParameterList(torch.randn(4096, 64).bfloat16().float() for _ in range(2))
    seen = {rooms.current_version(m)}
    for distance in (1, 2, 64, 1024, 2048):
        w = m.p[0].data
        w[[0, distance]] = w[[distance, 0]].clone()
        seen.add(rooms.current_version(m))
    m.p[0].data, m.p[1].data = m.p[1].data, m.p[0].data
    seen.add(rooms.current_version(m))
    assert len(seen) == 7
