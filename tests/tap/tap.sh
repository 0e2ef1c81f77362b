# SPDX-License-Identifier: MIT
# TAP for tests in sh: `. tests/tap/tap.sh`, then ok/is/refuses..., then `done_testing` last.
# $tmp is a directory of the test's own, removed at the end.
set -u
export LC_ALL=C
tests=0 failed=0
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ft-test-XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
bin=${FT_BIN:?FT_BIN is the directory of the programs} build=${FT_BUILD:?FT_BUILD is the build directory}
# Tests look at bytes, not at power cuts: nothing is synced where the library for failing calls is there to see to it.
[ ! -e "$build/tests/fault/fault.so" ] || export LD_PRELOAD="$build/tests/fault/fault.so"

# ok NAME COMMAND...: the command succeeds
ok() {
    name=$1; shift
    tests=$((tests + 1))
    if "$@" >"$tmp/ok.out" 2>&1; then echo "ok $tests - $name"
    else
        failed=$((failed + 1))
        echo "not ok $tests - $name"
        sed 's/^/# /' "$tmp/ok.out"
    fi
}

# is NAME FOUND EXPECTED: two strings are the same
is() {
    tests=$((tests + 1))
    if [ "$2" = "$3" ]; then echo "ok $tests - $1"
    else
        failed=$((failed + 1))
        printf 'not ok %d - %s\n#    found %s\n# expected %s\n' "$tests" "$1" "$2" "$3"
    fi
}

# refuses NAME PATTERN COMMAND...: exit status 2, nothing on stdout, and a message that the pattern (grep -E) fits
refuses() {
    name=$1 pattern=$2; shift 2
    "$@" >"$tmp/out" 2>"$tmp/err" && status=0 || status=$?
    tests=$((tests + 1))
    if [ "$status" = 2 ] && [ ! -s "$tmp/out" ] && grep -Eq -- "$pattern" "$tmp/err"; then echo "ok $tests - $name"
    else
        failed=$((failed + 1))
        echo "not ok $tests - $name"
        echo "# status $status, wanted 2 and /$pattern/"
        sed 's/^/# /' "$tmp/err"
    fi
}

skip_all() { echo "1..0 # SKIP $1"; exit 0; }
done_testing() { echo "1..$tests"; [ "$failed" = 0 ]; exit; }
