/* SPDX-License-Identifier: MIT
 * Rotary frequencies (Su et al. 2021) and their scalings for longer contexts: from config.json, and as
 * numbers. */
#include "family.h"
#include "ft/elementary.h"
#include "pass.h"

#include <math.h>
#include <string.h>

static const double two_pi = 6.283185307179586476925;

/* --- from config.json --------------------------------------------------------------------------------- */

/* One object of parameters, and what it belongs to. */
struct source {
    struct ft_config *config;
    const struct ft_json *json;
    const struct cJSON *node;
};

/* A number of the object between min and max; without a fallback (NAN) it is required. */
static enum ft_status number(const struct source *from, const char *key, double min, double max,
                             double fallback, double *out, struct ft_error *error) {
    *out = fallback;
    enum ft_status status = ft_json_get_double(
        from->json, from->node, key, isnan(fallback) ? FT_JSON_REQUIRED : FT_JSON_OPTIONAL, out, error);
    if (!status && !(*out >= min && *out <= max))
        status = ft_json_fail(from->json, from->node, error, "%s must be between %g and %g", key, min, max);
    return status;
}

static enum ft_status read_factor(const struct source *from, double fallback, struct ft_rope *rope,
                                  struct ft_error *error) {
    return number(from, "factor", 1e-6, 1e6, fallback, &rope->factor, error);
}

/* The length before scaling; Phi-3 has it outside of the object. */
static enum ft_status read_original(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    static const char key[] = "original_max_position_embeddings";
    uint64_t original = from->config->positions;
    enum ft_status status =
        ft_json_get_u64(from->json, from->node, key, FT_JSON_OPTIONAL, 1, FT_POSITIONS_MAX, &original, error);
    if (!status)
        status = ft_json_get_u64(from->json, from->json->root, key, FT_JSON_OPTIONAL, 1, FT_POSITIONS_MAX,
                                 &original, error);
    rope->original = (double)original;
    return status;
}

static enum ft_status read_linear(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    rope->scaling = FT_ROPE_LINEAR;
    return read_factor(from, NAN, rope, error);
}

/* NTK-aware scaling by the document's length has an effect above max_position_embeddings only, where
 * documents are refused. */
static enum ft_status read_dynamic(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    return read_factor(from, NAN, rope, error);
}

/* Llama 3.1: frequencies whose waves are longer than original / low are divided by the factor, those shorter
 * than original / high stay. */
static enum ft_status read_llama3(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    rope->scaling = FT_ROPE_LLAMA3;
    enum ft_status status = read_factor(from, NAN, rope, error);
    if (!status) status = number(from, "low_freq_factor", 1e-6, 1e6, NAN, &rope->low, error);
    if (!status) status = number(from, "high_freq_factor", 1e-6, 1e6, NAN, &rope->high, error);
    if (!status && !(rope->high > rope->low))
        status =
            ft_json_fail(from->json, from->node, error, "high_freq_factor must be above low_freq_factor");
    return status ? status : read_original(from, rope, error);
}

/* YaRN (Peng et al. 2023), equation 17: the i whose wave turns so many times over the original length. */
static double yarn_dimension(const struct ft_rope *rope, double turns) {
    return (double)rope->dimensions * ft_log(rope->original / (turns * two_pi)) / (2 * ft_log(rope->theta));
}

static double yarn_magnitude(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * ft_log(factor) + 1;
}

static enum ft_status read_yarn_amplitude(const struct source *from, struct ft_rope *rope,
                                          struct ft_error *error) {
    double scale = 0, scale_all = 0, amplitude;
    enum ft_status status = number(from, "mscale", 0, 1e6, 0, &scale, error);
    if (!status) status = number(from, "mscale_all_dim", 0, 1e6, 0, &scale_all, error);
    if (status) return status;
    bool both = scale > 0 && scale_all > 0;
    double usual = both ? yarn_magnitude(rope->factor, scale) / yarn_magnitude(rope->factor, scale_all)
                        : yarn_magnitude(rope->factor, 1);
    status = number(from, "attention_factor", 1e-6, 1e6, usual, &amplitude, error);
    rope->amplitude = (float)amplitude;
    return status;
}

static enum ft_status read_yarn(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    double fast, slow;
    bool whole = true;
    rope->scaling = FT_ROPE_YARN;
    if (!(rope->theta > 1))
        return ft_json_fail(from->json, from->node, error, "yarn needs a rope_theta above 1");
    enum ft_status status = read_original(from, rope, error);
    if (!status) status = read_factor(from, (double)from->config->positions / rope->original, rope, error);
    if (!status) status = read_yarn_amplitude(from, rope, error);
    if (!status) status = number(from, "beta_fast", 1e-6, 1e6, 32, &fast, error);
    if (!status) status = number(from, "beta_slow", 1e-6, 1e6, 1, &slow, error);
    if (!status)
        status = ft_json_get_bool(from->json, from->node, "truncate", FT_JSON_OPTIONAL, &whole, error);
    if (status) return status;
    rope->low = yarn_dimension(rope, fast);
    rope->high = yarn_dimension(rope, slow);
    if (whole) {
        rope->low = floor(rope->low);
        rope->high = ceil(rope->high);
    }
    rope->low = fmax(rope->low, 0);
    rope->high = fmin(rope->high, (double)rope->dimensions - 1);
    if (rope->low == rope->high) rope->high += 0.001;
    return FT_OK;
}

static enum ft_status read_divisors(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    const struct cJSON *list = NULL;
    enum ft_status status = ft_json_get_node(from->json, from->node, "short_factor", FT_JSON_REQUIRED,
                                             FT_JSON_ARRAY, &list, error);
    if (status) return status;
    size_t half = rope->dimensions / 2, i = 0;
    if (ft_json_count(list) != half || half > FT_ROPE_FACTORS_MAX)
        return ft_json_fail(from->json, list, error, "has %zu numbers, not %zu (at most %u)",
                            ft_json_count(list), half, FT_ROPE_FACTORS_MAX);
    for (const struct cJSON *entry = ft_json_first(list); entry && !status; entry = ft_json_next(entry)) {
        double divisor = 0;
        status = ft_json_double(from->json, entry, &divisor, error);
        if (!status && !(divisor >= 1e-6 && divisor <= 1e6))
            status = ft_json_fail(from->json, entry, error, "must be between 1e-6 and 1e6");
        rope->divisor[i++] = (float)divisor;
    }
    return status;
}

/* LongRoPE (Ding et al. 2024): up to the original length, frequencies are divided by short_factor; documents
 * above, which long_factor is for, are refused. */
static enum ft_status read_longrope(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    rope->scaling = FT_ROPE_LONGROPE;
    enum ft_status status = read_divisors(from, rope, error);
    if (!status) status = read_original(from, rope, error);
    if (!status) status = read_factor(from, (double)from->config->positions / rope->original, rope, error);
    if (status) return status;
    if (rope->original < 2)
        return ft_json_fail(from->json, from->node, error, "longrope needs an original length above 1");
    double usual = rope->factor <= 1 ? 1 : sqrt(1 + ft_log(rope->factor) / ft_log(rope->original)), amplitude;
    status = number(from, "attention_factor", 1e-6, 1e6, usual, &amplitude, error);
    rope->amplitude = (float)amplitude;
    if ((double)from->config->positions > rope->original) from->config->positions = (size_t)rope->original;
    return status;
}

static enum ft_status read_plain(const struct source *from, struct ft_rope *rope, struct ft_error *error) {
    (void)from, (void)rope, (void)error;
    return FT_OK;
}

static enum ft_status read_scaling(const struct source *from, const struct ft_rope_rules *rules,
                                   struct ft_rope *rope, struct ft_error *error) {
    static const struct {
        const char *name;
        enum ft_status (*read)(const struct source *, struct ft_rope *, struct ft_error *);
    } known[] = {{"default", read_plain}, {"linear", read_linear}, {"dynamic", read_dynamic},
                 {"llama3", read_llama3}, {"yarn", read_yarn},     {"longrope", read_longrope}};
    const char *type = "default";
    enum ft_status status =
        ft_json_get_string(from->json, from->node, "type", FT_JSON_OPTIONAL, &type, error);
    if (!status)
        status = ft_json_get_string(from->json, from->node, "rope_type", FT_JSON_OPTIONAL, &type, error);
    if (status) return status;
    if (rules->yarn_is_longrope && (strcmp(type, "yarn") == 0 || strcmp(type, "su") == 0)) type = "longrope";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, type) == 0) return known[i].read(from, rope, error);
    return ft_fail(error, FT_UNSUPPORTED,
                   "%s: %s: the rotary scaling '%.64s' is not implemented; default, linear, "
                   "dynamic, llama3, yarn and longrope are",
                   from->json->name, ft_json_key(from->node), type);
}

/* The share of a head's dimensions that is rotated. */
static enum ft_status read_part(const struct source *from, const struct ft_rope_rules *rules,
                                struct ft_rope *rope, struct ft_error *error) {
    static const char key[] = "partial_rotary_factor";
    double part = rules->part_key ? rules->part : 1;
    enum ft_status status =
        ft_json_get_double(from->json, from->json->root, rules->part_key ? rules->part_key : key,
                           FT_JSON_OPTIONAL, &part, error);
    if (!status && from->node)
        status = ft_json_get_double(from->json, from->node, key, FT_JSON_OPTIONAL, &part, error);
    if (status) return status;
    if (!rules->part_key && part != 1)
        return ft_fail(error, FT_UNSUPPORTED, "%s: %s: %g is not implemented for this model_type",
                       from->json->name, key, part);
    if (!(part > 0 && part <= 1))
        return ft_fail(error, FT_FORMAT, "%s: %s must be above 0 and at most 1, not %g", from->json->name,
                       rules->part_key, part);
    rope->dimensions = (size_t)((double)from->config->head_dim * part);
    if (rope->dimensions == 0 || rope->dimensions % 2)
        return ft_fail(error, FT_FORMAT, "%s: rotary embedding needs an even head dimension, not %zu",
                       from->json->name, rope->dimensions);
    return FT_OK;
}

enum ft_status ft_config_rope_read(struct ft_config *config, const struct ft_json *json,
                                   const struct cJSON *node, const struct ft_rope_rules *rules,
                                   struct ft_rope *rope, struct ft_error *error) {
    const struct source from = {config, json, node};
    const char *theta_key = rules->theta_key ? rules->theta_key : "rope_theta";
    *rope = (struct ft_rope){.theta = rules->theta, .factor = 1, .amplitude = 1};
    enum ft_status status =
        ft_json_get_double(json, json->root, theta_key, FT_JSON_OPTIONAL, &rope->theta, error);
    if (!status && node)
        status = ft_json_get_double(json, node, "rope_theta", FT_JSON_OPTIONAL, &rope->theta, error);
    if (!status && !(rope->theta >= 1 && rope->theta <= 1e18))
        status = ft_fail(error, FT_FORMAT, "%s: %s must be between 1 and 1e18, not %g", json->name, theta_key,
                         rope->theta);
    if (!status) status = ft_config_only(json, "rope_interleaved", false, error);
    if (!status) status = read_part(&from, rules, rope, error);
    if (!status && node) status = read_scaling(&from, rules, rope, error);
    return status;
}

enum ft_status ft_config_rope(struct ft_config *config, const struct ft_json *json,
                              const struct ft_rope_rules *rules, struct ft_error *error) {
    static const char *const keys[] = {"rope_parameters",
                                       "rope_scaling"}; /* the last one wins, as it does there */
    const struct cJSON *node = NULL;
    for (size_t i = 0; i < 2; i++) {
        const struct cJSON *found = NULL;
        enum ft_status status =
            ft_json_get_node(json, json->root, keys[i], FT_JSON_OPTIONAL, FT_JSON_OBJECT, &found, error);
        if (status) return status;
        if (found && ft_json_first(found)) node = found;
    }
    if (node && (ft_json_find(node, "full_attention") || ft_json_find(node, "sliding_attention")))
        return ft_fail(error, FT_UNSUPPORTED,
                       "%s: %s: parameters for each kind of layer are not implemented for this model_type",
                       json->name, ft_json_key(node));
    config->rope_count = 1;
    return ft_config_rope_read(config, json, node, rules, &config->rope[0], error);
}

/* --- as numbers --------------------------------------------------------------------------------------- */

/* Frequency i: plain in binary32 steps (the power by binary64 exp and log, rounded); a scaling in binary64 on
 * top, rounded once. */
static float frequency(const struct ft_rope *rope, size_t i) {
    float exponent = (float)(2 * i) / (float)rope->dimensions;
    float power = (float)ft_exp((double)exponent * ft_log(rope->theta)), plain = 1.0f / power;
    double f = (double)plain, ratio;
    switch (rope->scaling) {
    case FT_ROPE_PLAIN:
        break;
    case FT_ROPE_LINEAR:
        return (float)(f / rope->factor);
    case FT_ROPE_LLAMA3:
        ratio = (rope->original * f / two_pi - rope->low) / (rope->high - rope->low);
        if (ratio >= 1) return plain;
        if (ratio <= 0) return (float)(f / rope->factor);
        return (float)((1 - ratio) * (f / rope->factor) + ratio * f);
    case FT_ROPE_YARN:
        ratio = fmin(fmax(((double)i - rope->low) / (rope->high - rope->low), 0), 1);
        return (float)(f / rope->factor * ratio + f * (1 - ratio));
    case FT_ROPE_LONGROPE:
        return (float)(1 / ((double)rope->divisor[i] * (double)power));
    }
    return plain;
}

static void fill(const struct ft_rope *rope, size_t count, const struct ft_rotary *table) {
    size_t half = rope->dimensions / 2;
    for (size_t i = 0; i < half; i++) {
        float step = frequency(rope, i);
        for (size_t position = 0; position < count; position++) {
            double angle = (double)((float)position * step);
            table->cosine[position * half + i] = (float)ft_cos(angle) * rope->amplitude;
            table->sine[position * half + i] = (float)ft_sin(angle) * rope->amplitude;
        }
    }
}

void ft_pass_lay_rotary(struct ft_layout *layout, const struct ft_model *model, size_t count,
                        struct ft_rotary rotary[FT_ROPES_MAX]) {
    for (size_t i = 0; i < model->config.rope_count; i++) {
        rotary[i].cosine = ft_layout_floats(layout, count, model->config.rope[i].dimensions / 2);
        rotary[i].sine = ft_layout_floats(layout, count, model->config.rope[i].dimensions / 2);
        if (layout->arena) fill(&model->config.rope[i], count, &rotary[i]);
    }
}
