#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# GGUF files from strangers: every broken one ends with status 2 and a message that names the file (and never
# a crash),
# and leaves nothing behind. A good one is read, converted, written again; and what was written says the same.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/../tap";
use Programs;
use Test::More;

# --- a file, built ------------------------------------------------------------------------------------------

my %code = (u8 => 0, i8 => 1, u16 => 2, i16 => 3, u32 => 4, i32 => 5, f32 => 6, bool => 7, string => 8,
    array => 9, u64 => 10,
    i64 => 11, f64 => 12);
my %pack = (u8 => 'C', i8 => 'c', u16 => 'S<', i16 => 's<', u32 => 'L<', i32 => 'l<', f32 => 'f<',
    bool => 'C', u64 => 'Q<',
    i64 => 'q<', f64 => 'd<');

sub text { my ($s) = @_; return pack('Q<', length $s) . $s }
sub element { my ($type, $value) = @_; return $type eq 'string' ? text($value) : pack $pack{$type}, $value }
sub value { my ($type, $value) = @_; return pack('L<', $code{$type}) . element($type, $value) }

sub list {
    my ($type, @values) = @_;
    return pack('L<L<Q<', $code{array}, $code{$type}, scalar @values) . join '', map { element($type, $_)
        } @values;
}

my @tokens = ('<unk>', '<s>', '</s>', "\xe2\x96\x81", 'a', 'b', 'ab', "\xe2\x96\x81a");

# Values by key, in order; tensors: [name, [dimensions, innermost first], type, bytes].
sub good {
    my %shape = ('token_embd' => [32, 8], 'blk.0.attn_q' => [32, 32], 'blk.0.attn_k' => [32, 16],
        'blk.0.attn_v' => [32, 16],
        'blk.0.attn_output' => [32, 32], 'blk.0.ffn_gate' => [32, 32], 'blk.0.ffn_up' => [32, 32],
            'blk.0.ffn_down' => [32, 32],
        'output_norm' => [32], 'blk.0.attn_norm' => [32], 'blk.0.ffn_norm' => [32]);
    my @tensors;
    my $seed = 1;
    for my $name (sort keys %shape) {
        my @dims = @{$shape{$name}};
        my $elements = $dims[0] * ($dims[1] // 1);
        my $bytes = '';
        if (@dims == 1) { $bytes = pack 'f<*', (1) x $elements }
        else { # Q8_0: a scale of 2^-8 and what a small generator says
            for (1 .. $elements / 32) { # 127 among them, so that the same block is found again
                $bytes .= pack 'S<c32', 0x1c00, 127, map { $seed = ($seed * 1103515245 + 12345) % 2147483648;
                    ($seed >> 16) % 127 - 63 } 1 .. 31;
            }
        }
        push @tensors, ["$name.weight", [@dims], @dims == 1 ? 0 : 8, $bytes];
    }
    return {
        version => 3, align => 32, tensors => \@tensors,
        values => [
            ['general.architecture', value('string', 'llama')],
            ['llama.block_count', value('u32', 1)],
            ['llama.context_length', value('u32', 64)],
            ['llama.embedding_length', value('u32', 32)],
            ['llama.feed_forward_length', value('u32', 32)],
            ['llama.attention.head_count', value('u32', 2)],
            ['llama.attention.head_count_kv', value('u32', 1)],
            ['llama.attention.layer_norm_rms_epsilon', value('f32', 1e-5)],
            ['llama.rope.dimension_count', value('u32', 16)],
            ['llama.rope.freq_base', value('f32', 10000)],
            ['tokenizer.ggml.model', value('string', 'llama')],
            ['tokenizer.ggml.tokens', list('string', @tokens)],
            ['tokenizer.ggml.scores', list('f32', map { -$_ } 0 .. $#tokens)],
            ['tokenizer.ggml.token_type', list('i32', 2, 3, 3, (1) x 5)],
            ['tokenizer.ggml.bos_token_id', value('u32', 1)],
            ['tokenizer.ggml.eos_token_id', value('u32', 2)],
            ['tokenizer.ggml.unknown_token_id', value('u32', 0)],
        ],
    };
}

sub build {
    my ($file) = @_;
    my $bytes = ($file->{magic} // 'GGUF') . pack('L<Q<Q<', $file->{version},
        $file->{n_tensors} // scalar @{$file->{tensors}},
        $file->{n_values} // scalar @{$file->{values}});
    $bytes .= text($_->[0]) . $_->[1] for @{$file->{values}};
    my ($offset, $data) = (0, '');
    for my $t (@{$file->{tensors}}) {
        my ($name, $dims, $type, $raw, %odd) = @$t;
        $bytes .= text($name) . pack("L<", $odd{rank} // scalar @$dims) . pack('Q<*', @$dims)
            . pack('L<Q<', $type, $odd{offset} // $offset);
        $data .= $raw;
        $data .= "\0" x (-length($data) % $file->{align});
        $offset = length $data;
    }
    $bytes .= "\0" x (-length($bytes) % $file->{align});
    return $bytes . $data . ($file->{tail} // '');
}

# --- cases --------------------------------------------------------------------------------------------------

# The bytes as x.gguf, through a program that reads everything.
sub refuse_bytes {
    my ($what, $bytes, $says) = @_;
    spit('x.gguf', $bytes);
    refuse($what, 'ft-merge -m x.gguf -o out --threads 1', [qr/x\.gguf/, qr/^ft-merge: [^\n]+\n\z/,
        $says // ()]);
}

# A change of the good file's structure.
sub broken {
    my ($what, $change, $says) = @_;
    my $file = good();
    $change->($file);
    refuse_bytes($what, build($file), $says);
}

sub set { my ($key, $bytes) = @_; return sub { for (@{$_[0]{values}}) { $_->[1] = $bytes if $_->[0] eq $key }
    } }
sub drop { my ($key) = @_; return sub { $_[0]{values} = [grep { $_->[0] ne $key } @{$_[0]{values}}] } }
sub add { my ($key, $bytes) = @_; return sub { push @{$_[0]{values}}, [$key, $bytes] } }

sub tensor {
    my ($name, $change) = @_;
    return sub { for (@{$_[0]{tensors}}) { $change->($_) if $_->[0] eq $name } };
}

my $whole = build(good());
spit('good.gguf', $whole);
my ($status, $out, $said) = run('ft-merge -m good.gguf -o hf --threads 1');
report($status == 0, "the good file is good", $said);

refuse_bytes('empty', '');
refuse_bytes('one byte', 'G');
refuse_bytes('only the magic number', 'GGUF');
refuse_bytes('another magic number', build({%{good()}, magic => 'GGML'}), qr/not a GGUF/);
refuse_bytes('version 1', build({%{good()}, version => 1}), qr/version 1/);
refuse_bytes('version 2', build({%{good()}, version => 2}), qr/version 2/);
refuse_bytes('version 4', build({%{good()}, version => 4}), qr/version 4/);
refuse_bytes('big-endian', build({%{good()}, version => 3 << 24}), qr/big-endian/);
refuse_bytes("cut at $_", substr $whole, 0, $_) for 5, 9, 20, 23, 24, 30, 33, 60, 64, 100, 300, 600, 900,
    1200;
refuse_bytes('one byte short of its data', substr($whole, 0, length($whole) - 65), qr/cut off|more than/);
refuse_bytes('half its data', substr($whole, 0, length($whole) / 2), qr/whole copy/);
refuse_bytes('a page of bytes behind', $whole . "\0" x 4096, qr/follow the last/);
refuse_bytes('2^64-1 tensors', build({%{good()}, n_tensors => ~0}), qr/too many/);
refuse_bytes('2^63 tensors', build({%{good()}, n_tensors => 1 << 63}), qr/too many/);
refuse_bytes('2^20 tensors', build({%{good()}, n_tensors => 1 << 20}), qr/too many/);
refuse_bytes('one tensor more than there are', build({%{good()}, n_tensors => 12}));
refuse_bytes('one tensor less than there are', build({%{good()}, n_tensors => 10}));
refuse_bytes('2^64-1 values', build({%{good()}, n_values => ~0}), qr/too many/);
refuse_bytes('2^60 values', build({%{good()}, n_values => 1 << 60}), qr/too many/);
refuse_bytes('one value more than there are', build({%{good()}, n_values => 18}));
refuse_bytes('one value less than there are', build({%{good()}, n_values => 16}));

# values
broken('a key of 2^64-1 bytes', sub { push @{$_[0]{values}}, ['', 'x' x 8 . pack 'Q<', ~0] });
broken('an empty key', add('', value('u8', 1)), qr/empty/);
broken('a key with a space', add('a b', value('u8', 1)), qr/spaces/);
broken('a key with a NUL', add("a\0b", value('u8', 1)), qr/control/);
broken('a key that is not UTF-8', add("a\xffb", value('u8', 1)), qr/UTF-8/);
broken('a key of 70,000 bytes', add('k' x 70000, value('u8', 1)), qr/at most/);
broken('a key twice', add('llama.block_count', value('u32', 1)), qr/twice/);
broken('a type 13', add('k', pack 'L<C', 13, 1), qr/no type/);
broken('a type 2^32-1', add('k', pack 'L<C', 0xffffffff, 1), qr/no type/);
broken('a boolean of 2', add('k', pack 'L<C', 7, 2), qr/boolean/);
broken('a string of 2^63 bytes', add('k', pack 'L<Q<', 8, 1 << 63), qr/are left/);
broken('a string of 2^64-1 bytes', add('k', pack 'L<Q<', 8, ~0), qr/are left/);
broken('a string that is not UTF-8', add('k', value('string', "\xc3\x28")), qr/UTF-8/);
broken('an overlong form of UTF-8', add('k', value('string', "\xc0\x80")), qr/UTF-8/);
broken('a surrogate in UTF-8', add('k', value('string', "\xed\xa0\x80")), qr/UTF-8/);
broken('an array of arrays', add('k', pack('L<L<Q<', 9, 9, 1) . pack('L<Q<', 4, 0)), qr/arrays of arrays/);
broken('arrays of arrays, a hundred deep', add('k', pack('L<', 9) . pack('L<Q<', 9, 1) x 100),
    qr/arrays of arrays/);
broken('an array of 2^64-1 numbers', add('k', pack 'L<L<Q<', 9, 4, ~0), qr/cannot be/);
broken('an array of 2^62 numbers of 4 bytes', add('k', pack 'L<L<Q<', 9, 6, 1 << 62), qr/cannot be/);
broken('an array of 2^61 strings', add('k', pack 'L<L<Q<', 9, 8, 1 << 61), qr/cannot be/);
broken('an array of a type 99', add('k', pack 'L<L<Q<', 9, 99, 0), qr/no type/);
broken('a string in an array that runs over', add('k', pack('L<L<Q<', 9, 8, 2) . text('a')
    . pack('Q<', 1 << 40)), qr/are left/);

# alignment
broken("an alignment of $_", add('general.alignment', value('u32', $_))) for 0, 3, 24, 0x80000000, 0xffffffff;
broken('an alignment of 2^33', add('general.alignment', value('u64', 1 << 33)));
broken('an alignment that is a string', add('general.alignment', value('string', '32')), qr/alignment/);
broken('an alignment that is negative', add('general.alignment', value('i32', -32)), qr/alignment/);
broken('an alignment of 64 that the data do not have', add('general.alignment', value('u32', 64)));

# tensors
my $q = 'blk.0.attn_q.weight';
broken('a tensor without dimensions', tensor($q, sub { $_[0][1] = [] }), qr/dimensions/);
broken('five dimensions', tensor($q, sub { $_[0][1] = [32, 32, 1, 1, 1] }), qr/dimensions/);
broken('2^32-1 dimensions', tensor($q, sub { push @{$_[0]}, rank => 0xffffffff }), qr/dimensions/);
broken('a dimension of 0', tensor($q, sub { $_[0][1] = [32, 0] }), qr/dimension/);
broken('a dimension of 2^64-1', tensor($q, sub { $_[0][1] = [32, ~0] }), qr/dimension/);
broken('dimensions whose product is 2^64', tensor($q, sub { $_[0][1] = [1 << 32, 1 << 32] }), qr/dimension/);
broken('dimensions whose product is 2^64 + 1024', tensor($q, sub { $_[0][1] = [1 << 31, 1 << 31, 4, 1] }),
    qr/dimension|more than/);
broken('more elements than bytes', tensor($q, sub { $_[0][1] = [32, 1 << 40] }), qr/more than/);
broken('rows that are no whole blocks', tensor($q, sub { $_[0][1] = [33, 32] }), qr/blocks/);
broken('a tensor of type 4', tensor($q, sub { $_[0][2] = 4 }), qr/no type/);
broken('a tensor of type 2^31', tensor($q, sub { $_[0][2] = 1 << 31 }), qr/no type/);
broken('a tensor of Q3_K', tensor($q, sub { $_[0][2] = 11 }), qr/Q3_K is not implemented/);
broken('a tensor of I32', tensor($q, sub { $_[0][2] = 26 }), qr/I32 is not implemented/);
broken('a tensor of another type than its bytes', tensor($q, sub { $_[0][2] = 2 }), qr/last tensor/);
broken('data that begin unaligned', tensor($q, sub { push @{$_[0]}, offset => 33 }), qr/aligned/);
broken('data that overlap', tensor($q, sub { push @{$_[0]}, offset => 0 }), qr/last tensor/);
broken('data behind the end', tensor($q, sub { push @{$_[0]}, offset => 1 << 30 }), qr/last tensor/);
broken('data at 2^64-32', tensor($q, sub { push @{$_[0]}, offset => ~0 - 31 }), qr/last tensor/);
broken('a tensor twice', sub { push @{$_[0]{tensors}}, $_[0]{tensors}[0] }, qr/twice/);
broken('a name of 64 bytes', tensor($q, sub { $_[0][0] = 'n' x 64 }), qr/at most/);
broken('an empty name', tensor($q, sub { $_[0][0] = '' }), qr/empty/);
broken('a name that is not UTF-8', tensor($q, sub { $_[0][0] = "q\x80" }), qr/UTF-8/);
broken('a name with an escape', tensor($q, sub { $_[0][0] = "q\e[2J" }), qr/control/);
broken('a tensor that nobody knows', tensor($q, sub { $_[0][0] = 'blk.0.attn_x.weight' }), qr/missing/);
broken('a tensor too many', sub { push @{$_[0]{tensors}}, ['extra.weight', [4], 0, "\0" x 16] },
    qr/unexpected/);
broken('a matrix of another shape', tensor($q, sub { $_[0][1] = [64, 16] }), qr/attn_q/);
broken('a norm that is a matrix', tensor('output_norm.weight', sub { $_[0][1] = [32, 1] }), qr/output_norm/);
broken('no embeddings', sub { $_[0]{tensors} = [grep { $_->[0] ne 'token_embd.weight' } @{$_[0]{tensors}}] },
    qr/token_embd/);
broken('a scale that is not a number', tensor($q, sub { substr $_[0][3], 34, 2, "\x00\x7e" }),
    qr/NaN or an infinity/);
broken('a scale that is infinite', tensor($q, sub { substr $_[0][3], 0, 2, "\x00\x7c" }),
    qr/NaN or an infinity/);
broken('a norm that is not a number', tensor('output_norm.weight', sub { substr $_[0][3], 4, 4,
    "\x00\x00\xc0\x7f" }), qr/NaN or an infinity/);
broken('no tensors at all', sub { $_[0]{tensors} = [] }, qr/token_embd/);

# what the values mean
broken("no $_", drop($_), qr/missing/) for 'general.architecture', 'llama.block_count',
    'llama.context_length',
    'llama.embedding_length', 'llama.feed_forward_length', 'llama.attention.head_count',
    'llama.attention.layer_norm_rms_epsilon', 'tokenizer.ggml.model', 'tokenizer.ggml.tokens',
        'tokenizer.ggml.scores';
broken('an adapter', add('general.type', value('string', 'adapter')), qr/no model/);
broken('an architecture that nobody has', set('general.architecture', value('string', 'bloom')), qr/bloom/);
broken('an architecture that is a number', set('general.architecture', value('u32', 1)), qr/string/);
broken('an architecture with an escape', set('general.architecture', value('string', "\e[31m")));
broken('layers: 0', set('llama.block_count', value('u32', 0)));
broken('layers: 2^32-1', set('llama.block_count', value('u32', 0xffffffff)));
broken('layers: 2, and one is there', set('llama.block_count', value('u32', 2)), qr/missing/);
broken('layers: -1', set('llama.block_count', value('i32', -1)));
broken('layers: a float', set('llama.block_count', value('f32', 1)), qr/integer/);
broken('layers: an array', set('llama.block_count', list('u32', 1)), qr/array/);
broken('heads: 0', set('llama.attention.head_count', value('u32', 0)));
broken('heads: 3 of 32 elements', set('llama.attention.head_count', value('u32', 3)));
broken('heads for keys: 0', set('llama.attention.head_count_kv', value('u32', 0)));
broken('heads for keys: 2^64-1', set('llama.attention.head_count_kv', value('u64', ~0)));
broken('epsilon: NaN', set('llama.attention.layer_norm_rms_epsilon', pack 'L<L<', 6, 0x7fc00000), qr/finite/);
broken('epsilon: -1', set('llama.attention.layer_norm_rms_epsilon', value('f32', -1)), qr/positive/);
broken('epsilon: a string', set('llama.attention.layer_norm_rms_epsilon', value('string', '1e-5')), qr/f32/);
broken('rotary base: infinite', set('llama.rope.freq_base', pack 'L<L<', 6, 0x7f800000), qr/finite/);
broken('rotary scaling that nobody has', add('llama.rope.scaling.type', value('string', 'magic')), qr/magic/);
broken('rotary scaling without a factor', add('llama.rope.scaling.type', value('string', 'linear')),
    qr/missing/);
broken('divisors of frequencies that are not Llama 3\'s', sub { push @{$_[0]{tensors}},
    ['rope_freqs.weight', [8], 0, pack 'f<8', 1 .. 8] }, qr/rope_freqs/);
broken('a tokenizer that nobody has', set('tokenizer.ggml.model', value('string', 'bert')), qr/bert/);
broken('a tokenizer whose name is a page', set('tokenizer.ggml.model', value('string', 'x' x 4096)),
    qr/bytes/);
broken('byte-level words without merges', set('tokenizer.ggml.model', value('string', 'gpt2')));
broken('a pre-tokenizer that nobody has', sub { set('tokenizer.ggml.model', value('string', 'gpt2'))->(@_);
    add('tokenizer.ggml.pre', value('string', 'best'))->(@_) }, qr/best/);
broken('tokens: none', set('tokenizer.ggml.tokens', list('string')));
broken('tokens: numbers', set('tokenizer.ggml.tokens', list('u32', 1 .. 8)), qr/array of string/);
broken('a token twice', set('tokenizer.ggml.tokens', list('string', @tokens[0 .. 6], 'a')), qr/tokens/);
broken('a token of a megabyte', set('tokenizer.ggml.tokens', list('string', @tokens[0 .. 6],
    'a' x (1 << 20))), qr/bytes/);
broken('a token with a NUL', set('tokenizer.ggml.tokens', list('string', @tokens[0 .. 6], "a\0")), qr/NUL/);
broken('scores for fewer tokens', set('tokenizer.ggml.scores', list('f32', 1 .. 7)), qr/7 entries/);
broken('a score that is not a number', set('tokenizer.ggml.scores', pack('L<L<Q<', 9, 6, 8)
    . pack('L<', 0x7fc00000) x 8), qr/finite/);
broken('types for more tokens', set('tokenizer.ggml.token_type', list('i32', (1) x 9)), qr/9 entries/);
broken('a type of token that nobody has', set('tokenizer.ggml.token_type', list('i32', (1) x 7, 77)),
    qr/type/);
broken('a type of token that is negative', set('tokenizer.ggml.token_type', list('i32', (1) x 7, -1)),
    qr/type/);
broken("$_: no such token", set("tokenizer.ggml.${_}_token_id", value('u32', 99))) for 'bos', 'eos',
    'unknown';
broken('EOS: 2^32-1', set('tokenizer.ggml.eos_token_id', value('u32', 0xffffffff)));
broken('BOS is to be added, and there is none', sub { drop('tokenizer.ggml.bos_token_id')->(@_);
    add('tokenizer.ggml.add_bos_token', value('bool', 1))->(@_) }, qr/bos/);
broken('a template with a NUL', add('tokenizer.chat_template', value('string', "a\0b")), qr/NUL/);
broken('a template that is a list', add('tokenizer.chat_template', list('string', 'a')), qr/chat_template/);

# --- names on the command line ------------------------------------------------------------------------------

mkdir 'two';
spit("two/$_.gguf", $whole) for 'a', 'b';
($status, $out, $said) = run('ft-tokenize --ids -m two');
report($status == 2 && $said =~ /more than one/, "two files in one directory", $said);
($status, $out, $said) = run('ft-merge -m good.gguf --gguf out.bin');
report($status == 2 && $said =~ /ends in \.gguf/ && !-e 'out.bin', "another name", $said);
($status, $out, $said) = run('ft-merge -m good.gguf --gguf out.gguf --gguf-type q4_0');
report($status == 2 && $said =~ /q8_0/ && !-e 'out.gguf', "a type that cannot be written", $said);
($status, $out, $said) = run('ft-merge -m good.gguf --gguf-adapter out.gguf');
report($status == 2 && $said =~ /needs -a/, "an adapter of nothing", $said);
($status, $out, $said) = run('ft-merge -m good.gguf --gguf missing/out.gguf');
report($status == 2 && !-e 'missing', "a directory that is not there", $said);
ok(!glob('*.part.gguf'), 'no file is left half done');

# --- there and back -----------------------------------------------------------------------------------------

mkdir 'one';
spit('one/model.gguf', $whole);
($status, $out, $said) = run('ft-merge -m one -o hf-one');
report($status == 0 && slurp('hf-one/model.safetensors') eq slurp('hf/model.safetensors'),
    "a directory that holds one", $said);
my $digest = sha256_hex($whole);
ok(slurp('hf/provenance.json') =~ /$digest/, 'the digest of the base is the file\'s');
for my $type ('f32', 'bf16', 'q8_0') { # Q8_0's values are exact in f32; and a second time in itself
    ($status, $out, $said) = run("ft-merge -m hf --gguf $type.gguf --gguf-type $type --tolerance 1");
    report($status == 0, "written as $type", $said);
    ($status, $out, $said) = run("ft-merge -m $type.gguf -o hf-$type --tolerance 1");
    my $same = slurp("hf-$type/model.safetensors") eq slurp('hf/model.safetensors');
    report($status == 0 && ($same || $type eq 'bf16'), "and read again, weights and all, as $type", $said);
    ok(slurp("hf-$type/tokenizer.json") eq slurp('hf/tokenizer.json'), "with its tokenizer, as $type");
    ok(slurp("hf-$type/config.json") eq slurp('hf/config.json'), "with its configuration, as $type")
        if $type ne 'bf16';
}
# Frozen: what the gguf package and llama.cpp have read (tests/oracle/gguf_peers.py); a change is made on
# purpose.
my $frozen = '7d1359bbe8b10f514563ceaacbdb72a451b5a8ad62d25f1bebea4a01ed86d2f9';
ok(sha256_hex(slurp('q8_0.gguf')) eq $frozen, 'the bytes of q8_0.gguf');

spit('text', "ab a b\n");
($status, my $ids, $said) = run('ft-tokenize --ids -m good.gguf text');
report($ids =~ /^\[1,/, 'tokens begin with BOS', $ids, $said);
($status, $out) = run('ft-tokenize --ids -m hf text');
is($out, $ids, 'the directory made of it tokenizes alike');

# shards
($status, $out, $said) = run('ft-merge -m hf -o shards --shard-bytes 8000');
my @shards = glob 'shards/model-*.safetensors';
report($status == 0 && @shards > 2 && !grep({ -s $_ > 12000 } @shards), scalar(@shards) . ' shards', $said);
($status, $out, $said) = run('ft-merge -m shards -o unsharded');
report($status == 0 && slurp('unsharded/model.safetensors') eq slurp('hf/model.safetensors'),
    "shards hold the same weights", $said);

done_testing;
