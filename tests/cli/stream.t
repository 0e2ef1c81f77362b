#!/bin/sh
# SPDX-License-Identifier: MIT
# Records stream through ft-tokenize | ft-split: memory does not grow with their bytes, in the tokenizer not at all, in the
# split by what it keeps of each record. FT_STREAM_BYTES: how many (make check-long: 10^9).
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/tap/tap.sh"
cd "$tmp" || exit 2
bytes=${FT_STREAM_BYTES:-24000000}
bounded=true
(ulimit -v 2000000 && "$bin/ft-tokenize" --version) >/dev/null 2>&1 || bounded=false # sanitizers need more
$bounded || bytes=2000000
helper=$build/tests/helper

# stream BYTES: peaks in KiB in tokenize.rss and split.rss
stream() {
    rm -rf parts split.rss
    "$helper/make-records" "$1" |
        "$helper/peak-rss" -o tokenize.rss "$bin/ft-tokenize" -m "$root/pipelines/base/model" --threads 2 2>tokenize.err |
        "$helper/peak-rss" -o split.rss "$bin/ft-split" --similarity 0.8 -o parts - 2>split.err
    [ -s split.rss ] || { cat tokenize.err split.err; return 1; }
}

ok "$bytes bytes go through both" stream "$bytes"
records=$(sed -n 's/^ft-tokenize: \([0-9]*\) records.*/\1/p' tokenize.err)
is 'no record is lost' "$(sed -n 's/^ft-split: \([0-9]*\) records.*/\1/p' split.err)" "$records"
if $bounded; then
    ok "ft-tokenize took $(cat tokenize.rss) KiB: less than 64 MiB, however much comes" [ "$(cat tokenize.rss)" -lt 65536 ]
    ok "ft-split took $(cat split.rss) KiB: less than 48 MiB and 256 bytes for each of $records records" \
        [ "$(cat split.rss)" -lt $((49152 + records / 4)) ]
fi
"$helper/make-records" 3000000 >few.jsonl
"$bin/ft-tokenize" -m "$root/pipelines/base/model" --threads 1 few.jsonl >one.ftok 2>/dev/null
cat few.jsonl | "$bin/ft-tokenize" -m "$root/pipelines/base/model" --threads 3 >three.ftok 2>/dev/null
ok 'one thread from a file and three from a pipe: the same bytes' cmp one.ftok three.ftok
{ sed 2500q few.jsonl; echo 'no json'; cat few.jsonl few.jsonl; echo 'nor this'; } >bad.jsonl
for threads in 1 3; do
    refuses "of several bad lines the first is named, $threads threads" 'bad.jsonl:2501:' \
        "$bin/ft-tokenize" -m "$root/pipelines/base/model" --threads $threads -o never bad.jsonl
done
done_testing
