// What top-k, top-p and min-p leave, in this order, and a draw among it. Everything is in double precision, for then
// the same tokens are kept and drawn as in Python; nearer to a border than 1e-11 of the whole nothing is drawn (-1).
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "native.h"
#include "simd.h"

enum { BINS = 512 };

static const double BORDER = 1e-11;  // of the whole
static const float LOWEST = -40;     // logits below lie in the last bin

typedef struct {
    float logit;
    int32_t i;  // which of the tokens
    double weight;
} Edge;

// The tokens that are left, in the order of the vocabulary, and memory to work in.
typedef struct {
    int64_t n;
    float *logits;    // relative to the likeliest, after the temperature
    int32_t *ids;
    double *weights;  // e^logit; of 1 each while tokens are counted
    int32_t *bins;    // 0 for the likeliest
    Edge *edge;       // those of one bin
} Tokens;

int64_t filter_floats(int64_t vocabulary) { return 9 * (vocabulary / 2 * 2 + 2 * LANES); }

static Tokens in_memory(float *work, int64_t vocabulary) {
    int64_t n = vocabulary / 2 * 2 + 2 * LANES;
    return (Tokens){0, work, (int32_t *)(work + n), (double *)(work + 2 * n), (int32_t *)(work + 4 * n), (Edge *)(work + 5 * n)};
}

// All tokens that are not ruled out and whose logit is at least `least`.
static void collect(Tokens *t, const float *x, int64_t n, float top, float temperature, float least) {
    float lowest = least > -FLT_MAX ? least : -FLT_MAX;
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++) {
        float logit = (x[i] - top) / temperature;
        t->logits[m] = logit;
        t->ids[m] = i;
        m += logit >= lowest;
    }
    t->n = m;
}

// Keep those with a larger logit than `cut`, and those that have it up to the number `last`.
static void keep(Tokens *t, float cut, int64_t last) {
    int64_t m = 0;
    for (int64_t i = 0; i < t->n; i++) {
        int is_kept = t->logits[i] > cut || (t->logits[i] == cut && i <= last);
        t->logits[m] = t->logits[i];
        t->ids[m] = t->ids[i];
        t->weights[m] = t->weights[i];
        m += is_kept;
    }
    t->n = m;
}

static void weigh(Tokens *t) {
    for (int64_t i = 0; i < t->n; i += 8) {
        vdouble v;
        for (int e = 0; e < 8; e++) v[e] = i + e < t->n ? (double)t->logits[i + e] : -1000.;
        *(vdouble *)(t->weights + i) = vexp_double(v);
    }
}

static double sum(const Tokens *t) {
    double s = 0;
    for (int64_t i = 0; i < t->n; i++) s += t->weights[i];
    return s;
}

// Sorts the tokens into bins of equal width by their logits; `mass` becomes the weight in each.
static void fill_bins(Tokens *t, double *mass) {
    float low = -1e-6f;
    for (int64_t i = 0; i < t->n; i++) low = t->logits[i] < low ? t->logits[i] : low;
    low = low < LOWEST ? LOWEST : low;
    float scale = (BINS - 1) / low;
    for (int64_t i = 0; i < t->n; i++) {
        float logit = t->logits[i] < low ? low : t->logits[i];
        t->bins[i] = logit * scale;
    }
    for (int b = 0; b < BINS; b++) mass[b] = 0;
    for (int64_t i = 0; i < t->n; i++) mass[t->bins[i]] += t->weights[i];
}

// The likeliest first; of equals, the first.
static int by_logit(const void *a, const void *b) {
    const Edge *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->i < y->i ? -1 : 1;
}

// The tokens of a bin, the likeliest first; how many there are.
static int64_t sort_bin(Tokens *t, int32_t bin) {
    int64_t m = 0;
    for (int64_t i = 0; i < t->n; i++)
        if (t->bins[i] == bin) t->edge[m++] = (Edge){t->logits[i], i, t->weights[i]};
    qsort(t->edge, m, sizeof(Edge), by_logit);
    return m;
}

// The last token, from the likeliest on, before which the weight is less than `need`, which is less than the whole.
// 0 where that cannot be told for certain within `border`.
static int find_edge(Tokens *t, double need, double border, Edge *last) {
    double mass[BINS], below = 0;
    fill_bins(t, mass);
    int32_t bin = 0;
    while (bin < BINS - 1 && below + mass[bin] < need - border) below += mass[bin++];
    int64_t m = sort_bin(t, bin);
    for (int64_t i = 0; i < m; i++) {
        below += t->edge[i].weight;
        *last = t->edge[i];
        if (below > need - border) return below >= need + border;
    }
    return 0;
}

// Tokens in the order of the vocabulary are those as likely as the k-th at least.
static void keep_top_k(Tokens *t, int64_t k) {
    Edge last;
    for (int64_t i = 0; i < t->n; i++) t->weights[i] = 1;
    find_edge(t, k - .5, .25, &last);
    keep(t, last.logit, t->n);
}

// The fewest that together reach `p` of the weight; 0 where that cannot be told.
static int keep_top_p(Tokens *t, double p) {
    Edge last;
    double whole = sum(t);
    if (!find_edge(t, p * whole, BORDER * whole, &last)) return 0;
    keep(t, last.logit, last.i);
    return 1;
}

// The token at `uniform` of the weight; -1 on a border.
static int64_t pick(const Tokens *t, double uniform) {
    double whole = sum(t), goal = uniform * whole, below = 0;
    int64_t i = 0;
    while (i < t->n - 1 && below + t->weights[i] <= goal) below += t->weights[i++];
    int on_border = goal - below < BORDER * whole || below + t->weights[i] - goal < BORDER * whole;
    return on_border && t->n > 1 ? -1 : t->ids[i];
}

// A token of the `n` logits, the largest of which is `top`; -1 where Python must draw.
int64_t draw_filtered(const float *logits, int64_t n, const Draw *how, float temperature, float top, double uniform,
                      float *work) {
    Tokens tokens = in_memory(work, n);
    int looks_further = how->top_k > 0 || how->top_p < 1;
    collect(&tokens, logits, n, top, temperature, looks_further ? -FLT_MAX : how->least_logit);
    if (how->top_k > 0 && how->top_k < tokens.n) keep_top_k(&tokens, how->top_k);
    weigh(&tokens);
    if (how->top_p < 1 && !keep_top_p(&tokens, how->top_p)) return -1;
    if (looks_further && how->least_logit > -INFINITY) keep(&tokens, how->least_logit, tokens.n);
    return pick(&tokens, uniform);
}
