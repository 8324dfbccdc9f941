// What top-k, top-p and min-p leave, in this order, and a draw among it: the same tokens that Python keeps and draws.
// Nothing is sorted but one of 256 bins, that at which a filter cuts. Weights are in float32 first; where a cut or the
// draw falls so near a border that these do not decide, in double precision; nearer than 1e-11 of the whole, nothing is
// drawn (-1), and Python draws.
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "native.h"
#include "simd.h"

enum { BINS = 256 };

static const double FLOAT_BORDER = 4e-7;  // of the whole: below, float32 does not decide
static const double BORDER = 1e-11;       // below, double precision does not either
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
    double *weights;  // e^logit
    int32_t *bins;    // 0 for the likeliest
    Edge *edge;       // those of one bin
} Tokens;

int64_t filter_floats(int64_t vocabulary) { return 9 * (vocabulary / 2 * 2 + 2 * LANES); }

static Tokens in_memory(float *work, int64_t vocabulary) {
    int64_t n = vocabulary / 2 * 2 + 2 * LANES;
    return (Tokens){0, work, (int32_t *)(work + n), (double *)(work + 2 * n), (int32_t *)(work + 4 * n), (Edge *)(work + 5 * n)};
}

// The logits relative to the likeliest, after the temperature; minus infinity for what is ruled out.
static void scale(Tokens *t, const float *x, int64_t n, float top, float temperature) {
    for (int64_t i = 0; i < n; i++) t->logits[i] = (x[i] - top) / temperature;
    for (int64_t i = 0; i < n; i++) t->ids[i] = i;
    t->n = n;
}

// Keep those whose logit is at least `least`.
static void keep(Tokens *t, float least) {
    int64_t m = 0;
    float lowest = least > -FLT_MAX ? least : -FLT_MAX;
    for (int64_t i = 0; i < t->n; i++) {
        float logit = t->logits[i];
        t->ids[m] = t->ids[i];
        t->logits[m] = logit;
        m += logit >= lowest;
    }
    t->n = m;
}

// The weights: in float32, or exactly enough for any draw.
static void weigh(Tokens *t, int exactly) {
    for (int64_t i = 0; !exactly && i < t->n; i += PART)
        *(vdpart *)(t->weights + i) = __builtin_convertvector(vexp_part(load_part(t->logits + i)), vdpart);
    for (int64_t i = 0; exactly && i < t->n; i += 8) {
        vdouble v;
        for (int e = 0; e < 8; e++) v[e] = i + e < t->n ? (double)t->logits[i + e] : -1000.;
        *(vdouble *)(t->weights + i) = vexp_double(v);
    }
}

// The smaller of two logits, where the first is no lower than LOWEST. A token that is ruled out would make every bin wide.
static float lower(float logit, float low) { return logit < low && logit >= LOWEST ? logit : low; }

// Sorts the tokens into bins of equal width by their logits; `mass` becomes the weight in each (of counts: how many).
static void fill_bins(Tokens *t, double *mass, int counts) {
    float lows[LANES], low = -1e-6f;
    for (int e = 0; e < LANES; e++) lows[e] = low;
    int64_t i = 0;
    for (; i + LANES <= t->n; i += LANES)
        for (int e = 0; e < LANES; e++) lows[e] = lower(t->logits[i + e], lows[e]);
    for (; i < t->n; i++) low = lower(t->logits[i], low);
    for (int e = 0; e < LANES; e++) low = lower(lows[e], low);
    float scale = (BINS - 1) / low;
    for (i = 0; i < t->n; i += PART) {
        vpart logits = load_part(t->logits + i);
        vipart is_low = logits < low;
        logits = (vpart)(((vipart)logits & ~is_low) | ((vipart)((vpart){} + low) & is_low));
        *(vipart *)(t->bins + i) = __builtin_convertvector(logits * scale, vipart);
    }
    for (int b = 0; b < BINS; b++) mass[b] = 0;
    const int32_t *bins = t->bins;
    const double *weights = t->weights;
    if (counts)
        for (i = 0; i < t->n; i++) mass[bins[i]] += 1;
    else
        for (i = 0; i < t->n; i++) mass[bins[i]] += weights[i];
}

// The likeliest first; of equals, the first.
static int by_logit(const void *a, const void *b) {
    const Edge *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->i < y->i ? -1 : 1;
}

// The tokens of a bin, the likeliest first; how many there are.
static int64_t sort_bin(Tokens *t, int32_t bin, int counts) {
    const int32_t *bins = t->bins;
    int64_t n = t->n, m = 0;
    for (int64_t i = 0; i < n; i++)
        if (bins[i] == bin) t->edge[m++] = (Edge){t->logits[i], i, counts ? 1 : t->weights[i]};
    if (m > 1) qsort(t->edge, m, sizeof(Edge), by_logit);
    return m;
}

// Where a filter cuts: larger logits are kept, and equal ones up to the token number `last`.
typedef struct {
    float logit;
    int64_t last;
    double kept;  // the weight of what is kept
} Cut;

// The cut after the last token before which, from the likeliest on, there is less than `need`, which is less than the
// whole; 0 where that cannot be told for certain within `border`.
static int find_cut(Tokens *t, const double *mass, double need, double border, int counts, Cut *cut) {
    double below = 0;
    int32_t bin = 0;
    while (bin < BINS - 1 && below + mass[bin] < need - border) below += mass[bin++];
    int64_t m = sort_bin(t, bin, counts);
    for (int64_t i = 0; i < m; i++) {
        below += t->edge[i].weight;
        *cut = (Cut){t->edge[i].logit, t->edge[i].i, below};
        if (below > need - border) return below >= need + border;
    }
    return 0;
}

// Those as likely as the k-th, or likelier.
static void keep_top_k(Tokens *t, int64_t k) {
    double mass[BINS];
    Cut cut;
    fill_bins(t, mass, 1);
    find_cut(t, mass, k - .5, .25, 1, &cut);
    keep(t, cut.logit);
}

// The fewest that together reach `p` of the weight; 0 where that cannot be told.
static int cut_top_p(Tokens *t, double p, double border, Cut *cut) {
    double mass[BINS], whole = 0;
    fill_bins(t, mass, 0);
    for (int b = 0; b < BINS; b++) whole += mass[b];
    return find_cut(t, mass, p * whole, border * whole, 0, cut);
}

// The token at `uniform` of the weight that a cut keeps; -1 on a border.
static int64_t pick(const Tokens *t, const Cut *cut, double uniform, double border) {
    double goal = uniform * cut->kept, below = 0;
    for (int64_t i = 0; i < t->n; i++) {
        if (t->logits[i] < cut->logit || (t->logits[i] == cut->logit && i > cut->last)) continue;
        double above = below + t->weights[i];
        if (above > goal) {
            int on_border = goal - below < border * cut->kept || above - goal < border * cut->kept;
            return on_border ? -1 : t->ids[i];
        }
        below = above;
    }
    return -1;
}

// The weight of all tokens whose logit is at least `least`.
static double weight_from(const Tokens *t, float least) {
    double sum = 0;
    for (int64_t i = 0; i < t->n; i++) sum += t->logits[i] >= least ? t->weights[i] : 0;
    return sum;
}

// A draw with weights in float32, or exactly; -1 on a border.
static int64_t draw_weighed(Tokens *t, const Draw *how, double uniform, int exactly) {
    double border = exactly ? BORDER : FLOAT_BORDER;
    Cut cut = {-FLT_MAX, t->n, 0};
    weigh(t, exactly);
    if (how->top_p < 1 && !cut_top_p(t, how->top_p, border, &cut)) return -1;
    if (how->top_p >= 1 || how->least_logit > cut.logit) {
        float least = how->least_logit > -FLT_MAX ? how->least_logit : -FLT_MAX;
        cut = (Cut){least, t->n, weight_from(t, least)};
    }
    return pick(t, &cut, uniform, border);
}

// A token of the `n` logits, the largest of which is `top`; -1 where Python must draw.
int64_t draw_filtered(const float *logits, int64_t n, const Draw *how, float temperature, float top, double uniform,
                      float *work) {
    Tokens tokens = in_memory(work, n);
    scale(&tokens, logits, n, top, temperature);
    if (how->top_k > 0 && how->top_k < n) keep_top_k(&tokens, how->top_k);
    if (how->top_p >= 1) keep(&tokens, how->least_logit);
    int64_t token = draw_weighed(&tokens, how, uniform, 0);
    return token < 0 ? draw_weighed(&tokens, how, uniform, 1) : token;
}
