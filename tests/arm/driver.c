// Prints what the kernels make of the same inputs on any processor: tests/test_arm.py compares two of them.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"

int64_t textgen_linear_floats(const Linear *, int64_t, int64_t);
void textgen_linear(const Linear *, const float *, int64_t, float *, float *, int64_t);
void textgen_activation(const float *, int64_t, int64_t, float *);
void textgen_norm(const Norm *, const float *, int64_t, float *);
void textgen_quantize(const float *, int64_t, int64_t, uint8_t *, float *);
void textgen_attention(const float *, const void *, const void *, int64_t, int64_t, int64_t, const float *, float *, float *);
int64_t textgen_draw(const float *, int64_t, const Draw *, int64_t, int64_t, float *, float *);
void textgen_gelu(const float *, int64_t, int64_t, float *, int64_t);
void textgen_gelu_backward(const float *, const float *, int64_t, int64_t, float *, int64_t);
int64_t textgen_attention_floats(int64_t, int64_t);
void textgen_attention_forward(const Attention *, float *, float *, float *, int64_t);
void textgen_attention_backward(const Attention *, const Heads *, const float *, float *, float *, float *, float *, int64_t);
int64_t textgen_block_floats(const Block *, int64_t, int64_t);
void textgen_block_forward(const Block *, float *, int64_t);
void textgen_block_backward(const Block *, float *, int64_t);
int64_t textgen_loss_floats(const Loss *, int64_t);
void textgen_loss(const Loss *, float *, int64_t);
int64_t textgen_cpu_supports(const char *);
const char *textgen_isa(void);

static uint64_t state = 7;
static double uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 11) / 9007199254740992.;
}
static float *numbers(int64_t n, float scale) {
    float *x = aligned_alloc(64, (n + 64) / 16 * 64);
    for (int64_t i = 0; i < n; i++) x[i] = (uniform() * 2 - 1) * scale;
    return x;
}
static void show(const char *what, const float *x, int64_t n) {
    printf("%s", what);
    for (int64_t i = 0; i < n; i++) printf(" %.9g", x[i]);
    printf("\n");
}

static void linear(int int8, int64_t rows, int64_t out, int64_t in) {
    int64_t blocks = (out + 15) / 16, n = blocks * 16;
    float *bias = numbers(n, 1), *x = numbers(rows * in, 2), *y = numbers(rows * out, 0);
    Linear l = {0, 0, bias, 0, in, out, blocks};
    if (int8) {
        int8_t *w = malloc(n * in);
        int32_t *sums = calloc(n, 4);
        for (int64_t i = 0; i < n * in; i++) w[i] = (int)(uniform() * 255) - 127;
        for (int64_t i = 0; i < n * in; i++) sums[i / (in * 16) * 16 + i % 64 / 4] += 128 * w[i];
        l.weight = w, l.weight_sum = sums, l.scale = numbers(n, .01);
    } else l.weight = numbers(n * in, 1);
    textgen_linear(&l, x, rows, y, numbers(textgen_linear_floats(&l, rows, 1), 0), 1);
    show(int8 ? "int8" : "float32", y, rows * out);
}

static void drawing(int64_t n) {
    float *x = numbers(n, 6), *work = numbers(draw_floats(n), 0), logprob = 0;
    int64_t sequence[9] = {1, 2, 3, 1, 2}, length = 5, begin = 0;
    struct { int64_t k; double p; float m, penalty; int64_t repeat; } asked[] = {
        {0, 1, -INFINITY, 1, 0}, {40, 1, -INFINITY, 1, 0}, {0, .9, -INFINITY, 1, 0}, {0, 1, -3, 1, 0}, {5, .5, -1, 1.3f, 3}};
    printf("draw");
    for (int a = 0; a < 5; a++)
        for (int i = 0; i < 50; i++) {
            double u = uniform();
            float t = .7f;
            Draw how = {&u, &t, 1, n, 0, 0, 0, 1, asked[a].k, asked[a].p, asked[a].m, asked[a].penalty, asked[a].repeat,
                        sequence, &length, &begin, 9};
            printf(" %d", (int)textgen_draw(x, n, &how, 0, 0, work, &logprob));
        }
    printf("\n");
    show("logprob", &logprob, 1);
}

// What training computes: GELU and attention of three rows of two heads over 21 tokens, forward and backward.
static void training(void) {
    float *x = numbers(77, 6), *up = numbers(77, 1), *y = numbers(77, 0);
    for (int by_tanh = 0; by_tanh < 2; by_tanh++) {
        textgen_gelu(x, 77, by_tanh, y, 1);
        show("gelu", y, 77);
        textgen_gelu_backward(x, up, 77, by_tanh, y, 1);
        show("gelu-back", y, 77);
    }
    enum { ROWS = 3, HEADS = 2, TOKENS = 21, SIZE = 32, ALL = ROWS * HEADS * TOKENS * SIZE };
    float *qkv = numbers(3 * ALL, 1), *gradient = numbers(ALL, 1), *out[4], *logarithms = numbers(ALL, 0);
    Heads at[4] = {{qkv}, {qkv + HEADS * SIZE}, {qkv + 2 * HEADS * SIZE}, {gradient}};
    for (int i = 0; i < 4; i++) {
        int64_t token = (i < 3 ? 3 : 1) * HEADS * SIZE;
        at[i] = (Heads){at[i].at, TOKENS * token, SIZE, token, 16};
        out[i] = numbers(ALL, 0);
    }
    Attention a = {at[0], at[1], at[2], ROWS, HEADS, TOKENS, SIZE, .2f};
    float *work = numbers(textgen_attention_floats(TOKENS, SIZE), 0);
    textgen_attention_forward(&a, work, out[3], logarithms, 1);
    textgen_attention_backward(&a, &at[3], logarithms, work, out[0], out[1], out[2], 1);
    for (int i = 0; i < 4; i++) show("causal", out[i], ALL);
}

// A block of GPT-2: three rows of 21 tokens, forward and backward.
static void block(int64_t by_tanh) {
    enum { ROWS = 3, TOKENS = 21, WIDTH = 32, HIDDEN = 48, ALL = ROWS * TOKENS * WIDTH };
    int64_t sizes[12] = {WIDTH, WIDTH, 3 * WIDTH * WIDTH, 3 * WIDTH, WIDTH * WIDTH, WIDTH,
                         WIDTH, WIDTH, WIDTH * HIDDEN, HIDDEN, HIDDEN * WIDTH, WIDTH};
    Block b = {.rows = ROWS, .tokens = TOKENS, .width = WIDTH, .hidden = HIDDEN, .heads = 2, .by_tanh = by_tanh,
               .scale = .25f, .eps = 1e-5f, .mlp_eps = 1e-5f};
    for (int i = 0; i < 12; i++) {
        b.weights[i] = numbers(sizes[i], .3f);
        b.gradients[i] = numbers(sizes[i], 0);
    }
    b.x = numbers(ALL, 1), b.dy = numbers(ALL, .1f), b.y = numbers(ALL, 0), b.dx = numbers(ALL, 0);
    b.saved = numbers(ROWS * TOKENS * (5 * WIDTH + HIDDEN + 2), 0);
    textgen_block_forward(&b, numbers(textgen_block_floats(&b, 0, 1), 0), 1);
    textgen_block_backward(&b, numbers(textgen_block_floats(&b, 1, 1), 0), 1);
    show("block", b.y, ALL);
    show("block-back", b.dx, ALL);
    for (int i = 0; i < 12; i++) show("block-gradient", b.gradients[i], sizes[i]);
}

// The loss of 70 tokens, some of which do not count, with 45 logits each.
static void loss(void) {
    enum { TOKENS = 70, WIDTH = 32, WORDS = 45 };
    int64_t labels[TOKENS];
    for (int i = 0; i < TOKENS; i++) labels[i] = i % 9 ? i * 7 % WORDS : -100;
    float *losses = numbers(TOKENS, 0), *down = numbers(TOKENS * WIDTH, 0), *gradient = numbers(WORDS * WIDTH, 0);
    Loss l = {.labels = labels, .losses = losses, .down = down, .gradient = gradient, .tokens = TOKENS, .width = WIDTH,
              .vocabulary = WORDS, .share = .1f};
    l.hidden = numbers(TOKENS * WIDTH, 1);
    l.weight = numbers(WORDS * WIDTH, 1);
    textgen_loss(&l, numbers(textgen_loss_floats(&l, 1), 0), 1);
    show("loss", losses, TOKENS);
    show("loss-down", down, TOKENS * WIDTH);
    show("loss-gradient", gradient, WORDS * WIDTH);
}

int main(void) {
    int64_t shapes[][3] = {{1, 1, 16}, {1, 100, 48}, {2, 70, 32}, {3, 15, 16}, {4, 16, 64}, {5, 17, 32}, {9, 100, 48}, {33, 250, 64}};
    fprintf(stderr, "%s %d\n", textgen_isa(), (int)textgen_cpu_supports("neon-dot"));
    for (int s = 0; s < 8; s++)
        for (int int8 = 0; int8 < 2; int8++) linear(int8, shapes[s][0], shapes[s][1], shapes[s][2]);
    float *x = numbers(320, 4), *y = numbers(320, 0), top;
    for (int kind = 0; kind < 4; kind++) {
        textgen_activation(x, 320, kind, y);
        show("activation", y, 320);
    }
    float *weight = numbers(320, 1), *bias = numbers(320, 1);  // in this order, whatever a compiler likes
    Norm norm = {weight, bias, 1e-5f, 320};
    textgen_norm(&norm, x, 1, y);
    show("norm", y, 320);
    uint8_t bytes[320];
    textgen_quantize(x, 1, 320, bytes, &top);
    for (int i = 0; i < 320; i++) y[i] = bytes[i];
    show("quantize", y, 320);
    float *query = numbers(32, 1), *keys = numbers(48 * 32, 1), *values = numbers(48 * 32, 1), *near = numbers(48, 1);
    textgen_attention(query, keys, values, 0, 37, 32, near, numbers(96, 0), y);
    show("attention", y, 32);
    training();
    block(1);
    block(0);
    loss();
    drawing(1000);
    drawing(50257);
    return 0;
}
