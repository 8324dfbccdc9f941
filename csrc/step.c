// One pass of a model over some tokens. A decode step reads one token in each row; of a prompt there are many in a row;
// an encoder is the same again, except that it looks both ways and keeps nothing.
#include <string.h>

#include "native.h"
#include "simd.h"

static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// The widest input of any linear layer.
static int64_t widest(const Model *model) {
    return max(max(model->width, model->hidden), model->heads * model->head_size);
}

static int64_t qkv_width(const Model *model) { return (model->heads + 2 * model->kv_heads) * model->head_size; }

// Floats that all threads share: activations of every token, and the prepared inputs of a product (as floats, as bytes
// and a number a row, hence twice the width and a few vectors).
static int64_t shared_floats(const Model *model, const State *state) {
    int64_t activations = model->width + qkv_width(model) + model->heads * model->head_size + 2 * model->hidden;
    return state->tokens * (activations + 2 * widest(model) + 4 * LANES);
}

static int64_t score_floats(const State *state) { return state->capacity + state->prompt_length + 2 * LANES; }

// Floats that one thread needs for itself: scores, and prepared inputs of fewer than `4 * threads` rows.
static int64_t thread_floats(const Model *model, const State *state, int64_t threads) {
    int64_t rows = state->tokens < 4 * threads ? state->tokens : 4 * threads;
    return score_floats(state) + 2 * rows * (widest(model) + LANES) + 2 * LANES;
}

int64_t step_floats(const Model *model, const State *state, int64_t threads) {
    return shared_floats(model, state) + threads * thread_floats(model, state, threads);
}

// What every token has between layers and within one.
typedef struct {
    float *hidden;    // [tokens][width]
    float *qkv;       // [tokens][heads + 2 * kv_heads][head_size]
    float *attended;  // [tokens][heads][head_size]
    float *up;        // [tokens][hidden], gated: [tokens][2 * hidden]
} Activations;

static void read_layer(const Model *model, const State *state, int64_t depth, Activations a, float *scores,
                       Workspace work) {
    const Layer *layer = model->layers + depth;
    int64_t tokens = state->tokens;
    int64_t cached = model->is_encoder ? 0 : depth;  // an encoder uses the room of one layer again and again
    Output to_qkv = {a.qkv, layer->qkv.out_features, 0, NONE};
    Output to_query = {a.qkv, model->heads * model->head_size, 0, NONE};
    Output to_up = {a.up, layer->up.out_features, 0, model->gated ? NONE : model->activation};
    Output to_hidden = {a.hidden, model->width, 1, NONE};

    apply_linear(&layer->qkv, &layer->norm, NONE, a.hidden, tokens, work, to_qkv);
    append_kv(model, layer, state, cached, a.qkv);
    self_attention(model, state, cached, a.qkv, a.attended, scores);
    apply_linear(&layer->out, 0, NONE, a.attended, tokens, work, to_hidden);
    if (layer->cross_norm.size) {
        apply_linear(&layer->cross_query, &layer->cross_norm, NONE, a.hidden, tokens, work, to_query);
        cross_attention(model, state, depth, a.qkv, a.attended, scores);
        apply_linear(&layer->cross_out, 0, NONE, a.attended, tokens, work, to_hidden);
    }
    apply_linear(&layer->up, &layer->mlp_norm, NONE, a.hidden, tokens, work, to_up);
    apply_linear(&layer->down, 0, model->gated ? model->activation : NONE, a.up, tokens, work, to_hidden);
}

// hidden [tokens][width] = embedding + learned position
static void embed(const Model *model, const State *state, const int64_t *tokens, float *hidden) {
    int64_t width = model->width;
    Range mine = my_share(state->tokens);
    for (int64_t r = mine.begin; r < mine.end; r++) {
        const float *token = model->embedding + tokens[r] * width;
        const float *position = model->positions ? model->positions + state->positions[r] * width : 0;
        for (int64_t i = 0; i < width; i++) hidden[r * width + i] = token[i] + (position ? position[i] : 0);
    }
    meet();
}

// Logits [picked][out_features], or, of an encoder, its output [picked][width].
static void finish(const Model *model, const float *hidden, int64_t picked, Workspace work, float *out) {
    if (model->head.weight) {
        Output to = {out, model->head.out_features, 0, NONE};
        apply_linear(&model->head, &model->final_norm, NONE, hidden, picked, work, to);
        return;
    }
    Range mine = my_share(picked);
    for (int64_t r = mine.begin; r < mine.end; r++)
        normalize(&model->final_norm, hidden + r * model->width, out + r * model->width);
}

// Moves the hidden states of the tokens in `pick`, which ascend, to the front.
static void gather(float *hidden, int64_t width, const int64_t *pick, int64_t picked) {
    if (omp_get_thread_num() == 0)
        for (int64_t r = 0; r < picked; r++) memmove(hidden + r * width, hidden + pick[r] * width, width * sizeof(float));
    meet();
}

// Whether the model has an embedding for each token.
int are_known(const Model *model, const int64_t *tokens, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= model->vocabulary) return 0;
    return 1;
}

// What a thread does of a pass; the threads meet at its end.
void read_tokens(const Pass *pass) {
    const Model *model = pass->model;
    const State *state = pass->state;
    int64_t n = state->tokens;
    Activations a = {.hidden = pass->work};
    a.qkv = a.hidden + n * model->width;
    a.attended = a.qkv + n * qkv_width(model);
    a.up = a.attended + n * model->heads * model->head_size;
    float *shared = a.up + n * 2 * model->hidden;
    float *scores = pass->work + shared_floats(model, state);
    scores += omp_get_thread_num() * thread_floats(model, state, pass->threads);
    Workspace mine = {scores + score_floats(state), shared};
    embed(model, state, pass->tokens, a.hidden);
    for (int64_t depth = 0; depth < model->depth; depth++) read_layer(model, state, depth, a, scores, mine);
    if (pass->pick) gather(a.hidden, model->width, pass->pick, pass->picked);
    finish(model, a.hidden, pass->picked, mine, pass->out);
}

static void step(void *pass) { read_tokens(pass); }

// Reads the tokens and writes to `out` what comes of those in `pick`. Returns -1, with nothing read, where a token is
// not in the vocabulary.
EXPORT int64_t textgen_step(const Model *model, const State *state, const int64_t *tokens, const int64_t *pick,
                            int64_t picked, float *out, float *work, int64_t threads) {
    if (!are_known(model, tokens, state->tokens)) return -1;
    Pass pass = {model, state, tokens, pick, picked, out, work, threads};
    together(step, &pass, threads);
    return 0;
}
