#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# ft-split on the command line: files, pipes, reordering, appending, groups, strata, bad input.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/../tap";
use Programs;
use Test::More;

my $split = "$bin/ft-split";


# Which part each line went to.
sub parts {
    my ($from) = @_;
    my %part;
    for my $part (qw(train valid test)) { $part{$_} = $part for split /^/, slurp("$from/$part.jsonl") }
    return \%part;
}

srand 1;
my @words = map { join '', map { chr(97 + int rand 26) } 1 .. 6 } 1 .. 2000;
my @lines = map {
    my $text = join ' ', map { $words[rand @words] } 1 .. 15;
    sprintf qq({"prompt":"%s","completion":"c%d","label":"l%d","meta":{"user":%d}}\n), $text, $_ % 5, $_ % 5,
        $_ / 4;
} 0 .. 999;
spit('data.jsonl', @lines);

my ($rc, $out) = shell("$split -o one data.jsonl");
is($rc, 0, 'splits a file') or diag $out;
is(join(' ', sort map { s/^one.//r } glob 'one/*'),
    'SHA256SUMS provenance.json split.json test.jsonl train.jsonl valid.jsonl',
    'writes the parts, the report and the evidence');
($rc) = shell('cd one && sha256sum -c SHA256SUMS');
is($rc, 0, 'sha256sum -c passes');
my $one = parts('one');
is(scalar keys %$one, 1000, 'every record is in one part');
like(slurp('one/split.json'), qr/"near_duplicates_across_parts": 0/, 'no near-duplicate crosses parts');
unlike(slurp('one/provenance.json') . slurp('one/split.json'), qr/\Q$tmp\E/,
    'no path of the machine is recorded');

($rc) = shell("cat data.jsonl | $split -o piped");
ok($rc == 0 && slurp('piped/split.json') eq slurp('one/split.json')
    && slurp('piped/train.jsonl') eq slurp('one/train.jsonl'),
    'a pipe gives the same parts');
ok(!-e 'piped/input.spool', 'and leaves no copy of the input');
SKIP: {
    skip 'no zstd', 1 if system('zstd -q -f data.jsonl 2>/dev/null');
    ($rc) = shell("$split -o packed data.jsonl.zst");
    ok($rc == 0 && slurp('packed/test.jsonl') eq slurp('one/test.jsonl'), 'so do data packed with zstd');
}

spit('reverse.jsonl', reverse @lines);
shell("$split -o two reverse.jsonl");
is_deeply(parts('two'), $one, 'reordering moves nothing');
spit('half.jsonl', @lines[0 .. 499]);
shell("$split -o half half.jsonl");
my $half = parts('half');
is_deeply([grep { $half->{$_} ne $one->{$_} } keys %$half], [], 'appending moves nothing');
shell("$split --seed 1 -o seeded data.jsonl");
my $seeded = parts('seeded');
cmp_ok(scalar(grep { $seeded->{$_} ne $one->{$_} } @lines), '>', 200, 'another seed is another split');

# Exact duplicates with other labels and ids, and near-duplicates.
my @near = map { (my $l = $lines[$_]) =~ s/","completion/ indeed","completion/; $l } 0 .. 199;
my @exact = map { (my $l = $lines[$_]) =~ s/"label":"l\d"/"label":"x","id":$_/; $l } 0 .. 199;
spit('dups.jsonl', @lines, @near, @exact);
shell("$split -o dups dups.jsonl");
my $dups = parts('dups');
is(scalar(grep { $dups->{$near[$_]} ne $dups->{$lines[$_]} } 0 .. 199), 0, 'near-duplicates stay together');
is(scalar(grep { $dups->{$exact[$_]} ne $dups->{$lines[$_]} } 0 .. 199), 0, 'exact duplicates stay together');
like(slurp('dups/split.json'), qr/"exact_duplicates": 200,/, 'and are counted');

($rc, $out) = shell("$split -g meta.user -o grouped data.jsonl");
my $grouped = parts('grouped');
is(scalar(grep { $_ % 4 && $grouped->{$lines[$_]} ne $grouped->{$lines[$_ - 1]} } 0 .. 999), 0,
    'a group stays together');
($rc, $out) = shell("$split --stratify label -r 70/20/10 -o strata data.jsonl");
my (%count, $strata);
$strata = parts('strata');
$count{/"label":"(\w+)"/ && $1}{$strata->{$_}}++ for @lines;
is(join(' ', map { "@{$count{$_}}{qw(train valid test)}" } sort keys %count), join(' ', ('140 40 20') x 5),
    '--stratify balances every label exactly');

($rc, $out) = shell("$split -r 90/0/10 -o two-parts data.jsonl");
ok($rc == 0 && !-e 'two-parts/valid.jsonl', 'a part of ratio 0 is not written');
spit('single.jsonl', $lines[0]);
($rc, $out) = shell("$split -o single single.jsonl");
ok($rc == 0 && (grep { -e "single/$_.jsonl" } qw(train valid test)) == 3 && $out =~ /warning: \w+ is empty/,
    'an empty part is written, with a warning');
($rc, $out) = shell("$split -o one data.jsonl");
is($rc, 0, 'a directory of ours is replaced');

# The key of a record without duplicates, as ft-split(1) states it, decides alone: recomputed from scratch.
sub content { my $t = 'pair'; my $bytes = pack('Q<', 4) . $t; $bytes .= pack('Q<', length $_) . $_ for @_;
    return sha256_hex($bytes) }
my $wrong = 0;
for my $line (@lines) {
    my ($prompt, $completion) = $line =~ /"prompt":"([^"]*)","completion":"([^"]*)"/;
    my @digit = map { hex } split //, substr sha256_hex("ft-split-1 0 " . content($prompt, $completion)), 0,
        10;
    my $draw = 0;
    $draw = ($draw + $_) / 16 for reverse @digit;
    $wrong++ if $one->{$line} ne ($draw < .8 ? 'train' : $draw < .9 ? 'valid' : 'test');
}
is($wrong, 0, 'the manual is enough to recompute every part');

# --- what must be refused
# ---------------------------------------------------------------------------------------
mkdir 'other';
spit('other/thing', 'x');
spit('broken.jsonl', @lines[0 .. 4], qq({"prompt":"x"}\n), @lines[5 .. 9]);
spit('empty.jsonl');
spit('cut.jsonl', substr $lines[0], 0, 30);
for my $case (
    ['no output', "$split data.jsonl", qr/-o DIR/],
    ['a wrong sum', "$split -r 80/10/20 -o bad data.jsonl", qr/add up to 110/],
    ['no ratios', "$split -r x -o bad data.jsonl", qr/three percentages/],
    ['a wrong option', "$split --grup a -o bad data.jsonl", qr/--group/],
    ['two inputs', "$split -o bad data.jsonl half.jsonl", qr/more than one input/],
    ['similarity out of range', "$split --similarity 2 -o bad data.jsonl", qr/0.5 to 1/],
    ['a missing file', "$split -o bad nowhere.jsonl", qr/nowhere\.jsonl.*No such file/],
    ['a directory', "$split -o bad one", qr/one.*directory/i],
    ['a broken record', "$split -o bad broken.jsonl", qr/broken\.jsonl:6: missing_key/],
    ['a cut record', "$split -o bad cut.jsonl", qr/cut\.jsonl:1/],
    ['no records', "$split -o bad empty.jsonl", qr/no records/],
    ['an unknown group key', "$split -g user -o bad data.jsonl", qr/--group/],
    ['an unknown label key', "$split --stratify intent -o bad data.jsonl", qr/--stratify/],
    ['a foreign directory', "$split -o other data.jsonl", qr/other/],
    ['an unwritable place', "$split -o /proc/bad data.jsonl", qr{/proc}],
) {
    my ($what, $command, $message) = @$case;
    ($rc, $out) = shell($command);
    ok($rc == 2 && $out =~ $message && !-e 'bad', "refuses $what") or diag "status $rc: $out";
}
is(slurp('other/thing'), 'x', 'and touches nothing');
is(join(' ', grep { /^\.|tmp/ } glob '.* *'), '. ..', 'no temporary is left');
($rc, $out) = shell("$split --help");
ok($rc == 0 && $out =~ /usage: ft-split/, '--help');

done_testing();
