/* SPDX-License-Identifier: MIT
 * The attention of a layer: over keys of the pass itself, over cached ones, or, where documents share prompts, over the
 * prompt's keys and then their own. These are put one behind the other for a few documents at a time. */
#include "pass.h"

#include "ft/rows.h"

#include <string.h>

struct ft_attention ft_pass_attention(const struct ft_pass *pass, size_t l, bool select) {
    const struct ft_config *config = &pass->model->config;
    size_t q = config->heads * config->head_dim;
    return (struct ft_attention){.n_head = config->heads,
                                 .n_kv = config->kv_heads,
                                 .head_dim = config->head_dim,
                                 .scale = config->attention_scale,
                                 .softcap = config->attention_softcap,
                                 .window = config->kind[l].window ? config->window : 0,
                                 .n_document = pass->documents,
                                 .document = select ? pass->select_document : pass->document,
                                 .ld_q = q,
                                 .ld_kv = config->kv_heads * config->head_dim,
                                 .ld_o = q};
}

/* --- documents that share prompts ------------------------------------------------------------------------ */

/* Documents [first, first + count) of the pass, described anew in pass->chunk. */
struct chunk {
    const struct ft_pass *pass;
    const struct ft_activations *a;
    size_t l, first, count, width; /* width: numbers in a row of keys */
};

/* As many documents as work.key_rows holds, at least one. Returns false when none is left. */
static bool next_chunk(struct chunk *c, struct ft_attention *attention, const struct ft_attention_document *documents) {
    const struct ft_pass *pass = c->pass;
    size_t rows = 0;
    c->first += c->count;
    for (c->count = 0; c->first + c->count < pass->documents; c->count++) {
        size_t d = c->first + c->count;
        struct ft_attention_document document = documents[d];
        document.key_row = rows;
        document.key_count += pass->shared[d].count;
        if (document.key_count > pass->work.key_rows - rows) break;
        rows += document.key_count;
        pass->chunk[c->count] = document;
    }
    attention->document = pass->chunk;
    attention->n_document = c->count;
    return c->count > 0;
}

static void copy(float *to, size_t to_row, const float *from, size_t from_row, size_t rows, size_t width) {
    memcpy(to + to_row * width, from + from_row * width, rows * width * sizeof *to);
}

static void gather_document(void *arg, size_t i, unsigned worker) {
    (void)worker;
    const struct chunk *c = arg;
    const struct ft_pass *pass = c->pass;
    const struct ft_shared_keys *shared = &pass->shared[c->first + i];
    size_t at = pass->chunk[i].key_row, own = pass->document[c->first + i].key_row;
    size_t count = pass->document[c->first + i].key_count;
    copy(pass->work.keys, at, pass->prompt[c->l].k, shared->first, shared->count, c->width);
    copy(pass->work.values, at, pass->prompt[c->l].v, shared->first, shared->count, c->width);
    copy(pass->work.keys, at + shared->count, c->a->k, own, count, c->width);
    copy(pass->work.values, at + shared->count, c->a->v, own, count, c->width);
}

static void scatter_document(void *arg, size_t i, unsigned worker) {
    (void)worker;
    const struct chunk *c = arg;
    const struct ft_workspace *w = &c->pass->work;
    size_t at = c->pass->chunk[i].key_row + c->pass->shared[c->first + i].count;
    const struct ft_attention_document *own = &c->pass->document[c->first + i];
    copy(w->dk, own->key_row, w->d_keys, at, own->key_count, c->width);
    copy(w->dv, own->key_row, w->d_values, at, own->key_count, c->width);
}

/* The gradient of a shared key is a chain of additions over documents. */
static void add_shared(const struct chunk *c) {
    const struct ft_pass *pass = c->pass;
    const struct ft_cache_layer *to = &pass->prompt_gradient[c->l];
    for (size_t i = 0; i < c->count; i++) {
        const struct ft_shared_keys *shared = &pass->shared[c->first + i];
        size_t at = pass->chunk[i].key_row * c->width, n = shared->count * c->width, row = shared->first * c->width;
        ft_add(pass->exec, n, pass->work.d_keys + at, to->k + row);
        ft_add(pass->exec, n, pass->work.d_values + at, to->v + row);
    }
}

static void attend_shared(const struct ft_pass *pass, size_t l, struct ft_activations *a) {
    struct ft_attention attention = ft_pass_attention(pass, l, ft_pass_selects(pass, l));
    struct chunk c = {.pass = pass, .a = a, .l = l, .width = attention.ld_kv};
    const struct ft_attention_document *documents = attention.document;
    while (next_chunk(&c, &attention, documents)) {
        ft_pool_run(ft_exec_pool(pass->exec), c.count, gather_document, &c);
        ft_attention_forward(pass->exec, &attention, a->q, pass->work.keys, pass->work.values, a->attended, a->row_max,
                             a->row_sum, pass->work.attention);
    }
}

static void attend_shared_backward(const struct ft_pass *pass, size_t l, const struct ft_activations *a) {
    const struct ft_workspace *w = &pass->work;
    struct ft_attention attention = ft_pass_attention(pass, l, ft_pass_selects(pass, l));
    struct chunk c = {.pass = pass, .a = a, .l = l, .width = attention.ld_kv};
    const struct ft_attention_document *documents = attention.document;
    while (next_chunk(&c, &attention, documents)) {
        ft_pool_run(ft_exec_pool(pass->exec), c.count, gather_document, &c);
        ft_attention_backward(pass->exec, &attention, a->q, w->keys, w->values, a->attended, a->row_max, a->row_sum,
                              w->d_attended, w->dq, w->d_keys, w->d_values, w->attention);
        ft_pool_run(ft_exec_pool(pass->exec), c.count, scatter_document, &c);
        add_shared(&c);
    }
}

/* --- any ------------------------------------------------------------------------------------------------- */

void ft_pass_attend(const struct ft_pass *pass, size_t l, struct ft_activations *a) {
    if (pass->shared) {
        attend_shared(pass, l, a);
        return;
    }
    const float *k = a->k, *v = a->v;
    struct ft_attention attention = ft_pass_attention(pass, l, ft_pass_selects(pass, l));
    if (pass->cache) {
        ft_scatter_rows(pass->exec, pass->rows, attention.ld_kv, pass->cache_row, a->k, pass->cache[l].k);
        ft_scatter_rows(pass->exec, pass->rows, attention.ld_kv, pass->cache_row, a->v, pass->cache[l].v);
        k = pass->cache[l].k;
        v = pass->cache[l].v;
    }
    ft_attention_forward(pass->exec, &attention, a->q, k, v, a->attended, a->row_max, a->row_sum,
                         pass->work.attention);
}

void ft_pass_attend_backward(const struct ft_pass *pass, size_t l, const struct ft_activations *a) {
    const struct ft_workspace *w = &pass->work;
    if (pass->shared) {
        attend_shared_backward(pass, l, a);
        return;
    }
    struct ft_attention attention = ft_pass_attention(pass, l, ft_pass_selects(pass, l));
    ft_attention_backward(pass->exec, &attention, a->q, a->k, a->v, a->attended, a->row_max, a->row_sum,
                          w->d_attended, w->dq, w->dk, w->dv, w->attention);
    if (!pass->is_prompt) return;
    /* the prompts' own queries come last: a sum of two has no order */
    ft_add(pass->exec, pass->rows * attention.ld_kv, pass->prompt_gradient[l].k, w->dk);
    ft_add(pass->exec, pass->rows * attention.ld_kv, pass->prompt_gradient[l].v, w->dv);
}
