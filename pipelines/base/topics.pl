#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# topics.pl DATA: what somebody says and what it is about, as {"messages": [...]} lines: Banking77's queries and Bitext's
# utterances with their topics, and the first turns of Schema-Guided Dialogue with their services.
use strict;
use warnings;
use JSON::PP;

my $json = JSON::PP->new->utf8->canonical;
my $plain = JSON::PP->new->allow_nonref;
my $data = shift // die "usage: topics.pl DATA\n";
my %seen;

sub record {
    my ($text, $key, $value) = @_;
    $text =~ s/\s+/ /g;
    $text =~ s/^ | $//g;
    return if $text eq '' || $seen{"$key $text"}++;
    my $answer = "{\"$key\": " . $plain->encode($value) . '}';
    print $json->encode({ messages => [ { role => 'user', content => $text }, { role => 'assistant', content => $answer } ] }), "\n";
}

# The rows of a CSV file as lists; quoted fields may hold commas, doubled quotes and line ends (RFC 4180).
sub rows {
    my ($path) = @_;
    open my $in, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    local $/;
    my $text = <$in>;
    my (@rows, @row);
    while ($text =~ /\G(?:"((?:[^"]|"")*)"|([^,\r\n"]*))(,|\r?\n|\z)/gc) {
        my ($quoted, $bare, $end) = ($1, $2, $3);
        last if $end eq '' && !@row && !defined $quoted && $bare eq '';
        push @row, defined $quoted ? $quoted =~ s/""/"/gr : $bare;
        next if $end eq ',';
        push @rows, [@row];
        @row = ();
    }
    die "$path: not CSV after ", pos($text) // 0, " characters\n" if (pos($text) // 0) < length $text;
    shift @rows; # the header
    return @rows;
}

for my $name (qw(train test)) { record($_->[0], 'topic', $_->[1]) for rows("$data/banking77/$name.csv") }
for my $name (qw(train dev test)) { record($_->[0], 'topic', $_->[1]) for rows("$data/bitext/$name.csv") }
for my $name (qw(train dev test)) {
    open my $in, '<', "$data/sgd/$name.jsonl" or die "$data/sgd/$name.jsonl: $!\n";
    while (<$in>) {
        my $d = $json->decode($_);
        record($d->{turns}[0][1], 'service', $d->{services}[0] =~ s/_\d+$//r) if $d->{turns}[0][0] eq 'USER';
    }
}
