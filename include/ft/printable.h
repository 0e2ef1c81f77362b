/* SPDX-License-Identifier: MIT
 *
 * Names, keys and labels come from files: none of their bytes may command the terminal that shows them. Messages of
 * struct ft_error are made so already.
 */
#ifndef FT_PRINTABLE_H
#define FT_PRINTABLE_H

/* Control characters (below U+0020, U+007F to U+009F) become '?'. */
void ft_make_printable(char *text);

#endif
