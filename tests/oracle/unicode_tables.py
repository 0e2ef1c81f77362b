#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes lib/text/unicode_table.c: the class of each character in the Unicode version of Hugging Face's tokenizers (16.0).

usage: unicode_tables.py > lib/text/unicode_table.c     (needs the package unicodedata2, version 16.0.0)"""
import sys

import unicodedata2 as unicode

BLOCK = 128
SPACE = set(range(9, 14)) | {0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000} | set(range(0x2000, 0x200B))


def character_class(c):
    """The value of enum ft_character_class."""
    if 0xD800 <= c < 0xE000:
        return 0
    if c in SPACE:
        return 1
    k = unicode.category(chr(c))
    for prefix, value in (("L", 2), ("Nd", 3), ("Nl", 4), ("No", 5), ("Mn", 6), ("M", 7), ("Pc", 8), ("P", 9)):
        if k.startswith(prefix):
            return value
    return 0


def main():
    assert unicode.unidata_version == "16.0.0"
    blocks, stage = {}, []
    for start in range(0, 0x110000, BLOCK):
        text = "".join(str(character_class(c)) for c in range(start, start + BLOCK))
        stage.append(blocks.setdefault(text, len(blocks)))
    empty = blocks["0" * BLOCK]
    while stage[-1] == empty:
        stage.pop()
    print("/* SPDX-License-Identifier: MIT")
    print(" * Written by tests/oracle/unicode_tables.py from Unicode 16.0: classes as digits, in blocks of 128 characters. */")
    print('#include "unicode.h"\n')
    assert len(stage) * BLOCK == 0xe0200, "FT_CLASS_LIMIT in unicode.h"
    print("const unsigned char ft_class_block[FT_CLASS_LIMIT / FT_CLASS_BLOCK] = {")
    line = "   "
    for number in stage:
        if len(line) + len(str(number)) + 2 > 108:
            print(line)
            line = "   "
        line += f" {number},"
    print(line)
    print("};")
    print("const char ft_class_digits[][FT_CLASS_BLOCK + 1] = {")
    for text in blocks:
        print(f'    "{text[:BLOCK // 2]}"\n    "{text[BLOCK // 2:]}",')
    print("};")


if __name__ == "__main__":
    sys.exit(main())
