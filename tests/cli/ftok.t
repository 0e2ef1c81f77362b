#!/bin/sh
# SPDX-License-Identifier: MIT
# Token streams read by somebody else: tests/ftok/ftok.pl, and the sample that tests/unit/ftok.c writes, too.
here=$(cd "$(dirname "$0")/../ftok" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0
ok() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi; }

sum=$(sha256sum <"$here/sample.ftok" | cut -c1-64)
[ "$sum" = 161a32e081dba2eb917e835c7f5a8a901f6094bd9d2f6256875e747be72d204a ]
ok $? "the sample is the one that the unit test writes"
perl "$here/ftok.pl" "$here/sample.ftok" >"$work/out" && cmp "$work/out" "$here/sample.txt"
ok $? "the independent reader reads it"
size=$(wc -c <"$here/sample.ftok")
missed=0
for cut in 0 7 12 16 100 $((size - 100)) $((size - 33)) $((size - 1)); do
    head -c "$cut" "$here/sample.ftok" >"$work/cut"
    perl "$here/ftok.pl" "$work/cut" >/dev/null 2>&1 && missed=$((missed + 1))
done
ok $missed "and notices cuts"
echo "1..$n"
