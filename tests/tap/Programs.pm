# SPDX-License-Identifier: MIT
# Programs under test, for tests in Perl (tap.sh is for those in sh):
#
#     use FindBin;
#     use lib "$FindBin::Bin/../tap";
#     use Programs;
#     use Test::More;
#
# Using it makes a directory of the test's own, $tmp, which is removed at the end, and goes to an empty one in
# it. FT_SHOW=1
# prints every message, for reading them as a user would.
package Programs;
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use POSIX ();
use Test::More ();

our @EXPORT = qw($bin $root $tmp slurp spit listing run shell report complaints refuse);
our $bin = $ENV{FT_BIN} or die "FT_BIN is the directory of the programs\n";
our $root = abs_path(dirname(__FILE__) . '/../..'); # of the repository
our $tmp = tempdir('ft-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);

$ENV{ASAN_OPTIONS} = 'exitcode=99:detect_leaks=1:allocator_may_return_null=1';
$ENV{UBSAN_OPTIONS} = 'exitcode=99';
$ENV{LC_ALL} = 'C';
mkdir "$tmp/w" and chdir "$tmp/w" or die "$tmp/w: $!\n";
END { chdir '/' }

# --- files --------------------------------------------------------------------------------------------------

sub slurp {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$file> // '';
}

sub spit {
    my ($path, @bytes) = @_;
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file @bytes;
    close $file or die "$path: $!\n";
}

# Every name below the working directory with its kind, mode, size, time and digest.
sub listing {
    my @lines;
    find({no_chdir => 1, wanted => sub {
        my @stat = lstat;
        my $line = sprintf '%s %o', $_, $stat[2];
        $line .= " $stat[7] $stat[9] " . sha256_hex(slurp($_)) if -f _ && -r _;
        push @lines, $line;
    }}, '.');
    return join "\n", sort @lines;
}

# --- runs ---------------------------------------------------------------------------------------------------

# Runs a program (words, or a reference to them) with `stdin` (bytes, default none), `stdout` and `stderr` (a
# path, or
# 'closed'), `limit` (arguments of the shell's ulimit). Returns the exit status (a signal is 1000 and more)
# and what it
# wrote to each.
sub run {
    my ($command, %with) = @_;
    my @words = ref $command ? @$command : split ' ', $command;
    $words[0] = "$bin/$words[0]";
    @words = ('sh', '-c', "ulimit $with{limit}; exec \"\$@\"", 'sh', @words) if $with{limit};
    my ($out, $err) = map { $with{$_} // '' } 'stdout', 'stderr';
    spit("$tmp/stdin", $with{stdin} // '');
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', "$tmp/stdin" or POSIX::_exit(97);
        open STDOUT, '>', $out && $out ne 'closed' ? $out : "$tmp/stdout" or POSIX::_exit(97);
        open STDERR, '>', $err && $err ne 'closed' ? $err : "$tmp/stderr" or POSIX::_exit(97);
        POSIX::close(1) if $out eq 'closed';
        POSIX::close(2) if $err eq 'closed';
        alarm 60;
        exec @words or POSIX::_exit(98);
    }
    waitpid $pid, 0;
    return ($? & 127 ? 1000 + ($? & 127) : $? >> 8, slurp("$tmp/stdout"), slurp("$tmp/stderr"));
}

# Runs a line of shell: its exit status, and what all of it wrote, to either stream.
sub shell {
    my ($line) = @_;
    my $out = `($line) 2>&1`;
    return ($? >> 8, $out);
}

# --- tests --------------------------------------------------------------------------------------------------

sub report {
    my ($good, $name, @diagnostics) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($good, $name =~ s/[^ -~]/?/gr);
    my @shown = map { s/[^\n -~]/?/gr } @diagnostics;
    if (!$good) { Test::More::diag($_) for @shown }
    elsif ($ENV{FT_SHOW}) { Test::More::note($_) for @shown }
    return $good;
}

# What is wrong with how a refusal went; nothing when all is well. The message must fit the pattern, or each
# of a list of
# them.
sub complaints {
    my ($status, $message, $pattern, $wanted) = @_;
    my @wrong;
    push @wrong, sprintf 'ended with %s, not %d', $status > 1000 ? 'signal ' . ($status - 1000) : $status,
        $wanted
        if $status != $wanted;
    push @wrong, map { "the message lacks $_" } grep { $message !~ $_ } ref $pattern eq 'ARRAY' ? @$pattern
        : $pattern;
    push @wrong, 'no line begins with the name of the program' if $message !~ /^ft-[a-z]+: /m;
    push @wrong, 'the message has bytes for a terminal to obey' if $message =~ /[\x00-\x08\x0b-\x1f\x7f]/;
    push @wrong, 'the message is not finished' if $message =~ /\(null\)|%[sdl]|: *$/;
    push @wrong, 'a sanitizer speaks' if $message =~ /Sanitizer|runtime error/;
    return @wrong;
}

# refuse NAME COMMAND PATTERN [stdin, stdout, limit, status => ...]: status 2, a message, the disk as it was.
sub refuse {
    my ($name, $command, $pattern, %with) = @_;
    my $before = listing();
    my ($status, $out, $message) = run($command, %with);
    my @wrong = complaints($status, $message, $pattern, $with{status} // 2);
    my $after = listing();
    if ($before ne $after) {
        my %old = map { $_ => 1 } split /\n/, $before;
        my %new = map { $_ => 1 } split /\n/, $after;
        push @wrong, 'changed on disk: ' . join ' | ', (grep { !$new{$_} } keys %old),
            (grep { !$old{$_} } keys %new);
        remove_tree('out', 'out.ftok', 'out.json');
    }
    my $shown = ref $command ? "@$command" : $command;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    report(!@wrong, $name, $shown, (map { "  $_" } @wrong), $message);
}

1;
