// Sixteen numbers at a time, in the vector types that GCC and Clang know for every processor: where a
// register is narrower the compiler takes several. But it keeps such a vector in memory between two statements, so
// sums that grow in a loop are written as parts, each of which is one register.
#ifndef TEXTGEN_SIMD_H
#define TEXTGEN_SIMD_H

#include <stdint.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// A moment of rest for a thread that waits for another.
static inline void look_away(void) {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");  // `yield` takes no time on most processors
#endif
}

#define LANES 16  // numbers in a vector; every width (in floats) is a multiple of it
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

// Aligned like one number, so that a vector may begin anywhere; may alias what it is read from.
typedef float vfloat __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t vint __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint8_t vbyte __attribute__((vector_size(16), aligned(1), may_alias));

#if defined(__AVX512F__)
#define PART 16  // numbers in a register
#elif defined(__AVX2__)
#define PART 8
#else
#define PART 4
#endif
enum { PARTS = LANES / PART };  // registers that sixteen numbers take
typedef float vpart __attribute__((vector_size(4 * PART), aligned(4), may_alias));
typedef int32_t vipart __attribute__((vector_size(4 * PART), aligned(4), may_alias));
typedef uint32_t vupart __attribute__((vector_size(4 * PART), aligned(4), may_alias));
typedef uint16_t vhpart __attribute__((vector_size(2 * PART), aligned(2), may_alias));
typedef double vdpart __attribute__((vector_size(8 * PART), aligned(8), may_alias));

// Eight numbers in double precision, for draws near a border.
typedef double vdouble __attribute__((vector_size(64), aligned(8), may_alias));
typedef int64_t vlong __attribute__((vector_size(64), aligned(8), may_alias));

enum { RELU = 0, SILU = 1, GELU_TANH = 2, GELU_ERF = 3 };  // the same numbers as ACTIVATIONS in Python

// How many numbers fill whole vectors.
static inline int64_t up_to_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

INLINE vfloat load(const float *from) { return *(const vfloat *)from; }
INLINE void store(float *to, vfloat v) { *(vfloat *)to = v; }
INLINE vpart load_part(const float *from) { return *(const vpart *)from; }
INLINE void store_part(float *to, vpart v) { *(vpart *)to = v; }

// bfloat16, which is the upper half of a float32: read, and rounded to the nearest, of two to the even one.
INLINE vpart load_half(const uint16_t *from) {
#if PART == 8  // GCC widens eight numbers in two halves
    return (vpart)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
#else
    return (vpart)(__builtin_convertvector(*(const vhpart *)from, vupart) << 16);
#endif
}
INLINE uint16_t halved(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// The larger of two numbers each, or the smaller; `b` where it is none (NaN).
INLINE vpart larger_part(vpart a, vpart b) {
#if defined(__AVX512F__)
    return (vpart)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vpart)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vpart)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (vpart)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
    vipart is_larger = a > b;
    return (vpart)(((vipart)a & is_larger) | ((vipart)b & ~is_larger));
#endif
}

INLINE vpart smaller_part(vpart a, vpart b) {
#if defined(__AVX512F__)
    return (vpart)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vpart)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vpart)_mm_min_ps((__m128)a, (__m128)b);
#else
    return -larger_part(-a, -b);
#endif
}

// Sixteen sums, or largest numbers, in the registers that they take.
typedef struct {
    vpart at[PARTS];
} Parts;

INLINE vfloat joined(Parts parts) {
    vfloat all;
    UNROLL for (int p = 0; p < PARTS; p++) store_part((float *)&all + p * PART, parts.at[p]);
    return all;
}

// Halves are added to each other until one number is left: four additions wait for each other, in place of fifteen.
INLINE float sum_lanes(vfloat v) {
    float sums[LANES];
    store(sums, v);
    UNROLL for (int half = LANES / 2; half; half /= 2)
        UNROLL for (int i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

INLINE float max_lanes(vfloat v) {
    float tops[LANES];
    store(tops, v);
    UNROLL for (int half = LANES / 2; half; half /= 2)
        UNROLL for (int i = 0; i < half; i++) tops[i] = tops[i + half] > tops[i] ? tops[i + half] : tops[i];
    return tops[0];
}

// e^x with a relative error of 1e-7, for x from -87 to 88 (beyond: as at the bound).
// x = k ln 2 + r with |r| <= ln 2 / 2; then Cephes' polynomial for e^r (expf.c, netlib.org/cephes).
// ln 2 is split in two (0.693359375 is exact in few bits), so that r loses nothing.
INLINE vpart vexp_part(vpart x) {
    x = smaller_part((vpart){} + 88.f, larger_part((vpart){} - 87.f, x));
    vipart n = __builtin_convertvector(x * 1.44269504f + 127.5f, vipart);
    vpart k = __builtin_convertvector(n - 127, vpart);
    vpart r = x - k * .693359375f + k * 2.12194440e-4f;
    vpart p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + .5f;
    return (p * r * r + r + 1.f) * (vpart)(n << 23);  // n is the exponent's bits: times 2^k
}

// The numbers of `a` where the mask is -1, of `b` where it is 0.
INLINE vpart choose_part(vipart mask, vpart a, vpart b) {
    return (vpart)(((vipart)a & mask) | ((vipart)b & ~mask));
}

// GELU by the error function: Abramowitz and Stegun 7.1.26, whose error is 1.5e-7.
INLINE vpart gelu_erf(vpart x) {
    vpart size = choose_part(x < 0.f, -x, x);
    vpart z = .70710678f * size;
    vpart t = 1.f / (1.f + .3275911f * z);
    vpart p = 1.061405429f * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - .284496736f;
    p = p * t + .254829592f;
    vpart erf = 1.f - p * t * vexp_part(-z * z);
    return .5f * x * (1.f + choose_part(x < 0.f, -erf, erf));
}

INLINE vpart activate_part(vpart x, int64_t kind) {
    if (kind == RELU) return choose_part(x > 0.f, x, (vpart){});
    if (kind == SILU) return x / (1.f + vexp_part(-x));
    // (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
    if (kind == GELU_TANH) return x / (1.f + vexp_part(-1.5957691216f * (x + .044715f * x * x * x)));
    return gelu_erf(x);
}

// x times this is GELU(x); `slope` becomes what it grows by.
INLINE vpart gelu_factor(vpart x, int64_t by_tanh, vpart *slope) {
    if (by_tanh) {
        // (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
        vpart square = x * x;
        vpart factor = 1.f / (1.f + vexp_part(-1.5957691216f * x * (1.f + .044715f * square)));
        *slope = factor * (1.f - factor) * 1.5957691216f * (1.f + .134145f * square);
        return factor;
    }
    // half of 1 + erf(x / sqrt(2)): Abramowitz and Stegun 7.1.26, whose error is 1.5e-7
    vipart is_negative = x < 0.f;
    vpart z = (vpart)((vipart)x & 0x7fffffff) * .70710678f;
    vpart t = 1.f / (1.f + .3275911f * z), bell = vexp_part(-z * z);
    vpart p = 1.061405429f * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - .284496736f;
    p = p * t + .254829592f;
    vpart above = .5f * p * t * bell;
    *slope = .39894228f * bell;
    return (vpart)(((vipart)above & is_negative) | ((vipart)(1.f - above) & ~is_negative));
}

// e^x in double precision for x <= 0 (0 below -700): Taylor's series to x^13 for |r| <= ln 2 / 2.
INLINE vdouble vexp_double(vdouble x) {
    vlong low = x < -700.;
    x = (vdouble)((vlong)x & ~low);
    vlong n = __builtin_convertvector(x * 1.4426950408889634 - .5, vlong);
    vdouble k = __builtin_convertvector(n, vdouble);
    vdouble r = x - k * .693147180369123816490 - k * 1.90821492927058770002e-10;
    vdouble p = (vdouble){} + 1.;
    UNROLL for (int i = 13; i > 0; i--) p = p * r * (1. / i) + 1.;
    return (vdouble)((vlong)(p * (vdouble)((n + 1023) << 52)) & ~low);
}

#endif
