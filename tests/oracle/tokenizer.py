#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tokenizers against Hugging Face's `tokenizers`, through ft-tokenize --ids and --decode.

    tokenizer.py [--ft BIN] [--data FILE|DIR]... TOKENIZER...  compare on data (lines, blocks, strings in JSON) and on a Unicode torture
    tokenizer.py --fixtures DIR                                write the small tokenizers and cases that `make check` uses

TOKENIZER is a directory with tokenizer.json, or such a file. Exit status 0: no difference.
"""
import argparse, itertools, json, os, queue, random, subprocess, sys, threading, unicodedata

from tokenizers import Tokenizer

BATCH = 2000

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


def torture_file():
    """The torture texts as one document, line by line."""
    return "\n".join(torture(3, 2000))


class Tool:
    """One ft-tokenize that answers a line with a line, fed by a thread."""

    def __init__(self, ft, path, mode, specials, lines):
        command = [ft, "-m", path, mode, "--json"] + ([] if specials else ["--no-specials"])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.feeder = threading.Thread(target=self.feed, args=(lines,), daemon=True)
        self.feeder.start()

    def feed(self, lines):
        try:
            with self.process.stdin as pipe:
                for line in lines:
                    pipe.write(line.encode() + b"\n")
        except BrokenPipeError:
            pass  # it gave up, and has said why

    def take(self, count):
        """The next answers, fewer when it gave up."""
        return list(itertools.islice(self.process.stdout, count))

    def close(self):
        self.process.stdout.close()
        self.feeder.join()
        return self.process.wait()


def print_ids(ids):
    return json.dumps(ids, separators=(",", ":")).encode() + b"\n"


class Decoding(threading.Thread):
    """ft-tokenize --decode beside the comparison of ids: it answers when it likes, so a thread of its own reads and compares."""

    def __init__(self, ft, path, shown):
        super().__init__(daemon=True)
        self.path, self.shown, self.wrong, self.read = path, shown, 0, 0
        self.ids, self.expected = queue.Queue(16), queue.Queue()
        lines = (print_ids(ids)[:-1].decode() for batch in iter(self.ids.get, None) for ids in batch)
        self.tool = Tool(ft, path, "--decode", True, lines)
        self.start()

    def put(self, ids, texts):
        self.ids.put(ids)
        for pair in zip(ids, texts):
            self.expected.put(pair)

    def run(self):
        for line in self.tool.process.stdout:
            ids, text = self.expected.get()
            self.read += 1
            if json.loads(line) != text:
                self.wrong += 1
                if self.wrong <= self.shown:
                    print(f"{self.path}: text of {ids[:16]}: ft {line[:100]!r}, expected {text[:60]!r}")

    def close(self, count):
        self.ids.put(None)
        self.join()
        return self.wrong + (self.tool.close() != 0 or self.read != count)


def compare(ft, path, texts, specials, shown=5):
    """Counts over the texts: whose ids differ, whose ids' text differs, whose text does not come back; and the number of tokens."""
    hf = Tokenizer.from_file(path if os.path.isfile(path) else os.path.join(path, "tokenizer.json"))
    hf.no_truncation()
    hf.no_padding()
    encoder = Tool(ft, path, "--ids", specials, (json.dumps(t, ensure_ascii=False) for t in texts))
    decoding = Decoding(ft, path, shown)
    count = {"ids": 0, "lost": 0, "tokens": 0}
    for start in range(0, len(texts), BATCH):
        batch = texts[start:start + BATCH]
        want = [e.ids for e in hf.encode_batch_fast(batch, add_special_tokens=specials)]
        back = hf.decode_batch(want, skip_special_tokens=False)
        decoding.put(want, back)
        for text, ids, line in itertools.zip_longest(batch, want, encoder.take(len(batch)), fillvalue=b"nothing"):
            count["tokens"] += len(ids)
            if line != print_ids(ids):
                count["ids"] += 1
                if count["ids"] <= shown:
                    print(f"{path}: ids of {text[:60]!r}: ft {line[:100]!r}, expected {ids[:16]}")
        count["lost"] += sum(a != b for a, b in zip(batch, back))
    count["ids"] += encoder.close() != 0
    count["texts"] = decoding.close(len(texts))
    return count


def json_strings(value, out):
    if isinstance(value, str):
        out.append(value)
    elif isinstance(value, (list, dict)):
        for v in value.values() if isinstance(value, dict) else value:
            json_strings(v, out)


def read_texts(path):
    """Each line with its end, blocks of forty lines, and the strings in JSON."""
    whole = open(path, encoding="utf-8", newline="").read()
    lines = whole.splitlines(keepends=True)
    out = lines + ["".join(lines[i:i + 40]) for i in range(0, len(lines), 400)]
    if path.endswith(".json"):
        json_strings(json.loads(whole), out)
    elif path.endswith(".jsonl"):
        json_strings([json.loads(line) for line in lines], out)
    return out


def data_files(paths):
    for path in paths:
        if not os.path.isdir(path):
            yield path
        for directory, _, names in sorted(os.walk(path)):
            yield from (os.path.join(directory, name) for name in sorted(names))


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
    texts = torture(1, a.count) + [torture_file()]
    for path in data_files(a.data):
        texts += read_texts(path)
    read, texts = len(texts), [t for t in dict.fromkeys(texts) if "\0" not in t]
    print(f"{read} texts, {len(texts)} different ones, {sum(len(t.encode()) for t in texts)} bytes", flush=True)
    bad = 0
    for path in a.tokenizer:
        count, special = compare(a.ft, path, texts, False), compare(a.ft, path, texts[:200] + [""], True)
        wrong = sum(c[k] for c in (count, special) for k in ("ids", "texts"))
        print(f"{path}: {count['tokens']} tokens, {wrong} texts differ, {count['lost']} do not come back from their ids", flush=True)
        bad += wrong
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
