// Numbers of rows of tokens, in whichever order, and the products of a training step (panels.c).
#ifndef TEXTGEN_PANELS_H
#define TEXTGEN_PANELS_H

#include "native.h"
#include "simd.h"

// Where numbers of rows of tokens stand: how far it is from one row, token, or sixteen features to the next.
typedef struct {
    float *at;
    int64_t row, token, piece;
} View;

static inline View plain(const float *at, int64_t tokens, int64_t n) { return (View){(float *)at, tokens * n, n, LANES}; }
static inline View panels(float *at, int64_t tokens, int64_t n) { return (View){at, tokens * n, LANES, tokens * LANES}; }
static inline View after(View v, int64_t rows) { return (View){v.at + rows * v.row, v.row, v.token, v.piece}; }

static inline float *take(float **work, int64_t n) {
    float *at = *work;
    *work += n;
    return at;
}

void pack(const float *weight, int64_t in, int64_t out, float *to);
void pack_turned(const float *weight, int64_t in, int64_t out, float *to);
void unite_weight(const float *first, int64_t stride, int64_t n, int64_t in, int64_t out, float *to);
void outputs(const float *weight, const float *bias, View x, int64_t in, int64_t tokens, float *out, int64_t out_token);
void multiply_rows(const float *packed, const float *bias, View x, int64_t in, View y, int64_t out, int64_t rows,
                   int64_t tokens);
void add_weight_gradient(View x, int64_t in, View dy, int64_t out, int64_t rows, int64_t tokens, float *dw);
void copy_rows(View x, View to, int64_t n, int64_t rows, int64_t tokens);
void add_bias_gradient(View dy, int64_t out, int64_t rows, int64_t tokens, float *db);

#endif
