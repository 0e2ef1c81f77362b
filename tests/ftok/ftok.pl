#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# An independent reader of token streams, written from ft-ftok(5) alone: prints header, records and trailer, one line
# of JSON each, or says what is wrong and exits 1. Perl without modules from elsewhere. It leaves the XXH3 checksums
# unread: the trailer's SHA-256 covers the same bytes.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Encode qw(decode FB_CROAK);

my $file = shift // die "usage: ftok.pl FILE\n";
open my $in, '<:raw', $file or die "$file: $!\n";
my $all = do { local $/; <$in> };
my $at = 0;

sub fail { print STDERR "$file: byte $at: $_[0]\n"; exit 1 }
sub take { my $n = shift; fail('cut off') if $n > length($all) - $at; $at += $n; substr $all, $at - $n, $n }
sub u8  { unpack 'C',  take(1) }
sub u32 { unpack 'V',  take(4) }
sub u64 { unpack 'Q<', take(8) }
sub quote {
    my $s = shift;
    $s =~ s/(["\\])/\\$1/g;
    $s =~ s/([\x00-\x1f])/sprintf '\\u%04x', ord $1/ge;
    qq("$s");
}
sub text { my $s = take(u32()); eval { decode('UTF-8', my $copy = $s, FB_CROAK); 1 } or fail('not UTF-8'); quote($s) }

fail('not a token stream') if take(8) ne "\x89FTOK\r\n\x1a";
fail('not version 1') if u32() != 1;
my $header = take(u32());
my ($vocab) = $header =~ /"vocab_size":([0-9]+)/ or fail('no vocab_size');
take(8); # XXH3-64
print "$header\n";

my ($records, $tokens) = (0, 0);
while (my $length = u32()) {
    take(8); # XXH3-64
    my $end = $at + $length;
    my $flags = u8();
    fail('unknown flags') if $flags & ~15;
    my $source = unpack 'H*', take(32);
    my $n = u32() or fail('no tokens');
    my @id = unpack 'V*', take(4 * $n);
    $_ < $vocab or fail("token $_ is not in the vocabulary") for @id;
    my @weight;
    if ($flags & 8) {
        @weight = unpack 'f<*', take(4 * $n);
    } else {
        my $value = 0;
        for (1 .. u32()) { push @weight, ($value) x u32(); $value = 1 - $value }
    }
    fail('weights do not fit tokens') if @weight != $n;
    fail('the first token has a weight') if $weight[0] != 0;
    my $line = sprintf '{"ids":[%s],"weights":[%s],"source":"%s"', join(',', @id), join(',', @weight), $source;
    $line .= ',"label":' . text() if $flags & 1;
    $line .= ',"group":' . text() if $flags & 2;
    $line .= ',"line":' . u64() if $flags & 4;
    fail('record and length differ') if $at != $end;
    print "$line}\n";
    $records++;
    $tokens += $n;
}
my ($r, $t) = (u64(), u64());
my $data = unpack 'H*', take(32);
my $sum = sha256_hex(substr $all, 0, $at);
fail('altered: SHA-256 differs') if $sum ne unpack 'H*', take(32);
fail('counts differ') if $r != $records || $t != $tokens;
fail('bytes behind the end') if $at != length $all;
print qq({"records":$r,"tokens":$t,"data":"$data"}\n);
