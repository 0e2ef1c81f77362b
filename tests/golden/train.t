#!/bin/sh
# SPDX-License-Identifier: MIT
# The hashes of small training runs. They are the same on every machine, with every instruction set, thread count,
# micro-batch, compiler and optimisation level; a change of one is a change of the arithmetic contract, made knowingly.
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/tap/tap.sh"
. "$root/tests/golden/tiny.sh"

golden_llama_full=e9f8d88c461f77b124c86180bee8c8ae374e4b0e4fd33430ef5e7436e721f40e
golden_llama_lora=f2508a56d00c991a4df8440e9ece88ede1ab32aae045153280d7fccb96583f5f
golden_gpt2_full=93f130223b1885ff348d835660cecbd7d517678ac19dfe567d1998b467f52e20
golden_gpt2_lora=38fcab00443aa451203192aa17a0b078d10c68733ece5d42e9d64bb609e3769e

# Every instruction set of this machine, or the one that FT_CPU names.
isas=${FT_CPU:-scalar}
[ -n "${FT_CPU:-}" ] || for isa in avx2 avx512 neon; do
    FT_CPU=$isa "$bin/ft-train" --version >/dev/null 2>&1 &&
        FT_CPU=$isa "$bin/ft-train" --version | grep -q "isa $isa" && isas="$isas $isa"
done
tiny_base

# train MODEL METHOD OPTION...: the digest of weights and metrics of 8 steps
train() {
    model=$1 method=$2; shift 2
    rm -rf "$tmp/run"
    case $method in
    full) set -- -m "$tmp/$model" --init random -s lr=5e-3 "$@" ;;
    lora) set -- -m "$tmp/$model-base" -s lora.rank=3 -s lr=1e-2 "$@" ;;
    esac
    "$bin/ft-train" -q -t "$tmp/train.ftok" -v "$tmp/valid.ftok" -s steps=8 -s batch=11 -s save_every=8 "$@" -o "$tmp/run" || return
    cat "$tmp"/run/*model.safetensors "$tmp/run/metrics.jsonl" | sha256sum | cut -d' ' -f1
}

for model in llama gpt2; do
    for method in full lora; do
        eval "golden=\$golden_${model}_$method"
        for isa in $isas; do
            export FT_CPU=$isa
            for threads in 1 2 3 8; do
                is "$model $method $isa, $threads threads" "$(train $model $method --threads $threads --micro-batch 4)" "$golden"
            done
            is "$model $method $isa, micro-batches of 1" "$(train $model $method --threads 2 --micro-batch 1)" "$golden"
            is "$model $method $isa, one micro-batch" "$(train $model $method --threads 2 --micro-batch 11)" "$golden"
        done
        unset FT_CPU
    done
done
done_testing
