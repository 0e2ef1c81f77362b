#!/bin/sh
# SPDX-License-Identifier: MIT
# Memory, writes, reads, syncs and renames that fail: every program ends with status 2 and one line that says so, leaves
# what was there as it was, and nothing new. Or it can do without the call that failed, and its results are right.
# FT_FAULT_MAX is the number of places tried for each (default 15: the first ones, then further and further apart).
set -u
library=$FT_BUILD/tests/fault/fault.so
fixtures=$(cd "$(dirname "$0")/../oracle/fixtures" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
if [ ! -e "$library" ]; then echo '1..0 # SKIP no library to preload in this build'; exit 0; fi
cd "$work" || exit 1
max=${FT_FAULT_MAX:-15}
n=0

# attempt: "$@" in a fresh copy of ./input, with the fault; sets got and hit
attempt() {
    fault=$1; shift
    rm -rf run mark; cp -r input run
    (cd run && FT_FAULT=$fault FT_FAULT_MARK=$work/mark LD_PRELOAD=$library "$@" >../stdout 2>../stderr)
    got=$?
    hit=0; [ -e mark ] && hit=1
}
# the whole of a tree: names and contents
picture() { (cd "$1" && find . -type f ! -name 'timing.json*' ! -name '*.log' | LC_ALL=C sort | xargs -r sha256sum); }

# try NAME COMMAND...: COMMAND works on files of ./input and writes ./out whole, or nothing
try() { partial=0; each "$@"; }
# try_run: the same, but ./out lives while COMMAND works, and may be left unfinished
try_run() { partial=1; each "$@"; }
each() {
    name=$1; shift
    attempt none:0 "$@"
    good=$got
    if [ "$good" = 2 ]; then n=$((n + 1)); echo "not ok $n - $name without any fault"; sed 's/^/# /' stderr; return; fi
    picture run >want; cp stdout want.out; picture input >before
    for kind in memory write read sync rename map; do one "$@"; done
}
one() {
    n=$((n + 1)); at=1; step=1; tried=0; bad=
    while [ "$tried" -lt "$max" ]; do
        attempt $kind:$at "$@"
        [ $hit = 0 ] && break
        tried=$((tried + 1))
        picture run >after
        if [ $got = 2 ]; then
            [ $partial = 1 ] || cmp -s after before || bad="$bad $at:left"
            [ "$(wc -l <stderr)" = 1 ] || bad="$bad $at:words"
        elif [ $got = "$good" ]; then
            { cmp -s after want && cmp -s stdout want.out; } || bad="$bad $at:wrong"
        else bad="$bad $at:status$got"; fi
        at=$((at + step))
        [ $((tried % 8)) = 0 ] && step=$((step * 4))
    done
    if [ -z "$bad" ]; then echo "ok $n - $name: $kind ($tried faults)"
    else echo "not ok $n - $name: $kind:$bad"; sed 's/^/# /' stderr; fi
}

# synced NAME COMMAND...: what COMMAND leaves in ./out survives a power failure: each file and directory was synced
synced() {
    name=$1; shift
    rm -rf run list; cp -r input run; : >list
    (cd run && FT_FAULT=none:0 FT_FAULT_SYNCED=$work/list LD_PRELOAD=$library "$@" >../stdout 2>../stderr)
    n=$((n + 1)); files=0; bad=
    for path in $(cd run && find out ! -name 'timing.json*'); do
        files=$((files + 1))
        grep -qx "$(stat -c %i "run/$path")" list || bad="$bad $path"
    done
    if [ -z "$bad" ] && [ $files -gt 2 ]; then echo "ok $n - $name: all of it is synced ($files names)"
    else echo "not ok $n - $name: not synced:$bad"; sed 's/^/# /' stderr; fi
}

mkdir -p input/done input/words
i=0
while [ $i -lt 40 ]; do
    echo "{\"prompt\":\"question number $i about thing $((i * 7919 % 1000)) and $((i * 104729 % 1000))\",\"completion\":\"answer $i\"}"
    i=$((i + 1))
done >input/data.jsonl
echo text >input/done/file
(cd input/done && sha256sum file >SHA256SUMS)
cp "$fixtures/tokenizer/spm.json" input/words/tokenizer.json
echo '{"eos_token":"</s>"}' >input/words/tokenizer_config.json
cp -r "$fixtures/llama" "$fixtures/llama-lora/adapter" input
rm input/llama/expected.safetensors
echo '{}' >input/llama/tokenizer.json
vocabulary=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' input/llama/config.json)
"$FT_BUILD/tests/helper/make-ftok" input/train.ftok input/llama/tokenizer.json "$vocabulary" 9 3 20 1
# A base that speaks, and an adapter for it.
cp -r input/words input/start
cat >input/start/config.json <<'END'
{"model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
 "num_key_value_heads": 1, "vocab_size": 458, "max_position_embeddings": 96, "rms_norm_eps": 1e-05, "hidden_act": "silu",
 "rope_theta": 10000.0, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}
END
head -n 2 input/data.jsonl >input/prompts.jsonl
(cd input && "$FT_BIN/ft-tokenize" -m start -o test.ftok prompts.jsonl 2>/dev/null &&
    "$FT_BIN/ft-train" -q --threads 1 -m start --init random -t test.ftok -s steps=1 -s save.state=false -o base &&
    "$FT_BIN/ft-train" -q --threads 1 -m base -t test.ftok -s steps=1 -s lora.rank=2 -s save.state=false -o tuned) || exit 1

try ft-verify "$FT_BIN/ft-verify" done
try ft-split "$FT_BIN/ft-split" -o out data.jsonl
try ft-lint "$FT_BIN/ft-lint" --json data.jsonl
try ft-tokenize "$FT_BIN/ft-tokenize" -m words -o out --threads 1 data.jsonl
try_run ft-train "$FT_BIN/ft-train" -q -m llama -t train.ftok -s steps=2 -s lora.rank=2 --threads 1 -o out
try ft-merge "$FT_BIN/ft-merge" -m base -a tuned --threads 1 -o out
try ft-eval "$FT_BIN/ft-eval" -m base -a tuned --resamples 100 --max-tokens 4 --threads 1 -o out test.ftok
try ft-generate "$FT_BIN/ft-generate" -m base -a tuned -n 3 --threads 1 prompts.jsonl
synced ft-split "$FT_BIN/ft-split" -o out data.jsonl
synced ft-train "$FT_BIN/ft-train" -q -m llama -t train.ftok -s steps=2 -s lora.rank=2 --threads 1 -o out
synced ft-merge "$FT_BIN/ft-merge" -m base -a tuned --threads 1 -o out
synced ft-eval "$FT_BIN/ft-eval" -m base -a tuned --resamples 100 --max-tokens 4 --threads 1 -o out test.ftok
echo "1..$n"
