/* SPDX-License-Identifier: MIT
 * A line of data in every format: a failure is named, a record has one of the two shapes, and its digest does
 * not depend on the format that it was taken for. */
#include "fuzz.h"

#include "ft/record.h"

static void check_shape(const struct ft_record *record) {
    MUST(record->format != FT_RECORD_AUTO);
    if (!record->turns) MUST(record->prompt && record->completion && *record->completion);
    for (size_t i = 0; i < record->turns; i++) {
        MUST(record->turn[i].role && record->turn[i].content && record->turn[i].node);
        MUST(record->turn[i].weight >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct ft_record_keys keys[] = {{NULL, NULL}, {"metadata.user.name", "id"}};
    struct ft_error error = {0};
    struct ft_record record = {0};
    unsigned char sha256[FT_SHA256_SIZE];
    bool any = false;
    for (int format = FT_RECORD_AUTO; format <= FT_RECORD_TEXT; format++) {
        error.message[0] = '\0';
        enum ft_status status = ft_record_parse_keys(&record, format, &keys[format % 2], (const char *)data,
                                                     size, "fuzz", 1, &error);
        MUST(status == FT_OK || (status == FT_FORMAT && error.message[0]));
        MUST((record.problem == FT_RECORD_FINE) == (status == FT_OK));
        if (status) continue;
        check_shape(&record);
        MUST(!any || memcmp(sha256, record.sha256, sizeof sha256) == 0);
        memcpy(sha256, record.sha256, sizeof sha256);
        any = true;
    }
    ft_record_release(&record);
    return 0;
}
