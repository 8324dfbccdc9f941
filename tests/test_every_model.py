"Every model that transformers registers, tiny and random: it trains and writes as transformers does, or says why not."

import pytest
import torch
from transformers import AutoConfig, GenerationConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES as SEQ2SEQ,
)

from textgen import ModelError, TextGen
from textgen.models.build import auto_class, making_models, seeded
from textgen.training.callback import NoView

TINY = {}
for value,names in {
    32: "hidden_size d_model n_embd dim emb_dim word_embed_proj_dim embedding_size attention_hidden_size lru_width",
    2: """num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers
        num_decoder_layers num_key_value_heads num_experts_per_tok""",
    4: """num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads
        num_encoder_attention_heads num_decoder_attention_heads num_experts num_local_experts n_routed_experts""",
    64: """intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim n_inner d_inner dff ffn_hidden_size
        sliding_window""",
    8: "head_dim d_kv d_head state_size",
    400: "vocab_size src_vocab_size tgt_vocab_size",
    16: "moe_intermediate_size shared_expert_intermediate_size",
    128: "max_position_embeddings n_positions max_seq_len",
    1: "n_group topk_group",
}.items(): TINY |= dict.fromkeys(names.split(), value)

THREE, FOUR = (dict(num_hidden_layers=n) for n in (3, 4))  # so that one of the layers is of attention
MORE = dict(
    recurrent_gemma=THREE, lfm3=FOUR, qwen3_5_moe_text=FOUR, qwen3_5_text=FOUR, qwen3_next=FOUR,
    xlnet=dict(d_head=8), codegen=dict(rotary_dim=8), gptj=dict(rotary_dim=8),
)
SOME = ["openai-gpt", "rwkv", "recurrent_gemma", "mpt", "xlnet", "bert", "switch_transformers", "nllb-moe", "led"]

AHEAD = "looks at the words that follow"
REFUSED = {name: AHEAD for name in ("xlnet", "xlm", "cpmant")}
COUNTS = "transformers' generate counts their positions from 0, the model itself from its padding token on"
DIFFER = {
    name: COUNTS
    for name in ("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl")
}

def _config(name):
    "A small configuration."
    default = AutoConfig.for_model(name)
    known = default.to_dict()
    made = {k: v for k,v in TINY.items() if known.get(k) is not None}
    made |= {k: 2 for k in ("num_hidden_layers",) if hasattr(default, k) and k not in known}
    made |= dict(pad_token_id=0, bos_token_id=0, eos_token_id=0, forced_eos_token_id=None)
    if "layer_types" in known: made["layer_types"] = None
    is_bert = known.get("is_decoder") is False and not default.is_encoder_decoder and name!="gpt_neox"
    if is_bert: made["is_decoder"] = True
    return AutoConfig.for_model(name, **made|MORE.get(name, {}))

def _theirs(tg, ids, n):
    "Greedy ids by transformers' own generate."
    given = torch.tensor([ids])
    start = None if tg.kind=="causal" else tg.wrapped.first
    config = GenerationConfig(max_new_tokens=n, do_sample=False, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                              min_new_tokens=n, decoder_start_token_id=start)
    tg.model.generation_config = GenerationConfig()
    out = tg.model.generate(given, attention_mask=torch.ones_like(given), generation_config=config)[0].tolist()
    return out[len(ids):] if tg.kind=="causal" else out[1:]

def _model(name):
    "A tiny model with weights large enough that texts differ."
    config = _config(name)
    with making_models(), seeded(1): model = auto_class(config).from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim()>1: p.mul_(2.)
    return model

def _check(name, model, tok, data):
    "It is refused, or writes as transformers does and trains two steps."
    if name in REFUSED:
        with pytest.raises(ModelError, match=REFUSED[name]): TextGen(model, tok, device="cpu")
        return
    tg = TextGen(model, tok, device="cpu")
    prompt, n = "The sea is", 10
    ids = tg.codec.prompt_ids(prompt) if tg.kind=="causal" else tg.codec.input_ids(prompt)
    want = None if name in DIFFER else _theirs(tg, ids, n)
    ask = dict(temperature=0, seed=0, max_new_tokens=n, min_new_tokens=n)
    one, two = tg.generate(prompt, **ask)[0].tokens, [s.tokens for s in tg.generate(prompt, n=2, **ask)]
    assert two==[one]*2 and (want is None or one==want)
    run = tg.train(data, steps=2, batch_size=2, window=16, sample_every=0, view=NoView())
    assert len(run.losses)==2 and all(loss==loss for loss in run.losses)


@pytest.mark.parametrize("name", SOME)
def test_unusual_models(name, tok, data):
    "Without a cache, with encoder outputs of its own, with a context under another name."
    _check(name, _model(name), tok, data)

def test_beyond_the_context_of_mpt(tok):
    "Its context is called `max_seq_len`; a text may be longer."
    tg = TextGen(_model("mpt"), tok, device="cpu")
    assert tg.context==128
    assert len(tg.generate("The sea", temperature=0, seed=0, max_new_tokens=150, min_new_tokens=150)[0].tokens)==150


# ---- all of them
UNTRIED = """
    audioflamingo3 axk1 axk2 bailing_hybrid bamba blt cohere_compass_text dbrx deepseek_v2 deepseek_v3
    deepseek_v32 dots1 dots3_note dots3_note_text emu3 encoder-decoder falcon_h1 fuyu gemma3 gemma3n
    gemma3n_text gemma4 gemma4_assistant gemma4_text gemma4_unified gemma4_unified_assistant gemma4_unified_text
    git glm4_moe_lite glm_moe_dsa glmasr got_ocr2 gpt_neo granite_speech granite_speech_plus granitemoehybrid
    hunyuan_v1_dense hunyuan_v1_moe jamba kimi_linear lfm2_moe llama4 longcat_flash mamba2 marian minicpm3
    ministral mllama moss_transcribe_diarize musicflamingo musicgen musicgen_melody nemo_speechlm nemotron
    phi4_multimodal prophetnet qwen2_audio qwen3_5 qwen3_5_moe qwen3_asr qwen4_exp qwen4_exp_text reformer
    t5gemma t5gemma2 vibevoice_asr voxtral voxtral_realtime whisper xlstm xmod youtu zamba zamba2 zaya
    """.split()  # nested or strict configurations that these few names do not make small; those of sound and pictures

@pytest.mark.slow
def test_all(tok, data):
    "Each other model; all that fail are named at once."
    failed = {}
    for name in sorted({*CAUSAL, *SEQ2SEQ}-{*UNTRIED}):
        try: _check(name, _model(name), tok, data)
        except Exception as e: failed[name] = f"{type(e).__name__}: {e}"[:200]
    assert not failed
