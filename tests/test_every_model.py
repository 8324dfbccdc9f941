"Every model that transformers registers, tiny and random: it trains and writes as transformers does, or says why not."

from math import isfinite
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
    32: """hidden_size d_model n_embd dim emb_dim word_embed_proj_dim embedding_size attention_hidden_size lru_width
        embedding_dim hidden_size_global attention_head_size embed_dim cross_attention_hidden_size""",
    2: """num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers
        num_decoder_layers num_key_value_heads num_experts_per_tok num_experts_per_token moe_topk depth num_blocks""",
    4: """num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads
        num_encoder_attention_heads num_decoder_attention_heads num_experts num_local_experts n_routed_experts
        index_n_heads linear_num_heads linear_num_key_heads linear_num_value_heads zero_expert_num""",
    64: """intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim n_inner d_inner dff ffn_hidden_size
        sliding_window mamba_d_ssm intermediate_size_mlp feed_forward_size""",
    8: """head_dim d_kv d_head state_size qk_rope_head_dim qk_nope_head_dim v_head_dim index_head_dim linear_head_dim
        linear_key_head_dim linear_value_head_dim mamba_n_heads mamba_d_head mamba_d_state
        hidden_size_per_layer_input laurel_rank query_pre_attn_scalar index_topk""",
    400: "vocab_size src_vocab_size tgt_vocab_size decoder_vocab_size vocab_size_per_layer_input",
    16: """moe_intermediate_size shared_expert_intermediate_size kv_lora_rank q_lora_rank chunk_size mamba_chunk_size
        expert_ffn_hidden_size shared_intermediate_size router_hidden_size""",
    128: "max_position_embeddings n_positions max_seq_len model_max_length",
    1: "n_group topk_group num_expert_group",
    0: "pad_token_id decoder_start_token_id",
}.items(): TINY |= dict.fromkeys(names.split(), value)

ONE, THREE, FOUR = (dict(num_hidden_layers=n) for n in (1, 3, 4))  # so that one of the layers is of attention
LINEAR = dict(layer_types=["linear_attention", "full_attention"])
HYBRID = FOUR|dict(layers_block_type=["linear_attention", "hybrid"]*2)
ROPE = dict(rope_type="default", rope_theta=10000.)
INDEXER = dict(indexer_n_heads=4, indexer_kv_heads=1, indexer_head_dim=8, indexer_budget=16, indexer_compress_ratio=4)
HEADS = dict(head_dim=8)
SHARED = FOUR|dict(num_kv_shared_layers=2, layer_types=["sliding_attention", "full_attention"]*2)
MORE = dict(
    recurrent_gemma=THREE, lfm3=FOUR, qwen3_5_moe_text=FOUR, qwen3_5_text=FOUR, qwen3_next=FOUR,
    xlnet=dict(d_head=8), codegen=dict(rotary_dim=8), gptj=dict(rotary_dim=8),
    bamba=dict(attn_layer_indices=[1]), granitemoehybrid=LINEAR, kimi_linear=LINEAR, bailing_hybrid=LINEAR,
    gpt_neo=dict(attention_types=[[["global", "local"], 1]], window_size=8),
    mamba2=dict(num_heads=8, n_groups=1), jamba=dict(attn_layer_period=2, attn_layer_offset=1, mamba_dt_rank=4),
    zamba=HYBRID|dict(mamba_dt_rank=4, attention_hidden_size=64, attention_head_dim=16),
    zaya=dict(num_experts_per_tok=1),
    zamba2=HYBRID|dict(mamba_headdim=8, attention_hidden_size=64, attention_head_dim=16),
    hunyuan_v1_dense=HEADS, hunyuan_v1_moe=HEADS, ministral=HEADS, nemotron=HEADS|dict(num_key_value_heads=2),
    lfm2_moe=dict(layer_types=["conv", "full_attention"]), xmod=dict(default_language="en_XX"),
    dots1=dict(n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2),
    deepseek_v2=dict(num_experts_per_tok=2),
    dots3_note=dict(vision_config=dict(per_layer_config={}, adapter_in_dim=32, adapter_out_dim=32),
                    audio_config=dict(adapter_input_size=32, adapter_out_dim=32)),
    dbrx=dict(attn_config=dict(kv_n_heads=2, rope_theta=10000., clip_qkv=8.),
              ffn_config=dict(ffn_hidden_size=64, moe_top_k=2)),
    blt=dict(encoder_hash_byte_group_vocab=50), mllama=dict(text_config=dict(cross_attention_layers=[1])),
    cohere_compass_text=dict(rope_parameters=dict(full_attention=ROPE, sliding_attention=ROPE)),
    gemma3n_text=SHARED, gemma4_text=SHARED,
    reformer=dict(axial_pos_shape=[8, 16], axial_pos_embds_dim=[16, 16], attn_layers=["local", "lsh"], hash_seed=0,
                  axial_pos_embds=False, local_attn_chunk_length=8, lsh_attn_chunk_length=8, num_buckets=4),
    **{"encoder-decoder": dict(decoder=dict(is_decoder=True, add_cross_attention=True))},
    nemo_speechlm=dict(word_timestamp_config=dict(blank_token_id=0),
                       audio_config=dict(diarization_config=dict(head_config=dict(audio_hidden_size=32))),
                       text_config=dict(layer_types=["mamba", "attention"], mamba_num_heads=8, mamba_head_dim=8)),
    vibevoice_asr={f"{kind}_tokenizer_encoder_config": dict(num_filters=2, depths=[1]*7)
                   for kind in ("acoustic", "semantic")},
    gemma4_unified_assistant=dict(text_config=dict(num_kv_shared_layers=2)),
    qwen3_5=dict(text_config=FOUR), qwen3_5_moe=dict(text_config=FOUR), qwen4_exp=dict(text_config=FOUR|INDEXER),
    qwen4_exp_text=FOUR|INDEXER, xlstm=dict(hidden_size=128, embedding_dim=128),
)
NO_LAYER_INPUT = dict(hidden_size_per_layer_input=0, vocab_size_per_layer_input=0)
FIRST = dict(gemma4_assistant=dict(text_config=NO_LAYER_INPUT|dict(model_type="gemma4_text")))
MORE["gemma4_assistant"] = dict(text_config=NO_LAYER_INPUT|dict(num_kv_shared_layers=2))
SOME = ["openai-gpt", "xlm", "rwkv", "recurrent_gemma", "mpt", "xlnet", "bert", "switch_transformers", "nllb-moe",
        "led", "bamba", "deepseek_v32", "voxtral", "xlstm", "roberta", "encoder-decoder",
        "reformer"]

AHEAD = "looks at the words that follow"
REFUSED = {name: AHEAD for name in ("xlnet", "xlm", "cpmant")}
REFUSED["voxtral_realtime"] = "reads no plain text"
REFUSED["reformer"] = "seeds torch's global generator"
NO_WRITER = "no model that writes for a"
UNMADE = {name: NO_WRITER for name in ("whisper", "musicgen", "musicgen_melody")}  # of sound
UNMADE |= {name: "layer types producing a cache" for name in ("gemma4_assistant", "gemma4_unified_assistant")}
UNMADE["gemma3n"] = "requires the timm library"
COUNTS = "transformers' generate counts their positions from 0, the model itself from its padding token on"
ROBERTAS = "camembert data2vec-text roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl xmod".split()
DIFFER = dict.fromkeys(ROBERTAS, COUNTS)|dict(
    blt="transformers' generate looks for `num_hidden_layers`, which its configuration has not",
    recurrent_gemma="transformers' generate keeps its state in the model, and goes on from the text before",
)

def _small(known):
    "What makes a configuration small, and those that are nested in it."
    made = {k: v for k,v in TINY.items() if known.get(k)}
    nested = {k: v for k,v in known.items() if isinstance(v, dict) and "model_type" in v}
    made |= {k: _small(v)|dict(model_type=v["model_type"]) for k,v in nested.items()}
    if "layer_types" in known: made["layer_types"] = None
    if "kv_lora_rank" in known: made["num_key_value_heads"] = 4
    return made

CONTEXTS = dict.fromkeys("""bloom falcon_mamba led longt5 mamba mamba2 mt5 recurrent_gemma rwkv switch_transformers t5
    umt5 xlstm""".split(), 1024)  # without a limit, or with another

def _joined(made, more):
    "A configuration's settings and more of them, nested ones too."
    both = {k: _joined(made[k], v) for k,v in more.items() if isinstance(v, dict) and k in made}
    return made|more|both

def _config(name):
    "A small configuration, of a whole model or of its decoder alone."
    name, _, half = name.partition("/")
    default = AutoConfig.for_model(name, **FIRST.get(name, {}))
    known = default.to_dict()
    made = _small(known)
    is_number = isinstance(getattr(default, "num_hidden_layers", None), int) and name!="prophetnet"
    if is_number and "num_hidden_layers" not in known: made["num_hidden_layers"] = 2
    made |= dict(pad_token_id=0, bos_token_id=0, eos_token_id=0, forced_eos_token_id=None)
    is_bert = known.get("is_decoder") is False and not default.is_encoder_decoder and name!="gpt_neox"
    if is_bert or half: made["is_decoder"] = True
    if half: made["is_encoder_decoder"] = False
    return AutoConfig.for_model(name, **_joined(made, MORE.get(name, {})))

def _theirs(tg, ids, n):
    "Greedy ids by transformers' own generate."
    given = torch.tensor([ids])
    start = None if tg.kind=="causal" else tg.wrapped.first
    config = GenerationConfig(max_new_tokens=n, do_sample=False, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                              min_new_tokens=n, decoder_start_token_id=start)
    tg.model.generation_config = GenerationConfig()
    out = tg.model.generate(given, attention_mask=torch.ones_like(given), generation_config=config)[0].tolist()
    return out[len(ids):] if tg.kind=="causal" else out[1:]

def _again(tg, ids, n):
    "Greedy ids, where all tokens are read anew for each."
    more = {} if tg.kind=="causal" else dict(input_ids=torch.tensor([ids]))
    start = ids if tg.kind=="causal" else [tg.wrapped.first]
    name = "input_ids" if tg.kind=="causal" else "decoder_input_ids"
    written = []
    for _ in range(n):
        with torch.no_grad():
            logits = tg.model(**more, **{name: torch.tensor([[*start, *written]])}, use_cache=False).logits[0,-1]
        logits[0] = -torch.inf
        written.append(int(logits.argmax()))
    return written

def _model(name):
    "A tiny model with weights large enough that texts differ."
    config = _config(name)
    with making_models(), seeded(1): model = auto_class(config).from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim()>1: p.mul_(2.)
    return model

def _check(name, model, tok, data):
    "It is refused, or writes as transformers does, alone and beside others, and trains two steps."
    if name in REFUSED:
        with pytest.raises(ModelError, match=REFUSED[name]): TextGen(model, tok, device="cpu")
        return
    tg = TextGen(model, tok, device="cpu")
    assert tg.context==CONTEXTS.get(name, 128)
    prompts, n = ["The sea is", "I"], 10
    ids = [tg.codec.prompt_ids(o) if tg.kind=="causal" else tg.codec.input_ids(o) for o in prompts]
    want = [(_again if name in DIFFER else _theirs)(tg, o, n) for o in ids]
    ask = dict(temperature=0, seed=0, max_new_tokens=n, min_new_tokens=n)
    assert tg.generate(prompts[0], **ask)[0].tokens==want[0]
    assert [s.tokens for s in tg.generate(prompts, n=2, batch_size=3, **ask)]==[want[0], want[0], want[1], want[1]]
    run = tg.train(data, steps=2, batch_size=2, window=16, sample_every=0, view=NoView())
    assert len(run.losses)==2 and all(isfinite(loss) for loss in run.losses)


@pytest.mark.parametrize("name", SOME)
def test_unusual_models(name, tok, data):
    "Without a cache that can be used, with positions or an index of its own, with a context under another name."
    _check(name, _model(name), tok, data)

@pytest.mark.parametrize("how, says", [
    (dict(is_decoder=False), "decoder looks at the words that follow; set is_decoder to true in the 'decoder'"),
    (dict(add_cross_attention=False), "decoder does not look at the encoder; set add_cross_attention to true")])
def test_a_decoder_that_cannot_answer(how, says, tok, tmp_path):
    "New, and from a folder: before any weight is read."
    config = _config("encoder-decoder")
    for name,value in how.items(): setattr(config.decoder, name, value)
    with pytest.raises(ModelError, match=says): TextGen.new(config, tok)
    TextGen(_model("encoder-decoder"), tok, device="cpu").save(tmp_path/"m")
    config.save_pretrained(tmp_path/"m")
    with pytest.raises(ModelError, match=says): TextGen(tmp_path/"m", device="cpu")

def test_beyond_the_context_of_mpt(tok):
    "Its context is called `max_seq_len`; a text may be longer."
    tg = TextGen(_model("mpt"), tok, device="cpu")
    assert tg.context==128
    ask = dict(temperature=0, seed=0, max_new_tokens=150, min_new_tokens=150)
    one, = tg.generate("The sea", **ask)
    assert len(one.tokens)==150
    fixed = tg.generate("The sea", n=3, batch_invariant=True, **ask)
    assert [s.tokens for s in fixed]==[one.tokens]*3


# ---- all of them
DECODERS = {f"{name}/decoder" for name in {*CAUSAL}&{*SEQ2SEQ}}  # BartForCausalLM and its like

def _check_unmade(name, tok):
    "transformers makes no such model, and `TextGen` says so."
    with pytest.raises(ModelError, match=UNMADE[name]): TextGen.new(_config(name), tok)

@pytest.mark.slow
def test_all(tok, data):
    "Each model; all that fail are named at once."
    failed = {}
    for name in sorted({*CAUSAL, *SEQ2SEQ, *DECODERS}):
        try:
            if name in UNMADE: _check_unmade(name, tok)
            else: _check(name, _model(name), tok, data)
        except (Exception, pytest.fail.Exception) as e: failed[name] = f"{type(e).__name__}: {e}"[:200]
    assert not failed
