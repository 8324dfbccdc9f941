// What the tokens of a sequence say about the next one: penalties, runs that may not come again, stop strings.
#include <math.h>
#include <string.h>

#include "native.h"

// Whether a token ends a text.
int is_end(const Draw *how, int64_t token) {
    for (int64_t e = 0; e < how->n_ends; e++)
        if (how->ends[e] == token) return 1;
    return 0;
}

// Whether the text of a row must go on after a step.
static int must_go_on(const Draw *how, int64_t row, int64_t step) { return how->min_steps && step < how->min_steps[row]; }

int has_rules(const Draw *how, int64_t row, int64_t step) {
    return how->penalty != 1 || how->no_repeat > 0 || (how->n_ends && must_go_on(how, row, step));
}

// Tokens that were there become less likely.
static void penalize(const float *logits, int64_t n, float penalty, const int64_t *sequence, int64_t length,
                     float *allowed) {
    for (int64_t i = 0; i < length; i++) {
        int64_t token = sequence[i];
        if (token >= n) continue;
        float logit = logits[token];
        allowed[token] = logit < 0 ? logit * penalty : logit / penalty;
    }
}

// Rules out the tokens that would end a run of `run` that was there already.
static void forbid_repeats(int64_t n, int64_t run, const int64_t *sequence, int64_t length, float *allowed) {
    int64_t before = run - 1;
    const int64_t *last = sequence + length - before;
    for (int64_t i = 0; i + run <= length; i++) {
        int64_t token = sequence[i + before];
        int is_same = !before || (sequence[i] == last[0] && !memcmp(sequence + i, last, before * sizeof(int64_t)));
        if (is_same && token < n) allowed[token] = -INFINITY;
    }
}

// allowed [n]: the logits of a row, minus infinity for tokens that must not come next.
void apply_rules(const float *logits, int64_t n, const Draw *how, int64_t row, int64_t step, float *allowed) {
    memcpy(allowed, logits, n * sizeof(float));
    if (how->sequences) {
        const int64_t *sequence = how->sequences + row * how->stride;
        int64_t length = how->lengths[row];
        if (how->penalty != 1) penalize(logits, n, how->penalty, sequence, length, allowed);
        if (how->no_repeat > 0 && length >= how->no_repeat) forbid_repeats(n, how->no_repeat, sequence, length, allowed);
    }
    if (!must_go_on(how, row, step)) return;
    for (int64_t e = 0; e < how->n_ends; e++)
        if (how->ends[e] < n) allowed[how->ends[e]] = -INFINITY;
}

// Whether the text of a row, `left` bytes of whose token number `at` count, ends with `stop`.
static int ends_with(const Draw *how, const int64_t *sequence, int64_t begin, int64_t at, int64_t left,
                     const uint8_t *stop, int64_t length) {
    const uint8_t *bytes = how->spelling + how->spelling_ends[sequence[at]];
    while (length) {
        while (!left) {
            if (at == begin) return 0;
            int64_t token = sequence[--at];
            bytes = how->spelling + how->spelling_ends[token];
            left = how->spelling_ends[token + 1] - how->spelling_ends[token];
        }
        if (bytes[--left] != stop[--length]) return 0;
    }
    return 1;
}

// Whether a stop string ends within the last token of a row.
int meets_stop(const Draw *how, int64_t row) {
    const int64_t *sequence = how->sequences + row * how->stride;
    int64_t last = how->lengths[row] - 1;
    int64_t size = how->spelling_ends[sequence[last] + 1] - how->spelling_ends[sequence[last]];
    for (int64_t s = 0; s < how->n_stops; s++) {
        const uint8_t *stop = how->stops + how->stop_ends[s];
        int64_t length = how->stop_ends[s + 1] - how->stop_ends[s];
        for (int64_t left = 1; left <= size; left++)
            if (ends_with(how, sequence, how->begins[row], last, left, stop, length)) return 1;
    }
    return 0;
}
