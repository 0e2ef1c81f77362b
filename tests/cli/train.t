#!/bin/sh
# SPDX-License-Identifier: MIT
# ft-train: what a run holds, stopping and going on, being killed, and refusals that leave the disk as it was.
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/tap/tap.sh"
. "$root/tests/golden/tiny.sh"
tiny_base
cd "$tmp" || exit 2
train="$bin/ft-train -q --threads 2"
long="-m llama --init random -t train.ftok -v valid.ftok -s epochs=3 -s batch=5 -s lr=5e-3 -s save_every=2 -s eval_every=4"
same() { diff -r -x timing.json "$1" "$2"; }

# --- a run --------------------------------------------------------------------------------------------------
ok "a run in full" $train $long -o full
ok "SHA256SUMS are what they say" sh -c 'cd full && sha256sum -c --quiet SHA256SUMS'
is "the run is a model directory" "$(ls full | tr '\n' ' ')" \
    "SHA256SUMS checkpoint config.json metrics.jsonl model.safetensors provenance.json recipe.json run.json timing.json tokenizer.json "
is "a step a line, and evaluations" "$(grep -c '"loss"' full/metrics.jsonl) $(grep -c eval_loss full/metrics.jsonl)" "24 6"
ok "the time of a step is told" grep -q '"median_step_seconds": [0-9.e-]*[1-9]' full/timing.json
ok "it can be trained on" $train -m full -t train.ftok -s steps=2 -o lora
is "an adapter in PEFT's format" "$(ls lora | grep adapter | tr '\n' ' ')" "adapter_config.json adapter_model.safetensors "
ok "the adapter names its base" grep -q '"base_sha256": "[0-9a-f]\{64\}"' lora/adapter_config.json
ok "no path of the machine in what is hashed" sh -c '! grep -rl --exclude=timing.json "$0" full lora' "$tmp"
ok "the share of weights that moved is told" sh -c "$train -m full -t train.ftok -s steps=2 --json -o moved | grep -q '\"moved\": [01]\.'"
ok "an equal run is recognised" $train $long -o full
ok "bf16 is stored on request" sh -c "$train -m llama --init random -t train.ftok -s steps=2 -s save.dtype=bf16 -o narrow &&
    grep -q '\"torch_dtype\": \"bfloat16\"' narrow/config.json && grep -q '\"BF16\"' narrow/model.safetensors"
ok "the resolved recipe is a recipe" sh -c "$train $long -o again && cp again/recipe.json r.json &&
    $train -m llama -t train.ftok -v valid.ftok -r r.json -o from-recipe && diff -r -x timing.json again from-recipe"
ok "patience ends a run early" sh -c "$train -m llama-base -t train.ftok -v valid.ftok -s lr=1 -s steps=40 -s eval_every=2 \
    -s patience=2 --json -o early | grep -q '\"stopped_early\": true'"
ok "the plan is JSON" sh -c "$train $long --plan --json | grep -q '\"total\"'"
mkdir huge && cp llama/tokenizer.json huge/ &&
    sed 's/"hidden_size": 40, "intermediate_size": 72/"hidden_size": 40000, "intermediate_size": 720000/' llama/config.json >huge/config.json
if (ulimit -v 2000000 && $train --version) >/dev/null 2>&1; then # KiB of memory; sanitizers cannot run so
    (ulimit -v 2000000; $train -m huge --init random -t train.ftok -s method=full --plan) >plan.out 2>&1
    ok "the plan of random weights takes no memory for them" grep -q total plan.out
fi
ok "a split's directory gives both streams" sh -c "mkdir split && cp train.ftok valid.ftok split/ &&
    $train -m llama --init random -t split -s steps=2 -o of-split && grep -q eval_loss of-split/metrics.jsonl"

# --- memory -------------------------------------------------------------------------------------------------
# A model large enough that the plan's figures and not the program's own pages decide.
mkdir large
sed 's/"hidden_size": 40/"hidden_size": 256/; s/"intermediate_size": 72/"intermediate_size": 768/; s/: 53/: 6000/; s/: 48/: 256/
     s/"num_hidden_layers": 2/"num_hidden_layers": 4/; s/"head_dim": 12/"head_dim": 64/' llama/config.json >large/config.json
cp llama/tokenizer.json large/
"$make_ftok" large.ftok large/tokenizer.json 6000 24 120 160 1
"$make_ftok" shared.ftok large/tokenizer.json 6000 24 20 40 1 200
# planned OPTION...: what the plan says of a run of two steps, in percent of what it takes
planned() {
    plan=$($train "$@" -s steps=2 -s batch=12 --plan --json | sed -n 's/.*"total":[ \t]*\([0-9]*\).*/\1/p')
    peak=$("$build/tests/helper/peak-rss" $train "$@" -s steps=2 -s batch=12 -s save.state=false -o "$tmp/planned" --force) || return
    percent=$((plan * 100 / (peak * 1024)))
    if [ $percent -ge 97 ] && [ $percent -le 103 ]; then echo within; else echo "$percent % ($plan of $peak KiB)"; fi
}
$train -m large --init random -t large.ftok -s steps=1 -s batch=1 -s save.dtype=bf16 -o large-base
case $build in
*san*) ;; # sanitizers have memory of their own
*)
    is "the plan is within 3 % of the peak: in full" "$(planned -m large --init random -t large.ftok)" within
    is "in full, from bf16" "$(planned -m large-base -t large.ftok -s method=full)" within
    is "by LoRA" "$(planned -m large-base -t large.ftok)" within
    is "by LoRA, computed again" "$(planned -m large-base -t large.ftok --recompute)" within
    is "by LoRA, sharing a prompt" "$(planned -m large-base -t shared.ftok)" within ;;
esac
for how in "" --recompute "--recompute --micro-batch 5 --threads 1"; do
    $train -m large-base -t shared.ftok -s steps=2 -s batch=12 $how -o again-$(echo $how | tr -cd 'a-z0-9')
done
ok "computing layers again gives the same run" same again- again-recompute
ok "with other micro-batches, too" same again- again-recomputemicrobatch5threads1

# --- stopping and going on ----------------------------------------------------------------------------------
ok "stop after 7 steps" $train $long --until 7 -o parts
refuses "an unfinished run is not run over" "unfinished.*--resume" $train $long -o parts
ok "go on to 13" $train $long --resume --until 13 -o parts
ok "and to the end" $train $long --resume -o parts
ok "7 + 6 + 11 steps are 24 steps, to the byte" same full parts
# killed at moments spread over the time that the whole run takes; FT_KILLS says how often (make check-long: ten times)
began=$(date +%s%N)
$train $long -o timed
took=$(($(date +%s%N) - began))
moment() { awk "BEGIN { printf \"%.3f\", $took / 1e9 * ($1 % 100) / 100 + 0.002 }"; }
for i in $(seq "${FT_KILLS:-3}"); do
    rm -rf killed
    timeout -s KILL "$(moment $((i * 37)))" $train $long -o killed >/dev/null 2>&1
    timeout -s KILL "$(moment $((i * 59 + 20)))" $train $long --resume -o killed >/dev/null 2>&1
    ok "killed twice ($i), it goes on" $train $long --resume -o killed
    ok "and ends in the same bytes" same full killed
done
slow="-m llama --init random -t train.ftok -s steps=1000000 -s batch=5"
$train $slow -o stopped 2>err & pid=$!
while ! grep -qs loss stopped/metrics.jsonl && kill -0 $pid 2>/dev/null; do sleep 0.05; done
kill -TERM $pid
{ wait $pid; } 2>wait.err # a shell that says "Terminated" says it there
is "a signal ends the program by that signal" $? 143
ok "it says how to go on" grep -q -- --resume err
ok "and leaves a checkpoint" test -s stopped/checkpoint/state.json

# --- refusals -----------------------------------------------------------------------------------------------
refuses "no model" "-m MODEL" $train -t train.ftok -o x
refuses "no data" "-t TRAIN" $train -m llama -o x
refuses "no output" "-o RUN" $train -m llama -t train.ftok
refuses "an operand" "operands" $train -m llama -t train.ftok -o x y
refuses "a model that is not there" "nowhere" $train -m nowhere -t train.ftok -o x
refuses "a stream that is not there" "nowhere.ftok" $train -m llama -t nowhere.ftok -o x
refuses "a stream that is no stream" "config.json" $train -m llama -t llama/config.json -o x
head -c 900 train.ftok >cut.ftok
refuses "a cut stream" "cut.ftok" $train -m llama --init random -t cut.ftok -o x
mkdir other && cp llama/config.json other/ && echo '{"tiny": false}' >other/tokenizer.json
refuses "another tokenizer" "another tokenizer" $train -m other --init random -t train.ftok -o x
refuses "an unknown key" "did you mean" $train -m llama-base -t train.ftok -s lora.rnak=3 -o x
echo '{"lora": {"rank": 1}, "lora.rank": 2}' >twice.json
refuses "a key in both of its ways to be written" "lora.rank is given twice" $train -m llama-base -t train.ftok -r twice.json -o x
refuses "an unknown target" "proj" $train -m llama-base -t train.ftok -s lora.targets=q_prjo -o x
refuses "a value that is not UTF-8" "not UTF-8" $train -m llama-base -t train.ftok -s "$(printf 'lora.targets=re:\233')" -o x
refuses "weights that are not there" "safetensors" $train -m llama -t train.ftok -o x
"$make_ftok" longer.ftok llama/tokenizer.json 53 5 49 60 1
refuses "a row longer than the model" "record 1 .*--max-tokens 48" $train -m llama --init random -t longer.ftok -o x
"$make_ftok" wide.ftok llama/tokenizer.json 60 5 4 9 1
refuses "a larger vocabulary" "vocabulary of 60" $train -m llama --init random -t wide.ftok -o x
refuses "a rate that explodes" "step [0-9]+.*not finite|finite" $train -m llama --init random -t train.ftok -s lr=1e3 -s clip=0 -s warmup=0 -s steps=60 -o boom
rm -rf boom
refuses "another recipe in the same run" "another recipe" $train $long -s lr=1e-3 --resume -o parts
refuses "other data in the same run" "other training data" $train -m llama --init random -t valid.ftok -v valid.ftok -s epochs=3 -s batch=5 -s lr=5e-3 -s save_every=2 -s eval_every=4 -o parts
refuses "a directory of somebody else" "not a training run" $train -m llama --init random -t train.ftok -o split
refuses "a file in the way" "not a directory" $train -m llama --init random -t train.ftok -o train.ftok
$train $long --until 5 -o hurt
cp -r hurt hurt.before
printf X | dd of=hurt/checkpoint/state-5.safetensors bs=1 seek=2000 conv=notrunc 2>/dev/null
refuses "a damaged checkpoint" "state-5.safetensors.*--force" $train $long --resume -o hurt
cp hurt.before/checkpoint/* hurt/checkpoint/
printf X | dd of=hurt/metrics.jsonl bs=1 seek=20 conv=notrunc 2>/dev/null
refuses "damaged metrics" "metrics.jsonl.*--force" $train $long --resume -o hurt
printf '{}' >hurt/checkpoint/state.json
refuses "an empty state.json" "state.json" $train $long --resume -o hurt
ok "--force begins anew" $train $long --force -o hurt
ok "and gives the same run" same full hurt
ok "refusals left nothing behind" test ! -e x
done_testing
