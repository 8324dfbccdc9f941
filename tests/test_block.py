"A block of GPT-2 in C, beside the block of transformers in double precision, in every instruction set that runs here."

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from textgen.generation import kernels
from textgen.generation.kernels import NativeBlock, library
from textgen.training.cpu import fast_cpu

if library() is None:
    pytest.skip("no native library here", allow_module_level=True)


@contextmanager
def threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _model(width=32, heads=2, layers=2, seed=0, **more):
    torch.manual_seed(seed)
    off = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None)
    config = GPT2Config(vocab_size=50, n_positions=256, n_embd=width, n_head=heads, n_layer=layers, **off | more)
    model = GPT2LMHeadModel(config).train()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    return model


def _inputs(rows, tokens, width):
    draw = torch.Generator().manual_seed(rows + tokens)
    return [torch.randn(rows, tokens, width, generator=draw) for _ in range(2)]


def _gradients(block, x, up, inside):
    "What a block gives, and the gradients of its input and its parameters."
    block.zero_grad()
    x = x.detach().requires_grad_()
    with inside:
        y = block(x)
    y.backward(up.to(y.dtype))
    return y, [y.detach(), x.grad, *[p.grad.clone() for p in block.parameters() if p.requires_grad]]


def _is_native(y):
    return type(y.grad_fn).__name__ == "NativeBlockBackward"


def _near(ours, exact, eps=1e-5):
    return all((a - b).norm() <= eps * b.norm().clamp(min=1e-6) for a, b in zip(ours, exact, strict=True))


def _exact(block, x, up):
    "The same in double precision, with a mask that says what is causal."
    block = block.double()
    mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)[None, None].double()
    x = x.double().requires_grad_()
    block.zero_grad()
    y = block(x, None, mask)
    y.backward(up.double())
    found = [y.detach(), x.grad, *[p.grad.clone() for p in block.parameters()]]
    block.float()
    return found


SHAPES = [  # rows, tokens, width, heads, threads, more
    (1, 1, 16, 1, 1, {}),
    (2, 7, 32, 2, 2, {}),
    (3, 64, 128, 4, 2, dict(activation_function="gelu")),
    (4, 64, 128, 2, 3, dict(scale_attn_by_inverse_layer_idx=True)),
    (5, 65, 64, 4, 3, dict(n_inner=48, layer_norm_epsilon=1e-3)),
    (2, 200, 32, 1, 1, {}),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("isa", kernels._able())
def test_outputs_and_gradients(shape, isa, monkeypatch):
    monkeypatch.setenv("TEXTGEN_ISA", isa)
    rows, tokens, width, heads, n, more = shape
    model = _model(width, heads, **more)
    block = model.transformer.h[1]
    x, up = _inputs(rows, tokens, width)
    want = _exact(block, x, up)
    with threads(n):
        y, got = _gradients(block, x, up, fast_cpu(model, tokens, False))
        _, again = _gradients(block, x, up, fast_cpu(model, tokens, False))
    assert _is_native(y) and _near(got, want)
    assert all(torch.equal(a, b) for a, b in zip(got, again))  # the same bits


def test_the_number_of_threads_changes_no_output():
    model = _model()
    block = model.transformer.h[0]
    x, up = _inputs(5, 20, 32)
    found = []
    for n in (1, 2, 3, 5):
        with threads(n):
            found.append(_gradients(block, x, up, fast_cpu(model, 20, False))[1])
    assert all(torch.equal(found[0][i], o[i]) for o in found for i in (0, 1))
    assert all(_near(o, found[0], 1e-6) for o in found)


def test_frozen_parameters_and_two_passes():
    model = _model()
    block = model.transformer.h[0]
    x, up = _inputs(2, 9, 32)
    with threads(2), fast_cpu(model, 9, False):
        _, whole = _gradients(block, x, up, nullcontext())
        wanted = dict(zip([n for n, _ in block.named_parameters()], whole[2:]))
        for name, p in block.named_parameters():
            p.requires_grad_(name in ("ln_2.bias", "attn.c_attn.weight"))
        block.zero_grad()
        for _ in range(2):
            y = block(x)
            assert _is_native(y)
            y.backward(up)
        for name, p in block.named_parameters():
            if p.requires_grad:
                assert torch.equal(p.grad, 2 * wanted[name])
            else:
                assert p.grad is None
        block.requires_grad_(False)
        assert not block(x).requires_grad
        y, found = _gradients(block, x, up, nullcontext())
        assert torch.equal(found[1], whole[1])


def test_twice_in_one_graph_and_checkpoints():
    model = _model()
    block = model.transformer.h[0]
    x, up = _inputs(2, 9, 32)
    found = []
    for f in (lambda x: block(block(x)), lambda x: checkpoint(lambda t: block(block(t)), x, use_reentrant=False)):
        for inside in (nullcontext(), fast_cpu(model, 9, False)):
            block.zero_grad()
            leaf = x.clone().requires_grad_()
            with threads(2), inside:
                out = f(leaf)
                out.backward(up)
            found.append([out.detach(), leaf.grad, *[p.grad.clone() for p in block.parameters()]])
    assert all(_near(o, found[0]) for o in found[1:])
    assert all(torch.equal(a, b) for a, b in zip(found[1], found[3]))


def test_checkpoints_of_transformers():
    model = _model()
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    ids = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(0))
    found = []
    for inside in (nullcontext(), fast_cpu(model, 12, False)):
        model.zero_grad()
        with threads(2), inside:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert _near(found[1], found[0])


def _calls(model, monkeypatch, change=lambda block: None, inputs=None, **asked):
    "How many blocks C computes in a forward pass."
    calls = []
    apply = NativeBlock.apply
    monkeypatch.setattr(NativeBlock, "apply", lambda *a: calls.append(1) or apply(*a))
    ids = torch.zeros(2, 12, dtype=torch.long) if inputs is None else inputs
    with threads(2), fast_cpu(model, 12, False):
        change(model.transformer.h[0])
        model(input_ids=ids, **dict(use_cache=False) | asked)
    monkeypatch.undo()
    return len(calls)


def test_what_goes_the_way_of_torch(monkeypatch):
    def calls(*args, **asked):
        return _calls(*args[:1], monkeypatch, *args[1:], **asked)

    ids = torch.zeros(2, 12, dtype=torch.long)
    assert calls(_model()) == 2
    with torch.no_grad():
        assert calls(_model()) == 2
    assert calls(_model(), use_cache=True) == 0  # keys and values must go into the cache
    assert calls(_model(), attention_mask=(torch.arange(12) > 3).long().expand(2, -1)) == 0
    assert calls(_model(resid_pdrop=0.1)) == 0 and calls(_model(resid_pdrop=0.1).eval()) == 2
    assert calls(_model(activation_function="relu")) == 0
    assert calls(_model(width=24)) == 0  # heads of 12
    assert calls(_model(), inputs=ids[:1]) == 0  # a thread would have no row
    assert calls(_model(), lambda block: block.mlp.c_fc.register_forward_hook(lambda *a: None)) == 1
    assert calls(_model(), lambda block: setattr(block.mlp, "c_fc", torch.nn.Linear(32, 128))) == 1
    assert calls(_model(attn_implementation="eager")) == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert calls(_model()) == 0


def test_generating_inside_and_nothing_left_behind():
    model = _model().eval()
    ids = torch.randint(50, (2, 5), generator=torch.Generator().manual_seed(0))
    want = model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
    before = {n: set(vars(m)) for n, m in model.named_modules()}
    with threads(2), fast_cpu(model, 12, False):
        assert torch.equal(model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0), want)
        assert all("forward" in vars(b) for b in model.transformer.h)
    assert {n: set(vars(m)) for n, m in model.named_modules()} == before
    assert all(b.forward.__func__ is GPT2Block.forward for b in model.transformer.h)


def test_a_run_of_twenty_steps():
    draw = torch.Generator().manual_seed(0)
    batches = [torch.randint(50, (4, 16), generator=draw)] * 20
    losses = []
    for fast in (False, True):
        model = _model(width=64, heads=4)
        opt = torch.optim.AdamW(model.parameters(), 1e-3)
        for ids in batches:
            with threads(2), fast_cpu(model, 16, False) if fast else nullcontext():
                loss = model(input_ids=ids, labels=ids, use_cache=False).loss
                loss.backward()
            opt.step()
            opt.zero_grad()
            losses.append(loss.item())
    assert losses[:20] == pytest.approx(losses[20:], abs=1e-4)
    assert losses[0] > losses[19]
