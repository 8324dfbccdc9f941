// One token from logits: the inverse of the cumulative distribution at a uniform number, as `draw` does in Python.
//
// Weights are summed in float32 within 256 tokens and in float64 beyond. Where the number falls nearer to a border
// between two tokens than that can tell apart, the sum is made again in double precision; nearer than 1e-11 of
// the whole, nothing is drawn (-1) and Python, whose word counts, draws.
#include <math.h>

#include "native.h"
#include "simd.h"

enum { CHUNK = 256 };  // tokens summed in float32

static const double FLOAT_BORDER = 4e-7;    // of the whole: below, float32 does not decide
static const double DOUBLE_BORDER = 1e-11;  // below, double precision does not either
static const float NOTHING_LEFT = -1e38f;   // every token is ruled out where the largest logit is no larger

static float largest(const float *x, int64_t n) {
    float tops[LANES];
    int64_t i = 0;
    for (int e = 0; e < LANES; e++) tops[e] = NOTHING_LEFT;
    for (; i + LANES <= n; i += LANES)
        for (int e = 0; e < LANES; e++) tops[e] = x[i + e] > tops[e] ? x[i + e] : tops[e];
    float top = NOTHING_LEFT;
    for (int e = 0; e < LANES; e++) top = tops[e] > top ? tops[e] : top;
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

// The first of the largest.
static int64_t likeliest(const float *x, int64_t n, float top) {
    for (int64_t i = 0; i < n; i++)
        if (x[i] == top) return i;
    return -1;
}

// Sixteen sums side by side.
typedef struct {
    vpart part[PARTS];
} Sums;

static double add_up(const Sums *sums, float rest) {
    double sum = 0;
    for (int i = 0; i < LANES; i++) sum += ((const float *)sums->part)[i];
    return sum + rest;
}

// The sum of e^((x - top) / temperature). `weight` [n] becomes the terms, `chunk` their sums by chunks; null: neither is
// kept. A temperature of 1 that the compiler knows saves a division, which takes as long as the power.
INLINE double exponentiate(const float *x, int64_t n, float top, float temperature, float *weight, double *chunk) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t end = i + CHUNK < n ? i + CHUNK : n;
        int64_t j = i;
        Sums s = {};
        float rest = 0;
        for (; j + LANES <= end; j += LANES)
            UNROLL for (int p = 0; p < PARTS; p++) {
                vpart e = vexp_part((load_part(x + j + p * PART) - top) / temperature);
                if (weight) store_part(weight + j + p * PART, e);
                s.part[p] += e;
            }
        for (; j < end; j++) {
            float e = vexp_part(((vpart){x[j]} - top) / temperature)[0];
            if (weight) weight[j] = e;
            rest += e;
        }
        double here = add_up(&s, rest);
        if (chunk) chunk[i / CHUNK] = here;
        sum += here;
    }
    return sum;
}

// Sums of e^((x - top) / temperature) by chunks, in double precision; returns their sum.
static double exponentiate_double(const float *x, int64_t n, float top, float temperature, double *chunk) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += CHUNK) {
        vdouble s = {}, p;
        for (int64_t j = i; j < n && j < i + CHUNK; j += 8) {
            for (int e = 0; e < 8; e++) p[e] = j + e < n ? (double)((x[j + e] - top) / temperature) : -1000.;
            s += vexp_double(p);
        }
        chunk[i / CHUNK] = 0;
        for (int e = 0; e < 8; e++) chunk[i / CHUNK] += s[e];
        sum += chunk[i / CHUNK];
    }
    return sum;
}

// The draw in double precision; -1 on a border.
static int64_t draw_double(const float *x, int64_t n, float top, float temperature, double uniform, double *chunk) {
    double sum = exponentiate_double(x, n, top, temperature, chunk);
    double below = 0;
    int64_t c = 0;
    while (c < (n - 1) / CHUNK && below + chunk[c] <= uniform * sum) below += chunk[c++];
    for (int64_t i = c * CHUNK; i < n; i++) {
        double weight = exp((double)((x[i] - top) / temperature));
        if (below + weight > uniform * sum) {
            int on_border = uniform * sum - below < DOUBLE_BORDER * sum || below + weight - uniform * sum < DOUBLE_BORDER * sum;
            return on_border ? -1 : i;
        }
        below += weight;
    }
    return -1;
}

// The draw in float32, or, near a border, in double precision.
static int64_t draw_any(const float *x, int64_t n, float top, float temperature, double uniform, float *work) {
    float *weight = work;
    double *chunk = (double *)(work + n / 2 * 2 + LANES);
    double sum = temperature == 1 ? exponentiate(x, n, top, 1, weight, chunk)
                                  : exponentiate(x, n, top, temperature, weight, chunk);
    double goal = uniform * sum, below = 0;
    int64_t c = 0, i;
    while (c < (n - 1) / CHUNK && below + chunk[c] <= goal) below += chunk[c++];
    for (i = c * CHUNK; i < n - 1 && below + weight[i] <= goal; i++) below += weight[i];
    int unsure = goal - below < FLOAT_BORDER * sum || below + weight[i] - goal < FLOAT_BORDER * sum;
    return unsure ? draw_double(x, n, top, temperature, uniform, chunk) : i;
}

static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// Floats that a draw needs to work in: the logits after the rules, then weights and a double for each chunk, or what
// the filters need. Even, so that doubles stay aligned.
int64_t draw_floats(int64_t vocabulary) {
    int64_t even = vocabulary / 2 * 2 + LANES;
    return even + max(2 * (vocabulary + CHUNK), filter_floats(vocabulary));
}

// A token from the logits of a row; -1 where Python must draw. The log-probability is the model's own, at temperature 1
// and with nothing ruled out.
int64_t draw_token(const float *logits, int64_t vocabulary, const Draw *how, int64_t row, int64_t step, float *work,
                   float *logprob) {
    int64_t n = how->known;
    const float *allowed = logits;
    float *rest = work + vocabulary / 2 * 2 + LANES;
    float whole = largest(logits, vocabulary);
    double all = exponentiate(logits, vocabulary, whole, 1, 0, 0);
    if (!(all > 0 && all < 1e30) || !(whole < 1e30f)) return -1;  // not numbers, or infinite
    if (has_rules(how, row, step)) {
        apply_rules(logits, n, how, row, step, work);
        allowed = work;
    }
    float top = allowed == logits && n == vocabulary ? whole : largest(allowed, n);
    if (!(top > NOTHING_LEFT)) return -1;
    float temperature = how->temperatures[row];
    double uniform = how->uniforms[row * how->steps + step];
    int is_filtered = how->top_k > 0 || how->top_p < 1 || how->least_logit > -INFINITY;
    int64_t token = !(temperature > 0) ? likeliest(allowed, n, top)
                    : is_filtered ? draw_filtered(allowed, n, how, temperature, top, uniform, rest)
                                  : draw_any(allowed, n, top, temperature, uniform, rest);
    if (token >= 0) *logprob = logits[token] - whole - log(all);
    return token;
}

EXPORT int64_t textgen_draw_floats(int64_t vocabulary) { return draw_floats(vocabulary); }

EXPORT int64_t textgen_draw(const float *logits, int64_t vocabulary, const Draw *how, int64_t row, int64_t step,
                            float *work, float *logprob) {
    return draw_token(logits, vocabulary, how, row, step, work, logprob);
}

// The largest finite number of each row without its sign, 0 where there is none: x [rows][n], sizes [rows].
EXPORT void textgen_sizes(const float *x, int64_t rows, int64_t n, float *sizes, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        float tops[LANES] = {0};
        for (int64_t i = 0; i < n; i += LANES)
            for (int64_t e = 0; e < (i + LANES <= n ? LANES : n - i); e++) {
                float size = fabsf(row[i + e]);
                tops[e] = size < INFINITY && size > tops[e] ? size : tops[e];
            }
        sizes[r] = largest(tops, LANES);
    }
}

// Of each row the weights e^((x - largest) / temperature), summed: of what comes before its token, the token's own, and
// of what comes behind. x [rows][n], tokens [rows], sums [rows][3].
EXPORT void textgen_slices(const float *x, int64_t rows, int64_t n, const int64_t *tokens, float temperature, double *sums,
                           int64_t threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        int64_t at = tokens[r];
        float top = largest(row, n);
        sums[3 * r] = exponentiate(row, at, top, temperature, 0, 0);
        sums[3 * r + 1] = row[at] > NOTHING_LEFT ? exp((double)(row[at] - top) / temperature) : 0;
        sums[3 * r + 2] = exponentiate(row + at + 1, n - at - 1, top, temperature, 0, 0);
    }
}
