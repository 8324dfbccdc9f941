"The loss of a small vocabulary in C, beside torch in double precision, in every instruction set that runs here."

import pytest
import torch
import torch.nn.functional as F

from textgen.generation import kernels
from textgen.generation.kernels import library
from textgen.models.build import new_model
from textgen.models.seq2seq import wrap
from textgen.text.codec import Codec
from textgen.text.corpus import bundled
from textgen.text.tokenizer import train_tokenizer
from textgen.training.losses import ChunkedLoss, NativeLoss, chunked_loss, loss_of, plain_logits, suits_c

if library() is None:
    pytest.skip("no native library here", allow_module_level=True)


def _found(loss, hidden, weight, labels, up):
    leaves = [hidden.detach().requires_grad_(), weight.detach().requires_grad_()]
    loss = loss(*leaves, labels)
    return [loss.detach(), *torch.autograd.grad(loss * up, leaves)]


def _in_torch(hidden, weight, labels):
    return F.cross_entropy(hidden @ weight.T, labels)


SHAPES = [(1, 16, 1), (63, 48, 16), (65, 32, 1000), (200, 128, 333)]  # tokens, width, vocabulary


@pytest.mark.parametrize("isa", kernels._able())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1.0, 5.0])
def test_losses_and_gradients(isa, shape, size, monkeypatch):
    monkeypatch.setenv("TEXTGEN_ISA", isa)
    tokens, width, vocabulary = shape
    draw = torch.Generator().manual_seed(tokens)
    hidden = size * torch.randn(tokens, width, generator=draw)
    weight = torch.randn(vocabulary, width, generator=draw)
    labels = torch.randint(vocabulary, (tokens,), generator=draw)
    labels[1::7] = -100
    assert suits_c(weight, labels)
    want = _found(_in_torch, hidden.double(), weight.double(), labels, 0.3)
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3, 3):
            torch.set_num_threads(n)
            found.append(_found(NativeLoss.apply, hidden, weight, labels, 0.3))
    finally:
        torch.set_num_threads(before)
    for got in found:
        assert all((a - b).norm() <= 1e-5 * b.norm() + 1e-7 for a, b in zip(got, want))
        assert torch.equal(got[1], found[0][1])
    assert all(torch.equal(a, b) for a, b in zip(found[2], found[3]))


def test_labels_that_do_not_count_and_numbers_that_are_none():
    weight = torch.randn(20, 16)
    none = torch.full((5,), -100)
    assert [o.abs().max() for o in _found(NativeLoss.apply, torch.randn(5, 16), weight, none, 1)] == [0, 0, 0]
    hidden = torch.randn(5, 16)
    hidden[2, 3] = float("nan")
    loss, down, _ = _found(NativeLoss.apply, hidden, weight, torch.arange(5), 1)
    assert loss.isnan() and down[2].isnan().all() and down[3].isfinite().all()
    frozen = chunked_loss(hidden.requires_grad_(), weight, torch.arange(5))
    assert type(frozen.grad_fn).__name__ == "NativeLossBackward"


@pytest.fixture(scope="module")
def decoder():
    return wrap(new_model("mini", Codec(train_tokenizer(bundled("poems"), vocab_size=300)), context=64))


def _gradients(decoder, loss, batch):
    decoder.model.zero_grad()
    loss = loss(batch)
    loss.backward()
    return [loss.detach(), *[p.grad for p in decoder.model.parameters()]]


def test_a_model(decoder):
    ids = torch.randint(300, (3, 21), generator=torch.Generator().manual_seed(0))
    batch = dict(input_ids=ids[:, :-1], labels=ids[:, 1:])
    got, want = _gradients(decoder, loss_of(decoder), batch), _gradients(decoder, decoder.loss, batch)
    assert all((a - b).norm() <= 1e-5 * b.norm() + 1e-7 for a, b in zip(got, want, strict=True))


def test_what_goes_the_way_of_torch(decoder):
    labels = torch.arange(20)
    assert ChunkedLoss(decoder).is_native(labels)
    assert not ChunkedLoss(decoder, compiled=True).is_native(labels)
    with torch.no_grad():
        assert not ChunkedLoss(decoder).is_native(labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert not ChunkedLoss(decoder).is_native(labels)
    for wrong in (labels + 281, labels - 1, labels[:0], labels.int()):  # torch says what is wrong with them
        assert not ChunkedLoss(decoder).is_native(wrong)
    assert not suits_c(torch.zeros(300, 24), labels) and not suits_c(torch.zeros(1 << 15, 32), labels)
    with pytest.raises((IndexError, RuntimeError)):
        loss_of(decoder)(dict(input_ids=labels[None], labels=labels[None] + 281))


def test_the_trial_leaves_every_module_as_it_is(decoder):
    decoder.model.train()
    part = decoder.model.transformer.h[0].eval()
    assert plain_logits(decoder)
    assert decoder.model.training and not part.training
