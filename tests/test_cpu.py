"What a training step computes in C, beside torch in double precision, in every instruction set that runs here."

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from textgen import TextGen, TokenDataset, bundled, train_tokenizer
from textgen.generation import kernels
from textgen.generation.kernels import library
from textgen.training import cpu
from textgen.training.callback import NoView
from textgen.training.cpu import NATIVE, UNMASKED, NativeGelu, fast_cpu, fast_gpu, native_attention

if library() is None:
    pytest.skip("no native library here", allow_module_level=True)
ISAS = kernels._able()


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("TEXTGEN_ISA", request.param)
    assert kernels.isa_of(library()) == request.param
    return request.param


class Module:
    num_key_value_groups, is_causal = 1, True


def _like_gpt2(rows, heads, tokens, size, seed):
    "Queries, keys and values as views of one tensor, none of them contiguous."
    draw = torch.Generator().manual_seed(seed)
    qkv = torch.randn(rows, tokens, 3 * heads * size, generator=draw)
    return [o.view(rows, tokens, heads, size).transpose(1, 2) for o in qkv.split(heads * size, 2)]


def _near(ours, exact, eps=2e-6):
    return (ours - exact).abs().max() <= eps * (1 + exact.abs().max())


SHAPES = [(1, 1, 1, 16), (2, 3, 7, 16), (3, 2, 16, 32), (2, 2, 50, 48), (1, 2, 65, 64), (1, 1, 255, 80)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1.0, 30.0])  # of the numbers: with 30 nearly all weight is on one token
def test_attention(isa, shape, size):
    inputs = [size**0.5 * t for t in _like_gpt2(*shape, seed=1)]
    up = torch.randn(shape[0], shape[2], shape[1], shape[3], generator=torch.Generator().manual_seed(2))
    got, want = [], []
    for leaves, out in ((inputs, got), ([t.double() for t in inputs], want)):
        leaves = [t.detach().requires_grad_() for t in leaves]
        if out is got:
            y = native_attention(Module, *leaves, None)[0]
            assert type(y.grad_fn).__name__ == "_CausalBackward"
        else:
            y = F.scaled_dot_product_attention(*leaves, is_causal=True).transpose(1, 2)
        out += [y, *torch.autograd.grad(y, leaves, up.to(y.dtype))]
    assert all(_near(a, b, 2e-6 * max(1, size)) for a, b in zip(got, want))


def test_a_scale_of_ones_own_and_shared_keys(isa):
    draw = torch.Generator().manual_seed(0)
    q, k, v = [torch.randn(2, h, 20, 16, generator=draw, requires_grad=True) for h in (4, 2, 2)]
    shared = type("Shared", (), dict(num_key_value_groups=2, is_causal=True))
    ours = native_attention(shared, q, k, v, None, scaling=0.7)[0]
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, scale=0.7).transpose(1, 2)
    assert _near(ours, theirs)
    for a, b in zip(*[torch.autograd.grad(o.square().sum(), (q, k, v)) for o in (ours, theirs)]):
        assert _near(a, b, 1e-5)


def test_no_token_sees_those_after_it(isa):
    q, k, v = _like_gpt2(1, 1, 40, 16, seed=3)
    before = native_attention(Module, q, k, v, None)[0]
    k, v = k.clone(), v.clone()
    k[:, :, 25:], v[:, :, 25:] = 1e4, 1e30
    after = native_attention(Module, q, k, v, None)[0]
    assert torch.equal(before[:, :25], after[:, :25])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(isa, threads):
    inputs, wide = _like_gpt2(3, 5, 33, 32, seed=4), torch.randn(1, 1003)
    want = [native_attention(Module, *inputs, None)[0], NativeGelu(True)(wide)]
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = [native_attention(Module, *inputs, None)[0], NativeGelu(True)(wide)]
    finally:
        torch.set_num_threads(usual)
    assert all(map(torch.equal, got, want))


@pytest.mark.parametrize("by_tanh", [True, False])
@pytest.mark.parametrize("n", [1, 15, 16, 1000])
def test_gelu(isa, by_tanh, n):
    x = torch.cat([torch.linspace(-12, 12, n), torch.tensor([0.0, -0.0, 1e-30, 50.0, -50.0, 1e4, -1e4])])
    up = torch.linspace(-1, 2, len(x))
    got, want = [], []
    for dtype, out in ((torch.float32, got), (torch.float64, want)):
        leaf = x.to(dtype).requires_grad_()
        y = NativeGelu(by_tanh)(leaf)
        out += [y, *torch.autograd.grad(y, leaf, up.to(dtype))]
    assert all(torch.allclose(a.double(), b, rtol=2e-6, atol=2e-6) for a, b in zip(got, want))


def test_not_a_number_stays_none(isa):
    assert NativeGelu(True)(torch.full((20,), float("nan"))).isnan().all()
    q, k, v = _like_gpt2(1, 1, 4, 16, seed=5)
    q[:, :, 2] = float("nan")
    assert native_attention(Module, q, k, v, None)[0][0, 2].isnan().all()


@pytest.mark.parametrize("reason", ["mask", "dropout", "bfloat16", "both ways", "long", "narrow", "another length"])
def test_whatever_else_is_asked_for_goes_the_way_of_torch(reason, monkeypatch):
    def refuse(*args):
        raise AssertionError("computed in C")

    monkeypatch.setattr(cpu._Causal, "apply", refuse)
    shape = dict(long=(1, 1, 257, 16), narrow=(1, 1, 5, 24)).get(reason, (1, 1, 5, 16))
    q, k, v = _like_gpt2(*shape, seed=0)
    asked, module = {}, Module
    if reason == "bfloat16":
        q, k, v = [t.bfloat16() for t in (q, k, v)]
    if reason == "dropout":
        asked = dict(dropout=0.5)
    if reason == "both ways":
        module = type("Both", (), dict(num_key_value_groups=1, is_causal=False))
    if reason == "another length":
        q = q[:, :, -1:]
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool) if reason == "mask" else None
    assert native_attention(module, q, k, v, mask, **asked)[0].shape[1] == q.shape[2]


SMALL = dict(vocab_size=300, bos_token_id=0, eos_token_id=0)
LLAMA = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
CONFIGS = dict(
    gpt2=GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=64, attn_pdrop=0, resid_pdrop=0, embd_pdrop=0, **SMALL),
    erf=GPT2Config(n_layer=1, n_head=1, n_embd=32, n_positions=64, activation_function="gelu", attn_pdrop=0, **SMALL),
    llama=LlamaConfig(**LLAMA, **SMALL),
    gemma=GemmaConfig(head_dim=16, hidden_activation="gelu_pytorch_tanh", **LLAMA, **SMALL),
)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_of_a_model(name, monkeypatch):
    "Those of plain transformers, and computed in C."
    model = AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    ids = torch.randint(300, (3, 40), generator=torch.Generator().manual_seed(0))
    calls = []
    for operation in (cpu._Causal, cpu.NativeBlock):  # attention alone, or a block as a whole
        forward = operation.forward
        monkeypatch.setattr(operation, "forward", lambda *args, of=forward: calls.append(1) or of(*args))

    def gradients():
        model.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        return [loss.detach(), *[p.grad for p in model.parameters()]]

    want = gradients()
    assert not calls
    with fast_cpu(model, 40, False):
        assert model.config._attn_implementation == NATIVE
        got = gradients()
    assert len(calls) == model.config.num_hidden_layers and model.config._attn_implementation == "sdpa"
    assert all(_near(a, b, 1e-5) for a, b in zip(got, want))
    assert not any(isinstance(m, NativeGelu) for m in model.modules())


def test_a_run_is_that_of_torch_up_to_rounding(monkeypatch):
    tok = train_tokenizer(bundled("poems"), vocab_size=400)
    data = TokenDataset.from_files(bundled("poems"), tok)
    losses = []
    for isa in ("", "none"):
        monkeypatch.setenv("TEXTGEN_ISA", isa)
        tg = TextGen.new("mini", tok, seed=1)
        run = tg.train(data, steps=8, batch_size=4, window=32, sample_every=0, precision="fp32", view=NoView())
        losses.append(run.losses)
    assert np.allclose(*losses, rtol=1e-4) and losses[0] != losses[1]


SMALL = dict(vocab_size=200, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4)
SMALL |= dict(num_key_value_heads=2, max_position_embeddings=128)
WINDOWS = dict(
    llama=LlamaConfig(**SMALL),
    mistral=MistralConfig(**SMALL, sliding_window=8),
    mistral_as_wide=MistralConfig(**SMALL, sliding_window=32),
    qwen2=Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    gemma3=Gemma3TextConfig(**SMALL, head_dim=16, sliding_window=8),
)


@pytest.mark.parametrize("name", WINDOWS)
@torch.no_grad()
def test_no_mask_is_left_out_that_hides_something(name):
    "Windows that are shorter than the row, padding, a cache: beside the model's own attention, written out."
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(WINDOWS[name], attn_implementation="eager").eval()
    for p in model.parameters():
        p.mul_(4 if p.ndim > 1 else 1)
    ids = torch.randint(200, (3, 32))
    there = torch.ones_like(ids)
    there[:, :5] = 0
    asked = dict(do_sample=False, max_new_tokens=9, pad_token_id=0)

    def found():
        rows = model(ids, use_cache=False).logits, model(ids, attention_mask=there, use_cache=False).logits[:, 5:]
        return [*rows, model.generate(ids, attention_mask=there, **asked).float()]

    want = found()
    model.set_attn_implementation("sdpa")
    with fast_gpu(model):
        assert model.config._attn_implementation == UNMASKED
        got = found()
        run = torch.compile(lambda ids: model(ids, use_cache=False).logits, backend="aot_eager")
        got.append(run(ids))
    assert all(_near(a, b, 1e-4) for a, b in zip(got, [*want, want[0]], strict=True))
