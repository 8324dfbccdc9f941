// Matrix products: y = x W' + b, in float32 or with 8-bit integers.
//
// A weight lies in blocks of 16 outputs, so that one instruction multiplies an input with the weights of 16
// outputs, memory is read strictly forwards, and nothing is added up across a register. The order in which an
// output is summed depends on neither the tile nor the thread: a row is the same to the last bit in any batch.
#include <string.h>

#include "native.h"
#include "simd.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

// A tile: rows, and blocks of 16 outputs. With AVX-512 its sums fill 24 of 32 registers.
#if defined(__AVX512F__)
enum { TILE_ROWS = 4, TILE_BLOCKS = 6 };
#else
enum { TILE_ROWS = 4, TILE_BLOCKS = 1 };
#endif

// Sums [rows][blocks] of a tile in float32. weight: [blocks][in][16], x: [rows][in].
INLINE void dot_float(const float *weight, const float *x, int64_t in, int rows, int blocks, vfloat *sums) {
    vfloat acc[TILE_ROWS][TILE_BLOCKS];
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) acc[r][b] = (vfloat){};
    for (int64_t i = 0; i < in; i++) {
        vfloat w[TILE_BLOCKS];
        UNROLL for (int b = 0; b < blocks; b++) {
            const float *from = weight + b * next_block + i * LANES;
            w[b] = load(from);
            if (rows == 1) __builtin_prefetch(from + 256);
        }
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int b = 0; b < blocks; b++) acc[r][b] += w[b] * x[r * in + i];
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) sums[r * blocks + b] = acc[r][b];
}

// Adds, for each of 16 outputs, four unsigned bytes of the input times the four signed bytes of its weight.
INLINE vint dot_bytes(vint acc, int32_t four, vint w) {
#if defined(__AVX512VNNI__)
    return (vint)_mm512_dpbusd_epi32((__m512i)acc, _mm512_set1_epi32(four), (__m512i)w);
#else
    for (int k = 0; k < 4; k++) acc += ((four >> 8 * k) & 255) * ((w << (24 - 8 * k)) >> 24);
    return acc;
#endif
}

// Sums of a tile in integers. weight: [blocks][in / 4][16][4] int8, x: [rows][in] uint8 (128 is zero).
INLINE void dot_int8(const int8_t *weight, const uint8_t *x, int64_t in, int rows, int blocks, vint *sums) {
    vint acc[TILE_ROWS][TILE_BLOCKS];
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) acc[r][b] = (vint){};
    for (int64_t i = 0; i < in; i += 4) {
        vint w[TILE_BLOCKS];
        UNROLL for (int b = 0; b < blocks; b++) {
            const int8_t *from = weight + b * next_block + i * LANES;
            w[b] = *(const vint *)from;
            if (rows == 1) __builtin_prefetch(from + 1024);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + r * in + i, 4);
            UNROLL for (int b = 0; b < blocks; b++) acc[r][b] = dot_bytes(acc[r][b], four, w[b]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) sums[r * blocks + b] = acc[r][b];
}

// Integer sums as numbers. An input byte is 128 too large, hence `weight_sum`; `top` is the row's largest input.
INLINE vfloat dequantize(const Linear *linear, int64_t at, vint sums, float top) {
    vint exact = sums - *(const vint *)(linear->weight_sum + at);
    return __builtin_convertvector(exact, vfloat) * load(linear->scale + at) * top;
}

// Puts the sums of a tile, which begins at `row` and `block`, where they go. The last block may be filled in part.
static void put(const Linear *linear, const vfloat *sums, const float *tops, int64_t row, int64_t block, int rows,
                int blocks, const Output *out) {
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < blocks; b++) {
            int64_t at = (block + b) * LANES;
            int64_t left = linear->out_features - at;
            float *to = out->to + (row + r) * out->stride + at;
            vfloat y = sums[r * blocks + b];
            if (linear->scale) y = dequantize(linear, at, (vint)y, tops[row + r]);
            y += load(linear->bias + at);
            if (out->activation != NONE) y = activate(y, out->activation);
            if (left >= LANES) {
                if (out->add) y += load(to);
                store(to, y);
            } else
                for (int i = 0; i < left; i++) to[i] = out->add ? to[i] + y[i] : y[i];
        }
}

INLINE void tile(const Linear *linear, const void *x, const float *tops, int64_t row, int64_t block, int rows,
                 int blocks, const Output *out) {
    vfloat sums[TILE_ROWS * TILE_BLOCKS];
    int64_t in = linear->in_features;
    if (linear->scale)
        dot_int8((const int8_t *)linear->weight + block * in * LANES, (const uint8_t *)x + row * in, in, rows, blocks,
                 (vint *)sums);
    else
        dot_float((const float *)linear->weight + block * in * LANES, (const float *)x + row * in, in, rows, blocks,
                  sums);
    put(linear, sums, tops, row, block, rows, blocks, out);
}

INLINE void all_rows(const Linear *linear, const void *x, const float *tops, int64_t rows, int64_t block, int blocks,
                     const Output *out) {
    int64_t r = 0;
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS) tile(linear, x, tops, r, block, TILE_ROWS, blocks, out);
    for (; r < rows; r++) tile(linear, x, tops, r, block, 1, blocks, out);
}

// Each thread makes its share of the outputs, for all rows. x: [rows][in_features], float32 or (int8) uint8;
// tops: [rows], the largest absolute input of each row (int8 only).
void multiply(const Linear *linear, const void *x, const float *tops, int64_t rows, Output out) {
    Range mine = my_share(linear->blocks);
    int64_t b = mine.begin;
    for (; b + TILE_BLOCKS <= mine.end; b += TILE_BLOCKS) all_rows(linear, x, tops, rows, b, TILE_BLOCKS, &out);
    if (TILE_BLOCKS > 2)
        for (; b + 2 <= mine.end; b += 2) all_rows(linear, x, tops, rows, b, 2, &out);
    for (; b < mine.end; b++) all_rows(linear, x, tops, rows, b, 1, &out);
#pragma omp barrier
}

// Floats that `textgen_linear` needs to work in.
EXPORT int64_t textgen_linear_floats(const Linear *linear, int64_t rows, int64_t threads) {
    return (1 + threads) * 2 * rows * (linear->in_features + LANES);
}

// One linear layer: x [rows][in_features] -> y [rows][out_features].
EXPORT void textgen_linear(const Linear *linear, const float *x, int64_t rows, float *y, float *work, int64_t threads) {
    Output out = {y, linear->out_features, 0, NONE};
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *own = work + (1 + omp_get_thread_num()) * 2 * rows * (linear->in_features + LANES);
        apply_linear(linear, 0, NONE, x, rows, (Workspace){own, work}, out);
    }
}
