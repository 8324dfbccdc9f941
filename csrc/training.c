// What a training step computes between its matrix products, forward and backward: GELU, and attention over windows so
// short that the scores of a head stay in the processor's cache.
//
// All products of attention are sums over k of a(m, k) * b[k][n], in tiles of some rows and sixteen columns that stay
// in registers. The scores of a head are a square in which what lies above the diagonal, a token's look at those after
// it, is zero; tiles that lie there as a whole are left out.
#include <math.h>
#include <string.h>

#include "native.h"
#include "simd.h"

// ---- GELU

INLINE vpart gelu_part(vpart x, int64_t by_tanh) {
    vpart slope;
    return x * gelu_factor(x, by_tanh, &slope);
}

INLINE vpart gelu_down(vpart x, vpart up, int64_t by_tanh) {
    vpart slope, factor = gelu_factor(x, by_tanh, &slope);
    return up * (factor + x * slope);
}

// The last numbers of a tensor, which fill no register.
INLINE vpart load_some(const float *from, int64_t n) {
    vpart v = {};
    for (int64_t i = 0; i < n; i++) v[i] = from[i];
    return v;
}

INLINE void gelu_range(const float *x, const float *up, Range range, int64_t by_tanh, float *out) {
    int64_t i = range.begin;
    for (; i + PART <= range.end; i += PART) {
        vpart v = load_part(x + i);
        store_part(out + i, up ? gelu_down(v, load_part(up + i), by_tanh) : gelu_part(v, by_tanh));
    }
    vpart v = load_some(x + i, range.end - i);
    v = up ? gelu_down(v, load_some(up + i, range.end - i), by_tanh) : gelu_part(v, by_tanh);
    for (int64_t e = 0; i + e < range.end; e++) out[i + e] = v[e];
}

static void gelu_all(const float *x, const float *up, int64_t n, int64_t by_tanh, float *out, int64_t threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        Range range = my_share((n + PART - 1) / PART);
        range = (Range){range.begin * PART, range.end * PART < n ? range.end * PART : n};
        if (by_tanh && up) gelu_range(x, up, range, 1, out);
        if (by_tanh && !up) gelu_range(x, 0, range, 1, out);
        if (!by_tanh && up) gelu_range(x, up, range, 0, out);
        if (!by_tanh && !up) gelu_range(x, 0, range, 0, out);
    }
}

EXPORT void textgen_gelu(const float *x, int64_t n, int64_t by_tanh, float *y, int64_t threads) {
    gelu_all(x, 0, n, by_tanh, y, threads);
}

// `up` is the gradient of the result, `down` becomes that of `x`.
EXPORT void textgen_gelu_backward(const float *x, const float *up, int64_t n, int64_t by_tanh, float *down,
                                  int64_t threads) {
    gelu_all(x, up, n, by_tanh, down, threads);
}

// ---- attention

enum { TALL = PART == 16 ? 8 : 4 };  // rows of a tile: sums that fit into the registers

// A matrix whose rows are `stride` apart, and the pieces of sixteen columns of a row `piece`.
typedef struct {
    float *at;
    int64_t stride, piece;
} Matrix;

// out[r][0..16) of a tile = scale * the sum over `pieces` and k < n of a[r * row + k * step] * b[k][0..16).
INLINE void tile(const float *a, int64_t row, int64_t step, int64_t a_piece, const float *b, int64_t b_stride, int64_t n,
                 int64_t pieces, float scale, float *out, int64_t out_stride) {
    vpart sums[TALL][PARTS];
    UNROLL for (int r = 0; r < TALL; r++)
        UNROLL for (int p = 0; p < PARTS; p++) sums[r][p] = (vpart){};
    for (int64_t c = 0; c < pieces; c++, a += a_piece, b += n * b_stride)
        for (int64_t k = 0; k < n; k++) {
            vpart v[PARTS];
            UNROLL for (int p = 0; p < PARTS; p++) v[p] = load_part(b + k * b_stride + p * PART);
            UNROLL for (int r = 0; r < TALL; r++)
                UNROLL for (int p = 0; p < PARTS; p++) sums[r][p] += a[r * row + k * step] * v[p];
        }
    UNROLL for (int r = 0; r < TALL; r++)
        UNROLL for (int p = 0; p < PARTS; p++) store_part(out + r * out_stride + p * PART, sums[r][p] * scale);
}

// The lower triangle of x y', given y' : [n][size] times [size][n].
static void square(Matrix x, Matrix y_turned, int64_t n, int64_t size, Matrix out) {
    for (int64_t i = 0; i < n; i += TALL)
        for (int64_t j = 0; j < i + TALL; j += LANES)
            tile(x.at + i * x.stride, x.stride, 1, x.piece, y_turned.at + j, y_turned.stride, LANES, size / LANES, 1,
                 out.at + i * out.stride + j, out.stride);
}

// A lower triangle times a matrix: each row is a sum over the rows up to its own.
static void mix_earlier(Matrix triangle, Matrix x, int64_t n, int64_t size, float scale, Matrix out) {
    for (int64_t i = 0; i < n; i += TALL)
        for (int64_t c = 0; c < size / LANES; c++)
            tile(triangle.at + i * triangle.stride, triangle.stride, 1, 0, x.at + c * x.piece, x.stride, i + TALL, 1, scale,
                 out.at + i * out.stride + c * out.piece, out.stride);
}

// A lower triangle, turned, times a matrix: each row is a sum over the rows from its own on.
static void mix_later(Matrix triangle, Matrix x, int64_t n, int64_t size, float scale, Matrix out) {
    for (int64_t j = 0; j < n; j += TALL)
        for (int64_t c = 0; c < size / LANES; c++)
            tile(triangle.at + j * triangle.stride + j, 1, triangle.stride, 0, x.at + j * x.stride + c * x.piece, x.stride,
                 n - j, 1, scale, out.at + j * out.stride + c * out.piece, out.stride);
}

// Sixteen numbers in registers.
typedef struct {
    vpart part[PARTS];
} Wide;

INLINE float largest_of(const Wide *w) {
    float top = ((const float *)w->part)[0];
    for (int e = 1; e < LANES; e++) top = ((const float *)w->part)[e] > top ? ((const float *)w->part)[e] : top;
    return top;
}

INLINE float sum_of(const Wide *w) {
    float pairs[LANES / 2];
    for (int e = 0; e < LANES / 2; e++) pairs[e] = ((const float *)w->part)[e] + ((const float *)w->part)[e + LANES / 2];
    return (pairs[0] + pairs[4]) + (pairs[1] + pairs[5]) + ((pairs[2] + pairs[6]) + (pairs[3] + pairs[7]));
}

// Zeros for the tokens after token i, as far as a tile reaches.
INLINE void hide_later(float *scores, int64_t i) {
    for (int64_t j = i + 1; j % LANES; j++) scores[j] = 0;
}

// The scores of token i -> e^(score - largest) / their sum, and zeros for the tokens after it; returns the logarithm of
// what each e^score was divided by.
INLINE float soften(float *scores, int64_t i) {
    Wide top, sum = {};
    for (int64_t j = i + 1; j % LANES; j++) scores[j] = -1e30f;
    UNROLL for (int p = 0; p < PARTS; p++) top.part[p] = load_part(scores + p * PART);
    for (int64_t j = LANES; j <= i; j += LANES)
        UNROLL for (int p = 0; p < PARTS; p++) {
            top.part[p] = larger_part(load_part(scores + j + p * PART), top.part[p]);
        }
    float most = largest_of(&top);
    for (int64_t j = 0; j <= i; j += LANES)
        UNROLL for (int p = 0; p < PARTS; p++) {
            vpart e = vexp_part(load_part(scores + j + p * PART) - most);
            store_part(scores + j + p * PART, e);
            sum.part[p] += e;
        }
    hide_later(scores, i);
    float whole = sum_of(&sum), share = 1.f / whole;
    for (int64_t j = 0; j <= i; j += PART) store_part(scores + j, load_part(scores + j) * share);
    return most + logf(whole);
}

// The same weights from the logarithm.
INLINE void weigh(float *scores, int64_t i, float logarithm) {
    for (int64_t j = 0; j <= i; j += PART) store_part(scores + j, vexp_part(load_part(scores + j) - logarithm));
    hide_later(scores, i);
}

static Matrix take(float **work, int64_t rows, int64_t columns) {
    Matrix m = {*work, columns, LANES};
    *work += rows * columns;
    return m;
}

// One head of one row where it stands.
static Matrix head_of(const Heads *from, int64_t row, int64_t head) {
    return (Matrix){(float *)from->at + row * from->row + head * from->head, from->token, from->piece};
}

static void copy(Matrix from, int64_t tokens, int64_t size, Matrix to) {
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < size / LANES; i++)
            UNROLL for (int p = 0; p < LANES; p += PART)
                store_part(to.at + t * to.stride + i * to.piece + p, load_part(from.at + t * from.stride + i * from.piece + p));
}

// A head as tiles read it: where it stands, or a copy with zeros up to a multiple of sixteen tokens.
static Matrix whole(Matrix head, int64_t tokens, int64_t size, float **work) {
    int64_t n = up_to_lanes(tokens);
    if (n == tokens) return head;
    Matrix m = take(work, n, size);
    copy(head, tokens, size, m);
    memset(m.at + tokens * size, 0, (n - tokens) * size * sizeof(float));
    return m;
}

static void turn(Matrix x, int64_t n, int64_t size, float scale, Matrix out) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t t = 0; t < n; t++)
            out.at[i * out.stride + t] = x.at[t * x.stride + i / LANES * x.piece + i % LANES] * scale;
}

// Where the heads of a contiguous [rows][tokens][heads][size] stand.
static Heads side_by_side(const Attention *a, float *at) {
    return (Heads){at, a->tokens * a->heads * a->size, a->size, a->heads * a->size, LANES};
}

// Floats that a thread needs to work in: at most six copies of a head and two squares.
EXPORT int64_t textgen_attention_floats(int64_t tokens, int64_t size) {
    int64_t n = up_to_lanes(tokens);
    return 6 * n * size + 2 * n * n;
}

void attend_head(const Attention *a, int64_t row, int64_t head, float *work, const Heads *out, float *logarithms) {
    int64_t tokens = a->tokens, n = up_to_lanes(tokens), size = a->size;
    Matrix query = whole(head_of(&a->query, row, head), tokens, size, &work);
    Matrix key = whole(head_of(&a->key, row, head), tokens, size, &work);
    Matrix value = whole(head_of(&a->value, row, head), tokens, size, &work);
    Matrix turned = take(&work, size, n), weights = take(&work, n, n);
    Matrix to = head_of(out, row, head), mixed = n == tokens ? to : take(&work, n, size);
    turn(key, n, size, a->scale, turned);
    square(query, turned, n, size, weights);
    float *own = logarithms + (row * a->heads + head) * tokens;
    for (int64_t i = 0; i < n; i++) {
        float logarithm = soften(weights.at + i * n, i);
        if (i < tokens) own[i] = logarithm;
    }
    mix_earlier(weights, value, n, size, 1, mixed);
    if (n != tokens) copy(mixed, tokens, size, to);
}

// out [rows][tokens][heads][size]; logarithms [rows][heads][tokens] is for the way back.
EXPORT void textgen_attention_forward(const Attention *a, float *work, float *out, float *logarithms, int64_t threads) {
    int64_t floats = textgen_attention_floats(a->tokens, a->size);
    Heads to = side_by_side(a, out);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < a->rows * a->heads; k++)
        attend_head(a, k / a->heads, k % a->heads, work + omp_get_thread_num() * floats, &to, logarithms);
}

// weights -> the gradient of the scores, given that of the weights.
static void through_softmax(Matrix weights, Matrix up, int64_t tokens) {
    for (int64_t i = 0; i < tokens; i++) {
        float *w = weights.at + i * weights.stride;
        const float *u = up.at + i * up.stride;
        Wide sum = {};
        for (int64_t j = 0; j <= i; j += LANES)
            UNROLL for (int p = 0; p < PARTS; p++)
                sum.part[p] += load_part(w + j + p * PART) * load_part(u + j + p * PART);
        float mean = sum_of(&sum);
        for (int64_t j = 0; j <= i; j += PART) store_part(w + j, load_part(w + j) * (load_part(u + j) - mean));
    }
}

void attend_head_backward(const Attention *a, const Heads *up, const float *logarithms, int64_t row, int64_t head,
                          float *work, const HeadGradients *down) {
    int64_t tokens = a->tokens, n = up_to_lanes(tokens), size = a->size;
    Matrix query = whole(head_of(&a->query, row, head), tokens, size, &work);
    Matrix key = whole(head_of(&a->key, row, head), tokens, size, &work);
    Matrix value = whole(head_of(&a->value, row, head), tokens, size, &work);
    Matrix gradient = whole(head_of(up, row, head), tokens, size, &work);
    Matrix turned = take(&work, size, n), weights = take(&work, n, n), slopes = take(&work, n, n);
    Matrix to[3] = {head_of(&down->query, row, head), head_of(&down->key, row, head), head_of(&down->value, row, head)};
    Matrix padded = take(&work, n, size);
    turn(key, n, size, a->scale, turned);
    square(query, turned, n, size, weights);
    const float *own = logarithms + (row * a->heads + head) * tokens;
    for (int64_t i = 0; i < n; i++) weigh(weights.at + i * n, i, i < tokens ? own[i] : 0);
    mix_later(weights, gradient, n, size, 1, n == tokens ? to[2] : padded);
    if (n != tokens) copy(padded, tokens, size, to[2]);
    turn(value, n, size, 1, turned);
    square(gradient, turned, n, size, slopes);
    through_softmax(weights, slopes, n);
    mix_later(weights, query, n, size, a->scale, n == tokens ? to[1] : padded);
    if (n != tokens) copy(padded, tokens, size, to[1]);
    mix_earlier(weights, key, n, size, a->scale, n == tokens ? to[0] : padded);
    if (n != tokens) copy(padded, tokens, size, to[0]);
}

// The gradients of queries, keys and values, each contiguous [rows][tokens][heads][size].
EXPORT void textgen_attention_backward(const Attention *a, const Heads *up, const float *logarithms, float *work,
                                       float *query, float *key, float *value, int64_t threads) {
    int64_t floats = textgen_attention_floats(a->tokens, a->size);
    HeadGradients down = {side_by_side(a, query), side_by_side(a, key), side_by_side(a, value)};
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < a->rows * a->heads; k++)
        attend_head_backward(a, up, logarithms, k / a->heads, k % a->heads, work + omp_get_thread_num() * floats,
                             &down);
}
