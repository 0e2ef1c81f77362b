/* SPDX-License-Identifier: MIT
 *
 * Softmax of 16 queries beside each other, in forward and backward, over one of vec_*.h. FT_ATTENTION_TABLE
 * names the table that this defines.
 */
#include "attention.h"
#include "elementary_v16.h"

#include <math.h>

/* The keys that all queries see: [begin, end), empty when begin >= end. */
struct common {
    size_t begin, end;
};

static struct common common_keys(const struct ft_attention_lanes *l) {
    return (struct common){l->first[l->count - 1], l->last[0] + 1};
}

/* Each query's bounds as numbers; keys are counted exactly up to 2^24 (attention.c sees to that). */
struct bounds {
    v16 first, last;
};

static struct bounds bounds_of(const struct ft_attention_lanes *l) {
    float first[FT_LANES], last[FT_LANES];
    for (size_t i = 0; i < FT_LANES; i++) {
        size_t query = i < l->count ? i : 0;
        first[i] = (float)l->first[query];
        last[i] = (float)l->last[query];
    }
    return (struct bounds){v16_load(first), v16_load(last)};
}

/* Where key j is visible, x; elsewhere y. */
static v16 where_visible(const struct bounds *b, size_t j, v16 x, v16 y) {
    v16 key = v16_set1((float)j);
    return v16_select(v16_le(b->first, key), v16_select(v16_le(key, b->last), x, y), y);
}

static v16 capped(const struct ft_attention_lanes *l, v16 s) {
    if (l->softcap == 0.0f) return s;
    v16 cap = v16_set1(l->softcap);
    return v16_mul(cap, v16_tanh(v16_div(s, cap)));
}

static v16 cap_and_max(const struct ft_attention_lanes *l, const struct bounds *b, float *s, size_t ld) {
    const v16 lowest = v16_set1(-INFINITY);
    const struct common all = common_keys(l);
    v16 m = lowest;
    for (size_t j = 0; j < l->keys; j++) {
        v16 x = capped(l, v16_load(s + j * ld));
        if (l->softcap != 0.0f) v16_store(s + j * ld, x);
        if (j < all.begin || j >= all.end) x = where_visible(b, j, x, lowest);
        m = v16_greater(x, m);
    }
    return v16_add(m, v16_set1(0.0f));
}

/* The tree of rule 3. lane[n] holds, for each query, the keys n, n + 16, ... of the block, so a query whose
 * first key is not the block's finds its lanes rotated. */
static void tree(const struct ft_attention_lanes *l, v16 lane[FT_LANES], float sum[FT_LANES]) {
    float number[FT_LANES][FT_LANES];
    bool rotated = false;
    for (size_t i = 0; i < l->count; i++) rotated |= l->first[i] % FT_LANES != 0;
    if (!rotated) {
        for (size_t width = FT_LANES / 2; width > 0; width /= 2)
            for (size_t n = 0; n < width; n++) lane[n] = v16_add(lane[n], lane[n + width]);
        v16_store(sum, lane[0]);
        return;
    }
    for (size_t n = 0; n < FT_LANES; n++) v16_store(number[n], lane[n]);
    for (size_t i = 0; i < l->count; i++) {
        float own[FT_LANES];
        for (size_t n = 0; n < FT_LANES; n++) own[n] = number[(n + l->first[i]) % FT_LANES][i];
        sum[i] = v16_sum(v16_load(own));
    }
}

static void softmax(struct ft_attention_lanes *l, float *s, size_t ld) {
    const struct bounds b = bounds_of(l);
    const struct common all = common_keys(l);
    const v16 m = cap_and_max(l, &b, s, ld);
    v16 lane[FT_LANES];
    for (size_t n = 0; n < FT_LANES; n++) lane[n] = v16_set1(0.0f);
    for (size_t j = 0; j < l->keys; j++) {
        v16 e = v16_exp(v16_sub(v16_load(s + j * ld), m)), *to = &lane[j % FT_LANES], more = v16_add(*to, e);
        v16_store(s + j * ld, e);
        *to = j >= all.begin && j < all.end ? more : where_visible(&b, j, more, *to);
    }
    v16_store(l->max, m);
    for (size_t i = 0; i < FT_LANES; i++) l->sum[i] = 1.0f;
    tree(l, lane, l->sum);
    const v16 z = v16_load(l->sum);
    for (size_t j = 0; j < l->keys; j++) v16_store(s + j * ld, v16_div(v16_load(s + j * ld), z));
}

static void gradient(const struct ft_attention_lanes *l, float *s, float *dp, size_t ld) {
    const v16 m = v16_load(l->max), z = v16_load(l->sum), d = v16_load(l->d), scale = v16_set1(l->scale);
    const v16 cap = v16_set1(l->softcap), one = v16_set1(1.0f);
    for (size_t j = 0; j < l->keys; j++) {
        v16 x = capped(l, v16_load(s + j * ld));
        v16 p = v16_div(v16_exp(v16_sub(x, m)), z);
        v16 ds = v16_mul(p, v16_sub(v16_load(dp + j * ld), d));
        if (l->softcap != 0.0f) {
            v16 t = v16_div(x, cap);
            ds = v16_mul(ds, v16_sub(one, v16_mul(t, t)));
        }
        v16_store(s + j * ld, p);
        v16_store(dp + j * ld, v16_mul(ds, scale));
    }
}

/* 64 columns at a time, so that chains enough are in flight. */
static void row(float *c, const float *a, size_t a_step, const float *b, size_t ldb, size_t terms, size_t columns) {
    size_t n = 0;
    for (; n + 64 <= columns; n += 64) {
        v16 x = v16_load(c + n), y = v16_load(c + n + 16), z = v16_load(c + n + 32), w = v16_load(c + n + 48);
        for (size_t j = 0; j < terms; j++) {
            const float *at = b + j * ldb + n;
            v16 f = v16_set1(a[j * a_step]);
            x = v16_fma(f, v16_load(at), x);
            y = v16_fma(f, v16_load(at + 16), y);
            z = v16_fma(f, v16_load(at + 32), z);
            w = v16_fma(f, v16_load(at + 48), w);
        }
        v16_store(c + n, x);
        v16_store(c + n + 16, y);
        v16_store(c + n + 32, z);
        v16_store(c + n + 48, w);
    }
    for (; n + 16 <= columns; n += 16) {
        v16 x = v16_load(c + n);
        for (size_t j = 0; j < terms; j++) x = v16_fma(v16_set1(a[j * a_step]), v16_load(b + j * ldb + n), x);
        v16_store(c + n, x);
    }
    if (n == columns) return;
    v16 x = v16_load_part(c + n, columns - n);
    for (size_t j = 0; j < terms; j++)
        x = v16_fma(v16_set1(a[j * a_step]), v16_load_part(b + j * ldb + n, columns - n), x);
    v16_store_part(c + n, columns - n, x);
}

static float dot(const float *x, const float *y, size_t n) {
    v16 lane = v16_set1(0.0f);
    size_t i = 0;
    for (; i + FT_LANES <= n; i += FT_LANES) lane = v16_fma(v16_load(x + i), v16_load(y + i), lane);
    if (i < n) { /* absent elements leave a lane untouched */
        v16 more = v16_fma(v16_load_part(x + i, n - i), v16_load_part(y + i, n - i), lane);
        lane = v16_select(v16_first(n - i), more, lane);
    }
    return v16_sum(lane);
}

const struct ft_attention_isa FT_ATTENTION_TABLE = {.softmax = softmax, .gradient = gradient, .row = row, .dot = dot};
