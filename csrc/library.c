// What the library says about itself: how its structures lie in memory, for which instruction set it was compiled, and
// (of the variant that runs everywhere) what this processor can do.
#include <stddef.h>
#include <string.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "native.h"

#ifndef TEXTGEN_ISA
#error "TEXTGEN_ISA is defined by csrc/variants.py"
#endif

typedef struct {
    const char *name;
    int64_t value;
} Entry;

#define SIZE(type) {#type, sizeof(type)}
#define FIELD(type, field) {#type "." #field, offsetof(type, field)}

static const Entry LAYOUT[] = {
    SIZE(Linear), FIELD(Linear, weight), FIELD(Linear, scale), FIELD(Linear, bias), FIELD(Linear, weight_sum),
    FIELD(Linear, in_features), FIELD(Linear, out_features), FIELD(Linear, blocks),
    SIZE(Norm), FIELD(Norm, weight), FIELD(Norm, bias), FIELD(Norm, eps), FIELD(Norm, size),
    SIZE(Layer), FIELD(Layer, norm), FIELD(Layer, qkv), FIELD(Layer, out), FIELD(Layer, mlp_norm), FIELD(Layer, up),
    FIELD(Layer, down), FIELD(Layer, cross_norm), FIELD(Layer, cross_query), FIELD(Layer, cross_out),
    FIELD(Layer, head_norm), FIELD(Layer, head_eps),
    SIZE(Model), FIELD(Model, embedding), FIELD(Model, positions), FIELD(Model, rope_cos), FIELD(Model, rope_sin),
    FIELD(Model, distance_bias), FIELD(Model, final_norm), FIELD(Model, head), FIELD(Model, layers), FIELD(Model, depth),
    FIELD(Model, width), FIELD(Model, hidden), FIELD(Model, heads), FIELD(Model, kv_heads), FIELD(Model, head_size),
    FIELD(Model, bias_length), FIELD(Model, bias_zero), FIELD(Model, is_encoder), FIELD(Model, activation),
    FIELD(Model, gated), FIELD(Model, vocabulary), FIELD(Model, half),
    SIZE(State), FIELD(State, kv_cache), FIELD(State, cross_kv), FIELD(State, positions), FIELD(State, token_rows),
    FIELD(State, prompt_lengths), FIELD(State, tokens), FIELD(State, rows), FIELD(State, capacity),
    FIELD(State, prompt_length),
    SIZE(Draw), FIELD(Draw, uniforms), FIELD(Draw, temperatures), FIELD(Draw, steps), FIELD(Draw, known), FIELD(Draw, ends),
    FIELD(Draw, n_ends), FIELD(Draw, min_steps), FIELD(Draw, rest_until), FIELD(Draw, top_k), FIELD(Draw, top_p), FIELD(Draw, least_logit),
    FIELD(Draw, penalty), FIELD(Draw, no_repeat), FIELD(Draw, sequences), FIELD(Draw, lengths), FIELD(Draw, begins),
    FIELD(Draw, stride), FIELD(Draw, spelling), FIELD(Draw, spelling_ends), FIELD(Draw, stops), FIELD(Draw, stop_ends),
    FIELD(Draw, n_stops),
    SIZE(Heads), FIELD(Heads, at), FIELD(Heads, row), FIELD(Heads, head), FIELD(Heads, token),
    FIELD(Heads, piece),
    SIZE(Attention), FIELD(Attention, query), FIELD(Attention, key), FIELD(Attention, value), FIELD(Attention, rows),
    FIELD(Attention, heads), FIELD(Attention, tokens), FIELD(Attention, size), FIELD(Attention, scale),
    SIZE(Block), FIELD(Block, weights), FIELD(Block, gradients), FIELD(Block, x), FIELD(Block, dy), FIELD(Block, y),
    FIELD(Block, dx), FIELD(Block, saved), FIELD(Block, rows), FIELD(Block, tokens), FIELD(Block, width),
    FIELD(Block, hidden), FIELD(Block, heads), FIELD(Block, by_tanh), FIELD(Block, scale), FIELD(Block, eps),
    FIELD(Block, mlp_eps),
    SIZE(Loss), FIELD(Loss, hidden), FIELD(Loss, weight), FIELD(Loss, labels), FIELD(Loss, losses), FIELD(Loss, down),
    FIELD(Loss, gradient), FIELD(Loss, tokens), FIELD(Loss, width), FIELD(Loss, vocabulary), FIELD(Loss, share),
};

// The name of entry i ("Linear": its size follows, "Linear.scale": an offset), null beyond the last; in bytes.
EXPORT const char *textgen_layout(int64_t i, int64_t *value) {
    if (i < 0 || i >= (int64_t)(sizeof(LAYOUT) / sizeof(LAYOUT[0]))) return 0;
    *value = LAYOUT[i].value;
    return LAYOUT[i].name;
}

EXPORT const char *textgen_isa(void) { return TEXTGEN_ISA; }

// 1 if several threads may be used.
EXPORT int64_t textgen_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

// 1 if this processor, and the system on it, can run the variant of this name.
EXPORT int64_t textgen_cpu_supports(const char *isa) {
    if (!strcmp(isa, "generic")) return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!strcmp(isa, "avx2")) return avx2;
    if (!strcmp(isa, "avx512")) return avx512;
    if (!strcmp(isa, "avx512-vnni")) return avx512 && __builtin_cpu_supports("avx512vnni");
#elif defined(__aarch64__) && defined(__linux__)
    enum { DOT_PRODUCT = 1 << 20 };  // HWCAP_ASIMDDP
    if (!strcmp(isa, "neon-dot")) return (getauxval(AT_HWCAP) & DOT_PRODUCT) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
    if (!strcmp(isa, "neon-dot")) return 1;  // every one of Apple's
#endif
    return 0;
}
