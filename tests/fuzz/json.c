/* SPDX-License-Identifier: MIT
 * JSON: what is accepted prints to a form that is accepted again and prints the same. */
#include "fuzz.h"

#include "ft/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_json json, again;
    if (ft_json_parse(&json, (const char *)data, size, "fuzz", 1, &error)) {
        MUST(error.message[0]);
        return 0;
    }
    struct ft_buffer first = {0}, second = {0};
    MUST(!ft_json_print(&json, json.root, FT_JSON_SORTED, &first, &error));
    MUST(!ft_json_parse(&again, first.data, first.size, "again", 0, &error));
    MUST(!ft_json_print(&again, again.root, FT_JSON_SORTED, &second, &error));
    MUST(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    for (const struct cJSON *e = ft_json_first(json.root); e; e = ft_json_next(e))
        (void)ft_json_fail(&json, e, &error, "x");
    ft_json_release(&json);
    ft_json_release(&again);
    ft_buffer_release(&first);
    ft_buffer_release(&second);
    return 0;
}
