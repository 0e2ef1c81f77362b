/* SPDX-License-Identifier: MIT
 *
 * Token streams, ft-ftok(5): a header that says what the tokens were made with, one framed record per
 * training example with an XXH3 checksum, and a trailer with the counts and the SHA-256 of all before it, so
 * that a cut pipe is noticed. The same bytes for the same records, header and data digest.
 */
#ifndef FT_FTOK_H
#define FT_FTOK_H

#include "ft/commit.h"
#include "ft/error.h"
#include "ft/hash.h"
#include "ft/json.h"
#include "ft/source.h"

#include <stddef.h>
#include <stdint.h>

#define FT_FTOK_RECORD_MAX ((size_t)1 << 24)  /* tokens a record */
#define FT_FTOK_STRING_MAX ((size_t)1 << 16)  /* bytes of a label or a group */
#define FT_FTOK_HEADER_MAX ((size_t)1 << 20)  /* bytes of header JSON */

/* Digests are 64 hexadecimal digits. */
struct ft_ftok_header {
    uint32_t vocab_size;       /* every id is below it */
    const char *tokenizer;     /* SHA-256 of tokenizer.json; required */
    const char *template;      /* SHA-256 of the chat template; NULL: none was used */
    const char *data;          /* SHA-256 of the source data when it was known before the first record; NULL: see the trailer */
    const struct cJSON *metadata; /* an object: how the tokens were made (format, loss, max_tokens, ...); NULL: empty */
};

/* weights[i] is the weight of the loss of predicting ids[i] from ids[0..i): weights[0] is 0 (nothing predicts
 * the first token), all finite and >= 0. */
struct ft_ftok_record {
    const uint32_t *ids;
    const float *weights;
    size_t count;                          /* >= 1 */
    unsigned char source[FT_SHA256_SIZE];  /* SHA-256 of the source record (of a JSONL line: its bytes without the newline) */
    const char *label, *group;             /* NULL: none */
    uint64_t line;                         /* source line, from 1; 0: none */
};

/* --- writing: new, put..., finish ----------------------------------------------------------------------- */
struct ft_ftok_writer;

/* Writes to `output`, which stays the caller's: commit it after finish, abort it on failure. The header is
 * copied. */
enum ft_status ft_ftok_writer_new(struct ft_ftok_writer **writer, struct ft_output *output,
                                  const struct ft_ftok_header *header, struct ft_error *error);
/* FT_USAGE when the record breaks a rule above: a bug of the caller's. */
enum ft_status ft_ftok_put(struct ft_ftok_writer *writer, const struct ft_ftok_record *record,
                           struct ft_error *error);
/* data: SHA-256 of the source data in hexadecimal, or NULL when there is none to name. Does not free. */
enum ft_status ft_ftok_finish(struct ft_ftok_writer *writer, const char *data, struct ft_error *error);
void ft_ftok_writer_free(struct ft_ftok_writer *writer); /* NULL is fine */

/* --- reading: open, next... until *record is NULL; only then was the whole stream checked --------------- */
struct ft_ftok_reader;

/* path: a file, a pipe or "-". */
enum ft_status ft_ftok_open(struct ft_ftok_reader **reader, const char *path, struct ft_error *error);
/* The same from a source, which the reader takes over, on failure too. */
enum ft_status ft_ftok_from(struct ft_ftok_reader **reader, struct ft_source *source, struct ft_error *error);
/* Looks, without consuming, whether the source begins with a token stream's magic number. */
enum ft_status ft_ftok_detect(struct ft_source *source, bool *is, struct ft_error *error);
const struct ft_ftok_header *ft_ftok_header(const struct ft_ftok_reader *reader);
/* The document that header->metadata belongs to, for ft_json_get_... */
const struct ft_json *ft_ftok_header_json(const struct ft_ftok_reader *reader);
/* *record is valid until the next call; NULL at the end, after the trailer was checked. FT_FORMAT with the
 * record's number and the remedy when the stream is cut or altered. */
enum ft_status ft_ftok_next(struct ft_ftok_reader *reader, const struct ft_ftok_record **record,
                            struct ft_error *error);
uint64_t ft_ftok_number(const struct ft_ftok_reader *reader); /* of the record given last, from 1 */
/* After the end: the SHA-256 of the stream (all bytes, hexadecimal: what sha256sum prints) and the trailer's
 * data digest (NULL: none). */
const char *ft_ftok_digest(const struct ft_ftok_reader *reader);
const char *ft_ftok_data(const struct ft_ftok_reader *reader);
void ft_ftok_close(struct ft_ftok_reader *reader); /* NULL is fine */

/* --- all at once ---------------------------------------------------------------------------------------- */
struct ft_ftok_set {
    size_t rows;
    size_t *start;   /* [rows + 1]: row r is ids[start[r] .. start[r+1]) */
    uint32_t *ids;
    float *weights;
    unsigned char (*source)[FT_SHA256_SIZE]; /* [rows] */
    uint64_t *line;                          /* [rows] */
    const char **label, **group;             /* [rows], NULL entries: none; identical strings are not shared */
    size_t longest;                          /* tokens of the longest row */
    uint64_t supervised;                     /* tokens with weight > 0 */
    uint32_t vocab_size;
    char tokenizer[FT_SHA256_HEX], template[FT_SHA256_HEX]; /* template "" when none */
    char data[FT_SHA256_HEX];                /* from header or trailer; "" when none */
    char sha256[FT_SHA256_HEX];              /* of the stream */
    char *strings;                           /* owns labels and groups */
};

/* max_tokens 0: no more than memory. Release when done, on success only. */
enum ft_status ft_ftok_load(struct ft_ftok_set *set, const char *path, size_t max_tokens,
                            struct ft_error *error);
void ft_ftok_set_release(struct ft_ftok_set *set); /* a zero set is fine */

#endif
