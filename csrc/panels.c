// Products of a training step, of which a thread computes some rows by itself, and the panels that they read and write:
// [features / 16][tokens][16]. Such a panel is read forwards by every product that it is a part of: token by token, feature
// by feature, and, for the gradient of weights, as sixteen outputs of one token after the other.
#include "panels.h"

#if defined(__AVX512F__)
enum { TALL = 12 };
#elif defined(__AVX2__)
enum { TALL = 6 };
#elif defined(__aarch64__)
enum { TALL = 4 };
#else
enum { TALL = 2 };
#endif

// out[r][0..16) = start[r][0..16) + sum over `pieces` and k < n of a[r * row + k * step] * b[k][0..16).
INLINE void tile(const float *a, int64_t row, int64_t step, int64_t a_piece, const float *b, int64_t b_piece, int64_t n,
                 int64_t pieces, const float *start, int64_t start_row, float *out, int64_t out_row, int rows) {
    vpart sums[TALL][PARTS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < PARTS; p++) sums[r][p] = load_part(start + r * start_row + p * PART);
    for (int64_t c = 0; c < pieces; c++, a += a_piece, b += b_piece)
        for (int64_t k = 0; k < n; k++) {
            vpart v[PARTS];
            UNROLL for (int p = 0; p < PARTS; p++) v[p] = load_part(b + k * LANES + p * PART);
            UNROLL for (int r = 0; r < rows; r++)
                UNROLL for (int p = 0; p < PARTS; p++) sums[r][p] += a[r * row + k * step] * v[p];
        }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < PARTS; p++) store_part(out + r * out_row + p * PART, sums[r][p]);
}

// Sixteen outputs of all tokens of a row. x: panels.
void outputs(const float *weight, const float *bias, View x, int64_t in, int64_t tokens, float *out, int64_t out_token) {
    int64_t tiles = (tokens + TALL - 1) / TALL, t = 0;
    for (int64_t i = 0; i < tiles; i++) {
        int64_t n = tokens / tiles + (i < tokens % tiles);
        UNROLL for (int r = 1; r <= TALL; r++)
            if (n == r)
                tile(x.at + t * LANES, LANES, 1, x.piece, weight, LANES * LANES, LANES, in / LANES, bias, 0,
                     out + t * out_token, out_token, r);
        t += n;
    }
}

// dw [blocks of outputs][in][16] += x' dy, over `rows` rows of tokens.
void add_weight_gradient(View x, int64_t in, View dy, int64_t out, int64_t rows, int64_t tokens, float *dw) {
    enum { TILES = (LANES + TALL - 1) / TALL };
    for (int64_t o = 0; o < out / LANES; o++)
        for (int64_t i = 0; i < in / LANES; i++) {
            int m = 0;
            UNROLL for (int s = 0; s < TILES; s++) {
                int n = LANES / TILES + (s < LANES % TILES);
                float *to = dw + (o * in + i * LANES + m) * LANES;
                UNROLL for (int r = 1; r <= TALL; r++)
                    if (n == r)
                        tile(x.at + i * x.piece + m, 1, LANES, x.row, dy.at + o * dy.piece, dy.row, tokens, rows, to,
                             LANES, to, LANES, r);
                m += n;
            }
        }
}

void add_bias_gradient(View dy, int64_t out, int64_t rows, int64_t tokens, float *db) {
    for (int64_t o = 0; o < out; o += LANES) {
        vpart sums[PARTS];
        UNROLL for (int p = 0; p < PARTS; p++) sums[p] = load_part(db + o + p * PART);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t t = 0; t < tokens; t++)
                UNROLL for (int p = 0; p < PARTS; p++)
                    sums[p] += load_part(dy.at + r * dy.row + o / LANES * dy.piece + t * LANES + p * PART);
        UNROLL for (int p = 0; p < PARTS; p++) store_part(db + o + p * PART, sums[p]);
    }
}

// [in][out] -> [blocks of 16 outputs][in][16], with zeros up to a multiple of 16 inputs; a thread's share.
void pack(const float *weight, int64_t in, int64_t out, float *to) {
    Range mine = my_share(out / LANES);
    for (int64_t o = mine.begin; o < mine.end; o++)
        for (int64_t i = 0; i < up_to_lanes(in); i++)
            for (int p = 0; p < LANES; p += PART)
                store_part(to + (o * up_to_lanes(in) + i) * LANES + p,
                           i < in ? load_part(weight + i * out + o * LANES + p) : (vpart){});
}

// [in][out] -> [blocks of 16 inputs][out][16], with zeros for the inputs that the last block lacks; a thread's share.
void pack_turned(const float *weight, int64_t in, int64_t out, float *to) {
    Range mine = my_share(up_to_lanes(in) / LANES);
    for (int64_t i = mine.begin; i < mine.end; i++)
        for (int64_t first = 0; first < out; first += LANES)
            for (int64_t e = 0; e < LANES; e++)
                for (int64_t o = first; o < first + LANES; o++)
                    to[(i * out + o) * LANES + e] = i * LANES + e < in ? weight[(i * LANES + e) * out + o] : 0;
}

// y = x W + bias, or without one.
void multiply_rows(const float *packed, const float *bias, View x, int64_t in, View y, int64_t out, int64_t rows,
                   int64_t tokens) {
    static const float none[LANES];
    for (int64_t o = 0; o < out / LANES; o++)
        for (int64_t r = 0; r < rows; r++)
            outputs(packed + o * in * LANES, bias ? bias + o * LANES : none, after(x, r), in, tokens,
                    y.at + r * y.row + o * y.piece, y.token);
}

// What all threads have summed up for weights, [blocks of outputs][n][16], as [in][out]; a thread's share.
void unite_weight(const float *first, int64_t stride, int64_t n, int64_t in, int64_t out, float *to) {
    Range mine = my_share(out / LANES);
    for (int64_t o = mine.begin; o < mine.end; o++)
        for (int64_t i = 0; i < in; i++)
            UNROLL for (int p = 0; p < LANES; p += PART) {
                const float *from = first + (o * n + i) * LANES + p;
                vpart sum = load_part(from);
                for (int64_t t = 1; t < omp_get_num_threads(); t++) sum += load_part(from + t * stride);
                store_part(to + i * out + o * LANES + p, sum);
            }
}

void copy_rows(View x, View to, int64_t n, int64_t rows, int64_t tokens) {
    for (int64_t r = 0; r < rows; r++, x = after(x, 1), to = after(to, 1))
        for (int64_t t = 0; t < tokens; t++)
            for (int64_t i = 0; i < n / LANES; i++)
                UNROLL for (int p = 0; p < LANES; p += PART)
                    store_part(to.at + t * to.token + i * to.piece + p, load_part(x.at + t * x.token + i * x.piece + p));
}
