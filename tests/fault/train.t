#!/bin/sh
# SPDX-License-Identifier: MIT
# ft-train when memory, writes, reads, syncs, renames or mappings fail: status 2 and one line, and --resume then ends
# in the bytes of the run that nothing happened to. FT_FAULT_MAX places are tried for each kind (default 12, spread over
# all that there are).
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/tap/tap.sh"
library=$build/tests/fault/fault.so
[ -e "$library" ] || skip_all "no library to preload in this build"
. "$root/tests/golden/tiny.sh"
cd "$tmp" || exit 2
train="$bin/ft-train -q --threads 1 -m llama --init random -t train.ftok -v valid.ftok -s steps=6 -s batch=9 -s save_every=3 -s eval_every=3"
$train -o want || exit 2

# fault KIND:N: the run with the N-th call of this kind failing; sets got and hit
fault() {
    rm -rf run mark
    FT_FAULT=$1 FT_FAULT_MARK=$tmp/mark LD_PRELOAD=$library $train -o run >out 2>err
    got=$?
    hit=0; [ ! -e mark ] || hit=1
}
# How many calls there are, by doubling and bisection.
count_calls() {
    low=0 high=1
    while fault "$1:$high"; [ $hit = 1 ]; do low=$high high=$((high * 2)); done
    while [ $((high - low)) -gt 1 ]; do
        middle=$(((low + high) / 2))
        fault "$1:$middle"
        if [ $hit = 1 ]; then low=$middle; else high=$middle; fi
    done
    calls=$low
}
check() {
    if [ $got = 2 ]; then [ "$(wc -l <err)" = 1 ] || { echo "$1: words: $(cat err)"; return; }
    elif [ $got != 0 ]; then echo "$1: status $got"; return
    fi
    $train --resume -o run 2>err || { echo "$1: no resume: $(cat err)"; return; }
    diff -r -x timing.json want run >differences || { echo "$1: other bytes"; cat differences; }
}

for kind in memory write read sync rename map; do
    count_calls $kind
    places=${FT_FAULT_MAX:-12}
    [ "$calls" -ge "$places" ] || places=$calls
    i=0
    while [ $i -lt "$places" ]; do
        at=$((1 + i * calls / places)) i=$((i + 1))
        fault $kind:$at
        check $kind:$at
    done >bad
    is "$kind fails at $places of $calls places" "$(cat bad)" ""
done
done_testing
