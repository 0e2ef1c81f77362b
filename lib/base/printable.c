/* SPDX-License-Identifier: MIT */
#include "ft/printable.h"

#include <stdbool.h>

void ft_make_printable(char *text) {
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 to U+009F */
        if (*p < 0x20 || *p == 0x7f || c1) *p = '?';
        if (c1) p[1] = '?';
    }
}
