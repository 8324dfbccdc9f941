// What the files share: the structures that Python fills in, and the functions that cross from one file to another.
//
// `CStruct` and those after it in nbs/generation/39_kernels.ipynb declare the same structures for ctypes, field by field and by the same
// names; library.c exports their sizes and offsets, and Python compares them before anything is called.
// All numbers are float32 unless said otherwise; all widths are multiples of LANES.
#ifndef TEXTGEN_NATIVE_H
#define TEXTGEN_NATIVE_H

#include <stdint.h>

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#define omp_get_num_threads() 1
#endif

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

// ---- structures shared with Python

// y = x W' + b. The weight lies in blocks of 16 outputs.
//   float32: [blocks][in_features][16]
//   int8:    [blocks][in_features / 4][16][4]: four inputs of an output together; `scale` is not null
typedef struct {
    const void *weight;
    const float *scale;         // [blocks * 16], int8 only: the largest absolute weight of an output / 127^2
    const float *bias;          // [blocks * 16], zeros where there is none
    const int32_t *weight_sum;  // [blocks * 16], int8 only: 128 times the sum of each output's weights
    int64_t in_features, out_features, blocks;
} Linear;

typedef struct {
    const float *weight;  // [size]
    const float *bias;    // [size]: LayerNorm; null: RMSNorm
    float eps;
    int64_t size;
} Norm;

typedef struct {
    Norm norm;
    Linear qkv, out;  // queries (already divided by sqrt(head_size)), keys and values side by side
    Norm mlp_norm;
    Linear up, down;  // of a gated layer `up` makes gate and value side by side
    Norm cross_norm;  // size 0: no cross-attention
    Linear cross_query, cross_out;
    const float *head_norm;  // [heads + kv_heads][head_size], null: heads of queries and keys are not normalized
    float head_eps;
} Layer;

typedef struct {
    const float *embedding;           // [vocabulary][width]
    const float *positions;           // [context][width], null: no learned positions
    const float *rope_cos, *rope_sin; // [context][head_size], null: no rotary positions; sin's first half negated
    const float *distance_bias;       // [heads][bias_length], null: scores know no distance (T5's do)
    Norm final_norm;
    Linear head;  // weight null: an encoder, whose output is the normalized hidden state
    const Layer *layers;
    int64_t depth, width, hidden, heads, kv_heads, head_size;
    int64_t bias_length, bias_zero;  // of `distance_bias`, and where in it the distance 0 stands
    int64_t is_encoder;              // attention looks both ways, and keys and values are not kept
    int64_t activation, gated, vocabulary;
    int64_t half;  // keys and values are kept in bfloat16
} Model;

typedef struct {
    void *kv_cache;                 // [layers][2][rows][kv_heads][capacity][head_size]; keys in groups, see attention.c
    const void *cross_kv;           // [layers][2][rows][heads][prompt_length][head_size], keys in groups; or null
    const int64_t *positions;       // [tokens]: the position of each token in its row
    const int64_t *token_rows;      // [tokens]: its row; null: token i is in row i
    const int64_t *prompt_lengths;  // [rows]: how much of `cross_kv` is in use; null without one
    int64_t tokens, rows, capacity;
    int64_t prompt_length;          // places of `cross_kv`; of an encoder: how many tokens each row has
} State;

// What is drawn, and how. Where nothing depends on what was written, `sequences` is null.
typedef struct {
    const double *uniforms;  // [rows][steps]
    float *temperatures;     // [rows]; 0: the likeliest token; below 0: nothing is written; becomes -1 where a row ends
    int64_t steps;           // tokens in each row at most
    int64_t known;           // only the first so many tokens of the vocabulary may be drawn
    const int64_t *ends;     // [n_ends]: the tokens that end a text
    int64_t n_ends;
    const int64_t *min_steps;  // [rows]: so many steps before one of them may be drawn; null: none
    int64_t rest_until;      // stop as soon as so many rows have ended
    int64_t top_k;           // 0: all
    double top_p;            // 1: all
    float least_logit;       // of a token, relative to the likeliest: the logarithm of min-p; -infinity: any
    float penalty;           // of tokens that are in the sequence; 1: none
    int64_t no_repeat;       // no run of so many tokens comes twice; 0: it may
    int64_t *sequences;      // [rows][stride]: the tokens so far; grow with each that is drawn
    int64_t *lengths;        // [rows]: how many these are
    const int64_t *begins;   // [rows]: where in them the text begins; what is before was the prompt
    int64_t stride;
    const uint8_t *spelling;       // the bytes of all tokens
    const int64_t *spelling_ends;  // [known + 1]: token i has the bytes from [i] to [i + 1]
    const uint8_t *stops;          // the bytes of all stop strings
    const int64_t *stop_ends;      // [n_stops + 1]
    int64_t n_stops;
} Draw;

// Heads of all tokens, [rows][heads][tokens][size] in any order that leaves sixteen numbers of a head side by side.
typedef struct {
    const float *at;
    int64_t row, head, token, piece;  // how far from one to the next; a piece is 16 numbers of a head
} Heads;

// Attention of every token to itself and those before it.
typedef struct {
    Heads query, key, value;
    int64_t rows, heads, tokens, size;
    float scale;
} Attention;

// A block of GPT-2 while it is trained. The parts are norm, qkv, out, mlp_norm, up, down; of each come the weight and
// the bias. Weights of products are [in][out]; x, y and their gradients [rows][tokens][width].
typedef struct {
    const float *weights[12];
    float *gradients[12];  // of them; null where none is asked for
    const float *x, *dy;
    float *y, *dx;
    float *saved;  // [rows * tokens * (5 * width + hidden + heads)], from the forward pass for the backward pass
    int64_t rows, tokens, width, hidden, heads, by_tanh;
    float scale, eps, mlp_eps;
} Block;

// The loss of hidden states times output weights.
typedef struct {
    const float *hidden, *weight;  // [tokens][width], [vocabulary][width]
    const int64_t *labels;         // [tokens], below 0: does not count
    float *losses;                 // [tokens]
    float *down, *gradient;        // of hidden and weight; of the latter null where none is asked for
    int64_t tokens, width, vocabulary;
    float share;                   // what a token that counts is multiplied by
} Loss;

// ---- inside the library

// Where a product goes: rows of `stride` floats, added to what is there if `add`, through `activation` unless it is NONE.
enum { NONE = -1 };
typedef struct {
    float *to;
    int64_t stride;
    int add;
    int64_t activation;
} Output;

// Memory to prepare inputs in: a thread's own, and everybody's.
typedef struct {
    float *own, *shared;
} Workspace;

typedef struct {
    int64_t begin, end;
} Range;

// The part of n things that falls to the calling thread.
static inline Range my_share(int64_t n) {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    return (Range){n * thread / threads, n * (thread + 1) / threads};
}

// team.c
void together(void (*part)(void *), void *whole, int64_t threads);
void meet(void);

// prepare.c
// Inputs of a product of bytes: signed where that suits the instruction (CENTERED), else 128 is zero.
#if defined(__ARM_FEATURE_DOTPROD) || defined(__AVX2__) && !defined(__AVX512VNNI__)
enum { CENTERED = 1 };
#else
enum { CENTERED = 0 };
#endif

// Bytes of an input. With AVX2's instruction there are two, its size and a mask of its sign, in fours: four sizes and then
// their masks, so that a tile need not make them again and again.
#if defined(__AVX2__) && !defined(__AVX512VNNI__)
enum { INPUT_BYTES = 2 };
#else
enum { INPUT_BYTES = 1 };
#endif

// What belongs to a row of bytes: its largest absolute input, and the sum of the bytes below zero without their sign.
typedef struct {
    float top;
    int32_t negative;
} ByteRow;

void normalize(const Norm *norm, const float *x, float *y);
void gate(const float *x, int64_t n, int64_t activation, float *y);
ByteRow quantize(const float *x, int64_t n, uint8_t *q);
void apply_linear(const Linear *linear, const Norm *norm, int64_t gate_by, const float *x, int64_t rows, Workspace work,
                  Output out);

// linear.c; called by all threads of a team, which meet at its end
void multiply(const Linear *linear, const void *x, const ByteRow *byte_rows, int64_t rows, Output out);

// attention.c
void append_kv(const Model *model, const Layer *layer, const State *state, int64_t depth, float *qkv);
void self_attention(const Model *model, const State *state, int64_t depth, const float *qkv, float *out, float *scores);
void cross_attention(const Model *model, const State *state, int64_t depth, const float *query, float *out, float *scores);

// step.c; a pass over the tokens of a state, whose outputs go to `out`: of those in `pick` [picked], or of all (null)
typedef struct {
    const Model *model;
    const State *state;
    const int64_t *tokens, *pick;
    int64_t picked;
    float *out, *work;
    int64_t threads;
} Pass;
int64_t step_floats(const Model *model, const State *state, int64_t threads);
int are_known(const Model *model, const int64_t *tokens, int64_t n);
void read_tokens(const Pass *pass);

// training.c; one head of one row
typedef struct {
    Heads query, key, value;
} HeadGradients;
EXPORT int64_t textgen_attention_floats(int64_t tokens, int64_t size);
void attend_head(const Attention *a, int64_t row, int64_t head, float *work, const Heads *out, float *logarithms);
void attend_head_backward(const Attention *a, const Heads *up, const float *logarithms, int64_t row, int64_t head,
                          float *work, const HeadGradients *down);

// draw.c
int64_t draw_floats(int64_t vocabulary);
int64_t draw_token(const float *logits, int64_t vocabulary, const Draw *how, int64_t row, int64_t step, float *work,
                   float *logprob);

// filters.c
int64_t filter_floats(int64_t vocabulary);
int64_t draw_filtered(const float *logits, int64_t n, const Draw *how, float temperature, float top, double uniform,
                      float *work);

// rules.c
int is_end(const Draw *how, int64_t token);
int has_rules(const Draw *how, int64_t row, int64_t step);
void apply_rules(const float *logits, int64_t n, const Draw *how, int64_t row, int64_t step, float *allowed);
int meets_stop(const Draw *how, int64_t row);

#endif
