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

// A call, as the threads share it.
typedef struct {
    Pass pass;  // whose outputs are the logits of the next draw
    int64_t vocabulary;
    const Draw *how;
    int64_t *tokens, *positions, *next;
    float *logprobs, *work;
    int64_t undecided, ended, n;  // rows that could not be drawn; rows that have ended; steps that are drawn
    int done;
} Decoding;

// A thread draws in its share of the rows that write.
static void draw_rows(Decoding *d, int64_t step) {
    int64_t rows = d->pass.state->rows, undecided = 0;
    float *own = d->work + omp_get_thread_num() * draw_floats(d->vocabulary);
    Range mine = my_share(rows);
    for (int64_t r = mine.begin; r < mine.end; r++) {
        int64_t at = step * rows + r;
        const float *logits = d->pass.out + r * d->vocabulary;
        undecided |= draw_row(logits, d->vocabulary, d->how, r, step, d->tokens + at, d->logprobs + at, own);
    }
    if (undecided) __atomic_store_n(&d->undecided, 1, __ATOMIC_RELAXED);
}

// Notes what was drawn, and what is to be read now, if anything is.
static void note(Decoding *d, int64_t step) {
    int64_t rows = d->pass.state->rows, *drawn = d->tokens + step * rows;
    for (int64_t r = 0; step && r < rows; r++) d->positions[r] += writes(d->how, r);  // since the last pass
    append(d->how, rows, drawn);
    d->ended += rest_ended(d->how, rows, drawn, d->positions);
    d->n = step + 1;
    to_read(drawn, rows, d->next);
    d->done = d->undecided || d->n == d->how->steps || d->ended >= d->how->rest_until ||
              !are_known(d->pass.model, d->next, rows);
}

// What a thread does; the first notes, while nobody draws or reads.
static void decode(void *whole) {
    Decoding *d = whole;
    for (int64_t step = 0; !d->done; step++) {
        if (step) read_tokens(&d->pass);
        draw_rows(d, step);
        meet();
        if (omp_get_thread_num() == 0) note(d, step);
        meet();
    }
}

// Draws and reads in turn until all tokens are drawn in each row, or `rest_until` rows have ended. Returns
// how many were drawn (the last are not read), negative where among the last are UNDECIDED ones. A row that has
// ended writes nothing more.
//   logits [rows][vocabulary]: for the first draw; then those after the last token that was read
//   tokens, logprobs [steps][rows]; positions [rows], as in `state`, which go on
EXPORT int64_t textgen_decode_steps(const Model *model, const State *state, float *logits, int64_t vocabulary,
                                    const Draw *how, int64_t *tokens, int64_t *positions, float *logprobs, float *work,
                                    int64_t threads) {
    int64_t rows = state->rows, *next = (int64_t *)work;
    work += 2 * rows;
    Decoding all = {
        .pass = {model, state, next, 0, rows, logits, work, threads},
        .vocabulary = vocabulary,
        .how = how,
        .tokens = tokens,
        .positions = positions,
        .next = next,
        .logprobs = logprobs,
        .work = work,
        .done = how->steps == 0,
    };
    together(decode, &all, threads);
    return all.undecided ? -all.n : all.n;
}
