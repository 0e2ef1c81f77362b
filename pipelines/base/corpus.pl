#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# corpus.pl DATA: the dialogues of Schema-Guided Dialogue (DATA/sgd) and Taskmaster-4 (DATA/taskmaster4), and the
# problems of GSM8K (DATA/gsm8k, for the words of everyday life that neither has), as {"messages": [...]} lines on
# standard output. A dialogue longer than $LIMIT characters is cut between turns, so that every record fits the
# model's context; a record never begins with the assistant.
use strict;
use warnings;
use JSON::PP;

my $LIMIT = 900;
my $json  = JSON::PP->new->utf8->canonical;
my $plain = JSON::PP->new->allow_nonref; # characters, not bytes
my $data  = shift // die "usage: corpus.pl DATA\n";
my %seen;

sub clean {
    my ($text) = @_;
    $text =~ s/\\[rnt]/ /g; # some turns hold escapes as literal text
    $text =~ s/\s+/ /g;
    $text =~ s/^ | $//g;
    return $text;
}

sub record {
    my ($group, $turns) = @_;
    my $line = $json->encode({ messages => $turns, group => $group });
    my $key  = $json->encode($turns);
    print "$line\n" unless $seen{$key}++;
}

# @turns: [role, text]. Neighbouring turns of one speaker are joined.
sub dialogue {
    my ($group, @turns) = @_;
    my (@part, $length);
    $length = 0;
    for (@turns) {
        my ($role, $text) = ($_->[0], clean($_->[1]));
        next if $text eq '';
        if (@part && $length + length($text) > $LIMIT && $role eq 'user') {
            record($group, [@part]) if @part > 1;
            @part   = ();
            $length = 0;
        }
        next if !@part && $role ne 'user';
        $length += length($text) + 12;
        if (@part && $part[-1]{role} eq $role) { $part[-1]{content} .= " $text" }
        else { push @part, { role => $role, content => $text } }
    }
    pop @part while @part && $part[-1]{role} ne 'assistant';
    record($group, [@part]) if @part > 1;
}

# What a user's turn made the order system do, as a JSON answer: the model should have seen JSON once.
sub calls {
    my ($group, $utterance) = @_;
    my ($call, @answer) = ('');
    for (@{ $utterance->{annotations} }) {
        $call = $_->{value} if $_->{name} eq 'api_call';
        next unless $_->{name} eq 'request';
        my $request = eval { $plain->decode($_->{value}) };
        next unless ref $request eq 'HASH';
        push @answer, join ', ', qq("call": ) . $plain->encode($call),
            map { $plain->encode($_) . ': ' . $plain->encode("$request->{$_}") } sort grep { !ref $request->{$_} } keys %$request;
    }
    my $text = clean($utterance->{text});
    return unless @answer && $text ne '';
    record($group, [ { role => 'user', content => $text }, { role => 'assistant', content => "{$answer[0]}" } ]);
}

for my $name (qw(train dev test)) {
    open my $in, '<', "$data/sgd/$name.jsonl" or die "$data/sgd/$name.jsonl: $!\n";
    while (<$in>) {
        my $d = $json->decode($_);
        dialogue("sgd-$d->{dialogue_id}",
            map { [ $_->[0] eq 'USER' ? 'user' : 'assistant', $_->[1] ] } @{ $d->{turns} });
    }
}
for my $file (sort glob "$data/taskmaster4/data_*.json") {
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    for my $d (@{ $json->decode(<$in>) }) {
        dialogue("tm4-$d->{conversation_id}",
            map { [ $_->{speaker} eq 'user' ? 'user' : 'assistant', $_->{text} ] } @{ $d->{utterances} });
        calls("tm4-$d->{conversation_id}", $_) for grep { $_->{speaker} eq 'user' } @{ $d->{utterances} };
    }
}
for my $name (qw(train test)) {
    open my $in, '<', "$data/gsm8k/$name.jsonl" or die "$data/gsm8k/$name.jsonl: $!\n";
    while (<$in>) {
        my $d = $json->decode($_);
        $d->{answer} =~ s/<<[^>]*>>//g; # the calculator's marks
        dialogue("gsm8k-$name-$.", [ 'user', $d->{question} ], [ 'assistant', $d->{answer} ]);
    }
}
