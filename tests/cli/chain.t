#!/bin/sh
# SPDX-License-Identifier: MIT
# The chain that the programs themselves leave: stream, split, run, merged model, and what breaks it.
set -u
fixtures=$(cd "$(dirname "$0")/../oracle/fixtures" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0
ok() { n=$((n + 1)); name=$1; shift; if "$@" >out 2>err; then echo "ok $n - $name"; else echo "not ok $n - $name"; sed 's/^/# /' out err; fi; }
fails() { want=$1; shift; "$@"; [ $? = "$want" ]; }

cp -r "$fixtures/llama-lora" base
rm -r base/adapter base/expected.safetensors
echo '{}' >base/tokenizer.json
vocabulary=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' base/config.json)
"$FT_BUILD/tests/helper/make-ftok" all.ftok base/tokenizer.json "$vocabulary" 40 3 20 1 || exit 1
verify=$FT_BIN/ft-verify

ok 'split' "$FT_BIN/ft-split" -o split all.ftok
ok 'train' "$FT_BIN/ft-train" -q -m base -t split -s steps=2 -s lora.rank=2 --threads 1 -o run
ok 'merge' "$FT_BIN/ft-merge" -m base -a run --threads 1 -o tuned
ok 'every link holds, back to the leaves' "$verify" -a tuned run split all.ftok base
ok 'sha256sum agrees' sh -c 'for d in split run tuned; do (cd $d && sha256sum --quiet --strict -c SHA256SUMS) || exit 1; done'
ok 'again: the same bytes' sh -c '"$1/ft-train" -q -m base -t split -s steps=2 -s lora.rank=2 --threads 2 -o twin && cmp run/SHA256SUMS twin/SHA256SUMS' - "$FT_BIN"
ok 'nothing of this machine is in the evidence' sh -c "! grep -l -e '$work' -e \"\$(hostname)\" */provenance.json */SHA256SUMS"

cp -r run other
printf x | dd of=other/adapter_model.safetensors bs=1 seek=300 conv=notrunc 2>/dev/null
ok 'one byte of the adapter' fails 1 "$verify" tuned other
(cd other && find . -type f ! -name SHA256SUMS ! -name '*.log' ! -name 'timing.json*' | sed 's,^./,,' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
ok 'with its list made anew' fails 1 "$verify" other
cp -r base wrong
printf x | dd of=wrong/model.safetensors bs=1 seek=2000 conv=notrunc 2>/dev/null
ok 'one byte of the base model' fails 1 "$verify" tuned run wrong
ok 'an adapter on another base' fails 2 "$FT_BIN/ft-merge" -m wrong -a run --threads 1 -o never
ok 'which leaves nothing' test ! -e never
echo "1..$n"
