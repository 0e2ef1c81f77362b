#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# page.pl OUT TITLE: OUT/page.html from OUT/run/metrics.jsonl and OUT/report, with plots by gnuplot. One file that
# needs nothing else.
use strict;
use warnings;
use JSON::PP;

my ($out, $title) = @ARGV;
die "usage: page.pl OUT TITLE\n" unless defined $title;

sub slurp {
    my ($path) = @_;
    open my $in, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$in>;
}

sub escape { my ($t) = @_; $t =~ s/&/&amp;/g; $t =~ s/</&lt;/g; $t =~ s/>/&gt;/g; return $t }

# Runs gnuplot on a script and its data; returns SVG without the XML prologue.
sub plot {
    my ($script) = @_;
    my $file = "$out/.ft/plot.svg";
    my $head = "set terminal svg size 640,300 dynamic font 'sans-serif,12' background '#ffffff'\nset output '$file'\n"
        . "set border 3 lc rgb '#57606a'\nset tics nomirror\nset grid lc rgb '#d8dee4'\nset key top right\n";
    open my $gnuplot, '|-', 'gnuplot' or die "gnuplot: $!; install gnuplot-nox\n";
    print $gnuplot $head, $script;
    close $gnuplot or die "gnuplot failed\n";
    my $svg = slurp($file);
    unlink $file;
    $svg =~ s/^.*?(<svg)/$1/s;
    return $svg;
}

my (@train, @valid);
for my $line (split /\n/, slurp("$out/run/metrics.jsonl")) {
    my $m = decode_json($line);
    push @train, "$m->{step} $m->{loss}" if defined $m->{loss};
    push @valid, "$m->{step} $m->{eval_loss}" if defined $m->{eval_loss};
}
my $curves = plot("set xlabel 'optimizer step'\nset ylabel 'loss (nats a token)'\nset yrange [0:*]\n"
        . "plot '-' using 1:2 with lines lc rgb '#9aa7b4' title 'training', '-' using 1:2 with linespoints pt 7 ps 0.5 lw 2 lc rgb '#2d7d46' title 'validation'\n"
        . join("\n", @train) . "\ne\n" . join("\n", @valid) . "\ne\n");

my $report  = decode_json(slurp("$out/report/report.json"));
my $results = $report->{results};
my @shares  = grep { $results->{base}{$_}{value} <= 1 && !/^loss$/ } sort keys %{ $results->{base} };
my ($i, @base, @tuned, @tics) = (0);
for my $name (@shares) {
    for (['base', \@base, -0.2], ['tuned', \@tuned, 0.2]) {
        my ($system, $list, $shift) = @$_;
        my $m = $results->{$system}{$name};
        push @$list, join ' ', $i + $shift, (map { 100 * $_ } $m->{value}, @{ $m->{interval_95} }), 0.36;
    }
    (my $shown = $name) =~ s/_/ /g;
    push @tics, "'$shown' $i";
    $i++;
}
my $bars = plot("set style fill solid\nset yrange [0:108]\nset xrange [-0.6:" . ($i - 0.4) . "]\nset ylabel '%'\n"
        . 'set xtics (' . join(', ', @tics) . ")\nset key outside top center horizontal\n"
        . "plot '-' using 1:2:3:4:5 with boxerrorbars lc rgb '#9aa7b4' title 'base', '-' using 1:2:3:4:5 with boxerrorbars lc rgb '#2d7d46' title 'tuned'\n"
        . join("\n", @base) . "\ne\n" . join("\n", @tuned) . "\ne\n");

my $page = slurp("$out/report/report.html");
my $recipe = escape(slurp("$out/run/recipe.json"));
my $sums   = escape(slurp("$out/tuned/SHA256SUMS"));
my $plots  = "<h2>Learning curve</h2>$curves<h2>Base against tuned, with 95 % intervals</h2>$bars";
my $trail  = "<h2>The recipe</h2><pre>$recipe</pre><h2>The tuned model's files</h2><pre>$sums</pre>"
    . "<p>Check them with <code>sha256sum -c</code> there, and the whole chain with <code>ft-verify</code>.</p>";
my $shown = escape($title);
$page =~ s{<h1>.*?</h1>}{<h1>$shown</h1>}s;
$page =~ s{(<h2>The first records)}{$plots$1}s or $page =~ s{(</html>)}{$plots$1};
$page =~ s{(</html>)}{$trail$1};
open my $file, '>:raw', "$out/page.html.tmp" or die "$out/page.html: $!\n";
print $file $page;
close $file or die "$out/page.html: $!\n";
rename "$out/page.html.tmp", "$out/page.html" or die "$out/page.html: $!\n";
print "$out/page.html\n";
