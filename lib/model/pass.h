/* SPDX-License-Identifier: MIT
 *
 * One pass of packed rows through the layers, forward and backward: what sessions and decoders share. T rows
 * enter; in the last layer, after keys and values, only the P selected ones go on ("R rows" is T, or P
 * there).
 */
#ifndef FT_MODEL_PASS_H
#define FT_MODEL_PASS_H

#include "ft/attention.h"
#include "ft/exec.h"
#include "model.h"

/* --- memory: the same code adds up sizes and takes pieces, so they cannot disagree -------------------- */

struct ft_layout {
    struct ft_arena *arena; /* NULL: only add up */
    size_t bytes;           /* so far; SIZE_MAX after an overflow */
};

void *ft_layout_take(struct ft_layout *layout, size_t count, size_t size);
float *ft_layout_floats(struct ft_layout *layout, size_t rows, size_t cols);
/* To where `bytes` was or will be: for buffers that take turns in the same memory. */
void ft_layout_go(struct ft_layout *layout, size_t mark);

/* --- buffers ------------------------------------------------------------------------------------------ */

enum ft_projection { FT_U_Q, FT_U_K, FT_U_V, FT_U_O, FT_U_GATE, FT_U_UP, FT_U_DOWN, FT_U_COUNT };

/* What a layer leaves for its backward pass. C hidden, H heads, G key/value heads, D head dimension, F ffn.
 * Norm outputs and act(gate) * up are computed again instead. */
struct ft_activations {
    float *x;                 /* [T, C] the layer's input */
    float *mean1, *rstd1;     /* [T] of the first norm (mean: LayerNorm only) */
    float *q;                 /* [R, H, D] after rotation */
    float *k, *v;             /* [T, G, D] k after rotation */
    float *attended;          /* [R, H, D] */
    float *row_max, *row_sum; /* [R, H]; NULL when there is no backward pass */
    float *x_mid;             /* [R, C] after attention */
    float *mean2, *rstd2;     /* [R] */
    float *gate, *up;         /* [R, F] gate: gated models only */
    /* where the family has norms of q and k, and of what attention and feed-forward add: */
    float *q_in, *k_in, *q_rstd, *k_rstd; /* as q and k; a number for what the norm goes over */
    float *o, *down, *o_rstd, *down_rstd; /* [R, C] x 2, [R] x 2 */
    float *u[FT_U_COUNT];     /* [T or R, rank]: (x A^T) * scale of adapted modules */
};

/* Used by one layer after the other. */
struct ft_workspace {
    float *n;                   /* [T, C] output of a norm */
    float *n_select, *x_select; /* [P, C] selected rows of the last layer's n and x */
    float *u_select;            /* [P, rank] of a fused q, k, v module's u */
    float *u_embed;             /* [T, rank] of the embedding table's adapter */
    float *dora;                /* for ft_dora_refresh */
    float *branch;              /* [R, C] what is added to the residual stream; NULL: added at once */
    float *qkv;                 /* [T, H * 3 * D] outputs by head, or their gradient */
    /* from here on nothing lasts from the forward pass to the backward pass: a session's logits lie here in between */
    float *h;                   /* [R, F] input of down */
    /* backward only: */
    float *d, *d_select;    /* [T, C], [P, C] gradient of the residual stream */
    float *dn, *dn_select;  /* [T, C], [P, C] gradient of a norm's output */
    float *d_branch;        /* [R, C] gradient of what a branch's norm or scale takes in */
    float *d_parallel;      /* [R, C] the feed-forward's gradient of the layer's input */
    float *d_attended, *dq; /* [R, H, D] */
    float *dk, *dv;         /* [T, G, D] */
    float *dh;              /* [R, F] */
    float *du, *du_select;  /* [T, rank], [P, rank] */
    float *z;               /* [T, widest] outputs of a module with magnitudes before its gain, then their gradient */
    void *attention;        /* scratch of attention kernels */
    /* keys of documents with the prompts that they share, a few documents at a time: */
    size_t key_rows;      /* of these; 0: no document shares anything */
    float *keys, *values; /* [key_rows, G, D] */
    float *d_keys, *d_values;
};

/* Keys and values of one layer that outlive the pass: rows of k and v are copied to rows `row` of these. */
struct ft_cache_layer {
    float *k, *v;
};

/* The angles of one set of frequencies. */
struct ft_rotary {
    float *cosine, *sine; /* [positions, dimensions / 2] */
};

struct ft_pass {
    struct ft_exec *exec;
    const struct ft_model *model;
    const struct ft_layer *layers; /* the model's, or a copy with packed weights */
    const struct ft_packed *table; /* the embedding table, packed, or NULL: the model's own */
    struct ft_workspace work;
    struct ft_rotary rotary[FT_ROPES_MAX]; /* those that the configuration has */
    /* the rows: */
    size_t rows, selected;           /* T, P */
    const uint32_t *ids, *position;  /* [T] */
    const uint32_t *select;          /* [P] ascending: which rows go on in the last layer */
    const uint32_t *select_position; /* [P] */
    size_t documents;
    const struct ft_attention_document *document;        /* [documents] of all rows */
    const struct ft_attention_document *select_document; /* [documents] queries are the selected rows */
    const struct ft_cache_layer *cache; /* [layers], or NULL: documents refer to the pass's own k and v */
    const uint32_t *cache_row;          /* [T] */
    /* Where documents share prompts, whose rows another pass computed: */
    const struct ft_shared_keys *shared;           /* [documents], or NULL: none does */
    const struct ft_cache_layer *prompt;           /* [layers] that pass's k and v */
    const struct ft_cache_layer *prompt_gradient;  /* [layers] of k and v; this pass adds to them */
    struct ft_attention_document *chunk;           /* [documents] scratch */
    bool is_prompt; /* this is that other pass: its gradients of k and v go on from prompt_gradient */
};

/* Keys in front of a document's own: rows [first, first + count) of the pass of prompts. */
struct ft_shared_keys {
    size_t first, count;
};

/* Layer l's activations but for x, for up to T and P rows, or, with FT_ANY_LAYER, those that all layers can use in turn;
 * backward: with what only a backward pass needs. */
#define FT_ANY_LAYER SIZE_MAX
void ft_pass_lay_activations(struct ft_layout *layout, const struct ft_model *model, size_t l, size_t T,
                             size_t P, bool backward, struct ft_activations *activations);
/* longest: keys of a document at most. key_rows: see struct ft_workspace. Returns the mark from which on it holds nothing
 * between the forward and the backward pass. */
size_t ft_pass_lay_workspace(struct ft_layout *layout, struct ft_exec *exec, const struct ft_model *model,
                             size_t T, size_t P, size_t longest, size_t key_rows, bool backward,
                             struct ft_workspace *work);

/* Rotary tables for positions [0, count), filled when there is memory: frequency f as in rope.c; angle =
 * position * f in binary32; cosine and sine in binary64, rounded, then times the amplitude in binary32. */
void ft_pass_lay_rotary(struct ft_layout *layout, const struct ft_model *model, size_t count,
                        struct ft_rotary rotary[FT_ROPES_MAX]);

/* --- the transformer ---------------------------------------------------------------------------------- */

/* x [T, C] = embeddings of ids (+ positions) (+ the table's adapter). */
void ft_pass_embed(const struct ft_pass *pass, float *x);
/* Gradients of that adapter, if there is one and it is trained, from d [T, C]; overwrites work.du. */
void ft_pass_embed_adapter_backward(const struct ft_pass *pass, const float *d);

/* From activations->x to y, [R, C]. y may be activations->x when there is no backward pass. With y NULL everything
 * else is computed: for a backward pass whose forward pass kept activations->x alone. */
void ft_pass_layer_forward(const struct ft_pass *pass, size_t l, struct ft_activations *activations,
                           float *y);

/* From the gradient of y to that of activations->x: from work.d_select where rows were selected, else work.d,
 * to work.d. Accumulates gradients of what is trained and stops at `lowest` (ft_model_lowest). Overwrites
 * gate and up. */
void ft_pass_layer_backward(const struct ft_pass *pass, size_t l, size_t lowest,
                            struct ft_activations *activations);

/* True when something lies between a branch's last linear map and the residual stream. */
bool ft_pass_has_branch(const struct ft_model *model);

/* The rows of x [T, C] that go on in layer l: x itself, or gathered into work.x_select. */
const float *ft_pass_selected(const struct ft_pass *pass, size_t l, const float *x);

/* Outputs by head: which 0, 1 or 2 (q, k or v) of rows row[i] (NULL: i) of work.qkv to dense rows i of part,
 * or back. */
enum ft_heads_move { FT_HEADS_OUT, FT_HEADS_BACK };
void ft_pass_move_heads(const struct ft_pass *pass, enum ft_heads_move move, size_t which, size_t rows,
                        const uint32_t *row, float *part);

/* Logits [rows, vocab] from the head's outputs, in place: times the scale, then capped. */
void ft_pass_finish_logits(const struct ft_pass *pass, size_t rows, float *logits);

/* True when layer l computes some rows only. */
bool ft_pass_selects(const struct ft_pass *pass, size_t l);

/* Rows as wide as the norm's weight. A family without this norm: x itself. */
void ft_norm_forward(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                     const float *x, float *y, float *mean, float *rstd);
/* dx = dx_in (may be NULL, may be dx) + gradient through the norm; dy may be dx when dx_in is NULL. */
void ft_norm_backward(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                      const float *x, const float *mean, const float *rstd, const float *dy,
                      const float *dx_in, float *dx);

/* The attention of layer l; documents are those of its queries. */
struct ft_attention ft_pass_attention(const struct ft_pass *pass, size_t l, bool select);

/* Rotates (inverse: back) the heads of x [rows, heads, D] by their rows' positions, where layer l does. */
void ft_pass_rotate(const struct ft_pass *pass, size_t l, size_t rows, size_t heads, const uint32_t *position,
                    bool inverse, float *x);

/* attended from q, k and v, which are rotated already. */
void ft_pass_attend(const struct ft_pass *pass, size_t l, struct ft_activations *activations);
/* work.dq, dk and dv from work.d_attended; the part of shared keys goes to prompt_gradient. */
void ft_pass_attend_backward(const struct ft_pass *pass, size_t l, const struct ft_activations *activations);

#endif
