/* SPDX-License-Identifier: MIT
 *
 * One linear map y = x W^T + u B^T + b on rows, with u = (x A^T) * scale when its module is adapted, and
 * its gradients. x is [rows, in] and dense; y and dy are [rows, slice.out] and dense. Chains as ft/session.h
 * says.
 */
#ifndef FT_MODEL_LINEAR_H
#define FT_MODEL_LINEAR_H

#include "ft/exec.h"
#include "model.h"

static inline bool ft_module_adapted(const struct ft_module *module) { return module->lora_a != NULL; }

/* u [rows, rank] */
void ft_module_project(struct ft_exec *exec, const struct ft_module *module, size_t rows, const float *x,
                       float *u);

/* A map to be run beside others. */
struct ft_linear {
    struct ft_slice slice;
    size_t rows;
    const float *x; /* [rows, in] */
    float *u;       /* [rows, rank] of its module, or anything */
    float *y;       /* [rows, slice.out], apart from what the other maps read and write */
};
enum { FT_LINEAR_MAPS = 3 }; /* at most */
/* The u of each, once where maps have one in common. */
void ft_linear_project_all(struct ft_exec *exec, const struct ft_linear *map, size_t count);
/* ft_linear_forward of each, without `add`. */
void ft_linear_forward_all(struct ft_exec *exec, const struct ft_linear *map, size_t count);

/* The slice's weights as the operand b of y = x W^T: element (i, o). */
struct ft_operand ft_linear_operand(struct ft_slice slice);

/* y = x W^T (+ u B^T) (+ b) (+ add), the products times the gain where the module has magnitudes. u is ignored
 * unless the module is adapted. add: [rows, out] or NULL; it may be y where the module has no magnitudes. */
void ft_linear_forward(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *x,
                       const float *u, const float *add, float *y);

/* Gradients of what is trained among W, b (but see ft_linear_backward_magnitude) and B, from x, u and dy: accumulates. */
void ft_linear_backward_weights(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *x,
                                const float *u, const float *dy);

/* Of a module with magnitudes, before anything else: gradients of magnitudes and biases, and dz = dy * gain, which takes
 * the place of dy in the functions around this one. z: [rows, out] scratch; dz may be dy or z. */
void ft_linear_backward_magnitude(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *x,
                                  const float *u, const float *dy, float *z, float *dz);

/* The gradient of u, a chain over outputs of dy * B that may go through several slices of one module: `more`
 * continues the present du, `last` multiplies by the scale at the end. */
void ft_module_backward_project(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *dy,
                                bool more, bool last, float *du);

/* dA += du^T x, when trained. */
void ft_module_backward_a(struct ft_exec *exec, const struct ft_module *module, size_t rows, const float *x,
                          const float *du);

/* dx = dy W (+ du A), or with `more` the chain that continues dx. du: [rows, rank], or NULL. */
void ft_linear_backward_input(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *dy,
                              const float *du, bool more, float *dx);
/* dx continued by du A, where du is of several slices of a module. */
void ft_module_backward_input(struct ft_exec *exec, const struct ft_module *module, size_t rows,
                              const float *du, float *dx);

#endif
