#!/bin/sh
# SPDX-License-Identifier: MIT
# Memory, writes, reads, syncs and renames that fail: every program ends with status 2 and one line that says so, leaves
# what was there as it was, and nothing new. Or it can do without the call that failed, and its results are right.
# FT_FAULT_MAX is the number of places tried for each (default 30: the first ones, then further and further apart).
set -u
library=$FT_BUILD/tests/fault/fault.so
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
if [ ! -e "$library" ]; then echo '1..0 # SKIP no library to preload in this build'; exit 0; fi
cd "$work" || exit 1
max=${FT_FAULT_MAX:-30}
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
picture() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs -r sha256sum); }

# try NAME COMMAND...: COMMAND works on files of ./input and writes ./out or nothing
try() {
    name=$1; shift
    attempt none:0 "$@"
    good=$got
    picture run >want; cp stdout want.out; picture input >before
    for kind in memory write read sync rename map; do
        n=$((n + 1)); at=1; step=1; tried=0; bad=
        while [ "$tried" -lt "$max" ]; do
            attempt $kind:$at "$@"
            [ $hit = 0 ] && break
            tried=$((tried + 1))
            picture run >after
            if [ $got = 2 ]; then
                cmp -s after before || bad="$bad $at:left"
                [ "$(wc -l <stderr)" = 1 ] || bad="$bad $at:words"
            elif [ $got = $good ]; then
                { cmp -s after want && cmp -s stdout want.out; } || bad="$bad $at:wrong"
            else bad="$bad $at:status$got"; fi
            at=$((at + step))
            [ $((tried % 20)) = 0 ] && step=$((step * 3))
        done
        if [ -z "$bad" ]; then echo "ok $n - $name: $kind ($tried faults)"
        else echo "not ok $n - $name: $kind:$bad"; sed 's/^/# /' stderr; fi
    done
}

mkdir -p input/done
i=0
while [ $i -lt 40 ]; do
    echo "{\"prompt\":\"question number $i about thing $((i * 7919 % 1000)) and $((i * 104729 % 1000))\",\"completion\":\"answer $i\"}"
    i=$((i + 1))
done >input/data.jsonl
echo text >input/done/file
(cd input/done && sha256sum file >SHA256SUMS)

[ -x "$FT_BIN/ft-verify" ] && try ft-verify "$FT_BIN/ft-verify" done
[ -x "$FT_BIN/ft-split" ] && try ft-split "$FT_BIN/ft-split" -o out data.jsonl
[ -x "$FT_BIN/ft-lint" ] && try ft-lint "$FT_BIN/ft-lint" --json data.jsonl
echo "1..$n"
