// Matrix products: y = x W' + b, in float32 or with 8-bit integers.
//
// A weight lies in blocks of 16 outputs, so that one instruction multiplies an input with the weights of 16
// outputs, memory is read strictly forwards, and nothing is added up across a register. The order in which an
// output is summed depends on neither the tile nor the thread: a row is the same to the last bit in any batch.
#include <string.h>

#include "native.h"
#include "simd.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

// A tile: rows, and blocks of 16 outputs, whose sums stay in registers (AVX-512: 24 of 32; AVX2: 12 of 16, where the
// 16 sums of a block take two registers; NEON: 16 of 32; else 8 of 16). One row alone takes more blocks, so that there
// are sums enough to be added to at the same time.
#if defined(__AVX512F__)
enum { FLOAT_ROWS = 4, FLOAT_BLOCKS = 6, ROW_FLOAT_BLOCKS = 6 };
#elif defined(__AVX2__)
enum { FLOAT_ROWS = 6, FLOAT_BLOCKS = 1, ROW_FLOAT_BLOCKS = 4 };
#elif defined(__aarch64__)
enum { FLOAT_ROWS = 4, FLOAT_BLOCKS = 1, ROW_FLOAT_BLOCKS = 4 };
#else
enum { FLOAT_ROWS = 2, FLOAT_BLOCKS = 1, ROW_FLOAT_BLOCKS = 2 };
#endif
#if defined(__AVX512VNNI__)
enum { BYTE_ROWS = 4, BYTE_BLOCKS = 6, ROW_BYTE_BLOCKS = 6 };
#elif defined(__AVX2__)
enum { BYTE_ROWS = 2, BYTE_BLOCKS = 3, ROW_BYTE_BLOCKS = 4 };
#elif defined(__ARM_FEATURE_DOTPROD)
enum { BYTE_ROWS = 4, BYTE_BLOCKS = 1, ROW_BYTE_BLOCKS = 4 };
#else
enum { BYTE_ROWS = 2, BYTE_BLOCKS = 1, ROW_BYTE_BLOCKS = 2 };
#endif
enum { MOST_ROWS = 6, MOST_BLOCKS = 6 };

// The weights that are needed next, and how many bytes of them are asked for with each input of a tile: by the time it is
// their turn they have come from memory.
typedef struct {
    const char *from;
    int64_t pace;
} Ahead;

INLINE void fetch(Ahead ahead, int64_t i) { __builtin_prefetch(ahead.from + i * ahead.pace, 0, 2); }

// Sums [rows][blocks] of a tile in float32. weight: [blocks][in][16], x: [rows][in].
INLINE void dot_float(const float *weight, const float *x, int64_t in, int rows, int blocks, Ahead ahead, float *sums) {
    vpart acc[MOST_ROWS][MOST_BLOCKS * PARTS];
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < blocks * PARTS; p++) acc[r][p] = (vpart){};
    for (int64_t i = 0; i < in; i++) {
        vpart w[MOST_BLOCKS * PARTS];
        if (rows > 1) fetch(ahead, i);
        UNROLL for (int p = 0; p < blocks * PARTS; p++) {
            const float *from = weight + p / PARTS * next_block + i * LANES + p % PARTS * PART;
            w[p] = load_part(from);
            if (rows == 1 && p % PARTS == 0) __builtin_prefetch(from + 256);
        }
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int p = 0; p < blocks * PARTS; p++) acc[r][p] += w[p] * x[r * in + i];
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < blocks * PARTS; p++) store_part(sums + (r * blocks * PARTS + p) * PART, acc[r][p]);
}

// Four bytes, as they lie.
INLINE int32_t load_four(const uint8_t *from) {
    int32_t four;
    memcpy(&four, from, 4);
    return four;
}

// Sums of a tile in integers. weight: [blocks][in / 4][16][4] int8, x: [rows][in][INPUT_BYTES], as `quantize` makes them.
#if defined(__AVX512VNNI__)
INLINE void dot_int8(const int8_t *weight, const uint8_t *x, const ByteRow *of, int64_t in, int rows, int blocks,
                     Ahead ahead, int32_t *sums) {
    __m512i acc[MOST_ROWS][MOST_BLOCKS];
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) acc[r][b] = _mm512_setzero_si512();
    for (int64_t i = 0; i < in; i += 4) {
        __m512i w[MOST_BLOCKS];
        if (rows > 1) fetch(ahead, i);
        UNROLL for (int b = 0; b < blocks; b++) {
            const int8_t *from = weight + b * next_block + i * LANES;
            w[b] = _mm512_loadu_si512(from);
            if (rows == 1) __builtin_prefetch(from + 1024);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            __m512i four = _mm512_set1_epi32(load_four(x + r * in + i));
            UNROLL for (int b = 0; b < blocks; b++) acc[r][b] = _mm512_dpbusd_epi32(acc[r][b], four, w[b]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) _mm512_storeu_si512(sums + (r * blocks + b) * LANES, acc[r][b]);
}
#elif defined(__AVX2__)
// One instruction multiplies unsigned bytes with signed ones and adds two neighbours, in 16 bits, which are too few for
// inputs up to 255. So an input goes in without its sign, and where that was a minus the bits of the weight are turned
// over by the mask: w becomes -w - 1, and the product too small by the input, which is why a sum begins with those inputs
// (`negative` of the row). 2 * 127 * 128 fits into 16 bits, so every sum is exact.
INLINE void dot_int8(const int8_t *weight, const uint8_t *x, const ByteRow *of, int64_t in, int rows, int blocks,
                     Ahead ahead, int32_t *sums) {
    __m256i acc[MOST_ROWS][MOST_BLOCKS * 2];
    __m256i ones = _mm256_set1_epi16(1);
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < blocks * 2; p++) acc[r][p] = _mm256_set1_epi32(of[r].negative);
    for (int64_t i = 0; i < in; i += 4) {
        if (rows > 1) fetch(ahead, i);
        UNROLL for (int r = 0; r < rows; r++) {
            const uint8_t *four = x + (r * in + i) * INPUT_BYTES;
            __m256i size = _mm256_set1_epi32(load_four(four)), minus = _mm256_set1_epi32(load_four(four + 4));
            UNROLL for (int p = 0; p < blocks * 2; p++) {
                const int8_t *from = weight + p / 2 * next_block + i * LANES + p % 2 * 32;
                __m256i w = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)from), minus);
                if (r == 0 && rows == 1 && p % 2 == 0) __builtin_prefetch(from + 1024);
                acc[r][p] = _mm256_add_epi32(acc[r][p], _mm256_madd_epi16(_mm256_maddubs_epi16(size, w), ones));
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < blocks * 2; p++)
            _mm256_storeu_si256((__m256i *)(sums + (r * blocks * 2 + p) * 8), acc[r][p]);
}
#elif defined(__ARM_FEATURE_DOTPROD)
INLINE void dot_int8(const int8_t *weight, const uint8_t *x, const ByteRow *of, int64_t in, int rows, int blocks,
                     Ahead ahead, int32_t *sums) {
    int32x4_t acc[MOST_ROWS][MOST_BLOCKS * 4];
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < blocks * 4; p++) acc[r][p] = vdupq_n_s32(0);
    for (int64_t i = 0; i < in; i += 4) {
        int8x16_t w[MOST_BLOCKS * 4];
        if (rows > 1) fetch(ahead, i);
        UNROLL for (int p = 0; p < blocks * 4; p++) w[p] = vld1q_s8(weight + p / 4 * next_block + i * LANES + p % 4 * 16);
        UNROLL for (int r = 0; r < rows; r++) {
            int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(load_four(x + r * in + i)));
            UNROLL for (int p = 0; p < blocks * 4; p++) acc[r][p] = vdotq_s32(acc[r][p], w[p], four);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < blocks * 4; p++) vst1q_s32(sums + (r * blocks * 4 + p) * 4, acc[r][p]);
}
#else
INLINE void dot_int8(const int8_t *weight, const uint8_t *x, const ByteRow *of, int64_t in, int rows, int blocks,
                     Ahead ahead, int32_t *sums) {
    vint acc[MOST_ROWS][MOST_BLOCKS];
    int64_t next_block = in * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) acc[r][b] = (vint){};
    for (int64_t i = 0; i < in; i += 4)
        UNROLL for (int b = 0; b < blocks; b++) {
            vint w = *(const vint *)(weight + b * next_block + i * LANES);
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four = load_four(x + r * in + i);
                for (int k = 0; k < 4; k++) acc[r][b] += ((four >> 8 * k) & 255) * ((w << (24 - 8 * k)) >> 24);
            }
        }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int b = 0; b < blocks; b++) *(vint *)(sums + (r * blocks + b) * LANES) = acc[r][b];
}
#endif

// Integer sums as numbers. Where an input byte is 128 too large, `weight_sum` is taken off; `top` is the row's largest
// input.
INLINE vpart dequantize(const Linear *linear, int64_t at, vpart integers, float top) {
    vipart sums = (vipart)integers;
    if (!CENTERED) sums -= *(const vipart *)(linear->weight_sum + at);
    return __builtin_convertvector(sums, vpart) * load_part(linear->scale + at) * top;
}

// Puts the sums of a tile, which begins at `row` and `block`, where they go. The last block may be filled in part.
static void put(const Linear *linear, int bytes, const float *sums, const ByteRow *of, int64_t row, int64_t block,
                int rows, int blocks, const Output *out) {
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < blocks; b++, sums += LANES) {
            int64_t at = (block + b) * LANES;
            int64_t left = linear->out_features - at;
            float *to = out->to + (row + r) * out->stride + at;
            float rest[LANES];
            UNROLL for (int i = 0; i < LANES; i += PART) {
                vpart y = load_part(sums + i);
                if (bytes) y = dequantize(linear, at + i, y, of[row + r].top);
                y += load_part(linear->bias + at + i);
                if (out->activation != NONE) y = activate_part(y, out->activation);
                if (left >= LANES && out->add) y += load_part(to + i);
                store_part(left >= LANES ? to + i : rest + i, y);
            }
            for (int i = 0; left < LANES && i < left; i++) to[i] = out->add ? to[i] + rest[i] : rest[i];
        }
}

// One tile; `bytes`, `rows` and `blocks` are known to the compiler.
INLINE void tile(const Linear *linear, int bytes, const void *x, const ByteRow *of, int64_t row, int64_t block, int rows,
                 int blocks, Ahead ahead, const Output *out) {
    float sums[MOST_ROWS * MOST_BLOCKS * LANES] __attribute__((aligned(64)));
    int64_t in = linear->in_features, first = block * in * LANES;
    if (bytes)
        dot_int8((const int8_t *)linear->weight + first, (const uint8_t *)x + row * in * INPUT_BYTES, of + row, in, rows, blocks,
                 ahead, (int32_t *)sums);
    else
        dot_float((const float *)linear->weight + first, (const float *)x + row * in, in, rows, blocks, ahead, sums);
    put(linear, bytes, sums, of, row, block, rows, blocks, out);
}

// Some blocks of all rows, whose weights stay in the cache. The tiles are as even as can be: one of a row or two would
// have too few sums to be added to at the same time.
INLINE void all_rows(const Linear *linear, int bytes, const void *x, const ByteRow *of, int64_t rows, int64_t block,
                     int blocks, const Output *out) {
    int most = bytes ? BYTE_ROWS : FLOAT_ROWS;
    int64_t in = linear->in_features, size = blocks * LANES * (bytes ? 1 : 4);  // bytes of weights for each input
    int64_t tiles = (rows + most - 1) / most, row = 0;
    Ahead ahead = {(const char *)linear->weight + block * in * (size / blocks) + in * size, size / tiles};
    for (int64_t t = 0; t < tiles; t++) {
        int64_t n = rows / tiles + (t < rows % tiles);
        UNROLL for (int r = 1; r <= most; r++)
            if (n == r) tile(linear, bytes, x, of, row, block, r, blocks, ahead, out);
        row += n;
        ahead.from += in * ahead.pace;
    }
}

// The share of a thread, `blocks` at a time.
INLINE void share(const Linear *linear, int bytes, const void *x, const ByteRow *of, int64_t rows, int blocks,
                  const Output *out) {
    Range mine = my_share(linear->blocks);
    int64_t b = mine.begin;
    for (; b + blocks <= mine.end; b += blocks) all_rows(linear, bytes, x, of, rows, b, blocks, out);
    if (blocks > 2)
        for (; b + 2 <= mine.end; b += 2) all_rows(linear, bytes, x, of, rows, b, 2, out);
    for (; b < mine.end; b++) all_rows(linear, bytes, x, of, rows, b, 1, out);
}

// The share of a thread where there is one row: nothing but its tiles.
INLINE void share_of_row(const Linear *linear, int bytes, const void *x, const ByteRow *of, int blocks,
                         const Output *out) {
    Range mine = my_share(linear->blocks);
    int64_t b = mine.begin;
    for (; b + blocks <= mine.end; b += blocks) tile(linear, bytes, x, of, 0, b, 1, blocks, (Ahead){0}, out);
    for (; b < mine.end; b++) tile(linear, bytes, x, of, 0, b, 1, 1, (Ahead){0}, out);
}

// Each thread makes its share of the outputs, for all rows, of which there may be none (the head, where of a piece of a
// prompt nothing is asked). x: [rows][in_features], float32 or (int8) uint8; of: [rows], of each row of bytes (int8 only).
void multiply(const Linear *linear, const void *x, const ByteRow *of, int64_t rows, Output out) {
    if (rows == 0) return;
    if (linear->scale && rows == 1) share_of_row(linear, 1, x, of, ROW_BYTE_BLOCKS, &out);
    else if (linear->scale) share(linear, 1, x, of, rows, BYTE_BLOCKS, &out);
    else if (rows == 1) share_of_row(linear, 0, x, of, ROW_FLOAT_BLOCKS, &out);
    else share(linear, 0, x, of, rows, FLOAT_BLOCKS, &out);
    meet();
}

// Floats that `textgen_linear` needs to work in.
EXPORT int64_t textgen_linear_floats(const Linear *linear, int64_t rows, int64_t threads) {
    return (1 + threads) * 2 * rows * (linear->in_features + LANES);
}

typedef struct {
    const Linear *linear;
    const float *x;
    int64_t rows;
    float *work;
    Output out;
} Product;

static void one_linear(void *whole) {
    const Product *p = whole;
    float *own = p->work + (1 + omp_get_thread_num()) * 2 * p->rows * (p->linear->in_features + LANES);
    apply_linear(p->linear, 0, NONE, p->x, p->rows, (Workspace){own, p->work}, p->out);
}

// One linear layer: x [rows][in_features] -> y [rows][out_features].
EXPORT void textgen_linear(const Linear *linear, const float *x, int64_t rows, float *y, float *work, int64_t threads) {
    Product product = {linear, x, rows, work, {y, linear->out_features, 0, NONE}};
    together(one_linear, &product, threads);
}
