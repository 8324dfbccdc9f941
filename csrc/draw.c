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

// The largest logit, without that of the token `banned` (-1: none).
static float largest(const float *x, int64_t n, int64_t banned) {
    float top = -1e38f;
    int64_t i = 0;
    if (banned >= 0) {
        for (; i < n; i++) top = i != banned && x[i] > top ? x[i] : top;
        return top;
    }
    vfloat tops = (vfloat){} - 1e38f;
    for (; i + LANES <= n; i += LANES) tops = vmax(load(x + i), tops);
    for (top = max_lanes(tops); i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

// weight [n] = e^((x - top) / temperature), and their sums by chunks; returns their sum. `all` becomes the sum of
// e^(x - whole), `whole` the largest logit: what the model itself says, for the log-probability.
static double exponentiate(const float *x, int64_t n, float top, float temperature, float whole, float *weight,
                           double *chunk, double *all) {
    double sum = 0;
    *all = 0;
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t end = i + CHUNK < n ? i + CHUNK : n;
        int64_t j = i;
        vfloat s = {}, a = {};
        for (; j + LANES <= end; j += LANES) {
            vfloat v = load(x + j);
            vfloat e = vexp((v - top) / temperature);
            store(weight + j, e);
            s += e;
            a += vexp(v - whole);
        }
        for (; j < end; j++) {
            vfloat v = {x[j]};
            weight[j] = vexp((v - top) / temperature)[0];
            s[0] += weight[j];
            a[0] += vexp(v - whole)[0];
        }
        chunk[i / CHUNK] = (double)sum_lanes(s);
        sum += chunk[i / CHUNK];
        *all += sum_lanes(a);
    }
    return sum;
}

// Sums of e^((x - top) / temperature) by chunks, in double precision; returns their sum.
static double exponentiate_double(const float *x, int64_t n, float top, float temperature, int64_t banned,
                                  double *chunk) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += CHUNK) {
        vdouble s = {}, p;
        for (int64_t j = i; j < n && j < i + CHUNK; j += 8) {
            for (int e = 0; e < 8; e++) {
                int is_there = j + e < n && j + e != banned;
                p[e] = is_there ? (double)((x[j + e] - top) / temperature) : -1000.;
            }
            s += vexp_double(p);
        }
        chunk[i / CHUNK] = 0;
        for (int e = 0; e < 8; e++) chunk[i / CHUNK] += s[e];
        sum += chunk[i / CHUNK];
    }
    return sum;
}

// The draw in double precision; -1 on a border.
static int64_t draw_double(const float *x, int64_t n, float top, float temperature, double uniform, int64_t banned,
                           double *chunk) {
    double sum = exponentiate_double(x, n, top, temperature, banned, chunk);
    double below = 0;
    int64_t c = 0;
    while (c < (n - 1) / CHUNK && below + chunk[c] <= uniform * sum) below += chunk[c++];
    for (int64_t i = c * CHUNK; i < n; i++) {
        double weight = i == banned ? 0 : exp((double)((x[i] - top) / temperature));
        if (below + weight > uniform * sum) {
            int on_border = uniform * sum - below < DOUBLE_BORDER * sum || below + weight - uniform * sum < DOUBLE_BORDER * sum;
            return on_border ? -1 : i;
        }
        below += weight;
    }
    return -1;
}

// Floats that a draw needs to work in: the weights, and a double for each chunk. Even, so that doubles stay aligned.
int64_t draw_floats(int64_t vocabulary) { return 2 * (vocabulary + CHUNK); }

// A token from logits x [n], with `banned` (-1: none) not to be drawn; -1 where Python must draw. The
// log-probability is the model's own, at temperature 1 and with nothing banned.
int64_t draw(const float *x, int64_t n, float temperature, double uniform, int64_t banned, float *work, float *logprob) {
    float *weight = work;
    double *chunk = (double *)(work + n / 2 * 2 + LANES);
    float whole = largest(x, n, -1);
    float top = banned >= 0 ? largest(x, n, banned) : whole;
    double all, below = 0;
    double sum = exponentiate(x, n, top, temperature, whole, weight, chunk, &all);
    if (!(all > 0 && all < 1e30) || !(whole < 1e30f)) return -1;  // not numbers, or infinite
    if (banned >= 0) {
        sum -= weight[banned];
        chunk[banned / CHUNK] -= weight[banned];
        weight[banned] = 0;
    }
    double goal = uniform * sum;
    int64_t c = 0, i;
    while (c < (n - 1) / CHUNK && below + chunk[c] <= goal) below += chunk[c++];
    for (i = c * CHUNK; i < n - 1 && below + weight[i] <= goal; i++) below += weight[i];
    int unsure = goal - below < FLOAT_BORDER * sum || below + weight[i] - goal < FLOAT_BORDER * sum;
    if (unsure) i = draw_double(x, n, top, temperature, uniform, banned, chunk);
    if (i >= 0) *logprob = x[i] - whole - log(all);
    return i;
}

EXPORT int64_t textgen_draw_floats(int64_t vocabulary) { return draw_floats(vocabulary); }

EXPORT int64_t textgen_draw(const float *logits, int64_t n, float temperature, double uniform, int64_t banned,
                            float *work, float *logprob) {
    return draw(logits, n, temperature, uniform, banned, work, logprob);
}
