/* SPDX-License-Identifier: MIT */
#include "ft/memory.h"
#include "ft/split.h"
#include "../tap/tap.h"

#include <stdlib.h>
#include <string.h>

static struct ft_error error;

static double similarity(const char *a, const char *b) {
    struct ft_shingles x = {0}, y = {0};
    struct ft_signature p, q;
    double share = -1.0;
    if (!ft_shingles_text(&x, a, strlen(a), &error) && !ft_shingles_text(&y, b, strlen(b), &error) &&
        ft_signature_make(&p, &x) && ft_signature_make(&q, &y))
        share = ft_signature_equal(&p, &q) / (double)FT_SIGNATURE_BINS;
    ft_shingles_release(&x);
    ft_shingles_release(&y);
    return share;
}

static void test_shingles(void) {
    ok(similarity("Cancel my order!", "  cancel, MY order") == 1.0, "case and punctuation do not count");
    ok(similarity("\xc3\x84rger mit Stra\xc3\x9f"
                  "e",
                  "\xc3\xa4rger MIT stra\xc3\x9f"
                  "e") == 1.0,
       "letters beyond ASCII fold, too");
    ok(similarity("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe6\x96\x87",
                  "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe5\xad\x97") > 0.3,
       "a script without spaces has words");
    ok(similarity("please cancel my order", "where is the nearest shop") < 0.1,
       "different texts are not similar");
    double one = similarity(
        "i would like to know how i can change the delivery address of the order that i made today",
        "i would like to know how i can change the shipping address of the order that i made today");
    ok(one > 0.78 && one < 1.0, "one word of nineteen is a near duplicate (%.2f)", one);
    ok(similarity("...", "!!!") < 0, "a text without words has no signature");
    struct ft_shingles bad = {0};
    ok(!ft_shingles_text(&bad, "a\xff\xfe b\xc3", 6, &error) && bad.count == 5,
       "bytes that are not UTF-8 are gaps");
    uint32_t ids[] = {1, 5, 6, 7, 2};
    float prompt[] = {0, 0, 0, 1, 1}, text[] = {0, 1, 1, 1, 1};
    ok(!ft_shingles_tokens(&bad, ids, prompt, 5, &error) && bad.given == 5 && bad.count == 9,
       "prompt tokens are what is given");
    ok(!ft_shingles_tokens(&bad, ids, text, 5, &error) && bad.given == 0 && bad.count == 6,
       "a first token alone is no prompt");
    ft_shingles_release(&bad);
}

/* --- a little corpus: `words` words of a pseudo-random text -------------------------------------------- */

static void make_text(char *text, unsigned number, unsigned words) {
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    char *p = text;
    for (unsigned i = 0; i < words; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        p += sprintf(p, "w%u ", (unsigned)(state >> 40) % 5000);
    }
}

struct item {
    char text[512], label[16], group[16];
};

static void make_item(struct item *item, unsigned number) {
    make_text(item->text, number, 20);
    sprintf(item->label, "l%u", number % 7);
    sprintf(item->group, "g%u", number / 3);
}

/* One record for each item; parts[i] receives the part of items[i]. */
static bool split_items(const struct ft_split_options *options, const struct item *items,
                        const uint32_t *order, size_t count, unsigned *parts, struct ft_split_facts *facts) {
    struct ft_split *split = NULL;
    struct ft_shingles shingles = {0};
    unsigned char digest[FT_SHA256_SIZE];
    bool again = false, good = !ft_split_new(&split, options, &error);
    for (size_t i = 0; i < count && good; i++) {
        const struct item *item = &items[order[i]];
        ft_sha256(item->text, strlen(item->text), digest);
        good = !ft_shingles_text(&shingles, item->text, strlen(item->text), &error) &&
               !ft_split_add(split, digest, &shingles, item->label, item->group, &error);
    }
    good = good && !ft_split_rescan(split, &again, &error);
    for (size_t i = 0; i < count && good && again; i++) {
        const char *text = items[order[i]].text;
        good = !ft_shingles_text(&shingles, text, strlen(text), &error) &&
               !ft_split_again(split, &shingles, &error);
    }
    good = good && !ft_split_decide(split, &error);
    for (size_t i = 0; i < count && good; i++)
        parts[order[i]] = ft_split_part(split, i);
    if (good) ft_split_facts(split, facts);
    ft_split_free(split);
    ft_shingles_release(&shingles);
    return good;
}

enum { ITEMS = 3000 };
static struct item items[ITEMS];
static uint32_t forward[ITEMS], backward[ITEMS];
static unsigned first[ITEMS], second[ITEMS];
static const struct ft_split_options plain = {
    .seed = 7, .share = {800000, 100000, 100000}, .similarity = 0.8};

static void make_corpus(void) {
    for (unsigned i = 0; i < ITEMS; i++) {
        make_item(&items[i], i);
        forward[i] = i;
        backward[i] = ITEMS - 1 - i;
    }
    /* Every tenth is an exact duplicate of the one before, every tenth + 5 a near duplicate. */
    for (unsigned i = 10; i < ITEMS; i += 10)
        memcpy(items[i].text, items[i - 1].text, sizeof items[i].text);
    for (unsigned i = 15; i < ITEMS; i += 10) {
        memcpy(items[i].text, items[i - 1].text, sizeof items[i].text - 8);
        strcat(items[i].text, " please");
    }
}

static size_t count_moved(const unsigned *a, const unsigned *b, size_t count) {
    size_t moved = 0;
    for (size_t i = 0; i < count; i++)
        moved += a[i] != b[i];
    return moved;
}

static void test_stability(void) {
    struct ft_split_facts facts, half;
    ok(split_items(&plain, items, forward, ITEMS, first, &facts), "a corpus is split");
    ok(split_items(&plain, items, backward, ITEMS, second, &facts) && !count_moved(first, second, ITEMS),
       "the order of records does not matter");
    size_t part = 1500; /* 1499 and 1500 are an exact pair, cut through */
    ok(split_items(&plain, items, forward, part, second, &half) && !count_moved(first, second, part),
       "appending moves nothing when no new record bridges old ones");
    size_t apart = 0;
    for (unsigned i = 10; i < ITEMS; i += 5)
        apart += first[i] != first[i - 1] && i % 5 == 0;
    ok(apart == 0, "exact and near duplicates stay together (%zu apart)", apart);
    ok(facts.duplicates == ITEMS / 10 - 1, "exact duplicates are counted (%zu)", facts.duplicates);
    ok(facts.near_links == (ITEMS - 15 + 9) / 10, "near duplicates are counted (%zu)", facts.near_links);
    ok(facts.crossing == 0, "none crosses parts");
    double share = (double)facts.part_records[0] / ITEMS;
    ok(share > 0.77 && share < 0.83, "the shares hold (%.3f train)", share);
    struct ft_split_options other = plain;
    other.seed = 8;
    ok(split_items(&other, items, forward, ITEMS, second, &facts) &&
           count_moved(first, second, ITEMS) > ITEMS / 5,
       "another seed gives another split");
}

static void test_groups(void) {
    struct ft_split_options options = plain;
    struct ft_split_facts facts;
    options.group = "user";
    options.similarity = 1.0;
    ok(split_items(&options, items, forward, ITEMS, first, &facts), "a grouped split");
    size_t apart = 0;
    for (unsigned i = 0; i < ITEMS; i++)
        apart += i % 3 && first[i] != first[i - 1];
    ok(apart == 0, "groups stay together");
    ok(facts.groups == ITEMS / 3, "groups are counted (%zu)", facts.groups);
    ok(split_items(&options, items, backward, ITEMS, second, &facts) && !count_moved(first, second, ITEMS),
       "whatever the order");
}

static void test_strata(void) {
    struct ft_split_options options = plain;
    struct ft_split_facts facts;
    options.stratify = "intent";
    ok(split_items(&options, items, forward, ITEMS, first, &facts), "a stratified split");
    size_t in[7][FT_SPLIT_PARTS] = {{0}}, all[7] = {0};
    for (unsigned i = 0; i < ITEMS; i++)
        in[i % 7][first[i]]++, all[i % 7]++;
    double worst = 0;
    for (unsigned l = 0; l < 7; l++)
        for (unsigned p = 0; p < FT_SPLIT_PARTS; p++) {
            double off = (double)in[l][p] - (double)all[l] * options.share[p] / 1e6;
            if (off < 0) off = -off;
            worst = off > worst ? off : worst;
        }
    /* Units of two records may have two labels, and count for the first one. */
    ok(worst <= 12, "every label is balanced within %.1f of %zu records", worst, all[0]);
    ok(split_items(&options, items, backward, ITEMS, second, &facts) && !count_moved(first, second, ITEMS),
       "whatever the order");
    enum { ADDED = 70 };
    ok(split_items(&options, items, forward, ITEMS - ADDED, second, &facts), "the same without the last %d",
       ADDED);
    size_t moved = count_moved(first, second, ITEMS - ADDED);
    ok(moved <= 2 * (ADDED + 7 * 2), "appending %d records moves at most as many at each cut (%zu moved)",
       ADDED, moved);
}

/* What most records share must not make them similar. */
static void test_boilerplate(void) {
    enum { COUNT = 400 };
    static struct item wrapped[COUNT];
    static const char preamble[] =
        "below is an instruction that describes a task paired with an input write a response that "
        "appropriately completes the request and do it in the tone of the company always ";
    struct ft_split_facts facts;
    for (unsigned i = 0; i < COUNT; i++) {
        make_item(&wrapped[i], i);
        strcpy(wrapped[i].text, preamble);
        make_text(wrapped[i].text + strlen(preamble), i + 90000, 6);
    }
    ok(split_items(&plain, wrapped, forward, COUNT, first, &facts), "records with a long common preamble");
    ok(facts.boilerplate > 30 && facts.near_links == 0, "it is found (%zu shingles) and joins nothing",
       facts.boilerplate);
    ok(facts.units == COUNT, "each record is a unit of its own");
}

/* The draw as the manual states it, so that anybody can recompute it. */
static void test_draw(void) {
    struct ft_split_options options = plain;
    struct ft_split_facts facts;
    size_t wrong = 0;
    options.similarity = 1.0;
    split_items(&options, items, forward, 200, first, &facts);
    for (unsigned i = 0; i < 200; i++) {
        char key[FT_SHA256_HEX], text[128], hex[FT_SHA256_HEX], lead[11] = {0};
        ft_sha256_hex(items[i].text, strlen(items[i].text), key);
        sprintf(text, "ft-split-1 7 %s", key);
        ft_sha256_hex(text, strlen(text), hex);
        memcpy(lead, hex, 10);
        double draw = (double)strtoull(lead, NULL, 16) / 1099511627776.0;
        wrong += first[i] != (draw < 0.8 ? 0u : draw < 0.9 ? 1u : 2u);
    }
    ok(wrong == 0, "parts follow from SHA-256(\"ft-split-1 SEED KEY\")");
}

static void test_shares(void) {
    uint32_t share[FT_SPLIT_PARTS];
    ok(!ft_split_shares("80/10/10", share, &error) && share[0] == 800000 && share[2] == 100000, "80/10/10");
    ok(!ft_split_shares("98.5/0.75/0.75", share, &error) && share[1] == 7500, "decimals");
    ok(!ft_split_shares("90/0/10", share, &error) && share[1] == 0, "a part may have no share");
    static const char *const bad[] = {
        "80/10",   "80/10/10/0", "80/10/11",  "-80/10/10", "",
        "a/b/c",   "80/10/1e1",  "800/10/10", "100//",     "33.33333/33.33333/33.33334",
        "80,10,10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(ft_split_shares(bad[i], share, &error) == FT_USAGE, "'%s' is refused: %.60s", bad[i],
           error.message);
    struct ft_split_facts facts;
    struct ft_split_options options = plain;
    ok(!split_items(&options, items, forward, 0, first, &facts) && error.status == FT_FORMAT,
       "no records are refused");
}

static bool always(void *arg, uint32_t i, uint32_t j) {
    (void)arg, (void)i, (void)j;
    return true;
}
static void note(void *arg, uint32_t i, uint32_t j) {
    *(size_t *)arg += i < j;
}

static void test_search(void) {
    enum { COUNT = 5000 };
    struct ft_signature *same;
    size_t found = 0;
    if (ft_alloc(&same, COUNT, sizeof *same, &error)) return;
    struct ft_similar_search search = {.signature = same,
                                       .count = COUNT,
                                       .bar = ft_signature_bar(0.8),
                                       .want = always,
                                       .found = note,
                                       .arg = &found};
    ok(!ft_similar_run(&search, &error) && found <= (size_t)COUNT * 25 * 2 * FT_SIMILAR_REACH,
       "work is bounded when all are alike");
    ok(ft_signature_bar(0.8) == 103 && ft_signature_bar(1.0) == FT_SIGNATURE_BINS, "bars");
    free(same);
}

int main(void) {
    make_corpus();
    test_shingles();
    test_stability();
    test_groups();
    test_strata();
    test_boilerplate();
    test_draw();
    test_shares();
    test_search();
    return tap_done();
}
