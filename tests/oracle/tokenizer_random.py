#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random tokenizers, over every component and option of Hugging Face's `tokenizers`, on random Unicode texts: ids and decoded texts
are those that ft-tokenize has.

    tokenizer_random.py [--ft BIN] [--seed N] [--count N]    compare N configurations, from seed N on
    tokenizer_random.py --fixture FILE                       write the configurations that `make check` uses

A configuration is a function of its seed. What the reference cannot load, or panics at, is left out. Exit status 0: no difference.
"""
import argparse, base64, json, os, random, struct, subprocess, sys

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

META = "\u2581"
SCRIPTS = ["abcdeABC", "  \t\n\r\u00a0\u3000\u2003\u0085", "0123\u0663\u00bd\u2167", ".,!?'\"-_()<>|/$+\u2026\u00bf\u3002", "\u00e9\u00c5\u00df\u0130\u0131\u017f\ufb01\u212b",
           "\u0301\u0308\u0323\u0327\u0345", "\u4f60\u597d\u4e16\u3042\u30ab\u30fc\ud55c\uac01", "\u043f\u0440\u0438\u0412\u03b1\u03a3\u03c2", "\u0928\u093f\u094d\u0641\u0651\u05d0",
           "\U0001f600\U0001f44d\U0001f3fd\u200d\u2764\ufe0f\U0001f1eb", META + "##", "\u1100\u1161\u11a8\uff21\uff76\uff9e", "\u200b\ufeff\ufffd\u0007\u00ad\u0600\ue000\U0001d7d8"]
REGEXES = [r"\s+", r"\d", r"[aeiou]+", r"\p{L}+", r"\p{N}{1,3}", r"[^\s\p{L}\p{N}]+", r"(?i:a|b)+", r"'s|'t|\w+", r"a(?=b)", r"(?<!a)b+", r" ?\p{L}++", r"\s+(?!\S)|\s+",
           r"[\p{Lu}\p{Lt}]?[\p{Ll}\p{M}]+", r"\W", r"[[:punct:]]", r"[\r\n]+", r"\S{2}", r"^.|.$", r"\b\w", r"(a|b)\1", r"\p{Han}|[\p{Hiragana}\p{Katakana}]", r"\h+", r"[^a-c\n]", r"[\w-]{1,2}+", r"\p{L}{2}+", r"[[:alpha:][:digit:]]+", r"\B.", r"[[:upper:]][[:lower:]]*",
           r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
           r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]


def byte_characters():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256)}


BYTES = byte_characters()


def any_text(r, alphabet, longest=24):
    """Mostly of one or two scripts, sometimes of any characters."""
    picked = r.choices(SCRIPTS, k=r.choice([1, 2, 2, 4])) + [alphabet] * r.choice([1, 3])
    return "".join(r.choice(r.choice(picked)) for _ in range(r.choice([1, 2, 4, 8, longest])))


# --- components -----------------------------------------------------------------------------------------------

def pattern(r):
    return r.choice([{"Regex": r.choice(REGEXES)}, {"String": r.choice([" ", "a", "ab", META, "\u4f60", "\n", ".", "a "])}])


def charsmap(r):
    """SentencePiece's rules as a double-array trie, built by first fit."""
    rules = {"\u00e9": "e", "\ufb01": "fi", "A": "a", "\u3000": " ", "e\u0301": "\u00e9", "\u200b": "", "\uff21": "A", "\u00bd": "1/2", "ab": "c"}
    rules = dict(r.sample(sorted(rules.items()), r.randrange(1, len(rules) + 1)))
    text, start = b"", {}
    for key, value in rules.items():
        start[key.encode()] = len(text)
        text += value.encode() + b"\0"
    units, used = {0: 0}, {0}

    def place(keys, depth, at):
        """Puts the nodes below `at`: keys have `depth` bytes in common."""
        labels = sorted({key[depth] for key in keys if len(key) > depth})
        leaf = [key for key in keys if len(key) == depth]
        offset = 1
        while any((at ^ offset ^ label) in used for label in labels + ([0] if leaf else [])) or not labels and not leaf:
            offset += 1
        base = at ^ offset
        used.update([base ^ label for label in labels] + ([base] if leaf else []))
        units[at] = (units.get(at, 0) & 0xff) | (offset << 10) | (0x100 if leaf else 0)
        if leaf:
            units[base] = (1 << 31) | start[leaf[0]]
        for label in labels:
            units[base ^ label] = label
        for label in labels:
            place([key for key in keys if len(key) > depth and key[depth] == label], depth + 1, base ^ label)
    place(list(start), 0, 0)
    size = max(units) + 256
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + text).decode()


def normalizer(r, depth=0):
    kind = r.choice(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Replace", "Prepend", "ByteLevel", "Nmt", "Precompiled",
                     "BertNormalizer", "BertNormalizer"] + ["Sequence"] * (5 if depth == 0 else 0))
    flag = lambda: r.random() < .5
    return {"type": kind, **{
        "Strip": lambda: {"strip_left": flag(), "strip_right": flag()},
        "Replace": lambda: {"pattern": pattern(r), "content": r.choice(["", " ", META, "x", "ab", "\u4f60", "$1"])},
        "Prepend": lambda: {"prepend": r.choice([META, " ", "ab", "x"])},
        "Precompiled": lambda: {"precompiled_charsmap": charsmap(r)},
        "BertNormalizer": lambda: {"clean_text": flag(), "handle_chinese_chars": flag(), "strip_accents": r.choice([None, True, False]), "lowercase": flag()},
        "Sequence": lambda: {"normalizers": [normalizer(r, 1) for _ in range(r.randrange(4))]}}.get(kind, dict)()}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pre_tokenizer(r, depth=0, byte_level=False):
    kind = r.choice(["ByteLevel", "Split", "Split", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "Metaspace", "CharDelimiterSplit", "BertPreTokenizer",
                     "UnicodeScripts", "FixedLength"] + ["Sequence"] * (6 if depth == 0 else 0))
    if byte_level:
        kind = "ByteLevel"
    flag = lambda: r.random() < .5
    return {"type": kind, **{
        "ByteLevel": lambda: {"add_prefix_space": flag(), "trim_offsets": True, "use_regex": flag()},
        "Split": lambda: {"pattern": pattern(r), "behavior": r.choice(BEHAVIORS), "invert": r.random() < .2},
        "Digits": lambda: {"individual_digits": flag()},
        "Punctuation": lambda: {"behavior": r.choice(BEHAVIORS)},
        "Metaspace": lambda: {"replacement": r.choice([META, META, "_", " "]), "split": flag(),
                              "prepend_scheme": r.choice(["always", "never"] + ([] if depth else ["first"]))},
        "CharDelimiterSplit": lambda: {"delimiter": r.choice(" a.\u4f60")},
        "FixedLength": lambda: {"length": r.choice([1, 2, 3, 5])},
        "Sequence": lambda: {"pretokenizers": [pre_tokenizer(r, 1) for _ in range(r.randrange(4))]}}.get(kind, dict)()}


def last_is_byte_level(tree):
    if tree and tree["type"] == "Sequence":
        return bool(tree["pretokenizers"]) and last_is_byte_level(tree["pretokenizers"][-1])
    return bool(tree) and tree["type"] == "ByteLevel"


def decoder(r, depth=0):
    kind = r.choice(["ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace", "WordPiece", "BPEDecoder", "CTC"] + ["Sequence"] * (6 if depth == 0 else 0))
    flag = lambda: r.random() < .5
    return {"type": kind, **{
        "ByteLevel": lambda: {"add_prefix_space": flag(), "trim_offsets": True, "use_regex": flag()},
        "Strip": lambda: {"content": r.choice([" ", "a", META]), "start": r.randrange(3), "stop": r.choice([0, 0, 1])},
        "Replace": lambda: {"pattern": pattern(r), "content": r.choice(["", " ", "x"])},
        "Metaspace": lambda: {"replacement": r.choice([META, "_"]), "prepend_scheme": r.choice(["always", "never", "first"]), "split": True},
        "WordPiece": lambda: {"prefix": r.choice(["##", "", "a"]), "cleanup": flag()},
        "BPEDecoder": lambda: {"suffix": r.choice(["</w>", "a", "b "])},
        "CTC": lambda: {"pad_token": r.choice(["<pad>", "a"]), "word_delimiter_token": r.choice(["|", "b"]), "cleanup": flag()},
        "Sequence": lambda: {"decoders": [decoder(r, 1) for _ in range(r.randrange(4))]}}.get(kind, dict)()}


def post_processor(r, vocab, depth=0):
    token = lambda: r.choice(sorted(vocab.items()))
    special = lambda: {"SpecialToken": {"id": r.choice(names), "type_id": 0}}
    names = sorted({token()[0] for _ in range(3)})
    kind = r.choice(["TemplateProcessing", "TemplateProcessing", "ByteLevel", "BertProcessing", "RobertaProcessing"] + ["Sequence"] * (2 if depth == 0 else 0))
    if kind == "ByteLevel":
        return {"type": kind, "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    if kind == "Sequence":  # only one of them adds tokens: behind a template the reference takes each token for a text
        return {"type": kind, "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}] * r.randrange(2) +
                [post_processor(r, vocab, 1)] * r.randrange(2)}
    if kind != "TemplateProcessing":
        more = {"trim_offsets": True, "add_prefix_space": False} if kind == "RobertaProcessing" else {}
        return {"type": kind, "sep": list(token()), "cls": list(token()), **more}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = [special() for _ in range(r.randrange(3))] + [text] + [special() for _ in range(r.randrange(3))]
    return {"type": kind, "single": single, "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {n: {"id": n, "ids": [vocab[n]] + [i for _, i in (token() for _ in range(r.choice([0, 0, 1])))], "tokens": []} for n in names}}


# --- models ---------------------------------------------------------------------------------------------------

def numbered(r, tokens):
    tokens = list(dict.fromkeys(t for t in tokens if t))
    if r.random() < .5:
        r.shuffle(tokens)
    return {t: i for i, t in enumerate(tokens)}


def fallback(r):
    return ["<0x%02X>" % b for b in range(256) if r.random() > (0 if r.random() < .999 else .5)]


def bpe(r, alphabet):
    prefix, suffix = r.choice([None] * 4 + ["##", META]), r.choice([None] * 4 + ["</w>", "$"])
    inner = lambda s: (prefix or "") + s
    tokens = [c for c in alphabet if r.random() < .9]
    if prefix:
        tokens += [inner(c) for c in alphabet if r.random() < .9]
    if suffix:
        tokens += [c + suffix for c in alphabet] + ([inner(c) + suffix for c in alphabet] if prefix else [])
    merges, known = [], set(tokens)
    for _ in range(r.choice([5, 30, 80])):
        a, b = r.choice(tokens), r.choice(tokens)
        if suffix and a.endswith(suffix) or prefix and not (b.startswith(prefix) and len(b) > len(prefix)):
            continue
        merged = a + b[len(prefix or ""):]
        if len(merged) > 12 or merged in (a, b):
            continue
        merges.append(r.choice([[a, b], [a, b]]))
        if merged not in known:
            known.add(merged)
            tokens.append(merged)
            if len(merged) > 2 and merged[:-1] in known and merged[-1] in known and not prefix and not suffix:
                merges.append([merged[:-1], merged[-1]])  # another way to the same token
    byte_fallback = r.random() < .3
    unknown = r.choice([None, "<unk>", "<unk>"])
    vocab = numbered(r, (["<unk>"] if unknown else []) + tokens + (fallback(r) if byte_fallback else []))
    if r.random() < .5 and not any(" " in x for m in merges for x in m):
        merges = [" ".join(m) for m in merges]
    return {"type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix, "fuse_unk": r.random() < .5,
            "byte_fallback": byte_fallback, "ignore_merges": r.random() < .3, "vocab": vocab, "merges": merges}


def pieces(r, alphabet, count):
    return ["".join(r.choice(alphabet) for _ in range(r.choice([1, 1, 2, 2, 3, 5]))) for _ in range(count)]


def word_piece(r, alphabet):
    prefix = r.choice(["##", "##", "", META])
    tokens = ["[UNK]"] + [c for c in alphabet if r.random() < .9] + pieces(r, alphabet, 40)
    tokens += [prefix + t for t in [c for c in alphabet if r.random() < .9] + pieces(r, alphabet, 40)]
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix, "max_input_chars_per_word": r.choice([100, 100, 5, 1]), "vocab": numbered(r, tokens)}


def word_level(r, alphabet):
    return {"type": "WordLevel", "unk_token": "<unk>", "vocab": numbered(r, ["<unk>"] + list(alphabet) + pieces(r, alphabet, 60))}


def unigram(r, alphabet):
    byte_fallback = r.random() < .4
    tokens = list(numbered(r, ["<unk>"] + [c for c in alphabet if r.random() < .8] + pieces(r, alphabet, 60) + (fallback(r) if byte_fallback else [])))
    score = r.choice([lambda: -r.random() * 12, lambda: float(r.randrange(-5, 1)), lambda: r.choice([-1.5, -3, 2.25]), lambda: -r.random() * 1e-7, lambda: -r.expovariate(.2) * 10 ** r.randrange(-20, 20)])
    return {"type": "Unigram", "unk_id": r.choice([tokens.index("<unk>")] * 3 + [None]), "vocab": [[t, score()] for t in tokens], "byte_fallback": byte_fallback}


# --- the whole ------------------------------------------------------------------------------------------------

def added_tokens(r, vocab, alphabet):
    """With the ids that the reference gives: the vocabulary's, or the next ones."""
    out, seen, following = [], set(), len(vocab)
    for _ in range(r.choice([0, 0, 1, 3, 6])):
        content = r.choice([r.choice(["<s>", "</s>", "<|a|>", "<|a|>b", "[MASK]", "ab", " x", "x ", "\u4f60\u597d", "Abc", "\u00c9"]), any_text(r, alphabet, 4), r.choice(sorted(vocab))])
        if content in seen or not content.strip():
            continue
        seen.add(content)
        if content not in vocab:
            following += 1
        flags = {k: r.random() < .25 for k in ("single_word", "lstrip", "rstrip")}
        out.append({"id": vocab.get(content, following - 1), "content": content, **flags, "normalized": r.random() < .4, "special": r.random() < .5})
    return out


def tokenizer(seed):
    """A configuration's tree and the characters that its vocabulary is about."""
    r = random.Random(seed)
    alphabet = "".join(dict.fromkeys("".join(r.sample(SCRIPTS, 3)) + "ab " + r.choice(["", META, "<>"])))
    pre = r.choice([None, pre_tokenizer(r), pre_tokenizer(r), pre_tokenizer(r, 0, True)])
    normal = r.choice([None, normalizer(r)])
    model = r.choice([bpe, bpe, bpe, unigram, unigram, word_piece, word_level])(
        r, alphabet if not last_is_byte_level(pre) and "ByteLevel" not in json.dumps([pre, normal]) else r.choice([alphabet, "".join(BYTES.values())]))
    vocab = model["vocab"] if isinstance(model["vocab"], dict) else {t: i for i, (t, _) in enumerate(model["vocab"])}
    tree = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(r, vocab, alphabet), "normalizer": normal, "pre_tokenizer": pre,
            "post_processor": r.choice([None, post_processor(r, vocab)]), "decoder": r.choice([None, decoder(r), decoder(r)]), "model": model}
    texts = [any_text(r, alphabet + "".join(t["content"] for t in tree["added_tokens"])) for _ in range(40)]
    texts += ["".join(r.choice([r.choice(tree["added_tokens"])["content"] if tree["added_tokens"] else " ", any_text(r, alphabet, 6)]) for _ in range(5)) for _ in range(15)]
    return tree, [""] + texts


def quiet(function, *arguments):
    """The result, or None where the reference fails or panics."""
    try:
        return function(*arguments)
    except BaseException as e:
        if isinstance(e, KeyboardInterrupt):
            raise
        return None


def drops(tree):
    """The reference leaves out characters when there is no unknown token; ft refuses the text. A tokenizer that shows where."""
    model = tree["model"]
    if model["type"] != "BPE" or model["unk_token"]:
        return None
    marked = json.loads(json.dumps(tree))
    marked["model"]["vocab"]["\U000e0001unknown"] = len(model["vocab"])
    marked["model"]["unk_token"] = "\U000e0001unknown"
    for token in marked["added_tokens"]:
        token["id"] += token["id"] >= len(model["vocab"])
    return Tokenizer.from_str(json.dumps(marked)), len(model["vocab"])


def cases(tree, texts):
    """The texts that the reference can do, with their ids, and what those decode to."""
    hf = quiet(Tokenizer.from_str, json.dumps(tree))
    if hf is None:
        return None
    normal = [quiet(hf.normalizer.normalize_str, t["content"]) if hf.normalizer else t["content"] for t in tree["added_tokens"] if t["normalized"]]
    if not all(normal) or len(set(normal)) < len(normal):
        return None  # added tokens that are normalized to nothing, or to the same: what is found is then a matter of chance
    marked = drops(tree)
    out = []
    for text in dict.fromkeys(texts):
        if marked:
            other = quiet(marked[0].encode, text, None, False, False)
            if other is None or marked[1] in other.ids:
                continue
        encoding = quiet(hf.encode, text)
        if encoding is None:
            continue
        decoded, skipped = quiet(hf.decode, encoding.ids, False), quiet(hf.decode, encoding.ids, True)
        out.append({"text": text, "ids": encoding.ids, "decoded": decoded, "skipped": skipped})
    return out


def ask(ft, path, mode, lines):
    done = subprocess.run([ft, "-m", path, "--json"] + mode, input="".join(json.dumps(l, ensure_ascii=False) + "\n" for l in lines).encode(), capture_output=True)
    return [json.loads(l) for l in done.stdout.decode().split("\n")[:-1]], done.stderr.decode().strip()


def differs(ft, seed, directory):
    """None when the reference does not load it, else what differs: a list of messages."""
    tree, texts = tokenizer(seed)
    want = cases(tree, texts)
    if want is None:
        return None
    path = os.path.join(directory, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(tree, f, ensure_ascii=False)
    wrong = []
    got, said = ask(ft, path, ["--ids"], [c["text"] for c in want])
    wrong += [f"ids of {c['text']!r}: ft {g}, expected {c['ids']}" for c, g in zip(want, got) if g != c["ids"]]
    if len(got) != len(want):
        wrong.append(f"--ids: {said}; at {want[len(got)]['text']!r}, expected {want[len(got)]['ids']}")
    for mode, key in (["--decode"], "decoded"), (["--decode", "--no-specials"], "skipped"):
        known = [c for c in want if c[key] is not None]
        got, said = ask(ft, path, mode, [c["ids"] for c in known])
        wrong += [f"{key} of {c['ids']}: ft {g!r}, expected {c[key]!r}" for c, g in zip(known, got) if g != c[key]]
        if len(got) != len(known):
            wrong.append(f"{mode}: {said}")
    return wrong


def write_fixture(path, seed, count=60):
    """Two lines a configuration: the tokenizer, and its cases. Small and different ones."""
    seen = {}
    with open(path, "w", encoding="utf-8") as f:
        while count:
            seed += 1
            tree, texts = tokenizer(seed)
            want = cases(tree, texts)
            line = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
            if not want or len(line) > 4000 or seen.get(tree["model"]["type"], 0) >= 15:
                continue
            chosen = [c for c in want if len(c["text"]) > 3 and None not in c.values()][:6]
            if len(chosen) < 6:
                continue
            seen[tree["model"]["type"]] = seen.get(tree["model"]["type"], 0) + 1
            f.write(line + "\n" + json.dumps({"seed": seed, "cases": chosen}, ensure_ascii=False, separators=(",", ":")) + "\n")
            count -= 1


def main():
    import tempfile
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("--ft", default=os.path.join(here, "../../build/bin/ft-tokenize"))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=2000)
    p.add_argument("--fixture")
    a = p.parse_args()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the reference's panics
    if a.fixture:
        return write_fixture(a.fixture, a.seed)
    done, bad, seed = 0, 0, a.seed
    with tempfile.TemporaryDirectory() as directory:
        while done < a.count:
            wrong = differs(a.ft, seed, directory)
            if wrong is not None:
                done += 1
            if wrong:
                bad += 1
                print(f"seed {seed}: {len(wrong)} differences")
                for message in wrong[:3]:
                    print("   ", message[:300], flush=True)
            seed += 1
    print(f"{done} configurations, seeds {a.seed} to {seed - 1}: {bad} differ")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
