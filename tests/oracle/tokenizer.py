#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tokenizers against Hugging Face's `tokenizers`, through ft-tokenize --ids and --decode.

    tokenizer.py [--ft BIN] [--data FILE]... TOKENIZER...   compare on data (each line, and in blocks) and on a Unicode torture
    tokenizer.py --fixtures DIR                             write the small tokenizers and cases that `make check` uses

TOKENIZER is a directory with tokenizer.json, or such a file. Exit status 0: no difference.
"""
import argparse, glob, json, os, random, subprocess, sys, tempfile, unicodedata

from tokenizers import Tokenizer

SPECIAL = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<0x41>", "\u2581", "\u2581\u2581"]
ALPHABETS = [list("abcdefghij ABC"), list(" \t\n\r\u00a0\u2003\u3000\u200b\u0085\u2028\u180e"), list("0123456789\u0660\u0661\u00bd\u00b2\u2167"),
             list("'\u2019\"!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`"), list("\u00e9\u00e8\u00f1\u00fc\u00df\u0130\u0131\u017f\u212a\u00c5"),
             [chr(c) for c in range(0x300, 0x330)], list("\u4f60\u597d\u4e16\u754c\u3053\u3093\u306b\u3061\u306f\u30ab\u30bf\u30ab\u30ca\ud55c\uad6d\uc5b4\uac01"),
             list("\u0928\u092e\u0938\u094d\u0924\u0947\u0642\u0631\u0622\u0646\u05e9\u05dc\u05d5\u05dd\u0e44\u0e17\u0e22"),
             list("\U0001f600\U0001f44d\U0001f3fd\u200d\U0001f1eb\U0001f1f7\u2764\ufe0f"),
             ["'s", "'S", "'ll", "'LL", "'\u017f", "'re", "'ve", " ", "  ", "\n\n"], SPECIAL,
             ["e\u0301", "\u1100\u1161\u11a8", "\ufb01", "\u212b", "\u0958", "\u0344", "\u1e9b\u0323"],
             [chr(c) for c in (0xfffd, 0xfeff, 0xffff, 0x10ffff, 0xe000, 0x1, 0x7f, 0x80, 0xad)]]


def torture(seed, count, every=True):
    """Random texts over scripts, spaces, marks, special tokens; every assigned character; long runs."""
    r, out = random.Random(seed), []
    for _ in range(count):
        picked = [r.choice(ALPHABETS) for _ in range(r.choice([1, 1, 2, 3, 6]))]
        out.append("".join(r.choice(r.choice(picked)) for _ in range(r.choice([1, 2, 3, 5, 8, 20, 60]))))

    def any_character():
        while True:
            c = r.choice([r.randrange(1, 0x80), r.randrange(1, 0x800), r.randrange(1, 0x10000), r.randrange(1, 0x110000)])
            if not 0xd800 <= c < 0xe000:
                return chr(c)
    out += ["".join(any_character() for _ in range(r.choice([1, 2, 5, 20, 80]))) for _ in range(count)]
    if every:
        all_of_them = [chr(c) for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000
                       and (unicodedata.category(chr(c)) not in ("Cn", "Co") or c % 64 == 0)]
        out += [" a".join(all_of_them[i:i + 16]) for i in range(0, len(all_of_them), 16)]
        out += ["".join(all_of_them[i:i + 64]) for i in range(0, len(all_of_them), 64)]
    return out + ["x" * 5000, " " * 5000, "\n" * 3000, "ab" * 3000, "\u4e00" * 2000, "\U0001f600" * 1000, "0" * 3000, "'" * 100, "a b" * 2000]


def run(ft, path, mode, lines, specials):
    command = [ft, "-m", path, mode, "--json"] + ([] if specials else ["--no-specials"])
    done = subprocess.run(command, input="".join(l + "\n" for l in lines).encode(), stdout=subprocess.PIPE)
    if done.returncode:
        return None
    return [json.loads(l) for l in done.stdout.decode().split("\n")[:-1]]


def compare(ft, path, texts, specials, shown=5):
    """The number of texts whose ids, or the ids' text, differ."""
    hf = Tokenizer.from_file(path if os.path.isfile(path) else os.path.join(path, "tokenizer.json"))
    hf.no_truncation()
    hf.no_padding()
    texts = [t for t in texts if "\0" not in t]
    want = [hf.encode(t, add_special_tokens=specials).ids for t in texts]
    got = run(ft, path, "--ids", [json.dumps(t, ensure_ascii=False) for t in texts], specials)
    if got is None or len(got) != len(texts):
        print(f"{path}: ft-tokenize --ids failed")
        return len(texts)
    wrong = [i for i in range(len(texts)) if got[i] != want[i]]
    decoded = run(ft, path, "--decode", [json.dumps(w) for w in want], True)
    lost = [i for i in range(len(texts)) if decoded[i] != hf.decode(want[i], skip_special_tokens=False)]
    for i in wrong[:shown]:
        print(f"{path}: ids of {texts[i][:60]!r}: ft {got[i][:16]}, expected {want[i][:16]}")
    for i in lost[:shown]:
        print(f"{path}: text of {want[i][:16]}: ft {decoded[i][:60]!r}")
    return len(set(wrong) | set(lost))


def read_texts(path):
    """Each line with its end, and blocks of some lines."""
    lines = open(path, encoding="utf-8", newline="").read().splitlines(keepends=True)
    return lines + ["".join(lines[i:i + 40]) for i in range(0, len(lines), 400)]


# --- fixtures -------------------------------------------------------------------------------------------------

CORPUS = """The quick brown fox doesn't jump over the lazy dogs; it's the dogs who'd have jumped, hadn't they been lazy.
Every message gets an answer: thanks for writing, we're sorry, and here's what we'll do about it. 2024-11-22, 13:45, 3.14159.
def tokenize(text):\n    return [token for token in text.split() if token]\n\n\nfor (int i = 0; i < 10; i++) { printf("%d\\n", i); }
Straße, naïve, café, Ålesund, Привет, мир! Γειά σου Κόσμε. שלום עולם. مرحبا بالعالم. नमस्ते दुनिया. สวัสดีชาวโลก. 你好，世界。こんにちは世界。안녕하세요 세계.
😀 👍🏽 👨‍👩‍👧 🇫🇷 ❤️ ½ ² Ⅷ ﬁ Å e\u0301 \u00a0 \u3000 """
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def added(i, content, **flags):
    return dict({"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}, **flags)


def byte_level(regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": regex}


def train(normalizer, pre_tokenizer, size, byte_fallback=False, **model):
    """A small BPE of CORPUS under these parts; returns the tokenizer's tree."""
    from tokenizers import models, pre_tokenizers, trainers
    tree = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "post_processor": None, "decoder": None, "model": {"type": "BPE", "vocab": {}, "merges": []}}
    t = Tokenizer.from_str(json.dumps(tree))
    alphabet = pre_tokenizers.ByteLevel.alphabet() if "ByteLevel" in json.dumps(pre_tokenizer) else []
    first = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if byte_fallback else [])
    end = model.get("end_of_word_suffix")
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, special_tokens=first,
                                  **({"end_of_word_suffix": end} if end else {}))
    t.train_from_iterator(CORPUS.split("\n") * 3, trainer)
    tree["model"] = json.loads(t.to_str())["model"]
    tree["model"].update(model, byte_fallback=byte_fallback)
    tree["model"]["vocab"] = dict(sorted(tree["model"]["vocab"].items(), key=lambda e: e[1]))
    tree["added_tokens"] = [added(i, c) for i, c in enumerate(first[:3])]
    return tree


def bos(token="<s>", i=1):
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]}}}


def small_tokenizers():
    space = "\u2581"
    spm_decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": space}, "content": " "}, {"type": "ByteFallback"},
                                                    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    out = {}
    t = out["gpt2"] = train(None, byte_level(True), 400)
    n = len(t["model"]["vocab"])
    t["added_tokens"] += [added(n, "<word>", single_word=True), added(n + 1, "<left>", lstrip=True), added(n + 2, "<right>", rstrip=True),
                          added(n + 3, "Normal", normalized=True, special=False), added(n + 4, "<|a|>"), added(n + 5, "<|a|>b")]
    t["decoder"] = byte_level(True)
    t = out["llama3"] = train(None, {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
                                                                          byte_level(False)]}, 420, ignore_merges=True)
    t["decoder"] = byte_level(True)
    t["post_processor"] = {"type": "Sequence", "processors": [byte_level(True), bos()]}
    t["model"]["vocab"]["\u0120jumpedXY"] = len(t["model"]["vocab"])
    t = out["qwen"] = train({"type": "NFC"}, {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": LLAMA3.replace("{1,3}", "")},
                            "behavior": "Isolated", "invert": False}, byte_level(False)]}, 420)
    t["decoder"] = byte_level(False)
    t = out["spm"] = train({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": space}, {"type": "Replace", "pattern": {"String": " "}, "content": space}]},
                           None, 480, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    cut_merges(t)
    t["decoder"], t["post_processor"] = spm_decoder, bos()
    t = out["gemma"] = train({"type": "Replace", "pattern": {"String": " "}, "content": space}, {"type": "Split", "pattern": {"String": space},
                             "behavior": "MergedWithNext", "invert": False}, 460, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    t["decoder"] = {"type": "Sequence", "decoders": spm_decoder["decoders"][:3]}
    t = out["metaspace"] = train(None, {"type": "Metaspace", "replacement": space, "prepend_scheme": "first", "split": True}, 200, unk_token="<unk>")
    t["decoder"] = {"type": "Metaspace", "replacement": space, "prepend_scheme": "first", "split": True}
    t = out["kitchen"] = train({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False},
                               {"type": "Replace", "pattern": {"Regex": "o+"}, "content": "o"}]},
                               {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True},
                               {"type": "Punctuation", "behavior": "MergedWithPrevious"}]}, 260, unk_token="<unk>", end_of_word_suffix="</w>")
    t["decoder"] = {"type": "BPEDecoder", "suffix": "</w>"}
    return out


def cut_merges(t):
    """SentencePiece's merges do not cross spaces; the trainer's, without a pre-tokenizer, do: keep those that do not."""
    keep, known = [], set("<unk> <s> </s>".split()) | {v for v in t["model"]["vocab"] if len(v) == 1 or v.startswith("<0x")}
    for a, b in t["model"]["merges"]:
        if a in known and b in known and "\u2581" not in (a + b)[1:]:
            keep.append([a, b])
            known.add(a + b)
    vocab = [v for v in t["model"]["vocab"] if v in known]
    t["model"]["vocab"], t["model"]["merges"] = {v: i for i, v in enumerate(vocab)}, keep


def write_fixtures(directory):
    os.makedirs(directory, exist_ok=True)
    texts = ["", " ", "Hello", " Hello  world", "<word> x<word> <word>x <word>", "a <left> b  <right>  c<left><right>", "Normal normal Normality",
             "<|a|>b<|a|>c<|a|>", "<s>a</s>", "I've \u0120jumpedXY jumpedXY", "tokens\r\n\r\n  two   three\t\tfour\n", "12345 67 8"] + \
        CORPUS.split("\n") + torture(7, 40, every=False)[:-9] + ["x" * 70, " " * 60, "ab" * 40, "\u4e00" * 30, "\u2581\u2581 \u2581"]
    for name, tree in small_tokenizers().items():
        hf = Tokenizer.from_str(json.dumps(tree))
        with open(os.path.join(directory, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(tree, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")
        with open(os.path.join(directory, name + ".jsonl"), "w", encoding="utf-8") as f:
            for text in texts:
                ids = hf.encode(text).ids
                case = {"text": text, "ids": ids, "decoded": hf.decode(ids, skip_special_tokens=False), "skipped": hf.decode(ids)}
                f.write(json.dumps(case, ensure_ascii=False) + "\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("tokenizer", nargs="*")
    p.add_argument("--ft", default=os.path.join(here, "../../build/bin/ft-tokenize"))
    p.add_argument("--data", action="append", default=[])
    p.add_argument("--fixtures")
    p.add_argument("--count", type=int, default=3000)
    a = p.parse_args()
    if a.fixtures:
        return write_fixtures(a.fixtures)
    texts = torture(1, a.count)
    for path in a.data:
        texts += read_texts(path)
    bad = 0
    for path in a.tokenizer:
        wrong = compare(a.ft, path, texts, False) + compare(a.ft, path, texts[:200] + [""], True)
        print(f"{path}: {len(texts)} texts, {sum(map(len, texts))} characters, {wrong} differ", flush=True)
        bad += wrong
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
