// Attention of one query over the keys and values of its row, and the caches they lie in.
//
// Values lie [position][head_size]. Keys lie in groups of sixteen positions, [position / 16][head_size][16]: the first
// numbers of sixteen keys side by side, then their second ones. So sixteen scores grow in one register, and none has to
// be added up across, which took twice the time of the multiplications. A cache has room for whole groups.
//
// A model in 8 bits keeps both in bfloat16: reading them takes half as long, and 8 bits of a number are as many as its
// inputs have.
#include <math.h>
#include <string.h>

#include "native.h"
#include "simd.h"

// Keys or values: float32, or bfloat16 where `half` is set.
typedef struct {
    void *at;
    int half;
} Kept;

INLINE Kept from_number(Kept kept, int64_t i) {
    return (Kept){(char *)kept.at + i * (kept.half ? 2 : 4), kept.half};
}

INLINE vpart load_kept(Kept from, int64_t i) {
    return from.half ? load_half((const uint16_t *)from.at + i) : load_part((const float *)from.at + i);
}

// Asks for what lies `ahead` of some numbers: keys and values of the head that comes next. Their memory is too short for
// the processor to guess that it goes on there.
INLINE void fetch_ahead(Kept from, int64_t i, int64_t n, int64_t ahead) {
    const char *at = (const char *)from_number(from, i + ahead).at;
    for (int64_t byte = 0; byte < n * (from.half ? 2 : 4); byte += 64) __builtin_prefetch(at + byte, 0, 3);
}

INLINE void keep(Kept to, int64_t i, float x) {
    if (to.half) ((uint16_t *)to.at)[i] = halved(x);
    else ((float *)to.at)[i] = x;
}

// scores[0..length], filled up to a whole group with -1e30.
INLINE void score_keys(const float *query, Kept keys, int64_t length, int64_t size, int64_t ahead, const float *bias,
                       float *scores) {
    for (int64_t j = 0; j < length; j += LANES, keys = from_number(keys, LANES * size)) {
        if (ahead) fetch_ahead(keys, 0, LANES * size, ahead);
        vpart s[4][PARTS];
        UNROLL for (int e = 0; e < 4; e++)
            UNROLL for (int p = 0; p < PARTS; p++) s[e][p] = (vpart){};
        for (int64_t i = 0; i < size; i += 4)
            UNROLL for (int e = 0; e < 4; e++)
                UNROLL for (int p = 0; p < PARTS; p++)
                    s[e][p] += query[i + e] * load_kept(keys, (i + e) * LANES + p * PART);
        UNROLL for (int p = 0; p < PARTS; p++)
            store_part(scores + j + p * PART, (s[0][p] + s[1][p]) + (s[2][p] + s[3][p]));
    }
    if (bias)
        for (int64_t j = 0; j < length; j++) scores[j] += bias[j];
    for (int64_t j = length; j % LANES; j++) scores[j] = -1e30f;
}

// scores -> e^(score - largest); returns what they are to be multiplied by to sum to 1.
INLINE float exponentiate(float *scores, int64_t length) {
    vpart largest = (vpart){} - 1e30f;
    Parts sum = {};
    int64_t whole = (length + LANES - 1) / LANES * LANES;
    for (int64_t j = 0; j < whole; j += PART) {
        vpart score = load_part(scores + j);
        largest = choose_part(score > largest, score, largest);
    }
    float tops[PART], top = -1e30f;
    store_part(tops, largest);
    UNROLL for (int i = 0; i < PART; i++) top = tops[i] > top ? tops[i] : top;
    for (int64_t j = 0; j < whole; j += LANES)
        UNROLL for (int p = 0; p < PARTS; p++) {
            vpart e = vexp_part(load_part(scores + j + p * PART) - top);
            store_part(scores + j + p * PART, e);
            sum.at[p] += e;
        }
    return 1.f / sum_lanes(joined(sum));
}

enum { COLUMNS = 4 * PART };  // numbers of a value that are summed at once, twice: 8 registers

// out [columns] = scale * sum of scores[j] * values[j]; even and odd positions are summed apart.
INLINE void mix_columns(const float *scores, Kept values, int64_t length, int64_t size, int64_t columns, float scale,
                        float *out) {
    vpart acc[2][COLUMNS / PART];
    UNROLL for (int64_t i = 0; i < columns / PART; i++) acc[0][i] = acc[1][i] = (vpart){};
    int64_t j = 0;
    for (; j + 2 <= length; j += 2)
        UNROLL for (int e = 0; e < 2; e++)
            UNROLL for (int64_t i = 0; i < columns / PART; i++)
                acc[e][i] += scores[j + e] * load_kept(values, (j + e) * size + i * PART);
    if (j < length)
        UNROLL for (int64_t i = 0; i < columns / PART; i++)
            acc[0][i] += scores[j] * load_kept(values, j * size + i * PART);
    UNROLL for (int64_t i = 0; i < columns / PART; i++) store_part(out + i * PART, (acc[0][i] + acc[1][i]) * scale);
}

INLINE void mix_values(const float *scores, Kept values, int64_t length, int64_t size, float scale, float *out) {
    int64_t c = 0;
    for (; c + COLUMNS <= size; c += COLUMNS)
        mix_columns(scores, from_number(values, c), length, size, COLUMNS, scale, out + c);
    if (COLUMNS > 2 * LANES && c + 2 * LANES <= size) {
        mix_columns(scores, from_number(values, c), length, size, 2 * LANES, scale, out + c);
        c += 2 * LANES;
    }
    for (; c < size; c += LANES) mix_columns(scores, from_number(values, c), length, size, LANES, scale, out + c);
}

INLINE void attend_size(const float *query, Kept keys, Kept values, int64_t length, int64_t size, int64_t ahead,
                        const float *bias, float *scores, float *out) {
    score_keys(query, keys, length, size, ahead, bias, scores);
    float scale = exponentiate(scores, length);
    if (ahead) fetch_ahead(values, 0, length * size, ahead);
    mix_values(scores, values, length, size, scale, out);
}

// Sums over a size that the compiler knows stay in registers.
INLINE void attend_kind(const float *query, Kept keys, Kept values, int64_t length, int64_t size, int64_t ahead,
                        const float *bias, float *scores, float *out) {
    if (size == 32) attend_size(query, keys, values, length, 32, ahead, bias, scores, out);
    else if (size == 64) attend_size(query, keys, values, length, 64, ahead, bias, scores, out);
    else if (size == 128) attend_size(query, keys, values, length, 128, ahead, bias, scores, out);
    else attend_size(query, keys, values, length, size, ahead, bias, scores, out);
}

// softmax(query keys' + bias) values, for one query that is already divided by sqrt(size).
// `length` keys and values; `scores` has room for `length` floats and the rest of its group of sixteen.
static void attend(const float *query, Kept keys, Kept values, int64_t length, int64_t size, int64_t ahead,
                   const float *bias, float *scores, float *out) {
    Kept half_keys = {keys.at, 1}, half_values = {values.at, 1}, whole_keys = {keys.at, 0}, whole_values = {values.at, 0};
    if (keys.half) attend_kind(query, half_keys, half_values, length, size, ahead, bias, scores, out);
    else attend_kind(query, whole_keys, whole_values, length, size, ahead, bias, scores, out);
}

// Rotary position of one head: the two halves of x turned against each other (RoFormer, arXiv 2104.09864).
// cos, sin: [size], the first half of sin negated.
static void rotate(float *x, int64_t size, const float *cos, const float *sin) {
    int64_t half = size / 2;
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] + b * sin[i];
        x[i + half] = b * cos[i + half] + a * sin[i + half];
    }
}

// RMSNorm of one head, in place (Qwen3 norms queries and keys so).
static void normalize_head(float *x, int64_t size, const float *weight, float eps) {
    vfloat squares = {};
    for (int64_t i = 0; i < size; i += LANES) {
        vfloat v = load(x + i);
        squares += v * v;
    }
    float scale = 1.f / sqrtf(sum_lanes(squares) / size + eps);
    for (int64_t i = 0; i < size; i += LANES) store(x + i, load(x + i) * (scale * load(weight + i)));
}

static int64_t row_of(const State *state, int64_t token) { return state->token_rows ? state->token_rows[token] : token; }

// Numbers of keys (or of values) in one layer of a cache with `heads` heads and `capacity` positions.
static int64_t layer_numbers(const Model *model, const State *state, int64_t heads, int64_t capacity) {
    return state->rows * heads * capacity * model->head_size;
}

// Where keys of a token's head begin in a layer of the cache, for token i / kv_heads and head i % kv_heads.
static Kept place(const Model *model, const State *state, int64_t depth, int64_t i) {
    int64_t size = model->head_size, kv_heads = model->kv_heads;
    int64_t all_keys = layer_numbers(model, state, kv_heads, state->capacity);
    int64_t slot = (row_of(state, i / kv_heads) * kv_heads + i % kv_heads) * state->capacity * size;
    return from_number((Kept){state->kv_cache, model->half}, 2 * depth * all_keys + slot);
}

// Puts keys and values of the new tokens into the cache. Where heads are normalized or positions are rotary, this is
// done first, to queries too, in `qkv` [tokens][heads + 2 * kv_heads][head_size].
void append_kv(const Model *model, const Layer *layer, const State *state, int64_t depth, float *qkv) {
    int64_t size = model->head_size, heads = model->heads, kv_heads = model->kv_heads;
    int64_t group = heads / kv_heads;  // queries that share keys
    int64_t all_keys = layer_numbers(model, state, kv_heads, state->capacity);
    Range mine = my_share(state->tokens * kv_heads);
    for (int64_t i = mine.begin; i < mine.end; i++) {
        int64_t token = i / kv_heads, head = i % kv_heads, position = state->positions[token];
        float *row = qkv + token * (heads + 2 * kv_heads) * size;
        float *queries = row + head * group * size;
        float *key = row + (heads + head) * size;
        float *value = key + kv_heads * size;
        Kept keys = place(model, state, depth, i);
        Kept values = from_number(keys, all_keys + position * size);
        if (layer->head_norm) {
            normalize_head(key, size, layer->head_norm + heads * size, layer->head_eps);
            for (int64_t e = 0; e < group; e++) normalize_head(queries + e * size, size, layer->head_norm, layer->head_eps);
        }
        if (model->rope_cos) {
            const float *cos = model->rope_cos + position * size, *sin = model->rope_sin + position * size;
            rotate(key, size, cos, sin);
            for (int64_t e = 0; e < group; e++) rotate(queries + e * size, size, cos, sin);
        }
        keys = from_number(keys, position / LANES * LANES * size + position % LANES);
        for (int64_t e = 0; e < size; e++) keep(keys, e * LANES, key[e]);
        for (int64_t e = 0; e < size; e++) keep(values, e, value[e]);
    }
    if (state->token_rows) meet();  // of one row there may be several tokens, and one looks at the others
}

// Each token looks at its row as far as itself (an encoder's at all of it): out [tokens][heads][head_size].
void self_attention(const Model *model, const State *state, int64_t depth, const float *qkv, float *out, float *scores) {
    int64_t size = model->head_size, heads = model->heads, kv_heads = model->kv_heads;
    int64_t group = heads / kv_heads;
    int64_t all_keys = layer_numbers(model, state, kv_heads, state->capacity);
    Range mine = my_share(state->tokens * kv_heads);
    for (int64_t i = mine.begin; i < mine.end; i++) {
        int64_t token = i / kv_heads, head = i % kv_heads, position = state->positions[token];
        int64_t length = model->is_encoder ? state->prompt_length : position + 1;
        Kept keys = place(model, state, depth, i), values = from_number(keys, all_keys);
        for (int64_t e = head * group; e < (head + 1) * group; e++) {
            const float *query = qkv + (token * (heads + 2 * kv_heads) + e) * size;
            const float *bias = 0;
            int64_t ahead = e == head * group && i + 1 < mine.end ? state->capacity * size : 0;
            if (model->distance_bias) bias = model->distance_bias + e * model->bias_length + model->bias_zero - position;
            attend(query, keys, values, length, size, ahead, bias, scores, out + (token * heads + e) * size);
        }
    }
    meet();
}

// Each token looks at what an encoder made of its row's prompt: query, out [tokens][heads][head_size].
void cross_attention(const Model *model, const State *state, int64_t depth, const float *query, float *out,
                     float *scores) {
    int64_t size = model->head_size, heads = model->heads;
    int64_t all_keys = layer_numbers(model, state, heads, state->prompt_length);
    Range mine = my_share(state->tokens * heads);
    for (int64_t i = mine.begin; i < mine.end; i++) {
        int64_t row = row_of(state, i / heads), head = i % heads;
        int64_t slot = (row * heads + head) * state->prompt_length * size;
        Kept keys = from_number((Kept){(void *)state->cross_kv, model->half}, 2 * depth * all_keys + slot);
        Kept values = from_number(keys, all_keys);
        attend(query + i * size, keys, values, state->prompt_lengths[row], size, 0, 0, scores, out + i * size);
    }
    meet();
}

// ---- each for itself, so that it can be compared with torch

EXPORT void textgen_attention(const float *query, const void *keys, const void *values, int64_t half, int64_t length,
                              int64_t size, const float *bias, float *scores, float *out) {
    Kept kept_keys = {(void *)keys, half}, kept_values = {(void *)values, half};
    attend(query, kept_keys, kept_values, length, size, 0, bias, scores, out);
}

EXPORT void textgen_rotate(float *x, int64_t heads, int64_t size, const float *cos, const float *sin) {
    for (int64_t h = 0; h < heads; h++) rotate(x + h * size, size, cos, sin);
}

EXPORT void textgen_head_norm(float *x, int64_t heads, int64_t size, const float *weight, float eps) {
    for (int64_t h = 0; h < heads; h++) normalize_head(x + h * size, size, weight, eps);
}
