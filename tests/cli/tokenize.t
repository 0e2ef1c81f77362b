#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# ft-tokenize on the command line: ids and back, records and weights, streams, over-long records, bad input.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use File::Copy qw(copy);
use FindBin;
use lib "$FindBin::Bin/../tap";
use Programs;
use Test::More;

my $fixtures = "$root/tests/oracle/fixtures/tokenizer";
my $tokenize = "$bin/ft-tokenize";

sub model {
    my ($name, $tokenizer, %file) = @_;
    mkdir $name;
    copy("$fixtures/$tokenizer.json", "$name/tokenizer.json") or die;
    spit("$name/$_", $file{$_}) for keys %file;
}

model('spm', 'spm', 'config.json' => '{"eos_token_id": 2, "bos_token_id": 1}');
model('bytes', 'gpt2', 'tokenizer_config.json' => '{"eos_token": {"content": "</s>"}}');
model('mute', 'gpt2');
model('chat', 'gpt2', 'config.json' => '{"eos_token_id": [2]}', 'chat_template.jinja' =>
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    . "{% if add_generation_prompt %}<s>assistant\n{% endif %}");
model('blocks', 'gpt2', 'config.json' => '{"eos_token_id": [2]}', 'chat_template.jinja' =>
    "{% for m in messages %}<s>{{ m.role }}\n"
    . "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    . "{% else %}{{ m.content }}{% endif %}</s>\n{% endfor %}");
model('dated', 'gpt2', 'config.json' => '{"eos_token_id": [2]}', 'chat_template.jinja' =>
    "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}</s>{% endfor %}");
my $good = qq({"prompt":"Hello","completion":" world","label":"x","group":7}\n);
spit('good.jsonl', $good);

# Plain text
my ($rc, $out) = shell("printf 'Hello  world\\n\\n caf\\303\\251\\n' | $tokenize -m spm --ids >ids"
    . " && $tokenize -m spm --decode --no-specials ids");
is($rc, 0, '--ids and --decode');
is($out, "Hello  world\n\n caf\xc3\xa9\n", 'text comes back');
is(() = slurp('ids') =~ /^\[1[,\]]/mg, 3, 'with BOS');
($rc, $out) = shell("printf '%s\\n' '\"a\\nb\"' | $tokenize -m spm --ids --json --no-specials"
    . " | $tokenize -m spm --decode --json");
is($out, "\"a\\nb\"\n", 'JSON strings hold newlines');
($rc, $out) = shell("$tokenize -m spm/tokenizer.json --ids --threads 3 $fixtures/spm.jsonl | sha256sum");
is($out, `$tokenize -m $fixtures/spm.json --ids $fixtures/spm.jsonl | sha256sum`,
    'threads change nothing, and a file will do as model');

# What is learnt
sub weights { my ($rc, $out) = shell("printf '%s\\n' '$_[1]' | $tokenize -m $_[0] --show 9 $_[2]");
    return $rc ? $out : join ' ', map { /^ +\d+ +(\d+) +(\S+)/ ? "$1:$2" : () } split /\n/, $out }
my $plain = weights('bytes', '{"prompt":"He","completion":" lo"}', '');
like($plain, qr/^(\d+:0 )+(\d+:1 )+2:1$/, 'the completion and its stop token are learnt, the prompt is not');
(my $all = $plain) =~ s/:0/:1/g;
$all =~ s/:1/:0/;
is(weights('bytes', '{"prompt":"He","completion":" lo"}', '--loss all'), $all,
    '--loss all: all but the first');
is(weights('bytes', '{"prompt":"He","completion":" lo</s>"}', ''), $plain,
    'a stop token that is spelt out is not doubled');
my $bos = weights('spm', '{"prompt":"He","completion":" lo"}', '');
is(weights('spm', '{"prompt":"<s>He","completion":" lo"}', ''), $bos, 'nor is BOS') if $bos =~ /^1:0 /;
isnt(weights('spm', '{"prompt":"He","completion":"lo"}', ''), $bos,
    'a space between prompt and completion is told from none');
like(weights('spm', '{"text":"Hello"}', ''), qr/^1:0 (\d+:1 )+2:1$/, 'text is learnt but for BOS');
like(weights('bytes',
    '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0},'
    . '{"role":"user","content":"c"},{"role":"assistant","content":"d","weight":0.5}]}', ''),
    qr/^(\d+:0 )+2:0 (\d+:0 )+(\d+:0.5 )+2:0.5$/, 'messages and their weights');
my $full = weights('bytes', '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"d"}]}',
    '');
is(weights('bytes', '{"prompt":"user: a\nassistant:","completion":" d"}', ''), $full,
    'messages are laid out as the manual says');
is(weights('bytes', '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"d"},'
    . '{"role":"user","content":"x"}]}', ''),
    $full, 'what comes after the last answer is left out');

my $two = '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},'
    . '{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}';
my $chat = weights('chat', $two, '');
like($chat, qr/^1:0 (\d+:0 )+(\d+:1 )+2:1 (\d+:0 )+2:0 (\d+:0 )+(\d+:1 )2:1$/,
    'a chat template: each answer and its stop token');
is(weights('blocks', $two, ''), $chat, 'generation blocks, and the stop token behind them');
(my $second = $two) =~ s/"b"/"b","weight":0/;
like(weights('chat', $second, ''), qr/^1:0 (\d+:0 )+(\d+:1 )2:1$/, 'an answer without weight is given');
like(weights('dated', $two, ''), qr/--date/, 'a template that writes the date wants one');
like(weights('dated', $two, '--date 2026-11-22'), qr/:1 2:1$/, 'and takes it');

# Streams
($rc, $out) = shell("$tokenize -m spm -o one.ftok good.jsonl");
is($rc, 0, 'a stream into a file') or diag $out;
like($out, qr/^ft-tokenize: 1 records, \d+ tokens, \d+ of them learnt$/, 'says what it did');
shell("$tokenize -m spm good.jsonl >two.ftok");
shell("cat good.jsonl | $tokenize -m spm --threads 2 - >three.ftok");
ok(slurp('one.ftok') eq slurp('two.ftok') && slurp('one.ftok') eq slurp('three.ftok') && -s 'one.ftok',
    'file, standard output and pipe agree');
is(index(slurp('one.ftok'), pack 'H*', sha256_hex($good)) > 0, 1, "the trailer has the data's digest");
ok(index(slurp('one.ftok'), sha256_hex(slurp('spm/tokenizer.json'))) > 0, "the header has the tokenizer's");
spit('many.jsonl', map { qq({"prompt":"number $_","completion":" is $_"}\n) } 1 .. 5000);
shell("$tokenize -m bytes many.jsonl >t1; $tokenize -m bytes --threads 4 many.jsonl >t4");
ok(-s 't1' && slurp('t1') eq slurp('t4'), 'thousands of records, one thread and four');
SKIP: {
    skip 'no ft-split', 1 if !-x "$bin/ft-split";
    ($rc, $out) = shell("$tokenize -m bytes many.jsonl | $bin/ft-split -o parts");
    is($rc, 0, 'a pipe into ft-split') or diag $out;
}
($rc, $out) = shell("head -c 300 t1 >cut; $bin/ft-split -o no cut");
is($rc, 2, 'a cut stream is noticed');

# Over-long records
spit('long.jsonl', $good, qq({"prompt":"Hello","completion":"@{['x ' x 200]}"}\n),
    qq({"prompt":"@{['y ' x 200]}","completion":"z"}\n));
($rc, $out) = shell("$tokenize -m bytes --max-tokens 50 -o long.ftok long.jsonl");
ok($rc == 2 && $out =~ /long\.jsonl:2: \d+ tokens.*--overlong/ && !-e 'long.ftok',
    'too long is an error with its line');
($rc, $out) = shell("$tokenize -m bytes --max-tokens 50 --overlong drop -o long.ftok long.jsonl");
ok($rc == 0 && $out =~ /^ft-tokenize: 1 records.* 2 dropped, 0 truncated/, '--overlong drop');
($rc, $out) = shell("$tokenize -m bytes --max-tokens 50 --overlong truncate -o long.ftok long.jsonl");
ok($rc == 0 && $out =~ /^ft-tokenize: 2 records.* 1 dropped, 1 truncated/,
    '--overlong truncate leaves out what has nothing to learn');

# Bad input: status 2, the reason, no file
sub refused {
    my ($name, $reason, $model, $line, $options) = @_;
    spit('bad.jsonl', $line);
    unlink 'bad.ftok';
    my ($rc, $out) = shell("$tokenize -m $model $options -o bad.ftok bad.jsonl");
    ok($rc == 2 && $out =~ $reason && $out =~ /^ft-tokenize: / && !-e 'bad.ftok', $name) or diag "$rc $out";
}
refused('not UTF-8', qr/bad\.jsonl:2/, 'spm', "$good\{\"text\":\"\xff\"}\n", '');
refused('empty input', qr/no records/, 'spm', '', '');
refused('an empty line', qr/bad\.jsonl:2: empty_line/, 'spm', "$good\n$good", '');
refused('not JSON', qr/bad\.jsonl:1/, 'spm', "hello\n", '');
refused('a cut line', qr/bad\.jsonl:2/, 'spm', $good . substr($good, 0, 20), '');
refused('a key twice', qr/bad\.jsonl:1/, 'spm', qq({"text":"a","text":"b"}\n), '');
refused('no completion', qr/bad\.jsonl:1: missing_key/, 'spm', qq({"prompt":"a"}\n), '');
refused('an empty completion', qr/bad\.jsonl:1: no_target/, 'spm', qq({"prompt":"a","completion":""}\n), '');
refused('all masked', qr/bad\.jsonl:1: no_target/, 'spm',
    qq({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0}]}\n), '');
refused('no assistant', qr/example_missing_assistant_message/, 'spm',
    qq({"messages":[{"role":"user","content":"a"}]}\n), '');
refused('an unknown role', qr/unrecognized_role/, 'spm', qq({"messages":[{"role":"bot","content":"a"}]}\n),
    '');
refused('a wrong format', qr/bad\.jsonl:1/, 'spm', $good, '--format text');
refused('a model without stop token', qr/bad\.jsonl:1: .*eos_token/, 'mute', $good, '');
refused('a missing model', qr/nowhere/, 'nowhere', $good, '');
refused('a directory without tokenizer', qr/no tokenizer\.json/, '.', $good, '');
refused('a broken tokenizer', qr/broken\.json/, 'broken.json', $good, '') if spit('broken.json',
    '{"model":{"type":"BPE","vocab":{"a":0,"b":2},"merges":[]}}') || 1;
refused('a wrong option', qr/overlong/, 'spm', $good, '--overlong never');
refused('a policy without limit', qr/--max-tokens/, 'spm', $good, '--overlong drop');
refused('an unknown loss', qr/--loss/, 'spm', $good, '--loss most');
refused('a label of another type', qr/label/, 'spm', qq({"text":"a","label":[1]}\n), '');
($rc, $out) = shell("$tokenize -m spm missing.jsonl");
ok($rc == 2 && $out =~ /missing\.jsonl/, 'a missing file');
($rc, $out) = shell("$tokenize good.jsonl");
ok($rc == 2 && $out =~ /-m MODEL/, 'no model');
# A letter of Unicode 15 ends where a character that is none begins, whatever Unicode the library of expressions knows.
for my $regex ('\\\\p{L}+', '\\\\P{L}+', '[\\\\p{L}\\\\p{M}]+', '[^\\\\p{L}]+', '\\\\p{Han}', '\\\\p{Lo}', '\\\\w+') {
    spit('newer.json', '{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"' . $regex
        . '"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},'
        . '"model":{"type":"BPE","vocab":{"\u00f0":0,"\u00b1":1,"\u00a2":2,"\u0139":3,"\u00d7":4,"\u0130":5,"\u0139\u00d7":6},'
        . '"merges":[["\u0139","\u00d7"]]}}');
    ($rc, $out) = shell("printf '\\360\\261\\242\\227\\327\\216\\n' | $tokenize -m newer.json --ids --no-specials");
    is($out, "[0,1,2,3,4,5]\n", "$regex knows U+31897");
}

($rc, $out) = shell("printf '\\377\\n' | $tokenize -m spm --ids");
ok($rc == 2 && $out =~ /standard input:1/, 'text that is not UTF-8');
for my $bad ('x', '{}', '["a"]', '[-1]', '[99999]', '[1') {
    ($rc, $out) = shell("echo '$bad' | $tokenize -m spm --decode");
    ok($rc == 2 && $out =~ /standard input:1/, "--decode $bad");
}
SKIP: {
    skip 'no /dev/full', 2 if !-c '/dev/full';
    ($rc, $out) = shell("$tokenize -m bytes many.jsonl >/dev/full");
    ok($rc == 2 && $out =~ /No space left/, 'a full disk');
    ($rc, $out) = shell("$tokenize -m bytes --show 1 good.jsonl >/dev/full");
    ok($rc == 2 && $out =~ /No space left/, 'a full disk under --show');
}
SKIP: {
    skip 'no script(1)', 1 if system('command -v script >/dev/null 2>&1');
    $out = `script -qec '$tokenize -m spm good.jsonl' /dev/null </dev/null 2>&1`;
    like($out, qr/terminal/, 'no token stream goes to a terminal');
}
($rc, $out) = shell("$tokenize --help");
ok($rc == 0 && $out =~ /--overlong error\|drop\|truncate/, '--help');
done_testing;
