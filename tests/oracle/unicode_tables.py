#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes lib/text's generated tables.

    unicode_tables.py classes > lib/text/unicode_table.c     from Unicode 16.0, the version of the reference's expressions (package unicodedata2, 16.0.0)
    unicode_tables.py traits > lib/text/unicode_traits.c     asked of Hugging Face's tokenizers, whose parts know several older and newer versions
    unicode_tables.py scripts > lib/text/unicode_scripts.c   likewise
    unicode_tables.py newer > lib/text/unicode_newer.c       assigned after Unicode 14.0 (Python 3.11's), up to 16.0 (unicodedata2)
"""
import sys

BLOCK = 128
SPACE = set(range(9, 14)) | {0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000} | set(range(0x2000, 0x200B))
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


# --- two-stage tables of digits -------------------------------------------------------------------------------

def character_class(unicode, c):
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


def print_table(name, limit, value, source):
    """value(c) is below 44, so that no digit needs an escape."""
    blocks, stage = {}, []
    for start in range(0, 0x110000, BLOCK):
        text = "".join(chr(48 + value(c)) for c in range(start, start + BLOCK))
        stage.append(blocks.setdefault(text, len(blocks)))
    while stage[-1] == blocks.get("0" * BLOCK):
        stage.pop()
    print("/* SPDX-License-Identifier: MIT")
    print(f" * Written by tests/oracle/unicode_tables.py from {source}, in blocks of 128 characters. */")
    print('#include "unicode.h"\n')
    assert len(stage) * BLOCK == limit, f"{hex(len(stage) * BLOCK)}: the limit in unicode.h"
    assert len(blocks) < 256
    print(f"const unsigned char ft_{name}_block[FT_{name.upper()}_LIMIT / FT_CLASS_BLOCK] = {{")
    line = "   "
    for number in stage:
        if len(line) + len(str(number)) + 2 > 108:
            print(line)
            line = "   "
        line += f" {number},"
    print(line)
    print("};")
    print(f"const char ft_{name}_digits[][FT_CLASS_BLOCK + 1] = {{")
    for text in blocks:
        print(f'    "{text[:BLOCK // 2]}"\n    "{text[BLOCK // 2:]}",'.replace("??", '?" "?'))
    print("};")


def print_classes():
    import unicodedata2 as unicode
    assert unicode.unidata_version == "16.0.0"
    print_table("class", 0xE0200, lambda c: character_class(unicode, c), "Unicode 16.0: classes as digits")


# --- characters that an older library does not know -----------------------------------------------------------

def print_newer():
    import unicodedata as older
    import unicodedata2 as newer
    assert older.unidata_version == "14.0.0" and newer.unidata_version == "16.0.0"
    ranges = []
    for c in ALL:
        category, before = newer.category(chr(c)), older.category(chr(c))
        if category == before or before != "Cn":
            continue
        han = newer.name(chr(c), "").startswith("CJK UNIFIED IDEOGRAPH")
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2:] == (category, han):
            ranges[-1] = (ranges[-1][0], c, category, han)
        else:
            ranges.append((c, c, category, han))
    print("/* SPDX-License-Identifier: MIT")
    print(" * Written by tests/oracle/unicode_tables.py: characters assigned after Unicode 14.0, up to 16.0. */")
    print('#include "unicode.h"\n')
    print("const struct ft_newer_range ft_newer_range[] = {")
    for first, last, category, han in ranges:
        print(f'    {{{hex(first)}, {hex(last)}, "{category}", {"true" if han else "false"}}},')
    print("};\nconst size_t ft_newer_ranges = sizeof ft_newer_range / sizeof *ft_newer_range;")


# --- what the reference does with each character --------------------------------------------------------------

def blocks_between(separator):
    """The characters in blocks, each block as a list and as a text that has the separator around each."""
    for i in range(0, len(ALL), 4096):
        block = [c for c in ALL[i:i + 4096] if chr(c) != separator]
        yield block, "".join(separator + chr(c) for c in block) + separator


def removed_by(normalizer, separator="\ue000"):
    out = set()
    for block, text in blocks_between(separator):
        parts = normalizer.normalize_str(text).split(separator)[1:-1]
        assert len(parts) == len(block)
        out |= {c for c, part in zip(block, parts) if not part}
    return out


def cut_off_by(pre_tokenizer):
    out = set()
    for block, text in blocks_between("a"):
        out |= {block[x // 2] for _, (x, y) in pre_tokenizer.pre_tokenize_str(text) if y == x + 1 and x % 2 == 1}
    return out


def print_traits():
    from tokenizers import normalizers, pre_tokenizers

    def bert(clean, accents):
        return normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=False, strip_accents=accents, lowercase=False)
    sets = [removed_by(normalizers.StripAccents()), removed_by(bert(False, True)), removed_by(bert(True, False), "a"),
            cut_off_by(pre_tokenizers.Punctuation("isolated")), cut_off_by(pre_tokenizers.Digits(individual_digits=True))]
    print_table("trait", 0x110000, lambda c: sum((c in s) << i for i, s in enumerate(sets)), "what the reference does with each: bits of enum ft_trait")


def cuts(text):
    """Where UnicodeScripts cuts a text: the starts of its parts."""
    from tokenizers import pre_tokenizers
    return {x for _, (x, _) in pre_tokenizers.UnicodeScripts().pre_tokenize_str(text)}


def scripts():
    """A number for each character: 0 for those that never cut, others equal within a script."""
    number, others = {}, []
    for i in range(0, len(ALL), 4096):
        block = ALL[i:i + 4096]
        for test, value in (("a", 1), ("\u03b1", 2)):
            at = cuts("".join(test + chr(c) for c in block))
            for k, c in enumerate(block):
                if 2 * k + 1 not in at:
                    number[c] = 0 if c in number else value
        others += [c for c in block if c not in number]
    at = cuts("".join(map(chr, others)))
    known = []
    for k, c in enumerate(others):
        if k not in at:
            number[c] = number[others[k - 1]]
            continue
        at_pairs = cuts("".join(r + chr(c) for r in known))
        same = [i for i in range(len(known)) if 2 * i + 1 not in at_pairs]
        if not same:
            known.append(chr(c))
        number[c] = 3 + (same[0] if same else len(known) - 1)
    return number


def print_scripts():
    number = scripts()
    print("/* SPDX-License-Identifier: MIT")
    print(" * Written by tests/oracle/unicode_tables.py: where the reference's scripts begin. */")
    print('#include "unicode.h"\n')
    entries = [(0, number[0])]
    for c in ALL:
        if number[c] != entries[-1][1]:
            entries.append((c, number[c]))
    print("const struct ft_script_range ft_script_range[] = {")
    line = "   "
    for start, script in entries:
        text = f" {{0x{start:x}, {script}}},"
        if len(line) + len(text) > 108:
            print(line)
            line = "   "
        line += text
    print(line)
    print("};")
    print("const size_t ft_script_ranges = sizeof ft_script_range / sizeof *ft_script_range;")


if __name__ == "__main__":
    {"classes": print_classes, "traits": print_traits, "scripts": print_scripts, "newer": print_newer}[sys.argv[1]]()
