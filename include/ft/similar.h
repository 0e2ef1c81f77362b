/* SPDX-License-Identifier: MIT
 *
 * Which records say nearly the same: shingles (hashes of short runs of words or tokens), signatures of a
 * fixed size made of them, and a search over signatures that does not compare all pairs.
 *
 * Shingles of text: words are runs of letters, marks and digits, folded to lower case; a character of a
 * script written without spaces, or a symbol, is a word; punctuation is not. Every word and every pair of
 * neighbouring words is a shingle, the beginning and the end counting as words of a pair. Shingles of tokens:
 * every three neighbours, with two marks before and after. What is compared is what the model is given
 * (prompt, user turns), not the answer: equal questions leak, equal answers do not.
 *
 * A signature is one-permutation MinHash (Li, Owen, Zhang 2012) with 128 bins, optimal densification
 * (Shrivastava 2017) and 8 bits kept of each bin: the share of equal bins estimates the Jaccard similarity of
 * the shingle sets with a standard deviation of at most 0.045. All integers, so the same on every machine.
 */
#ifndef FT_SIMILAR_H
#define FT_SIMILAR_H

#include "ft/error.h"
#include "ft/hash.h"

#include <stddef.h>
#include <stdint.h>

struct ft_record;

/* --- shingles ------------------------------------------------------------------------------------------ */

#define FT_SHINGLES_MAX ((size_t)1 << 22) /* of one record; the rest of a longer text is not looked at */

/* hash[0..given) are of what the model is given, hash[given..count) of what it is to answer; in order of
 * appearance, with repetitions. Zero-initialise; released by ft_shingles_release. */
struct ft_shingles {
    uint64_t *hash;
    size_t given, count, capacity;
};

/* All replace what *shingles held. */
enum ft_status ft_shingles_record(struct ft_shingles *shingles, const struct ft_record *record,
                                  struct ft_error *error);
/* Tokens of weight 0 are what is given. */
enum ft_status ft_shingles_tokens(struct ft_shingles *shingles, const uint32_t *ids, const float *weights,
                                  size_t count, struct ft_error *error);
enum ft_status ft_shingles_text(struct ft_shingles *shingles, const char *text, size_t size,
                                struct ft_error *error);
void ft_shingles_release(struct ft_shingles *shingles);

/* SHA-256 of what a record teaches: roles, contents and weights of its turns, or prompt and completion;
 * whatever the order of keys, labels, ids and other metadata. Records with equal digests are exact
 * duplicates. */
enum ft_status ft_record_content(const struct ft_record *record, unsigned char digest[FT_SHA256_SIZE],
                                 struct ft_error *error);
/* The same of a row of tokens: ids and weights. */
void ft_tokens_content(const uint32_t *ids, const float *weights, size_t count,
                       unsigned char digest[FT_SHA256_SIZE]);

/* --- boilerplate ------------------------------------------------------------------------------------------
 * What more than half of all records share (a fixed instruction, the tokens of a template) says nothing about
 * similarity. It is found in a sample of the 1024 to 2048 distinct records with the smallest digests, so the
 * order of the input cannot matter; with fewer than FT_BOILERPLATE_LEAST records nothing is boilerplate. */
#define FT_BOILERPLATE_LEAST 100u

struct ft_boilerplate;

enum ft_status ft_boilerplate_new(struct ft_boilerplate **boilerplate, struct ft_error *error);
void ft_boilerplate_free(struct ft_boilerplate *boilerplate); /* NULL is fine */
enum ft_status ft_boilerplate_add(struct ft_boilerplate *boilerplate,
                                  const unsigned char digest[FT_SHA256_SIZE],
                                  const struct ft_shingles *shingles, struct ft_error *error);
/* After the last record; *count is the number of shingles found to be boilerplate. */
enum ft_status ft_boilerplate_finish(struct ft_boilerplate *boilerplate, size_t *count,
                                     struct ft_error *error);
/* Takes boilerplate out of the shingles (after finish). When nothing of the given part is left, the answer
 * stands for it; when that is empty, too, the shingles stay as they were. */
void ft_boilerplate_strip(const struct ft_boilerplate *boilerplate, struct ft_shingles *shingles);

/* --- signatures ---------------------------------------------------------------------------------------- */

#define FT_SIGNATURE_BINS 128u
struct ft_signature {
    uint8_t bin[FT_SIGNATURE_BINS];
};

/* Of the given part, or of the answer when nothing is given. False when there are no shingles at all (the
 * signature is then zero and must not be compared). */
bool ft_signature_make(struct ft_signature *signature, const struct ft_shingles *shingles);

/* Equal bins needed for an estimated similarity of at least `similarity`, chance hits taken off. */
unsigned ft_signature_bar(double similarity);
unsigned ft_signature_equal(const struct ft_signature *a, const struct ft_signature *b);

/* Visits pairs i < j of signatures with at least `bar` equal bins, each once or more. Candidates share one of
 * 25 bands of 5 bins: a pair of similarity 0.8 is found with probability 0.9999, of 0.6 with 0.87. want(arg,
 * i, j) is asked before two signatures are compared (skip pairs that are joined already); found(arg, i, j) is
 * told. Within a band, only the first and last FT_SIMILAR_REACH earlier candidates of a record are compared
 * with it, so the work is bounded by 50 * FT_SIMILAR_REACH comparisons a record. Item i is
 * signature[order[i]] (order NULL: signature[i]); present, indexed likewise, leaves out what has no signature
 * (NULL: all are in). The result depends on the order of items only where the reach is hit. */
#define FT_SIMILAR_REACH 64u
struct ft_similar_search {
    const struct ft_signature *signature;
    const bool *present;
    const uint32_t *order;
    size_t count; /* of items, below 2^32 */
    unsigned bar;
    bool (*want)(void *arg, uint32_t i, uint32_t j);
    void (*found)(void *arg, uint32_t i, uint32_t j);
    void *arg;
};
enum ft_status ft_similar_run(const struct ft_similar_search *search, struct ft_error *error);

/* --- disjoint sets ------------------------------------------------------------------------------------- */

struct ft_sets {
    uint32_t *parent;
    size_t count;
};
enum ft_status ft_sets_init(struct ft_sets *sets, size_t count, struct ft_error *error);
uint32_t ft_sets_find(struct ft_sets *sets, uint32_t i); /* the smallest member of i's set */
void ft_sets_join(struct ft_sets *sets, uint32_t i, uint32_t j);
void ft_sets_release(struct ft_sets *sets);

#endif
