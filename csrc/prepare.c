// What happens to the input of a product: it is normalized, or gated, and for int8 brought to bytes.
#include <math.h>

#include "native.h"
#include "simd.h"

// LayerNorm (with a bias) or RMSNorm (without) of one row: x, y [size]. They may be the same.
void normalize(const Norm *norm, const float *x, float *y) {
    int64_t n = norm->size;
    vfloat sum = {}, squares = {};
    float mean = 0;
    if (norm->bias) {
        for (int64_t i = 0; i < n; i += LANES) sum += load(x + i);
        mean = sum_lanes(sum) / n;
    }
    for (int64_t i = 0; i < n; i += LANES) {
        vfloat v = load(x + i) - mean;
        squares += v * v;
    }
    float scale = 1.f / sqrtf(sum_lanes(squares) / n + norm->eps);
    for (int64_t i = 0; i < n; i += LANES) {
        vfloat v = (load(x + i) - mean) * scale * load(norm->weight + i);
        if (norm->bias) v += load(norm->bias + i);
        store(y + i, v);
    }
}

// y [n] = activation(x[0..n]) * x[n..2n]
void gate(const float *x, int64_t n, int64_t activation, float *y) {
    for (int64_t i = 0; i < n; i += LANES) store(y + i, activate(load(x + i), activation) * load(x + n + i));
}

// One row in 8 bits: q = 128 + round(127 x / top), from 1 to 255. Returns `top`, the largest absolute value.
float quantize(const float *x, int64_t n, uint8_t *q) {
    vfloat largest = {};
    for (int64_t i = 0; i < n; i += LANES) {
        vfloat v = load(x + i);
        largest = vmax(largest, vmax(v, -v));
    }
    float top = max_lanes(largest);
    float scale = top > 0 ? 127.f / top : 0;
    for (int64_t i = 0; i < n; i += LANES) {
        vint v = __builtin_convertvector(load(x + i) * scale + 128.5f, vint);
        *(vbyte *)(q + i) = __builtin_convertvector(v, vbyte);
    }
    return top;
}

// A linear layer with what comes before it: `norm`, or a gate by the activation `gate_by`, or neither (null, NONE).
// x: [rows][in_features], of a gate [rows][2 * in_features]. Called by all threads, which meet at its end.
// Few rows are prepared by every thread for itself, which is cheaper than waiting for another; many are shared out.
void apply_linear(const Linear *linear, const Norm *norm, int64_t gate_by, const float *x, int64_t rows, Workspace work,
                  Output out) {
    int64_t n = linear->in_features;
    int64_t stride = gate_by != NONE ? 2 * n : n;
    int few = rows < 4 * omp_get_num_threads();
    int changed = norm || gate_by != NONE;
    float *prepared = few ? work.own : work.shared;  // [rows][n] floats, [rows] tops, [rows][n] bytes
    float *tops = prepared + rows * n;
    uint8_t *bytes = (uint8_t *)(tops + rows);
    if (changed || linear->scale) {
        Range mine = few ? (Range){0, rows} : my_share(rows);
        for (int64_t r = mine.begin; r < mine.end; r++) {
            const float *from = x + r * stride;
            float *to = prepared + r * n;
            if (norm) normalize(norm, from, to);
            if (gate_by != NONE) gate(from, n, gate_by, to);
            if (linear->scale) tops[r] = quantize(changed ? to : from, n, bytes + r * n);
        }
        if (!few) {
#pragma omp barrier
        }
    }
    const void *input = linear->scale ? (const void *)bytes : changed ? prepared : x;
    multiply(linear, input, tops, rows, out);
}

// ---- each for itself, so that it can be compared with torch

EXPORT void textgen_activation(const float *x, int64_t n, int64_t activation, float *y) {
    for (int64_t i = 0; i < n; i += LANES) store(y + i, activate(load(x + i), activation));
}

EXPORT void textgen_norm(const Norm *norm, const float *x, int64_t rows, float *y) {
    for (int64_t r = 0; r < rows; r++) normalize(norm, x + r * norm->size, y + r * norm->size);
}

EXPORT void textgen_gate(const float *x, int64_t rows, int64_t n, int64_t activation, float *y) {
    for (int64_t r = 0; r < rows; r++) gate(x + r * 2 * n, n, activation, y + r * n);
}

EXPORT void textgen_quantize(const float *x, int64_t rows, int64_t n, uint8_t *q, float *tops) {
    for (int64_t r = 0; r < rows; r++) tops[r] = quantize(x + r * n, n, q + r * n);
}
