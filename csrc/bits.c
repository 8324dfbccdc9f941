// Has a weight changed? The bits of tensors as a few numbers, fast enough to ask before every call.
#include <string.h>

#include "native.h"
#include "simd.h"

// A line is 64 words of 32 bits, and each word goes to a state of its own. A step can be undone, in the state as in the
// word, so that no two words lead to the same state from one: a change of one word is always seen, and more changes
// than one go unseen once in 2^32 times in each of the 64 states that they touch.
enum { WORDS = 64, REGISTERS = WORDS / PART };
#define FACTOR 0x9E3779B1u  // 2^32 divided by the golden ratio, odd
#define BEGINNING 0x85EBCA6Bu

typedef uint32_t vbits __attribute__((vector_size(4 * PART), aligned(1), may_alias));

INLINE void mix(vbits *state, const uint8_t *line) {
    UNROLL for (int r = 0; r < REGISTERS; r++) {
        vbits mixed = (state[r] ^ *(const vbits *)(line + r * 4 * PART)) * FACTOR;
        state[r] = mixed ^ mixed >> 15;
    }
}

// Goes on with some bytes; the last line is filled up with zeros.
static void mix_all(vbits *state, const uint8_t *from, int64_t bytes) {
    int64_t i = 0;
    for (; i + 4 * WORDS <= bytes; i += 4 * WORDS) mix(state, from + i);
    if (i == bytes) return;
    uint8_t last[4 * WORDS] = {0};
    memcpy(last, from + i, bytes - i);
    mix(state, last);
}

// The states after what lies from `begin` up to `end`, where the tensors stand one after the other.
static void states_of(const int64_t *tensors, int64_t n, int64_t begin, int64_t end, uint32_t *to) {
    vbits state[REGISTERS];
    UNROLL for (int r = 0; r < REGISTERS; r++) state[r] = (vbits){} + BEGINNING;
    for (int64_t t = 0, at = 0; t < n && at < end; at += tensors[2 * t + 1], t++) {
        int64_t first = begin > at ? begin - at : 0, bytes = tensors[2 * t + 1];
        int64_t last = end - at < bytes ? end - at : bytes;
        if (first < last) mix_all(state, (const uint8_t *)tensors[2 * t] + first, last - first);
    }
    UNROLL for (int r = 0; r < REGISTERS; r++) *(vbits *)(to + r * PART) = state[r];
}

// tensors [n]: address and bytes of each; states [pieces][64], of `piece` bytes each.
EXPORT void textgen_bits(const int64_t *tensors, int64_t n, int64_t piece, int64_t pieces, int32_t *states,
                         int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
    for (int64_t p = 0; p < pieces; p++)
        states_of(tensors, n, p * piece, (p + 1) * piece, (uint32_t *)states + p * WORDS);
}
