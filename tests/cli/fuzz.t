#!/bin/sh
# SPDX-License-Identifier: MIT
# The fuzzers' corpus, replayed.
corpus=$(cd "$(dirname "$0")/../fuzz/corpus" && pwd) || exit 1
n=0
for seeds in "$corpus"/*/; do
    name=$(basename "$seeds")
    n=$((n + 1))
    if said=$("$FT_BUILD/tests/fuzz/$name" "$seeds"* 2>&1); then echo "ok $n - $name: $said"
    else echo "not ok $n - $name"; printf '%s\n' "$said" | sed 's/^/# /'; fi
done
echo "1..$n"
