"Greedy text equals transformers' own, token by token, for tiny random models of many architectures."

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

from textgen.generation.generate import generate
from textgen.generation.loop import Writer
from textgen.models.model import seeded, wrap
from textgen.settings import GenerateSettings
from textgen.text.codec import Codec

V = 400
kv = dict(
    vocab_size=V,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    max_position_embeddings=128,
    pad_token_id=0,
    bos_token_id=0,
    eos_token_id=0,
)
heads = {k:v for k,v in kv.items() if k!="num_key_value_heads"}
gpt2 = dict(vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=0)
t5 = dict(
    vocab_size=V,
    d_model=32,
    d_kv=8,
    d_ff=64,
    num_layers=2,
    num_heads=4,
    decoder_start_token_id=0,
    pad_token_id=0,
    eos_token_id=1,
)
bart = dict(
    vocab_size=V,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    max_position_embeddings=128,
    decoder_start_token_id=2,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    forced_eos_token_id=None,
)
gemma = dict(kv, head_dim=8, sliding_window=8, query_pre_attn_scalar=8)
ARCH = dict(
    gpt2=gpt2,
    gpt_neo=dict(
        vocab_size=V,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=0,
    ),
    gpt_neox=heads,
    opt=dict(
        vocab_size=V,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        word_embed_proj_dim=32,
        max_position_embeddings=128,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=0,
    ),
    llama=kv,
    mistral=dict(kv, sliding_window=8),
    qwen2=kv,
    qwen3=dict(kv, head_dim=8),
    gemma2=gemma,
    gemma3_text=gemma,
    phi3=kv,
    smollm3=kv,
    olmo2=kv,
    bloom=dict(vocab_size=V, hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0),
    mamba=dict(
        vocab_size=V, hidden_size=32, num_hidden_layers=2, state_size=8, bos_token_id=0, eos_token_id=0, pad_token_id=0
    ),
    t5=t5,
    mt5=t5,
    bart=bart,
    pegasus=dict(bart, decoder_start_token_id=0),
)
TOGETHER = {"bart", "pegasus"}  # they count positions on their own: their rows begin together


@pytest.fixture(scope="module")
def codec(tok): return Codec(tok)

@pytest.fixture(scope="module")
def model():
    "A function that makes a tiny random model, wide awake: weights large enough that texts differ."
    made = {}
    def make(name):
        if name not in made:
            c = AutoConfig.for_model(name, **ARCH[name])
            with seeded(1):
                m = (AutoModelForSeq2SeqLM if c.is_encoder_decoder else AutoModelForCausalLM).from_config(c).eval()
                with torch.no_grad():
                    for p in m.parameters():
                        if p.dim()>1: p.mul_(3.)
            made[name] = wrap(m)
        return made[name]
    return make

def _theirs(m, ids, n, end):
    "Greedy ids by transformers' own generate."
    ids = torch.tensor([ids])
    config = GenerationConfig(
        max_new_tokens=n,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=end,
        decoder_start_token_id=getattr(m, "first", None),
    )
    out = m.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0].tolist()
    return out[ids.shape[1] if m.extends_prompt else 1:]


@pytest.mark.parametrize("name", ARCH)
def test_greedy_is_transformers_own(model, codec, name):
    "40 tokens after prompts of several lengths, alone and all in one batch."
    m, prompts = model(name), ["The sea", "a", "Once upon a midnight dreary, while I pondered"]
    w = Writer(
        m, codec, [codec.prompt_ids(p) for p in prompts], GenerateSettings(temperature=0, seed=0, max_new_tokens=40)
    )
    want = [_theirs(m, ids, 40, codec.end) for ids in w.prompts]
    assert {j.prompt: j.ids for done in w.run([(k,0) for k in range(3)]) for j in done}==dict(enumerate(want))
    assert [
        generate(m, codec, p, GenerateSettings(temperature=0, seed=0, max_new_tokens=40))[0].tokens for p in prompts
    ] == want


@pytest.mark.parametrize("name", ARCH)
def test_rows_are_given_on(model, codec, name):
    "12 texts in 3 rows are the texts that each is alone; only models that count positions themselves cannot."
    m = model(name)
    assert m.can_refill==(name not in TOGETHER)
    ask = dict(seed=2, temperature=1., max_new_tokens=25)
    together = [
        s.tokens
        for s in generate(m, codec, ["The sea", "A house by the sea"], GenerateSettings(n=6, batch_size=3, **ask))
    ]
    alone = [
        s.tokens
        for s in generate(m, codec, ["The sea", "A house by the sea"], GenerateSettings(n=6, batch_size=1, **ask))
    ]
    assert together==alone

@pytest.mark.parametrize("name", ARCH)
def test_the_batch_has_no_influence(model, codec, name):
    "Bit for bit, also past the context."
    m = model(name)
    ask = dict(seed=2, temperature=1., max_new_tokens=30, batch_invariant=True)
    many = [(s.tokens, s.logprob) for s in generate(m, codec, "The sea", GenerateSettings(n=40, **ask))]
    assert [
        (s.tokens, s.logprob) for s in generate(m, codec, "The sea", GenerateSettings(n=3, batch_size=2, **ask))
    ] == many[:3]


@pytest.mark.parametrize("name", ["gpt2", "mistral", "gemma2", "mamba", "t5", "bart"])
def test_longer_than_the_context(model, codec, name, monkeypatch):
    "Rows in different places slide each at its time; each text is what it is alone."
    m = model(name)
    monkeypatch.setattr(type(m), "context", 24)
    ask = dict(seed=2, temperature=1., max_new_tokens=70, min_new_tokens=50)
    together = [s.tokens for s in generate(m, codec, "The sea", GenerateSettings(n=7, batch_size=3, **ask))]
    assert together==[s.tokens for s in generate(m, codec, "The sea", GenerateSettings(n=7, batch_size=1, **ask))]

def test_nothing_knows_an_architecture():
    "No line of the loop names one."
    from pathlib import Path
    import textgen

    text = (Path(textgen.__file__).parent / "generation" / "loop.py").read_text().lower() + (
        Path(textgen.__file__).parent / "generation" / "sampling.py"
    ).read_text().lower()
    assert not [n for n in ("t5", "bart", "mamba", "llama", "mistral", "is_encoder_decoder", "seq2seq") if n in text]
