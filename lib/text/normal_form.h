/* SPDX-License-Identifier: MIT
 *
 * Unicode normal forms and lower case, as the reference computes them, whatever version utf8proc knows. Private to lib/text.
 */
#ifndef FT_TEXT_NORMAL_FORM_H
#define FT_TEXT_NORMAL_FORM_H

#include "ft/memory.h"

enum ft_normal_form { FT_NFC, FT_NFD, FT_NFKC, FT_NFKD };

/* Appends the normal form of text[0..length). */
enum ft_status ft_normal_form(enum ft_normal_form form, const char *text, size_t length, struct ft_buffer *out,
                              struct ft_error *error);

/* Appends the lower case of a character, which may be two. */
enum ft_status ft_lower_case(uint32_t c, struct ft_buffer *out, struct ft_error *error);

#endif
