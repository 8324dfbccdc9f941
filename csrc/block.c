// A block of GPT-2 in a training step, forward and backward: x + attention(norm(x)), then + mlp(norm) of that.
//
// A thread takes some rows of the batch at a time through the whole block, so that what one product writes is in the core's
// cache when the next one reads it, and no thread waits for another. What lies between the products is kept in panels:
// [features / 16][tokens][16] of each row (panels.c).
#include <math.h>
#include <string.h>

#include "panels.h"

// ---- the parts of a block

enum { NORM, QKV, OUT, MLP_NORM, UP, DOWN, ALL };

static int is_norm(int part) { return part == NORM || part == MLP_NORM; }
static int64_t inputs_of(const Block *b, int part) { return part == DOWN ? b->hidden : b->width; }
static int64_t outputs_of(const Block *b, int part) {
    return part == QKV ? 3 * b->width : part == UP ? b->hidden : b->width;
}
static int64_t weights_of(const Block *b, int part) {
    return (is_norm(part) ? 1 : inputs_of(b, part)) * outputs_of(b, part);
}
static const float *weight_of(const Block *b, int part) { return b->weights[2 * part]; }
static const float *bias_of(const Block *b, int part) { return b->weights[2 * part + 1]; }

// Floats for each part: weights, or gradients of weights and biases.
typedef struct {
    float *weight[ALL], *bias[ALL];
} Parameters;

// Weights of products in blocks; or, with biases and norms, their gradients.
static Parameters take_parameters(const Block *b, int all, float **work) {
    Parameters to = {0};
    for (int part = 0; part < ALL; part++) {
        if (all || !is_norm(part)) to.weight[part] = take(work, weights_of(b, part));
        if (all) to.bias[part] = take(work, outputs_of(b, part));
    }
    return to;
}

static int64_t parameter_floats(const Block *b) {
    int64_t sum = 0;
    for (int part = 0; part < ALL; part++) sum += weights_of(b, part) + outputs_of(b, part);
    return sum;
}

// ---- norms

INLINE float sum_parts(Parts parts) {
    float sums[PART];
    vpart all = parts.at[0];
    for (int p = 1; p < PARTS; p++) all += parts.at[p];
    store_part(sums, all);
    UNROLL for (int half = PART / 2; half; half /= 2)
        UNROLL for (int i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

// The mean of a token, and what is left of each number is multiplied by.
typedef struct {
    float mean, scale;
} Measure;

INLINE Measure measure(View x, int64_t t, const Norm *norm) {
    int64_t n = norm->size;
    Parts sum = {}, squares = {};
    for (int64_t i = 0; i < n / LANES; i++)
        UNROLL for (int p = 0; p < PARTS; p++) sum.at[p] += load_part(x.at + t * x.token + i * x.piece + p * PART);
    float mean = sum_parts(sum) / n;
    for (int64_t i = 0; i < n / LANES; i++)
        UNROLL for (int p = 0; p < PARTS; p++) {
            vpart v = load_part(x.at + t * x.token + i * x.piece + p * PART) - mean;
            squares.at[p] += v * v;
        }
    return (Measure){mean, 1.f / sqrtf(sum_parts(squares) / n + norm->eps)};
}

// One row of tokens; x, y: views of it.
static void norm_row(const Norm *norm, View x, int64_t tokens, View y, Measure *measures) {
    const float *weight = norm->weight, *bias = norm->bias;
    int64_t pieces = norm->size / LANES;
    for (int64_t t = 0; t < tokens; t++) {
        Measure m = measures[t] = measure(x, t, norm);
        for (int64_t i = 0; i < pieces; i++)
            UNROLL for (int p = 0; p < LANES; p += PART) {
                vpart v = (load_part(x.at + t * x.token + i * x.piece + p) - m.mean) * m.scale;
                store_part(y.at + t * y.token + i * y.piece + p,
                           v * load_part(weight + i * LANES + p) + load_part(bias + i * LANES + p));
            }
    }
}

// dx = rest + the gradient through the norm of x; the norm's own are added to dweight and dbias.
static void norm_row_backward(const Norm *norm, View x, View dy, View rest, int64_t tokens, View dx,
                              const Measure *measures, float *dweight, float *dbias) {
    const float *weight = norm->weight;
    int64_t n = norm->size, pieces = n / LANES;
    for (int64_t t = 0; t < tokens; t++) {
        Measure m = measures[t];
        Parts sum = {}, product = {};
        for (int64_t i = 0; i < pieces; i++)
            UNROLL for (int p = 0; p < PARTS; p++) {
                int64_t e = p * PART;
                vpart v = (load_part(x.at + t * x.token + i * x.piece + e) - m.mean) * m.scale;
                vpart up = load_part(dy.at + t * dy.token + i * dy.piece + e);
                store_part(dweight + i * LANES + e, load_part(dweight + i * LANES + e) + up * v);
                store_part(dbias + i * LANES + e, load_part(dbias + i * LANES + e) + up);
                up *= load_part(weight + i * LANES + e);
                sum.at[p] += up;
                product.at[p] += up * v;
            }
        float s = sum_parts(sum) / n, q = sum_parts(product) / n;
        for (int64_t i = 0; i < pieces; i++)
            UNROLL for (int p = 0; p < LANES; p += PART) {
                vpart v = (load_part(x.at + t * x.token + i * x.piece + p) - m.mean) * m.scale;
                vpart up = load_part(dy.at + t * dy.token + i * dy.piece + p) * load_part(weight + i * LANES + p);
                store_part(dx.at + t * dx.token + i * dx.piece + p,
                           load_part(rest.at + t * rest.token + i * rest.piece + p) + m.scale * (up - s - v * q));
            }
    }
}

// ---- memory

enum { GROUP = 128 };  // tokens that a thread takes at a time

static int64_t group_of(const Block *b) {
    int64_t rows = GROUP / b->tokens;
    return rows < 1 ? 1 : rows > b->rows ? b->rows : rows;
}

static int64_t own_floats(const Block *b, int is_backward) {
    int64_t tokens = group_of(b) * b->tokens, attention = textgen_attention_floats(b->tokens, b->width / b->heads);
    if (!is_backward) return tokens * (2 + b->width + b->hidden) + attention;
    return tokens * (2 + 6 * b->width + 2 * b->hidden) + attention + parameter_floats(b);
}

// Floats that a pass needs to work in.
EXPORT int64_t textgen_block_floats(const Block *b, int64_t is_backward, int64_t threads) {
    return parameter_floats(b) + 3 * b->width + b->hidden + threads * own_floats(b, is_backward);
}

// What the forward pass leaves to the backward pass, of all rows.
typedef struct {
    View qkv, mixed, middle, raised;
    float *logarithms;
} Saved;

static Saved saved_of(const Block *b) {
    float *at = b->saved;
    int64_t all = b->rows * b->tokens, t = b->tokens;
    Saved s;
    s.qkv = panels(take(&at, all * 3 * b->width), t, 3 * b->width);
    s.mixed = panels(take(&at, all * b->width), t, b->width);
    s.middle = panels(take(&at, all * b->width), t, b->width);
    s.raised = panels(take(&at, all * b->hidden), t, b->hidden);
    s.logarithms = at;
    return s;
}

static Norm norm_of(const Block *b, int part) {
    return (Norm){weight_of(b, part), bias_of(b, part), part == NORM ? b->eps : b->mlp_eps, b->width};
}

// ---- attention

// One of queries, keys and values of panels, or heads of panels that have nothing else.
static Heads heads_of(const Block *b, View v, int64_t which) {
    int64_t size = b->width / b->heads;
    return (Heads){v.at + which * b->width * b->tokens, v.row, size * b->tokens, v.token, v.piece};
}

static Attention attention_of(const Block *b, View qkv) {
    return (Attention){heads_of(b, qkv, 0), heads_of(b, qkv, 1), heads_of(b, qkv, 2), b->rows, b->heads, b->tokens,
                       b->width / b->heads, b->scale};
}

// ---- forward

// to = x + y
static void add_rows(View x, View y, View to, int64_t n, int64_t rows, int64_t tokens) {
    for (int64_t r = 0; r < rows; r++, x = after(x, 1), y = after(y, 1), to = after(to, 1))
        for (int64_t t = 0; t < tokens; t++)
            for (int64_t i = 0; i < n / LANES; i++)
                UNROLL for (int p = 0; p < LANES; p += PART)
                    store_part(to.at + t * to.token + i * to.piece + p, load_part(x.at + t * x.token + i * x.piece + p) +
                                                                        load_part(y.at + t * y.token + i * y.piece + p));
}

static void norm_rows(const Norm *norm, View x, int64_t rows, int64_t tokens, View y, Measure *measures) {
    for (int64_t r = 0; r < rows; r++) norm_row(norm, after(x, r), tokens, after(y, r), measures + r * tokens);
}

// active = GELU(raised); with `down`, that becomes its gradient times what GELU grows by.
INLINE void gelu_panel(const float *raised, int64_t n, int64_t by_tanh, float *active, float *down) {
    for (int64_t i = 0; i < n; i += PART) {
        vpart x = load_part(raised + i), slope, factor = gelu_factor(x, by_tanh, &slope);
        store_part(active + i, x * factor);
        if (down) store_part(down + i, load_part(down + i) * (factor + x * slope));
    }
}

static void activate(const Block *b, const float *raised, float *active, float *down) {
    int64_t n = b->tokens * LANES;
    if (b->by_tanh && down) gelu_panel(raised, n, 1, active, down);
    if (b->by_tanh && !down) gelu_panel(raised, n, 1, active, 0);
    if (!b->by_tanh && down) gelu_panel(raised, n, 0, active, down);
    if (!b->by_tanh && !down) gelu_panel(raised, n, 0, active, 0);
}

// Some rows, from `row` on, through the block.
static void forward_rows(const Block *b, const Parameters *packed, int64_t row, int64_t rows, float *work) {
    int64_t width = b->width, hidden = b->hidden, tokens = b->tokens, all = rows * tokens;
    Norm norm = norm_of(b, NORM), mlp_norm = norm_of(b, MLP_NORM);
    Saved saved = saved_of(b);
    View x = after(plain(b->x, tokens, width), row), y = after(plain(b->y, tokens, width), row);
    View qkv = after(saved.qkv, row), mixed = after(saved.mixed, row);
    View middle = after(saved.middle, row), raised = after(saved.raised, row);
    float *logarithms = saved.logarithms + row * b->heads * tokens;
    Measure *measures = (Measure *)take(&work, 2 * all);
    View normed = panels(take(&work, all * width), tokens, width);
    View active = panels(take(&work, all * hidden), tokens, hidden);
    norm_rows(&norm, x, rows, tokens, normed, measures);
    multiply_rows(packed->weight[QKV], bias_of(b, QKV), normed, width, qkv, 3 * width, rows, tokens);
    Attention attention = attention_of(b, qkv);
    Heads to = heads_of(b, mixed, 0);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < b->heads; h++) attend_head(&attention, r, h, work, &to, logarithms);
    multiply_rows(packed->weight[OUT], bias_of(b, OUT), mixed, width, middle, width, rows, tokens);
    add_rows(x, middle, middle, width, rows, tokens);
    norm_rows(&mlp_norm, middle, rows, tokens, normed, measures);
    for (int64_t o = 0; o < hidden / LANES; o++)
        for (int64_t r = 0; r < rows; r++) {
            float *to = raised.at + r * raised.row + o * raised.piece;
            outputs(packed->weight[UP] + o * width * LANES, bias_of(b, UP) + o * LANES, after(normed, r), width, tokens,
                    to, LANES);
            activate(b, to, active.at + r * active.row + o * active.piece, 0);
        }
    multiply_rows(packed->weight[DOWN], bias_of(b, DOWN), active, hidden, y, width, rows, tokens);
    add_rows(middle, y, y, width, rows, tokens);
}

// x -> y, both [rows][tokens][width].
EXPORT void textgen_block_forward(const Block *b, float *work, int64_t threads) {
    Parameters packed = take_parameters(b, 0, &work);
    int64_t floats = own_floats(b, 0), group = group_of(b);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        for (int part = 0; part < ALL; part++)
            if (!is_norm(part)) pack(weight_of(b, part), inputs_of(b, part), outputs_of(b, part), packed.weight[part]);
#pragma omp barrier
        Range mine = my_share(b->rows);
        for (int64_t r = mine.begin; r < mine.end; r += group)
            forward_rows(b, &packed, r, mine.end - r < group ? mine.end - r : group,
                         work + omp_get_thread_num() * floats);
    }
}

// ---- backward

// The gradients of a linear layer's weights and bias, where they are asked for.
static void add_gradients(const Block *b, int part, View x, View dy, int64_t rows, const Parameters *sums) {
    if (b->gradients[2 * part])
        add_weight_gradient(x, inputs_of(b, part), dy, outputs_of(b, part), rows, b->tokens, sums->weight[part]);
    if (b->gradients[2 * part + 1]) add_bias_gradient(dy, outputs_of(b, part), rows, b->tokens, sums->bias[part]);
}

// to = rest + the gradient through a norm of x; all of them views of `rows` rows.
static void norm_rows_backward(const Block *b, int part, View x, View dy, View rest, int64_t rows, View to,
                               const Measure *measures, const Parameters *sums) {
    Norm norm = norm_of(b, part);
    for (int64_t r = 0; r < rows; r++)
        norm_row_backward(&norm, after(x, r), after(dy, r), after(rest, r), b->tokens, after(to, r), measures + r * b->tokens,
                          sums->weight[part], sums->bias[part]);
}

// Some rows, from `row` on, back through the block; what the parameters get is added to `sums`.
static void backward_rows(const Block *b, const Parameters *packed, int64_t row, int64_t rows, float *work,
                          const Parameters *sums) {
    int64_t width = b->width, hidden = b->hidden, tokens = b->tokens, all = rows * tokens;
    Norm norm = norm_of(b, NORM), mlp_norm = norm_of(b, MLP_NORM);
    Saved saved = saved_of(b);
    View x = after(plain(b->x, tokens, width), row), dx = after(plain(b->dx, tokens, width), row);
    View mixed = after(saved.mixed, row), middle = after(saved.middle, row), raised = after(saved.raised, row);
    View up = panels(take(&work, all * width), tokens, width), down = panels(take(&work, all * width), tokens, width);
    Measure *measures = (Measure *)take(&work, 2 * all);
    View normed = panels(take(&work, all * width), tokens, width);
    View dqkv = panels(take(&work, all * 3 * width), tokens, 3 * width);
    View active = panels(take(&work, all * hidden), tokens, hidden);
    View draised = panels(take(&work, all * hidden), tokens, hidden);
    static const float none[LANES];

    copy_rows(after(plain(b->dy, tokens, width), row), up, width, rows, tokens);
    for (int64_t o = 0; o < hidden / LANES; o++)
        for (int64_t r = 0; r < rows; r++) {
            float *to = draised.at + r * draised.row + o * draised.piece;
            outputs(packed->weight[DOWN] + o * width * LANES, none, after(up, r), width, tokens, to, LANES);
            activate(b, raised.at + r * raised.row + o * raised.piece, active.at + r * active.row + o * active.piece, to);
        }
    add_gradients(b, DOWN, active, up, rows, sums);
    norm_rows(&mlp_norm, middle, rows, tokens, normed, measures);
    add_gradients(b, UP, normed, draised, rows, sums);
    multiply_rows(packed->weight[UP], 0, draised, hidden, down, width, rows, tokens);
    norm_rows_backward(b, MLP_NORM, middle, down, up, rows, up, measures, sums);

    add_gradients(b, OUT, mixed, up, rows, sums);
    multiply_rows(packed->weight[OUT], 0, up, width, down, width, rows, tokens);
    Attention attention = attention_of(b, after(saved.qkv, row));
    Heads above = heads_of(b, down, 0);
    HeadGradients below = {heads_of(b, dqkv, 0), heads_of(b, dqkv, 1), heads_of(b, dqkv, 2)};
    const float *logarithms = saved.logarithms + row * b->heads * tokens;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < b->heads; h++)
            attend_head_backward(&attention, &above, logarithms, r, h, work, &below);
    norm_rows(&norm, x, rows, tokens, normed, measures);
    add_gradients(b, QKV, normed, dqkv, rows, sums);
    multiply_rows(packed->weight[QKV], 0, dqkv, 3 * width, down, width, rows, tokens);
    norm_rows_backward(b, NORM, x, down, up, rows, dx, measures, sums);
}

static void unite(const Block *b, const Parameters *first, int64_t stride) {
    for (int part = 0; part < ALL; part++) {
        float *weight = b->gradients[2 * part], *bias = b->gradients[2 * part + 1];
        int64_t in = is_norm(part) ? 1 : inputs_of(b, part), out = outputs_of(b, part);
        if (weight) unite_weight(first->weight[part], stride, in, in, out, weight);
        if (bias) unite_weight(first->bias[part], stride, 1, 1, out, bias);
    }
}

// The gradients of x and of all parameters that have a place for one. The same number of threads gives the same bits.
EXPORT void textgen_block_backward(const Block *b, float *work, int64_t threads) {
    Parameters packed = take_parameters(b, 0, &work);
    int64_t floats = own_floats(b, 1), group = group_of(b), summed = parameter_floats(b);
    float *begin = work;
    Parameters first = take_parameters(b, 1, &begin);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        for (int part = 0; part < ALL; part++)
            if (!is_norm(part))
                pack_turned(weight_of(b, part), inputs_of(b, part), outputs_of(b, part), packed.weight[part]);
        float *own = work + omp_get_thread_num() * floats;
        memset(own, 0, summed * sizeof(float));
        Parameters sums = take_parameters(b, 1, &own);
#pragma omp barrier
        Range mine = my_share(b->rows);
        for (int64_t r = mine.begin; r < mine.end; r += group)
            backward_rows(b, &packed, r, mine.end - r < group ? mine.end - r : group, own, &sums);
#pragma omp barrier
        unite(b, &first, floats);
    }
}
