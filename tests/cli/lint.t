#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# ft-lint on the command line: what it finds, --fix, --json, exit status.
use strict;
use warnings;
use JSON::PP;
use FindBin;
use lib "$FindBin::Bin/../tap";
use Programs;
use Test::More;

my $lint = "$bin/ft-lint";


# The report of a run with --json, and a hash of code to finding.
sub findings {
    my ($arguments) = @_;
    my ($rc, $out) = shell("$lint --json $arguments");
    my $json = eval { decode_json($out) } or die "no JSON: $out";
    return ($rc, $json, {map { $_->{code} => $_ } @{$json->{findings}}});
}

srand 2;
my @words = map { join '', map { chr(97 + int rand 26) } 1 .. 6 } 1 .. 2000;
sub text { return join ' ', map { $words[rand @words] } 1 .. 15 }
my @lines = map { sprintf qq({"prompt":"%s","completion":"c%d","label":"l%d"}\n), text(), $_ % 5, $_ % 5
    } 0 .. 599;
spit('good.jsonl', @lines);

my ($rc, $out) = shell("$lint good.jsonl");
ok($rc == 0 && $out =~ /600 records/ && $out =~ /Nothing to complain about/, 'good data pass') or diag $out;
my ($status, $json, $found) = findings('good.jsonl');
ok($status == 0 && !$json->{failed} && $json->{files}[0]{records} == 600, 'also as JSON');
spit('escape.jsonl', map { my $line = $_; $line =~ s/"label":"l1"/"label":"\\u001b]0;l1\\u0007"/; $line
    } @lines);
($status, $out) = shell("$lint escape.jsonl");
ok($out =~ /\?\]0;l1\? 120/ && $out !~ /[\x00-\x09\x0b-\x1f]/, 'a label cannot command the terminal')
    or diag $out;
is($json->{files}[0]{labels}{l0}, 120, 'labels are counted');
is(eval { my $n = 0; $n += $_->[1] for @{$json->{files}[0]{characters}{histogram}}; $n }, 600,
    'the histogram is whole');
cmp_ok(abs($json->{files}[0]{diversity}{given}{distinct} / (2000 + 600 * 16) - 1), '<', 0.05,
    'distinct n-grams are estimated well');
($rc, $out) = shell("cat good.jsonl | $lint");
ok($rc == 0 && $out =~ /standard input: 600 records/, 'from a pipe');

# One line for each of OpenAI's codes, and ours.
my %bad = (
    data_type => '[1,2]',
    missing_messages_list => '{"messages":[]}',
    message_missing_key => '{"messages":[{"role":"user"}]}',
    message_unrecognized_key => '{"messages":[{"role":"user","content":"x","colour":"red"}]}',
    unrecognized_role => '{"messages":[{"role":"robot","content":"x"}]}',
    missing_content => '{"messages":[{"role":"user","content":""}]}',
    example_missing_assistant_message => '{"messages":[{"role":"user","content":"x"}]}',
    invalid_json => '{"prompt":',
    empty_line => '',
    unknown_format => '{"a":1}',
    missing_key => '{"prompt":"x"}',
    wrong_type => '{"prompt":"x","completion":1}',
    no_target => '{"prompt":"x","completion":""}',
);
my @codes = sort keys %bad;
spit('bad.jsonl', @lines, map { "$bad{$_}\n" } @codes);
($status, $json, $found) = findings('bad.jsonl');
is($status, 1, 'findings are exit status 1');
for my $i (0 .. $#codes) {
    my $finding = $found->{$codes[$i]};
    ok($finding && $finding->{count} == 1 && $finding->{severity} eq 'error'
        && $finding->{findings}[0]{line} == 601 + $i,
        "$codes[$i], with its line");
}
is($json->{files}[0]{broken}, scalar @codes, 'broken lines are counted');

# Duplicates, leakage, contradictions.
my @near = map { (my $l = $lines[$_]) =~ s/","completion/ indeed","completion/; $l } 0 .. 49;
my @new = map { sprintf qq({"prompt":"%s","completion":"c%d","label":"l%d"}\n), text(), $_ % 5, $_ % 5
    } 0 .. 99;
spit('test.jsonl', @lines[100 .. 119], @near, @new);
($status, $json, $found) = findings('good.jsonl test.jsonl');
is_deeply($json->{files}[1]{leakage}, [{from => 'good.jsonl', exact => 20, near => 50}],
    'leakage between files, exact and near');
is("$status $found->{leakage}{count} $found->{near_leakage}{count}", '1 20 50',
    'with a finding for each record');
spit('twice.jsonl', @lines, @lines[0 .. 9], @near);
($status, $json, $found) = findings('twice.jsonl');
is($found->{exact_duplicate}{count}, 10, 'exact duplicates');
is($json->{files}[0]{near_duplicates}, 100, 'near-duplicates, both sides');
(my $other = $lines[0]) =~ s/c0","label":"l0/c1","label":"l1/;
(my $answer = $lines[1]) =~ s/"c1"/"another"/;
spit('contra.jsonl', @lines, $other, $answer);
(undef, undef, $found) = findings('contra.jsonl');
is($found->{contradicting_label}{findings}[0]{line}, 601, 'the same input with another label');
is($found->{several_answers}{count}, 1, 'the same input with another answer');

# Sizes and labels.
spit('small.jsonl', @lines[0 .. 49]);
(undef, undef, $found) = findings('small.jsonl');
ok($found->{too_few_records}, 'fewer than 100 records warn');
spit('some.jsonl', @lines[0 .. 199]);
($status, undef, $found) = findings('some.jsonl');
ok($status == 0 && $found->{few_records}, 'fewer than 500 are noted only');
(my $rare = $new[0]) =~ s/"label":"l0"/"label":"rare"/;
(my $none = $new[1]) =~ s/,"label":"l1"//;
spit('skew.jsonl', @lines, $rare, $none);
(undef, undef, $found) = findings('skew.jsonl');
ok($found->{rare_label} && $found->{label_imbalance} && $found->{missing_label},
    'rare, imbalanced and missing labels');

# --fix
spit('dirty.jsonl', "\xef\xbb\xbf$lines[0]", (map { s/\n/\r\n/r } @lines[1 .. 99]), "\n", "{\n",
    @lines[0 .. 9], @lines[100 .. 199]);
($rc, $out) = shell("$lint --fix clean.jsonl dirty.jsonl");
ok($rc == 1 && $out =~ /byte_order_mark/ && $out =~ /carriage_returns/,
    'a byte order mark and carriage returns are found');
is(slurp('clean.jsonl'), join('', @lines[0 .. 199]),
    '--fix takes out what is broken or double, and nothing else');
($rc) = shell("$lint clean.jsonl");
is($rc, 0, 'and what it writes passes');
($rc) = shell("cat dirty.jsonl | $lint --fix piped.jsonl");
is(slurp('piped.jsonl'), slurp('clean.jsonl'), '--fix of a pipe');

# What most records share does not make them similar.
my $preamble = join ' ', map { text() } 1 .. 4;
spit('system.jsonl', map { sprintf qq({"prompt":"%s %s","completion":"c"}\n), $preamble, text() } 1 .. 300);
($status, $json) = findings('system.jsonl');
is($json->{files}[0]{near_duplicates}, 0, 'a common preamble is left out');
cmp_ok($json->{boilerplate_shingles}, '>', 50, 'and told');

# Tokens.
SKIP: {
    my $model = ($ENV{FT_SHARED} // "$root/../shared") . '/models/stories260K';
    skip 'no shared model', 4 unless -e "$model/tokenizer.json";
    spit('long.jsonl', @lines, sprintf qq({"prompt":"%s","completion":"x"}\n), join ' ',
        map { text() } 1 .. 20);
    ($status, $json, $found) = findings("-m $model long.jsonl");
    is($json->{files}[0]{tokens}{max} > 512, 1, 'tokens are counted');
    is($found->{overlong}{findings}[0]{line}, 601, 'a record longer than the model can take is found');
    is($json->{files}[0]{supervised_tokens}, 600 * 3 + 2, 'what is learnt is counted, stop tokens too');

    (undef, $out) = shell("$lint -m $model good.jsonl");
    like($out, qr/an epoch .*GFLOP full/, 'and the work of an epoch estimated');
}

for my $case (
    ['--max-tokens without a model', "$lint --max-tokens 5 good.jsonl", qr/-m DIR/],
    ['a model that is not there', "$lint -m nowhere good.jsonl", qr/nowhere/],
    ['a missing file', "$lint nowhere.jsonl", qr/nowhere\.jsonl/],
    ['--fix of two files', "$lint --fix x good.jsonl test.jsonl", qr/one file/],
    ['standard input twice', "$lint - - < good.jsonl", qr/once/],
    ['an unknown format', "$lint --format csv good.jsonl", qr/csv/],
    ['a wrong option', "$lint --jsn good.jsonl", qr/--json/],
    ['a full disk', "$lint --fix /dev/full good.jsonl", qr{/dev/full}],
    ['a full standard output', "$lint good.jsonl > /dev/full", qr/standard output/],
) {
    my ($what, $command, $message) = @$case;
    ($rc, $out) = shell("( $command )");
    ok($rc == 2 && $out =~ $message, "$what: status 2") or diag "status $rc: $out";
}
spit('nothing.jsonl');
($rc, $out) = shell("$lint nothing.jsonl");
ok($rc == 1 && $out =~ /no_records/, 'an empty file is a finding');

done_testing();
