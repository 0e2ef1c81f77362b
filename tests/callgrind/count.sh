#!/bin/sh
# SPDX-License-Identifier: MIT
# Instruction counts of small workloads, compared with those in counts.txt: a change of more than 2 % either way fails.
# What a clock cannot show on a shared machine, this does. Usage: count.sh [--record]
# One thread, AVX2, the Debian 12 compiler at -O2: anything else counts differently and is not compared.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
bin=${FT_BIN:-$root/build/bin}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
skip() { echo "instruction counts: skipped: $1"; exit 0; }

command -v valgrind >/dev/null || skip "valgrind is missing (apt-get install valgrind)"
export FT_CPU=avx2 LC_ALL=C
valgrind -q --tool=none "$bin/ft-train" --version >/dev/null 2>&1 || skip "valgrind does not run AVX2 here"
[ "${1:-}" = --record ] || [ -s "$here/counts.txt" ] || skip "nothing is recorded yet (make record-instructions)"
recorded_by=$(sed -n 's/^# compiler: //p' "$here/counts.txt" 2>/dev/null)
compiler=$(readelf -p .comment "$bin/ft-train" | sed -n 's/.*\(GCC: .*\)/\1/p' | tail -n 1)
[ "${1:-}" = --record ] || [ "$compiler" = "$recorded_by" ] || skip "recorded with $recorded_by, built with $compiler"

cd "$work" || exit 2
base=$root/pipelines/base/model
head -n 400 "$root/pipelines/support/data.jsonl" >text.jsonl
head -n 6 text.jsonl >few.jsonl
head -n 1 text.jsonl >one.jsonl
echo 'hello, where is my order?' >prompt
{
    "$bin/ft-tokenize" -m "$base" -o few.ftok few.jsonl
    "$bin/ft-train" -q --threads 1 -m "$base" -t few.ftok -s steps=1 -s batch=2 -o adapter
} 2>log || { cat log >&2; exit 2; }

# count NAME PROGRAM ARGUMENT...
count() {
    name=$1 program=$2; shift 2
    if ! valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bin/$program" "$@" >out 2>err; then
        cat err >&2
        exit 2
    fi
    printf '%-12s %s\n' "$name" "$(sed -n 's/.*Collected : //p' err | tr -d ' ')"
}
{
    count start ft-train --help
    count load ft-tokenize -m "$base" -o one.ftok one.jsonl
    count tokenize ft-tokenize -m "$base" -o text.ftok text.jsonl
    count split ft-split -o split text.jsonl
    count train-lora ft-train -q --threads 1 -m "$base" -t few.ftok -s steps=1 -s batch=2 -o lora
    count train-full ft-train -q --threads 1 -m "$base" -t few.ftok -s method=full -s steps=1 -s batch=2 -o full
    count evaluate ft-eval --threads 1 -m "$base" -a adapter --resamples 100 --max-tokens 8 few.ftok
    count decode ft-generate --threads 1 -m "$base" --plain -n 12 prompt
    count sample ft-generate --threads 1 -m "$base" --plain -n 12 --temperature 1 --top-p 0.9 prompt
    count merge ft-merge --threads 1 -m "$base" -a adapter -o merged
} >counts || exit 2
[ "$(wc -l <counts)" = 10 ] || exit 2

if [ "${1:-}" = --record ]; then
    { echo "# Instructions, by make record-instructions."; echo "# compiler: $compiler"; cat counts; } >"$here/counts.txt"
    cat "$here/counts.txt"
    exit 0
fi
awk 'NR == FNR { if (!/^#/) was[$1] = $2; next }
     { change = was[$1] ? 100 * ($2 / was[$1] - 1) : 100
       bad = change > 2 || change < -2
       printf "%-12s %14.0f  recorded %14.0f  %+6.2f %%%s\n", $1, $2, was[$1], change, bad ? "  <--" : ""
       failed += bad }
     END { if (failed) print failed " beyond 2 %: find out why, or make record-instructions and say why in the commit"
           exit failed > 0 }' "$here/counts.txt" counts
