#!/bin/sh
# SPDX-License-Identifier: MIT
# ft-verify on evidence that was written by hand, with stock tools.
set -u
verify=$FT_BIN/ft-verify
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0
ok() { # ok NAME COMMAND...
    n=$((n + 1)); name=$1; shift
    if "$@"; then echo "ok $n - $name"; else echo "not ok $n - $name"; sed 's/^/# /' out err; fi
}
# status WANT ARG...: the exit status is WANT, and standard error has one line or none
status() { want=$1; shift; "$verify" "$@" >out 2>err; got=$?; [ "$got" = "$want" ] && [ "$(wc -l <err)" = $((want > 0)) ]; }
says() { grep -qF -- "$1" err; }
sum() { sha256sum "$1" | cut -c1-64; }
# seal DIR KIND DEPENDENCIES: evidence for what is in DIR
seal() {
    subjects=$(cd "$1" && find . -type f ! -name SHA256SUMS ! -name provenance.json ! -name '*.log' | sed 's,^./,,' |
        LC_ALL=C sort | while read -r f; do printf '%s{"digest":{"sha256":"%s"},"name":"%s"}' "$comma" "$(sum "$f")" "$f"; comma=,; done)
    printf '{"_type":"https://in-toto.io/Statement/v1","predicate":{"buildDefinition":{"buildType":"urn:ft:%s:1","externalParameters":{},"internalParameters":{},"resolvedDependencies":[%s]},"runDetails":{"builder":{"id":"x"}}},"predicateType":"https://slsa.dev/provenance/v1","subject":[%s]}\n' \
        "$2" "$3" "$subjects" >"$1/provenance.json"
    list "$1"
}
list() { (cd "$1" && find . -type f ! -name SHA256SUMS ! -name '*.log' | sed 's,^./,,' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS); }
comma=
file() { printf '{"annotations":{"role":"%s"},"digest":{"sha256":"%s"},"name":"%s"}' "$1" "$(sum "$2")" "$(basename "$2")"; }
model() { printf '{"annotations":{"role":"%s"},"digest":{"dirHash":"%s"},"name":"%s"}' "$1" "$2" "$1"; }

chain() { # data.jsonl -> split -> run <- base; run -> tuned
    rm -rf base split run tuned data.jsonl
    mkdir -p base split run/checkpoints tuned
    echo '{"text":"a"}' >data.jsonl
    echo '{}' >base/config.json; echo weights >base/model.safetensors; echo notes >base/README.md
    echo train >split/train.ftok; echo test >split/test.ftok
    seal split split "$(file data data.jsonl)"
    echo adapter >run/adapter_model.safetensors; echo '{}' >run/adapter_config.json; echo c >run/checkpoints/last; date >run/run.log
    base=$(cd base && sha256sum config.json model.safetensors | sha256sum | cut -c1-64)
    seal run train "$(model model "$base"),$(file train split/train.ftok)"
    adapter=$(cd run && sha256sum adapter_config.json adapter_model.safetensors | sha256sum | cut -c1-64)
    echo '{}' >tuned/config.json; echo merged >tuned/model.safetensors
    seal tuned merge "$(model model "$base"),$(model adapter "$adapter")"
}

chain
ok 'a directory' status 0 split
ok 'it says what is not given' grep -q 'data data.jsonl: not given (SHA-256 [0-9a-f]\{64\})' out
ok 'the whole chain' status 0 -a tuned base run split data.jsonl
ok 'in any order' status 0 --all-inputs data.jsonl split run base tuned
ok 'links are shown' grep -q 'train train.ftok: split/train.ftok' out
ok 'quietly' sh -c '[ -z "$("$1" -q split)" ]' - "$verify"
ok 'an incomplete chain is told' status 1 -a tuned run split data.jsonl
ok 'with the input that lacks' says 'its input model model'

echo changed >split/test.ftok
ok 'an altered file' status 1 split
ok 'is named' says 'split/test.ftok: altered'
rm split/test.ftok
ok 'a missing file' status 1 split
ok 'is named' says 'split/test.ftok: is listed but missing'
chain; echo >split/extra
ok 'an extra file' status 1 split
ok 'is named' says 'split/extra: is there but not listed'
chain; rm split/SHA256SUMS
ok 'provenance without a list' status 1 split
chain; echo changed >split/test.ftok; list split
ok 'a file altered with its list, but not its provenance' status 1 split
ok 'is named' says 'subject: split/test.ftok: altered'
chain; sed -i 's/}$/} /' split/provenance.json; list split
ok 'provenance that is not canonical' status 1 split
chain; echo changed >split/train.ftok; seal split split ''
ok 'an input made anew' status 1 run split
ok 'is named' says 'run: was made from a train.ftok with SHA-256'
chain; echo >>data.jsonl
ok 'an altered leaf' status 1 split data.jsonl
chain; echo more >>base/model.safetensors
ok 'an altered base model' status 1 run base
ok 'is named' says 'base: has no evidence of its own, and nothing given was made from it'
chain; echo more >>base/README.md
ok 'files that do not define a model do not matter' status 0 run base
chain; echo later >>run/run.log
ok 'logs do not matter' status 0 run

# a token stream is evidence of its own
chain; sample=$here/../ftok/sample.ftok; printf abc >base/tokenizer.json; : >empty
ok 'a token stream' status 0 "$sample"
ok 'with its inputs' status 0 -a "$sample" base/tokenizer.json empty
head -c 500 "$sample" >cut.ftok
ok 'one that is cut' status 2 cut.ftok
ok 'is named' says 'cut.ftok: cut off after'
mkdir -p words copy; cp base/tokenizer.json words; cp base/tokenizer.json copy; seal copy merge ''
ok 'an input that lies in two places' status 0 copy words "$sample"
ok 'is shown at the leaf' grep -q 'tokenizer tokenizer.json: words/tokenizer.json' out
echo x >base/tokenizer.json
ok 'another tokenizer' status 1 "$sample" base

chain
ok 'nothing given' status 2
ok 'only leaves' status 2 base
ok 'a missing directory' status 2 absent
for bad in '' '{' '[]' '{}' '{"_type":1}'; do
    chain; printf '%s' "$bad" >split/provenance.json; list split
    ok "provenance that is '$bad'" status 2 split
done
chain; sed -i 's/"dirHash":"./"dirHash":"x/' run/provenance.json; list run
ok 'a digest that is none' status 2 run
chain; sed -i 's/"resolvedDependencies":\[/&7,/' run/provenance.json; list run
ok 'an input that is none' status 2 run
chain; echo nonsense >split/SHA256SUMS
ok 'a list that is none' status 2 split
ok 'an unknown option' status 2 --all-inpust split
ok 'with the nearest one' says all-inputs
ok 'help' sh -c '"$1" --help | grep -q usage' - "$verify"
ok 'a full disk' sh -c '"$1" split >/dev/full 2>err; [ $? = 2 ]' - "$verify"
echo "1..$n"
