"""The faster steps of 42_fused and 44_native against the models themselves. This file goes with those modules;
nothing else needs it."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from textgen.api import TextGen
from textgen.core import ModelError, uniforms
from textgen.models.adapter import add_lora
from textgen.models.seq2seq import wrap
from textgen.settings import GenerateSettings
from textgen.generation.sampling import draw, filtered, logprob
from textgen.models.decoder import Draw, draw_steps

fast = pytest.importorskip("textgen.generation.fused")
plans = pytest.importorskip("textgen.generation.plans")
kernels = pytest.importorskip("textgen.generation.kernels")
native = pytest.importorskip("textgen.generation.native")
engine = pytest.importorskip("textgen.generation.engine")

small = dict(vocab_size=300, bos_token_id=1, eos_token_id=1, pad_token_id=0)
llama = dict(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
)
t5 = dict(d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4, decoder_start_token_id=0)
CONFIGS = dict(
    gpt2=dict(model_type="gpt2", n_layer=2, n_head=4, n_embd=64, n_positions=128),
    gpt2_erf=dict(model_type="gpt2", n_layer=2, n_head=2, n_embd=64, n_positions=128, activation_function="gelu"),
    wide=dict(model_type="gpt2", n_layer=1, n_head=4, n_embd=256, n_positions=128),
    llama=dict(model_type="llama", **llama),
    llama_tied=dict(model_type="llama", tie_word_embeddings=True, attention_bias=True, **llama),
    llama3=dict(
        model_type="llama",
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=5e5,
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
        **llama,
    ),
    mistral=dict(model_type="mistral", head_dim=32, sliding_window=None, **llama),
    qwen2=dict(model_type="qwen2", **llama),
    qwen3=dict(model_type="qwen3", head_dim=16, **llama),
    t5=dict(model_type="t5", **t5),
    flan=dict(model_type="t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False, **t5),
    mt5=dict(model_type="mt5", feed_forward_proj="gated-gelu", **t5),
)
needs_library = pytest.mark.skipif(
    kernels.library() is None, reason="no native library is built: python setup.py build_ext --inplace"
)
ENGINES = [False, pytest.param(True, marks=needs_library)]


def make(name, seed=0):
    config = AutoConfig.for_model(**small, **CONFIGS[name])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = (
            (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config).eval()
        )
        with torch.no_grad():
            for p in model.parameters():
                p += torch.randn_like(p) * (0.1 if p.ndim == 1 else 0.05)  # biases and norms that are not 0 and 1
    return wrap(model)


def both(name, in_c, **kw):
    m = make(name)
    f = engine.faster(m, native=in_c, **kw)
    assert isinstance(f, native.NativeDecoder if in_c else fast.FusedDecoder), name
    return m, f


@pytest.mark.parametrize("in_c", ENGINES)
@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_same_logits_and_greedy_tokens(name, in_c):
    m, f = both(name, in_c)
    prompt = torch.arange(5, 17).view(2, 6)
    s, t = m.prefill(prompt), f.prefill(prompt)
    for _ in range(80):  # past the first doubling of room
        token = s.logits.argmax(-1)
        assert torch.equal(token, t.logits.argmax(-1))
        torch.testing.assert_close(s.logits, t.logits, atol=2e-4, rtol=1e-4)
        s, t = m.decode(token, s), f.decode(token, t)


@pytest.mark.parametrize("in_c", ENGINES)
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "t5", "flan"])
def test_int8_is_near(name, in_c):
    m, f = both(name, in_c, quantize="int8", rows=8)
    assert engine.distance(m, f) < 0.06


@pytest.mark.parametrize("in_c", ENGINES)
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "t5"])
@torch.inference_mode()
def test_rows_at_different_places(name, in_c):
    _, f = both(name, in_c)
    a, b, c = torch.arange(5, 15)[None], torch.arange(50, 53)[None], torch.arange(90, 110)[None]
    alone = {k: f.prefill(p) for k, p in (("a", a), ("b", b), ("c", c))}

    def step(k, t):
        alone[k] = f.decode(torch.tensor([t]), alone[k])

    s = f.prefill(a).repeat(3)
    for _ in range(4):
        s = f.decode(torch.tensor([7, 7, 7]), s)
        step("a", 7)
    s = s.put(torch.tensor([1]), f.prefill(b))
    for k in (0, 1, 2):
        s = f.decode(torch.tensor([k, k + 1, k + 2]), s)
        step("b", k + 1)
    s = s.put(torch.tensor([0, 2]), f.prefill(c))
    for k in range(60):
        s = f.decode(torch.tensor([k, k, k + 3]), s)
        step("b", k)
        step("c", k)
    torch.testing.assert_close(s.logits[:2], torch.cat([alone["c"].logits, alone["b"].logits]), atol=1e-4, rtol=1e-4)
    s = s.select(torch.tensor([1, 0])).repeat(2)
    s = f.decode(torch.tensor([9, 9, 8, 8]), s)
    step("b", 9)
    step("c", 8)
    torch.testing.assert_close(s.logits[1:3], torch.cat([alone["b"].logits, alone["c"].logits]), atol=1e-4, rtol=1e-4)
    s = f.decode(torch.tensor([3, 0, 0, 0]), s.drop(torch.tensor([1, 2, 3])))
    step("b", 3)
    torch.testing.assert_close(s.logits[:1], alone["b"].logits, atol=1e-4, rtol=1e-4)


def simple_draw(uniforms, temperatures, **kw):
    "A draw that C can make; Python makes the same."
    temperatures = torch.as_tensor(temperatures, dtype=torch.float64)

    def choose(logits, step):
        waits = kw.get("min_steps", torch.zeros(len(uniforms), dtype=torch.int64))
        early = logits.index_fill(1, torch.tensor(kw.get("ends", ()), dtype=torch.int64), -torch.inf)
        allowed = early.where((step < waits)[:, None], logits)
        rows = zip(allowed, temperatures.tolist(), uniforms[:, step])
        tokens = torch.cat([draw(filtered(x[None], t), u[None]) for x, t, u in rows])
        return tokens, logprob(logits, tokens)

    return Draw(choose, torch.ones(len(uniforms), dtype=torch.bool), uniforms, temperatures, simple=True, **kw)


@needs_library
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("quantize", [None, "int8"])
@torch.inference_mode()
def test_many_steps_are_draw_and_decode_in_turn(name, quantize):
    _, f = both(name, True, quantize=quantize)
    rows, k, temps = 5, 40, [0.7, 1.0, 0.2, 1.5, 0.7]
    u = torch.from_numpy(uniforms(rows * k, "generate", 3)).view(rows, k)
    u[0, 5], u[1, 6] = 0.0, 1 - 2**-53  # where C leaves the draw to Python
    how = simple_draw(u, temps, ends=(7, 11), min_steps=torch.tensor([3, 0, 40, 5, 1]))
    start = f.prefill(torch.arange(5, 9)[None])
    got, lp, state = f.decode_steps(start.repeat(rows), how, k)
    want, want_lp, want_state = draw_steps(f, start.repeat(rows), how, k)
    assert torch.equal(got, want) and state.length == want_state.length
    torch.testing.assert_close(lp, want_lp, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(state.logits, want_state.logits, atol=1e-4, rtol=1e-4)


@needs_library
@pytest.mark.parametrize("name", ["gpt2", "t5"])
@torch.inference_mode()
def test_rows_rest_after_their_end(name):
    "Each row writes what it writes alone, and -1 after its end, until so many have ended."
    _, f = both(name, True)
    rows, k = 6, 60
    u, start = torch.from_numpy(uniforms(rows * k, "generate", 5)).view(rows, k), f.prefill(torch.arange(5, 9)[None])
    free = f.decode_steps(start.repeat(rows), simple_draw(u, [1.0] * rows), k)[0].tolist()
    end = max(range(300), key=lambda t: sum(t in o for o in free))  # the token that most rows draw
    alone = [
        f.decode_steps(start.repeat(1), simple_draw(u[r : r + 1], [1.0], ends=(end,)), k)[0][0].tolist()
        for r in range(rows)
    ]
    ended = sorted(len(o) for o in alone if o[-1] == end)
    for ends in (1, 2, len(ended)):
        got, lp, state = f.decode_steps(start.repeat(rows), simple_draw(u, [1.0] * rows, ends=(end,), max_ends=ends), k)
        n = ended[ends - 1]
        assert len(ended) >= 3
        assert got.shape == lp.shape == (rows, n)
        for g, a in zip(got.tolist(), alone):
            assert g == (a + [-1] * k)[:n]
        assert all((state.lengths[r] == 0) == (end in got[r]) for r in range(rows))


@needs_library
@torch.inference_mode()
def test_rows_that_are_free_write_nothing():
    _, f = both("gpt2", True)
    u = torch.from_numpy(uniforms(3 * 20, "generate", 5)).view(3, 20)
    start, how = f.prefill(torch.arange(5, 9)[None]), simple_draw(u, [1.0] * 3)
    want = f.decode_steps(start.repeat(3), how, 20)[0]
    how.active = torch.tensor([True, False, True])
    got, lp, _ = f.decode_steps(start.repeat(3), how, 20)
    assert torch.equal(got[[0, 2]], want[[0, 2]]) and (got[1] == -1).all() and (lp[1] == 0).all()


@needs_library
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@torch.inference_mode()
def test_long_prompts(kind):
    "More tokens than are read at once, several rows of them, and prompts that do not fill a group of sixteen."
    far = dict(n_positions=700)
    config = AutoConfig.for_model(**small, **{**CONFIGS[kind], **far})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        m = wrap(
            (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config).eval()
        )
    f = engine.faster(m)
    for n in (1, 15, 16, 17, 256, 300, 513):
        ids = (torch.arange(2 * n).view(2, n) * 31 + 7) % 300
        s, t = m.prefill(ids), f.prefill(ids)
        for k in range(3):
            torch.testing.assert_close(s.logits, t.logits, atol=2e-4, rtol=1e-3)
            s, t = m.decode(torch.tensor([k, 9]), s), f.decode(torch.tensor([k, 9]), t)
    assert torch.equal(f.prefill(ids[:1]).logits, f.prefill(ids).logits[:1])  # a prompt alone and among others


@needs_library
def test_sizes_that_do_not_go_together():
    "A file of weights that is not the one its configuration describes is found before C reads past its end."
    m = make("gpt2")
    m.model.transformer.h[1].mlp.c_fc.weight = torch.nn.Parameter(torch.zeros(64, 512))
    m.model.transformer.h[1].mlp.c_fc.bias = torch.nn.Parameter(torch.zeros(512))
    with torch.no_grad():
        plan = plans.gpt2_plan(m.model, lambda w, b: kernels.c_linear(w, b, False))
    with pytest.raises(plans.Unfit, match="do not go together"):
        native.NativeStep(kernels.library(), plan)


@needs_library
@pytest.mark.parametrize("quantize", [None, "int8"])
@pytest.mark.parametrize("name", ["llama", "wide"])
@torch.inference_mode()
def test_a_row_is_the_same_in_any_company(name, quantize):
    _, f = both(name, True, quantize=quantize)
    prompt = torch.arange(5, 9)[None]
    for rows in (2, 3, 4, 5, 8, 9, 33):
        one, many = f.prefill(prompt), f.prefill(prompt).repeat(rows)
        for k in range(5):
            one, many = f.decode(torch.tensor([k]), one), f.decode(torch.arange(rows) * 3 + k, many)
            assert torch.equal(one.logits[0], many.logits[0])


@needs_library
@torch.inference_mode()
def test_wrong_ids_and_too_long_texts_are_errors():
    _, f = both("gpt2", True)
    s = f.prefill(torch.arange(5, 9)[None])
    with pytest.raises(IndexError):
        f.decode(torch.tensor([300]), s)
    with pytest.raises(IndexError):
        f.decode(torch.tensor([-1]), s)
    for _ in range(124):
        s = f.decode(torch.tensor([3]), s)
    with pytest.raises(IndexError):
        f.decode(torch.tensor([3]), s)


def test_models_without_a_plan_stay_as_they_are():
    for kw in (
        dict(model_type="gpt_neox", hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64),
        dict(model_type="mistral", **{**llama, "sliding_window": 8}),
        dict(model_type="gpt2", n_layer=1, n_head=2, n_embd=64, scale_attn_by_inverse_layer_idx=True),
        dict(model_type="gpt2", n_layer=1, n_head=2, n_embd=64, activation_function="tanh"),
    ):
        m = wrap(AutoModelForCausalLM.from_config(AutoConfig.for_model(**small, **kw)).eval())
        assert engine.faster(m) is m, kw
    with pytest.raises(ModelError, match="int8"):
        engine.faster(m, quantize="int3")


@pytest.mark.parametrize(
    "error, reason",
    [
        (plans.Unfit("a sliding window"), "fused: a sliding window"),
        (KeyError("rope_theta"), "fused: KeyError: 'rope_theta'"),
        (RuntimeError("out of memory"), "fused: RuntimeError: out of memory"),
    ],
)
def test_why_a_model_writes_by_itself(error, reason, monkeypatch):
    m = make("gpt2")
    assert (m.engine, m.why_not_faster) == ("plain", "")

    def read(model, make):
        raise error

    monkeypatch.setitem(plans.FAMILIES, "gpt2", read)
    whole = "; ".join(
        filter(None, [kernels.why_no_library(), reason])
    )  # where no library was built, that is said first
    assert engine.faster(m, native=False) is m and m.engine == "plain" and m.why_not_faster == whole
    if kernels.library():
        assert engine.faster(m) is m and m.why_not_faster == f"native{reason[5:]}; {reason}"


def test_an_error_that_no_reader_makes_is_not_hidden(monkeypatch):
    def read(model, make):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setitem(plans.FAMILIES, "gpt2", read)
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        engine.faster(make("gpt2"))


def test_why_not_faster_of_other_families_and_adapters():
    config = dict(hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64)
    m = wrap(AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt_neox", **{**small, **config})).eval())
    assert engine.faster(m) is m and m.why_not_faster == "no faster engine reads models of type 'gpt_neox'"
    m = make("gpt2")
    f = engine.faster(m)
    add_lora(m.model, dict(r=2))
    assert (
        engine.faster(m) is m
        and m.why_not_faster.startswith("the model has an adapter")
        and f.why_not_faster == kernels.why_no_library()
    )


def test_the_engine_of_a_textgen(model_folder, monkeypatch):
    tg = TextGen(model_folder, device="cpu")
    f = engine.faster(tg.wrapped)
    assert (
        repr(tg.engine) == (f"{f.engine}: {f.why_not_faster}" if f.why_not_faster else f.engine)
        and tg.engine.name == f.engine
    )
    monkeypatch.setattr(engine, "library", lambda: None)
    assert tg.engine.name == "fused float32"
    tg._writer(GenerateSettings(seed=0, batch_invariant=True))
    assert (
        tg.wrapped.why_not_faster == "batch_invariant was asked for, and a text of fused float32 depends on its batch"
    )
    add_lora(tg.model, dict(r=2))
    assert repr(tg.engine).startswith("plain: the model has an adapter")
    tg.quantize = "int8"
    with pytest.raises(ModelError, match="merge it first"):
        tg.engine
    monkeypatch.setitem(sys.modules, "textgen.generation.engine", None)
    tg.quantize = None
    assert tg.engine.name == "plain" and "cannot be imported" in tg.engine.why_not_faster


def test_a_wrong_plan_is_found_out(monkeypatch):
    def upside_down(model, make):
        p = plans.gpt2_plan(model, make)
        p.layers = p.layers[::-1]
        return p

    monkeypatch.setitem(plans.FAMILIES, "gpt2", upside_down)
    m = make("gpt2")
    assert engine.faster(m, native=False) is m and engine.faster(m) is m
    assert "differed from the model itself by" in m.why_not_faster


def test_no_numbers_are_not_trusted(monkeypatch):
    "A plan whose logits are NaN is as wrong as one that is far away."

    def broken(model, make):
        return plans.gpt2_plan(model, lambda w, b: make(w * torch.nan, b))

    monkeypatch.setitem(plans.FAMILIES, "gpt2", broken)
    m = make("gpt2")
    assert engine.faster(m, native=False) is m and "by inf" in m.why_not_faster
    assert engine.faster(m) is m


def test_trained_weights_make_new_ones():
    m = make("gpt2")
    a = engine.faster(m, native=False)
    assert engine.faster(m, native=False) is a and engine.faster(a, native=False) is a
    with torch.no_grad():
        m.model.transformer.wte.weight.mul_(1.1)
    b = engine.faster(m, native=False)
    assert b is not a and engine.distance(m, b) < 1e-5


@pytest.mark.parametrize("in_c", ENGINES)
def test_threads(in_c):
    _, f = both("gpt2", in_c)

    def run(out, seed):
        u = torch.from_numpy(uniforms(60, "generate", seed)).view(3, 20)
        with torch.inference_mode():
            s = f.prefill(torch.arange(5, 9)[None]).repeat(3)
            for k in range(20):
                s = f.decode(t := draw(s.logits, u[:, k]), s)
                out.append(t.tolist())

    want, got = [[] for _ in range(4)], [[] for _ in range(4)]
    for i in range(4):
        run(want[i], i)
    threads = [threading.Thread(target=run, args=(got[i], i)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == want


def with_threads(monkeypatch, n):
    "Every call of the native engine by `n` threads, however little there is to do."

    def workspace(self, state):
        return n, torch.empty(self.lib.textgen_work_floats(self.model, state, self.outputs, n))

    monkeypatch.setattr(native.NativeStep, "_workspace", workspace)


@needs_library
@pytest.mark.parametrize("n", [2, 3, 16])  # 16 are more than most processors have: whoever waits falls asleep
@pytest.mark.parametrize("name, rows", [("gpt2", 1), ("llama", 5), ("t5", 5), ("t5", 40)])
@pytest.mark.parametrize("quantize", [None, "int8"])
@torch.inference_mode()
def test_many_threads_write_what_one_does(name, rows, quantize, n, monkeypatch):
    _, f = both(name, True, quantize=quantize)
    k = 30
    u = torch.from_numpy(uniforms(rows * k, "generate", 3)).view(rows, k)
    u[0, 5] = 1 - 2**-53  # where C leaves the draw to Python
    how = simple_draw(u, [1.0] * rows, ends=(7, 11), max_ends=rows)

    def written():
        tokens, logprobs, state = f.decode_steps(f.prefill(torch.arange(5, 16)[None]).repeat(rows), how, k)
        return tokens, logprobs, state.logits, state.lengths

    with_threads(monkeypatch, 1)
    want = written()
    with_threads(monkeypatch, n)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(written(), want))


@needs_library
@torch.inference_mode()
def test_two_who_write_at_once_do_not_wait_for_each_other(monkeypatch):
    "Each call has a team of its own."
    _, f = both("gpt2", True)
    with_threads(monkeypatch, 2)
    u = torch.from_numpy(uniforms(4 * 100, "generate", 3)).view(4, 100)

    def write(seed):
        start = f.prefill(torch.arange(5, 9)[None])
        return f.decode_steps(start, simple_draw(u[seed : seed + 1], [1.0]), 100)[0].tolist()

    want = [write(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert list(pool.map(torch.inference_mode()(write), range(4))) == want


@needs_library
@torch.inference_mode()
def test_a_token_that_the_model_cannot_read_is_an_error():
    "A head may be wider than the embedding; what lies behind its end is not read."
    _, f = both("gpt2", True)
    start = f.prefill(torch.arange(5, 9)[None])
    f.step.model.vocabulary = 50
    u = torch.from_numpy(uniforms(100, "generate", 3)).view(1, 100)
    with pytest.raises(IndexError, match="a token that the model does not know"):
        f.decode_steps(start, simple_draw(u, [5.0]), 100)


def test_nothing_needs_these_modules():
    code = """
import sys
for m in ('plans', 'fused', 'kernels', 'native', 'engine'): sys.modules['textgen.generation.'+m] = None
import textgen.generation.files, textgen.api, textgen.cli
"""
    subprocess.run([sys.executable, "-c", code], check=True)
