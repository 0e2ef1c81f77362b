#!/bin/sh
# SPDX-License-Identifier: MIT
# ft-generate and ft-eval: how many sequences run beside each other, on how many threads, changes nothing that they print.
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/tap/tap.sh"
base=$root/pipelines/base/model
cd "$tmp" || exit 2
head -n 70 "$root/pipelines/support/data.jsonl" >prompts.jsonl # more than are read ahead at first
head -n 16 prompts.jsonl >few.jsonl
"$bin/ft-tokenize" -m "$base" -o few.ftok few.jsonl 2>/dev/null || exit 2

# prints OUT PROGRAM ARGUMENT...: the how often each output came, of four
prints() {
    program=$1; shift
    for how in '--batch 1 --threads 1' '--batch 3 --threads 2' '--batch 16 --threads 1' '--threads 2'; do
        "$bin/$program" -m "$base" "$@" $how >printed || echo "status $?"
        sha256sum <printed
    done | sort | uniq -c | sed 's/^ *\([0-9]*\) .*/\1/'
}

is 'greedy: whatever the batch and the threads' "$(prints ft-generate -n 4 prompts.jsonl)" 4
is 'every prompt is answered, in its order' \
   "$(sed 's/.*"content": *"\([^"]*\)".*/\1/' printed | cksum)" "$(sed 's/.*"content": *"\([^"]*\)".*/\1/' prompts.jsonl | cksum)"
is 'sampled with a seed: the same' "$(prints ft-generate -n 4 --temperature 1.2 --top-p 0.9 --seed 7 prompts.jsonl)" 4
is 'scores and answers: the same' "$(prints ft-eval --resamples 100 --max-tokens 8 --json few.ftok)" 4

# A line is answered before the next is there.
mkfifo to from
"$bin/ft-generate" -m "$base" --plain --text -n 3 --batch 1 --threads 1 <to >from 2>/dev/null &
exec 3>to 4<from
echo hello >&3
ok 'with --batch 1 a program can wait for each answer' sh -c 'read -r answer <&4'
exec 3>&- 4<&-
wait
done_testing
