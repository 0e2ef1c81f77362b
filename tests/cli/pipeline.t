#!/bin/sh
# SPDX-License-Identifier: MIT
# pipelines/ft.mk on a tiny model and made-up data: the whole experiment, what runs again after which change, and why.
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
bin=${FT_BIN:-$root/build/bin}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
n=0
ok() { # ok NAME COMMAND...
    name=$1; shift; n=$((n + 1))
    if "$@" >out.log 2>&1; then echo "ok $n - $name"; else echo "not ok $n - $name"; sed 's/^/# /' out.log | tail -n 20; fi
}

# Words drawn by arithmetic: 120 questions whose answer depends on one word.
awk 'BEGIN { split("red green blue", c, " "); split("cup box pen hat key map jar net", o, " ")
    for (i = 0; i < 120; i++) printf "{\"prompt\": \"item %d: a %s %s no %d ->\", \"completion\": \" %s\", \"label\": \"%s\"}\n",
        i, c[i % 3 + 1], o[(i * 7) % 8 + 1], (i * 37) % 101, c[i % 3 + 1], c[i % 3 + 1] }' > data.jsonl
mkdir shape
cat > shape/config.json <<'J'
{"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
 "num_key_value_heads": 1, "vocab_size": 300, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "hidden_act": "silu",
 "tie_word_embeddings": true, "eos_token_id": 0}
J
echo '{"eos_token": "<|endoftext|>"}' > shape/tokenizer_config.json
ok "a vocabulary" "$bin/ft-vocab" -n 300 -o shape/tokenizer.json data.jsonl
ok "tokens" "$bin/ft-tokenize" -m shape --loss all -o train.ftok data.jsonl
ok "a model from random weights" "$bin/ft-train" -q -m shape --init random -t train.ftok -s method=full -s steps=2 -o base
cat > Makefile <<M
MODEL = base
DATA = data.jsonl
FT = $bin/
SET ?= epochs=1 lora.rank=2
THREADS = 1
SPLIT = -r 70/15/15
include $root/pipelines/ft.mk
M
ok "make ft: from data to a verified model" make -s ft
ok "the report is there" test -s out/report/report.html
ok "nothing to do the second time" sh -c '[ "$(make ft | grep -cE "/ft-(tokenize|split|train|eval|merge)")" = 0 ]'
stamp() { stat -c %Y.%y "$1"; }
before=$(stamp out/split/train.ftok)
sleep 1
touch data.jsonl
ok "a touched input is looked at again" make -s ft
ok "and, being the same, changes nothing" sh -c "[ '$before' = '$(stamp out/split/train.ftok)' ]"
ok "a changed option is noticed, and why says where" sh -c 'make SET="epochs=1 lora.rank=3" why | grep -q train.options'
ok "make -n runs nothing" sh -c 'make -n SET="epochs=1 lora.rank=3" ft | grep -q ft-train && test "$(grep -o "\"rank\": *[0-9]*" out/run/recipe.json)" != "\"rank\": 3"'
ok "make with another rank trains again" make -s SET="epochs=1 lora.rank=3" ft
ok "with it" grep -q '"rank": *3' out/run/recipe.json
ok "a bar that is not met stops make" sh -c '! make -s SET="epochs=1 lora.rank=3" BARS="exact_match>=2" ft && make -s SET="epochs=1 lora.rank=3" ft'
ok "a missing model is named" sh -c 'make MODEL=nowhere ft 2>&1 | grep -q nowhere'
ok "ft-verify finds an altered file" sh -c 'printf x >> out/tuned/config.json; ! make -s SET="epochs=1 lora.rank=3" ft-verify'
echo "1..$n"
