// The cross-entropy of hidden states times output weights, and its gradients: the logits of a few tokens stay in a core's
// cache from the product that makes them until those that go back.
#include <math.h>
#include <string.h>

#include "panels.h"

enum { GROUP = 64 };  // tokens that a thread takes at a time

static int64_t own_floats(const Loss *l) {
    int64_t weights = up_to_lanes(l->vocabulary) * l->width;
    return weights + GROUP * (up_to_lanes(l->vocabulary) + l->width + LANES + 3);
}

// Floats that `textgen_loss` needs to work in.
EXPORT int64_t textgen_loss_floats(const Loss *l, int64_t threads) {
    return 2 * up_to_lanes(l->vocabulary) * l->width + threads * own_floats(l);
}

// What is known of each token of a group.
typedef struct {
    float *lanes;  // [GROUP][16]: of each place of a panel
    float *most, *asked, *scale;
} Each;

// Logits of n tokens, in panels, and the largest of each token.
static void make_logits(const Loss *l, const float *packed, View hidden, int64_t n, float *logits, Each each) {
    static const float none[LANES];
    int64_t size = up_to_lanes(l->vocabulary);
    for (int64_t i = 0; i < n * LANES; i++) each.lanes[i] = -INFINITY;
    for (int64_t v = 0; v < size; v += LANES) {
        float *panel = logits + v * n;
        outputs(packed + v * l->width, none, hidden, l->width, n, panel, LANES);
        for (int64_t t = 0; v + LANES > l->vocabulary && t < n; t++)
            for (int64_t e = l->vocabulary - v; e < LANES; e++) panel[t * LANES + e] = -1e30f;
        for (int64_t i = 0; i < n * LANES; i += PART) {
            vpart x = load_part(panel + i), top = load_part(each.lanes + i);
            store_part(each.lanes + i, choose_part(x > top, x, top));
        }
    }
    for (int64_t t = 0; t < n; t++) each.most[t] = max_lanes(load(each.lanes + t * LANES));
}

// Logits -> e^(logit - largest), whose sums become `lanes`.
static void raise_logits(const Loss *l, int64_t n, float *logits, Each each) {
    memset(each.lanes, 0, n * LANES * sizeof(float));
    for (int64_t v = 0; v < up_to_lanes(l->vocabulary); v += LANES)
        for (int64_t t = 0; t < n; t++)
            UNROLL for (int p = 0; p < LANES; p += PART) {
                float *at = logits + v * n + t * LANES + p, *sum = each.lanes + t * LANES + p;
                vpart e = vexp_part(load_part(at) - each.most[t]);
                store_part(at, e);
                store_part(sum, load_part(sum) + e);
            }
}

INLINE float *logit_of(float *logits, int64_t n, int64_t t, int64_t v) {
    return logits + v / LANES * n * LANES + t * LANES + v % LANES;
}

// The losses of n tokens; their logits become the gradient over `scale`.
static void lose(const Loss *l, int64_t first, int64_t n, float *logits, Each each) {
    const int64_t *labels = l->labels + first;
    for (int64_t t = 0; t < n; t++) each.asked[t] = labels[t] < 0 ? 0 : *logit_of(logits, n, t, labels[t]);
    raise_logits(l, n, logits, each);
    for (int64_t t = 0; t < n; t++) {
        float sum = sum_lanes(load(each.lanes + t * LANES)), loss = logf(sum) + each.most[t] - each.asked[t];
        l->losses[first + t] = labels[t] < 0 ? 0 : loss * l->share;
        each.scale[t] = labels[t] < 0 ? 0 : l->share / sum;
        if (labels[t] >= 0) *logit_of(logits, n, t, labels[t]) -= sum;
    }
}

// Some tokens, from `first` on; what the weights get is added to `sums`.
static void some_tokens(const Loss *l, const float *packed, const float *turned, int64_t first, int64_t n, float *work,
                        float *sums) {
    int64_t size = up_to_lanes(l->vocabulary), width = l->width;
    Each each = {take(&work, GROUP * LANES), take(&work, GROUP), take(&work, GROUP), take(&work, GROUP)};
    View hidden = panels(take(&work, GROUP * width), n, width), logits = panels(take(&work, GROUP * size), n, size);
    View down = plain(l->down + first * width, n, width);
    copy_rows(plain(l->hidden + first * width, n, width), hidden, width, 1, n);
    make_logits(l, turned, hidden, n, logits.at, each);
    lose(l, first, n, logits.at, each);
    multiply_rows(packed, 0, logits, size, down, width, 1, n);
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < width; i += PART) {
            float *at = down.at + t * width + i, *own = hidden.at + i / LANES * hidden.piece + t * LANES + i % LANES;
            store_part(at, load_part(at) * each.scale[t]);
            store_part(own, load_part(own) * each.scale[t]);
        }
    if (l->gradient) add_weight_gradient(logits, size, hidden, width, 1, n, sums);
}

// The losses of all tokens, and the gradients of their sum. The same number of threads gives the same bits.
EXPORT void textgen_loss(const Loss *l, float *work, int64_t threads) {
    int64_t weights = up_to_lanes(l->vocabulary) * l->width, floats = own_floats(l), groups = (l->tokens + GROUP - 1) / GROUP;
    float *packed = take(&work, weights), *turned = take(&work, weights);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        pack(l->weight, l->vocabulary, l->width, packed);
        pack_turned(l->weight, l->vocabulary, l->width, turned);
        float *own = work + omp_get_thread_num() * floats, *sums = take(&own, weights);
        if (l->gradient) memset(sums, 0, weights * sizeof(float));
#pragma omp barrier
        Range mine = my_share(groups);
        for (int64_t g = mine.begin; g < mine.end; g++) {
            int64_t first = g * GROUP, left = l->tokens - first;
            some_tokens(l, packed, turned, first, left < GROUP ? left : GROUP, own, sums);
        }
#pragma omp barrier
        if (l->gradient) unite_weight(work, floats, up_to_lanes(l->vocabulary), l->vocabulary, l->width, l->gradient);
    }
}
