// Several tokens a call: draw in every row, read what was drawn, and so on, with no word from Python in between.
#include "native.h"

enum { NOTHING = -1, UNDECIDED = -2 };  // in place of a token: the row is free; Python must draw

static int writes(const Draw *how, int64_t row) { return how->temperatures[row] >= 0; }

// Draws in a row; returns 1 where it could not be drawn.
static int64_t draw_row(const float *logits, int64_t vocabulary, const Draw *how, int64_t row, int64_t step,
                        int64_t *drawn, float *logprob, float *work) {
    *drawn = NOTHING;
    *logprob = 0;
    if (!writes(how, row)) return 0;
    *drawn = draw_token(logits, vocabulary, how, row, step, work, logprob);
    if (*drawn >= 0) return 0;
    *drawn = UNDECIDED;
    return 1;
}

// Draws in every row that writes; returns whether one could not be drawn.
static int64_t draw_rows(const float *logits, int64_t rows, int64_t vocabulary, const Draw *how, int64_t step,
                         int64_t *drawn, float *logprobs, float *work, int64_t threads) {
    int64_t undecided = 0;
    if (threads == 1 || rows == 1) {  // without OpenMP, see `textgen_step`
        for (int64_t r = 0; r < rows; r++)
            undecided |= draw_row(logits + r * vocabulary, vocabulary, how, r, step, drawn + r, logprobs + r, work);
        return undecided;
    }
#pragma omp parallel for num_threads(threads) reduction(| : undecided)
    for (int64_t r = 0; r < rows; r++) {
        float *own = work + omp_get_thread_num() * draw_floats(vocabulary);
        undecided |= draw_row(logits + r * vocabulary, vocabulary, how, r, step, drawn + r, logprobs + r, own);
    }
    return undecided;
}

// Adds what was drawn to the sequences.
static void append(const Draw *how, int64_t rows, const int64_t *drawn) {
    if (!how->sequences) return;
    for (int64_t r = 0; r < rows; r++)
        if (drawn[r] >= 0) how->sequences[r * how->stride + how->lengths[r]++] = drawn[r];
}

// Rows that have ended rest, at position 0; returns how many there are of them in this step.
static int64_t rest_ended(const Draw *how, int64_t rows, const int64_t *drawn, int64_t *positions) {
    int64_t ended = 0;
    for (int64_t r = 0; r < rows; r++) {
        if (drawn[r] < 0) continue;
        if (!is_end(how, drawn[r]) && !(how->n_stops && meets_stop(how, r))) continue;
        how->temperatures[r] = -1;
        positions[r] = 0;
        ended++;
    }
    return ended;
}

// The tokens to read: what was drawn, and 0 in rows that are free.
static void to_read(const int64_t *drawn, int64_t rows, int64_t *tokens) {
    for (int64_t r = 0; r < rows; r++) tokens[r] = drawn[r] < 0 ? 0 : drawn[r];
}

static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// Floats that a step, or up to any number of them in a call, needs to work in.
EXPORT int64_t textgen_work_floats(const Model *model, const State *state, int64_t vocabulary, int64_t threads) {
    int64_t tokens_to_read = 2 * state->rows;  // int64
    int64_t drawing = threads * draw_floats(vocabulary);
    return tokens_to_read + max(step_floats(model, state, threads), drawing);
}

// Draws and reads in turn until all tokens are drawn in each row, or `rest_until` rows have ended. Returns
// how many were drawn (the last are not read), negative where among the last are UNDECIDED ones. A row that has
// ended writes nothing more.
//   logits [rows][vocabulary]: for the first draw; then those after the last token that was read
//   tokens, logprobs [steps][rows]; positions [rows], as in `state`, which go on
EXPORT int64_t textgen_decode_steps(const Model *model, const State *state, float *logits, int64_t vocabulary,
                                    const Draw *how, int64_t *tokens, int64_t *positions, float *logprobs, float *work,
                                    int64_t threads) {
    int64_t rows = state->rows, ended = 0;
    int64_t *next = (int64_t *)work;
    work += 2 * rows;
    for (int64_t step = 0; step < how->steps; step++) {
        int64_t *drawn = tokens + step * rows;
        int64_t undecided = draw_rows(logits, rows, vocabulary, how, step, drawn, logprobs + step * rows, work, threads);
        append(how, rows, drawn);
        ended += rest_ended(how, rows, drawn, positions);
        if (undecided) return -(step + 1);
        if (step == how->steps - 1 || ended >= how->rest_until) return step + 1;
        to_read(drawn, rows, next);
        textgen_step(model, state, next, 0, rows, logits, work, threads);
        for (int64_t r = 0; r < rows; r++) positions[r] += writes(how, r);
    }
    return how->steps;
}
