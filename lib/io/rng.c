/* SPDX-License-Identifier: MIT */
#include "ft/rng.h"

void ft_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; /* Weyl sequences: the golden ratio and sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

struct ft_rng ft_rng_new(uint64_t seed, enum ft_rng_purpose purpose) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, counter[4] = {(uint32_t)purpose};
    uint32_t out[4];
    ft_philox(counter, key, out);
    return (struct ft_rng){{out[0], out[1]}};
}

void ft_rng_u32x4(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index, uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), tensor, step};
    ft_philox(counter, rng->key, out);
}

uint32_t ft_rng_u32(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index) {
    uint32_t out[4];
    ft_rng_u32x4(rng, step, tensor, index / 4, out);
    return out[index % 4];
}

uint64_t ft_rng_u64(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index) {
    uint32_t out[4];
    ft_rng_u32x4(rng, step, tensor, index, out);
    return (uint64_t)out[1] << 32 | out[0];
}

float ft_rng_uniform(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index) {
    return (float)(ft_rng_u32(rng, step, tensor, index) >> 8) * 0x1p-24f;
}

double ft_rng_uniform_double(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index) {
    return (double)(ft_rng_u64(rng, step, tensor, index) >> 11) * 0x1p-53;
}

uint64_t ft_rng_bounded(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index,
                        uint64_t bound) {
    uint64_t excess = -bound % bound; /* 2^64 mod bound: products with a low half below it would be one too many */
    for (uint64_t attempt = 0;; attempt++) {
        uint64_t word = ft_rng_u64(rng, step, tensor, index + (attempt << 56));
        unsigned __int128 product = (unsigned __int128)word * bound;
        if ((uint64_t)product >= excess || attempt == 255) return (uint64_t)(product >> 64);
    }
}

void ft_rng_shuffle(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint32_t *items, size_t count) {
    for (size_t i = count; i-- > 1;) {
        size_t j = (size_t)ft_rng_bounded(rng, step, tensor, i, (uint64_t)i + 1);
        uint32_t held = items[i];
        items[i] = items[j];
        items[j] = held;
    }
}
