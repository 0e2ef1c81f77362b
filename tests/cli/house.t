#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# The house rules that a machine can check: top level, layer edges, licence lines, lengths, headers that
# compile alone.
use strict;
use warnings;
use FindBin;
use Test::More;

chdir "$FindBin::Bin/../.." or die;

my %allowed_top = map { $_ => 1 } qw(Makefile cmd lib include pipelines tests man README.md LICENSE .ci
    .gitignore .gitattributes .clang-format .git);
my @stray = grep { !$allowed_top{$_} && !/^build/ } map { s{^\./}{}r } glob('./* ./.[!.]*');
is("@stray", '', 'nothing stray at the top level');

# What each layer may see, itself and base included.
my %sees = (
    base   => [qw(base)],
    io     => [qw(base io)],
    kernel => [qw(base kernel)],
    map({ $_ => [ qw(base io), $_ ] } qw(format text data)),
    model  => [qw(base io kernel format text data model)],
    map({ $_ => [ qw(base io kernel format text data model), $_ ] } qw(train eval audit)),
    cmd    => [qw(base io kernel format text data model train eval audit cmd)],
);

my %layer_of; # module name -> layer
for my $file (glob 'lib/*/*.c lib/*/*.h') {
    my ($layer, $module) = $file =~ m{^lib/(\w+)/(\w+)\.[ch]$} or next;
    ok(exists $sees{$layer}, "lib/$layer is a layer") unless exists $sees{$layer};
    $layer_of{$module} //= $layer;
}
# Header-only contracts.
@layer_of{qw(rows utf8)} = qw(kernel io);

my @bad;
for my $file (glob 'lib/*/*.[ch] include/ft/*.h cmd/*.[ch]') {
    my ($layer) = $file =~ m{^lib/(\w+)/} ? $1
        : $file =~ m{^cmd/} ? 'cmd' : $layer_of{ $file =~ s{.*/(\w+)\.h$}{$1}r };
    if (!defined $layer) {
        push @bad, "$file belongs to no layer: lib/*/ has no module of its name";
        next;
    }
    my %may = map { $_ => 1 } @{ $sees{$layer} };
    open my $in, '<', $file or die "$file: $!";
    my $first = <$in> // '';
    $first .= <$in> // '';
    push @bad, "$file has no SPDX line" unless $first =~ /SPDX-License-Identifier: MIT/;
    while (<$in>) {
        my ($module) = m{^\s*#\s*include\s+"(?:ft/|\.\./\w+/)?(\w+)\.h"} or next;
        my $target = $layer_of{$module} // next;
        push @bad, "$file ($layer) includes $module.h ($target)" unless $may{$target};
    }
}
is(join("\n", @bad), '', 'layers point downward only, every file has its licence line');

# A file that grows beyond this has two things to say. Tables of Unicode data may.
my %table = map { $_ => 1 } qw(lib/text/unicode_table.c lib/text/unicode_traits.c);
my @long;
for my $file (glob '{lib,cmd,include,tests}/*.[ch] {lib,include,tests}/*/*.[ch]') {
    next if $table{$file};
    open my $in, '<', $file or die "$file: $!";
    my $lines = () = <$in>;
    push @long, "$file: $lines lines" if $lines > 700;
}
is(join("\n", @long), '', 'no source is longer than 700 lines');

my $cc = $ENV{CC} // 'cc';
my $check = "$cc -Iinclude -std=c17 -D_POSIX_C_SOURCE=200809L -fsyntax-only -x c - 2>/dev/null";
my @alone = grep { system(qq(echo '#include "$_"' | $check)) } glob 'include/ft/*.h';
is("@alone", '', 'each public header compiles alone');

SKIP: {
    skip 'mandoc is not installed', 1 if system('command -v mandoc >/dev/null 2>&1');
    is(join('', `mandoc -Tlint -W warning man/* 2>&1`), '', 'man pages are clean under mandoc -Tlint');
}
my @unwritten = grep { !-e "man/$_.1" } map { m{cmd/(ft-\w+)\.c$} } glob 'cmd/ft-*.c';
is("@unwritten", '', 'each program has a man page');

my @foreign = grep { !/^tests.cli.house\.t/ } `git grep -lE '(^|[^a-z.])/(work|farm)/' -- . 2>/dev/null`;
is("@foreign", '', 'no path of a particular machine is in the tree');
done_testing;
