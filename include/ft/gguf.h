/* SPDX-License-Identifier: MIT
 *
 * GGUF version 3 (llama.cpp's file of a model): a strict reader over a mapping, the element types of ggml, and
 * a writer. Bytes only: what keys and tensors mean is the business of text and model.
 *
 * The reader checks the whole file before it hands anything out: every count against the bytes left, UTF-8, no
 * key and no tensor twice, known types, sizes by checked multiplication, an alignment that is a power of two,
 * data that begin aligned, follow each other without holes and end with the file.
 */
#ifndef FT_GGUF_H
#define FT_GGUF_H

#include "ft/commit.h"
#include "ft/error.h"
#include "ft/json.h"
#include "ft/memory.h"

#include <stddef.h>
#include <stdint.h>

/* --- element types ---------------------------------------------------------------------------------------- */

/* The file's own numbers. */
enum ft_ggml {
    FT_GGML_F32 = 0,
    FT_GGML_F16 = 1,
    FT_GGML_Q4_0 = 2,
    FT_GGML_Q4_1 = 3,
    FT_GGML_Q5_0 = 6,
    FT_GGML_Q5_1 = 7,
    FT_GGML_Q8_0 = 8,
    FT_GGML_Q4_K = 12,
    FT_GGML_Q5_K = 13,
    FT_GGML_Q6_K = 14,
    FT_GGML_BF16 = 30,
};

/* Elements come in blocks of `block` that take `bytes`; a row is a whole number of blocks. */
struct ft_ggml_layout {
    const char *name; /* "Q4_1" */
    size_t block, bytes;
};
/* NULL when the type is not implemented. */
const struct ft_ggml_layout *ft_ggml_layout(uint32_t type);

/* Widens `count` elements (a multiple of the block) of any alignment, to the bit as ggml's reference functions
 * do: every product in them is exact in binary32, so only their last addition rounds. */
void ft_ggml_widen(float *out, const void *in, enum ft_ggml type, size_t count);
/* The other way, count as above. F32, F16 and BF16 to nearest even; Q8_0 as ggml's reference does (scale
 * max |x| / 127 rounded to f16, elements to nearest, halves away from zero). No other type can be written. */
void ft_ggml_narrow(void *out, const float *in, enum ft_ggml type, size_t count);

/* --- reading ---------------------------------------------------------------------------------------------- */

#define FT_GGUF_RANK 4u

/* Of a value; the file's own numbers. */
enum ft_gguf_type {
    FT_GGUF_U8,
    FT_GGUF_I8,
    FT_GGUF_U16,
    FT_GGUF_I16,
    FT_GGUF_U32,
    FT_GGUF_I32,
    FT_GGUF_F32,
    FT_GGUF_BOOL,
    FT_GGUF_STRING,
    FT_GGUF_ARRAY,
    FT_GGUF_U64,
    FT_GGUF_I64,
    FT_GGUF_F64,
    FT_GGUF_TYPES,
};

/* Text and data belong to the ft_gguf. */
struct ft_gguf_value {
    const char *key;           /* NUL-terminated */
    enum ft_gguf_type type;    /* of the value, or of an array's elements */
    bool array;
    uint64_t count;            /* elements; 1 when it is no array */
    const unsigned char *data; /* as in the file, checked */
    size_t bytes;
};

struct ft_gguf_tensor {
    const char *name; /* NUL-terminated */
    enum ft_ggml type;
    unsigned rank;                /* 1 .. FT_GGUF_RANK */
    uint64_t shape[FT_GGUF_RANK]; /* outermost first, as everywhere else in ft (the file has it the other way) */
    size_t elements, bytes;
    const unsigned char *data;
};

struct ft_gguf;

/* path: a .gguf file. *out is owned by the caller. */
enum ft_status ft_gguf_open(struct ft_gguf **out, const char *path, struct ft_error *error);
void ft_gguf_close(struct ft_gguf *gguf); /* NULL is fine */

const char *ft_gguf_path(const struct ft_gguf *gguf); /* as given to open; for messages */
size_t ft_gguf_values(const struct ft_gguf *gguf);
const struct ft_gguf_value *ft_gguf_value_at(const struct ft_gguf *gguf, size_t i);           /* in order of keys */
const struct ft_gguf_value *ft_gguf_value(const struct ft_gguf *gguf, const char *key);       /* NULL: absent */
size_t ft_gguf_tensors(const struct ft_gguf *gguf);
const struct ft_gguf_tensor *ft_gguf_tensor_at(const struct ft_gguf *gguf, size_t i);         /* in order of names */
const struct ft_gguf_tensor *ft_gguf_tensor(const struct ft_gguf *gguf, const char *name);    /* NULL: absent */

/* A string within a value's data. Not NUL-terminated, may hold NUL, UTF-8. */
struct ft_gguf_text {
    const char *text;
    size_t length;
};
/* The string at *cursor, which begins at a string value's data and moves behind it; at most `count` calls. */
struct ft_gguf_text ft_gguf_next_text(const unsigned char **cursor);
/* Element i of a value of integers (of any width) or booleans; false when it is none or negative. */
bool ft_gguf_integer(const struct ft_gguf_value *value, size_t i, uint64_t *out);
/* Element i of a value of F32 or F64. */
bool ft_gguf_number(const struct ft_gguf_value *value, size_t i, double *out);

/* The single value of a key: FT_FORMAT naming file and key when it is of another type or not within
 * [min, max]. FT_JSON_OPTIONAL: an absent key leaves *out as it is. */
enum ft_status ft_gguf_get_u64(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, uint64_t min,
                               uint64_t max, uint64_t *out, struct ft_error *error);
enum ft_status ft_gguf_get_double(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, double *out,
                                  struct ft_error *error);
enum ft_status ft_gguf_get_bool(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, bool *out,
                                struct ft_error *error);
/* Text with a NUL inside is refused. */
enum ft_status ft_gguf_get_text(const struct ft_gguf *gguf, const char *key, enum ft_json_need need,
                                struct ft_gguf_text *out, struct ft_error *error);
/* An array of the type; FT_JSON_OPTIONAL and absent: *out is NULL. */
enum ft_status ft_gguf_get_array(const struct ft_gguf *gguf, const char *key, enum ft_json_need need,
                                 enum ft_gguf_type type, const struct ft_gguf_value **out, struct ft_error *error);

/* --- writing ---------------------------------------------------------------------------------------------- */

/* Values in the order in which they are added. Zero-initialise; release when done. Running out of memory is
 * remembered and reported by ft_gguf_write: no check in between. */
struct ft_gguf_meta {
    struct ft_buffer bytes;
    uint64_t count;
    bool failed;
};
void ft_gguf_meta_release(struct ft_gguf_meta *meta);
void ft_gguf_set_u32(struct ft_gguf_meta *meta, const char *key, uint32_t value);
void ft_gguf_set_f32(struct ft_gguf_meta *meta, const char *key, float value);
void ft_gguf_set_bool(struct ft_gguf_meta *meta, const char *key, bool value);
void ft_gguf_set_text(struct ft_gguf_meta *meta, const char *key, const char *text, size_t length);
/* An array whose `count` elements follow, each by one of the functions below it. */
void ft_gguf_begin_array(struct ft_gguf_meta *meta, const char *key, enum ft_gguf_type type, uint64_t count);
void ft_gguf_add_text(struct ft_gguf_meta *meta, const char *text, size_t length); /* FT_GGUF_STRING */
void ft_gguf_add_f32(struct ft_gguf_meta *meta, float value);                      /* FT_GGUF_F32 */
void ft_gguf_add_i32(struct ft_gguf_meta *meta, int32_t value);                    /* FT_GGUF_I32 */

struct ft_gguf_tensor_out {
    const char *name; /* at most 63 bytes */
    enum ft_ggml type;
    unsigned rank;
    uint64_t shape[FT_GGUF_RANK]; /* outermost first */
};

/* Writes exactly the bytes of tensors[index] by ft_output_write; called in file order, one tensor at a time. */
typedef enum ft_status ft_gguf_source(void *arg, const struct ft_gguf_tensor_out *tensor, size_t index,
                                      struct ft_output *output, struct ft_error *error);

/* Writes the file atomically: the values, the tensors in the order given, alignment 32. flags: enum
 * ft_output_flags. sha256 (may be NULL) receives its digest. */
enum ft_status ft_gguf_write(const char *path, const struct ft_gguf_meta *meta,
                             const struct ft_gguf_tensor_out *tensors, size_t count, ft_gguf_source *source,
                             void *arg, unsigned flags, char sha256[65], struct ft_error *error);

#endif
