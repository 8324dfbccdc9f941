// What happens to the input of a product: it is normalized, or gated, and for int8 brought to bytes.
#include <math.h>

#include "native.h"
#include "simd.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// LayerNorm (with a bias) or RMSNorm (without) of one row: x, y [size]. They may be the same.
void normalize(const Norm *norm, const float *x, float *y) {
    int64_t n = norm->size;
    Parts sum = {}, squares = {};
    float mean = 0;
    if (norm->bias) {
        for (int64_t i = 0; i < n; i += LANES)
            UNROLL for (int p = 0; p < PARTS; p++) sum.at[p] += load_part(x + i + p * PART);
        mean = sum_lanes(joined(sum)) / n;
    }
    for (int64_t i = 0; i < n; i += LANES)
        UNROLL for (int p = 0; p < PARTS; p++) {
            vpart v = load_part(x + i + p * PART) - mean;
            squares.at[p] += v * v;
        }
    float scale = 1.f / sqrtf(sum_lanes(joined(squares)) / n + norm->eps);
    for (int64_t i = 0; i < n; i += PART) {
        vpart v = (load_part(x + i) - mean) * scale * load_part(norm->weight + i);
        if (norm->bias) v += load_part(norm->bias + i);
        store_part(y + i, v);
    }
}

// y [n] = activation(x[0..n]) * x[n..2n]
void gate(const float *x, int64_t n, int64_t activation, float *y) {
    for (int64_t i = 0; i < n; i += PART)
        store_part(y + i, activate_part(load_part(x + i), activation) * load_part(x + n + i));
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// Sixteen numbers from 0 to 255, of which 128 are taken off, as bytes.
INLINE __m128i to_bytes(Parts numbers) {
    __m256i words = _mm256_packs_epi32(_mm256_cvttps_epi32((__m256)numbers.at[0]), _mm256_cvttps_epi32((__m256)numbers.at[1]));
    words = _mm256_sub_epi16(_mm256_permute4x64_epi64(words, 0xD8), _mm256_set1_epi16(128));
    return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

#elif defined(__AVX512F__)
INLINE __m128i to_bytes(Parts numbers) {
    __m512i whole = _mm512_sub_epi32(_mm512_cvttps_epi32((__m512)numbers.at[0]), _mm512_set1_epi32(128));
    return _mm512_cvtepi32_epi8(whole);
}
#endif

// Sixteen inputs of a product, from numbers between 0 and 255; returns what those below 128 lack, all together.
INLINE int32_t put_inputs(uint8_t *to, Parts numbers) {
#if defined(__AVX2__) && !defined(__AVX512VNNI__)
    __m128i v = to_bytes(numbers), zero = _mm_setzero_si128();
    __m128i sizes = _mm_abs_epi8(v), masks = _mm_cmpgt_epi8(zero, v);
    _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi32(sizes, masks));
    _mm_storeu_si128((__m128i *)(to + 16), _mm_unpackhi_epi32(sizes, masks));
    __m128i sums = _mm_sad_epu8(_mm_and_si128(sizes, masks), zero);
    return _mm_cvtsi128_si32(sums) + _mm_extract_epi32(sums, 2);
#else
    vint v = __builtin_convertvector(joined(numbers), vint);
    if (CENTERED) v -= 128;
    *(vbyte *)to = __builtin_convertvector(v, vbyte);
    return 0;
#endif
}

// One row in 8 bits: q = 128 + round(127 x / top), from 1 to 255; CENTERED: without the 128, from -127 to 127. `top` is
// the largest absolute value. q: [n][INPUT_BYTES]
ByteRow quantize(const float *x, int64_t n, uint8_t *q) {
    Parts largest = {};
    for (int64_t i = 0; i < n; i += LANES)
        UNROLL for (int p = 0; p < PARTS; p++) {
            vpart size = (vpart)((vipart)load_part(x + i + p * PART) & 0x7fffffff);
            largest.at[p] = choose_part(largest.at[p] > size, largest.at[p], size);
        }
    float top = max_lanes(joined(largest));
    float scale = top > 0 ? 127.f / top : 0;
    int32_t negative = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        Parts v;
        UNROLL for (int p = 0; p < PARTS; p++) v.at[p] = load_part(x + i + p * PART) * scale + 128.5f;
        negative += put_inputs(q + i * INPUT_BYTES, v);
    }
    return (ByteRow){top, negative};
}

// An input as `quantize` has left it: the number, 128 larger.
static uint8_t input_at(const uint8_t *q, int64_t i) {
    if (INPUT_BYTES == 1) return CENTERED ? q[i] ^ 128 : q[i];
    const uint8_t *four = q + i / 4 * 8 + i % 4;
    return four[4] ? 128 - four[0] : 128 + four[0];
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
    float *prepared = few ? work.own : work.shared;  // [rows][n] floats, then what belongs to their bytes, then these
    ByteRow *of = (ByteRow *)(prepared + rows * n);
    uint8_t *bytes = (uint8_t *)(of + rows);  // [rows][n][INPUT_BYTES]
    if (changed || linear->scale) {
        Range mine = few ? (Range){0, rows} : my_share(rows);
        for (int64_t r = mine.begin; r < mine.end; r++) {
            const float *from = x + r * stride;
            float *to = prepared + r * n;
            if (norm) normalize(norm, from, to);
            if (gate_by != NONE) gate(from, n, gate_by, to);
            if (linear->scale) of[r] = quantize(changed ? to : from, n, bytes + r * n * INPUT_BYTES);
        }
        if (!few) meet();
    }
    const void *input = linear->scale ? (const void *)bytes : changed ? prepared : x;
    multiply(linear, input, of, rows, out);
}

// ---- each for itself, so that it can be compared with torch

EXPORT void textgen_activation(const float *x, int64_t n, int64_t activation, float *y) {
    for (int64_t i = 0; i < n; i += PART) store_part(y + i, activate_part(load_part(x + i), activation));
}

EXPORT void textgen_norm(const Norm *norm, const float *x, int64_t rows, float *y) {
    for (int64_t r = 0; r < rows; r++) normalize(norm, x + r * norm->size, y + r * norm->size);
}

EXPORT void textgen_gate(const float *x, int64_t rows, int64_t n, int64_t activation, float *y) {
    for (int64_t r = 0; r < rows; r++) gate(x + r * 2 * n, n, activation, y + r * n);
}

// q [rows][n]
EXPORT void textgen_quantize(const float *x, int64_t rows, int64_t n, uint8_t *q, float *tops) {
    uint8_t made[n * INPUT_BYTES];
    for (int64_t r = 0; r < rows; r++) {
        tops[r] = quantize(x + r * n, n, made).top;
        for (int64_t i = 0; i < n; i++) q[r * n + i] = input_at(made, i);
    }
}
